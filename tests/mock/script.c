/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/mock/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum knob_type { KNOB_INT, KNOB_FLAG, KNOB_TEXT, KNOB_JSON, KNOB_CHOICE };

struct knob {
	const char *name;
	enum knob_type type;
	size_t offset;
	const char *preset;  /* as JSON; NULL: off */
	const char *choices; /* KNOB_CHOICE: the enum's names in order */
};

#define KNOB(field, type, preset, choices)                                                                             \
	{                                                                                                              \
#field, type, offsetof(struct script, field), preset, choices                                          \
	}

static const struct knob script_knobs[] = {
	/* time, in microseconds */
	KNOB(header_delay_us, KNOB_INT, "0", NULL), /* before the response's first byte */
	KNOB(first_delay_us, KNOB_INT, "0", NULL),  /* before the first token */
	KNOB(delay_us, KNOB_INT, "0", NULL),        /* between two writes of tokens */
	KNOB(gap_us, KNOB_INT, "0", NULL),          /* between pieces */
	/* what is said */
	KNOB(tokens, KNOB_INT, "0", NULL), /* this many times `token`; 0: `text` */
	KNOB(token, KNOB_TEXT, "\"word \"", NULL),
	KNOB(numbered, KNOB_FLAG, "false", NULL), /* # in `token` is its number, from 0 */
	KNOB(continues, KNOB_FLAG, "true", NULL), /* continues a started answer where asked to */
	KNOB(text, KNOB_JSON, "[\"Hello\",\",\",\" world\",\"!\",\" Grüße\",\" 😀\",\"\\nBye\",\".\"]", NULL),
	KNOB(echo, KNOB_CHOICE, "\"none\"", "none|last|users|all"), /* repeats messages instead */
	KNOB(reasoning, KNOB_JSON, NULL, NULL),                     /* string or pieces, before the text */
	KNOB(reasoning_field, KNOB_TEXT, "\"reasoning_content\"", NULL),
	KNOB(calls, KNOB_JSON, NULL, NULL),           /* tool calls [{id, name, arguments}] where tools are offered */
	KNOB(force_calls, KNOB_FLAG, "false", NULL),  /* also where they are not */
	KNOB(rounds, KNOB_JSON, NULL, NULL),          /* a script for each round of tool calls, over this one */
	KNOB(fragment, KNOB_INT, "7", NULL),          /* bytes of tool arguments an event; 0: all */
	KNOB(finish, KNOB_TEXT, "\"stop\"", NULL),    /* finish_reason; "": none at all */
	KNOB(length_limit, KNOB_FLAG, "false", NULL), /* obeys max_tokens */
	KNOB(prompt_tokens, KNOB_INT, "12", NULL),
	/* form of the stream */
	KNOB(tokens_per_write, KNOB_INT, "1", NULL),
	KNOB(coalesce, KNOB_FLAG, "false", NULL), /* the whole stream in one write */
	KNOB(pieces, KNOB_INT, "0", NULL),        /* the stream in writes of this many bytes */
	KNOB(split_at, KNOB_INT, "-1", NULL),     /* the stream in two writes, cut at this byte */
	KNOB(line_end, KNOB_CHOICE, "\"lf\"", "lf|crlf|cr"),
	KNOB(comments, KNOB_FLAG, "false", NULL), /* ": ping" before every event */
	KNOB(pings, KNOB_INT, "0", NULL),         /* ": ping", 20 ms apart: before the first token, and in a stall */
	KNOB(null_content, KNOB_FLAG, "false", NULL), /* role and finish chunks have content null */
	KNOB(role, KNOB_FLAG, "true", NULL),          /* a role chunk first */
	KNOB(done, KNOB_FLAG, "true", NULL),          /* [DONE] */
	KNOB(usage, KNOB_CHOICE, "\"asked\"", "asked|none|last|each"),
	KNOB(framing, KNOB_CHOICE, "\"chunked\"", "chunked|length|close"),
	KNOB(huge, KNOB_INT, "0", NULL), /* an event with this many more bytes in a field */
	KNOB(content_type, KNOB_TEXT, NULL, NULL),
	KNOB(model, KNOB_TEXT, NULL, NULL), /* name in the answer; off: the one asked for */
	/* faults; AFTER counts tokens */
	KNOB(error_after, KNOB_INT, "-1", NULL),  /* an error event, then the end */
	KNOB(error_event, KNOB_JSON, NULL, NULL), /* that event */
	KNOB(bad_after, KNOB_INT, "-1", NULL),    /* an event that is not JSON; the stream continues */
	KNOB(bad_event, KNOB_TEXT, "\"{\\\"choices\\\": [oops\"", NULL), KNOB(cut_after, KNOB_INT, "-1", NULL),
	KNOB(reset_after, KNOB_INT, "-1", NULL), KNOB(stall_after, KNOB_INT, "-1", NULL),
	KNOB(status, KNOB_INT, "200", NULL),
	KNOB(slots, KNOB_INT, "0", NULL), /* requests at once, of whatever path; further chats get 429; 0: any number */
	KNOB(window, KNOB_INT, "-1", NULL), /* tokens of context, one per byte of content; what is longer gets ... */
	KNOB(window_status, KNOB_INT, "400", NULL), /* ... this status; 200: the error event, in a stream */
	KNOB(body, KNOB_TEXT, NULL, NULL),          /* with status or window; off: as vLLM says it */
	/* [{"field" or "role" that a request must not have, "above": or a number in it that is larger,
         * "is": or with that value, "consecutive": or two messages of one role in a row, "status", "body"}] */
	KNOB(rules, KNOB_JSON, NULL, NULL), KNOB(retry_after, KNOB_INT, "-1", NULL), /* seconds */
	KNOB(raw, KNOB_TEXT, NULL, NULL),    /* these bytes instead of any HTTP, then closed */
	KNOB(bearer, KNOB_TEXT, NULL, NULL), /* else 401 below /v1 */
	/* other paths */
	KNOB(health_status, KNOB_INT, "200", NULL), KNOB(health_body, KNOB_TEXT, "\"\"", NULL),
	KNOB(health_delay_us, KNOB_INT, "0", NULL), KNOB(models, KNOB_JSON, "[\"mock/demo-model\"]", NULL),
	KNOB(models_status, KNOB_INT, "200", NULL), KNOB(models_delay_us, KNOB_INT, "0", NULL),
	KNOB(max_model_len, KNOB_INT, "8192", NULL), /* 0: not said */
	KNOB(documents, KNOB_JSON, NULL, NULL),      /* {path: what is answered there} */
};

