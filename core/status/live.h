/* SPDX-License-Identifier: Apache-2.0 */
/* How busy the workers are, from their counters: what runs now, and rates between two samples. */
#ifndef TT_STATUS_LIVE_H
#define TT_STATUS_LIVE_H

#include "core/status/counters.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* A model, by the name under which workers count it. */
struct live_model {
	char name[COUNTER_NAME_MAX + 1];
	int64_t running;                 /* requests to it */
	int64_t errors;                  /* requests that failed, ever */
	double tokens_per_s;             /* negative: not known */
	double ttft_p50_ms, ttft_p99_ms; /* of the turns of the last one to two minutes, in the first minute of all;
	                                    negative: none */
};

struct live;

struct live *live_new(const char *run_dir); /* NULL: no memory */
void live_free(struct live *l);             /* NULL is fine */

/* Reads the counters. Rates are those since the sample before, unless that is older than 10 s. -1 with e: they
 * cannot be read, and everything is as it was. */
int live_sample(struct live *l, struct err *e);

/* As of the last sample, all 0 before it: sums by enum counter, tokens of all models (negative: not known), and
 * the models that have had a turn. Valid until the next sample. */
const int64_t *live_sums(const struct live *l);
double live_tokens_per_s(const struct live *l);
const struct live_model *live_models(const struct live *l, size_t *count);
/* NULL: it has had no turn. */
const struct live_model *live_model(const struct live *l, const char *name);

/* {"streams","tokens_per_s","turns":{...},"models":[...]} as of the last sample; see doc/wire-contract.md.
 * New reference, NULL: out of memory. */
json_t *live_json(const struct live *l);

#endif
