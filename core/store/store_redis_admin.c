/* SPDX-License-Identifier: Apache-2.0 */
/* What administrators do with conversations in Redis. Threads are found by SCAN: it sees each that is there, so nothing
 * that was stored beside them can say otherwise. */
#include "core/store/store_redis.h"

#include "core/base/clock.h"
#include "core/store/redis_thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE          200   /* threads in one round trip */
#define EXPIRE_MIN_MS 60000 /* of what is copied */

struct redis_admin {
	struct store_admin base;
	struct event_base *loop;
	struct redis *redis;
	int64_t expire_ms; /* of threads that are appended to; 0: never */
};

/* A thread that was found: by its hash's key, and when it was last used. */
struct found {
	int64_t used_ms;
	char meta[sizeof((struct redis_keys *)0)->meta];
};

struct finds {
	struct found *all;
	size_t count, size;
};

/* ---- commands, several at once ---- */

struct pipeline {
	struct redis_admin *admin;
	size_t count, left;
	struct redis_reply *replies[2 * PAGE]; /* NULL: it failed */
	struct err err;
};

struct answer_to {
	struct pipeline *pipeline;
	size_t at;
};

static void on_answered(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct answer_to *to = arg;
	struct pipeline *b = to->pipeline;

	if (e != NULL)
		err_set(&b->err, "%s", e->text);
	else
		b->replies[to->at] = redis_reply_ref(reply);
	free(to);
	if (--b->left == 0)
		event_base_loopbreak(b->admin->loop);
}

static void pipeline_add(struct pipeline *b, const struct redis_command *c)
{
	struct answer_to *to = malloc(sizeof *to);

	if (to != NULL) {
		*to = (struct answer_to){.pipeline = b, .at = b->count};
		if (redis_send(b->admin->redis, c, on_answered, to) != NULL) {
			b->count++;
			b->left++;
			return;
		}
	}
	free(to);
	err_set(&b->err, "no memory for conversations");
}

/* Waits for all; each command has its deadline. -1 with e, also where one of them failed. */
static int pipeline_run(struct pipeline *b, struct err *e)
{
	while (b->left > 0)
		event_base_dispatch(b->admin->loop);
	return err_is_set(&b->err) ? err_set(e, "%s", b->err.text) : 0;
}

static void pipeline_clear(struct pipeline *b)
{
	for (size_t i = 0; i < b->count; i++)
		redis_reply_free(b->replies[i]);
	*b = (struct pipeline){.admin = b->admin};
}

/* ---- finding threads ---- */

/* The text of a member of a list; "" where there is none. */
static const char *text_at(const struct redis_reply *list, size_t i)
{
	return list != NULL && i < list->count && list->items[i]->type == REDIS_TEXT ? list->items[i]->text : "";
}

static int64_t number_at(const struct redis_reply *list, size_t i)
{
	return strtoll(text_at(list, i), NULL, 10);
}

static int add_find(struct finds *f, const char *meta, int64_t used_ms, struct err *e)
{
	if (f->count == f->size) {
		const size_t size = f->size > 0 ? 2 * f->size : 256;
		struct found *all = reallocarray(f->all, size, sizeof *all);

		if (all == NULL)
			return err_set(e, "no memory for the list of conversations");
		f->all = all;
		f->size = size;
	}
	f->all[f->count].used_ms = used_ms;
	snprintf(f->all[f->count++].meta, sizeof f->all->meta, "%s", meta);
	return 0;
}

static int compare_finds(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->used_ms != y->used_ms)
		return x->used_ms < y->used_ms ? 1 : -1;
	return strcmp(x->meta, y->meta);
}

/* The keys of one answer to SCAN. */
static int note_keys(struct redis_admin *a, const struct redis_reply *keys, struct finds *f, struct err *e)
{
	struct pipeline b = {.admin = a};
	int failed = 0;

	for (size_t at = 0; failed == 0 && at < keys->count; at += PAGE) {
		const size_t end = at + PAGE < keys->count ? at + PAGE : keys->count;

		for (size_t i = at; i < end; i++) {
			const char *key = text_at(keys, i);

			pipeline_add(&b, &(struct redis_command){.args = (const char *[]){"HMGET", key, "used"},
			                                         .count = 3,
			                                         .key = key,
			                                         .repeatable = true});
		}
		failed = pipeline_run(&b, e);
		for (size_t i = 0; failed == 0 && i < b.count; i++)
			if (text_at(b.replies[i], 0)[0] != '\0')
				failed = add_find(f, text_at(keys, at + i), number_at(b.replies[i], 0), e);
		pipeline_clear(&b);
	}
	return failed;
}

