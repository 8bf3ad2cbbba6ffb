/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/discovery.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdlib.h>
#include <string.h>

#define BODY_LIMIT    (16u << 20)
#define SKIPPED_LINES 20 /* of one answer that are logged one by one */

static const struct source *const sources[] = {
#define LLM_KIND_FROM_SOURCE(id, name, ...) &source_##name,
#define LLM_KIND(id, ...)
#include "core/llm/llm_kinds.def"
};
#define SOURCES (sizeof sources / sizeof sources[0])

/* What is known about one source. */
struct query {
	const struct source *source;
	struct discovery *owner;
	struct http_transfer *transfer; /* NULL: none runs */
	int64_t valid_ms;               /* monotonic time of the last valid answer; 0 = none */
	char *url;                      /* that was asked last; NULL: none yet */
	int64_t asked_ms, answered_ms;  /* wall clock: asked last; last valid answer; 0 = never */
	int64_t since_ms;               /* wall clock: it answers, or fails, since then; 0 = no answer yet */
	size_t found;                   /* by the last valid answer */
	size_t skipped;
	bool unreadable;       /* the last answer came, but is no list */
	struct err last_error; /* the failure that was logged last */
	struct {
		char *body; /* the last valid answer; NULL: none */
		size_t len, found, skipped;
		struct config *config; /* it was parsed with */
	} known;
};

struct discovery {
	struct services *s;
	discovery_done_fn *done;
	void *arg;
	struct query queries[SOURCES];
	struct status_source states[SOURCES]; /* for discovery_states */
	bool changed;                         /* for discovery_changed */
};

struct discovery *discovery_new(struct services *s, discovery_done_fn *done, void *arg)
{
	struct discovery *d = calloc(1, sizeof *d);

	if (d == NULL)
		return NULL;
	*d = (struct discovery){.s = s, .done = done, .arg = arg};
	for (size_t i = 0; i < SOURCES; i++)
		d->queries[i] = (struct query){.source = sources[i], .owner = d};
	return d;
}

static void forget_known(struct query *q)
{
	free(q->known.body);
	config_unref(q->known.config);
	memset(&q->known, 0, sizeof q->known);
}

void discovery_free(struct discovery *d)
{
	if (d == NULL)
		return;
	discovery_cancel(d);
	for (size_t i = 0; i < SOURCES; i++) {
		forget_known(&d->queries[i]);
		free(d->queries[i].url);
	}
	free(d);
}

void discovery_cancel(struct discovery *d)
{
	for (size_t i = 0; i < SOURCES; i++) {
		if (d->queries[i].transfer != NULL)
			http_cancel(d->queries[i].transfer);
		d->queries[i].transfer = NULL;
	}
}

bool discovery_running(const struct discovery *d)
{
	for (size_t i = 0; i < SOURCES; i++)
		if (d->queries[i].transfer != NULL)
			return true;
	return false;
}

int64_t discovery_age_ms(const struct discovery *d)
{
	int64_t now = clock_mono_ms(), age = -1;

	for (size_t i = 0; i < SOURCES; i++) {
		const struct query *q = &d->queries[i];

		if (!q->source->is_enabled(d->s->config))
			continue;
		if (q->valid_ms == 0)
			return -1;
		if (now - q->valid_ms > age)
			age = now - q->valid_ms;
	}
	return age;
}

const char *discovery_unreadable(const struct discovery *d)
{
	for (size_t i = 0; i < SOURCES; i++)
		if (d->queries[i].unreadable && d->queries[i].source->is_enabled(d->s->config))
			return d->queries[i].last_error.text;
	return NULL;
}

const struct status_source *discovery_states(struct discovery *d, int64_t poll_ms, size_t *count)
{
	const struct config *c = d->s->config;

	for (size_t i = 0; i < SOURCES; i++) {
		const struct query *q = &d->queries[i];
		struct status_source *s = &d->states[i];

		*s = (struct status_source){
			.name = q->source->name,
			.url = q->url,
			.state = !q->source->is_enabled(c)    ? SOURCE_OFF
		                 : err_is_set(&q->last_error) ? SOURCE_FAILS
		                 : q->answered_ms != 0        ? SOURCE_ANSWERS
		                                              : SOURCE_PENDING,
			.since_ms = q->since_ms,
			.answered_ms = q->answered_ms,
			.found = q->found,
			.skipped = q->skipped,
		};
		if (s->state == SOURCE_FAILS)
			s->error = q->last_error.text;
		if (s->state == SOURCE_FAILS || s->state == SOURCE_PENDING)
			s->next_ms = poll_ms >= 0 ? poll_ms : q->asked_ms + cfg_ms(c, CFG_DISCOVERY_INTERVAL);
	}
	*count = SOURCES;
	return d->states;
}

