/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions as the strictest clients read them: a stream's events joined again, whatever the LLM's pieces
 * were, and its ends. */
#include "core/protocol/openai.h"
#include "tests/unit/support/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct usage counted = {.tokens = 7, .prompt_tokens = 5, .cached_tokens = -1, .reasoning_tokens = -1};
static const struct usage not_counted = {.prompt_tokens = -1, .cached_tokens = -1, .reasoning_tokens = -1};

static struct output out;

/* What a client has of the answer. */
static struct client {
	char id[64], *text, *reasoning;
	const char *finish; /* of last */
	json_t *last, *usage, *calls, *annotations, *error;
	unsigned roles, comments;
	bool done;
} client;

static struct reply *begin(const char *fields)
{
	struct chat_request r;
	struct reply *reply;
	json_t *problem;
	char body[400];

	snprintf(body, sizeof body,
	         "{\"model\":\"a/\\\"b\\\"\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s}", fields);
	assert_int_equal(openai_chat_parse(body, strlen(body), &r, &problem), 0);
	out = (struct output){.status = 0};
	buf_init(&out.written, 1 << 20);
	buf_init(&out.text, 1 << 20);
	reply = protocol_openai_chat.open(&protocol_openai_chat, &out, &r);
	assert_non_null(reply);
	chat_request_clear(&r);
	return reply;
}

static void forget(void)
{
	free(client.text);
	free(client.reasoning);
	json_decref(client.last);
	json_decref(client.usage);
	json_decref(client.calls);
	json_decref(client.annotations);
	json_decref(client.error);
	client = (struct client){.done = false};
}

static void finish(struct reply *r)
{
	protocol_openai_chat.free(r);
	buf_free(&out.written);
	buf_free(&out.text);
	forget();
}

static void text(struct reply *r, const char *s)
{
	protocol_openai_chat.text(r, s, strlen(s));
}

static char *joined(char *to, const json_t *more)
{
	char *all = NULL;

	if (!json_is_string(more))
		return to;
	assert_true(asprintf(&all, "%s%s", to != NULL ? to : "", json_string_value(more)) >= 0);
	free(to);
	return all;
}

static void read_chunk(json_t *chunk)
{
	const json_t *choices = json_object_get(chunk, "choices"), *choice = json_array_get(choices, 0);
	const json_t *part = json_object_get(choice, "delta");
	const char *id = json_string_value(json_object_get(chunk, "id"));

	assert_string_equal(json_string_value(json_object_get(chunk, "object")), "chat.completion.chunk");
	assert_string_equal(json_string_value(json_object_get(chunk, "model")), "a/\"b\"");
	assert_true(json_is_integer(json_object_get(chunk, "created")));
	assert_true(client.id[0] == '\0' || strcmp(client.id, id) == 0);
	snprintf(client.id, sizeof client.id, "%s", id);
	if (json_array_size(choices) == 0) {
		client.usage = json_incref(json_object_get(chunk, "usage"));
		assert_non_null(client.usage);
		return;
	}
	assert_int_equal(json_array_size(choices), 1);
	assert_int_equal(json_integer_value(json_object_get(choice, "index")), 0);
	assert_null(client.finish);
	client.roles += json_object_get(part, "role") != NULL;
	client.text = joined(client.text, json_object_get(part, "content"));
	client.reasoning = joined(client.reasoning, json_object_get(part, "reasoning_content"));
	if (json_object_get(part, "tool_calls") != NULL) {
		assert_null(client.calls);
		client.calls = json_incref(json_object_get(part, "tool_calls"));
	}
	if (json_object_get(part, "annotations") != NULL) {
		assert_null(client.annotations);
		client.annotations = json_incref(json_object_get(part, "annotations"));
	}
	json_decref(client.last);
	client.last = json_incref(chunk);
	client.finish = json_string_value(json_object_get(choice, "finish_reason"));
}

