/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of Redis are the same whatever the pieces are, as are errors. The first byte says where the cuts are. */
#include "core/redis/redis_url.h"
#include "core/redis/reply.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void describe(const struct redis_reply *reply, struct buf *out)
{
	fuzz_require(buf_addf(out, "%d %lld %zu ", (int)reply->type, (long long)reply->number, reply->count) == 0);
	if (reply->type == REDIS_TEXT || reply->type == REDIS_FAILURE)
		fuzz_require(buf_add(out, reply->text, reply->len) == 0 && reply->text[reply->len] == '\0');
	for (size_t i = 0; i < reply->count; i++) {
		fuzz_require(reply->items[i] != NULL);
		describe(reply->items[i], out);
	}
}

static void run(const uint8_t *data, size_t len, size_t step, struct buf *out)
{
	struct reply_reader *r = reply_reader_new();
	struct redis_reply *reply;
	struct err e = ERR_INIT;
	int more = 0;

	fuzz_require(r != NULL);
	for (size_t from = 0; from < len && more >= 0; from += step) {
		size_t n = len - from < step ? len - from : step;
		char *piece = fuzz_copy(data + from, n);

		more = reply_reader_feed(r, piece, n, &e);
		while (more >= 0 && (more = reply_reader_next(r, &reply, &e)) > 0) {
			describe(reply, out);
			redis_reply_free(reply);
		}
		free(piece);
	}
	fuzz_require((more < 0) == err_is_set(&e));
	fuzz_require(buf_addf(out, "%d", more < 0) == 0);
	reply_reader_free(r);
}

static void read_url(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len), masked[512];
	struct err e = ERR_INIT;
	struct redis_url u;

	config_mask_url(text, masked, sizeof masked);
	if (redis_url_parse(text, &u, &e) == 0) {
		fuzz_require(u.count > 0 && u.count <= REDIS_ADDRESSES_MAX);
		redis_url_clear(&u);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf whole = BUF_INIT(1u << 26), split = BUF_INIT(1u << 26);

	if (len < 2)
		return 0;
	run(data + 1, len - 1, len, &whole);
	run(data + 1, len - 1, data[0] % 16 + 1u, &split);
	fuzz_require(whole.len == split.len && memcmp(whole.data, split.data, whole.len) == 0);
	buf_free(&whole);
	buf_free(&split);
	read_url(data + 1, len - 1);
	return 0;
}
