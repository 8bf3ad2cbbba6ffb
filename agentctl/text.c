/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/text.h"

#include "agentctl/table.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LABEL_WIDTH 14
#define CELL_WIDTH  60

/* --- members --------------------------------------------------------------------------- */

const char *text_of(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

long long number_of(const json_t *j, const char *key)
{
	return (long long)json_number_value(json_object_get(j, key));
}

bool truth_of(const json_t *j, const char *key)
{
	return json_is_true(json_object_get(j, key));
}

char *text_value(const json_t *value)
{
	if (json_is_string(value))
		return strdup(json_string_value(value));
	return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
}

void text_joined(const json_t *list, char *out, size_t size)
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

/* --- colours --------------------------------------------------------------------------- */

const char *text_colour_sequence(enum colour colour)
{
	static const char *const sequences[COLOURS] = {
		[COLOUR_NONE] = "",           [COLOUR_BOLD] = "\033[1m", [COLOUR_GREEN] = "\033[32m",
		[COLOUR_YELLOW] = "\033[33m", [COLOUR_RED] = "\033[31m", [COLOUR_DIM] = "\033[2m",
	};

	return sequences[colour];
}

enum colour text_status_colour(const char *status)
{
	static const struct {
		const char *status;
		enum colour colour;
	} colours[] = {
		{"healthy", COLOUR_GREEN},   {"ready", COLOUR_GREEN},         {"success", COLOUR_GREEN},
		{"degraded", COLOUR_YELLOW}, {"initializing", COLOUR_YELLOW}, {"unhealthy", COLOUR_RED},
		{"error", COLOUR_RED},
	};

	for (size_t i = 0; status != NULL && i < sizeof colours / sizeof colours[0]; i++)
		if (strcmp(colours[i].status, status) == 0)
			return colours[i].colour;
	return COLOUR_NONE;
}

/* --- lines ----------------------------------------------------------------------------- */

void text_put(FILE *out, bool coloured, enum colour colour, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return;
	utf8_disarm(copy);
	if (coloured && colour != COLOUR_NONE)
		fprintf(out, "%s%s\033[0m", text_colour_sequence(colour), copy);
	else
		fputs(copy, out);
	free(copy);
}

/* jansson escapes C0; outside strings a document is ASCII. */
void text_json_value(FILE *out, const json_t *value, size_t flags)
{
	char *text = json_dumps(value, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	const char *at = text, *end = text != NULL ? text + strlen(text) : NULL;

	while (at < end) {
		const char *began = at;
		uint32_t code;

		if (utf8_next(&at, end, &code) || code == '\n')
			fwrite(began, 1, (size_t)(at - began), out);
		else if (code < 0x10000)
			fprintf(out, "\\u%04x", (unsigned)code);
		else
			fprintf(out, "\\u%04x\\u%04x", (unsigned)(0xD7C0 + (code >> 10)),
			        (unsigned)(0xDC00 + (code & 0x3FF)));
	}
	free(text);
}

void text_json(FILE *out, const json_t *document, size_t flags)
{
	text_json_value(out, document, flags);
	fputc('\n', out);
}

void text_field(const struct ctl *a, const char *label, enum colour colour, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fprintf(a->out, "%-*s", LABEL_WIDTH, label);
	text_put(a->out, a->colour, colour, text);
	fputc('\n', a->out);
}

void text_optional_field(const struct ctl *a, const char *label, const char *text)
{
	if (text != NULL && *text != '\0')
		text_field(a, label, COLOUR_NONE, "%s", text);
}

void text_duration(double seconds, char *out, size_t size)
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

void text_ago(double at, char *out, size_t size)
{
	char duration[64];

	if (at <= 0) {
		snprintf(out, size, "never");
		return;
	}
	text_duration((double)clock_wall_ms() / 1000 - at, duration, sizeof duration);
	snprintf(out, size, "%s ago", duration);
}

void text_event(char *out, size_t size, const char *model, const char *was, long long count, const char *reason)
{
	const char *name = model != NULL ? model : "", *before = was != NULL ? was : "";
	const char *why = reason != NULL ? reason : "";
	char times[40] = "";

	if (count > 1)
		snprintf(times, sizeof times, "  %lld times", count);
	snprintf(out, size, "%s%s%s%s%s%s%s", *name != '\0' ? "  " : "", name, *before != '\0' ? "  was " : "", before,
	         times,
	         *why == '\0' ? ""
	         : count > 1  ? ": "
	                      : "  ",
	         why);
}

void text_stale(const struct ctl *a, const json_t *document)
{
	const char *reason = text_of(document, "stale_reason");
	char ago[80];

	if (!truth_of(document, "stale"))
		return;
	text_ago(json_number_value(json_object_get(document, "stale_since")), ago, sizeof ago);
	text_field(a, "STALE", COLOUR_RED, "%s; this is the last known state, from %s",
	           reason != NULL ? reason : "tt-agentd does not answer", ago);
}

static double seconds_since(const json_t *j, const char *key)
{
	return (double)clock_wall_ms() / 1000 - json_number_value(json_object_get(j, key));
}

static void show_next_attempt(const struct ctl *a, const json_t *source)
{
	double in = -seconds_since(source, "next_attempt");
	char duration[64];

	if (!json_is_number(json_object_get(source, "next_attempt"))) {
		text_field(a, "", COLOUR_NONE, "it is asked again only on request: tt-agentctl refresh");
		return;
	}
	text_duration(in, duration, sizeof duration);
	if (in >= 0.5)
		text_field(a, "", COLOUR_NONE, "next attempt in %s", duration);
	else
		text_field(a, "", COLOUR_NONE, "next attempt now");
}

static void show_source(const struct ctl *a, const json_t *source)
{
	const char *state = text_of(source, "state"), *error = text_of(source, "error"), *url = text_of(source, "url");
	long long found = number_of(source, "found"), skipped = number_of(source, "skipped");
	char since[64], answered[80];

	if (state == NULL || strcmp(state, "off") == 0) {
		text_field(a, "discovery", COLOUR_NONE, "off");
		return;
	}
	text_duration(seconds_since(source, "since"), since, sizeof since);
	text_ago(json_number_value(json_object_get(source, "answered")), answered, sizeof answered);
	if (strcmp(state, "failing") == 0) {
		text_field(a, "discovery", COLOUR_RED, "failing for %s: %s", since, error != NULL ? error : "");
		text_optional_field(a, "", url);
		text_field(a, "", COLOUR_NONE, "last answer %s", answered);
		show_next_attempt(a, source);
	} else if (strcmp(state, "answers") == 0) {
		text_field(a, "discovery", found > 0 ? COLOUR_NONE : COLOUR_YELLOW, "%lld model%s found %s%s%s%s",
		           found, found == 1 ? "" : "s", answered, found == 0 && url != NULL ? " (" : "",
		           found == 0 && url != NULL ? url : "", found == 0 && url != NULL ? ")" : "");
		if (skipped > 0)
			text_field(a, "", COLOUR_YELLOW,
			           "%lld malformed, left out: the log event discovery_skipped says why", skipped);
	} else {
		text_field(a, "discovery", COLOUR_YELLOW, "no answer yet (%s)", url != NULL ? url : "not asked yet");
	}
}

void text_discovery(const struct ctl *a, const json_t *document)
{
	const json_t *sources = json_object_get(document, "discovery"), *source;
	size_t i;

	json_array_foreach(sources, i, source) show_source(a, source);
}

/* --- any answer -------------------------------------------------------------------------- */

static void show_available(const struct ctl *a, const json_t *models)
{
	static const struct table_column columns[] = {
		{.heading = "ID"}, {.heading = "MODEL", .limit = CELL_WIDTH}, {.heading = "HEALTH", .limit = 20}};
	struct table *t;
	json_t *model;
	size_t i;

	if (json_array_size(models) == 0)
		return;
	t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	json_array_foreach(models, i, model)
	{
		const char *id = text_of(model, "deploy_id"), *health = text_of(model, "status");

		table_add(t, COLOUR_NONE, id != NULL ? id : text_of(model, "container_name"));
		table_add(t, COLOUR_NONE, text_of(model, "model_name"));
		table_add(t, text_status_colour(health), health);
	}
	table_print(t);
	table_free(t);
}

static void show_members(const struct ctl *a, const json_t *document)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)document, key, value)
	{
		char *text = json_is_null(value) ? NULL : text_value(value);
		char label[64];

		snprintf(label, sizeof label, "%.60s ", key);
		utf8_disarm(label);
		text_optional_field(a, label, text);
		free(text);
	}
}

