/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/document.h"

#include "core/status/document_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_ROOT   "Agent server is running but waiting for LLM"
#define LISTS_MAX      (128u << 20)
#define WAITING_STATUS "Agent is still initializing, waiting for LLM to become available"

static json_t *list(const struct cfg_list *l)
{
	json_t *array = json_array();

	for (size_t i = 0; array != NULL && i < l->count; i++) {
		if (json_array_append_new(array, document_string(l->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

char *document_text(const json_t *doc, size_t *len)
{
	char *out = doc != NULL ? json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;

	if (out != NULL && len != NULL)
		*len = strlen(out);
	return out;
}

/* Steals doc. */
static char *finish(json_t *doc, size_t *len)
{
	char *out = document_text(doc, len);

	json_decref(doc);
	return out;
}

/* --- tools ------------------------------------------------------------------------ */

/* What the next turn with l can use. */
static json_t *tools(const struct status_view *v, const struct llm *l)
{
	const char *const *name = llm_uses_tools(l) ? v->tools : NULL;
	json_t *names = json_array();

	for (; names != NULL && name != NULL && *name != NULL; name++) {
		if (json_array_append_new(names, json_string(*name)) < 0) {
			json_decref(names);
			return NULL;
		}
	}
	return names;
}

/* --- parts ------------------------------------------------------------------------ */

static json_t *status_text_of(const struct llm *l)
{
	return json_string(llm_health_text(l->health));
}

static const char *container_name(const struct llm *l)
{
	return l->container_name != NULL ? l->container_name : "";
}

json_t *document_llm_info(const struct llm *l)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "deploy_id", document_string(l->deploy_id),
	                 "container_name", document_string(container_name(l)), "internal_url",
	                 document_string(l->internal_url), "health_url", document_string(l->health_url), "model_name",
	                 document_string(llm_name(l)), "model_type", document_string(llm_type(l)), "status",
	                 status_text_of(l), "hf_model_id", document_string(l->hf_model_id), "tool_calling_enabled",
	                 l->tools == LLM_TOOLS_YES);
}

/* The ejected LLMs of every kind; NULL: none, or out of memory. */
static json_t *ejected(const struct status_view *v)
{
	json_t *items = NULL;

	for (size_t i = 0; i < v->llm_count; i++) {
		const struct llm *l = &v->llms[i];

		if (l->ejected_until_ms == 0)
			continue;
		if (items == NULL)
			items = json_array();
		json_array_append_new(
			items, json_pack("{s:o,s:o,s:s,s:o,s:o,s:o}", "deploy_id", document_string(l->deploy_id),
		                         "model_name", document_string(llm_name(l)), "kind", llm_kind_text(l->kind),
		                         "since", document_seconds(l->ejected_since_ms), "until",
		                         document_seconds(l->ejected_until_ms), "reason", document_string(l->reason)));
	}
	return items;
}

/* NULL: none is drained, or out of memory. */
static json_t *drained(const struct status_view *v)
{
	json_t *list = v->drain_count > 0 ? json_array() : NULL;

	for (size_t n = 0; n < v->drain_count; n++) {
		const struct status_drain *drain = &v->drains[n];
		const struct llm *l = NULL;

		for (size_t i = 0; i < v->llm_count && l == NULL; i++)
			if (strcmp(status_drain_name(&v->llms[i]), drain->name) == 0)
				l = &v->llms[i];
		json_array_append_new(list,
		                      json_pack("{s:o,s:o,s:s?,s:o,s:o}", "name", document_string(drain->name),
		                                "model_name", document_string(l != NULL ? llm_name(l) : NULL), "kind",
		                                l != NULL ? llm_kind_text(l->kind) : NULL, "since",
		                                document_seconds(drain->since_ms), "by", document_string(drain->by)));
	}
	return list;
}

json_t *document_model_brief(const struct llm *l)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "model_name", document_string(llm_name(l)), "model_type",
	                 document_string(llm_type(l)), "status", status_text_of(l), "container_name",
	                 document_string(container_name(l)), "deploy_id", document_string(l->deploy_id));
}

json_t *document_model_id(const struct llm *l)
{
	return json_pack("{s:o,s:o,s:o}", "deploy_id", document_string(l->deploy_id), "model_name",
	                 document_string(llm_name(l)), "status", status_text_of(l));
}

json_t *document_model_info(const struct llm *l)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "deploy_id", document_string(l->deploy_id), "model_name",
	                 document_string(llm_name(l)), "model_type", document_string(llm_type(l)), "status",
	                 status_text_of(l), "container_name", document_string(container_name(l)));
}

