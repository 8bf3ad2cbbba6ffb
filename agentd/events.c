/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/events.h"

#include "agentd/recorder.h"
#include "agentd/turn_report.h"
#include "core/base/clock.h"
#include "core/base/log.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct subscriber {
	LIST_ENTRY(subscriber) link;
	struct command_call *call;
};

struct events {
	LIST_HEAD(, subscriber) subscribers;
	struct event_ring *ring; /* NULL: nothing is recorded */
	struct recorder *recorder;
	struct event *due;    /* of what waits in the recorder */
	struct err problem;   /* with the ring, that was logged last */
	bool discovery_fails; /* as far as it is recorded */
};

/* ---- the ring ------------------------------------------------------------------------ */

static void log_problem(struct events *ev, const struct err *e)
{
	if (err_is_set(e) && strcmp(e->text, ev->problem.text) != 0)
		log_event(LOG_EVENTS_NOT_RECORDED, L_STR("error", e->text));
	ev->problem = *e;
}

static void write_record(void *arg, struct event_record *r)
{
	struct events *ev = arg;
	struct err e = ERR_INIT;

	event_ring_add(ev->ring, r, &e);
	log_problem(ev, &e);
}

static void tick(struct events *ev)
{
	int64_t ms = recorder_tick(ev->recorder, clock_wall_ms());
	const struct timeval tv = clock_timeval_ms(ms);

	if (ms >= 0)
		evtimer_add(ev->due, &tv);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tick(arg);
}

static void record(struct events *ev, struct event_record r)
{
	if (ev->ring == NULL)
		return;
	recorder_add(ev->recorder, r, clock_wall_ms());
	tick(ev);
}

/* Of a model: what it is called, and which one of that name. */
static void record_model(struct events *ev, enum event_kind kind, const struct llm *l, const char *was,
                         const char *reason)
{
	record(ev, event_record_of(kind, l != NULL ? llm_name(l) : NULL, l != NULL ? l->deploy_id : NULL, was, reason));
}

void events_reported(struct events *ev, const struct event_record *r)
{
	record(ev, *r);
}

struct events *events_new(void)
{
	return calloc(1, sizeof(struct events));
}

void events_record(struct events *ev, struct event_base *base, const char *run_dir)
{
	struct err e = ERR_INIT;

	ev->recorder = recorder_new(write_record, ev);
	ev->due = evtimer_new(base, on_due, ev);
	if (ev->recorder == NULL || ev->due == NULL)
		err_set(&e, "out of memory");
	else
		ev->ring = event_ring_open(run_dir, &e);
	log_problem(ev, &e);
}

void events_started(struct events *ev, const char *version)
{
	struct event_record newest;
	char reason[128];
	bool killed = ev->ring != NULL && event_ring_newest(ev->ring, &newest) && newest.kind != EVENT_STOPPED;

	snprintf(reason, sizeof reason, "version %s%s", version, killed ? "; the one before was killed" : "");
	record(ev, event_record_of(EVENT_STARTED, NULL, NULL, NULL, reason));
}

void events_stopping(struct events *ev, const char *why)
{
	if (ev->ring == NULL)
		return;
	recorder_flush(ev->recorder);
	record(ev, event_record_of(EVENT_STOPPED, NULL, NULL, NULL, why));
}

/* ---- the channel ----------------------------------------------------------------------- */

static void remove_subscriber(void *arg)
{
	struct subscriber *s = arg;

	LIST_REMOVE(s, link);
	free(s);
}

void events_free(struct events *ev)
{
	if (ev == NULL)
		return;
	while (!LIST_EMPTY(&ev->subscribers))
		remove_subscriber(LIST_FIRST(&ev->subscribers));
	if (ev->due != NULL)
		event_free(ev->due);
	recorder_free(ev->recorder);
	event_ring_close(ev->ring);
	free(ev);
}

void events_subscribe(struct events *ev, struct command_call *call)
{
	struct subscriber *s = calloc(1, sizeof *s);

	if (s == NULL) {
		command_fail(call, "out of memory");
		return;
	}
	s->call = call;
	LIST_INSERT_HEAD(&ev->subscribers, s, link);
	command_on_close(call, remove_subscriber, s);
}

/* Sends {"at":..., "event":name} with the members of fields (stolen; NULL: no memory, or
 * nobody listens). */
static void emit(struct events *ev, const char *name, json_t *fields)
{
	json_t *event;
	struct subscriber *s, *next;

	if (fields == NULL)
		return;
	event = json_pack("{s:f,s:s}", "at", (double)clock_wall_ms() / 1000.0, "event", name);
	if (json_object_update(event, fields) == 0) {
		for (s = LIST_FIRST(&ev->subscribers); s != NULL; s = next) {
			next = LIST_NEXT(s, link); /* command_event may remove a peer that reads too slowly */
			command_event(s->call, json_incref(event));
		}
	}
	json_decref(event);
	json_decref(fields);
}

