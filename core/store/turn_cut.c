/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/turn_cut.h"

#include "core/base/log.h"
#include "core/base/utf8.h"

#include <stdio.h>

#define MARK        "[Cut here: this turn was too long to be stored whole (%zu bytes).]"
#define OVERHEAD    1000 /* of the two messages, with their marks */
#define ESCAPED_MAX 6    /* bytes in JSON for one of text, as \u0001 */

/* Adds the text, or its beginning; false: no more fits. */
static bool add(struct buf *b, const char *text, size_t max)
{
	const size_t room = max - b->len, fits = utf8_cut(text, room);

	return buf_add(b, text, fits) == 0 && text[fits] == '\0';
}

static json_t *cut_message(const json_t *message, size_t max, size_t size)
{
	const json_t *content = json_object_get(message, "content"), *part;
	const json_t *record = json_object_get(message, "response");
	const char *role = json_string_value(json_object_get(message, "role"));
	struct buf text = BUF_INIT(max + 200);
	json_t *cut = NULL;
	bool room = true;
	size_t i;

	if (json_is_string(content))
		add(&text, json_string_value(content), max);
	json_array_foreach(content, i, part)
	{
		const char *words = json_string_value(json_object_get(part, "text"));

		if (room && words != NULL)
			room = add(&text, words, max);
	}
	if (buf_addf(&text, "%s" MARK, text.len > 0 ? "\n" : "", size) == 0)
		cut = json_pack("{s:s, s:s%}", "role", role != NULL ? role : "user", "content", text.data, text.len);
	if (json_is_true(json_object_get(message, "interrupted")))
		json_object_set_new(cut, "interrupted", json_true());
	if (record != NULL) /* by which the next request finds it */
		json_object_set_new(cut, "response",
		                    json_pack("{s:O*, s:O*}", "id", json_object_get(record, "id"),
		                              "previous_response_id", json_object_get(record, "previous_response_id")));
	buf_free(&text);
	return cut;
}

json_t *turn_cut(const json_t *messages, size_t size, const struct store_limits *limits)
{
	const size_t max = limits->turn_bytes > OVERHEAD ? (limits->turn_bytes - OVERHEAD) / 2 / ESCAPED_MAX : 0;
	const size_t count = json_array_size(messages);
	json_t *cut = json_array();

	if (json_array_append_new(cut, cut_message(json_array_get(messages, 0), max, size)) < 0 ||
	    (count > 1 &&
	     json_array_append_new(cut, cut_message(json_array_get(messages, count - 1), max, size)) < 0)) {
		json_decref(cut);
		return NULL;
	}
	log_event(LOG_TURN_CUT, L_INT("bytes", (int64_t)size), L_INT("limit", (int64_t)limits->turn_bytes));
	counters_add(limits->counters, COUNTER_TURNS_CUT, 1);
	return cut;
}
