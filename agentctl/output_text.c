/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people. */
#include "agentctl/admin.h"

#include "agentctl/columns.h"
#include "core/base/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LABEL_WIDTH 14
#define CELL_WIDTH  60

/* --- reading documents --------------------------------------------------------------- */

static const char *text_of(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

static long long number_of(const json_t *j, const char *key)
{
	return (long long)json_number_value(json_object_get(j, key));
}

static bool truth_of(const json_t *j, const char *key)
{
	return json_is_true(json_object_get(j, key));
}

static enum colour health_colour(const char *health)
{
	static const struct {
		const char *health;
		enum colour colour;
	} colours[] = {
		{"healthy", COLOUR_GREEN},   {"ready", COLOUR_GREEN},         {"success", COLOUR_GREEN},
		{"degraded", COLOUR_YELLOW}, {"initializing", COLOUR_YELLOW}, {"unhealthy", COLOUR_RED},
		{"error", COLOUR_RED},
	};

	for (size_t i = 0; health != NULL && i < sizeof colours / sizeof colours[0]; i++)
		if (strcmp(colours[i].health, health) == 0)
			return colours[i].colour;
	return COLOUR_NONE;
}

/* --- lines ---------------------------------------------------------------------------- */

static void field(const struct admin *a, const char *label, enum colour colour, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void field(const struct admin *a, const char *label, enum colour colour, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fprintf(a->out, "%-*s", LABEL_WIDTH, label);
	columns_text(a->out, a->colour, colour, text);
	fputc('\n', a->out);
}

static void optional_field(const struct admin *a, const char *label, const char *text)
{
	if (text != NULL && *text != '\0')
		field(a, label, COLOUR_NONE, "%s", text);
}

/* "45 s", "3 min 20 s", "2 h 5 min", "4 d 1 h" */
static void duration_text(double seconds, char *out, size_t size)
{
	long long s = seconds > 0 ? llround(seconds) : 0;

	if (s < 60)
		snprintf(out, size, "%lld s", s);
	else if (s < 3600)
		snprintf(out, size, "%lld min %lld s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, size, "%lld h %lld min", s / 3600, s % 3600 / 60);
	else
		snprintf(out, size, "%lld d %lld h", s / 86400, s % 86400 / 3600);
}

static void ago_text(double at, char *out, size_t size)
{
	char duration[64];

	if (at <= 0) {
		snprintf(out, size, "never");
		return;
	}
	duration_text((double)clock_wall_ms() / 1000 - at, duration, sizeof duration);
	snprintf(out, size, "%s ago", duration);
}

static void show_stale(const struct admin *a, const json_t *document)
{
	const char *reason = text_of(document, "stale_reason");
	char ago[80];

	if (!truth_of(document, "stale"))
		return;
	ago_text(json_number_value(json_object_get(document, "stale_since")), ago, sizeof ago);
	field(a, "STALE", COLOUR_RED, "%s; this is the last known state, from %s",
	      reason != NULL ? reason : "nobody answers", ago);
}

static void joined(const json_t *list, char *out, size_t size)
{
	size_t i, len = 0;
	json_t *item;

	out[0] = '\0';
	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);

		if (text == NULL || len >= size)
			continue;
		len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? ", " : "", text);
	}
}

/* --- status ---------------------------------------------------------------------------- */

static void show_current(const struct admin *a, const json_t *current)
{
	const json_t *info = json_object_get(current, "llm_info");
	const char *name = text_of(info, "model_name"), *status = text_of(info, "status");
	const char *kind = truth_of(current, "is_cloud")        ? "cloud"
	                   : truth_of(current, "is_discovered") ? "discovered"
	                                                        : "container or local host";

	if (name != NULL)
		field(a, "model", health_colour(status), "%s (%s%s%s)", name, kind, status != NULL ? ", " : "",
		      status != NULL ? status : "");
	else
		field(a, "model", COLOUR_NONE, "(%s)", kind);
	optional_field(a, "deploy id", text_of(info, "deploy_id"));
	optional_field(a, "asked at", text_of(current, "server_url"));
}

static void show_counters(const struct admin *a, const json_t *c)
{
	if (c == NULL)
		return;
	field(a, "turns", COLOUR_NONE,
	      "%lld running, %lld begun, %lld complete, %lld broken, %lld cancelled, %lld refused",
	      number_of(c, "active_turns"), number_of(c, "turns"), number_of(c, "turns_complete"),
	      number_of(c, "turns_broken"), number_of(c, "turns_cancelled"), number_of(c, "turns_refused"));
	field(a, "traffic", COLOUR_NONE, "%lld requests, %lld tokens, %lld failovers, %lld connections open",
	      number_of(c, "requests"), number_of(c, "tokens"), number_of(c, "failovers"), number_of(c, "connections"));
}

