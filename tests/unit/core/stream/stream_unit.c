/* SPDX-License-Identifier: Apache-2.0 */
/* From a server's bytes to pieces, wherever they are cut. */
#include "core/stream/stream.h"

#include "core/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* What came out: text as it is, reasoning in «», an end of reasoning that nothing opened as
 * ¬, calls as ‹id name arguments›, the end in <>. */
struct seen {
	struct buf out;
	char kind;
	size_t pieces;
	bool ended;
};

static const char *const ends[] = {
	[STREAM_COMPLETE] = "complete", [STREAM_LIMIT] = "limit",         [STREAM_CUT] = "cut",
	[STREAM_ERROR] = "error",       [STREAM_MALFORMED] = "malformed", [STREAM_NO_MEMORY] = "no memory",
	[STREAM_FILTERED] = "filtered",
};

static const char *const tools[] = {"search", NULL};

static void put(struct seen *seen, char kind, const char *bytes, size_t len)
{
	if (kind != seen->kind && seen->kind == 'r')
		buf_adds(&seen->out, "»");
	if (kind != seen->kind && kind == 'r')
		buf_adds(&seen->out, "«");
	seen->kind = kind;
	assert_int_equal(buf_add(&seen->out, bytes, len), 0);
}

static void take_piece(struct seen *seen, const struct piece *p)
{
	assert_false(seen->ended);
	seen->pieces++;
	switch (p->kind) {
	case PIECE_TEXT:
	case PIECE_REASONING:
		assert_true(p->len > 0);
		put(seen, p->kind == PIECE_TEXT ? 't' : 'r', p->bytes, p->len);
		break;
	case PIECE_UNOPENED:
		put(seen, 'u', "¬", 2);
		break;
	case PIECE_CALL:
		put(seen, 'c', "", 0);
		assert_int_equal(strlen(p->call->arguments), p->call->len);
		buf_addf(&seen->out, "‹%s %s %s›", p->call->id, p->call->name, p->call->arguments);
		break;
	case PIECE_END:
		put(seen, 'e', "", 0);
		buf_addf(&seen->out, "<%s", ends[p->end]);
		assert_int_equal(p->error != NULL, p->end == STREAM_ERROR);
		if (p->error != NULL && p->error->status != 0)
			buf_addf(&seen->out, " %ld", p->error->status);
		buf_addf(&seen->out, "%s%s>", *p->text != '\0' ? ": " : "", p->text);
		seen->ended = true;
		break;
	}
}

static void take(struct stream *s, struct seen *seen)
{
	struct piece p;

	while (stream_next(s, &p))
		take_piece(seen, &p);
	assert_false(stream_next(s, &p));
}

static void feed(struct stream *s, struct seen *seen, const char *bytes, size_t len)
{
	char *piece = malloc(len + (len == 0));

	assert_non_null(piece);
	memcpy(piece, bytes, len);
	stream_feed(s, piece, len);
	take(s, seen);
	free(piece);
}

/* The same struct stream for all of them, as nothing of one answer is left in the next. */
static struct stream *one;

static struct stream *begin(struct seen *seen)
{
	*seen = (struct seen){.out = BUF_INIT(1 << 20)};
	stream_begin(one, tools);
	return one;
}

static char *end(struct stream *s, struct seen *seen)
{
	stream_close(s);
	take(s, seen);
	assert_true(seen->ended);
	return buf_steal(&seen->out, NULL);
}

/* ---- recorded answers: each event's choice; what is around it is the same ---- */

#define HEAD    "data: {\"id\":\"chatcmpl-9\",\"object\":\"chat.completion.chunk\",\"created\":1795370000,\"model\":\"m\","
#define TAIL(n) ",\"usage\":{\"prompt_tokens\":9,\"total_tokens\":20,\"completion_tokens\":" #n "}}\n\n"
#define ROLE                                                                                                           \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
#define TEXT(text, n)                                                                                                  \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text                                                \
	     "\"},\"logprobs\":null,\"finish_reason\":null}]" TAIL(n)
#define REASON(text)                                                                                                   \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define CALL(members)                                                                                                  \
	HEAD "\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0," members                              \
	     "}]},\"finish_reason\":null}]}\n\n"
#define STOP(reason, n) HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]" TAIL(n)
#define DONE            "data: [DONE]\n\n"