/* json_pack's arguments; not evaluated while nobody listens. */
#define EMIT(ev, name, ...) emit(ev, name, LIST_EMPTY(&(ev)->subscribers) ? NULL : json_pack(__VA_ARGS__))

/* ---- each event ------------------------------------------------------------------------ */

void events_discovery(struct events *ev, size_t found, size_t skipped, int64_t elapsed_ms, bool repeated)
{
	log_event(repeated ? LOG_DISCOVERY_DEBUG : LOG_DISCOVERY, L_INT("found", found), L_INT("skipped", skipped),
	          L_INT("duration_ms", elapsed_ms));
	EMIT(ev, "discovery", "{s:I,s:I,s:I}", "found", (json_int_t)found, "skipped", (json_int_t)skipped,
	     "duration_ms", (json_int_t)elapsed_ms);
	if (ev->discovery_fails) {
		char reason[64];

		snprintf(reason, sizeof reason, "%zu models", found);
		record_model(ev, EVENT_DISCOVERY_RECOVERED, NULL, NULL, reason);
	}
	ev->discovery_fails = false;
}

void events_discovery_failed(struct events *ev, const char *why, int64_t elapsed_ms, bool repeated)
{
	log_event(repeated ? LOG_DISCOVERY_DEBUG : LOG_DISCOVERY_WARNING, L_STR("error", why),
	          L_INT("duration_ms", elapsed_ms));
	EMIT(ev, "discovery", "{s:s,s:I}", "error", why, "duration_ms", (json_int_t)elapsed_ms);
	if (!repeated)
		record_model(ev, EVENT_DISCOVERY_FAILING, NULL, NULL, why);
	ev->discovery_fails = true;
}

void events_deployments(struct events *ev, size_t added, size_t removed, size_t redeployed)
{
	char reason[128];

	log_event(LOG_DEPLOYMENTS, L_INT("added", added), L_INT("removed", removed), L_INT("redeployed", redeployed));
	EMIT(ev, "deployments", "{s:I,s:I,s:I}", "added", (json_int_t)added, "removed", (json_int_t)removed,
	     "redeployed", (json_int_t)redeployed);
	snprintf(reason, sizeof reason, "%zu added, %zu removed, %zu redeployed", added, removed, redeployed);
	record_model(ev, EVENT_DEPLOYMENTS, NULL, NULL, reason);
}

/* What an LLM's server says may quote a prompt: the ring has our words only. */
static void record_failure(struct events *ev, enum event_kind kind, const struct llm *l, const char *before,
                           const char *why)
{
	char reason[192];

	why = why != NULL ? why : "";
	snprintf(reason, sizeof reason, "%s%.*s", before, (int)turn_report_own_words(why), why);
	record_model(ev, kind, l, NULL, reason);
}

static void record_verdict(struct events *ev, const struct llm *l, enum llm_health before)
{
	char reason[64];

	if (l->health == LLM_HEALTHY) {
		snprintf(reason, sizeof reason, "was %s", llm_health_text(before));
		record_model(ev, EVENT_MODEL_UP, l, NULL, reason);
	} else if (l->health == LLM_DEGRADED) {
		record_failure(ev, EVENT_MODEL_DEGRADED, l, "", l->reason);
	} else if (l->health == LLM_UNHEALTHY) {
		record_failure(ev, EVENT_MODEL_DOWN, l, "", l->reason);
	}
}

void events_verdict(struct events *ev, const struct llm *l, enum llm_health before)
{
	bool worse = l->health == LLM_UNHEALTHY && before != LLM_UNKNOWN;

	log_event(worse ? LOG_HEALTH_WARNING : LOG_HEALTH, L_STR("model", llm_name(l)),
	          L_STR("deploy_id", l->deploy_id), L_STR("kind", llm_kind_text(l->kind)),
	          L_STR("from", llm_health_text(before)), L_STR("to", llm_health_text(l->health)),
	          L_STR("reason", l->reason), L_INT("failures", l->failures), L_INT("latency_ms", l->latency_ms));
	EMIT(ev, "verdict", "{s:s,s:s?,s:s,s:s,s:s,s:s?}", "model", llm_name(l), "deploy_id", l->deploy_id, "kind",
	     llm_kind_text(l->kind), "from", llm_health_text(before), "to", llm_health_text(l->health), "reason",
	     l->reason);
	record_verdict(ev, l, before);
}

void events_ejected(struct events *ev, const struct llm *l, const char *why, unsigned repetition)
{
	int64_t ms = l->ejected_until_ms - l->ejected_since_ms;
	char before[48];

	log_event(LOG_EJECTED, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
	          L_STR("kind", llm_kind_text(l->kind)), L_REAL("for_s", (double)ms / 1000.0),
	          L_INT("repetition", repetition), L_STR("reason", why));
	EMIT(ev, "ejected", "{s:s,s:s?,s:s,s:f,s:s}", "model", llm_name(l), "deploy_id", l->deploy_id, "kind",
	     llm_kind_text(l->kind), "until", (double)l->ejected_until_ms / 1000.0, "reason", why);
	snprintf(before, sizeof before, "for %lld s: ", (long long)(ms + 500) / 1000);
	record_failure(ev, EVENT_EJECTED, l, before, why);
}

