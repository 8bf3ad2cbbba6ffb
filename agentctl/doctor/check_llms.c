/* SPDX-License-Identifier: Apache-2.0 */
/* Why no LLM is seen, and what is wrong with those that are. */
#include "agentctl/doctor/doctor.h"
#include "agentctl/text.h"
#include "core/base/clock.h"
#include "core/llm/deployments.h"
#include "core/status/counters.h"
#include "core/status/event_ring.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REFUSALS_MS (10 * 60 * 1000) /* how old what is recorded may be */
#define ALMOST_FULL 90               /* percent of queue.length */

/* --- TT-Studio's backend --------------------------------------------------------------------------- */

/* The same question as the daemon's: what it finds has the same words. */
static enum finding judge(const struct doctor *d, const struct http_result *r, struct err *e)
{
	static const enum finding outcomes[] = {
		[HTTP_NO_HOST] = FINDING_BACKEND_UNKNOWN_HOST, [HTTP_CONNECT_TIMEOUT] = FINDING_BACKEND_TIMEOUT,
		[HTTP_TIMEOUT] = FINDING_BACKEND_TIMEOUT,      [HTTP_SILENCE] = FINDING_BACKEND_TIMEOUT,
		[HTTP_REFUSED] = FINDING_BACKEND_DOWN,         [HTTP_CUT] = FINDING_BACKEND_ERROR,
		[HTTP_TOO_LARGE] = FINDING_BACKEND_MALFORMED,
	};
	struct llm_list list = {.items = NULL};
	size_t count;

	if (r->outcome != HTTP_DONE) {
		err_set(e, "%s", r->text[0] != '\0' ? r->text : http_outcome_text(r->outcome));
		return r->outcome < sizeof outcomes / sizeof outcomes[0] && outcomes[r->outcome] != 0
		               ? outcomes[r->outcome]
		               : FINDING_BACKEND_DOWN;
	}
	if (r->status != 200) {
		err_set(e, "the backend's answer to GET /models/deployed/ is HTTP %ld", r->status);
		return r->status == 401 || r->status == 403 || r->status / 100 == 3 ? FINDING_BACKEND_UNAUTHORIZED
		       : r->status >= 500                                           ? FINDING_BACKEND_ERROR
		                                                                    : FINDING_BACKEND_MALFORMED;
	}
	if (deployments_parse(r->body, r->body_len, d->config, &list, NULL, NULL, e) < 0) {
		err_prefix(e, "the backend's answer to GET /models/deployed/");
		return FINDING_BACKEND_MALFORMED;
	}
	count = list.count;
	llm_list_clear(&list);
	return count == 0 ? FINDING_BACKEND_EMPTY : FINDINGS;
}

/* What the daemon says of its source, where it fails; NULL: it does not. */
static const char *known_failure(const struct doctor *d)
{
	const json_t *source;
	size_t i;

	json_array_foreach(json_object_get(d->status, "discovery"), i, source)
	{
		const char *state = text_of(source, "state");

		if (state != NULL && strcmp(state, "failing") == 0)
			return text_of(source, "error");
	}
	return NULL;
}

static void check_backend(struct doctor *d)
{
	const char *url = cfg_str(d->config, CFG_DISCOVERY_BACKEND_URL), *known = d->answers ? known_failure(d) : NULL;
	struct doctor_answer answer;
	struct err e = ERR_INIT;
	enum finding f;
	char *full = NULL;
	size_t len;

	if (!cfg_bool(d->config, CFG_DISCOVERY_ENABLED) || url == NULL)
		return;
	for (len = strlen(url); len > 0 && url[len - 1] == '/';)
		len--;
	if (asprintf(&full, "%.*s/models/deployed/", (int)len, url) < 0)
		return;
	doctor_request(d, &(struct http_request){.method = "GET", .url = full},
	               cfg_ms(d->config, CFG_DISCOVERY_TIMEOUT), &answer);
	f = judge(d, &answer.result, &e);
	if (f == FINDING_BACKEND_EMPTY)
		doctor_find(d, f, url, "0 models found (%s): TT-Studio's backend has deployed no model", full);
	else if (f != FINDINGS)
		doctor_find(d, f, url, "%s", known != NULL ? known : e.text);
	else if (known != NULL)
		doctor_find(d, FINDING_BACKEND_BACK, url, "it answers now; tt-agentd has last seen: %s", known);
	free(answer.body);
	free(full);
}

/* --- the models -------------------------------------------------------------------------------------- */

