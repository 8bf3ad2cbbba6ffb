/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations in Redis or Valkey, which several hosts may share. While it is away, loads fail at once, and what is to
 * be appended waits (redis_unsaved.h). */
#include "core/store/store_redis.h"

#include "core/base/background.h"
#include "core/store/redis_thread.h"
#include "core/store/redis_turns.h"
#include "core/store/redis_unsaved.h"
#include "core/store/turn_cache.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TIMEOUT_MS  1000 /* without a configuration */
#define CACHE_BYTES (16u << 20)

struct load {
	struct redis_store_request base;
	LIST_ENTRY(load) next;
	struct redis_store *store;
	struct store_key *key;
	struct redis_request *sent;
	struct background_job *job;
	struct redis_turns stored;
	bool has_spooled;
	json_t *spooled; /* of the thread's turns that wait on the disk; NULL: none are known */
	store_loaded_fn *loaded;
	void *arg;
};

struct deletion {
	struct redis_store_request base;
	LIST_ENTRY(deletion) next;
	struct redis_store *store;
	struct store_key *key;
	char *response;
	bool found; /* in Redis */
	struct unsaved_deletion unsaved;
	store_deleted_fn *done;
	void *arg;
};

struct redis_store {
	struct store base;
	struct event_base *loop;
	char *url;
	struct config *config;
	struct redis *redis;
	struct background *background;
	char run[64];
	struct store_limits limits;
	struct unsaved *unsaved;
	LIST_HEAD(, load) loads;
	LIST_HEAD(, deletion) deletions;
	struct turn_cache *cache;
};

static void keys_of(struct redis_keys *keys, const struct redis_store *s, const struct store_key *k)
{
	redis_keys_of(keys, k->subject, k->thread_id, store_id_is_short(k->thread_id) ? s->run : "");
}

static struct store_request *redis_store_append(struct store *base, const struct store_key *k, json_t *messages,
                                                store_saved_fn *done, void *arg)
{
	struct redis_store_request *r = unsaved_append(((struct redis_store *)base)->unsaved, k, messages, done, arg);

	return r != NULL ? &r->base : NULL;
}

/* ---- loading ---- */

static void load_free(struct load *l)
{
	LIST_REMOVE(l, next);
	redis_cancel(l->sent);
	redis_turns_clear(&l->stored);
	json_decref(l->spooled);
	free(l->key);
	free(l);
}

/* On a thread where it is much, or on the disk. */
static void decode(void *arg)
{
	struct load *l = arg;

	redis_turns_decode(&l->stored);
	if (l->has_spooled)
		l->spooled = unsaved_read_spooled(l->store->unsaved, l->key);
}

/* The messages of the turns that are stored, and of those of this process that still wait to be. */
static json_t *messages_of(const struct load *l)
{
	json_t *all = json_array(), *turn;
	size_t i;

	json_array_foreach(l->stored.turns, i, turn) json_array_append(all, json_array_get(turn, 1));
	unsaved_add_turns(l->store->unsaved, l->key, l->stored.turns, l->spooled, all);
	return all;
}

static void on_decoded(void *arg)
{
	struct load *l = arg;
	json_t *turns = l->stored.turns != NULL ? messages_of(l) : NULL;
	store_loaded_fn *loaded = l->loaded;
	void *loaded_arg = l->arg;
	struct err e = ERR_INIT;

	if (turns == NULL)
		err_set(&e, "no memory for a conversation");
	else
		redis_turns_remember(&l->stored);
	load_free(l);
	loaded(loaded_arg, turns, turns != NULL ? NULL : &e);
	json_decref(turns);
}

static void on_load_dropped(void *arg)
{
	load_free(arg);
}