void events_quirks(struct events *ev, const struct llm *l, const struct quirks *known, const char *refusal)
{
	char text[QUIRKS_TEXT_MAX];

	quirks_text(known, text);
	log_event(LOG_LLM_QUIRKS, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
	          L_STR("kind", llm_kind_text(l->kind)), L_STR("quirks", text), L_STR("refusal", refusal));
	EMIT(ev, "quirks", "{s:s,s:s?,s:s,s:o,s:s}", "model", llm_name(l), "deploy_id", l->deploy_id, "kind",
	     llm_kind_text(l->kind), "quirks", quirks_to_json(known), "refusal", refusal);
}

void events_ejection_over(struct events *ev, const struct llm *l, const char *why)
{
	log_event(LOG_EJECTION_OVER, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
	          L_STR("kind", llm_kind_text(l->kind)), L_STR("reason", why));
	/* The channel's clients know it by this name. */
	EMIT(ev, "ejection over", "{s:s,s:s?,s:s,s:s}", "model", llm_name(l), "deploy_id", l->deploy_id, "kind",
	     llm_kind_text(l->kind), "reason", why);
	record_model(ev, EVENT_RETURNED, l, NULL, why);
}

void events_selection(struct events *ev, const struct llm *l, const char *old_name, const char *reason,
                      size_t candidates)
{
	if (l == NULL)
		log_event(LOG_SELECTION_NONE, L_STR("model", "none"), L_STR("was", old_name), L_STR("reason", reason));
	else
		log_event(LOG_SELECTION, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
		          L_STR("kind", llm_kind_text(l->kind)), L_STR("was", old_name), L_STR("reason", reason),
		          L_INT("candidates", candidates));
	EMIT(ev, "selection", "{s:s?,s:s?,s:s?,s:s}", "model", l != NULL ? llm_name(l) : NULL, "deploy_id",
	     l != NULL ? l->deploy_id : NULL, "was", old_name, "reason", reason);
	record_model(ev, EVENT_SELECTED, l, old_name, reason);
}

void events_drain(struct events *ev, const struct llm *l, const char *name, const char *by, bool drained)
{
	log_event(drained ? LOG_DRAINED : LOG_UNDRAINED, L_STR("model", l != NULL ? llm_name(l) : NULL),
	          L_STR("deploy_id", name), L_STR("by", by));
	EMIT(ev, drained ? "drained" : "undrained", "{s:s?,s:s,s:s}", "model", l != NULL ? llm_name(l) : NULL,
	     "deploy_id", name, "by", by);
	record(ev, event_record_of(drained ? EVENT_DRAINED : EVENT_UNDRAINED, l != NULL ? llm_name(l) : NULL, name,
	                           NULL, NULL));
}

void events_polling(struct events *ev, uint64_t attempt, int64_t next_ms)
{
	if (next_ms >= 0)
		log_event(LOG_POLLING, L_INT("attempt", attempt), L_REAL("next_s", (double)next_ms / 1000.0));
	else
		log_event(LOG_POLLING, L_INT("attempt", attempt), L_STR("next", "none"));
	EMIT(ev, "polling", "{s:I,s:o}", "attempt", (json_int_t)attempt, "next_s",
	     next_ms >= 0 ? json_real((double)next_ms / 1000.0) : json_null());
}

void events_code(struct events *ev, const char *problem)
{
	log_event(problem != NULL ? LOG_CODE_WARNING : LOG_CODE, L_BOOL("available", problem == NULL),
	          L_STR("reason", problem));
	EMIT(ev, "code", "{s:b,s:s?}", "available", problem == NULL, "reason", problem);
}

void events_documents(struct events *ev, const char *problem, bool worked)
{
	log_event(problem != NULL && worked ? LOG_DOCUMENTS_WARNING : LOG_DOCUMENTS,
	          L_BOOL("available", problem == NULL), L_STR("reason", problem));
	EMIT(ev, "documents", "{s:b,s:s?}", "available", problem == NULL, "reason", problem);
}

void events_config(struct events *ev, const char *key, const char *old_value, const char *new_value)
{
	log_event(LOG_CONFIG, L_STR("key", key), L_STR("old", old_value), L_STR("new", new_value));
	EMIT(ev, "config", "{s:s,s:s,s:s}", "key", key, "old", old_value, "new", new_value);
}

void events_config_changed(struct events *ev, const char *changes)
{
	record_model(ev, EVENT_CONFIG_CHANGED, NULL, NULL, changes);
}

void events_config_refused(struct events *ev, const char *error)
{
	log_event(LOG_CONFIG_ERROR, L_STR("refused", error));
	EMIT(ev, "config_refused", "{s:s}", "error", error);
	record_model(ev, EVENT_CONFIG_REFUSED, NULL, NULL, error);
}
