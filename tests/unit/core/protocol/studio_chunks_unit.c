/* SPDX-License-Identifier: Apache-2.0 */
/* What TT-Studio's readers make of the chunks of a stream, however an LLM splits its text into tokens and a web
 * server merges and cuts what it is given. A reader drops a chunk of nothing but whitespace and one that is
 * [DONE], and takes one that begins with [STATS] for the end. Workflows strip each chunk and join them. */
#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/protocol/protocol.h"
#include "tests/unit/support/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TEXT_MAX   4096
#define WRITES_MAX 4096
#define ROUNDS     20000
#define STATISTICS "[STATS]{\"tokens_decoded\": 0, \"ttft\": null, \"tpot\": null, \"total_time\": 0.000000}"

static struct output out = {.boundaries = true};
static size_t ends[WRITES_MAX], end_count; /* of the writes, in out.written */
static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((seed >> 33) % n);
}

static void note_write(void)
{
	assert_true(end_count < WRITES_MAX);
	ends[end_count++] = out.written.len;
}

static struct reply *begin_for(const char *thread_id, const char *user_agent, const char *message)
{
	static char id[64];
	static struct chat_request request;
	struct reply *r;

	request = (struct chat_request){.thread_id = id, .user_agent = user_agent, .content = json_string(message)};
	snprintf(id, sizeof id, "%s", thread_id);
	out.after_write = note_write;
	out.at_boundary = false;
	end_count = 0;
	buf_init(&out.written, 1 << 20);
	r = protocol_studio.open(&protocol_studio, &out, &request);
	json_decref(request.content);
	return r;
}

static struct reply *begin(const char *thread_id)
{
	return begin_for(thread_id, NULL, "Hi");
}

static void finish(struct reply *r)
{
	protocol_studio.free(r);
	buf_free(&out.written);
}

static void end(struct reply *r)
{
	const struct usage nothing = {.ttft_ns = -1, .tpot_ns = -1};

	protocol_studio.end(r, &nothing);
}

static const char *const parts[] = {
	"[STATS]",  "[STATS]{\"tokens_decoded\": 9}",
	"[DONE]",   "[ST",
	"ATS]",     "[DO",
	"NE]",      "[",
	"]",        "[[STATS]]",
	"{",        " ",
	"\n",       "\xe3\x80\x80",
	"\xc2\xa0", "word",
	" word",    "word ",
	"\xc3\xa9", "\xf0\x9f\x98\x80",
	"x",
};

static size_t compose(char text[TEXT_MAX])
{
	unsigned count = 1 + below(12);
	size_t len = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < count; i++)
		len += (size_t)snprintf(text + len, TEXT_MAX - len, "%s", parts[below(sizeof parts / sizeof parts[0])]);
	return len;
}

/* The length of a token at text: whole characters, short ones mostly. */
static size_t token(const char *text)
{
	size_t len = utf8_cut(text, 4 + below(below(4) == 0 ? 40 : 4)), one = utf8_cut(text, 1);

	if (below(3) == 0)
		len = one;
	for (size_t n = 1; len == 0; n++)
		len = utf8_cut(text, n);
	return len;
}

/* A chunk as the chat's reader takes it; NULL: it is dropped, or ends the answer. */
static bool is_read(const char *chunk, size_t len)
{
	char text[TEXT_MAX * 2];
	const char *at = text, *last;
	size_t step;

	assert_true(len < sizeof text);
	memcpy(text, chunk, len);
	text[len] = '\0';
	if (utf8_is_blank(text))
		return false;
	while ((step = utf8_whitespace((const unsigned char *)at, (const unsigned char *)text + len)) > 0)
		at += step;
	if (strncmp(at, "[STATS]", 7) == 0)
		return false;
	last = strstr(at, "[DONE]");
	return last != at || !utf8_is_blank(at + 6);
}

/* Between two flush boundaries anything may be one chunk. */
static void check_between_boundaries(const char *written)
{
	for (const char *from = written, *to; *from != '\0'; from = *to == '\0' ? to : to + 1) {
		to = from + strcspn(from, "|");
		if (strncmp(from, STATISTICS, strlen(STATISTICS)) == 0)
			return;
		assert_null(memmem(from, (size_t)(to - from), "[STATS]", 7));
		assert_null(memmem(from, (size_t)(to - from), "[DONE]", 6));
	}
	fail_msg("no statistics");
}

