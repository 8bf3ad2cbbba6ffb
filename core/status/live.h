/* SPDX-License-Identifier: Apache-2.0 */
/* How busy the workers are, from their counters: what runs now, and rates between two samples. */
#ifndef TT_STATUS_LIVE_H
#define TT_STATUS_LIVE_H

#include "core/status/counters.h"

#include <jansson.h>
#include <stdint.h>

struct live;

struct live *live_new(const char *run_dir); /* NULL: no memory */
void live_free(struct live *l);             /* NULL is fine */

/* Reads the counters. Rates are those since the sample before, unless that is older than 10 s. */
void live_sample(struct live *l);

/* {"streams","tokens_per_s","turns":{...},"models":[...]} as of the last sample; see doc/wire-contract.md.
 * New reference, NULL: out of memory. */
json_t *live_json(const struct live *l);

#endif