#define COMPLETE "<complete>"

/* counts: chunks, of them with text, the server's tokens; finished, done */
static const struct row {
	const char *stream, *want;
	struct stream_progress progress;
} rows[] = {
	{ROLE TEXT("Hello", 1) TEXT(", ", 2) TEXT("world! Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80", 3)
                 TEXT("\\nBye.", 4) STOP("stop", 4) DONE,
         "Hello, world! Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80\nBye." COMPLETE,
         {4, 4, 4, true, true, 0, 0}},
	{": ping\n\n" ROLE ": keep-alive\n\n" TEXT("\\u0047r\\u00fc\\u00dfe \\ud83d\\ude00",
                                                   1) ":\n" STOP("length", 2) "event: x\nid: 3\n" DONE,
         "Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80<limit>",
         {1, 1, 2, true, true, 0, 0}},
	{ROLE REASON("I must ") REASON("think.") TEXT("Yes", 3) STOP("stop", 3) DONE,
         "«I must think.»Yes" COMPLETE,
         {3, 3, 3, true, true, 0, 0}},
	{ROLE TEXT("<th", 1) TEXT("ink>hm</", 2) TEXT("think>\\n\\nYes", 3) STOP("stop", 3) DONE,
         "«hm»\n\nYes" COMPLETE,
         {3, 3, 3, true, true, 0, 0}},
	/* tags in a field that is reasoning anyway */
	{REASON("<think>a</thi") REASON("nk>b <") TEXT("x</think>y", 1) REASON("z<th") STOP("stop", 1) DONE,
         "«ab <»x¬y«z<th»" COMPLETE,
         {4, 4, 1, true, true, 0, 0}},
	/* calls: in fragments, as text, and both, in the order in which they began */
	{ROLE CALL("\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"search\",\"arguments\":\"\"}")
                 CALL("\"function\":{\"arguments\":\"{\\\"query\\\"\"}")
                         CALL("\"function\":{\"arguments\":\": \\\"x\\\"}\"}") STOP("tool_calls", 5) DONE,
         "‹a search {\"query\": \"x\"}›" COMPLETE,
         {3, 0, 5, true, true, 0, 0}},
	{ROLE TEXT("<|python", 1) TEXT("_tag|>{\\\"name\\\": \\\"sea", 2)
                 TEXT("rch\\\", \\\"parameters\\\": {\\\"query\\\": \\\"x\\\"}}", 3) TEXT("<|eom_id|>", 4)
                         STOP("stop", 4) DONE,
         "‹call00000 search {\"query\":\"x\"}›" COMPLETE,
         {4, 4, 4, true, true, 0, 0}},
	{TEXT("I search.\\n{\\\"name\\\":\\\"search\\\",\\\"arguments\\\":{}}", 1)
                 CALL("\"id\":\"b\",\"function\":{\"name\":\"other\",\"arguments\":{}}") TEXT(" And", 3) DONE,
         "I search.\nAnd‹call00000 search {}›‹b other {}›" COMPLETE,
         {3, 2, 3, false, true, 0, 0}},
	{ROLE TEXT("{\\\"name\\\": \\\"Alice\\\", ", 1) TEXT("\\\"age\\\": 3}", 2) STOP("stop", 2) DONE,
         "{\"name\": \"Alice\", \"age\": 3}" COMPLETE,
         {2, 2, 2, true, true, 0, 0}},
	/* errors, and what comes after the end */
	{ROLE TEXT("Hel", 1) "data: {broken\n\n" TEXT(
		 "lo", 2) "data: {\"error\":{\"message\":\"out\",\"code\":500}}\n\n" DONE TEXT("x", 9),
         "Hello<error 500: out>",
         {2, 2, 2, false, true, 0, 0}},
	{TEXT("a", 1) DONE TEXT("b", 2) "data: {\"error\":\"late\"}\n\n", "a" COMPLETE, {1, 1, 1, false, true, 0, 0}},
	{TEXT("a", 1) STOP("stop", 1) "data: {\"error\":\"e\"}\n\n", "a<error: e>", {1, 1, 1, true, true, 0, 0}},
	{TEXT("a", 1) STOP("abort", 1) DONE,
         "a<cut: the server ended the answer with finish_reason \"abort\">",
         {1, 1, 1, true, true, 0, 0}},
	/* a character that two deltas share, as halves of a surrogate pair or as bytes */
	{TEXT("Hi \\ud83d", 1) ROLE TEXT("\\ude00!", 2) STOP("stop", 2) DONE,
         "Hi \xf0\x9f\x98\x80!" COMPLETE,
         {2, 2, 2, true, true, 0, 0}},
	{TEXT("\\ud83d", 1) TEXT("\\ude00", 2) DONE, "\xf0\x9f\x98\x80" COMPLETE, {2, 2, 2, false, true, 0, 0}},
	{TEXT("\\ud83d\\ude00\\ud83d", 1) TEXT("\\ude00\\ud83d", 2) TEXT("\\ude01", 3) DONE,
         "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x81" COMPLETE,
         {3, 3, 3, false, true, 0, 0}},
	{TEXT("a\xf0\x9f", 1) TEXT("\x98", 2) TEXT("\x80z\xc3", 3) TEXT("\xbc", 4) DONE,
         "a\xf0\x9f\x98\x80z\xc3\xbc" COMPLETE,
         {4, 4, 4, false, true, 0, 0}},
	{REASON("hm \\ud83d") REASON("\\ude00") TEXT("\xe4\xb8", 1) REASON("x\xc3") TEXT("\xad", 2) DONE,
         "«hm \xf0\x9f\x98\x80x\xef\xbf\xbd»\xe4\xb8\xad" COMPLETE,
         {5, 5, 2, false, true, 0, 0}},
	/* ... and that is lost */
	{TEXT("a\\ud83d", 1) TEXT("b", 2) TEXT("\\ude00c", 3) DONE,
         "a\xef\xbf\xbd\x62\xef\xbf\xbd\x63" COMPLETE,
         {3, 3, 3, false, true, 0, 0}},
	{TEXT("a\\ud83d", 1) TEXT("\\ud83d\\ude00", 2) DONE,
         "a\xef\xbf\xbd\xf0\x9f\x98\x80" COMPLETE,
         {2, 2, 2, false, true, 0, 0}},
	{REASON("r\\ud83d") TEXT("\\ude00a\\ud83d", 1) STOP("stop", 1) DONE,
         "«r\xef\xbf\xbd»\xef\xbf\xbd\x61\xef\xbf\xbd" COMPLETE,
         {2, 2, 1, true, true, 0, 0}},
	{TEXT("a\xf0\x9f\x98", 1) "data: {\"error\":\"e\"}\n\n",
         "a\xef\xbf\xbd<error: e>",
         {1, 1, 1, false, true, 0, 0}},
	{CALL("\"id\":\"a\",\"function\":{\"name\":\"search\",\"arguments\":\"{\\\"query\\\":\\\"\\ud83d\"}") CALL(
		 "\"function\":{\"arguments\":\"\\ude00\\ud83d\"}") CALL("\"function\":{\"arguments\":\"\\\"}\"}") DONE,
         "‹a search {\"query\":\"\xf0\x9f\x98\x80\xef\xbf\xbd\"}›" COMPLETE,
         {3, 0, -1, false, true, 0, 0}},
	/* an answer that is no stream, on one line or many */
	{"{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},"
         "\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":1}}",
         "Hi" COMPLETE,
         {1, 1, 1, true, false, 0, 0}},
	{"\xef\xbb\xbf\n{\n  \"object\": \"chat.completion\",\n\n  \"choices\": [\n    {\n      \"message\": {\n"
         "        \"content\": \"Look } {\\\" \\\\\",\n        \"reasoning_content\": \"hm\",\n        \"tool_calls\": [\n"
         "          {\"id\": \"a\", \"function\": {\"name\": \"search\", \"arguments\": \"{\\\"q\\\": 1}\"}}\n"
         "        ]\n      }\n    }\n  ]\n}\n",
         "«hm»Look } {\" \\‹a search {\"q\": 1}›" COMPLETE,
         {1, 1, -1, true, false, 0, 0}},
	{"data: {\"object\":\"chat.completion\",\"choices\":[{\"message\":{\"content\":\"Hi\"},\"finish_reason\":\"length\"}]}\n\n",
         "Hi<limit>",
         {1, 1, -1, true, false, 0, 0}},
	{"{\n \"error\": {\n  \"message\": \"no such model\",\n  \"code\": 404\n }\n}\n",
         "<error 404: no such model>",
         {0, 0, -1, false, true, 0, 0}},
	{"[{\"error\": {\"message\": \"no such model\", \"code\": 404}}\n]\n",
         "<error 404: no such model>",
         {0, 0, -1, false, true, 0, 0}},
	{"{\n data: no\n" TEXT("a", 1) DONE, "a" COMPLETE, {1, 1, 1, false, true, 0, 0}},
	/* events without "data:" */
	{"{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n{\"choices\":[{\"delta\":{\"content\":\"b\"},"
         "\"finish_reason\":\"stop\"}]}\n[DONE]\n",
         "ab" COMPLETE,
         {2, 2, -1, true, true, 0, 0}},
	{"{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n"
         "{\"message\":{\"content\":\"a\"},\"done\":false}\n"
         "{\"message\":{\"content\":\"b\",\"tool_calls\":[{\"function\":{\"name\":\"search\",\"arguments\":{\"q\":1}}}]},"
         "\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"eval_count\":7}\n",
         "«hm»ab‹call00000 search {\"q\":1}›" COMPLETE,
         {3, 3, 7, true, false, 0, 0}},
	{TEXT("a", 1) "{\"error\":{\"message\":\"out of memory\",\"code\":500}}\n",
         "a<error 500: out of memory>",
         {1, 1, 1, false, true, 0, 0}},
	{TEXT("a", 1) "event: error\ndata: overloaded\n\n", "a<error: overloaded>", {1, 1, 1, false, true, 0, 0}},
	{TEXT("a", 1) "event:error\ndata: {\"type\":\"x\"}\n\n",
         "a<error: the server gave no reason>",
         {1, 1, 1, false, true, 0, 0}},
	{"event: errors\n" TEXT("a", 1) "event: error\n\n" TEXT("b", 2) DONE,
         "ab" COMPLETE,
         {2, 2, 2, false, true, 0, 0}},
	/* the whole message after its deltas */
	{REASON("hm") TEXT("Hi",
                           1) "data: {\"choices\":[{\"index\":0,\"delta\":null,\"message\":{\"role\":\"assistant\","
                              "\"content\":\"Hi\",\"reasoning_content\":\"hm\"},\"finish_reason\":\"stop\"}]}\n\n" DONE,
         "«hm»Hi" COMPLETE,
         {2, 2, 1, true, true, 0, 0}},
	{CALL("\"id\":\"a\",\"function\":{\"name\":\"search\",\"arguments\":\"{\\\"q\\\":1}\"}") "data: {\"choices\":[{\"delta\":{},\"message\":{\"content\":\"Hi\",\"tool_calls\":[{\"id\":\"b\",\"function\":"
                                                                                                 "{\"name\":\"search\",\"arguments\":{\"q\":1}}}]},\"finish_reason\":\"tool_calls\"}]}\n\n" DONE,
         "Hi‹a search {\"q\":1}›" COMPLETE,
         {2, 1, -1, true, true, 0, 0}},
	{"data: {\"choices\":[{\"message\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"message\":{\"content\":\"b\"}}]}\n\n" DONE,
         "ab" COMPLETE,
         {2, 2, -1, false, true, 0, 0}},
	/* one of several answers */
	{TEXT("a",
              1) "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}},{\"index\":0,\"delta\":{\"content\":\"b\"}}]}\n\n"
                 "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"y\"},\"finish_reason\":\"length\"}]}\n\n" TEXT(
			 "c", 3) STOP("stop", 3) DONE,
         "abc" COMPLETE,
         {3, 3, 3, true, true, 0, 0}},
	{"data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"a\"}}]}\n\n"
         "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n" DONE,
         "ab" COMPLETE,
         {2, 2, -1, true, true, 0, 0}},
	/* an error that is none */
	{HEAD
         "\"error\":{},\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n" HEAD
         "\"error\":\"\",\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n" HEAD
         "\"error\":false,\"choices\":[{\"delta\":{\"content\":\"c\"}}]}\n\n" HEAD
         "\"error\":{\"code\":null,\"message\":\"\",\"x\":0},\"choices\":[{\"delta\":{\"content\":\"d\"}}]}\n\n" HEAD
         "\"error\":[],\"choices\":[{\"delta\":{\"content\":\"e\"}}]}\n\n" HEAD
         "\"error\":0,\"choices\":[{\"delta\":{\"content\":\"f\"}}]}\n\n" DONE,
         "abcdef" COMPLETE,
         {6, 6, -1, false, true, 0, 0}},
	/* a call of old servers */
	{"data: {\"choices\":[{\"delta\":{\"function_call\":{\"name\":\"search\",\"arguments\":\"{\\\"q\"}}}]}\n\n"
         "data: {\"choices\":[{\"delta\":{\"function_call\":{\"arguments\":\"\\\":1}\"}}}]}\n\n"
         "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"function_call\"}]}\n\n" DONE,
         "‹call00000 search {\"q\":1}›" COMPLETE,
         {2, 0, -1, true, true, 0, 0}},
	/* no end of its own */
	{TEXT("a", 1) STOP("stop", 1), "a" COMPLETE, {1, 1, 1, true, false, 0, 0}},
	{TEXT("a", 1) STOP("stop", 1) TEXT("b", 2), "ab" COMPLETE, {2, 2, 2, false, false, 0, 0}},
	{TEXT("a <thi", 1),
         "a <thi<cut: the stream ended without finish_reason or [DONE]>",
         {1, 1, 1, false, false, 0, 0}},
	{"<html>\n\ndata: {no\n\n",
         "<malformed: the answer is not a stream of chat events>",
         {0, 0, -1, false, false, 0, 0}},
	{"", "<malformed: the answer is not a stream of chat events>", {0, 0, -1, false, false, 0, 0}},
	/* no call is made of an answer that is not whole */
	{CALL("\"id\":\"a\",\"function\":{\"name\":\"search\",\"arguments\":\"{}\"}")
                 TEXT("So.\\n{\\\"name\\\":\\\"search\\\",\\\"arguments\\\":{\\\"a", 2) "data: {\"error\":\"e\"}\n\n",
         "So.\n<error: e>",
         {2, 1, 2, false, true, 0, 0}},
	{REASON("hm <thi") TEXT("{\\\"name\\\":\\\"sea", 2),
         "«hm <thi»<cut: the stream ended without finish_reason or [DONE]>",
         {2, 2, 2, false, false, 0, 0}},
	/* a count of the prompt alone says nothing of the answer */
	{TEXT("a", 1) "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7}}\n\n" DONE,
         "a" COMPLETE,
         {1, 1, 1, false, true, 0, 0}},
};

