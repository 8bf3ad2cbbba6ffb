/* SPDX-License-Identifier: Apache-2.0 */
/* From a server's bytes to what the client reads, through every stage, at every split:
 * SSE, deltas, filter, emitter. */
#include "core/stream/chunk.h"
#include "core/protocol/emitter.h"
#include "core/stream/filter.h"
#include "core/stream/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct chain {
	struct sse sse;
	struct chunk_reader reader;
	struct filter *filter;
	struct emitter *emitter;
	struct buf out; /* what the client reads; calls and ends of the answer in <> */
};

static void on_write(void *arg, const char *bytes, size_t len, bool apart)
{
	(void)apart;
	assert_int_equal(buf_add(&((struct chain *)arg)->out, bytes, len), 0);
}

static void on_text(void *arg, const char *bytes, size_t len)
{
	emitter_text(((struct chain *)arg)->emitter, bytes, len);
}

static void on_reasoning(void *arg, const char *bytes, size_t len)
{
	emitter_reasoning(((struct chain *)arg)->emitter, bytes, len);
}

static void on_call(void *arg, const char *name, const char *arguments)
{
	buf_addf(&((struct chain *)arg)->out, "<call %s %s>", name, arguments);
}

static bool is_tool(void *arg, const char *name, size_t len)
{
	(void)arg;
	return len == 6 && memcmp(name, "search", 6) == 0;
}

static void add_calls(struct chain *c, const json_t *calls)
{
	const json_t *call, *function;
	size_t i;

	json_array_foreach(calls, i, call)
	{
		const char *name, *arguments;

		function = json_object_get(call, "function");
		name = json_string_value(json_object_get(function, "name"));
		arguments = json_string_value(json_object_get(function, "arguments"));
		buf_addf(&c->out, "<piece %s%s>", name != NULL ? name : "", arguments != NULL ? arguments : "");
	}
}

static bool on_event(void *arg, const char *data, size_t len)
{
	static const char *const kinds[] = {"", "<done>", "<error>", "<invalid>"};
	struct chain *c = arg;
	struct chunk d;

	chunk_read(&c->reader, data, len, &d);
	buf_adds(&c->out, kinds[d.kind]);
	if (d.reasoning.len > 0)
		emitter_reasoning(c->emitter, d.reasoning.bytes, d.reasoning.len);
	if (d.content.len > 0)
		assert_int_equal(filter_feed(c->filter, d.content.bytes, d.content.len), 0);
	if (d.tool_calls != NULL)
		add_calls(c, d.tool_calls);
	if (d.finish != FINISH_NONE) {
		filter_end(c->filter);
		buf_addf(&c->out, "<finish %d %d>", (int)d.finish, (int)d.completion_tokens);
	}
	return true;
}

static void chain_init(struct chain *c)
{
	static const struct filter_handlers handlers = {on_text, on_reasoning, on_call, is_tool, NULL};

	sse_init(&c->sse);
	chunk_reader_init(&c->reader);
	buf_init(&c->out, 1 << 20);
	c->filter = filter_new(&handlers, c);
	c->emitter = emitter_new(on_write, c);
	assert_true(c->filter != NULL && c->emitter != NULL);
}

static void feed(struct chain *c, const char *bytes, size_t len)
{
	char *piece = malloc(len + (len == 0));

	assert_non_null(piece);
	memcpy(piece, bytes, len);
	assert_int_equal(sse_feed(&c->sse, piece, len, on_event, c), 0);
	free(piece);
}

static char *chain_end(struct chain *c)
{
	assert_int_equal(sse_end(&c->sse, on_event, c), 0);
	filter_free(c->filter);
	emitter_free(c->emitter);
	chunk_reader_free(&c->reader);
	sse_free(&c->sse);
	return buf_steal(&c->out, NULL);
}

/* ---- recorded answers: each event's choice; what is around it is the same ---- */

#define HEAD    "data: {\"id\":\"chatcmpl-9\",\"object\":\"chat.completion.chunk\",\"created\":1795370000,\"model\":\"m\","
#define TAIL(n) ",\"usage\":{\"prompt_tokens\":9,\"total_tokens\":20,\"completion_tokens\":" #n "}}\n\n"
#define ROLE                                                                                                           \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
#define TEXT(text, n)                                                                                                  \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text                                                \
	     "\"},\"logprobs\":null,\"finish_reason\":null}]" TAIL(n)
#define THOUGHT(text)                                                                                                  \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define CALL(members)                                                                                                  \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0," members                              \
	     "}]},\"finish_reason\":null}]}\n\n"