#define SEARCH "\"name\":\"tavily_search_results_json\""

static const struct {
	const char *name, *json;
} script_markers[] = {
	{"[plain]", "{}"},
	{"[search]", "{\"rounds\":[{\"calls\":[{\"id\":\"call_a\"," SEARCH
                     ",\"arguments\":\"{\\\"query\\\": \\\"weather in Berlin\\\"}\"}]}]}"},
	{"[search2]", "{\"rounds\":[{\"calls\":[{\"id\":\"call_a\"," SEARCH
                      ",\"arguments\":\"{\\\"query\\\": \\\"one\\\"}\"},{\"id\":\"call_b\"," SEARCH
                      ",\"arguments\":\"{\\\"query\\\": \\\"two\\\"}\"}]}]}"},
	{"[tworounds]", "{\"rounds\":[{\"calls\":[{\"id\":\"call_0\"," SEARCH
                        ",\"arguments\":\"{\\\"query\\\": \\\"round 0\\\"}\"}]},{\"calls\":[{\"id\":\"call_1\"," SEARCH
                        ",\"arguments\":\"{\\\"query\\\": \\\"round 1\\\"}\"}]}]}"},
	{"[reason]", "{\"reasoning\":[\"Let me \",\"think\",\" about it.\"]}"},
	{"[ptag]", "{\"text\":[\"<|py\",\"thon\",\"_tag|>\",\"Hello\",\", world\",\"! Grüße 😀\",\"\\nBye.\"]}"},
	{"[leak]",
         "{\"rounds\":[{\"text\":[\"{\\\"name\\\": \",\"\\\"tavily_search\",\"_results_json\\\", \","
         "\"\\\"parameters\\\": {\",\"\\\"query\\\": \\\"leaked\\\"}}\"]}]}"},
	{"[null]", "{\"null_content\":true}"},
	{"[comment]", "{\"comments\":true}"},
	{"[crlf]", "{\"line_end\":\"crlf\"}"},
	{"[coalesce]", "{\"coalesce\":true}"},
	{"[split]", "{\"pieces\":37}"},
	{"[errevent]", "{\"error_after\":3}"},
	{"[cut]", "{\"cut_after\":3}"},
	{"[404]", "{\"status\":404}"},
	{"[500]", "{\"status\":500}"},
};