void text_document(const struct ctl *a, const json_t *document)
{
	const char *status = text_of(document, "status"), *message = text_of(document, "message");
	const char *old_model = text_of(document, "old_model"), *new_model = text_of(document, "new_model");
	const json_t *test = json_object_get(document, "connection_test");

	if (status == NULL) {
		show_members(a, document);
		return;
	}
	text_field(a, status, text_status_colour(status), "%s", message != NULL ? message : "");
	if (old_model != NULL && new_model != NULL && strcmp(old_model, new_model) != 0)
		text_field(a, "model", COLOUR_NONE, "%s -> %s", old_model, new_model);
	if (json_is_boolean(test))
		text_field(a, "connection", json_is_true(test) ? COLOUR_GREEN : COLOUR_RED, "%s",
		           json_is_true(test) ? "the LLM answers" : "the LLM does not answer");
	text_optional_field(a, "asked at", text_of(document, "llm_url"));
	text_optional_field(a, "error", text_of(document, "error"));
	text_optional_field(a, "level", text_of(document, "level"));
	if (json_object_get(document, "llm_refresh") != NULL)
		text_document(a, json_object_get(document, "llm_refresh"));
	text_discovery(a, document);
	show_available(a, json_object_get(document, "available_models"));
}

bool text_parse_time(const char *text, int64_t now_s, int64_t *at_s)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	struct tm date = {.tm_sec = 0};
	char *end = strptime(text, "%Y-%m-%d", &date);
	long long n;

	if (end != NULL && *end == '\0') {
		*at_s = timegm(&date);
		return true;
	}
	n = strtoll(text, &end, 10);
	for (size_t i = 0; end != text && n >= 0 && n < 1000000000 && i < sizeof units / sizeof units[0]; i++)
		if (end[0] == units[i].unit && end[1] == '\0') {
			*at_s = now_s + n * units[i].seconds;
			return true;
		}
	return false;
}
