/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations in Redis or Valkey, which several hosts may share. While it is away, loads fail at once, and what is to
 * be appended waits here, within limits, until it is back. */
#include "core/store/store_redis.h"

#include "core/base/background.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/store/redis_thread.h"
#include "core/store/redis_turns.h"
#include "core/store/turn_cache.h"
#include "core/store/turn_cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#define UNSAVED_MAX      10000      /* turns that wait; */
#define UNSAVED_OVERHEAD 512        /* what one takes besides its text */
#define UNSAVED_BYTES    (16 << 20) /* where no limit says how much */
#define SENT_AT_ONCE     32         /* appends; as many ids are remembered of each thread */
#define TRIES_AT_ONCE    3
#define RETRY_MS         1000
#define FLUSH_MS         2000
#define TIMEOUT_MS       1000 /* without a configuration */
#define CACHE_BYTES      (16u << 20)

struct request {
	struct store_request base;
	enum { REQUEST_APPEND, REQUEST_LOAD, REQUEST_DELETE } kind;
};

/* A turn that is not stored yet, in the order of the queue. */
struct append {
	struct request request; /* the caller's until saved was called */
	TAILQ_ENTRY(append) next;
	struct redis_store *store;
	enum { APPEND_ENCODING, APPEND_WAITING, APPEND_SENT, APPEND_BLOCKED } state;
	unsigned tries;
	char *subject, *thread_id, *answer; /* answer: store_answer_of; NULL: of a turn that has none */
	struct redis_keys keys;
	char id[REDIS_TURN_ID + 1];
	int64_t at_ms;
	bool late;        /* it could not be stored at once */
	json_t *messages; /* until they are text */
	char *text;
	size_t len, weight;
	struct background_job *job;
	struct store_limits limits;
	store_saved_fn *saved; /* NULL: nobody waits */
	void *arg;
	const struct deletion *deletion; /* while that is under way; NULL: none is to delete this turn */
	bool deleted;
};
TAILQ_HEAD(append_queue, append);

struct load {
	struct request base;
	LIST_ENTRY(load) next;
	struct redis_store *store;
	struct redis_keys keys;
	struct redis_request *sent;
	struct background_job *job;
	struct redis_turns stored;
	store_loaded_fn *loaded;
	void *arg;
};

struct deletion {
	struct request base;
	LIST_ENTRY(deletion) next;
	struct redis_store *store;
	struct redis_request *sent;
	bool found; /* among the turns that wait */
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
	struct append_queue queue;
	size_t waiting, bytes, sent;
	struct event *pump, *retry;
	LIST_HEAD(, load) loads;
	LIST_HEAD(, deletion) deletions;
	struct turn_cache *cache;
	bool away, refuses; /* as logged */
	int64_t lost;       /* since that was logged */
};

static const char *run_of(const struct redis_store *s, const char *thread_id)
{
	return store_id_is_short(thread_id) ? s->run : "";
}

/* ---- what is told ---- */

static void note_away(struct redis_store *s, bool away, const struct err *why)
{
	if (away == s->away)
		return;
	s->away = away;
	counters_add(s->limits.counters, COUNTER_STORES_AWAY, away ? 1 : -1);
	if (away)
		log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", why->text),
		          L_STR("effect", "chats go on without their history; what is to be stored waits"));
	else
		log_event(LOG_THREADS_REDIS, L_INT("turns_to_store", s->waiting), L_INT("turns_lost", s->lost));
	if (!away)
		s->lost = 0;
}

static void say_failed(struct append *a, const struct err *e)
{
	store_saved_fn *saved = a->saved;

	a->saved = NULL;
	if (saved != NULL)
		saved(a->arg, e);
}

/* ---- appending ---- */

static void append_free(struct append *a)
{
	struct redis_store *s = a->store;

	TAILQ_REMOVE(&s->queue, a, next);
	s->waiting--;
	s->bytes -= a->weight;
	counters_add(s->limits.counters, COUNTER_TURNS_UNSAVED, -1);
	free(a->subject);
	free(a->thread_id);
	free(a->answer);
	json_decref(a->messages);
	free(a->text);
	free(a);
}

static void lose(struct append *a, const struct err *why)
{
	struct redis_store *s = a->store;

	s->lost++;
	counters_add(s->limits.counters, COUNTER_TURNS_LOST, 1);
	say_failed(a, why);
	append_free(a);
}

