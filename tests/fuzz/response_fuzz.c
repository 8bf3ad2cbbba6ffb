/* SPDX-License-Identifier: Apache-2.0 */
/* A response is the same whatever the pieces are. The first byte says where the cuts are. */
#include "core/base/buf.h"
#include "core/http/response.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

struct seen {
	struct buf body;
	int heads;
};

static bool on_head(void *arg)
{
	struct seen *t = arg;

	fuzz_require(t->heads++ == 0 && t->body.len == 0);
	return true;
}

static bool on_body(void *arg, const char *bytes, size_t len)
{
	struct seen *t = arg;

	fuzz_require(len > 0 && t->heads == 1 && buf_add(&t->body, bytes, len) == 0);
	return true;
}

static const struct response_events events = {on_head, on_body};

static void run(struct response *r, struct seen *t, const uint8_t *data, size_t len, size_t step)
{
	buf_init(&t->body, 1u << 24);
	t->heads = 0;
	response_init(r, &events, t);
	for (size_t from = 0; from < len; from += step) {
		size_t n = len - from < step ? len - from : step;
		char *piece = fuzz_copy(data + from, n);

		response_feed(r, piece, n);
		free(piece);
	}
	response_end(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct response whole, split;
	struct seen at_once, in_pieces;

	if (len < 2)
		return 0;
	run(&whole, &at_once, data + 1, len - 1, len);
	run(&split, &in_pieces, data + 1, len - 1, data[0] % 16 + 1u);
	fuzz_require(whole.state == split.state && whole.status == split.status);
	fuzz_require(at_once.heads == in_pieces.heads && at_once.body.len == in_pieces.body.len);
	fuzz_require(at_once.body.len == 0 || memcmp(at_once.body.data, in_pieces.body.data, at_once.body.len) == 0);
	fuzz_require(whole.head_done == (whole.status != 0) && strlen(whole.type) < sizeof whole.type);
	if (whole.head_done)
		fuzz_require(strcmp(whole.type, split.type) == 0 && strcmp(whole.retry_after, split.retry_after) == 0);
	buf_free(&at_once.body);
	buf_free(&in_pieces.body);
	return 0;
}