static void show_status(const struct admin *a, const json_t *document)
{
	const json_t *sum = json_object_get(document, "discovery_summary");
	const json_t *current = json_object_get(document, "current_llm");
	const char *status = text_of(document, "status");
	long long total = number_of(sum, json_object_get(sum, "total_llms") != NULL ? "total_llms" : "total");
	char tools[512];

	show_stale(a, document);
	field(a, "state", health_colour(status), "%s", status != NULL ? status : "unknown");
	optional_field(a, "", text_of(document, "message"));
	if (json_is_object(current))
		show_current(a, current);
	field(a, "models", COLOUR_NONE, "%lld discovered: %lld healthy, %lld degraded, %lld unhealthy", total,
	      number_of(sum, "healthy"), number_of(sum, "degraded"), number_of(sum, "unhealthy"));
	joined(json_object_get(document, "tools"), tools, sizeof tools);
	if (json_is_object(current))
		field(a, "tools", COLOUR_NONE, "%s", tools[0] != '\0' ? tools : "none");
	optional_field(a, "next poll", text_of(document, "next_poll"));
	show_counters(a, json_object_get(document, "counters"));
}

/* --- models ---------------------------------------------------------------------------- */

static void add_latency(struct columns *t, const json_t *model)
{
	const json_t *latency = json_object_get(model, "latency_ms");

	if (json_is_number(latency) && json_number_value(latency) >= 0)
		columns_addf(t, COLOUR_NONE, "%lld ms", (long long)json_number_value(latency));
	else
		columns_add(t, COLOUR_NONE, 0, NULL);
}

static void add_reason(struct columns *t, const struct admin *a, const json_t *model)
{
	double until = json_number_value(json_object_get(model, "ejected_until"));
	double since = json_number_value(json_object_get(model, "ejected_since"));
	const char *reason = text_of(model, "reason");
	double rest = until - (double)clock_wall_ms() / 1000;
	size_t limit = a->whole ? 0 : CELL_WIDTH * 2;
	char text[1024], duration[64], passed[64];

	if (until <= 0 || rest <= 0) {
		columns_add(t, COLOUR_NONE, limit, reason);
		return;
	}
	duration_text(rest, duration, sizeof duration);
	duration_text((double)clock_wall_ms() / 1000 - since, passed, sizeof passed);
	snprintf(text, sizeof text, "ejected %s ago, for another %s%s%s", passed, duration, reason != NULL ? ": " : "",
	         reason != NULL ? reason : "");
	columns_add(t, COLOUR_RED, limit, text);
}

static void add_model(struct columns *t, const struct admin *a, const json_t *model)
{
	const json_t *rank = json_object_get(model, "rank");
	const char *name = text_of(model, "model_name"), *health = text_of(model, "status");
	bool current = truth_of(model, "current"), pinned = truth_of(model, "pinned");
	char checked[80];

	if (json_is_integer(rank))
		columns_addf(t, current ? COLOUR_BOLD : COLOUR_NONE, "%lld%s%s",
		             (long long)json_integer_value(rank) + 1, current ? " *" : "", pinned ? " pinned" : "");
	else
		columns_add(t, COLOUR_DIM, 0, NULL);
	columns_add(t, COLOUR_NONE, a->whole ? 0 : 40, text_of(model, "deploy_id"));
	columns_add(t, current ? COLOUR_BOLD : COLOUR_NONE, CELL_WIDTH, name != NULL ? name : text_of(model, "model"));
	columns_add(t, COLOUR_NONE, 20, text_of(model, "model_type"));
	columns_add(t, COLOUR_NONE, 20, text_of(model, "kind"));
	columns_add(t, health_colour(health), 20, health);
	add_latency(t, model);
	columns_addf(t, COLOUR_NONE, "%lld", number_of(model, "failures"));
	ago_text(json_number_value(json_object_get(model, "checked")), checked, sizeof checked);
	columns_add(t, COLOUR_NONE, 0, checked);
	add_reason(t, a, model);
}

static void show_models(const struct admin *a, const json_t *document)
{
	static const char *const headings[] = {"RANK",    "ID",       "MODEL",   "TYPE",   "KIND", "HEALTH",
	                                       "LATENCY", "FAILURES", "CHECKED", "REASON", NULL};
	const json_t *models = json_object_get(document, "models");
	struct columns *t;
	json_t *model;
	size_t i;

	show_stale(a, document);
	if (json_array_size(models) == 0) {
		fputs("no LLM is known\n", a->out);
		return;
	}
	t = columns_new(headings);
	json_array_foreach(models, i, model) add_model(t, a, model);
	columns_print(t, a->out, a->colour);
	columns_free(t);
}

/* --- config ---------------------------------------------------------------------------- */

static char *value_text(const json_t *setting)
{
	const json_t *value = json_object_get(setting, "value");
	char list[4096];

	if (truth_of(setting, "secret"))
		return strdup(truth_of(setting, "set") ? "(secret)" : "");
	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (json_is_array(value)) {
		joined(value, list, sizeof list);
		return strdup(list);
	}
	if (value == NULL || json_is_null(value))
		return strdup("");
	return json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
}