/* The oldest go first; not those that the server may have stored by now. */
static void drop_surplus(struct redis_store *s)
{
	const size_t max = s->limits.unsaved_bytes > 0 ? s->limits.unsaved_bytes : UNSAVED_BYTES;
	struct append *a = TAILQ_FIRST(&s->queue);
	struct err why = ERR_INIT;

	err_set(&why, "too many turns wait for the conversations' server");
	while (a != NULL && (s->waiting > UNSAVED_MAX || s->bytes > max)) {
		struct append *next = TAILQ_NEXT(a, next);

		if (a->state == APPEND_WAITING || a->state == APPEND_BLOCKED)
			lose(a, &why);
		a = next;
	}
}

static void encode(void *arg)
{
	struct append *a = arg;
	size_t len = json_dumpb(a->messages, NULL, 0, JSON_COMPACT);

	if (a->limits.turn_bytes > 0 && len > a->limits.turn_bytes) {
		json_t *cut = turn_cut(a->messages, len, &a->limits);

		json_decref(a->messages);
		a->messages = cut;
	}
	a->text = a->messages != NULL ? json_dumps(a->messages, JSON_COMPACT) : NULL;
	a->len = a->text != NULL ? strlen(a->text) : 0;
}

static void on_encoded(void *arg)
{
	struct append *a = arg;
	struct redis_store *s = a->store;
	struct err e = ERR_INIT;

	a->job = NULL;
	json_decref(a->messages);
	a->messages = NULL;
	s->bytes -= a->weight;
	a->weight = a->len + UNSAVED_OVERHEAD;
	s->bytes += a->weight;
	a->state = APPEND_WAITING;
	if (a->text == NULL) {
		err_set(&e, "no memory, or the turn is not UTF-8");
		lose(a, &e);
		return;
	}
	event_active(s->pump, EV_TIMEOUT, 0);
}

static void block(struct append *a, const struct err *e)
{
	const struct timeval t = clock_timeval_ms(RETRY_MS);

	a->state = APPEND_BLOCKED;
	a->late = true;
	if (!event_pending(a->store->retry, EV_TIMEOUT, NULL))
		event_add(a->store->retry, &t);
	say_failed(a, e);
}

/* What a server answers that may take it later; everything else is for good. */
static bool is_for_now(const struct redis_reply *reply)
{
	static const char *const words[] = {"OOM",         "READONLY",  "LOADING",    "BUSY",    "MASTERDOWN",
	                                    "CLUSTERDOWN", "TRYAGAIN",  "NOREPLICAS", "MISCONF", "NOAUTH",
	                                    "NOPERM",      "WRONGPASS", "MOVED",      "ASK"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (redis_reply_says(reply, words[i]))
			return true;
	return false;
}

static void on_appended(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct append *a = arg;
	struct redis_store *s = a->store;
	store_saved_fn *saved = NULL;
	void *saved_arg = a->arg;
	struct redis_state state;

	s->sent--;
	a->state = APPEND_WAITING;
	redis_state(s->redis, &state);
	if (e == NULL) {
		if (s->refuses)
			log_event(LOG_THREADS_REDIS, L_INT("turns_to_store", s->waiting));
		s->refuses = false;
		saved = a->saved;
		append_free(a);
	} else if (reply == NULL) {
		/* A connection that is made again at once fails nobody. */
		if (!state.usable || a->tries >= TRIES_AT_ONCE)
			block(a, e);
	} else if (is_for_now(reply)) {
		if (!s->refuses)
			log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", e->text),
			          L_STR("effect", "what is to be stored waits"));
		s->refuses = true;
		block(a, e);
	} else {
		log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", e->text), L_STR("effect", "a turn is not stored"));
		lose(a, e);
	}
	event_active(s->pump, EV_TIMEOUT, 0);
	if (saved != NULL)
		saved(saved_arg, NULL);
}

static bool has_one_before(const struct append *a)
{
	const struct append *before = a;

	while ((before = TAILQ_PREV(before, append_queue, next)) != NULL)
		if (before->state != APPEND_SENT && strcmp(before->keys.turns, a->keys.turns) == 0)
			return true;
	return false;
}