static int scan_server(struct redis_admin *a, size_t server, struct finds *f, struct err *e)
{
	char cursor[32] = "0";
	int failed;

	do {
		struct pipeline b = {.admin = a};
		const struct redis_reply *keys;

		pipeline_add(&b, &(struct redis_command){
					 .args = (const char *[]){"SCAN", cursor, "MATCH", "tt:{*}:m", "COUNT", "1000"},
					 .count = 6,
					 .server = server,
					 .repeatable = true});
		failed = pipeline_run(&b, e);
		keys = failed == 0 && b.replies[0]->count == 2 && b.replies[0]->items[1]->type == REDIS_LIST
		               ? b.replies[0]->items[1]
		               : NULL;
		if (failed == 0 && keys == NULL)
			failed = err_set(e, "the server's answer to SCAN is not understood");
		if (failed == 0) {
			snprintf(cursor, sizeof cursor, "%s", text_at(b.replies[0], 0));
			failed = note_keys(a, keys, f, e);
		}
		pipeline_clear(&b);
	} while (failed == 0 && strcmp(cursor, "0") != 0);
	return failed;
}

/* All threads, the last used first. -1 with e; f->all is to be freed in both cases. */
static int find_threads(struct redis_admin *a, struct finds *f, struct err *e)
{
	struct pipeline first = {.admin = a};
	size_t distinct = 0;
	int failed;

	*f = (struct finds){.count = 0};
	/* A cluster's servers are known when it has answered. */
	pipeline_add(&first, &(struct redis_command){.args = (const char *[]){"PING"}, .count = 1, .key = "tt"});
	failed = pipeline_run(&first, e);
	pipeline_clear(&first);
	for (size_t i = 0; failed == 0 && i < redis_servers(a->redis); i++)
		failed = scan_server(a, i, f, e);
	if (f->count > 0)
		qsort(f->all, f->count, sizeof *f->all, compare_finds);
	/* SCAN may say a key twice. */
	for (size_t i = 0; i < f->count; i++)
		if (i == 0 || strcmp(f->all[i].meta, f->all[distinct - 1].meta) != 0)
			f->all[distinct++] = f->all[i];
	f->count = distinct;
	return failed;
}

static void turns_key(const struct found *f, char key[sizeof f->meta])
{
	memcpy(key, f->meta, sizeof f->meta);
	key[strlen(key) - 1] = 't';
}

/* Calls it for each thread of f, whose place is the key of its hash; stops where it returns false. */
static int for_each(struct redis_admin *a, const struct finds *f, store_thread_fn *fn, void *arg, struct err *e)
{
	struct pipeline b = {.admin = a};
	bool more = true;
	int failed = 0;

	for (size_t at = 0; more && failed == 0 && at < f->count; at += PAGE) {
		const size_t end = at + PAGE < f->count ? at + PAGE : f->count;

		for (size_t i = at; i < end; i++) {
			const char *key = f->all[i].meta;
			char turns[sizeof f->all->meta];

			turns_key(&f->all[i], turns);
			pipeline_add(&b, &(struct redis_command){.args = (const char *[]){"HMGET", key, "subject",
			                                                                  "thread_id", "run", "created",
			                                                                  "used", "bytes"},
			                                         .count = 8,
			                                         .key = key,
			                                         .repeatable = true});
			pipeline_add(&b, &(struct redis_command){.args = (const char *[]){"LLEN", turns},
			                                         .count = 2,
			                                         .key = turns,
			                                         .repeatable = true});
		}
		failed = pipeline_run(&b, e);
		for (size_t i = at; more && failed == 0 && i < end; i++) {
			const struct redis_reply *meta = b.replies[2 * (i - at)], *count = b.replies[2 * (i - at) + 1];
			const struct store_thread t = {.subject = text_at(meta, 0),
			                               .thread_id = text_at(meta, 1),
			                               .short_id = text_at(meta, 2)[0] != '\0',
			                               .created_ms = number_at(meta, 3),
			                               .used_ms = number_at(meta, 4),
			                               .bytes = number_at(meta, 5),
			                               .turns = count->number,
			                               .place = f->all[i].meta};

			if (t.turns > 0) /* it may have expired since it was found */
				more = fn(arg, &t);
		}
		pipeline_clear(&b);
	}
	return failed;
}

/* ---- the operations ---- */

static void admin_close(struct store_admin *base)
{
	struct redis_admin *a = (struct redis_admin *)base;

	redis_free(a->redis);
	if (a->loop != NULL)
		event_base_free(a->loop);
	free(a);
}

static struct store_admin *admin_open(const struct store_place *place, struct err *e)
{
	struct redis_admin *a = calloc(1, sizeof *a);
	struct pipeline b = {.admin = a};
	int failed = -1;

