/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations, for people. */
#include "agentctl/commands/threads_text.h"

#include "agentctl/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* With the zone, because logs are in UTC. */
static void format_time(const json_t *at, char text[40])
{
	time_t seconds = (time_t)json_number_value(at);
	struct tm tm;

	snprintf(text, 40, "-");
	if (localtime_r(&seconds, &tm) != NULL)
		strftime(text, 40, "%Y-%m-%d %H:%M:%S %z", &tm);
}

struct table *threads_text_table(const struct ctl *a)
{
	static const struct table_column columns[] = {{.heading = "THREAD"},
	                                              {.heading = "SUBJECT", .limit = 40},
	                                              {.heading = "TURNS"},
	                                              {.heading = "BYTES"},
	                                              {.heading = "LAST USED"}};

	return table_new(a, columns, sizeof columns / sizeof columns[0]);
}

void threads_text_row(struct table *t, const json_t *thread)
{
	char used[40];

	table_add(t, COLOUR_NONE, text_of(thread, "thread_id"));
	table_add(t, COLOUR_NONE, text_of(thread, "subject"));
	table_addf(t, COLOUR_NONE, "%lld", number_of(thread, "turns"));
	table_addf(t, COLOUR_NONE, "%lld", number_of(thread, "bytes"));
	format_time(json_object_get(thread, "used"), used);
	table_add(t, COLOUR_NONE, used);
}

static void add_number(struct table *t, const json_t *document, const char *key)
{
	if (key != NULL)
		table_addf(t, COLOUR_NONE, "%lld", number_of(document, key));
	else
		table_add(t, COLOUR_NONE, "");
}

void threads_text_stat(const struct ctl *a, const json_t *document)
{
	static const struct table_column columns[] = {
		{.heading = ""}, {.heading = "STORED"}, {.heading = "LIMIT"}, {.heading = "EVICTED"}};
	static const struct {
		const char *what, *stored, *limit, *evicted;
	} rows[] = {
		{"threads", "threads", "max_threads", "evicted_threads"},
		{"turns", "turns", NULL, "evicted_turns"},
		{"bytes of turns", "bytes", NULL, "evicted_bytes"},
		{"bytes of the longest turn", NULL, "max_turn_bytes", NULL},
		{"bytes on disk", "disk_bytes", "max_bytes", NULL},
	};
	struct table *t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	char time[40];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		table_add(t, COLOUR_NONE, rows[i].what);
		add_number(t, document, rows[i].stored);
		add_number(t, document, rows[i].limit);
		add_number(t, document, rows[i].evicted);
	}
	table_print(t);
	table_free(t);
	if (number_of(document, "threads") > 0) {
		format_time(json_object_get(document, "oldest_used"), time);
		fprintf(a->out, "least recently used thread: %s\n", time);
	}
	if (number_of(document, "evicted_threads") > 0) {
		format_time(json_object_get(document, "evicted_at"), time);
		fprintf(a->out, "last evicted: %s\n", time);
	}
}

/* Line by line, so that a model's text cannot control the terminal. */
static void show_lines(const struct ctl *a, const char *text)
{
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		char *line = strndup(text, len);

		fputs("  ", a->out);
		if (line != NULL)
			text_put(a->out, a->colour, COLOUR_NONE, line);
		fputc('\n', a->out);
		free(line);
		text += len + (text[len] == '\n');
	}
}

static void show_message(const struct ctl *a, const json_t *message)
{
	const json_t *content = json_object_get(message, "content"), *calls = json_object_get(message, "tool_calls");
	const char *role = text_of(message, "role");
	char *json;

	text_put(a->out, a->colour, COLOUR_BOLD, role != NULL ? role : "?");
	fputs(json_is_true(json_object_get(message, "interrupted")) ? " (interrupted)\n" : "\n", a->out);
	if (json_is_string(content))
		show_lines(a, json_string_value(content));
	for (int i = 0; i < 2; i++) {
		const json_t *rest = i == 0 ? content : calls;

		json = json_is_array(rest) ? json_dumps(rest, JSON_COMPACT) : NULL;
		if (json != NULL)
			show_lines(a, json);
		free(json);
	}
}

void threads_text_show(const struct ctl *a, const json_t *document)
{
	const json_t *turns = json_object_get(document, "turns"), *turn, *message;
	size_t i, n;
	char head[96];

	json_array_foreach(turns, i, turn)
	{
		const char *at = text_of(turn, "at");

		snprintf(head, sizeof head, "--- turn %lld, %s", number_of(turn, "number"), at != NULL ? at : "");
		text_put(a->out, a->colour, COLOUR_DIM, head);
		fputc('\n', a->out);
		json_array_foreach(json_object_get(turn, "messages"), n, message) show_message(a, message);
	}
}
