/* SPDX-License-Identifier: Apache-2.0 */
/* LLMs' streams, in any bytes, through every stage to what the client reads: the same
 * whatever the pieces are. Behind a [DONE] another LLM goes on with the answer. The first
 * byte says where the cuts lie. */
#include "core/turn/answer.h"
#include "core/stream/calls.h"
#include "core/stream/chunk.h"
#include "core/stream/sse.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

struct stream {
	struct sse sse;
	struct chunk_reader reader;
	struct answer *answer;
	struct calls calls;
	int64_t counted; /* tokens of this ask; -1: the server does not say */
	struct buf out;
};

static void on_write(void *arg, const char *bytes, size_t len, bool apart)
{
	(void)apart;
	fuzz_require(buf_add(arg, bytes, len) == 0);
}

/* Both of the answer's callbacks get the stream's output. */
static void on_call(void *arg, const char *name, const char *arguments)
{
	fuzz_require(buf_addf(arg, "\x01%s(%s)\x01", name, arguments) == 0);
}

static bool is_tool(void *arg, const char *name, size_t len)
{
	(void)arg;
	return len == 1 && *name == 't';
}

static void end_ask(struct stream *s)
{
	struct answer_figures figures;
	const char *text;
	size_t len;

	answer_end_ask(s->answer, s->counted, true);
	text = answer_text(s->answer, &len);
	fuzz_require(fuzz_is_text(text, len));
	answer_go_on(s->answer);
	answer_figures(s->answer, &figures);
	fuzz_require(figures.tokens >= 0);
	s->counted = -1;
}

static bool on_event(void *arg, const char *data, size_t len)
{
	struct stream *s = arg;
	struct chunk d;

	chunk_read(&s->reader, data, len, &d);
	if (d.reasoning.len > 0)
		answer_reasoning(s->answer, d.reasoning.bytes, d.reasoning.len);
	if (d.content.len > 0)
		answer_content(s->answer, d.content.bytes, d.content.len);
	if (d.tool_calls != NULL)
		calls_merge(&s->calls, d.tool_calls);
	if (d.has_usage)
		s->counted = d.completion_tokens;
	if (d.kind == CHUNK_DONE)
		end_ask(s);
	fuzz_require(buf_addf(&s->out, "\x02%d%d%s", (int)d.kind, (int)d.finish, d.error) == 0);
	return true;
}

static void add_calls(struct stream *s)
{
	fuzz_require(calls_finish(&s->calls) == 0);
	for (size_t i = 0; i < s->calls.count; i++)
		on_call(&s->out, s->calls.items[i].name, s->calls.items[i].arguments);
	calls_clear(&s->calls);
}

static void run(const uint8_t *data, size_t len, size_t step, struct buf *out)
{
	static const struct answer_handlers handlers = {on_write, on_call, is_tool};
	struct stream s = {.out = BUF_INIT(1u << 24), .counted = -1};

	sse_init(&s.sse);
	chunk_reader_init(&s.reader);
	calls_init(&s.calls);
	s.answer = answer_new(&handlers, &s.out);
	fuzz_require(s.answer != NULL);
	answer_begin(s.answer);
	for (size_t at = 0; at < len; at += step) {
		size_t n = len - at < step ? len - at : step;
		char *piece = fuzz_copy(data + at, n);

		sse_feed(&s.sse, piece, n, on_event, &s);
		free(piece);
	}
	sse_end(&s.sse, on_event, &s);
	end_ask(&s);
	answer_close(s.answer);
	add_calls(&s);
	answer_free(s.answer);
	chunk_reader_free(&s.reader);
	sse_free(&s.sse);
	*out = s.out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf whole, split;

	if (len < 2)
		return 0;
	run(data + 1, len - 1, len, &whole);
	run(data + 1, len - 1, data[0] % 16 + 1u, &split);
	fuzz_require(whole.len == split.len && (whole.len == 0 || memcmp(whole.data, split.data, whole.len) == 0));
	fuzz_require(fuzz_is_text(whole.data != NULL ? whole.data : "", whole.len));
	buf_free(&whole);
	buf_free(&split);
	return 0;
}