	if (a != NULL && place->config != NULL)
		a->expire_ms = cfg_ms(place->config, CFG_THREADS_EXPIRE);
	if (a != NULL && (a->loop = event_base_new()) != NULL)
		a->redis = redis_store_client(a->loop, place->url, place->config, NULL, NULL, e);
	if (a != NULL && a->redis != NULL) {
		pipeline_add(&b, &(struct redis_command){.args = (const char *[]){"PING"}, .count = 1, .key = "tt"});
		failed = pipeline_run(&b, e);
		pipeline_clear(&b);
	}
	if (failed == 0)
		return &a->base;
	err_set(e, "no memory for the conversations");
	if (a != NULL)
		admin_close(&a->base);
	return NULL;
}

static int admin_list(struct store_admin *base, store_thread_fn *found, void *arg, struct err *e)
{
	struct redis_admin *a = (struct redis_admin *)base;
	struct finds f;
	int failed = find_threads(a, &f, e);

	if (failed == 0)
		failed = for_each(a, &f, found, arg, e);
	free(f.all);
	return failed;
}

static json_t *turn_of(const struct redis_reply *item)
{
	json_t *stored = item->type == REDIS_TEXT ? json_loadb(item->text, item->len, JSON_ALLOW_NUL, NULL) : NULL;
	json_t *turn = json_pack("{s:O*, s:o, s:O*}", "number", json_object_get(stored, "number"), "at",
	                         store_admin_time(json_integer_value(json_object_get(stored, "at"))), "messages",
	                         json_object_get(stored, "messages"));

	json_decref(stored);
	return turn;
}

/* The thread with its turns. NULL with e, or without it: it is no longer there. */
static json_t *show_thread(struct redis_admin *a, const struct found *found, struct err *e)
{
	struct pipeline b = {.admin = a};
	char turns[sizeof found->meta];
	json_t *thread = NULL, *list;

	turns_key(found, turns);
	pipeline_add(&b, &(struct redis_command){.args = (const char *[]){"HMGET", found->meta, "subject", "thread_id",
	                                                                  "created", "used"},
	                                         .count = 6,
	                                         .key = found->meta,
	                                         .repeatable = true});
	pipeline_add(&b, &(struct redis_command){.args = (const char *[]){"LRANGE", turns, "0", "-1"},
	                                         .count = 4,
	                                         .key = turns,
	                                         .repeatable = true});
	if (pipeline_run(&b, e) == 0 && b.replies[1]->count > 0) {
		list = json_array();
		for (size_t i = 0; i < b.replies[1]->count; i++)
			json_array_append_new(list, turn_of(b.replies[1]->items[i]));
		thread = store_admin_thread(&(struct store_thread){.subject = text_at(b.replies[0], 0),
		                                                   .thread_id = text_at(b.replies[0], 1),
		                                                   .created_ms = number_at(b.replies[0], 2),
		                                                   .used_ms = number_at(b.replies[0], 3)},
		                            list, e);
	}
	pipeline_clear(&b);
	return thread;
}

/* Those of one key, a subject (thread_id NULL), or all (NULL). */
struct selection {
	struct redis_admin *admin;
	const struct store_key *key;
	struct finds *selected;
	struct err *err;
};

static bool select_one(void *arg, const struct store_thread *t)
{
	struct selection *s = arg;

	if (s->key != NULL && (strcmp(s->key->subject, t->subject) != 0 ||
	                       (s->key->thread_id != NULL && strcmp(s->key->thread_id, t->thread_id) != 0)))
		return true;
	return add_find(s->selected, t->place, t->used_ms, s->err) == 0;
}

/* -1 with e; f->all is to be freed in both cases. */
static int select_threads(struct redis_admin *a, const struct store_key *k, struct finds *f, struct err *e)
{
	struct selection s = {.admin = a, .key = k, .selected = f, .err = e};
	struct redis_keys keys;
	struct finds all;
	int failed;

	*f = (struct finds){.count = 0};
	/* Only short ids have the name of a run in their keys. */
	if (k != NULL && k->thread_id != NULL && !store_id_is_short(k->thread_id)) {
		redis_keys_of(&keys, k->subject, k->thread_id, "");
		return add_find(f, keys.meta, 0, e);
	}
	failed = find_threads(a, &all, e);
	if (failed == 0)
		failed = for_each(a, &all, select_one, &s, e);
	free(all.all);
	return failed < 0 || err_is_set(e) ? -1 : 0;
}

static json_t *admin_show(struct store_admin *base, const struct store_key *k, struct err *e)
{
	struct redis_admin *a = (struct redis_admin *)base;
	json_t *thread = NULL;
	struct finds f;

	if (select_threads(a, k, &f, e) == 0 && f.count > 0)
		thread = show_thread(a, &f.all[0], e);
	free(f.all);
	return thread;
}