/* The writes as chunks, some of them merged: everything is read but whitespace at the very end. */
static void check_chunks(const char *text, size_t len)
{
	char read[TEXT_MAX * 2];
	size_t from = 0, have = 0, rest;

	for (size_t i = 0; i + 1 < end_count; i++) {
		const bool boundary = out.written.data[ends[i]] == '|';

		if (!boundary && i + 2 < end_count && below(3) == 0)
			continue; /* merged with the next one */
		if (is_read(out.written.data + from, ends[i] - from)) {
			memcpy(read + have, out.written.data + from, ends[i] - from);
			have += ends[i] - from;
		} else {
			assert_int_equal(i + 2, end_count);
		}
		from = ends[i] + boundary;
	}
	assert_true(have <= len);
	assert_memory_equal(read, text, have);
	rest = len - have;
	read[0] = '\0';
	memcpy(read, text + have, rest);
	read[rest] = '\0';
	assert_true(utf8_is_blank(read));
}

static void no_text_is_taken_for_something_else(void **state)
{
	char text[TEXT_MAX], all[TEXT_MAX * 2];

	(void)state;
	for (seed = 1; seed < 2; seed++) {
		for (int round = 0; round < ROUNDS; round++) {
			struct reply *r = begin("thread");
			size_t len = compose(text), step, k = 0;

			for (const char *at = text; *at != '\0'; at += step) {
				step = token(at);
				protocol_studio.text(r, at, step);
			}
			end(r);
			check_between_boundaries(out.written.data);
			check_chunks(text, len);
			for (const char *at = out.written.data; *at != '\0'; at++)
				if (*at != '|')
					all[k++] = *at;
			all[k - strlen(STATISTICS)] = '\0';
			assert_string_equal(all, text);
			finish(r);
		}
	}
}

static void neither_is_reasoning_nor_what_tools_show(void **state)
{
	char text[TEXT_MAX];

	(void)state;
	seed = 2;
	for (int round = 0; round < ROUNDS; round++) {
		struct reply *r = begin("thread");

		for (unsigned n = 0; n < 4; n++) {
			const unsigned kind = below(4);

			compose(text);
			if (kind == 0)
				protocol_studio.tool(r, "Searching", text);
			else if (kind == 1)
				protocol_studio.source(r, text, "https://a.org/[STATS]");
			for (const char *at = text; kind > 1 && *at != '\0';) {
				size_t step = token(at);

				(kind == 2 ? protocol_studio.reasoning : protocol_studio.text)(r, at, step);
				at += step;
			}
		}
		end(r);
		check_between_boundaries(out.written.data);
		finish(r);
	}
}

/* A dead worker sent the beginning of the text. */
static void neither_is_a_resumed_answer(void **state)
{
	char text[TEXT_MAX];

	(void)state;
	seed = 3;
	for (int round = 0; round < ROUNDS; round++) {
		struct reply *r = begin("thread"), *resumed;
		size_t len = compose(text), sent, step, k = 0;
		unsigned char as_of;
		char all[TEXT_MAX * 2];

		step = token(text);
		protocol_studio.text(r, text, step);
		as_of = out.state;
		for (const char *at = out.written.data; at != NULL && *at != '\0'; at++)
			if (*at != '|')
				all[k++] = *at;
		sent = k;
		protocol_studio.free(r);
		resumed = protocol_studio.open(&protocol_studio, &out, NULL);
		protocol_studio.resume(resumed, &(struct resumed_reply){as_of, "", all, sent});
		for (const char *at = text + sent; *at != '\0'; at += step) {
			step = token(at);
			protocol_studio.text(resumed, at, step);
		}
		end(resumed);
		check_between_boundaries(out.written.data);
		assert_true(sent <= len);
		finish(resumed);
	}
}

/* As a workflow reads it: stripped and joined. */
static void check_joined(const char *text)
{
	const unsigned char *at, *to;
	size_t from = 0, step, have = 0;
	char read[TEXT_MAX * 2];

	for (size_t i = 0; i + 1 < end_count; i++) {
		at = (const unsigned char *)out.written.data + from;
		to = (const unsigned char *)out.written.data + ends[i];
		from = ends[i] + (out.written.data[ends[i]] == '|');
		while (at < to && (step = utf8_whitespace(at, to)) > 0)
			at += step;
		while (to > at) {
			size_t back = 1;

			while (to - back > at && (to[-(long)back] & 0xC0) == 0x80)
				back++;
			if (utf8_whitespace(to - back, to) != back)
				break;
			to -= back;
		}
		memcpy(read + have, at, (size_t)(to - at));
		have += (size_t)(to - at);
	}
	read[have] = '\0';
	at = (const unsigned char *)text;
	while (*at != '\0' && (step = utf8_whitespace(at, at + strlen((const char *)at))) > 0)
		at += step;
	assert_memory_equal(at, read, have);
	assert_true(utf8_is_blank((const char *)at + have));
}