/* The same events with other line ends. */
static char *with_ends(const char *stream, const char *end)
{
	struct buf out = BUF_INIT(1 << 20);

	for (; *stream != '\0'; stream++)
		assert_int_equal(*stream == '\n' ? buf_adds(&out, end) : buf_add(&out, stream, 1), 0);
	return buf_steal(&out, NULL);
}

static void assert_progress(const struct stream *s, const struct stream_progress *want)
{
	const struct stream_progress *got = stream_progress(s);

	assert_int_equal(got->chunks, want->chunks);
	assert_int_equal(got->tokens, want->tokens);
	assert_int_equal(got->completion_tokens, want->completion_tokens);
	assert_int_equal(got->finished, want->finished);
	assert_int_equal(got->done, want->done);
}

static void assert_stream(const char *stream, const struct row *row)
{
	size_t len = strlen(stream);
	struct stream *s;
	struct seen seen;
	char *got;

	for (size_t step = 1; step <= 7; step++) {
		s = begin(&seen);
		for (size_t i = 0; i < len; i += step)
			feed(s, &seen, stream + i, len - i < step ? len - i : step);
		got = end(s, &seen);
		assert_string_equal(got, row->want);
		assert_progress(s, &row->progress);
		free(got);
	}
	for (size_t cut = 0; cut <= len; cut++) {
		s = begin(&seen);
		feed(s, &seen, stream, cut);
		feed(s, &seen, stream + cut, len - cut);
		got = end(s, &seen);
		assert_string_equal(got, row->want);
		assert_progress(s, &row->progress);
		free(got);
	}
}

