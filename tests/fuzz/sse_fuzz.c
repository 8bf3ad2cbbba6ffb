/* SPDX-License-Identifier: Apache-2.0 */
/* Events are the same whatever the pieces are. The first bytes say where the cuts are. */
#include "core/stream/sse.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void take(struct sse *s, struct buf *events)
{
	struct sse_event event;

	while (sse_next(s, &event))
		fuzz_require(buf_add(events, event.data, event.len) == 0 && buf_add(events, "\x01", 1) == 0);
}

static void run(const uint8_t *data, size_t len, size_t step, struct buf *events)
{
	struct sse s;

	sse_init(&s);
	for (size_t from = 0; from < len; from += step) {
		size_t n = len - from < step ? len - from : step;
		char *piece = fuzz_copy(data + from, n);

		sse_feed(&s, piece, n);
		take(&s, events);
		free(piece);
	}
	sse_end(&s);
	take(&s, events);
	sse_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf whole = BUF_INIT(1u << 24), split = BUF_INIT(1u << 24);

	if (len < 2)
		return 0;
	run(data + 1, len - 1, len, &whole);
	run(data + 1, len - 1, data[0] % 16 + 1u, &split);
	fuzz_require(whole.len == split.len && (whole.len == 0 || memcmp(whole.data, split.data, whole.len) == 0));
	buf_free(&whole);
	buf_free(&split);
	return 0;
}