json_t *document_current_config(const struct config *c)
{
	return json_pack(
		"{s:o,s:o,s:b,s:b,s:b,s:b}", "priority_models", list(cfg_list(c, CFG_SELECTION_PRIORITY_MODELS)),
		"model_type_priority", list(cfg_list(c, CFG_SELECTION_MODEL_TYPES)), "auto_discovery_enabled",
		cfg_bool(c, CFG_DISCOVERY_ENABLED), "health_check_enabled", cfg_bool(c, CFG_HEALTH_ENABLED),
		"fallback_to_local", cfg_bool(c, CFG_LOCAL_ENABLED), "use_cloud_llm", cfg_bool(c, CFG_CLOUD_ENABLED));
}

static json_t *configuration(const struct config *c)
{
	return json_pack("{s:b,s:b,s:b,s:b,s:o}", "auto_discovery_enabled", cfg_bool(c, CFG_DISCOVERY_ENABLED),
	                 "health_check_enabled", cfg_bool(c, CFG_HEALTH_ENABLED), "fallback_to_local",
	                 cfg_bool(c, CFG_LOCAL_ENABLED), "use_cloud_llm", cfg_bool(c, CFG_CLOUD_ENABLED),
	                 "priority_models", list(cfg_list(c, CFG_SELECTION_PRIORITY_MODELS)));
}

static void next_poll(const struct status_view *v, const struct config *c, char *out, size_t size)
{
	int64_t ms = cfg_ms(c, CFG_POLLING_INTERVAL);
	bool minutes = ms >= 60000 && ms % 60000 == 0;
	double number = (double)ms / (minutes ? 60000 : 1000);

	if (!cfg_bool(c, CFG_POLLING_ENABLED))
		snprintf(out, size, "LLM polling is disabled");
	else if (v->polling.exhausted)
		snprintf(out, size, "Stopped after %llu attempts", (unsigned long long)v->polling.attempts);
	else
		snprintf(out, size, "Will retry every %.15g %s%s", number, minutes ? "minute" : "second",
		         ms == 60000 || ms == 1000 ? "" : "s");
}

/* --- the two documents -------------------------------------------------------------- */

/* The view's configuration, or the defaults if none was published; config_unref. */
static struct config *config_of(const struct status_view *v)
{
	struct config_source nothing = {.file = NULL};
	struct config_report report;
	struct config *c;

	if (v->config != NULL)
		return config_ref((struct config *)v->config);
	config_report_init(&report);
	c = config_load(&nothing, &report);
	config_report_free(&report);
	return c;
}

void document_next_poll(const struct status_view *v, char *out, size_t size)
{
	struct config *c = config_of(v);

	if (size > 0)
		out[0] = '\0';
	if (c != NULL)
		next_poll(v, c, out, size);
	config_unref(c);
}

/* Its list is inserted later. */
static json_t *discovery_summary(const struct status_view *v)
{
	int total = 0, count[LLM_UNHEALTHY + 1] = {0};

	for (size_t i = 0; i < v->llm_count; i++) {
		if (v->llms[i].kind != LLM_DISCOVERED)
			continue;
		total++;
		count[v->llms[i].health]++;
	}
	return json_pack("{s:i,s:i,s:i,s:i,s:[]}", "total_llms", total, "healthy", count[LLM_HEALTHY], "degraded",
	                 count[LLM_DEGRADED], "unhealthy", count[LLM_UNHEALTHY], "llms");
}

static json_t *health_monitoring(const struct llm *l, const struct config *c)
{
	const char *health = "unhealthy";

	if (l->kind == LLM_CLOUD || !cfg_bool(c, CFG_HEALTH_ENABLED))
		return json_string("N/A");
	if ((int64_t)l->failures < cfg_int(c, CFG_HEALTH_MAX_FAILURES))
		health = l->failures == 0 ? "healthy" : "degraded";
	return json_pack("{s:b,s:i,s:o,s:o,s:s}", "is_monitoring", 1, "failure_count", (int)l->failures,
	                 "last_health_check", document_seconds(l->checked_ms), "current_llm",
	                 document_string(llm_name(l)), "health_status", health);
}