static void on_load_answered(void *arg, struct redis_reply *reply, const struct err *e)
{
	static const struct background_work work = {.run = decode, .done = on_decoded, .drop = on_load_dropped};
	struct load *l = arg;
	struct err why = ERR_INIT;
	int64_t bytes = e == NULL ? redis_turns_take(&l->stored, reply, &why) : -1;

	l->sent = NULL;
	if (bytes < 0) {
		l->loaded(l->arg, NULL, e != NULL ? e : &why);
		load_free(l);
		return;
	}
	l->has_spooled = unsaved_has_spooled(l->store->unsaved);
	if (bytes > BACKGROUND_MIN || l->has_spooled)
		l->job = background_start(l->store->background, &work, l);
	if (l->job == NULL) {
		l->has_spooled = false;
		decode(l);
		on_decoded(l);
	}
}

static void cancel_load(struct redis_store_request *request)
{
	struct load *l = (struct load *)request;

	if (l->job != NULL)
		background_cancel(l->job);
	else
		load_free(l);
}

static struct store_request *redis_store_load(struct store *base, const struct store_key *k, store_loaded_fn *done,
                                              void *arg)
{
	struct redis_store *s = (struct redis_store *)base;
	struct load *l = calloc(1, sizeof *l);
	struct redis_keys keys;

	if (l == NULL)
		return NULL;
	*l = (struct load){.base = {.base.ops = base->ops, .cancel = cancel_load},
	                   .store = s,
	                   .key = store_key_copy(k),
	                   .loaded = done,
	                   .arg = arg};
	LIST_INSERT_HEAD(&s->loads, l, next);
	keys_of(&keys, s, k);
	if (l->key != NULL)
		l->sent = redis_turns_send(&l->stored, s->cache, &keys, s->redis, on_load_answered, l);
	if (l->sent != NULL)
		return &l->base.base;
	load_free(l);
	return NULL;
}

/* ---- deleting ---- */

static void deletion_free(struct deletion *d)
{
	LIST_REMOVE(d, next);
	free(d->key);
	free(d->response);
	free(d);
}

static void on_deletion_ended(struct unsaved_deletion *unsaved, const struct err *e)
{
	struct deletion *d = (struct deletion *)((char *)unsaved - offsetof(struct deletion, unsaved));
	const bool found = (d->found || unsaved->found) && e == NULL;
	store_deleted_fn *done = d->done;
	void *arg = d->arg;

	deletion_free(d);
	if (done != NULL)
		done(arg, found, e);
}

static void on_delete_answered(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct deletion *d = arg;

	d->found = e == NULL && reply->type == REDIS_NUMBER && reply->number > 0;
	unsaved_end_deletion(d->store->unsaved, &d->unsaved, e);
}

static void cancel_deletion(struct redis_store_request *request)
{
	((struct deletion *)request)->done = NULL;
}

static struct store_request *redis_store_delete(struct store *base, const struct store_key *k, const char *response,
                                                store_deleted_fn *done, void *arg)
{
	struct redis_store *s = (struct redis_store *)base;
	struct deletion *d = calloc(1, sizeof *d);
	struct redis_keys keys;

	if (d == NULL)
		return NULL;
	*d = (struct deletion){.base = {.base.ops = base->ops, .cancel = cancel_deletion},
	                       .store = s,
	                       .key = store_key_copy(k),
	                       .response = response != NULL ? strdup(response) : NULL,
	                       .done = done,
	                       .arg = arg};
	LIST_INSERT_HEAD(&s->deletions, d, next);
	keys_of(&keys, s, k);
	if (d->key == NULL || (response != NULL && d->response == NULL) ||
	    redis_delete_run(s->redis, &keys, response, on_delete_answered, d) == NULL) {
		deletion_free(d);
		return NULL;
	}
	d->unsaved = (struct unsaved_deletion){.key = d->key, .response = d->response, .ended = on_deletion_ended};
	unsaved_begin_deletion(s->unsaved, &d->unsaved);
	return &d->base.base;
}

static void redis_store_cancel(struct store_request *request)
{
	struct redis_store_request *r = (struct redis_store_request *)request;

	r->cancel(r);
}