/* Each event is one line of data, or a comment. */
static void read_stream(void)
{
	const char *at = out.written.len > 0 ? out.written.data : "", *end;

	forget();
	for (; *at != '\0'; at = end + 2) {
		json_t *json;

		if (*at == '\n') { /* the end of an event that broke off */
			end = at - 1;
			continue;
		}
		assert_false(client.done);
		assert_null(client.error);
		end = strstr(at, "\n\n");
		assert_non_null(end);
		if (*at == ':') {
			client.comments++;
			continue;
		}
		assert_memory_equal(at, "data: ", 6);
		if (strncmp(at + 6, "[DONE]", 6) == 0) {
			client.done = true;
			continue;
		}
		json = json_loadb(at + 6, (size_t)(end - at - 6), 0, NULL);
		assert_non_null(json);
		if (json_object_get(json, "error") != NULL)
			client.error = json_incref(json_object_get(json, "error"));
		else
			read_chunk(json);
		json_decref(json);
	}
}

static void assert_whole(const char *want, const char *finish_reason)
{
	read_stream();
	assert_int_equal(out.status, 200);
	assert_true(client.done);
	assert_null(client.error);
	assert_int_equal(client.roles, 1);
	assert_string_equal(client.finish, finish_reason);
	assert_string_equal(client.text, want);
	assert_int_equal(out.text.len, strlen(want));
	if (*want != '\0')
		assert_memory_equal(out.text.data, want, strlen(want));
}

/* ---- text ---- */

static void any_pieces_are_one_text(void **state)
{
	static const char all[] =
		"\"q\" \\ \n\r\t\b\f\x01\x1f\x7f </script> \xc3\xa9 \xe2\x80\xa8 \xf0\x9f\x98\x80 data: [DONE]\n\n";
	size_t len = sizeof all - 1;

	(void)state;
	for (size_t step = 1; step <= len; step++) {
		for (unsigned reads = 1; reads < 4; reads++) {
			struct reply *r = begin(",\"stream\":true,\"stream_options\":{\"include_usage\":true}");

			for (size_t at = 0, n = 0; at < len;) {
				size_t end = at + step < len ? at + step : len;

				while (end < len && ((unsigned char)all[end] & 0xC0) == 0x80)
					end++;
				protocol_openai_chat.text(r, all + at, end - at);
				at = end;
				if (++n % reads == 0)
					protocol_openai_chat.flush(r);
			}
			protocol_openai_chat.close(r);
			protocol_openai_chat.end(r, &counted);
			assert_whole(all, "stop");
			assert_int_equal(json_integer_value(json_object_get(client.usage, "total_tokens")), 12);
			finish(r);
		}
	}
}

static void an_object_has_it_all(void **state)
{
	struct reply *r = begin("");
	json_t *json, *message;

	(void)state;
	protocol_openai_chat.reasoning(r, "why", 3);
	text(r, "a\"b");
	protocol_openai_chat.flush(r);
	text(r, "c");
	assert_int_equal(out.status, 0); /* it may still be an error */
	protocol_openai_chat.heartbeat(r);
	assert_int_equal(out.written.len, 0);
	protocol_openai_chat.end(r, &counted);
	assert_int_equal(out.status, 200);
	json = json_loads(out.written.data, 0, NULL);
	message = json_object_get(json_array_get(json_object_get(json, "choices"), 0), "message");
	assert_string_equal(json_string_value(json_object_get(message, "content")), "a\"bc");
	assert_string_equal(json_string_value(json_object_get(message, "reasoning_content")), "why");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "usage"), "prompt_tokens")), 5);
	json_decref(json);
	finish(r);
}

static void reasoning_is_no_text(void **state)
{
	struct reply *r = begin(",\"stream\":true");

	(void)state;
	protocol_openai_chat.reasoning(r, "one ", 4);
	protocol_openai_chat.reasoning(r, "two", 3);
	text(r, "an");
	text(r, "swer");
	protocol_openai_chat.end(r, &counted);
	assert_whole("answer", "stop");
	assert_string_equal(client.reasoning, "one two");
	assert_null(client.usage); /* nobody wanted it */
	finish(r);
}