/* "Cloud: gpt-x", "Discovered: Llama", "Container: http://h:7000/v1/chat/completions" */
static json_t *info_line(const struct llm *l)
{
	const struct llm_kind_info *kind = llm_kind_info(l->kind);
	char *line = NULL;
	json_t *value;

	if (asprintf(&line, "%s: %s", kind->title, kind->shown_by_url ? l->url : llm_name(l)) < 0)
		return NULL;
	value = document_string(line);
	free(line);
	return value;
}

static json_t *root_waiting(const struct status_view *v, const struct config *c)
{
	char poll[96];

	next_poll(v, c, poll, sizeof poll);
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "message", WAITING_ROOT, "status", "initializing", "llm_mode",
	                 "none", "llm_info", "No LLM available yet", "health_monitoring", "N/A", "discovery_summary",
	                 "N/A", "next_poll", poll);
}

static json_t *root_ready(const struct status_view *v, const struct config *c, const struct llm *l)
{
	return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o}", "message", "Agent server is running", "status", "ready",
	                 "llm_mode", l->kind == LLM_CLOUD ? "cloud" : "local", "llm_info", info_line(l),
	                 "health_monitoring", health_monitoring(l, c), "discovery_summary", discovery_summary(v));
}

static json_t *status_waiting(const struct status_view *v, const struct config *c)
{
	char poll[96];

	next_poll(v, c, poll, sizeof poll);
	return json_pack("{s:s,s:s,s:n,s:[],s:{s:i,s:i,s:i,s:i},s:o,s:s}", "status", "initializing", "message",
	                 WAITING_STATUS, "current_llm", "available_models", "discovery_summary", "total", 0, "healthy",
	                 0, "degraded", 0, "unhealthy", 0, "configuration", configuration(c), "next_poll", poll);
}

static json_t *current_llm(const struct llm *l)
{
	bool discovered = l->kind == LLM_DISCOVERED;

	return json_pack("{s:o,s:b,s:b,s:o}", "server_url", document_string(l->url), "is_cloud", l->kind == LLM_CLOUD,
	                 "is_discovered", discovered, "llm_info", discovered ? document_llm_info(l) : json_null());
}

static json_t *capabilities(const struct status_view *v, const struct llm *l)
{
	bool calls = llm_uses_tools(l);

	json_t *all = json_pack("{s:b,s:b}", "web_search", calls && v->web_search, "tool_calling", calls);

	/* An older TT-Studio knows nothing of it. */
	if (all != NULL && v->document_search)
		json_object_set_new(all, "document_search", json_boolean(calls));
	return all;
}

static json_t *status_ready(const struct status_view *v, const struct config *c, long current)
{
	const struct llm *l = &v->llms[current];

	return json_pack("{s:s,s:o,s:[],s:o,s:o,s:o,s:o}", "status", "ready", "current_llm", current_llm(l),
	                 "available_models", "discovery_summary", discovery_summary(v), "tools", tools(v, l),
	                 "capabilities", capabilities(v, l), "configuration", configuration(c));
}

static json_t *moment(int64_t ms)
{
	return ms != 0 ? document_seconds(ms) : json_null();
}

json_t *document_sources(const struct status_view *v)
{
	static const char *const states[] = {[SOURCE_OFF] = "off",
	                                     [SOURCE_PENDING] = "pending",
	                                     [SOURCE_ANSWERS] = "answers",
	                                     [SOURCE_FAILS] = "failing"};
	json_t *list = json_array();

	for (size_t i = 0; i < v->source_count; i++) {
		const struct status_source *s = &v->sources[i];

		json_array_append_new(list,
		                      json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:I,s:I,s:o}", "source", s->name, "state",
		                                states[s->state], "error", document_string(s->error), "url",
		                                document_string(s->url), "since", moment(s->since_ms), "answered",
		                                moment(s->answered_ms), "found", (json_int_t)s->found, "skipped",
		                                (json_int_t)s->skipped, "next_attempt", moment(s->next_ms)));
	}
	return list;
}

