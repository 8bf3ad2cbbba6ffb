/* SPDX-License-Identifier: Apache-2.0 */
/* The same text, reasoning and calls at every split; no python_tag in the answer; text that has
 * no marker passes as it is. The first byte says where the cuts are. */
#include "core/stream/filter.h"
#include "core/base/buf.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

struct seen {
	struct buf all, text;
	char kind;
};

static void add(struct seen *s, char kind, const char *bytes, size_t len)
{
	if (kind != s->kind && buf_add(&s->all, &kind, 1) < 0)
		abort();
	if (kind != s->kind && kind == '\x02' && buf_add(&s->text, "\n", 1) < 0)
		abort();
	s->kind = kind;
	if (buf_add(&s->all, bytes, len) < 0 || (kind == '\x01' && buf_add(&s->text, bytes, len) < 0))
		abort();
}

static void take(struct filter *f, struct seen *s)
{
	struct filter_piece p;

	while (filter_next(f, &p)) {
		switch (p.kind) {
		case PIECE_TEXT:
		case PIECE_REASONING:
			fuzz_require(p.len > 0);
			add(s, p.kind == PIECE_TEXT ? '\x01' : '\x02', p.bytes, p.len);
			break;
		case PIECE_CALL:
			fuzz_require(strcmp(p.name, "t") == 0);
			s->kind = '\0';
			add(s, '\x03', p.arguments, strlen(p.arguments));
			break;
		case PIECE_UNOPENED:
			fuzz_require(buf_add(&s->all, "\x04", 1) == 0);
			break;
		case PIECE_END:
			abort();
		}
	}
}

static void run(const uint8_t *data, size_t len, size_t step, struct seen *s)
{
	static const char *const tools[] = {"t", NULL};
	struct filter *f = filter_new();

	fuzz_require(f != NULL);
	filter_begin(f, tools);
	for (size_t from = 0; from < len; from += step) {
		size_t n = len - from < step ? len - from : step;
		char *piece = fuzz_copy(data + from, n);

		filter_feed(f, piece, n);
		take(f, s);
		free(piece);
	}
	filter_end(f);
	take(f, s);
	fuzz_require(!filter_lost(f));
	filter_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct seen whole = {.all = BUF_INIT(1u << 24), .text = BUF_INIT(1u << 24)};
	struct seen split = {.all = BUF_INIT(1u << 24), .text = BUF_INIT(1u << 24)};

	if (len < 2)
		return 0;
	run(data + 1, len - 1, len, &whole);
	run(data + 1, len - 1, data[0] % 16 + 1u, &split);
	if (whole.all.len != split.all.len ||
	    (whole.all.len > 0 && memcmp(whole.all.data, split.all.data, whole.all.len) != 0))
		abort();
	if (whole.text.len > 0 && memmem(whole.text.data, whole.text.len, "python_tag", 10) != NULL)
		abort();
	for (size_t i = 0; i < 2; i++) {
		struct seen *s = i == 0 ? &whole : &split;

		buf_free(&s->all);
		buf_free(&s->text);
	}
	return 0;
}
