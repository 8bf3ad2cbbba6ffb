/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/live.h"

#include "core/base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST_MS 10000 /* rates over a longer time would not be those of now */

struct live {
	char *run_dir;
	int64_t at_ms; /* monotonic; 0: no sample yet */
	int64_t sums[COUNTERS];
	double tokens_per_s; /* negative: not known */
};

struct live *live_new(const char *run_dir)
{
	struct live *l = calloc(1, sizeof *l);

	if (l == NULL || (l->run_dir = strdup(run_dir)) == NULL) {
		free(l);
		return NULL;
	}
	l->tokens_per_s = -1;
	return l;
}

void live_free(struct live *l)
{
	if (l == NULL)
		return;
	free(l->run_dir);
	free(l);
}

/* A counter that fell belongs to files that were made again. */
static double rate(int64_t before, int64_t now, int64_t ms)
{
	return ms <= 0 || ms > OLDEST_MS || now < before ? -1 : (double)(now - before) * 1000 / (double)ms;
}

void live_sample(struct live *l)
{
	int64_t sums[COUNTERS], now_ms = clock_mono_ms();

	counters_sum(l->run_dir, sums, NULL);
	l->tokens_per_s = l->at_ms == 0 ? -1 : rate(l->sums[COUNTER_TOKENS], sums[COUNTER_TOKENS], now_ms - l->at_ms);
	l->at_ms = now_ms;
	memcpy(l->sums, sums, sizeof l->sums);
}

static json_t *rate_json(double rate)
{
	return rate < 0 ? json_null() : json_real(round(rate * 10) / 10);
}

json_t *live_json(const struct live *l)
{
	const int64_t *n = l->sums;

	return json_pack("{s:I,s:o,s:{s:I,s:I,s:I,s:I,s:I,s:I},s:[]}", "streams", (json_int_t)n[COUNTER_ACTIVE_TURNS],
	                 "tokens_per_s", rate_json(l->tokens_per_s), "turns", "running",
	                 (json_int_t)n[COUNTER_ACTIVE_TURNS], "begun", (json_int_t)n[COUNTER_TURNS], "complete",
	                 (json_int_t)n[COUNTER_TURNS_COMPLETE], "broken", (json_int_t)n[COUNTER_TURNS_BROKEN],
	                 "cancelled", (json_int_t)n[COUNTER_TURNS_CANCELLED], "refused",
	                 (json_int_t)n[COUNTER_TURNS_REFUSED], "models");
}
