/* SPDX-License-Identifier: Apache-2.0 */
/* Where `top` gets its state: the files in the run directory, which can be read while tt-agentd is dead. */
#ifndef TT_AGENTCTL_TOP_SOURCE_H
#define TT_AGENTCTL_TOP_SOURCE_H

#include "agentctl/top/state.h"
#include "core/base/err.h"

#include <jansson.h>

struct top_source;

struct top_source *top_source_new(const char *run_dir, struct err *e);
void top_source_free(struct top_source *s); /* NULL is fine */

/* The state as it is now; valid until the next call. NULL: out of memory. */
struct top_state *top_source_read(struct top_source *s);

/* The last one as JSON: {"at","stale","live"}. New reference, NULL: out of memory. */
json_t *top_source_json(const struct top_source *s);

#endif
