/* SPDX-License-Identifier: Apache-2.0 */
/* Any body has the model that jansson finds in it, or is refused; another model in its place is all that changes.
 * Any stream is judged, and the same however it is cut into pieces. */
#include "core/protocol/openai_relay.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define NAME "\"\\/\xc3\xa9"

static void check_model(const char *body, size_t len, const char *model)
{
	json_t *root = json_loadb(body, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	const char *found = json_string_value(json_object_get(root, "model"));

	/* jansson refuses some texts that the servers of LLMs may accept. */
	if (root != NULL && (found == NULL || strcmp(found, model) != 0))
		abort();
	json_decref(root);
}

static void check_request(const char *body, size_t len)
{
	struct openai_relay_request r;
	json_t *problem;
	size_t new_len;
	char *made;

	switch (openai_relay_parse(body, len, &r, &problem)) {
	case 0:
		check_model(body, len, r.model);
		made = openai_relay_body(body, len, &r, NAME, &new_len);
		if (made == NULL || memcmp(made, body, r.at) != 0 ||
		    memcmp(made + new_len - (len - r.at - r.len), body + r.at + r.len, len - r.at - r.len) != 0)
			abort();
		check_model(made, new_len, NAME);
		free(made);
		openai_relay_request_clear(&r);
		break;
	case 400:
		if (json_object_size(json_object_get(problem, "error")) != 4)
			abort();
		json_decref(problem);
		break;
	default:
		abort();
	}
	/* Without the check that it is JSON, it is at least read within its bounds. */
	if (openai_relay_read(body, len, &r, &problem) == 0)
		openai_relay_request_clear(&r);
	else
		json_decref(problem);
}

static void check_stream(const char *text, size_t len, size_t piece)
{
	struct openai_relay_stream s;
	struct openai_relay_end whole, e;
	struct error_report error;
	bool known;

	(void)openai_relay_begins_with_error(text, len, &known, &error);
	openai_relay_stream_init(&s);
	openai_relay_stream_add(&s, text, len);
	openai_relay_stream_judge(&s, &whole);
	openai_relay_stream_free(&s);
	openai_relay_stream_init(&s);
	for (size_t at = 0; at < len;) { /* in whole events, as they come */
		size_t end = at, seen = at;

		while (end == at && seen < len) {
			size_t from = seen - at;

			seen = seen + piece < len ? seen + piece : len;
			end = at + openai_relay_events(text + at, seen - at, from);
		}
		end = end == at ? len : end;
		openai_relay_stream_add(&s, text + at, end - at);
		at = end;
	}
	openai_relay_stream_judge(&s, &e);
	if (len < OPENAI_RELAY_TAIL &&
	    (e.whole != whole.whole || e.failed != whole.failed || e.prompt_tokens != whole.prompt_tokens))
		abort();
	openai_relay_stream_free(&s);
	openai_relay_judge(text, len, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_copy(data, len);

	check_request(text, len);
	check_stream(text, len, 1);
	check_stream(text, len, len / 3 + 1);
	free(text);
	return 0;
}
