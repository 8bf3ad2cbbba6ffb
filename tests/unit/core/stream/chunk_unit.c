/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the known servers, read by both readers. */
#include "core/stream/chunk.h"

#include "core/stream/error_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HEAD "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1795370000,\"model\":\"m/x\","
#define EVENT(members, finish)                                                                                         \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{" members "},\"logprobs\":null,\"finish_reason\":" finish "}]}"

struct event {
	const char *data;
	enum chunk_kind kind;
	const char *content, *reasoning; /* NULL: none */
	enum chunk_finish finish;
	int64_t completion; /* -1: no usage */
	int64_t prompt;     /* 0: none */
	size_t calls;
	bool scanned; /* the strict scanner must take it */
};

#define CHUNK   .kind = CHUNK_CHUNK, .completion = -1
#define SCANNED CHUNK, .scanned = true

static const struct event events[] = {
	{"[DONE]", .kind = CHUNK_DONE, .completion = -1, .scanned = true},
	{"[DONE] ", .kind = CHUNK_DONE, .completion = -1},
	{"", CHUNK},
	{EVENT("\"role\":\"assistant\",\"content\":\"\"", "null"), SCANNED},
	{EVENT("\"content\":\" world\"", "null"), SCANNED, .content = " world"},
	{EVENT("\"content\":null", "null"), SCANNED},
	{EVENT("", "null"), SCANNED},
	{EVENT("\"content\":\"Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80\"", "null"), SCANNED,
         .content = "Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80"},
	{EVENT("\"content\":\"a\\n\\\"b\\\\\\/\\t\\u00e9\\ud83d\\ude00.\"", "null"), SCANNED,
         .content = "a\n\"b\\/\t\xc3\xa9\xf0\x9f\x98\x80."},
	{EVENT("\"content\":\"x\\ny\",\"reasoning\":\"long\\tenough to make a small buffer grow: 0123456789\"", "null"),
         SCANNED, .content = "x\ny", .reasoning = "long\tenough to make a small buffer grow: 0123456789"},
	{EVENT("\"reasoning\":\"r\"", "null"), SCANNED, .reasoning = "r"},
	{EVENT("\"reasoning_content\":\"r\",\"content\":null", "null"), SCANNED, .reasoning = "r"},
	{EVENT("\"thinking\":\"r\",\"content\":\"\"", "null"), SCANNED, .reasoning = "r"},
	{EVENT("\"reasoning_content\":\"b\",\"reasoning\":\"a\"", "null"), SCANNED, .reasoning = "a"},
	{EVENT("\"content\":\"end\",\"tool_calls\":[]", "\"stop\""), SCANNED, .content = "end", .finish = FINISH_STOP},
	{EVENT("", "\"length\""), SCANNED, .finish = FINISH_LENGTH},
	{EVENT("", "\"tool_calls\""), SCANNED, .finish = FINISH_TOOL_CALLS},
	{EVENT("", "\"abort\""), SCANNED, .finish = FINISH_BROKEN},
	{EVENT("", "\"error\""), SCANNED, .finish = FINISH_BROKEN},
	{EVENT("", "\"\""), SCANNED, .finish = FINISH_NONE},
	{EVENT("", "\"null\""), SCANNED, .finish = FINISH_NONE},
	{EVENT("", "\"content_filter\""), SCANNED, .finish = FINISH_FILTERED},
	{HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":12,\"completion_tokens\":7}}",
         .kind = CHUNK_CHUNK, .completion = 7, .prompt = 5, .scanned = true},
	{HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"logprobs\":null,\"finish_reason\":null}],"
              "\"usage\":{\"prompt_tokens\":42,\"total_tokens\":49,\"completion_tokens\":7,"
              "\"prompt_tokens_details\":null}}",
         .kind = CHUNK_CHUNK, .content = "x", .completion = 7, .prompt = 42, .scanned = true},
	{HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}],\"usage\":null}", SCANNED, .content = "x"},
	/* any order, any whitespace, things that are skipped */
	{" { \"choices\" : [ { \"finish_reason\" : null , \"delta\" : { \"content\" : \"x\" } } ] ,\n"
         "\t\"timings\":{\"a\":[1,-2.5e3,0,{\"b\":[]}],\"c\":true,\"d\":false,\"e\":\"\\u0041\"},\"id\":1 } ",
         SCANNED, .content = "x"},
	/* completions */
	{"{\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" hi\",\"finish_reason\":null}]}",
         SCANNED, .content = " hi"},
	/* an unexpected number loses no text */
	{"{\"id\":18446744073709551616,\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", CHUNK, .content = "x"},
	/* tool calls */
	{EVENT("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\"}}]", "null"), CHUNK, .calls = 1},
	{EVENT("\"tool_calls\":{\"index\":0,\"function\":{\"arguments\":{}}}", "\"tool_calls\""), CHUNK, .calls = 1,
         .finish = FINISH_TOOL_CALLS},
	{HEAD "\"choices\":[{\"message\":{\"content\":\"whole\",\"tool_calls\":[{},{}]},\"finish_reason\":\"stop\"}]}",
         CHUNK, .content = "whole", .calls = 2, .finish = FINISH_STOP},
	{EVENT("\"function_call\":{\"name\":\"f\",\"arguments\":\"{\"}", "null"), CHUNK, .calls = 1},
	{EVENT("\"function_call\":null,\"tool_calls\":null,\"content\":\"x\"", "null"), SCANNED, .content = "x"},
	/* content as parts, refusals, duplicates, a second choice */
	{EVENT("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]},"
               "{\"type\":\"text\",\"text\":\"so\"}]",
               "null"),
         CHUNK, .content = "so", .reasoning = "hm"},
	{EVENT("\"content\":null,\"refusal\":\"no\"", "null"), CHUNK, .content = "no"},
	{EVENT("\"content\":\"a\",\"content\":\"b\"", "null"), CHUNK, .content = "b"},
	{"{\"choices\":[{\"delta\":{\"content\":\"a\"}},{\"delta\":{\"content\":\"b\"}}]}", CHUNK, .content = "a"},
	{EVENT("\"con\\u0074ent\":\"a\"", "null"), CHUNK, .content = "a"},
	/* half a surrogate pair and broken UTF-8 lose a character, not the event */
	{EVENT("\"content\":\"a\\ud83d.\"", "null"), CHUNK, .content = "a\xef\xbf\xbd."},
	{EVENT("\"content\":\"a\xf0\x9f.\"", "null"), CHUNK, .content = "a\xef\xbf\xbd\xef\xbf\xbd."},
	{EVENT("\"content\":\"a\\\\ud83d.\"", "null"), SCANNED, .content = "a\\ud83d."},
	/* odd, but JSON */
	{"{}", CHUNK},
	{"{\"choices\":null}", CHUNK},
	{"{\"choices\":[null]}", CHUNK},
	{"{\"choices\":[{\"delta\":null}]}", SCANNED},
	{"{\"choices\":[{\"delta\":{\"content\":5}}]}", CHUNK},
	{"{\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":2.5}}", CHUNK},
	{"{\"usage\":{\"prompt_tokens\":5}}", SCANNED, .prompt = 5},
	{"{\"usage\":{\"prompt_tokens\":null,\"completion_tokens\":7}}", .kind = CHUNK_CHUNK, .completion = 7},
	{"{\"message\":{\"content\":\"x\"},\"done\":true,\"prompt_eval_count\":3,\"eval_count\":4}",
         .kind = CHUNK_CHUNK, .content = "x", .finish = FINISH_STOP, .completion = 4, .prompt = 3},
	{"{\"usage\":{\"completion_tokens\":-5}}", CHUNK},
	{"{\"error\":null,\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", SCANNED, .content = "x"},
	/* not JSON */
	{"{", .kind = CHUNK_INVALID, .completion = -1},
	{"hello", .kind = CHUNK_INVALID, .completion = -1},
	{"[1]", .kind = CHUNK_INVALID, .completion = -1},
	{"{\"a\":01}", .kind = CHUNK_INVALID, .completion = -1},
	{"{\"a\":1}}", .kind = CHUNK_INVALID, .completion = -1},
	{"{\"a\":\"\n\"}", .kind = CHUNK_INVALID, .completion = -1},
	{"{\"a\":1e999}", .kind = CHUNK_INVALID, .completion = -1},
};