static void every_split_gives_the_same(void **state)
{
	static const char *const line_ends[] = {"\n", "\r\n", "\r"};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t e = 0; e < sizeof line_ends / sizeof line_ends[0]; e++) {
			char *stream = with_ends(rows[i].stream, line_ends[e]);

			assert_stream(stream, &rows[i]);
			free(stream);
		}
	}
}

/* Cut anywhere, the answer is a beginning of the whole one, and complete only after its
 * finish_reason. */
static void what_is_cut_is_a_beginning(void **state)
{
	const char *stream = rows[0].stream, *want = rows[0].want;
	size_t finish = (size_t)(strstr(stream, "\"stop\"") - stream);

	(void)state;
	for (size_t len = 0; len < strlen(stream); len++) {
		struct seen seen;
		struct stream *s = begin(&seen);
		char *got, *result;

		feed(s, &seen, stream, len);
		got = end(s, &seen);
		result = strchr(got, '<');
		assert_non_null(result);
		assert_memory_equal(got, want, (size_t)(result - got));
		if (len <= finish)
			assert_string_not_equal(result, COMPLETE);
		if (len >= strlen(stream) - strlen(DONE))
			assert_string_equal(result, COMPLETE);
		free(got);
	}
}

static void a_token_comes_at_once_and_uncopied(void **state)
{
	static const char stream[] = ROLE TEXT("Hello", 1) TEXT(" world", 2);
	struct seen seen;
	struct stream *s = begin(&seen);
	struct piece p;

	(void)state;
	stream_feed(s, stream, sizeof stream - 1);
	for (int i = 0; i < 2; i++) {
		assert_true(stream_next(s, &p));
		assert_int_equal(p.kind, PIECE_TEXT);
		assert_true(p.bytes > stream && p.bytes < stream + sizeof stream);
		assert_int_equal(stream_progress(s)->chunks, i + 1);
	}
	assert_false(stream_next(s, &p));
	free(end(s, &seen));
}

