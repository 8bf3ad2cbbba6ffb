#include "core/status/document.h"

#include "core/config/features.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_ROOT   "Agent server is running but waiting for LLM"
#define WAITING_STATUS "Agent is still initializing, waiting for LLM to become available"

/* What the environment gave may be no UTF-8; a document must be. */
static json_t *text(const char *s)
{
	json_t *value;
	char *copy;

	if (s == NULL)
		return json_null();
	value = json_string(s);
	if (value != NULL || (copy = strdup(s)) == NULL)
		return value;
	for (char *p = copy; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	value = json_string(copy);
	free(copy);
	return value;
}

static json_t *list(const struct cfg_list *l)
{
	json_t *array = json_array();

	for (size_t i = 0; array != NULL && i < l->count; i++) {
		if (json_array_append_new(array, text(l->items[i])) < 0) {
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

/* Seconds as people count them; "never" is a plain 0. */
static json_t *seconds(int64_t ms)
{
	return ms != 0 ? json_real((double)ms / 1000) : json_integer(0);
}

/* --- tools ------------------------------------------------------------------------ */

json_t *document_tools(const struct config *c, const struct llm *l)
{
	const char *tools[FEATURE_TOOLS];
	size_t count = l != NULL && llm_uses_tools(l) ? features_tools(c, tools) : 0;
	json_t *names = json_array();

	for (size_t i = 0; names != NULL && i < count; i++) {
		if (json_array_append_new(names, json_string(tools[i])) < 0) {
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
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "deploy_id", text(l->deploy_id),
			 "container_name", text(container_name(l)), "internal_url", text(l->internal_url),
			 "health_url", text(l->health_url), "model_name", text(llm_name(l)), "model_type",
			 text(llm_type(l)), "status", status_text_of(l), "hf_model_id", text(l->hf_model_id),
			 "tool_calling_enabled", l->tools == LLM_TOOLS_YES);
}

json_t *document_available_model(const struct llm *l, bool is_current)
{
	json_t *model = json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "deploy_id", text(l->deploy_id),
				  "model_name", text(llm_name(l)), "model_type", text(llm_type(l)),
				  "container_name", text(container_name(l)), "internal_url",
				  text(l->internal_url), "health_url", text(l->health_url), "status",
				  status_text_of(l), "is_current", is_current);

	if (l->ejected_until_ms != 0 && model != NULL) {
		json_object_set_new(model, "ejected_since", seconds(l->ejected_since_ms));
		json_object_set_new(model, "ejected_until", seconds(l->ejected_until_ms));
		json_object_set_new(model, "ejected_reason", text(l->reason));
	}
	return model;
}

/* Those of every kind that turns found failing; NULL: none, or no memory. */
static json_t *ejected(const struct status_view *v)
{
	json_t *items = NULL;

	for (size_t i = 0; i < v->llm_count; i++) {
		const struct llm *l = &v->llms[i];

		if (l->ejected_until_ms == 0)
			continue;
		if (items == NULL)
			items = json_array();
		json_array_append_new(items, json_pack("{s:o,s:o,s:s,s:o,s:o,s:o}", "deploy_id", text(l->deploy_id),
						       "model_name", text(llm_name(l)), "kind", llm_kind_text(l->kind),
						       "since", seconds(l->ejected_since_ms), "until",
						       seconds(l->ejected_until_ms), "reason", text(l->reason)));
	}
	return items;
}

json_t *document_model_brief(const struct llm *l)
{
	return json_pack("{s:o,s:o,s:o,s:o}", "model_name", text(llm_name(l)), "model_type",
			 text(llm_type(l)), "status", status_text_of(l), "container_name",
			 text(container_name(l)));
}

json_t *document_model_id(const struct llm *l)
{
	return json_pack("{s:o,s:o,s:o}", "deploy_id", text(l->deploy_id), "model_name", text(llm_name(l)),
			 "status", status_text_of(l));
}

json_t *document_model_info(const struct llm *l)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "deploy_id", text(l->deploy_id), "model_name",
			 text(llm_name(l)), "model_type", text(llm_type(l)), "status", status_text_of(l),
			 "container_name", text(container_name(l)));
}

json_t *document_current_config(const struct config *c)
{
	return json_pack("{s:o,s:o,s:b,s:b,s:b,s:b}", "priority_models",
			 list(cfg_list(c, CFG_SELECTION_PRIORITY_MODELS)), "model_type_priority",
			 list(cfg_list(c, CFG_SELECTION_MODEL_TYPES)), "auto_discovery_enabled",
			 cfg_bool(c, CFG_DISCOVERY_ENABLED), "health_check_enabled",
			 cfg_bool(c, CFG_HEALTH_ENABLED), "fallback_to_local", cfg_bool(c, CFG_LOCAL_ENABLED),
			 "use_cloud_llm", cfg_bool(c, CFG_CLOUD_ENABLED));
}

static json_t *configuration(const struct config *c)
{
	return json_pack("{s:b,s:b,s:b,s:b,s:o}", "auto_discovery_enabled",
			 cfg_bool(c, CFG_DISCOVERY_ENABLED), "health_check_enabled",
			 cfg_bool(c, CFG_HEALTH_ENABLED), "fallback_to_local", cfg_bool(c, CFG_LOCAL_ENABLED),
			 "use_cloud_llm", cfg_bool(c, CFG_CLOUD_ENABLED), "priority_models",
			 list(cfg_list(c, CFG_SELECTION_PRIORITY_MODELS)));
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

/* The view's configuration, or the defaults while none was published; config_unref. */
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

static json_t *summary_item(const struct llm *l)
{
	return json_pack("{s:o,s:o,s:o,s:o}", "deploy_id", text(l->deploy_id), "model_name",
			 text(llm_name(l)), "status", status_text_of(l), "internal_url",
			 text(l->internal_url));
}

static json_t *discovery_summary(const struct status_view *v)
{
	json_t *items = json_array();
	int total = 0, count[LLM_UNHEALTHY + 1] = {0};

	for (size_t i = 0; i < v->llm_count; i++) {
		if (v->llms[i].kind != LLM_DISCOVERED)
			continue;
		total++;
		count[v->llms[i].health]++;
		if (json_array_append_new(items, summary_item(&v->llms[i])) < 0) {
			json_decref(items);
			return NULL;
		}
	}
	return json_pack("{s:i,s:i,s:i,s:i,s:o}", "total_llms", total, "healthy", count[LLM_HEALTHY],
			 "degraded", count[LLM_DEGRADED], "unhealthy", count[LLM_UNHEALTHY], "llms", items);
}

static json_t *available_models(const struct status_view *v, long current)
{
	json_t *items = json_array();

	for (size_t i = 0; i < v->llm_count; i++) {
		if (v->llms[i].kind != LLM_DISCOVERED)
			continue;
		if (json_array_append_new(items, document_available_model(&v->llms[i], (long)i == current)) <
		    0) {
			json_decref(items);
			return NULL;
		}
	}
	return items;
}

static json_t *health_monitoring(const struct llm *l, const struct config *c)
{
	const char *health = "unhealthy";

	if (l->kind == LLM_CLOUD || !cfg_bool(c, CFG_HEALTH_ENABLED))
		return json_string("N/A");
	if ((int64_t)l->failures < cfg_int(c, CFG_HEALTH_MAX_FAILURES))
		health = l->failures == 0 ? "healthy" : "degraded";
	return json_pack("{s:b,s:i,s:o,s:o,s:s}", "is_monitoring", 1, "failure_count", (int)l->failures,
			 "last_health_check", seconds(l->checked_ms), "current_llm", text(llm_name(l)),
			 "health_status", health);
}

/* "Cloud: gpt-x", "Discovered: Llama", "Container: http://h:7000/v1/chat/completions" */
static json_t *info_line(const struct llm *l)
{
	static const char *const words[] = {
		[LLM_CLOUD] = "Cloud",
		[LLM_CONTAINER] = "Container",
		[LLM_DISCOVERED] = "Discovered",
		[LLM_LOCAL] = "Container",
	};
	bool by_url = l->kind == LLM_CONTAINER || l->kind == LLM_LOCAL;
	const char *what = by_url ? l->url : llm_name(l);
	size_t size = strlen(words[l->kind]) + strlen(what) + 3;
	char *line = malloc(size);
	json_t *value;

	if (line == NULL)
		return NULL;
	snprintf(line, size, "%s: %s", words[l->kind], what);
	value = text(line);
	free(line);
	return value;
}

static json_t *root_waiting(const struct status_view *v, const struct config *c)
{
	char poll[96];

	next_poll(v, c, poll, sizeof poll);
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "message", WAITING_ROOT, "status", "initializing",
			 "llm_mode", "none", "llm_info", "No LLM available yet", "health_monitoring", "N/A",
			 "discovery_summary", "N/A", "next_poll", poll);
}

static json_t *root_ready(const struct status_view *v, const struct config *c, const struct llm *l)
{
	return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o}", "message", "Agent server is running", "status", "ready",
			 "llm_mode", l->kind == LLM_CLOUD ? "cloud" : "local", "llm_info", info_line(l),
			 "health_monitoring", health_monitoring(l, c), "discovery_summary",
			 discovery_summary(v));
}

