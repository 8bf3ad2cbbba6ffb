/* SPDX-License-Identifier: Apache-2.0 */
/* Which answers are whole: the words, and streams that end in thousands of ways. */
#include "core/stream/finish.h"

#include "core/base/buf.h"
#include "core/stream/stream.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- words ---- */

static const char *const whole[] = {
	"stop",       "end_turn",  "eos",     "eos_token",    "stop_sequence", "tool_calls",
	"tool-calls", "tool_use",  "STOP",    "Tool_Call",    "function_call", "COMPLETE",
	"completed",  "eosFound",  "END_ID",  "stop_string",  "toolCalls",     "stopStringFound",
	"endoftext",  "FINISHED",  "TOOLUSE", "stop_words",   "normal",        "FINISH_REASON_STOP",
	" stop ",     "EndOfText", "EOS",     "FunctionCall", "stop-sequence", "FinishReason.STOP",
};

static const char *const length[] = {
	"length",      "LENGTH",         "max_tokens",      "MAX_TOKENS",
	"max-tokens",  "maxTokens",      "model_length",    "max_output_tokens",
	"token_limit", "max_new_tokens", "ERROR_LIMIT",     "model_context_window_exceeded",
	"max_output",  "maximum_tokens", "maxOutputTokens", "contextLengthReached",
	"limit",       "max_length",     "context",         "FINISH_REASON_MAX_TOKENS",
};

static const char *const filtered[] = {
	"content_filter", "content-filter", "CONTENT_FILTERED",   "SAFETY",      "RECITATION",   "BLOCKLIST",
	"SPII",           "refusal",        "PROHIBITED_CONTENT", "ERROR_TOXIC", "IMAGE_SAFETY", "guardrail_intervened",
	"sensitive",      "contentFilter",
};

static const char *const broken[] = {
	"insufficient_system_resource",
	"network_error",
	"cancelled",
	"abort",
	"error",
	"ERROR",
	"OTHER",
	"unknown",
	"MALFORMED_FUNCTION_CALL",
	"UNEXPECTED_TOOL_CALL",
	"TOO_MANY_TOOL_CALLS",
	"FINISH_REASON_UNSPECIFIED",
	"LANGUAGE",
	"timeout",
	"TIMED_OUT",
	"time_limit",
	"USER_CANCEL",
	"userStopped",
	"modelUnloaded",
	"failed",
	"incomplete",
	"pause_turn",
	"not_finished",
	"malformed_model_output",
	"repetition",
	"load",
	"nonstop",
	"stop!",
	"sto",
	"stoplength",
	"-",
	"0",
	"FINISH_REASON_",
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void all_are(const char *const *words, size_t count, enum chunk_finish a, enum chunk_finish b)
{
	for (size_t i = 0; i < count; i++) {
		enum chunk_finish f = finish_parse(words[i], strlen(words[i]));

		if (f != a && f != b)
			fail_msg("%s: %d", words[i], (int)f);
	}
}

static void words_have_their_meaning(void **state)
{
	(void)state;
	all_are(whole, COUNT(whole), FINISH_STOP, FINISH_TOOL_CALLS);
	all_are(length, COUNT(length), FINISH_LENGTH, FINISH_LENGTH);
	all_are(filtered, COUNT(filtered), FINISH_FILTERED, FINISH_FILTERED);
	all_are(broken, COUNT(broken), FINISH_BROKEN, FINISH_BROKEN);
	assert_int_equal(finish_parse("", 0), FINISH_NONE);
	assert_int_equal(finish_parse("null", 4), FINISH_NONE);
	assert_int_equal(finish_parse("stop\0", 5), FINISH_BROKEN);
}

/* ---- streams ---- */

static uint64_t seed;

static size_t below(size_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n == 0 ? 0 : (size_t)(seed % n);
}

enum class { NOTHING, WHOLE, LENGTH, FILTERED, BROKEN, DONE, ERROR };

/* What an event means, and where its data end. */
struct event {
	enum class class;
	size_t end;
};

struct answer {
	struct buf bytes;
	struct event events[16];
	size_t count;
};

static void add_event(struct answer *a, enum class class, const char *data)
{
	if (below(4) == 0)
		assert_int_equal(buf_adds(&a->bytes, below(2) == 0 ? ": ping\n\n" : "event: x\n"), 0);
	assert_int_equal(buf_addf(&a->bytes, "data: %s", data), 0);
	a->events[a->count++] = (struct event){class, a->bytes.len};
	assert_int_equal(buf_adds(&a->bytes, "\n\n"), 0);
}

static void add_text(struct answer *a)
{
	static const char *const texts[] = {
		"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Half of an answer\"},\"finish_reason\":null}]}",
		"{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
		"{\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"\"}]}",
		"{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"},\"finish_reason\":null}]}",
		"{\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"search\",\"arguments\":\"{}\"}}]}}]}",
		"{\"choices\":[],\"usage\":{\"completion_tokens\":4}}",
		"{\"choices\":[{\"delta\":{\"content\":\"c\"},\"finish_reason\":null,\"native_finish_reason\":\"stop\"}]}",
	};

	add_event(a, NOTHING, texts[below(COUNT(texts))]);
}

/* A word that no list has: a letter of a known one is changed, or letters at random. */
static void make_word(char out[64], const char *known)
{
	size_t len = below(12) + 1;

	if (below(2) == 0) {
		for (size_t i = 0; i < len; i++)
			out[i] = (char)('a' + below(26));
		out[len] = '\0';
		return;
	}
	len = strlen(known);
	memcpy(out, known, len + 1);
	out[below(len)] = (char)('a' + below(26));
}