static struct redis_request *run_append(struct redis *redis, const struct append *a, redis_done_fn *done, void *arg)
{
	const struct redis_store *s = a->store;
	const struct store_key key = {.subject = a->subject, .thread_id = a->thread_id};
	struct redis_append run = {.keys = &a->keys,
	                           .key = &key,
	                           .run = run_of(s, a->thread_id),
	                           .messages = a->text,
	                           .len = a->len,
	                           .at_ms = a->at_ms,
	                           .created_ms = a->at_ms,
	                           .expire_ms = store_id_is_short(a->thread_id) ? s->limits.short_id_idle_ms
	                                                                        : s->limits.expire_ms,
	                           .thread_bytes = s->limits.thread_bytes,
	                           .late = a->late};

	memcpy(run.id, a->id, sizeof run.id);
	return redis_append_run(redis, &run, done, arg);
}

static void send_next(struct redis_store *s)
{
	struct append *a;

	TAILQ_FOREACH(a, &s->queue, next)
	{
		if (s->sent >= SENT_AT_ONCE)
			break;
		if (a->state != APPEND_WAITING || a->deletion != NULL || has_one_before(a))
			continue;
		a->tries++;
		if (run_append(s->redis, a, on_appended, a) == NULL)
			break; /* too much is on its way, or no memory: the next answer, or the timer, goes on */
		a->state = APPEND_SENT;
		s->sent++;
	}
	if (a != NULL && s->sent == 0 && !event_pending(s->retry, EV_TIMEOUT, NULL))
		event_add(s->retry, &(const struct timeval){.tv_sec = 1});
}

/* What the server is being sent may be stored by now, or not: its answer says that it was, and no more. */
static void drop_deleted(struct redis_store *s)
{
	struct append *a = TAILQ_FIRST(&s->queue);

	while (a != NULL) {
		struct append *next = TAILQ_NEXT(a, next);

		if (a->deleted && (a->state == APPEND_WAITING || a->state == APPEND_BLOCKED)) {
			say_failed(a, NULL);
			append_free(a);
		}
		a = next;
	}
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct redis_store *s = arg;

	(void)fd, (void)what;
	drop_deleted(s);
	drop_surplus(s);
	send_next(s);
}

static void unblock(struct redis_store *s)
{
	struct append *a;

	TAILQ_FOREACH(a, &s->queue, next)
	{
		if (a->state == APPEND_BLOCKED) {
			a->state = APPEND_WAITING;
			a->tries = 0;
		}
	}
	send_next(s);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct redis_store *s = arg;

	(void)fd, (void)what;
	unblock(s);
}

static void on_changed(void *arg, bool usable, const struct err *why)
{
	struct redis_store *s = arg;

	note_away(s, !usable, why);
	if (usable)
		unblock(s);
}

static struct append *append_new(struct redis_store *s, const struct store_key *k, json_t *messages)
{
	struct append *a = calloc(1, sizeof *a);
	const char *answer = store_answer_of(messages);
	unsigned char id[REDIS_TURN_ID / 2];

	if (a != NULL) {
		a->request.base.ops = s->base.ops;
		a->store = s;
		a->messages = messages;
		a->subject = strdup(k->subject);
		a->thread_id = strdup(k->thread_id);
		a->answer = *answer != '\0' ? strdup(answer) : NULL;
		a->at_ms = clock_wall_ms();
		a->weight = turn_cache_weight(messages);
		a->limits = s->limits;
	}
	if (a == NULL || a->subject == NULL || a->thread_id == NULL || (*answer != '\0' && a->answer == NULL) ||
	    getrandom(id, sizeof id, 0) != (ssize_t)sizeof id) {
		if (a != NULL) {
			free(a->subject);
			free(a->thread_id);
			free(a->answer);
		}
		free(a);
		json_decref(messages);
		return NULL;
	}
	for (size_t i = 0; i < sizeof id; i++)
		snprintf(a->id + 2 * i, 3, "%02x", id[i]);
	redis_keys_of(&a->keys, a->subject, a->thread_id, run_of(s, a->thread_id));
	TAILQ_INSERT_TAIL(&s->queue, a, next);
	s->waiting++;
	s->bytes += a->weight;
	counters_add(s->limits.counters, COUNTER_TURNS_UNSAVED, 1);
	return a;
}

/* The store is being freed; the turn is written by flush(). */
static void on_dropped(void *arg)
{
	(void)arg;
}

