/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer that has a limit from birth.
 *
 * Once anything was added, a NUL follows the content, so that text can be used as a C
 * string. One owner; not thread-safe. */
#ifndef TT_BASE_BUF_H
#define TT_BASE_BUF_H

#include <stddef.h>

struct buf {
	char *data; /* NULL while nothing was ever added */
	size_t len;
	size_t cap;
	size_t max; /* bytes of content that it may ever hold */
};

#define BUF_INIT(limit)                                                                                                \
	{                                                                                                              \
		.data = NULL, .len = 0, .cap = 0, .max = (limit)                                                       \
	}

void buf_init(struct buf *b, size_t max);

/* Appends. -1: the limit is reached or out of memory; the buffer is unchanged. data may be
 * NULL if len is 0. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *text);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Makes room for len more bytes and returns where to write them; NULL like buf_add.
 * buf_commit then adds what was written. */
char *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

/* Drops the first len bytes. */
void buf_consume(struct buf *b, size_t len);

/* Drops the content, keeps the memory. */
void buf_reset(struct buf *b);

/* Gives the memory to the caller (free()). NULL: out of memory. */
char *buf_steal(struct buf *b, size_t *len);

void buf_free(struct buf *b);

#endif
