/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/events.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdlib.h>

struct subscriber {
	struct subscriber *next;
	struct events *owner;
	struct command_call *call;
};

struct events {
	struct subscriber *first;
};

struct events *events_new(void)
{
	return calloc(1, sizeof(struct events));
}

void events_free(struct events *ev)
{
	if (ev == NULL)
		return;
	while (ev->first != NULL) {
		struct subscriber *s = ev->first;

		ev->first = s->next;
		free(s);
	}
	free(ev);
}

static void gone(void *arg)
{
	struct subscriber *s = arg;

	for (struct subscriber **p = &s->owner->first; *p != NULL; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			break;
		}
	}
	free(s);
}

void events_subscribe(struct events *ev, struct command_call *call)
{
	struct subscriber *s = calloc(1, sizeof *s);

	if (s == NULL) {
		command_fail(call, "out of memory");
		return;
	}
	*s = (struct subscriber){.next = ev->first, .owner = ev, .call = call};
	ev->first = s;
	command_on_close(call, gone, s);
}

/* Steals event (NULL: no memory, or nobody listens). */
static void emit(struct events *ev, json_t *event)
{
	struct subscriber *next;

	for (struct subscriber *s = ev->first; event != NULL && s != NULL; s = next) {
		next = s->next; /* a peer that is too slow may go in command_event */
		command_event(s->call, json_incref(event));
	}
	json_decref(event);
}

static double now_s(void)
{
	return (double)clock_wall_ms() / 1000.0;
}

void events_discovery(struct events *ev, size_t found, size_t skipped, int64_t elapsed_ms)
{
	log_info("discovery", L_INT("found", found), L_INT("skipped", skipped), L_INT("duration_ms", elapsed_ms));
	if (ev->first != NULL)
		emit(ev,
		     json_pack("{s:f,s:s,s:I,s:I,s:I}", "at", now_s(), "event", "discovery", "found", (json_int_t)found,
		               "skipped", (json_int_t)skipped, "duration_ms", (json_int_t)elapsed_ms));
}

void events_discovery_failed(struct events *ev, const char *why, int64_t elapsed_ms, bool again)
{
	enum log_level level = again ? LOG_INFO_ : LOG_WARNING_;

	LOG_EVENT_(level, "discovery", L_STR("error", why), L_INT("duration_ms", elapsed_ms));
	if (ev->first != NULL)
		emit(ev, json_pack("{s:f,s:s,s:s,s:I}", "at", now_s(), "event", "discovery", "error", why,
		                   "duration_ms", (json_int_t)elapsed_ms));
}

void events_deployments(struct events *ev, size_t added, size_t removed, size_t redeployed)
{
	log_info("deployments", L_INT("added", added), L_INT("removed", removed), L_INT("redeployed", redeployed));
	if (ev->first != NULL)
		emit(ev, json_pack("{s:f,s:s,s:I,s:I,s:I}", "at", now_s(), "event", "deployments", "added",
		                   (json_int_t)added, "removed", (json_int_t)removed, "redeployed",
		                   (json_int_t)redeployed));
}

void events_verdict(struct events *ev, const struct llm *l, enum llm_health before)
{
	enum log_level level = l->health == LLM_UNHEALTHY && before != LLM_UNKNOWN ? LOG_WARNING_ : LOG_INFO_;

	LOG_EVENT_(level, "health", L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
	           L_STR("kind", llm_kind_text(l->kind)), L_STR("from", llm_health_text(before)),
	           L_STR("to", llm_health_text(l->health)), L_STR("reason", l->reason), L_INT("failures", l->failures),
	           L_INT("latency_ms", l->latency_ms));
	if (ev->first != NULL)
		emit(ev, json_pack("{s:f,s:s,s:s,s:s?,s:s,s:s,s:s,s:s?}", "at", now_s(), "event", "verdict", "model",
		                   llm_name(l), "deploy_id", l->deploy_id, "kind", llm_kind_text(l->kind), "from",
		                   llm_health_text(before), "to", llm_health_text(l->health), "reason", l->reason));
}