/* What an admin asks who sees no LLM: the pin, what was discovered (which the summary does not say
 * while there is no LLM), and how discovery goes. */
static void add_discovery(json_t *doc, const struct status_view *v)
{
	json_t *known = v->source_count > 0 ? discovery_summary(v) : NULL;

	if (known == NULL || doc == NULL)
		return;
	json_object_del(known, "llms");
	json_object_set_new(doc, "pinned", document_string(v->pinned));
	json_object_set_new(doc, "discovered", known);
	json_object_set_new(doc, "discovery", document_sources(v));
}

/* Steals doc. Fills the empty lists. */
static char *finish_lists(json_t *doc, const struct status_view *v, long current, size_t *len)
{
	struct buf available = BUF_INIT(LISTS_MAX), summary = BUF_INIT(LISTS_MAX);
	char *out = finish(doc, NULL);

	if (current >= 0 && out != NULL) {
		if (document_list_available(&available, v, current) == 0 && document_list_summary(&summary, v) == 0) {
			out = document_list_insert(out, "available_models", &available);
			out = document_list_insert(out, "llms", &summary);
		} else {
			free(out);
			out = NULL;
		}
	}
	if (out != NULL && len != NULL)
		*len = strlen(out);
	buf_free(&available);
	buf_free(&summary);
	return out;
}

/* The number of the publication; 0: none. */
static void add_generation(json_t *doc, const struct status_view *v)
{
	if (doc != NULL && v->generation != 0)
		json_object_set_new(doc, "generation", json_integer((json_int_t)v->generation));
}

char *document_root(const struct status_view *v, size_t *len)
{
	struct config *c = config_of(v);
	long current = status_view_current(v);
	json_t *doc = NULL;

	if (c != NULL)
		doc = current < 0 ? root_waiting(v, c) : root_ready(v, c, &v->llms[current]);
	add_generation(doc, v);
	config_unref(c);
	return finish_lists(doc, v, current, len);
}

char *document_status(const struct status_view *v, size_t *len)
{
	struct config *c = config_of(v);
	long current = status_view_current(v);
	json_t *doc = NULL, *held;

	if (c != NULL)
		doc = current < 0 ? status_waiting(v, c) : status_ready(v, c, current);
	held = doc != NULL ? ejected(v) : NULL;
	if (held != NULL)
		json_object_set_new(doc, "ejected", held);
	add_discovery(doc, v);
	held = doc != NULL ? drained(v) : NULL;
	if (held != NULL)
		json_object_set_new(doc, "drained", held);
	if (doc != NULL && v->mcp != NULL)
		json_object_set(doc, "mcp", (json_t *)(uintptr_t)v->mcp);
	if (doc != NULL && v->hosts != NULL)
		json_object_set(doc, "hosts", (json_t *)(uintptr_t)v->hosts);
	add_generation(doc, v);
	config_unref(c);
	return finish_lists(doc, v, current, len);
}

char *document_root_initializing(size_t *len)
{
	return document_root(&(struct status_view){.config = NULL}, len);
}

char *document_status_initializing(size_t *len)
{
	return document_status(&(struct status_view){.config = NULL}, len);
}

char *document_with(const char *doc, size_t doc_len, json_t *members, size_t *len)
{
	size_t tail_len;
	char *tail = finish(members, &tail_len);
	char *out = NULL;

	if (tail != NULL)
		out = malloc(doc_len + tail_len + 1);
	if (out != NULL) {
		memcpy(out, doc, doc_len - 1);
		out[doc_len - 1] = ',';
		memcpy(out + doc_len, tail + 1, tail_len); /* its NUL included */
		if (len != NULL)
			*len = doc_len + tail_len - 1;
	}
	free(tail);
	return out;
}

char *document_stale(const char *doc, size_t doc_len, int64_t since_wall_ms, const char *reason, size_t *len)
{
	return document_with(doc, doc_len,
	                     json_pack("{s:b,s:o,s:o}", "stale", 1, "stale_since", document_seconds(since_wall_ms),
	                               "stale_reason", document_string(reason)),
	                     len);
}