static int script_choice(const struct knob *k, const char *text)
{
	const char *at = k->choices;
	size_t len = text ? strlen(text) : 0;

	for (int i = 0; text && at; i++) {
		const char *bar = strchr(at, '|');
		size_t n = bar ? (size_t)(bar - at) : strlen(at);

		if (n == len && memcmp(at, text, n) == 0)
			return i;
		at = bar ? bar + 1 : NULL;
	}
	return -1;
}

static int script_set(struct script *s, const struct knob *k, const json_t *v)
{
	void *field = (char *)s + k->offset;
	int choice;

	switch (k->type) {
	case KNOB_INT:
		if (!json_is_integer(v))
			return -1;
		*(int64_t *)field = json_integer_value(v);
		return 0;
	case KNOB_FLAG:
		if (!json_is_boolean(v))
			return -1;
		*(int64_t *)field = json_is_true(v);
		return 0;
	case KNOB_TEXT:
		if (!json_is_string(v) && !json_is_null(v))
			return -1;
		*(const char **)field = json_string_value(v);
		return 0;
	case KNOB_JSON:
		*(const json_t **)field = json_is_null(v) ? NULL : v;
		return 0;
	case KNOB_CHOICE:
		choice = script_choice(k, json_string_value(v));
		*(int64_t *)field = choice;
		return choice < 0 ? -1 : 0;
	}
	return -1;
}

static const struct knob *script_knob(const char *name)
{
	for (size_t i = 0; i < sizeof script_knobs / sizeof script_knobs[0]; i++)
		if (strcmp(script_knobs[i].name, name) == 0)
			return &script_knobs[i];
	return NULL;
}

static json_t *script_presets(void)
{
	json_t *j = json_object();

	for (size_t i = 0; i < sizeof script_knobs / sizeof script_knobs[0]; i++)
		if (script_knobs[i].preset)
			json_object_set_new(j, script_knobs[i].name,
			                    json_loads(script_knobs[i].preset, JSON_DECODE_ANY, NULL));
	return j;
}

int script_make(struct script *s, const json_t *const layers[], size_t count, char *why, size_t size)
{
	const char *name;
	json_t *value;

	*s = (struct script){.json = script_presets()};
	for (size_t i = 0; i < count; i++)
		if (layers[i])
			json_object_update(s->json, (json_t *)(uintptr_t)layers[i]);
	json_object_foreach(s->json, name, value)
	{
		const struct knob *k = script_knob(name);

		if (k && script_set(s, k, value) == 0)
			continue;
		snprintf(why, size, k ? "%s: wrong type or choice" : "%s: no such knob", name);
		script_clear(s);
		return -1;
	}
	return 0;
}

void script_clear(struct script *s)
{
	json_decref(s->json);
	s->json = NULL;
}

bool script_check(const char *text, char *why, size_t size)
{
	json_error_t e;
	json_t *j = json_loads(text, 0, &e);
	const json_t *layers[] = {j};
	struct script s;
	bool good = false;

	if (!json_is_object(j)) {
		snprintf(why, size, "no JSON object: %s", j ? "another type" : e.text);
	} else if (script_make(&s, layers, 1, why, size) == 0) {
		good = true;
		script_clear(&s);
	}
	json_decref(j);
	return good;
}

/* Where text last occurs in message, or NULL. */
static const char *script_last(const char *message, const char *text)
{
	const char *found = NULL;

	for (const char *at = strstr(message, text); at; at = strstr(at + 1, text))
		found = at;
	return found;
}

char *script_inline(const char *message)
{
	const char *begin = script_last(message, "[[{"), *end = script_last(message, "}]]");

	return begin && end && end > begin ? strndup(begin + 2, (size_t)(end - begin) - 1) : NULL;
}

const char *script_marker(const char *message)
{
	const char *found = NULL, *last = NULL;

	for (size_t i = 0; strchr(message, '[') && i < sizeof script_markers / sizeof script_markers[0]; i++) {
		const char *at = script_last(message, script_markers[i].name);

		if (at && (!last || at > last)) {
			last = at;
			found = script_markers[i].name;
		}
	}
	return found;
}

json_t *script_marker_json(const char *marker)
{
	for (size_t i = 0; marker && i < sizeof script_markers / sizeof script_markers[0]; i++)
		if (strcmp(script_markers[i].name, marker) == 0)
			return json_loads(script_markers[i].json, 0, NULL);
	return NULL;
}