static json_t *status_waiting(const struct status_view *v, const struct config *c)
{
	char poll[96];

	next_poll(v, c, poll, sizeof poll);
	return json_pack("{s:s,s:s,s:n,s:[],s:{s:i,s:i,s:i,s:i},s:o,s:s}", "status", "initializing",
			 "message", WAITING_STATUS, "current_llm", "available_models", "discovery_summary",
			 "total", 0, "healthy", 0, "degraded", 0, "unhealthy", 0, "configuration",
			 configuration(c), "next_poll", poll);
}

static json_t *current_llm(const struct llm *l)
{
	bool discovered = l->kind == LLM_DISCOVERED;

	return json_pack("{s:o,s:b,s:b,s:o}", "server_url", text(l->url), "is_cloud", l->kind == LLM_CLOUD,
			 "is_discovered", discovered, "llm_info",
			 discovered ? document_llm_info(l) : json_null());
}

static json_t *capabilities(const struct config *c, const struct llm *l)
{
	bool calls = llm_uses_tools(l);

	return json_pack("{s:b,s:b}", "web_search", calls && features_web_search(c), "tool_calling", calls);
}

static json_t *status_ready(const struct status_view *v, const struct config *c, long current)
{
	const struct llm *l = &v->llms[current];

	return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "status", "ready", "current_llm", current_llm(l),
			 "available_models", available_models(v, current), "discovery_summary",
			 discovery_summary(v), "tools", document_tools(c, l), "capabilities",
			 capabilities(c, l), "configuration", configuration(c));
}

char *document_root(const struct status_view *v, size_t *len)
{
	struct config *c = config_of(v);
	long current = status_view_current(v);
	json_t *doc = NULL;

	if (c != NULL)
		doc = current < 0 ? root_waiting(v, c) : root_ready(v, c, &v->llms[current]);
	config_unref(c);
	return finish(doc, len);
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
	config_unref(c);
	return finish(doc, len);
}

char *document_root_initializing(size_t *len)
{
	return document_root(&(struct status_view){.config = NULL}, len);
}

char *document_status_initializing(size_t *len)
{
	return document_status(&(struct status_view){.config = NULL}, len);
}

char *document_stale(const char *doc, size_t doc_len, int64_t since_wall_ms, const char *reason, size_t *len)
{
	size_t tail_len;
	char *tail = finish(json_pack("{s:b,s:o,s:o}", "stale", 1, "stale_since", seconds(since_wall_ms),
				      "stale_reason", text(reason)),
			    &tail_len);
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