static bool is_known(const char *word)
{
	return finish_parse(word, strlen(word)) != FINISH_BROKEN;
}

static void add_finish(struct answer *a)
{
	static const char *const garbage[] = {"7", "true", "1.5", "[\"stop\"]", "{\"type\":\"nonsense\"}", "{}", "[]"};
	char word[64], data[256];
	const char *value = word;
	size_t quoted = 1;
	enum class class = (enum class)(WHOLE + below(4));

	if (class == WHOLE)
		value = whole[below(COUNT(whole))];
	else if (class == LENGTH)
		value = length[below(COUNT(length))];
	else if (class == FILTERED)
		value = filtered[below(COUNT(filtered))];
	else if (below(3) == 0)
		value = broken[below(COUNT(broken))];
	else if (below(3) == 0)
		value = garbage[quoted = 0, below(COUNT(garbage))];
	else
		do
			make_word(word, whole[below(COUNT(whole))]);
		while (is_known(word));
	snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{%s},\"finish_reason\":%s%s%s%s}]}",
	         below(2) == 0 ? "\"content\":\"x\"" : "", quoted ? "\"" : "", value, quoted ? "\"" : "",
	         below(3) == 0 ? ",\"native_finish_reason\":\"STOP\"" : "");
	add_event(a, class, data);
}

static void add_error(struct answer *a)
{
	static const char *const errors[] = {
		"{\"error\":{\"message\":\"CUDA error\",\"code\":500}}",
		"{\"error\":\"went wrong\"}",
		"{\"object\":\"error\",\"message\":\"no\"}",
		"{\"message\":\"internal\",\"code\":\"E1\"}",
		"[{\"error\":{\"message\":\"array\",\"status\":\"INTERNAL\"}}]",
		"{\"detail\":\"Not ready\"}",
		"{\"error\":{\"message\":\"x\"},\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}",
		"{\"choices\":null,\"base_resp\":{\"status_code\":1000,\"status_msg\":\"unknown error\"}}",
	};

	add_event(a, ERROR, errors[below(COUNT(errors))]);
}

static void make_answer(struct answer *a)
{
	*a = (struct answer){.bytes = BUF_INIT(1 << 16)};
	for (size_t n = below(4); n > 0; n--)
		add_text(a);
	if (below(8) == 0)
		add_error(a);
	for (size_t n = below(4) == 0 ? 0 : below(5) == 0 ? 2 : 1; n > 0; n--)
		add_finish(a);
	if (below(8) == 0)
		add_error(a);
	if (below(4) == 0)
		add_text(a);
	if (below(3) != 0)
		add_event(a, DONE, "[DONE]");
	if (below(8) == 0)
		add_error(a);
}

/* What the first len bytes of an answer are: the last finish_reason decides, an error before [DONE] outweighs
 * it, and where there is no finish_reason [DONE] means whole. */
static enum class expected(const struct answer *a, size_t len) {
	enum class finish = NOTHING;

	for (size_t i = 0; i < a->count && a->events[i].end <= len;
	     i++){if (a->events[i].class == ERROR) return ERROR;
	          if (a->events[i].class == DONE) return finish == NOTHING ? WHOLE : finish;
	          if (a->events[i].class != NOTHING) finish = a->events[i].class;}
return finish;
}

static struct piece run(struct stream *s, const struct answer *a, size_t len, size_t *calls)
{
	static const char *const tools[] = {"search", NULL};
	struct piece p = {.kind = PIECE_TEXT};

	*calls = 0;
	stream_begin(s, tools);
	for (size_t at = 0, n; at < len; at += n) {
		n = below(3) == 0 ? len - at : below(len - at) + 1;
		stream_feed(s, a->bytes.data + at, n);
		while (stream_next(s, &p))
			continue;
	}
	stream_close(s);
	while (stream_next(s, &p))
		*calls += p.kind == PIECE_CALL;
	assert_int_equal(p.kind, PIECE_END);
	return p;
}

static void no_unknown_end_is_whole(void **state)
{
	static const enum stream_end ends[] = {
		[NOTHING] = STREAM_CUT,       [WHOLE] = STREAM_COMPLETE, [LENGTH] = STREAM_LIMIT,
		[FILTERED] = STREAM_FILTERED, [BROKEN] = STREAM_CUT,     [ERROR] = STREAM_ERROR,
	};
	struct stream *s = stream_new();
	size_t seen[ERROR + 1] = {0};

	(void)state;
	assert_non_null(s);
	seed = 20261128;
	for (size_t i = 0; i < 20000; i++) {
		struct answer a;
		struct piece p;
		enum class class;
		size_t len, calls;

		make_answer(&a);
		len = below(2) == 0 ? a.bytes.len : below(a.bytes.len + 1);
		class = expected(&a, len);
		seen[class]++;
		p = run(s, &a, len, &calls);
		if (p.end != ends[class] && !(class == NOTHING && p.end == STREAM_MALFORMED))
			fail_msg("case %zu ended as %d, not %d: %.*s", i, (int)p.end, (int)ends[class], (int)len,
			         a.bytes.data);
		assert_int_equal(*p.text == '\0', class == WHOLE || class == LENGTH);
		if (class != WHOLE && class != LENGTH)
			assert_int_equal(calls, 0);
		buf_free(&a.bytes);
	}
	for (size_t i = 0; i < COUNT(seen); i++)
		assert_true(i == DONE || seen[i] > 500);
	stream_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_have_their_meaning),
		cmocka_unit_test(no_unknown_end_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
