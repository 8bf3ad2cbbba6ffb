/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a server -> replies, by hiredis' parser. Whatever the bytes are, a reply takes no more memory than allowed.
 */
#ifndef TT_REDIS_REPLY_H
#define TT_REDIS_REPLY_H

#include "core/redis/redis.h"

#define REPLY_BYTES_MAX  (64u << 20) /* of one reply, as sent */
#define REPLY_VALUES_MAX (1u << 18)  /* in one reply, nested ones included */
#define REPLY_DEPTH_MAX  7           /* lists in lists */

struct reply_reader;

struct reply_reader *reply_reader_new(void); /* NULL: no memory */
void reply_reader_free(struct reply_reader *r);

/* -1 with e: these bytes are no reply, or too much; the reader is of no use any more. */
int reply_reader_feed(struct reply_reader *r, const char *bytes, size_t len, struct err *e);
/* 1: *reply is a new reference, 0: more bytes are needed, -1 with e as above. */
int reply_reader_next(struct reply_reader *r, struct redis_reply **reply, struct err *e);

#endif