void events_ejected(struct events *ev, const struct llm *l, const char *why, unsigned repetition)
{
	int64_t ms = l->ejected_until_ms - l->ejected_since_ms;

	log_warning("ejected", L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
	            L_STR("kind", llm_kind_text(l->kind)), L_REAL("for_s", (double)ms / 1000.0),
	            L_INT("repetition", repetition), L_STR("reason", why));
	if (ev->first != NULL)
		emit(ev, json_pack("{s:f,s:s,s:s,s:s?,s:s,s:f,s:s}", "at", now_s(), "event", "ejected", "model",
		                   llm_name(l), "deploy_id", l->deploy_id, "kind", llm_kind_text(l->kind), "until",
		                   (double)l->ejected_until_ms / 1000.0, "reason", why));
}

void events_released(struct events *ev, const struct llm *l, const char *why)
{
	log_info("ejection over", L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
	         L_STR("kind", llm_kind_text(l->kind)), L_STR("reason", why));
	if (ev->first != NULL)
		emit(ev,
		     json_pack("{s:f,s:s,s:s,s:s?,s:s,s:s}", "at", now_s(), "event", "ejection over", "model",
		               llm_name(l), "deploy_id", l->deploy_id, "kind", llm_kind_text(l->kind), "reason", why));
}

void events_selection(struct events *ev, const struct llm *l, const char *old_name, const char *reason,
                      size_t candidates)
{
	if (l == NULL)
		log_warning("selection", L_STR("model", "none"), L_STR("was", old_name), L_STR("reason", reason));
	else
		log_info("selection", L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
		         L_STR("kind", llm_kind_text(l->kind)), L_STR("was", old_name), L_STR("reason", reason),
		         L_INT("candidates", candidates));
	if (ev->first != NULL)
		emit(ev, json_pack("{s:f,s:s,s:s?,s:s?,s:s,s:s}", "at", now_s(), "event", "selection", "model",
		                   l != NULL ? llm_name(l) : NULL, "deploy_id", l != NULL ? l->deploy_id : NULL, "was",
		                   old_name, "reason", reason));
}

void events_polling(struct events *ev, uint64_t attempt, int64_t next_ms)
{
	if (next_ms >= 0)
		log_info("polling", L_INT("attempt", attempt), L_REAL("next_s", (double)next_ms / 1000.0));
	else
		log_info("polling", L_INT("attempt", attempt), L_STR("next", "none"));
	if (ev->first != NULL)
		emit(ev,
		     json_pack("{s:f,s:s,s:I,s:o}", "at", now_s(), "event", "polling", "attempt", (json_int_t)attempt,
		               "next_s", next_ms >= 0 ? json_real((double)next_ms / 1000.0) : json_null()));
}

void events_code(struct events *ev, const char *problem)
{
	enum log_level level = problem != NULL ? LOG_WARNING_ : LOG_INFO_;

	LOG_EVENT_(level, "code", L_BOOL("available", problem == NULL), L_STR("reason", problem));
	if (ev->first != NULL)
		emit(ev, json_pack("{s:f,s:s,s:b,s:s?}", "at", now_s(), "event", "code", "available", problem == NULL,
		                   "reason", problem));
}

void events_config(struct events *ev, const char *key, const char *old_value, const char *new_value)
{
	log_info("config", L_STR("key", key), L_STR("old", old_value), L_STR("new", new_value));
	if (ev->first != NULL)
		emit(ev, json_pack("{s:f,s:s,s:s,s:s,s:s}", "at", now_s(), "event", "config", "key", key, "old",
		                   old_value, "new", new_value));
}

void events_config_refused(struct events *ev, const char *error)
{
	log_error("config", L_STR("refused", error));
	if (ev->first != NULL)
		emit(ev, json_pack("{s:f,s:s,s:s}", "at", now_s(), "event", "config_refused", "error", error));
}