static struct store_request *redis_store_append(struct store *base, const struct store_key *k, json_t *messages,
                                                store_saved_fn *done, void *arg)
{
	static const struct background_work work = {.run = encode, .done = on_encoded, .drop = on_dropped};
	struct redis_store *s = (struct redis_store *)base;
	struct append *a = append_new(s, k, messages);

	if (a == NULL)
		return NULL;
	a->saved = done;
	a->arg = arg;
	if (a->weight > BACKGROUND_MIN)
		a->job = background_start(s->background, &work, a);
	if (a->job == NULL) {
		encode(a);
		if (a->text == NULL) {
			append_free(a);
			return NULL;
		}
		on_encoded(a);
	}
	return &a->request.base;
}

/* ---- loading ---- */

static void load_free(struct load *l)
{
	LIST_REMOVE(l, next);
	redis_cancel(l->sent);
	redis_turns_clear(&l->stored);
	free(l);
}

/* On a thread where it is much. */
static void decode(void *arg)
{
	redis_turns_decode(&((struct load *)arg)->stored);
}

static bool has_turn(const json_t *turns, const char *id)
{
	const json_t *turn;
	size_t i;

	json_array_foreach(turns, i, turn)
	{
		const char *of = json_string_value(json_array_get(turn, 0));

		if (of != NULL && strcmp(of, id) == 0)
			return true;
	}
	return false;
}

/* The messages of the turns that are stored, and of those of this process that still wait to be. */
static json_t *messages_of(const struct load *l)
{
	json_t *all = json_array(), *turn;
	const struct append *a;
	size_t i;

	json_array_foreach(l->stored.turns, i, turn) json_array_append(all, json_array_get(turn, 1));
	TAILQ_FOREACH(a, &l->store->queue, next)
	{
		if (strcmp(a->keys.turns, l->keys.turns) != 0 || a->deleted || a->deletion != NULL ||
		    has_turn(l->stored.turns, a->id))
			continue;
		json_array_append_new(all, a->text != NULL ? json_loadb(a->text, a->len, JSON_ALLOW_NUL, NULL)
		                                           : json_deep_copy(a->messages));
	}
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
	if (bytes > BACKGROUND_MIN)
		l->job = background_start(l->store->background, &work, l);
	if (l->job == NULL) {
		decode(l);
		on_decoded(l);
	}
}

static struct store_request *redis_store_load(struct store *base, const struct store_key *k, store_loaded_fn *done,
                                              void *arg)
{
	struct redis_store *s = (struct redis_store *)base;
	struct load *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	*l = (struct load){
		.base = {.base.ops = base->ops, .kind = REQUEST_LOAD}, .store = s, .loaded = done, .arg = arg};
	redis_keys_of(&l->keys, k->subject, k->thread_id, run_of(s, k->thread_id));
	LIST_INSERT_HEAD(&s->loads, l, next);
	l->sent = redis_turns_send(&l->stored, s->cache, &l->keys, s->redis, on_load_answered, l);
	if (l->sent != NULL)
		return &l->base.base;
	load_free(l);
	return NULL;
}

/* ---- deleting ---- */

static void deletion_free(struct deletion *d)
{
	LIST_REMOVE(d, next);
	free(d);
}

/* Those that wait go with what is stored, or stay with it. */
static void end_waiting(const struct deletion *d, bool deleted)
{
	struct append *a;

	TAILQ_FOREACH(a, &d->store->queue, next)
	{
		if (a->deletion == d) {
			a->deletion = NULL;
			a->deleted = deleted;
		}
	}
	event_active(d->store->pump, EV_TIMEOUT, 0);
}

static void on_delete_answered(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct deletion *d = arg;
	store_deleted_fn *done = d->done;
	void *done_arg = d->arg;
	const bool found = d->found || (e == NULL && reply->type == REDIS_NUMBER && reply->number > 0);

	end_waiting(d, e == NULL);
	deletion_free(d);
	if (done != NULL)
		done(done_arg, found && e == NULL, e);
}

static struct store_request *redis_store_delete(struct store *base, const struct store_key *k, const char *response,
                                                store_deleted_fn *done, void *arg)
{
	struct redis_store *s = (struct redis_store *)base;
	struct deletion *d = calloc(1, sizeof *d);
	struct redis_keys keys;
	struct append *a;

	if (d == NULL)
		return NULL;
	*d = (struct deletion){
		.base = {.base.ops = base->ops, .kind = REQUEST_DELETE}, .store = s, .done = done, .arg = arg};
	redis_keys_of(&keys, k->subject, k->thread_id, run_of(s, k->thread_id));
	LIST_INSERT_HEAD(&s->deletions, d, next);
	d->sent = redis_delete_run(s->redis, &keys, response, on_delete_answered, d);
	if (d->sent == NULL) {
		deletion_free(d);
		return NULL;
	}
	TAILQ_FOREACH(a, &s->queue, next)
	{
		if (!a->deleted && a->deletion == NULL && strcmp(a->keys.turns, keys.turns) == 0 &&
		    (response == NULL || (a->answer != NULL && strcmp(a->answer, response) == 0))) {
			a->deletion = d;
			d->found = true;
		}
	}
	return &d->base.base;
}

