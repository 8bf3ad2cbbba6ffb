/* SPDX-License-Identifier: Apache-2.0 */
/* An LLM's stream, in any bytes: the same text, reasoning, calls and end wherever it is cut; no
 * empty piece; the end is the last one. The first byte says where the cuts are. */
#include "core/stream/stream.h"
#include "core/base/buf.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

struct seen {
	struct buf all;
	enum piece_kind last;
	bool ended;
};

static void put(struct seen *seen, const void *bytes, size_t len)
{
	fuzz_require(buf_add(&seen->all, bytes, len) == 0);
}

static void take_piece(struct seen *seen, const struct piece *p)
{
	fuzz_require(!seen->ended);
	if (p->kind != seen->last || p->kind > PIECE_REASONING)
		put(seen, &(const char){(char)(p->kind + 1)}, 1);
	seen->last = p->kind;
	switch (p->kind) {
	case PIECE_TEXT:
	case PIECE_REASONING:
		fuzz_require(p->len > 0);
		put(seen, p->bytes, p->len);
		break;
	case PIECE_UNOPENED:
		break;
	case PIECE_CALL:
		fuzz_require(strlen(p->call->id) > 0 && strlen(p->call->name) > 0);
		put(seen, p->call->name, strlen(p->call->name) + 1);
		put(seen, p->call->arguments, strlen(p->call->arguments));
		break;
	case PIECE_END:
		seen->ended = true;
		fuzz_require((p->end == STREAM_COMPLETE || p->end == STREAM_LIMIT) == (*p->text == '\0'));
		fuzz_require(p->end != STREAM_NO_MEMORY && fuzz_is_text(p->text, strlen(p->text)));
		fuzz_require(buf_addf(&seen->all, "%d %ld %s", (int)p->end, p->error == NULL ? 0 : p->error->status,
		                      p->text) == 0);
		break;
	}
}

static void take(struct stream *s, struct seen *seen)
{
	struct piece p;

	while (stream_next(s, &p))
		take_piece(seen, &p);
	fuzz_require(!stream_next(s, &p));
}

/* Cut into pieces of 1 to 64 bytes, or not at all where seed is 0. */
static void run(struct stream *s, const uint8_t *data, size_t len, unsigned seed, struct seen *seen)
{
	static const char *const tools[] = {"t", NULL};
	const struct stream_progress *progress = stream_progress(s);

	seen->last = PIECE_END;
	stream_begin(s, tools);
	for (size_t n, at = 0; at < len; at += n) {
		char *piece;

		n = len - at;
		if (seed != 0) {
			seed = seed * 1103515245u + 12345u;
			n = n < (seed >> 16) % 64 + 1 ? n : (seed >> 16) % 64 + 1;
		}
		piece = fuzz_copy(data + at, n);
		stream_feed(s, piece, n);
		take(s, seen);
		free(piece);
	}
	fuzz_require(!seen->ended);
	stream_close(s);
	take(s, seen);
	fuzz_require(seen->ended && progress->tokens <= progress->chunks && progress->completion_tokens >= -1);
	fuzz_require(buf_addf(&seen->all, " %lu %lu %ld %d %d", (unsigned long)progress->chunks,
	                      (unsigned long)progress->tokens, (long)progress->completion_tokens, progress->finished,
	                      progress->done) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct seen whole = {.all = BUF_INIT(1u << 24)}, split = {.all = BUF_INIT(1u << 24)};
	struct stream *s;

	if (len < 2)
		return 0;
	s = stream_new();
	fuzz_require(s != NULL);
	run(s, data + 1, len - 1, 0, &whole);
	run(s, data + 1, len - 1, data[0] + 1u, &split); /* nothing of the one before is left */
	fuzz_require(whole.all.len == split.all.len && memcmp(whole.all.data, split.all.data, whole.all.len) == 0);
	fuzz_require(fuzz_is_text(whole.all.data, whole.all.len));
	stream_free(s);
	buf_free(&whole.all);
	buf_free(&split.all);
	return 0;
}
