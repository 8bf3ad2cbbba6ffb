/* SPDX-License-Identifier: Apache-2.0 */
/* Anthropic's messages: the events of a stream, whatever the LLM's pieces were, its ends, and how another program goes
 * on with it. What clients see of requests and answers is in tests/integration/test_messages.py. */
#include "core/protocol/messages.h"
#include "tests/unit/support/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct usage counted = {.tokens = 7, .prompt_tokens = 5, .cached_tokens = 2, .reasoning_tokens = -1};

static struct output out;

static struct reply *begin(const char *fields)
{
	struct chat_request r;
	struct reply *reply;
	json_t *problem;
	char body[400];

	snprintf(body, sizeof body,
	         "{\"model\":\"a/\\\"b\\\"\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s}", fields);
	assert_int_equal(messages_parse(body, strlen(body), &r, &problem), 0);
	out = (struct output){.status = 0};
	buf_init(&out.written, 1 << 20);
	buf_init(&out.text, 1 << 20);
	reply = protocol_messages.open(&protocol_messages, &out, &r);
	assert_non_null(reply);
	chat_request_clear(&r);
	return reply;
}

static void finish(struct reply *r)
{
	protocol_messages.free(r);
	buf_free(&out.written);
	buf_free(&out.text);
}

static void text(struct reply *r, const char *s)
{
	protocol_messages.text(r, s, strlen(s));
}

static void reason(struct reply *r, const char *s)
{
	protocol_messages.reasoning(r, s, strlen(s));
}

static void flush(struct reply *r)
{
	protocol_messages.flush(r);
}

/* The names of the events that were written, and the strings of their deltas: "message_start
 * content_block_start(text) 'a' content_block_stop ...". */
static void expect(const char *events)
{
	char seen[4000] = "", *data = out.written.data, *next;
	size_t len = 0;

	for (; data != NULL && (data = strstr(data, "data: ")) != NULL; data = next) {
		json_t *json, *piece;
		const char *type, *of = NULL;

		next = strstr(data, "\n\n");
		assert_non_null(next);
		json = json_loadb(data + 6, (size_t)(next - data) - 6, 0, NULL);
		assert_non_null(json);
		type = json_string_value(json_object_get(json, "type"));
		piece = json_object_get(json, "delta");
		of = json_string_value(json_object_get(json_object_get(json, "content_block"), "type"));
		if (strcmp(type, "content_block_delta") == 0) {
			const char *const members[] = {"text", "thinking", "partial_json"};

			for (size_t i = 0; i < 3; i++)
				if (json_object_get(piece, members[i]) != NULL)
					len += (size_t)snprintf(seen + len, sizeof seen - len, "'%s' ",
					                        json_string_value(json_object_get(piece, members[i])));
		} else {
			len += (size_t)snprintf(seen + len, sizeof seen - len, "%s%s%s%s ", type, of != NULL ? "(" : "",
			                        of != NULL ? of : "", of != NULL ? ")" : "");
		}
		json_decref(json);
	}
	if (len > 0)
		seen[len - 1] = '\0';
	assert_string_equal(seen, events);
}

#define END " content_block_stop message_delta message_stop"

static void blocks_follow_one_another(void **state)
{
	struct reply *r = begin(",\"stream\":true,\"thinking\":{\"type\":\"enabled\"}");

	(void)state;
	reason(r, "Hm");
	reason(r, ".");
	flush(r);
	text(r, "a");
	text(r, "\"b");
	flush(r);
	text(r, "c");
	reason(r, "again");
	text(r, "d");
	protocol_messages.end(r, &counted);
	expect("message_start content_block_start(thinking) 'Hm.' content_block_stop content_block_start(text) 'a\"b' 'c' "
	       "content_block_stop content_block_start(thinking) 'again' content_block_stop content_block_start(text) "
	       "'d'" END);
	assert_string_equal(out.text.data, "a\"bcd");
	assert_non_null(strstr(out.written.data,
	                       "\"input_tokens\":3,\"cache_creation_input_tokens\":0,"
	                       "\"cache_read_input_tokens\":2,\"output_tokens\":7"));
	assert_non_null(strstr(out.written.data, "\"model\":\"a/\\\"b\\\"\""));
	finish(r);
}