static const struct {
	const char *words; /* of the reason */
	enum finding finding;
} reasons[] = {
	{"HTTP 401", FINDING_LLM_UNAUTHORIZED},
	{"HTTP 403", FINDING_LLM_UNAUTHORIZED},
	{"cannot be looked up", FINDING_LLM_UNKNOWN_HOST},
	{"it hangs", FINDING_LLM_HANGS},
};

/* The local host is the last choice, and by default one that nobody configured. */
static bool local_is_configured(const struct doctor *d)
{
	return d->config != NULL && (cfg_is_set(d->config, CFG_LOCAL_HOST) || cfg_is_set(d->config, CFG_LOCAL_PORT));
}

static void check_model(struct doctor *d, const json_t *model, bool any_usable)
{
	const char *id = text_of(model, "deploy_id"), *name = text_of(model, "model_name"),
		   *kind = text_of(model, "kind");
	const char *health = text_of(model, "status"), *reason = text_of(model, "reason");
	double until = json_number_value(json_object_get(model, "ejected_until"));
	enum finding f = FINDING_LLM_UNHEALTHY;

	if (kind == NULL || health == NULL || (strcmp(kind, "local") == 0 && (any_usable || !local_is_configured(d))))
		return;
	if (id == NULL)
		id = kind;
	if (until > (double)clock_wall_ms() / 1000)
		f = FINDING_LLM_EJECTED;
	else if (strcmp(health, "unhealthy") != 0)
		return;
	for (size_t i = 0; reason != NULL && i < sizeof reasons / sizeof reasons[0]; i++)
		if (strstr(reason, reasons[i].words) != NULL) {
			f = reasons[i].finding;
			break;
		}
	doctor_find(d, f, id, "%s (%s): %s", name != NULL ? name : kind, id, reason != NULL ? reason : health);
}

static void check_context(struct doctor *d, const json_t *model)
{
	const char *name = text_of(model, "model_name");

	if (truth_of(model, "current") && number_of(model, "context_length") == 0 &&
	    !cfg_is_set(d->config, CFG_LLM_CONTEXT))
		doctor_find(d, FINDING_CONTEXT_UNKNOWN, name != NULL ? name : "?",
		            "%s: its server does not tell the context window; %lld tokens are assumed",
		            name != NULL ? name : "?", (long long)cfg_int(d->config, CFG_LLM_CONTEXT));
}

static void check_drained(struct doctor *d)
{
	const json_t *item;
	char since[80];
	size_t i;

	json_array_foreach(json_object_get(d->status, "drained"), i, item)
	{
		const char *name = text_of(item, "name"), *by = text_of(item, "by");

		text_ago(json_number_value(json_object_get(item, "since")), since, sizeof since);
		if (name != NULL)
			doctor_find(d, FINDING_LLM_DRAINED, name, "%s gets no new turns: drained by %s %s", name,
			            by != NULL ? by : "?", since);
	}
}

/* An entry of balance.capacities that is for no LLM, such as one with a typing error, limits nothing. */
static void check_capacities(struct doctor *d, const json_t *models)
{
	static const char *const names[] = {"deploy_id", "container_name", "model_name", "model", "kind"};
	const struct cfg_list *list = cfg_list(d->config, CFG_BALANCE_CAPACITIES);

	for (size_t n = 0; n < list->count; n++) {
		size_t len = (size_t)(strrchr(list->items[n], '=') - list->items[n]), i;
		const json_t *model;
		bool found = false;

		json_array_foreach(models, i, model)
		{
			for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
				const char *name = text_of(model, names[k]);

				found |= name != NULL && strlen(name) == len && memcmp(name, list->items[n], len) == 0;
			}
		}
		if (!found)
			doctor_find(d, FINDING_CAPACITY_UNUSED, "balance.capacities", "no LLM is called \"%.*s\"",
			            (int)len, list->items[n]);
	}
}

static void check_models(struct doctor *d)
{
	const json_t *models = json_object_get(d->models, "models"), *model;
	const char *state = text_of(d->status, "status"), *poll = text_of(d->status, "next_poll");
	bool waiting = state != NULL && strcmp(state, "ready") != 0;
	size_t i;

	json_array_foreach(models, i, model)
	{
		check_model(d, model, !waiting);
		if (d->config != NULL)
			check_context(d, model);
	}
	check_drained(d);
	if (d->config != NULL && json_array_size(models) > 0)
		check_capacities(d, models);
	if (!waiting)
		return;
	doctor_find(d, FINDING_NO_LLM, d->a->run_dir, "no LLM can be used; %zu %s known", json_array_size(models),
	            json_array_size(models) == 1 ? "is" : "are");
	if (poll != NULL && (strncmp(poll, "Stopped", 7) == 0 || strstr(poll, "disabled") != NULL))
		doctor_find(d, FINDING_POLLING_STOPPED, "polling.*", "%s", poll);
}