/* ---- the store ---- */

static void on_changed(void *arg, bool usable, const struct err *why)
{
	unsaved_client_changed(((struct redis_store *)arg)->unsaved, usable, why);
}

/* On a loop of its own. */
static void flush(struct redis_store *s)
{
	struct event_base *loop = event_base_new();
	struct err e = ERR_INIT;
	struct redis *redis = loop != NULL ? redis_store_client(loop, s->url, s->config, NULL, NULL, &e) : NULL;

	unsaved_flush(s->unsaved, loop, redis);
	redis_free(redis);
	if (loop != NULL)
		event_base_free(loop);
}

static void redis_store_free(struct store *base)
{
	struct redis_store *s = (struct redis_store *)base;

	redis_free(s->redis);
	if (s->background != NULL)
		background_free(s->background);
	if (s->unsaved != NULL && !unsaved_is_empty(s->unsaved))
		flush(s);
	while (!LIST_EMPTY(&s->loads)) {
		LIST_FIRST(&s->loads)->sent = NULL;
		load_free(LIST_FIRST(&s->loads));
	}
	while (!LIST_EMPTY(&s->deletions))
		deletion_free(LIST_FIRST(&s->deletions));
	unsaved_free(s->unsaved);
	turn_cache_free(s->cache);
	config_unref(s->config);
	free(s->url);
	free(s);
}

static void redis_store_configure(struct store *base, const struct store_limits *limits)
{
	((struct redis_store *)base)->limits = *limits;
}

struct redis *redis_store_client(struct event_base *base, const char *url, const struct config *c,
                                 redis_changed_fn *changed, void *arg, struct err *e)
{
	const struct redis_options o = {.url = url, .timeout_ms = TIMEOUT_MS, .changed = changed, .arg = arg};

	return c != NULL ? redis_open(base, url, c, changed, arg, e) : redis_new(base, &o, e);
}

static struct store *redis_store_open(const struct store_place *place, const struct store_limits *limits, struct err *e)
{
	struct redis_store *s = calloc(1, sizeof *s);

	if (s == NULL) {
		err_set(e, "no memory for the conversations");
		return NULL;
	}
	s->base.ops = &store_redis;
	s->loop = place->base;
	s->limits = *limits;
	LIST_INIT(&s->loads);
	LIST_INIT(&s->deletions);
	snprintf(s->run, sizeof s->run, "%s", place->run);
	s->config = place->config != NULL ? config_ref((struct config *)(uintptr_t)place->config) : NULL;
	s->url = strdup(place->url);
	s->background = background_new(s->loop, e);
	s->cache = turn_cache_new(CACHE_BYTES);
	if (s->background != NULL)
		s->unsaved = unsaved_new(&(struct unsaved_options){
			.base = s->loop,
			.background = s->background,
			.limits = &s->limits,
			.run = s->run,
			.directory = s->config != NULL ? cfg_str(s->config, CFG_THREADS_UNSAVED_DIR) : ""});
	if (s->url != NULL && s->background != NULL && s->cache != NULL && s->unsaved != NULL)
		s->redis = redis_store_client(s->loop, s->url, s->config, on_changed, s, e);
	if (s->redis != NULL) {
		unsaved_set_client(s->unsaved, s->redis);
		return &s->base;
	}
	err_set(e, "no memory for the conversations");
	redis_store_free(&s->base);
	return NULL;
}

static int redis_store_check(const struct store_place *place, struct err *e)
{
	return redis_check_url(place->url, e);
}

const struct store_ops store_redis = {
	.check = redis_store_check,
	.open = redis_store_open,
	.load = redis_store_load,
	.append = redis_store_append,
	.delete = redis_store_delete,
	.cancel = redis_store_cancel,
	.configure = redis_store_configure,
	.free = redis_store_free,
	.admin = &store_redis_admin_ops,
};