static void redis_store_cancel(struct store_request *request)
{
	struct request *r = (struct request *)request;
	struct load *l = (struct load *)request;

	if (r->kind == REQUEST_APPEND)
		((struct append *)request)->saved = NULL;
	else if (r->kind == REQUEST_DELETE)
		((struct deletion *)request)->done = NULL;
	else if (l->job != NULL)
		background_cancel(l->job);
	else
		load_free(l);
}

/* ---- the store ---- */

struct flush {
	struct event_base *base;
	size_t left, failed;
};

static void on_flushed(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct flush *f = arg;

	(void)reply;
	f->failed += e != NULL;
	if (--f->left == 0)
		event_base_loopbreak(f->base);
}

/* Writes what waits, on a loop of its own, for a moment at most. What was sent before is sent again: it is stored once.
 */
static void flush(struct redis_store *s)
{
	struct flush f = {.base = event_base_new()};
	struct err e = ERR_INIT;
	const struct timeval max = clock_timeval_ms(FLUSH_MS);
	struct redis *redis = f.base != NULL ? redis_store_client(f.base, s->url, s->config, NULL, NULL, &e) : NULL;
	const struct append *a;

	TAILQ_FOREACH(a, &s->queue, next)
	if (a->deleted || a->deletion != NULL)
		continue;
	else if (redis != NULL && a->text != NULL && run_append(redis, a, on_flushed, &f) != NULL)
		f.left++;
	else
		f.failed++;
	if (f.left > 0) {
		event_base_loopexit(f.base, &max);
		event_base_dispatch(f.base);
	}
	f.failed += f.left;
	redis_free(redis);
	if (f.base != NULL)
		event_base_free(f.base);
	if (f.failed == 0)
		return;
	counters_add(s->limits.counters, COUNTER_TURNS_LOST, (int64_t)f.failed);
	log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", "the service ends while turns wait to be stored"),
	          L_INT("turns_lost", f.failed));
}

static void redis_store_free(struct store *base)
{
	struct redis_store *s = (struct redis_store *)base;
	struct append *a;

	redis_free(s->redis);
	if (s->background != NULL)
		background_free(s->background);
	TAILQ_FOREACH(a, &s->queue, next)
	if (a->text == NULL && a->messages != NULL)
		encode(a);
	if (!TAILQ_EMPTY(&s->queue))
		flush(s);
	while (!LIST_EMPTY(&s->loads)) {
		LIST_FIRST(&s->loads)->sent = NULL;
		load_free(LIST_FIRST(&s->loads));
	}
	while (!LIST_EMPTY(&s->deletions))
		deletion_free(LIST_FIRST(&s->deletions));
	while (!TAILQ_EMPTY(&s->queue))
		append_free(TAILQ_FIRST(&s->queue));
	turn_cache_free(s->cache);
	if (s->away)
		counters_add(s->limits.counters, COUNTER_STORES_AWAY, -1);
	if (s->pump != NULL)
		event_free(s->pump);
	if (s->retry != NULL)
		event_free(s->retry);
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
	TAILQ_INIT(&s->queue);
	LIST_INIT(&s->loads);
	LIST_INIT(&s->deletions);
	snprintf(s->run, sizeof s->run, "%s", place->run);
	s->config = place->config != NULL ? config_ref((struct config *)(uintptr_t)place->config) : NULL;
	s->url = strdup(place->url);
	s->pump = event_new(s->loop, -1, 0, on_pump, s);
	s->retry = event_new(s->loop, -1, 0, on_retry, s);
	s->background = background_new(s->loop, e);
	s->cache = turn_cache_new(CACHE_BYTES);
	if (s->url != NULL && s->pump != NULL && s->retry != NULL && s->background != NULL && s->cache != NULL)
		s->redis = redis_store_client(s->loop, s->url, s->config, on_changed, s, e);
	if (s->redis != NULL)
		return &s->base;
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