/* ---- calls, sources ---- */

static void calls_come_whole(void **state)
{
	char arguments[] = "{\"a\":\"\\n\xc3\xa9\"}", cut[] = "{\"a";
	const struct call one = {
		.id = (char[]){"c1"}, .name = (char[]){"f"}, .arguments = arguments, .len = strlen(arguments)};
	const struct call two = {
		.id = (char[]){"c2"}, .name = (char[]){"g"}, .arguments = cut, .len = strlen(cut), .cut = true};
	const struct call *const calls[] = {&one, &two};
	const struct usage limited = {.prompt_tokens = -1, .limited = true};
	const json_t *call;
	struct reply *r;

	(void)state;
	for (int i = 0; i < 2; i++) {
		r = begin(",\"stream\":true");
		if (i == 1)
			text(r, "let me look");
		protocol_openai_chat.calls(r, calls, 2);
		protocol_openai_chat.end(r, i == 0 ? &counted : &limited);
		assert_whole(i == 0 ? "" : "let me look", i == 0 ? "tool_calls" : "length");
		assert_int_equal(json_array_size(client.calls), 2);
		call = json_array_get(client.calls, 1);
		assert_int_equal(json_integer_value(json_object_get(call, "index")), 1);
		assert_string_equal(json_string_value(json_object_get(call, "id")), "c2");
		assert_string_equal(json_string_value(json_object_get(json_object_get(call, "function"), "arguments")),
		                    cut);
		finish(r);
	}
}

static void sources_come_in_one_chunk(void **state)
{
	struct reply *r = begin(",\"stream\":true");

	(void)state;
	protocol_openai_chat.tool(r, "Searching", "x");
	assert_true(protocol_openai_chat.source(r, "One", "https://a.org/"));
	assert_true(protocol_openai_chat.source(r, "", "http://b.org/"));
	assert_false(protocol_openai_chat.source(r, "No", "javascript:alert(1)"));
	assert_false(protocol_openai_chat.source(r, "No", NULL));
	text(r, "yes");
	protocol_openai_chat.end(r, &counted);
	assert_whole("yes", "stop");
	assert_int_equal(json_array_size(client.annotations), 2);
	assert_false(protocol_openai_chat.can_resume(out.state));
	finish(r);
}

/* ---- ends ---- */

static void a_failure_before_the_first_word_has_its_status(void **state)
{
	static const char *const fields[] = {"", ",\"stream\":true"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		for (enum failure why = 0; why < FAILURES; why++) {
			struct reply *r = begin(fields[i]);
			json_t *root, *json;

			if (why == FAILURE_FILTERED) {
				finish(r);
				continue;
			}
			(protocol_openai_chat.fail)(r, why, "It \"failed\".");
			protocol_openai_chat.end(r, &not_counted);
			assert_int_equal(out.status, openai_failure(why)->status);
			root = json_loads(out.written.data, 0, NULL);
			json = json_object_get(root, "error");
			assert_int_equal(json_object_size(json), 4);
			assert_string_equal(json_string_value(json_object_get(json, "message")), "It \"failed\".");
			json_decref(root);
			finish(r);
		}
	}
}

static void a_failure_after_it_is_an_error_without_done(void **state)
{
	(void)state;
	for (int what = 0; what < 3; what++) {
		struct reply *r = begin(",\"stream\":true");

		if (what == 0)
			text(r, "half");
		else if (what == 1)
			protocol_openai_chat.heartbeat(r);
		else
			protocol_openai_chat.reasoning(r, "hm", 2);
		if (what != 1)
			protocol_openai_chat.flush(r);
		(protocol_openai_chat.fail)(r, FAILURE_UPSTREAM, "It broke off.");
		protocol_openai_chat.end(r, &counted);
		read_stream();
		assert_int_equal(out.status, 200);
		assert_false(client.done);
		assert_null(client.finish);
		assert_non_null(client.error);
		finish(r);
	}
}