static int admin_append(struct store_admin *base, const struct store_key *k, const json_t *messages, int64_t number,
                        int64_t at_ms, struct err *e)
{
	struct redis_admin *a = (struct redis_admin *)base;
	struct pipeline b = {.admin = a};
	struct answer_to *to = malloc(sizeof *to);
	char *text = json_dumps(messages, JSON_COMPACT);
	struct redis_keys keys;
	struct redis_append append = {.keys = &keys,
	                              .key = k,
	                              .run = "",
	                              .messages = text,
	                              .len = text != NULL ? strlen(text) : 0,
	                              .at_ms = at_ms,
	                              .created_ms = at_ms};
	int failed;

	redis_keys_of(&keys, k->subject, k->thread_id, "");
	snprintf(append.id, sizeof append.id, "%016llx", (unsigned long long)number);
	if (a->expire_ms > 0) { /* as long as it would have lasted there, and long enough to be seen */
		append.expire_ms = at_ms + a->expire_ms - clock_wall_ms();
		append.expire_ms = append.expire_ms > EXPIRE_MIN_MS ? append.expire_ms : EXPIRE_MIN_MS;
	}
	if (to != NULL)
		*to = (struct answer_to){.pipeline = &b};
	if (to != NULL && text != NULL && redis_append_run(a->redis, &append, on_answered, to) != NULL) {
		b.count = b.left = 1;
		failed = pipeline_run(&b, e);
	} else {
		free(to);
		failed = err_set(e, "no memory for a turn, or it is not UTF-8");
	}
	pipeline_clear(&b);
	free(text);
	return failed;
}

static int64_t admin_delete(struct store_admin *base, const struct store_key *k, struct err *e)
{
	struct redis_admin *a = (struct redis_admin *)base;
	int64_t deleted = 0;
	struct finds f;
	int failed = select_threads(a, k, &f, e);

	for (size_t at = 0; failed == 0 && at < f.count; at += PAGE) {
		struct pipeline b = {.admin = a};

		for (size_t i = at; i < f.count && i < at + PAGE; i++) {
			char turns[sizeof f.all->meta];

			turns_key(&f.all[i], turns);
			pipeline_add(&b, &(struct redis_command){.args = (const char *[]){"DEL", turns, f.all[i].meta},
			                                         .count = 3,
			                                         .key = turns});
		}
		failed = pipeline_run(&b, e);
		for (size_t i = 0; i < b.count; i++)
			deleted += b.replies[i] != NULL && b.replies[i]->number > 0;
		pipeline_clear(&b);
	}
	free(f.all);
	return failed < 0 ? -1 : deleted;
}

static int admin_export(struct store_admin *base, store_export_fn *each, void *arg, struct err *e)
{
	struct redis_admin *a = (struct redis_admin *)base;
	struct finds f;
	bool more = find_threads(a, &f, e) == 0;

	for (size_t i = 0; more && i < f.count; i++) {
		json_t *thread = show_thread(a, &f.all[i], e);

		more = thread != NULL ? each(arg, thread) : !err_is_set(e);
		json_decref(thread);
	}
	free(f.all);
	return err_is_set(e) ? -1 : 0;
}

static bool add_size(void *arg, const struct store_thread *t)
{
	struct store_size *size = arg;

	size->threads++;
	size->turns += t->turns;
	size->bytes += t->bytes;
	size->oldest_ms = t->used_ms; /* the last one is the oldest */
	return true;
}

static int admin_size(struct store_admin *base, struct store_size *size, struct err *e)
{
	static const char used[] = "\nused_memory:";
	struct redis_admin *a = (struct redis_admin *)base;
	struct pipeline b = {.admin = a};
	struct finds f;
	int failed = find_threads(a, &f, e);

	*size = (struct store_size){.threads = 0};
	if (failed == 0)
		failed = for_each(a, &f, add_size, size, e);
	free(f.all);
	for (size_t i = 0; failed == 0 && i < redis_servers(a->redis); i++) {
		const char *at;

		pipeline_add(&b, &(struct redis_command){.args = (const char *[]){"INFO", "memory"},
		                                         .count = 2,
		                                         .server = i,
		                                         .repeatable = true});
		failed = pipeline_run(&b, e);
		at = failed == 0 && b.replies[0]->type == REDIS_TEXT ? strstr(b.replies[0]->text, used) : NULL;
		size->disk_bytes += at != NULL ? strtoll(at + strlen(used), NULL, 10) : 0;
		pipeline_clear(&b);
	}
	return failed;
}

const struct store_admin_ops store_redis_admin_ops = {
	.open = admin_open,
	.close = admin_close,
	.list = admin_list,
	.show = admin_show,
	.append = admin_append,
	.delete = admin_delete,
	.export = admin_export,
	.size = admin_size,
};