static void show_config(const struct admin *a, const json_t *document)
{
	static const char *const headings[] = {"SETTING", "VALUE", "ORIGIN", NULL};
	struct columns *t = columns_new(headings);
	const char *path;
	json_t *setting;

	json_object_foreach((json_t *)(uintptr_t)document, path, setting)
	{
		const char *origin = text_of(setting, "origin");
		bool is_default = origin == NULL || strcmp(origin, "default") == 0;
		char *value = value_text(setting);

		columns_add(t, COLOUR_NONE, 0, path);
		columns_add(t, is_default ? COLOUR_NONE : COLOUR_BOLD, a->whole ? 0 : CELL_WIDTH, value);
		columns_add(t, is_default ? COLOUR_DIM : COLOUR_NONE, 0, origin);
		free(value);
	}
	columns_print(t, a->out, a->colour);
	columns_free(t);
}

/* --- the rest ---------------------------------------------------------------------------- */

static void show_ping(const struct admin *a, const json_t *document)
{
	const char *version = text_of(document, "version");
	char uptime[64];

	duration_text(json_number_value(json_object_get(document, "uptime")), uptime, sizeof uptime);
	field(a, "tt-agentd", COLOUR_GREEN, "answers");
	optional_field(a, "version", version);
	field(a, "pid", COLOUR_NONE, "%lld", number_of(document, "pid"));
	field(a, "up for", COLOUR_NONE, "%s", uptime);
	field(a, "generation", COLOUR_NONE, "%lld", number_of(document, "generation"));
	if (json_object_get(document, "llms") != NULL)
		field(a, "models", COLOUR_NONE, "%lld known, %lld usable", number_of(document, "llms"),
		      number_of(document, "usable"));
}

static void show_available(const struct admin *a, const json_t *models)
{
	static const char *const headings[] = {"ID", "MODEL", "HEALTH", NULL};
	struct columns *t;
	json_t *model;
	size_t i;

	if (json_array_size(models) == 0)
		return;
	t = columns_new(headings);
	json_array_foreach(models, i, model)
	{
		const char *id = text_of(model, "deploy_id"), *health = text_of(model, "status");

		columns_add(t, COLOUR_NONE, 0, id != NULL ? id : text_of(model, "container_name"));
		columns_add(t, COLOUR_NONE, CELL_WIDTH, text_of(model, "model_name"));
		columns_add(t, health_colour(health), 20, health);
	}
	columns_print(t, a->out, a->colour);
	columns_free(t);
}

static void show_answer(const struct admin *a, const json_t *document)
{
	const char *status = text_of(document, "status"), *message = text_of(document, "message");
	const char *old_model = text_of(document, "old_model"), *new_model = text_of(document, "new_model");
	const json_t *test = json_object_get(document, "connection_test");

	field(a, status != NULL ? status : "answer", health_colour(status), "%s", message != NULL ? message : "");
	if (old_model != NULL && new_model != NULL && strcmp(old_model, new_model) != 0)
		field(a, "model", COLOUR_NONE, "%s -> %s", old_model, new_model);
	if (json_is_boolean(test))
		field(a, "connection", json_is_true(test) ? COLOUR_GREEN : COLOUR_RED, "%s",
		      json_is_true(test) ? "the LLM answers" : "the LLM does not answer");
	optional_field(a, "asked at", text_of(document, "llm_url"));
	optional_field(a, "error", text_of(document, "error"));
	optional_field(a, "level", text_of(document, "level"));
	if (json_object_get(document, "llm_refresh") != NULL)
		show_answer(a, json_object_get(document, "llm_refresh"));
	show_available(a, json_object_get(document, "available_models"));
}

static void show_event(const struct admin *a, const json_t *event)
{
	double at = json_number_value(json_object_get(event, "at"));
	time_t seconds = (time_t)at;
	const char *name = text_of(event, "event"), *key;
	char when[32];
	struct tm tm;
	json_t *value;

	localtime_r(&seconds, &tm);
	strftime(when, sizeof when, "%H:%M:%S", &tm);
	fprintf(a->out, "%s.%03d ", when, (int)((at - floor(at)) * 1000));
	columns_text(a->out, a->colour, COLOUR_BOLD, name != NULL ? name : "event");
	json_object_foreach((json_t *)(uintptr_t)event, key, value)
	{
		char *text;

		if (strcmp(key, "at") == 0 || strcmp(key, "event") == 0 || json_is_null(value))
			continue;
		text = json_is_string(value)
		               ? strdup(json_string_value(value))
		               : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
		fputc(' ', a->out);
		columns_text(a->out, a->colour, COLOUR_DIM, key);
		fputc('=', a->out);
		columns_text(a->out, a->colour, health_colour(text), text != NULL ? text : "");
		free(text);
	}
	fputc('\n', a->out);
}

static void problem(const struct admin *a, const char *text)
{
	fputs("tt-agentctl: ", a->err);
	columns_text(a->err, false, COLOUR_NONE, text);
	fputc('\n', a->err);
}

const struct admin_output admin_text = {
	.show =
		{
			[SHOW_STATUS] = show_status,
			[SHOW_MODELS] = show_models,
			[SHOW_CONFIG] = show_config,
			[SHOW_PING] = show_ping,
			[SHOW_ANSWER] = show_answer,
			[SHOW_EVENT] = show_event,
			[SHOW_THREADS] = admin_show_threads,
			[SHOW_THREAD] = admin_show_thread,
		},
	.problem = problem,
};