/* Without tools all JSON is text. */
static void without_tools_there_is_no_call(void **state)
{
	static const char stream[] = TEXT("{\\\"name\\\":\\\"search\\\",\\\"arguments\\\":{}}", 1) DONE;
	struct seen seen;
	struct stream *s = begin(&seen);
	char *got;

	(void)state;
	stream_begin(s, NULL);
	feed(s, &seen, stream, sizeof stream - 1);
	got = end(s, &seen);
	assert_string_equal(got, "{\"name\":\"search\",\"arguments\":{}}" COMPLETE);
	free(got);
}

/* One event is lost, and so the answer is not whole, whatever follows. */
static void an_event_that_is_too_large_cuts_the_answer(void **state)
{
	static const char before[] = TEXT("a", 1) "data: ", after[] = "\n\n" TEXT("b", 2) STOP("stop", 2) DONE;
	static char block[1 << 20];
	struct seen seen;
	struct stream *s = begin(&seen);
	char *got;

	(void)state;
	memset(block, 'x', sizeof block);
	feed(s, &seen, before, sizeof before - 1);
	for (int i = 0; i < 9; i++)
		feed(s, &seen, block, sizeof block);
	feed(s, &seen, after, sizeof after - 1);
	got = end(s, &seen);
	assert_string_equal(got, "ab<cut: an event of the stream was too large>");
	free(got);
}

/* A stream may be left in the middle of an answer. */
static void another_answer_may_begin_at_any_point(void **state)
{
	const char *stream = rows[4].stream;
	struct piece p;

	(void)state;
	for (size_t len = 0; len <= strlen(stream); len++) {
		for (size_t pieces = 0; pieces < 4; pieces++) {
			struct seen seen;
			struct stream *s = begin(&seen);
			char *got;

			stream_feed(s, stream, len);
			for (size_t i = 0; i < pieces; i++)
				(void)stream_next(s, &p);
			stream_begin(s, tools);
			feed(s, &seen, rows[0].stream, strlen(rows[0].stream));
			got = end(s, &seen);
			assert_string_equal(got, rows[0].want);
			free(got);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_split_gives_the_same),
		cmocka_unit_test(what_is_cut_is_a_beginning),
		cmocka_unit_test(a_token_comes_at_once_and_uncopied),
		cmocka_unit_test(without_tools_there_is_no_call),
		cmocka_unit_test(an_event_that_is_too_large_cuts_the_answer),
		cmocka_unit_test(another_answer_may_begin_at_any_point),
	};
	int failed;

	one = stream_new();
	if (one == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	stream_free(one);
	return failed;
}
