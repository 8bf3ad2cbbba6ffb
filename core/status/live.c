/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/live.h"

#include "core/base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST_MS 10000 /* rates over a longer time would not be those of now */
#define WINDOW_MS 60000

struct live {
	char *run_dir;
	int64_t at_ms;                   /* monotonic; 0: no sample yet */
	struct counters_total *now;      /* NULL: no sample yet */
	struct counters_total *begin[2]; /* of the window for quantiles, and of the one after it; NULL: none yet */
	int64_t begin_ms;                /* begin[1] */
	double tokens_per_s;
	struct live_model models[COUNTER_MEMBERS_MAX];
	size_t count;
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

/* One sample may be several of them. */
static void drop(struct live *l, struct counters_total *t)
{
	if (t != l->now && t != l->begin[0] && t != l->begin[1])
		counters_total_free(t);
}

void live_free(struct live *l)
{
	struct counters_total *t;

	if (l == NULL)
		return;
	for (unsigned i = 0; i < 2; i++) {
		t = l->begin[i];
		l->begin[i] = NULL;
		drop(l, t);
	}
	counters_total_free(l->now);
	free(l->run_dir);
	free(l);
}

/* --- one model ------------------------------------------------------------------------------------- */

static const struct counter_member *find(const struct counters_total *t, const char *name)
{
	for (size_t i = 0; t != NULL && i < t->member_count[LABEL_MODEL]; i++)
		if (strcmp(t->members[LABEL_MODEL][i].name, name) == 0)
			return &t->members[LABEL_MODEL][i];
	return NULL;
}

/* Counted with each token; but the first one of an answer is not in the gaps, and those that came while a client
 * read too slowly are missing. */
static int64_t tokens_of(const struct counter_member *m)
{
	return m == NULL ? 0
	                 : counters_observations(m, SERIES_TOKEN_GAP) + counters_observations(m, SERIES_FIRST_TOKEN);
}

/* A counter that fell belongs to files that were made again. */
static double rate(int64_t before, int64_t now, int64_t ms)
{
	return ms <= 0 || ms > OLDEST_MS || now < before ? -1 : (double)(now - before) * 1000 / (double)ms;
}

static int64_t errors_of(const struct counter_member *m)
{
	const struct counter_series_info *info = counter_series_info(SERIES_ATTEMPTS);
	int64_t sum = 0;

	for (size_t i = 0; i < info->count; i++)
		if (strcmp(info->texts[i], "complete") != 0 && strcmp(info->texts[i], "cancelled") != 0)
			sum += m->values[info->at + i];
	return sum;
}

/* Of the observations since `before` (NULL: of all). */
static void set_ttft(struct live_model *out, const struct counter_member *before, const struct counter_member *now)
{
	const struct counter_series_info *info = counter_series_info(SERIES_FIRST_TOKEN);
	struct counter_member window = {.values = calloc(info->at + info->words, sizeof *window.values)};
	int64_t observations = 0;

	out->ttft_p50_ms = out->ttft_p99_ms = -1;
	for (size_t i = info->at; window.values != NULL && i < info->at + info->words; i++)
		window.values[i] = now->values[i] - (before != NULL ? before->values[i] : 0);
	if (window.values != NULL)
		observations = counters_observations(&window, SERIES_FIRST_TOKEN);
	if (observations > 0) {
		out->ttft_p50_ms = 1000 * counters_quantile(&window, SERIES_FIRST_TOKEN, 0.5);
		out->ttft_p99_ms = 1000 * counters_quantile(&window, SERIES_FIRST_TOKEN, 0.99);
	}
	free(window.values);
}

/* --- samples --------------------------------------------------------------------------------------- */

static void move_window(struct live *l, int64_t now_ms)
{
	struct counters_total *old = l->begin[0];

	if (l->begin[1] != NULL && now_ms - l->begin_ms < WINDOW_MS)
		return;
	l->begin[0] = l->begin[1]; /* NULL in the first minute: all that was ever counted */
	l->begin[1] = l->now;
	l->begin_ms = now_ms;
	if (old != NULL)
		drop(l, old);
}

int live_sample(struct live *l, struct err *e)
{
	struct counters_total *now = counters_read(l->run_dir, e), *before = l->now;
	int64_t now_ms = clock_mono_ms(), ms = now_ms - l->at_ms, tokens = 0, tokens_before = 0;

	if (now == NULL)
		return -1;
	l->now = now;
	move_window(l, now_ms);
	l->count = now->member_count[LABEL_MODEL];
	for (size_t i = 0; i < l->count; i++) {
		const struct counter_member *m = &now->members[LABEL_MODEL][i], *was = find(before, m->name);
		struct live_model *model = &l->models[i];

		memcpy(model->name, m->name, sizeof model->name);
		model->running = m->values[counter_series_info(SERIES_STREAMS)->at];
		model->errors = errors_of(m);
		model->tokens_per_s = before == NULL ? -1 : rate(tokens_of(was), tokens_of(m), ms);
		set_ttft(model, find(l->begin[0], m->name), m);
		tokens += tokens_of(m);
		tokens_before += tokens_of(was);
	}
	l->tokens_per_s = before == NULL ? -1 : rate(tokens_before, tokens, ms);
	l->at_ms = now_ms;
	if (before != NULL)
		drop(l, before);
	return 0;
}

const int64_t *live_sums(const struct live *l)
{
	static const int64_t none[COUNTERS];

	return l->now != NULL ? l->now->sums : none;
}

double live_tokens_per_s(const struct live *l)
{
	return l->tokens_per_s;
}

const struct live_model *live_models(const struct live *l, size_t *count)
{
	*count = l->count;
	return l->models;
}

const struct live_model *live_model(const struct live *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->models[i].name, name) == 0)
			return &l->models[i];
	return NULL;
}

/* --- as JSON --------------------------------------------------------------------------------------- */

static json_t *rate_json(double rate)
{
	return rate < 0 ? json_null() : json_real(round(rate * 10) / 10);
}

static json_t *model_json(const struct live_model *m)
{
	json_t *ttft = m->ttft_p50_ms < 0 ? json_null()
	                                  : json_pack("{s:I,s:I}", "p50", (json_int_t)llround(m->ttft_p50_ms), "p99",
	                                              (json_int_t)llround(m->ttft_p99_ms));

	return json_pack("{s:s,s:I,s:o,s:o,s:I}", "name", m->name, "running", (json_int_t)m->running, "tokens_per_s",
	                 rate_json(m->tokens_per_s), "ttft_ms", ttft, "errors", (json_int_t)m->errors);
}

json_t *live_json(const struct live *l)
{
	const int64_t *n = live_sums(l);
	json_t *models = json_array();

	for (size_t i = 0; i < l->count; i++)
		json_array_append_new(models, model_json(&l->models[i]));
	return json_pack("{s:I,s:o,s:{s:I,s:I,s:I,s:I,s:I,s:I},s:o}", "streams", (json_int_t)n[COUNTER_ACTIVE_TURNS],
	                 "tokens_per_s", rate_json(l->tokens_per_s), "turns", "running",
	                 (json_int_t)n[COUNTER_ACTIVE_TURNS], "begun", (json_int_t)n[COUNTER_TURNS], "complete",
	                 (json_int_t)n[COUNTER_TURNS_COMPLETE], "broken", (json_int_t)n[COUNTER_TURNS_BROKEN],
	                 "cancelled", (json_int_t)n[COUNTER_TURNS_CANCELLED], "refused",
	                 (json_int_t)n[COUNTER_TURNS_REFUSED], "models", models);
}
