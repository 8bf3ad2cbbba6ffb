/* SPDX-License-Identifier: Apache-2.0 */
#include "core/redis/reply.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

/* hiredis before 1.0 counts in int. */
#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

struct reply_reader {
	redisReader *parser;
	size_t bytes;  /* that were fed since the last reply */
	size_t values; /* of the reply that is being read, those included that its lists promise */
};

struct redis_reply *redis_reply_ref(struct redis_reply *reply)
{
	reply->references++;
	return reply;
}

void redis_reply_free(struct redis_reply *reply)
{
	if (reply == NULL || --reply->references > 0)
		return;
	for (size_t i = 0; i < reply->count; i++)
		redis_reply_free(reply->items[i]);
	free(reply->items);
	free(reply);
}

bool redis_reply_says(const struct redis_reply *reply, const char *word)
{
	const size_t len = strlen(word);

	return reply != NULL && reply->type == REDIS_FAILURE && strncmp(reply->text, word, len) == 0 &&
	       (reply->text[len] == ' ' || reply->text[len] == '\0');
}

/* ---- what hiredis calls for each value ---- */

/* A value of that many bytes of text, in its parent's place. */
static struct redis_reply *value_new(const redisReadTask *task, enum redis_type type, size_t text)
{
	struct redis_reply *value = calloc(1, sizeof *value + text + 1);

	if (value == NULL)
		return NULL;
	value->type = type;
	value->references = 1;
	value->text = (const char *)(value + 1);
	value->len = text;
	if (task->parent != NULL)
		((struct redis_reply *)task->parent->obj)->items[task->idx] = value;
	return value;
}

/* The others are of RESP3, which is never requested. */
static void *create_string(const redisReadTask *task, char *text, size_t len)
{
	const bool is_failure = task->type == REDIS_REPLY_ERROR;
	const bool is_text = task->type == REDIS_REPLY_STRING || task->type == REDIS_REPLY_STATUS;
	struct redis_reply *value =
		is_failure || is_text ? value_new(task, is_failure ? REDIS_FAILURE : REDIS_TEXT, len) : NULL;

	if (value != NULL)
		memcpy(value + 1, text, len);
	return value;
}

static void *create_array(const redisReadTask *task, element_count count)
{
	struct reply_reader *r = task->privdata;
	struct redis_reply *value;
	unsigned depth = 0;

	if (task->type != REDIS_REPLY_ARRAY)
		return NULL;
	for (const redisReadTask *t = task; t != NULL; t = t->parent)
		depth++;
	/* One below 0, which it is not in every hiredis, is too large as well. */
	if ((size_t)count > REPLY_VALUES_MAX - r->values || depth > REPLY_DEPTH_MAX)
		return NULL;
	r->values += (size_t)count;
	value = value_new(task, REDIS_LIST, 0);
	if (value == NULL || count == 0)
		return value;
	/* Not all of them may come, so free looks at each. */
	value->items = calloc((size_t)count, sizeof *value->items);
	if (value->items != NULL) {
		value->count = (size_t)count;
		return value;
	}
	if (task->parent != NULL)
		((struct redis_reply *)task->parent->obj)->items[task->idx] = NULL;
	redis_reply_free(value);
	return NULL;
}

static void *create_number(const redisReadTask *task, long long number)
{
	struct redis_reply *value = value_new(task, REDIS_NUMBER, 0);

	if (value != NULL)
		value->number = number;
	return value;
}

static void *create_nil(const redisReadTask *task)
{
	return value_new(task, REDIS_NIL, 0);
}

static void free_value(void *value)
{
	redis_reply_free(value);
}

#if HIREDIS_MAJOR >= 1
static void *refuse_real(const redisReadTask *task, double value, char *text, size_t len)
{
	(void)task, (void)value, (void)text, (void)len;
	return NULL;
}

static void *refuse_bool(const redisReadTask *task, int value)
{
	(void)task, (void)value;
	return NULL;
}
#endif

static redisReplyObjectFunctions functions = {
#if HIREDIS_MAJOR >= 1
	.createDouble = refuse_real,
	.createBool = refuse_bool,
#endif
	.createString = create_string,
	.createArray = create_array,
	.createInteger = create_number,
	.createNil = create_nil,
	.freeObject = free_value,
};

/* ---- the reader ---- */

struct reply_reader *reply_reader_new(void)
{
	struct reply_reader *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->parser = redisReaderCreateWithFunctions(&functions);
	if (r->parser == NULL) {
		free(r);
		return NULL;
	}
	r->parser->privdata = r;
	return r;
}

void reply_reader_free(struct reply_reader *r)
{
	if (r == NULL)
		return;
	redisReaderFree(r->parser);
	free(r);
}

int reply_reader_feed(struct reply_reader *r, const char *bytes, size_t len, struct err *e)
{
	r->bytes += len;
	if (r->bytes > REPLY_BYTES_MAX)
		return err_set(e, "its reply is longer than %u bytes", REPLY_BYTES_MAX);
	if (redisReaderFeed(r->parser, bytes, len) == REDIS_OK)
		return 0;
	return err_set(e, "no memory for its reply");
}

int reply_reader_next(struct reply_reader *r, struct redis_reply **reply, struct err *e)
{
	void *got = NULL;

	if (redisReaderGetReply(r->parser, &got) != REDIS_OK)
		return err_set(e, r->parser->err == REDIS_ERR_OOM ? "its reply is too big"
		                                                  : "its reply is not of Redis' protocol");
	*reply = got;
	if (got == NULL)
		return 0;
	r->bytes = r->parser->len - r->parser->pos;
	r->values = 0;
	return 1;
}
