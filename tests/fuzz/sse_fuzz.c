/* SPDX-License-Identifier: Apache-2.0 */
/* Events are the same whatever the pieces are. The first bytes say where the cuts lie. */
#include "core/stream/sse.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static bool on_event(void *arg, const char *data, size_t len)
{
	if (buf_add(arg, data, len) < 0 || buf_add(arg, "\x01", 1) < 0)
		abort();
	return true;
}

static void feed(struct sse *s, const uint8_t *data, size_t len, struct buf *events)
{
	/* A copy of its own size, so that a read beyond it is found. */
	char *piece = malloc(len + (len == 0));

	if (piece == NULL)
		abort();
	memcpy(piece, data, len);
	sse_feed(s, piece, len, on_event, events);
	free(piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf whole = BUF_INIT(1u << 24), split = BUF_INIT(1u << 24);
	struct sse s;
	size_t step, from = 1;

	if (len < 2)
		return 0;
	step = data[0] % 16 + 1u;
	sse_init(&s);
	feed(&s, data + 1, len - 1, &whole);
	sse_end(&s, on_event, &whole);
	sse_free(&s);
	sse_init(&s);
	for (; from < len; from += step)
		feed(&s, data + from, len - from < step ? len - from : step, &split);
	sse_end(&s, on_event, &split);
	sse_free(&s);
	if (whole.len != split.len || (whole.len > 0 && memcmp(whole.data, split.data, whole.len) != 0))
		abort();
	buf_free(&whole);
	buf_free(&split);
	return 0;
}
