/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf)BUF_INIT(max);
}

static char *grow(struct buf *b, size_t len)
{
	size_t need, cap;
	char *data;

	need = b->len + len + 1;
	cap = b->cap == 0 ? 64 : b->cap;
	while (cap < need)
		cap *= 2;
	data = realloc(b->data, cap);
	if (data == NULL)
		return NULL;
	b->data = data;
	b->cap = cap;
	return b->data + b->len;
}

static inline char *reserve(struct buf *b, size_t len)
{
	assert(b->len <= b->max);
	if (len > b->max - b->len)
		return NULL;
	return len < b->cap - b->len ? b->data + b->len : grow(b, len);
}

char *buf_reserve(struct buf *b, size_t len)
{
	return reserve(b, len);
}

void buf_commit(struct buf *b, size_t len)
{
	assert(b->len + len < b->cap);
	b->len += len;
	b->data[b->len] = '\0';
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	char *to = reserve(b, len);

	if (to == NULL)
		return -1;
	if (len > 0)
		memcpy(to, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int buf_adds(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int len, result = -1;
	char *to;

	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	if (len >= 0 && (to = buf_reserve(b, (size_t)len)) != NULL) {
		vsnprintf(to, (size_t)len + 1, fmt, again);
		b->len += (size_t)len;
		result = 0;
	}
	va_end(again);
	va_end(ap);
	return result;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= b->len);
	if (len == 0)
		return;
	memmove(b->data, b->data + len, b->len - len);
	b->len -= len;
	b->data[b->len] = '\0';
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->data != NULL)
		b->data[0] = '\0';
}

char *buf_steal(struct buf *b, size_t *len)
{
	char *data;

	if (b->data == NULL && buf_add(b, NULL, 0) < 0)
		return NULL;
	data = b->data;
	if (len != NULL)
		*len = b->len;
	*b = (struct buf)BUF_INIT(b->max);
	return data;
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT(b->max);
}