bool discovery_changed(struct discovery *d)
{
	bool changed = d->changed;

	d->changed = false;
	return changed;
}

bool discovery_is_disabled(enum llm_kind kind, const struct config *c)
{
	for (size_t i = 0; i < SOURCES; i++)
		if (sources[i]->kind == kind)
			return !sources[i]->is_enabled(c);
	return false;
}

/* ---- an answer ---------------------------------------------------------------------- */

static void remember(struct query *q, const struct http_result *r, size_t found)
{
	forget_known(q);
	q->known.body = malloc(r->body_len + 1);
	if (q->known.body == NULL)
		return; /* the next answer is parsed again */
	memcpy(q->known.body, r->body, r->body_len);
	q->known.len = r->body_len;
	q->known.found = found;
	q->known.skipped = q->skipped;
	q->known.config = config_ref(q->owner->s->config);
}

static bool is_known(const struct query *q, const struct http_result *r)
{
	return q->known.body != NULL && q->known.config == q->owner->s->config && r->outcome == HTTP_DONE &&
	       r->status == 200 && r->body_len == q->known.len && memcmp(r->body, q->known.body, r->body_len) == 0;
}

static void skipped(void *arg, const char *deploy_id, const char *why)
{
	struct query *q = arg;

	if (q->skipped++ < SKIPPED_LINES)
		log_event(LOG_DISCOVERY_SKIPPED, L_STR("deploy_id", deploy_id), L_STR("why", why));
}

static int parse(struct query *q, const struct http_result *r, struct llm_list *list, struct err *e)
{
	if (r->outcome != HTTP_DONE)
		return err_set(e, "%s", r->text[0] != '\0' ? r->text : http_outcome_text(r->outcome));
	if (r->status != 200)
		return err_set(e, "%s is HTTP %ld", q->source->request, r->status);
	if (q->source->parse(r->body, r->body_len, q->owner->s->config, list, skipped, q, e) != 0) {
		err_prefix(e, "%s", q->source->request);
		return -1;
	}
	return 0;
}

static void on_answer(void *arg, const struct http_result *r)
{
	struct query *q = arg;
	struct discovery *d = q->owner;
	struct llm_list list = {.items = NULL};
	struct err e = ERR_INIT;
	bool known = is_known(q, r);

	q->transfer = NULL;
	q->skipped = known ? q->known.skipped : 0;
	q->unreadable = false;
	if (!known && parse(q, r, &list, &e) != 0) {
		if (q->since_ms == 0 || !err_is_set(&q->last_error))
			q->since_ms = clock_wall_ms();
		d->changed = true;
		events_discovery_failed(d->s->events, e.text, r->elapsed_ms, strcmp(e.text, q->last_error.text) == 0);
		q->last_error = e;
		q->unreadable = r->outcome == HTTP_DONE;
		d->done(d->arg, q->source->kind, NULL);
	} else {
		if (!known)
			remember(q, r, list.count);
		events_discovery(d->s->events, known ? q->known.found : list.count, q->skipped, r->elapsed_ms,
		                 known && !err_is_set(&q->last_error));
		if (q->since_ms == 0 || err_is_set(&q->last_error)) {
			q->since_ms = clock_wall_ms();
			d->changed = true;
		}
		q->answered_ms = clock_wall_ms();
		q->found = known ? q->known.found : list.count;
		err_clear(&q->last_error);
		q->valid_ms = clock_mono_ms();
		d->done(d->arg, q->source->kind, known ? NULL : &list);
	}
	llm_list_clear(&list);
}

static int start(struct query *q)
{
	static const struct http_handlers handlers = {.done = on_answer};
	const struct config *c = q->owner->s->config;
	struct http_request req = {
		.method = "GET",
		.connect_ms = cfg_ms(c, q->source->timeout),
		.total_ms = cfg_ms(c, q->source->timeout),
		.collect_limit = BODY_LIMIT,
		.ca_file = cfg_str(c, CFG_CLOUD_CA_FILE),
	};
	char *url;

	if (q->transfer != NULL)
		return 0;
	url = q->source->url(c);
	req.url = url;
	if (url != NULL)
		q->transfer = http_start(q->owner->s->http, &req, &handlers, q);
	free(q->url);
	q->url = url;
	q->asked_ms = clock_wall_ms();
	if (q->transfer == NULL)
		log_event(LOG_DISCOVERY_ERROR, L_STR("error", "out of memory"));
	return q->transfer != NULL ? 0 : -1;
}

int discovery_start(struct discovery *d)
{
	int result = -1;

	for (size_t i = 0; i < SOURCES; i++)
		if (sources[i]->is_enabled(d->s->config) && start(&d->queries[i]) == 0)
			result = 0;
	return result;
}