static void calls_follow_the_text(void **state)
{
	char id[] = "c1", name[] = "f", arguments[] = "{\"a\":1}";
	const struct call call = {.id = id, .name = name, .arguments = arguments, .len = sizeof arguments - 1};
	const struct call *const calls[] = {&call, &call};

	(void)state;
	for (int streams = 0; streams < 2; streams++) {
		struct reply *r = begin(streams != 0 ? ",\"stream\":true" : "");

		text(r, "a");
		protocol_messages.calls(r, calls, 2);
		protocol_messages.end(r, &counted);
		if (streams != 0)
			expect("message_start content_block_start(text) 'a' content_block_stop "
			       "content_block_start(tool_use) '{\"a\":1}' content_block_stop "
			       "content_block_start(tool_use) '{\"a\":1}'" END);
		else
			assert_non_null(strstr(out.written.data,
			                       "{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\","
			                       "\"input\":{\"a\":1}}]"));
		assert_non_null(strstr(out.written.data, "\"stop_reason\":\"tool_use\""));
		finish(r);
	}
}

static void how_it_ends(void **state)
{
	struct reply *r;

	(void)state;
	r = begin(",\"stream\":true"); /* before anything was sent */
	(protocol_messages.fail)(r, FAILURE_OVERFLOW, "no");
	assert_int_equal(out.status, 400);
	assert_string_equal(out.written.data,
	                    "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
	                    "\"message\":\"prompt is too long: no\"}}");
	finish(r);
	r = begin(",\"stream\":true"); /* after it */
	text(r, "a");
	(protocol_messages.fail)(r, FAILURE_UPSTREAM, "no");
	protocol_messages.end(r, &counted);
	expect("message_start content_block_start(text) 'a' error");
	finish(r);
	r = begin(",\"stream\":true"); /* by the content filter */
	text(r, "a");
	(protocol_messages.fail)(r, FAILURE_FILTERED, "no");
	protocol_messages.end(r, &counted);
	expect("message_start content_block_start(text) 'a'" END);
	assert_non_null(strstr(out.written.data, "\"stop_reason\":\"refusal\""));
	finish(r);
	r = begin(",\"stream\":true"); /* without a word */
	protocol_messages.heartbeat(r);
	protocol_messages.end(r, &counted);
	expect("message_start ping message_delta message_stop");
	finish(r);
	r = begin(""); /* reasoning that nobody wants */
	reason(r, "a");
	text(r, "b");
	protocol_messages.end(r, &counted);
	assert_non_null(strstr(out.written.data, "\"content\":[{\"type\":\"text\",\"text\":\"b\"}]"));
	finish(r);
}

/* What another program adds to an answer that was in the state, with its text so far. */
static void resumed(unsigned char state, const char *events)
{
	const struct resumed_reply from = {
		.state = state, .memo = "msg_0123456789abcdef01234567", .text = "a", .len = 1};
	struct reply *r = begin(",\"stream\":true");

	assert_true(protocol_messages.can_resume(state));
	protocol_messages.resume(r, &from);
	text(r, "b");
	protocol_messages.end(r, &counted);
	expect(events);
	finish(r);
}

static void another_program_goes_on(void **state)
{
	struct reply *r = begin(",\"stream\":true,\"thinking\":{\"type\":\"adaptive\"}");
	unsigned char thinking, writing;

	(void)state;
	assert_int_equal(out.state, 0);
	reason(r, "Hm");
	flush(r);
	thinking = out.state;
	text(r, "a");
	flush(r);
	writing = out.state;
	finish(r);
	resumed(0, "message_start content_block_start(text) 'b'" END);
	resumed(thinking, "content_block_stop content_block_start(text) 'b'" END);
	resumed(writing, "'b'" END);
	assert_false(protocol_messages.can_resume((unsigned char)(writing | 8))); /* it used tools */
}

static void a_program_that_dies(void **state)
{
	struct reply *r = begin(",\"stream\":true");
	struct broken_reply b = {.state = 0};
	char piece[1024];
	bool last = false;

	(void)state;
	text(r, "a");
	flush(r);
	b.state = out.state;
	assert_true(protocol_messages.broken(&b, piece, sizeof piece, &last) > 0);
	assert_true(last && strstr(piece, "event: error\ndata: {\"type\":\"error\"") != NULL);
	protocol_messages.end(r, &counted);
	b.state = out.state;
	assert_int_equal(protocol_messages.broken(&b, piece, sizeof piece, &last), 0);
	finish(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_follow_one_another),
		cmocka_unit_test(calls_follow_the_text),
		cmocka_unit_test(how_it_ends),
		cmocka_unit_test(another_program_goes_on),
		cmocka_unit_test(a_program_that_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