static void assert_text(const struct chunk_text *text, const char *want)
{
	if (want == NULL) {
		assert_null(text->bytes);
		assert_int_equal(text->len, 0);
		return;
	}
	assert_non_null(text->bytes);
	assert_int_equal(text->len, strlen(want));
	assert_memory_equal(text->bytes, want, text->len);
}

static void assert_chunk(const struct chunk *c, const struct event *e)
{
	assert_int_equal(c->kind, e->kind);
	assert_text(&c->content, e->content);
	assert_text(&c->reasoning, e->reasoning);
	assert_int_equal(c->finish, e->finish);
	assert_int_equal(c->completion_tokens, e->completion);
	assert_int_equal(c->prompt_tokens, e->prompt > 0 ? e->prompt : -1);
	assert_int_equal(json_array_size(c->tool_calls), e->calls);
}

/* The event in memory of its own size, so that a read beyond it is seen. */
static char *exactly(const char *data)
{
	size_t len = strlen(data);
	char *copy = malloc(len + (len == 0));

	assert_non_null(copy);
	memcpy(copy, data, len);
	return copy;
}

static void both_readers_agree(void **state)
{
	struct chunk_reader r;
	struct chunk c;

	(void)state;
	chunk_reader_init(&r);
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
		const struct event *e = &events[i];
		size_t len = strlen(e->data);
		char *data = exactly(e->data);

		if (chunk_scan(&r, data, len, &c))
			assert_chunk(&c, e);
		else if (e->scanned)
			fail_msg("not scanned: %s", e->data);
		chunk_parse(&r, data, len, &c);
		assert_chunk(&c, e);
		chunk_read(&r, data, len, &c);
		assert_chunk(&c, e);
		free(data);
	}
	chunk_reader_free(&r);
}

