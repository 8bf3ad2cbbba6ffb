/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/events.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdlib.h>
#include <sys/queue.h>

struct subscriber {
	LIST_ENTRY(subscriber) link;
	struct command_call *call;
};

struct events {
	LIST_HEAD(, subscriber) subscribers;
};

struct events *events_new(void)
{
	return calloc(1, sizeof(struct events));
}

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

void events_discovery(struct events *ev, size_t found, size_t skipped, int64_t elapsed_ms, bool repeated)
{
	log_event(repeated ? LOG_DISCOVERY_DEBUG : LOG_DISCOVERY, L_INT("found", found), L_INT("skipped", skipped),
	          L_INT("duration_ms", elapsed_ms));
	EMIT(ev, "discovery", "{s:I,s:I,s:I}", "found", (json_int_t)found, "skipped", (json_int_t)skipped,
	     "duration_ms", (json_int_t)elapsed_ms);
}

void events_discovery_failed(struct events *ev, const char *why, int64_t elapsed_ms, bool repeated)
{
	log_event(repeated ? LOG_DISCOVERY_DEBUG : LOG_DISCOVERY_WARNING, L_STR("error", why),
	          L_INT("duration_ms", elapsed_ms));
	EMIT(ev, "discovery", "{s:s,s:I}", "error", why, "duration_ms", (json_int_t)elapsed_ms);
}

void events_deployments(struct events *ev, size_t added, size_t removed, size_t redeployed)
{
	log_event(LOG_DEPLOYMENTS, L_INT("added", added), L_INT("removed", removed), L_INT("redeployed", redeployed));
	EMIT(ev, "deployments", "{s:I,s:I,s:I}", "added", (json_int_t)added, "removed", (json_int_t)removed,
	     "redeployed", (json_int_t)redeployed);
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
}

void events_ejected(struct events *ev, const struct llm *l, const char *why, unsigned repetition)
{
	int64_t ms = l->ejected_until_ms - l->ejected_since_ms;

	log_event(LOG_EJECTED, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
	          L_STR("kind", llm_kind_text(l->kind)), L_REAL("for_s", (double)ms / 1000.0),
	          L_INT("repetition", repetition), L_STR("reason", why));
	EMIT(ev, "ejected", "{s:s,s:s?,s:s,s:f,s:s}", "model", llm_name(l), "deploy_id", l->deploy_id, "kind",
	     llm_kind_text(l->kind), "until", (double)l->ejected_until_ms / 1000.0, "reason", why);
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

void events_config_refused(struct events *ev, const char *error)
{
	log_event(LOG_CONFIG_ERROR, L_STR("refused", error));
	EMIT(ev, "config_refused", "{s:s}", "error", error);
}
