/* SPDX-License-Identifier: Apache-2.0 */
/* "Since when?" as people write it. Pure. */
#ifndef TT_AGENTCTL_SINCE_H
#define TT_AGENTCTL_SINCE_H

#include "core/base/err.h"

#include <stdint.h>

struct since {
	uint64_t number; /* of an event; 0: a time is meant */
	int64_t at_ms;   /* wall clock */
};

/* "17" is a number, "10m" or "1 h ago" that long before now, "14:30", "2026-11-28", "2026-11-28 14:30:05" a time of
 * the local zone (with Z at its end: UTC), "@1795370000" seconds since 1970; also today, yesterday, now. -1 with e. */
int since_parse(const char *text, int64_t now_ms, struct since *out, struct err *e);

#endif