/* --- the queue for their places ------------------------------------------------------------------------ */

struct refusals {
	char model[sizeof((struct event_record *)NULL)->model];
	unsigned full, late;
};

/* Adds what was refused to the model's row; without one it is not counted. */
static void add_refusal(struct refusals *list, size_t size, const struct event_record *r)
{
	bool full = strcmp(r->reason, "queue_full") == 0;
	size_t i;

	if (!full && strcmp(r->reason, "queue_wait") != 0) /* a key's own limit protects the others */
		return;
	for (i = 0; i < size && list[i].full + list[i].late > 0 && strcmp(list[i].model, r->model) != 0;)
		i++;
	if (i == size)
		return;
	memcpy(list[i].model, r->model, sizeof list[i].model);
	*(full ? &list[i].full : &list[i].late) += r->count > 0 ? r->count : 1;
}

static void check_refusals(struct doctor *d)
{
	struct event_reader *ring = event_reader_new(d->a->run_dir);
	struct refusals list[16] = {{.full = 0}};
	const size_t size = sizeof list / sizeof list[0];
	int64_t since_ms = clock_wall_ms() - REFUSALS_MS;
	struct err e = ERR_INIT;
	struct event_record r;

	if (ring == NULL || event_reader_check(ring, &e) < 0) {
		doctor_skip(d, "refusals of the queue", "%s", ring != NULL ? e.text : "out of memory");
	} else {
		uint64_t last = event_reader_last(ring),
			 oldest = last >= EVENT_RING_SLOTS ? last - EVENT_RING_SLOTS : 0;

		for (uint64_t n = last; n > oldest; n--)
			if (event_reader_get(ring, n, &r) && r.kind == EVENT_REFUSED && r.at_ms >= since_ms)
				add_refusal(list, size, &r);
	}
	for (size_t i = 0; i < size && list[i].full + list[i].late > 0; i++) {
		const char *model = list[i].model[0] != '\0' ? list[i].model : "?";

		doctor_find(d, FINDING_QUEUE_REFUSES, model,
		            "%s: in the last 10 minutes %u chats were refused because the queue was full, and %u that "
		            "had waited for queue.wait",
		            model, list[i].full, list[i].late);
	}
	event_reader_free(ring);
}

/* A burst is not always: it is read again after a second. */
static void check_queue_length(struct doctor *d)
{
	const int64_t length = cfg_int(d->config, CFG_QUEUE_LENGTH);
	const struct timespec second = {.tv_sec = 1};
	int64_t sums[COUNTERS];

	for (int n = 0; n < 2; n++) {
		if (n > 0)
			nanosleep(&second, NULL);
		if (counters_sum(d->a->run_dir, sums, NULL) < 0 || sums[COUNTER_TURNS_FOR_PLACE] == 0 ||
		    sums[COUNTER_TURNS_FOR_PLACE] * 100 < length * ALMOST_FULL)
			return;
	}
	doctor_find(d, FINDING_QUEUE_FULL, "queue.length", "%lld chats wait for a place, of %lld that may",
	            (long long)sums[COUNTER_TURNS_FOR_PLACE], (long long)length);
}

static void check_fallback(struct doctor *d)
{
	enum cfg_key k = cfg_bool(d->config, CFG_CLOUD_ENABLED) ? CFG_CLOUD_ENABLED : CFG_CLOUD_FALLBACK;

	if (cfg_bool(d->config, k) && cfg_str(d->config, CFG_CLOUD_TOKEN) == NULL)
		doctor_find(d, FINDING_NO_FALLBACK, cfg_key_info(k)->path, "%s (%s) has no effect without cloud.token",
		            cfg_key_info(k)->path, cfg_origin(d->config, k));
}

void check_llms(struct doctor *d)
{
	if (d->config != NULL) {
		check_backend(d);
		check_fallback(d);
		check_refusals(d);
		check_queue_length(d);
	} else {
		doctor_skip(d, "TT-Studio's backend", "the settings in effect are not known");
	}
	if (d->answers)
		check_models(d);
	else
		doctor_skip(d, "the LLMs", "tt-agentd does not answer, so what was published may be old");
}