#define STOP(reason, n) HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]" TAIL(n)
#define DONE            "data: [DONE]\n\n"

static const struct {
	const char *stream, *want;
} rows[] = {
	{ROLE TEXT("Hello", 1) TEXT(", ", 2) TEXT("world! Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80", 3)
                 TEXT("\\nBye.", 4) STOP("stop", 4) DONE,
         "Hello, world! Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80\nBye.<finish 1 4><done>"},
	{": ping\n\n" ROLE ": keep-alive\n\n" TEXT("\\u0047r\\u00fc\\u00dfe \\ud83d\\ude00",
                                                   1) ":\n" STOP("length", 2) "event: x\nid: 3\n" DONE,
         "Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80<finish 2 2><done>"},
	{ROLE THOUGHT("I must ") THOUGHT("think.") TEXT("Yes", 3) STOP("stop", 3) DONE,
         "<think>I must think.</think>Yes<finish 1 3><done>"},
	{ROLE TEXT("<th", 1) TEXT("ink>hm</", 2) TEXT("think>\\n\\nYes", 3) STOP("stop", 3) DONE,
         "<think>hm</think>\n\nYes<finish 1 3><done>"},
	{ROLE CALL("\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"search\",\"arguments\":\"\"}")
                 CALL("\"function\":{\"arguments\":\"{\\\"query\\\"\"}")
                         CALL("\"function\":{\"arguments\":\": \\\"x\\\"}\"}") STOP("tool_calls", 5) DONE,
         "<piece search><piece {\"query\"><piece : \"x\"}><finish 3 5><done>"},
	{ROLE TEXT("<|python", 1) TEXT("_tag|>{\\\"name\\\": \\\"sea", 2)
                 TEXT("rch\\\", \\\"parameters\\\": {\\\"query\\\": \\\"x\\\"}}", 3) TEXT("<|eom_id|>", 4)
                         STOP("stop", 4) DONE,
         "<call search {\"query\":\"x\"}><finish 1 4><done>"},
	{ROLE TEXT("{\\\"name\\\": \\\"Alice\\\", ", 1) TEXT("\\\"age\\\": 3}", 2) STOP("stop", 2) DONE,
         "{\"name\": \"Alice\", \"age\": 3}<finish 1 2><done>"},
	{ROLE TEXT("Hel",
                   1) "data: {broken\n\n" TEXT("lo", 2) "data: {\"error\":{\"message\":\"out\",\"code\":500}}\n\n" DONE,
         "Hel<invalid>lo<error><done>"},
};

/* The same events with other line ends. */
static char *with_ends(const char *stream, const char *end)
{
	struct buf out = BUF_INIT(1 << 20);

	for (; *stream != '\0'; stream++)
		assert_int_equal(*stream == '\n' ? buf_adds(&out, end) : buf_add(&out, stream, 1), 0);
	return buf_steal(&out, NULL);
}

static void assert_stream(const char *stream, const char *want)
{
	size_t len = strlen(stream);
	struct chain c;
	char *got;

	for (size_t step = 1; step <= 7; step++) {
		chain_init(&c);
		for (size_t i = 0; i < len; i += step)
			feed(&c, stream + i, len - i < step ? len - i : step);
		got = chain_end(&c);
		assert_string_equal(got, want);
		free(got);
	}
	for (size_t cut = 0; cut <= len; cut++) {
		chain_init(&c);
		feed(&c, stream, cut);
		feed(&c, stream + cut, len - cut);
		got = chain_end(&c);
		assert_string_equal(got, want);
		free(got);
	}
}

static void every_split_gives_the_same(void **state)
{
	static const char *const ends[] = {"\n", "\r\n", "\r"};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++) {
			char *stream = with_ends(rows[i].stream, ends[e]);

			assert_stream(stream, rows[i].want);
			free(stream);
		}
	}
}

/* Cut anywhere, the answer is a beginning of the whole one, and never said to be done. */
static void what_is_cut_is_a_beginning(void **state)
{
	const char *stream = rows[0].stream, *want = rows[0].want;

	(void)state;
	for (size_t len = 0; len < strlen(stream) - 2; len++) {
		const char *invalid;
		struct chain c;
		char *got;

		chain_init(&c);
		feed(&c, stream, len);
		got = chain_end(&c);
		invalid = strstr(got, "<invalid>");
		assert_memory_equal(got, want, invalid != NULL ? (size_t)(invalid - got) : strlen(got));
		if (len < strlen(stream) - strlen(DONE))
			assert_null(strstr(got, "<done>"));
		free(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_split_gives_the_same),
		cmocka_unit_test(what_is_cut_is_a_beginning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