/* What is cut off anywhere is invalid to both. */
static void cut_events_are_invalid(void **state)
{
	struct chunk_reader r;
	struct chunk c;

	(void)state;
	chunk_reader_init(&r);
	for (size_t i = 3; i < sizeof events / sizeof events[0]; i++) {
		size_t whole = strlen(events[i].data);

		while (whole > 0 && events[i].data[whole - 1] == ' ')
			whole--;
		if (events[i].kind != CHUNK_CHUNK)
			continue;
		for (size_t len = 1; len < whole; len++) {
			char *data = malloc(len);

			assert_non_null(data);
			memcpy(data, events[i].data, len);
			assert_false(chunk_scan(&r, data, len, &c));
			chunk_parse(&r, data, len, &c);
			assert_int_equal(c.kind, CHUNK_INVALID);
			free(data);
		}
	}
	chunk_reader_free(&r);
}

static void plain_content_is_not_copied(void **state)
{
	static const char data[] = EVENT("\"content\":\"Gr\xc3\xbc\xc3\x9f\x65\"", "null");
	struct chunk_reader r;
	struct chunk c;

	(void)state;
	chunk_reader_init(&r);
	chunk_read(&r, data, sizeof data - 1, &c);
	assert_true(c.content.bytes > data && c.content.bytes < data + sizeof data);
	assert_null(r.scratch.data);
	assert_null(r.json);
	chunk_reader_free(&r);
}

static void errors_in_the_stream(void **state)
{
	static const struct {
		const char *data, *error;
		long status;
	} rows[] = {
		{"{\"error\":{\"message\":\"out of  memory\\nat x\",\"type\":\"t\",\"param\":null,\"code\":500}}",
	         "out of  memory", 500},
		{"{\"object\":\"error\",\"message\":\"too long\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
	         "too long", 400},
		{"{\"error\":\"Unauthorized\"}", "Unauthorized", 0},
		{"{\"detail\":\"Not ready\"}", "Not ready", 0},
		{"{\"detail\":[{\"msg\":\"Field required\"}]}", "Field required", 0},
		{"{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
	         "Loading model", 503},
		{"{\"error\":{}}", "the server gave no reason", 0},
		{"{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\" x \"},\"choices\":[]}", "x", 0},
	};
	struct chunk_reader r;
	struct chunk c;
	struct error_report e;
	char text[sizeof e.text + 8];

	(void)state;
	chunk_reader_init(&r);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		chunk_read(&r, rows[i].data, strlen(rows[i].data), &c);
		assert_int_equal(c.kind, CHUNK_ERROR);
		assert_string_equal(r.error->text, rows[i].error);
		assert_int_equal(r.error->status, rows[i].status);
		if (strcmp(rows[i].error, "the server gave no reason") != 0) {
			error_report_of_body(&e, 500, rows[i].data, strlen(rows[i].data));
			assert_string_equal(e.text, rows[i].error);
			assert_int_equal(e.status, 500);
		}
	}
	error_report_of_body(&e, 500, "Internal Server Error", 21);
	assert_string_equal(e.text, "Internal Server Error");
	error_report_of_body(&e, 500, "<html>", 6);
	assert_string_equal(e.text, "");
	/* cut between two characters */
	memset(text, 'x', sizeof text);
	memcpy(text + sizeof e.text - 2, "\xc3\xbc", 2);
	error_report_of_body(&e, 500, text, sizeof text);
	assert_int_equal(strlen(e.text), sizeof e.text - 2);
	memcpy(text + sizeof e.text - 3, "\xc3\xbc", 2);
	error_report_of_body(&e, 500, text, sizeof text);
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	/* bytes that are not text are replaced, not dropped */
	error_report_of_body(&e, 500,
	                     "a\tb\x01"
	                     "c \xff\xc3(\xf0\x9f\x98 \x7f\n",
	                     14);
	assert_string_equal(e.text, "a b c ?\?(?\?\?");
	text[sizeof e.text - 1] = '\xff';
	error_report_of_body(&e, 500, text, sizeof e.text);
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	chunk_reader_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_readers_agree),
		cmocka_unit_test(cut_events_are_invalid),
		cmocka_unit_test(plain_content_is_not_copied),
		cmocka_unit_test(errors_in_the_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
