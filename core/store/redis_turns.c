/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/redis_turns.h"

#include "core/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX (INT64_C(1) << 53) /* of a turn: what Lua counts to */

/* ARGV: the mark of the last turn that the client has, its number, the number of the first one. What clients without
 * marks have appended makes all marks useless. */
static const char load_text[] =
	"local m = redis.call('HMGET', KEYS[2], 'n', 'marks', 'marked')\n"
	"local n = tonumber(m[1] or 0)\n"
	"local marks = m[1] and m[1] == m[3] and m[2] or ''\n"
	"local count = redis.call('LLEN', KEYS[1])\n"
	"local since = n - tonumber(ARGV[2])\n"
	"local from = 0\n"
	"if since >= 0 and since < count and n - count + 1 >= tonumber(ARGV[3]) and\n"
	"   string.sub(marks, 16 * since + 1, 16 * since + 16) == ARGV[1] then\n"
	"  from = count - since\n"
	"end\n"
	"return {n, count, from < count and redis.call('LRANGE', KEYS[1], from, -1) or {}}\n";

static struct redis_script load_script = {.text = load_text};

enum { NUMBER, COUNT, TURNS, MEMBERS }; /* of its answer */

static int64_t from_digits(const char *hex)
{
	uint64_t value = 0;

	sscanf(hex, "%16" SCNx64, &value);
	return (int64_t)value;
}

static struct redis_request *send_for_all(const struct redis_keys *keys, struct redis *r, redis_done_fn *done,
                                          void *arg)
{
	return redis_send(r,
	                  &(struct redis_command){.args = (const char *[]){"LRANGE", keys->turns, "0", "-1"},
	                                          .count = 4,
	                                          .key = keys->turns,
	                                          .repeatable = true},
	                  done, arg);
}

struct redis_request *redis_turns_send(struct redis_turns *t, struct turn_cache *cache, const struct redis_keys *keys,
                                       struct redis *r, redis_done_fn *done, void *arg)
{
	char mark[REDIS_MARK + 1], last[24], first[24];
	const char *const args[] = {keys->turns, keys->meta, mark, last, first};
	const struct cached_thread *cached;

	*t = (struct redis_turns){.cache = cache, .id = from_digits(keys->turns + strlen("tt:{"))};
	cached = turn_cache_find(cache, t->id);
	/* A list of its own: the cache may evict them meanwhile. */
	t->turns = cached != NULL ? json_copy(cached->turns) : json_array();
	if (t->turns == NULL)
		return NULL;
	if (cached == NULL)
		return send_for_all(keys, r, done, arg);
	t->sent_mark = cached->tag;
	t->first = cached->first;
	t->last = cached->last;
	snprintf(mark, sizeof mark, "%016" PRIx64, (uint64_t)t->sent_mark);
	snprintf(last, sizeof last, "%" PRId64, t->last);
	snprintf(first, sizeof first, "%" PRId64, t->first);
	return redis_run(r,
	                 &(struct redis_run){.script = &load_script,
	                                     .keys = 2,
	                                     .args = args,
	                                     .count = sizeof args / sizeof args[0],
	                                     .repeatable = true},
	                 done, arg);
}

/* The turns that the script sent; NULL: that is no answer of it. */
static struct redis_reply *take_answer(struct redis_turns *t, const struct redis_reply *reply)
{
	static const enum redis_type types[MEMBERS] = {REDIS_NUMBER, REDIS_NUMBER, REDIS_LIST};
	int64_t n, count, sent;

	if (reply->type != REDIS_LIST || reply->count != MEMBERS)
		return NULL;
	for (size_t i = 0; i < MEMBERS; i++)
		if (reply->items[i]->type != types[i])
			return NULL;
	n = reply->items[NUMBER]->number;
	count = reply->items[COUNT]->number;
	sent = (int64_t)reply->items[TURNS]->count;
	if (sent == count) { /* all of them */
		json_array_clear(t->turns);
		t->sent_mark = 0;
		return reply->items[TURNS];
	}
	if (n < t->last || n > NUMBER_MAX || n - t->last != sent || count < sent || n - count + 1 < t->first)
		return NULL;
	for (; t->first < n - count + 1; t->first++) /* trimmed */
		json_array_remove(t->turns, 0);
	t->last = n;
	return reply->items[TURNS];
}

int64_t redis_turns_take(struct redis_turns *t, struct redis_reply *reply, struct err *e)
{
	struct redis_reply *turns = t->sent_mark != 0 ? take_answer(t, reply) : reply;
	int64_t bytes = 0;

	if (turns == NULL || turns->type != REDIS_LIST)
		return err_set(e, "the server's answer is no list of turns");
	t->reply = redis_reply_ref(turns);
	for (size_t i = 0; i < turns->count; i++)
		bytes += (int64_t)turns->items[i]->len;
	return bytes;
}

/* The last turn says what it is; where it does not, the turns are not cached. */
static void take_mark(struct redis_turns *t, const json_t *stored)
{
	const json_t *number = json_object_get(stored, "number");
	const int64_t last = json_integer_value(number);
	const char *mark = json_string_value(json_object_get(stored, "mark"));

	if (!json_is_integer(number) || last < 0 || last > NUMBER_MAX || mark == NULL ||
	    (t->sent_mark != 0 && last != t->last))
		return;
	t->mark = from_digits(mark);
	t->last = last;
	t->first = last + 1 - (int64_t)json_array_size(t->turns);
}

void redis_turns_decode(struct redis_turns *t)
{
	bool unreadable = false, failed = false;

	if (t->reply->count == 0)
		t->mark = t->sent_mark;
	for (size_t i = 0; i < t->reply->count; i++) {
		const struct redis_reply *item = t->reply->items[i];
		json_t *stored =
			item->type == REDIS_TEXT ? json_loadb(item->text, item->len, JSON_ALLOW_NUL, NULL) : NULL;
		json_t *messages = json_object_get(stored, "messages"), *turn = json_null();

		if (json_is_array(messages))
			turn = json_pack("[O?, O]", json_object_get(stored, "id"), messages);
		else
			unreadable = true;
		failed |= json_array_append_new(t->turns, turn) < 0;
		if (i + 1 == t->reply->count)
			take_mark(t, stored);
		json_decref(stored);
	}
	if (unreadable)
		log_event(LOG_TURN_UNREADABLE,
		          L_STR("error", "a turn in Redis is not what tt-agent stores, and is left out"));
	if (failed) {
		json_decref(t->turns);
		t->turns = NULL;
	}
}

void redis_turns_remember(const struct redis_turns *t)
{
	struct cached_thread *cached = turn_cache_find(t->cache, t->id);

	/* Another load may have changed it since this one was sent. */
	if (cached != NULL && (t->mark == 0 || cached->tag != t->sent_mark))
		turn_cache_forget(t->cache, cached);
	if (t->mark == 0)
		return;
	cached = turn_cache_thread(t->cache, t->id, t->first);
	while (cached != NULL && cached->last < t->last) {
		const size_t at = (size_t)(cached->last + 1 - t->first);

		if (turn_cache_add(t->cache, cached, json_incref(json_array_get(t->turns, at))) == 0)
			continue;
		turn_cache_forget(t->cache, cached);
		return;
	}
	if (cached != NULL)
		cached->tag = t->mark;
}

void redis_turns_clear(struct redis_turns *t)
{
	redis_reply_free(t->reply);
	json_decref(t->turns);
	*t = (struct redis_turns){.cache = NULL};
}