static void a_content_filter_is_an_end(void **state)
{
	struct reply *r = begin(",\"stream\":true");

	(void)state;
	text(r, "half");
	(protocol_openai_chat.fail)(r, FAILURE_FILTERED, "It was stopped.");
	protocol_openai_chat.end(r, &counted);
	assert_whole("half", "content_filter");
	finish(r);
}

static void an_empty_answer_is_whole(void **state)
{
	struct reply *r = begin(",\"stream\":true,\"stream_options\":{\"include_usage\":true}");

	(void)state;
	protocol_openai_chat.end(r, &not_counted);
	assert_whole("", "stop");
	assert_null(client.usage); /* nobody counted */
	finish(r);
}

/* ---- a program that dies ---- */

static void another_program_goes_on(void **state)
{
	(void)state;
	for (int sent = 0; sent < 4; sent++) {
		struct resumed_reply from = {.text = "abc", .len = sent > 1 ? 3 : 0};
		struct reply *r = begin(",\"stream\":true");
		struct buf first;
		char memo[OUTPUT_MEMO_MAX];

		if (sent == 1)
			protocol_openai_chat.heartbeat(r);
		if (sent > 1)
			text(r, "abc");
		if (sent > 2)
			protocol_openai_chat.reasoning(r, "hm", 2);
		protocol_openai_chat.flush(r);
		assert_true(protocol_openai_chat.can_resume(out.state));
		from.state = out.state;
		memcpy(memo, out.memo, sizeof memo);
		from.memo = memo;
		first = out.written;
		protocol_openai_chat.free(r);
		buf_free(&out.text);
		r = begin(",\"stream\":true");
		protocol_openai_chat.resume(r, &from);
		text(r, "def");
		protocol_openai_chat.end(r, &counted);
		assert_int_equal(buf_add(&first, out.written.data, out.written.len), 0);
		buf_free(&out.written);
		out.written = first;
		read_stream(); /* the same id throughout */
		assert_true(client.done);
		assert_int_equal(client.roles, 1);
		assert_string_equal(client.text, sent > 1 ? "abcdef" : "def");
		finish(r);
	}
}

static void nobody_goes_on(void **state)
{
	struct broken_reply b = {.state = 0};
	struct reply *r = begin(",\"stream\":true");
	char piece[1024];
	bool last = false;
	size_t len;

	(void)state;
	text(r, "half");
	protocol_openai_chat.flush(r);
	b.state = out.state;
	out.written.len -= 20; /* within an event */
	while (!last) {
		len = protocol_openai_chat.broken(&b, piece, sizeof piece, &last);
		assert_int_equal(buf_add(&out.written, piece, len), 0);
	}
	assert_memory_equal(piece, "\n\ndata: {\"error\":", 17);
	assert_null(strstr(out.written.data, "[DONE]"));
	finish(r);
	r = begin(",\"stream\":true");
	text(r, "all");
	protocol_openai_chat.end(r, &counted);
	b.state = out.state;
	assert_false(protocol_openai_chat.can_resume(b.state));
	assert_int_equal(protocol_openai_chat.broken(&b, piece, sizeof piece, &last), 0);
	finish(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_pieces_are_one_text),
		cmocka_unit_test(an_object_has_it_all),
		cmocka_unit_test(reasoning_is_no_text),
		cmocka_unit_test(calls_come_whole),
		cmocka_unit_test(sources_come_in_one_chunk),
		cmocka_unit_test(a_failure_before_the_first_word_has_its_status),
		cmocka_unit_test(a_failure_after_it_is_an_error_without_done),
		cmocka_unit_test(a_content_filter_is_an_end),
		cmocka_unit_test(an_empty_answer_is_whole),
		cmocka_unit_test(another_program_goes_on),
		cmocka_unit_test(nobody_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