static void a_workflow_gets_all_words_and_what_is_between_them(void **state)
{
	char text[TEXT_MAX];

	(void)state;
	seed = 4;
	for (int round = 0; round < ROUNDS; round++) {
		struct reply *r = begin(round % 2 == 0 ? "" : "\xe3\x80\x80");
		size_t step;

		compose(text);
		for (const char *at = text; *at != '\0'; at += step) {
			step = token(at);
			protocol_studio.text(r, at, step);
		}
		end(r);
		check_between_boundaries(out.written.data);
		check_joined(text);
		for (size_t i = 0, from = 0; i + 1 < end_count;
		     from = ends[i] + (out.written.data[ends[i]] == '|'), i++)
			assert_true(is_read(out.written.data + from, ends[i] - from) || utf8_is_blank(text));
		finish(r);
	}
}

/* A token leaves with the next one but for its last character, and at the latest with the end or a tool. */
static void a_workflows_chunks_are_cut_within_words(void **state)
{
	struct reply *r = begin("");

	(void)state;
	protocol_studio.text(r, "It", 2);
	protocol_studio.text(r, " is", 3);
	assert_string_equal(out.written.data, "It i");
	protocol_studio.text(r, " ", 1);
	protocol_studio.text(r, "s\xc3\xa9", 3);
	assert_string_equal(out.written.data, "It is s");
	protocol_studio.text(r, "\n\n", 2);
	end(r);
	assert_string_equal(out.written.data, "It is s\xc3\xa9\n\n|" STATISTICS "|");
	finish(r);
}

/* TT-Studio's backend sends for its workflows as for its pages. */
static void a_workflow_is_recognized(void **state)
{
	static const char httpx[] = "python-httpx/0.27.0";
	static const struct {
		const char *thread_id, *user_agent, *message;
		bool is_workflow;
	} rows[] = {
		{"", NULL, "Hi", true},
		{"\xe3\x80\x80", httpx, "Hi", true},
		{"research", httpx, "Hi", true},
		{"0b3f6c1e-58e3-4c0f-9d0e-0d6c6f1f8a51", httpx, "Hi", true},
		{"7th", httpx, "Hi", true},
		{"-7", httpx, "Hi", true},
		{"7", httpx, "Find out\n\nContext:\nHi", true},
		{"canvas", httpx, "Find out\n\nContext:\n", true},
		{"0", httpx, "Hi", false},
		{"1234567890", httpx, "Context:\nHi", false},
		{"canvas", httpx, "Hi", false},
		{"research", NULL, "Find out\n\nContext:\nHi", false},
		{"research", "curl/8.14.1", "Hi", false},
		{"research", "my python-httpx/0.27.0", "Hi", false},
		{"research", "python-httpx", "Hi", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct reply *r = begin_for(rows[i].thread_id, rows[i].user_agent, rows[i].message);

		protocol_studio.text(r, "It", 2);
		protocol_studio.text(r, " is", 3);
		assert_string_equal(out.written.data, rows[i].is_workflow ? "It i" : "It is");
		end(r);
		finish(r);
	}
}

/* A chat's tokens are written as they come. */
static void a_chats_token_does_not_wait(void **state)
{
	static const char *const tokens[] = {"It", " is", " sunny", "[ST", "ATS]", "\xc3\xa9", "[", "."};
	struct reply *r = begin("thread");
	size_t len = 0;

	(void)state;
	for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
		protocol_studio.text(r, tokens[i], strlen(tokens[i]));
		len += strlen(tokens[i]) + (i == 4); /* a boundary */
		assert_int_equal(out.written.len, len);
	}
	end(r);
	assert_string_equal(out.written.data, "It is sunny[STATS|]\xc3\xa9[.|" STATISTICS "|");
	finish(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_text_is_taken_for_something_else),
		cmocka_unit_test(neither_is_reasoning_nor_what_tools_show),
		cmocka_unit_test(neither_is_a_resumed_answer),
		cmocka_unit_test(a_workflow_gets_all_words_and_what_is_between_them),
		cmocka_unit_test(a_workflows_chunks_are_cut_within_words),
		cmocka_unit_test(a_workflow_is_recognized),
		cmocka_unit_test(a_chats_token_does_not_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
