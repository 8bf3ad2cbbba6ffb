/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/redis_unsaved.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/store/redis_thread.h"
#include "core/store/turn_cache.h"
#include "core/store/turn_cut.h"

#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#define OVERHEAD      384        /* what one takes besides its text */
#define UNSAVED_BYTES (16 << 20) /* where no limit says how much */
#define SENT_AT_ONCE  32         /* appends; as many ids are remembered of each thread */
#define TRIES_AT_ONCE 3
#define RETRY_MS      1000
#define FLUSH_MS      2000

/* A turn, and only what is sent of it: thousands may wait. */
struct append {
	struct redis_store_request request; /* the caller's until saved was called */
	TAILQ_ENTRY(append) next, next_of_thread;
	struct thread *thread;
	struct encoding *encoding; /* NULL: it is text */
	char *text;
	size_t len, weight;
	int64_t at_ms;
	store_saved_fn *saved; /* NULL: nobody waits */
	void *arg;
	const void *deletion; /* while that is under way; NULL: none is to delete this turn */
	enum { APPEND_ENCODING, APPEND_WAITING, APPEND_SENT } state;
	uint8_t tries;
	bool late; /* it could not be stored at once */
	bool deleted;
	char id[REDIS_TURN_ID + 1];
	char answer[]; /* store_answer_of */
};
TAILQ_HEAD(append_queue, append);

/* A turn that is to become text. */
struct encoding {
	struct append *append;
	json_t *messages;
	struct store_limits limits;
	char *text;
};

/* The turns of one thread, as long as there are any. */
struct thread {
	struct unsaved *unsaved;
	struct append_queue appends;
	TAILQ_ENTRY(thread) next;
	struct thread_list *list; /* ready or blocked; NULL: it has nothing to be sent */
	struct store_key *key;
};
TAILQ_HEAD(thread_list, thread);

struct unsaved {
	struct unsaved_options options;
	struct redis *redis;
	struct append_queue queue;
	void *tree;                        /* of threads, for tsearch */
	struct thread_list ready, blocked; /* blocked: Redis did not take the last turn that was sent */
	size_t waiting, bytes, sent;
	struct event *pump, *retry;
	bool away, refuses; /* as logged */
	int64_t lost;       /* since that was logged */
};

/* ---- threads ---- */

static int compare(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;
	int order = strcmp(x->key->thread_id, y->key->thread_id);

	return order != 0 ? order : strcmp(x->key->subject, y->key->subject);
}

static struct thread *find_thread(struct unsaved *u, const struct store_key *k)
{
	const struct thread wanted = {.key = (struct store_key *)(uintptr_t)k};
	void *found = tfind(&wanted, &u->tree, compare);

	return found != NULL ? *(struct thread **)found : NULL;
}

static struct thread *thread_new(struct unsaved *u, const struct store_key *k)
{
	struct thread *t = malloc(sizeof *t);

	if (t == NULL)
		return NULL;
	*t = (struct thread){.unsaved = u, .key = store_key_copy(k)};
	TAILQ_INIT(&t->appends);
	if (t->key != NULL && tsearch(t, &u->tree, compare) != NULL)
		return t;
	free(t->key);
	free(t);
	return NULL;
}

static void put(struct thread *t, struct thread_list *list)
{
	if (t->list != NULL)
		TAILQ_REMOVE(t->list, t, next);
	t->list = list;
	if (list != NULL)
		TAILQ_INSERT_TAIL(list, t, next);
}

/* Something of it may have to be sent. */
static void ready(struct thread *t)
{
	if (t->list == NULL)
		put(t, &t->unsaved->ready);
}

/* The first threads, or all. */
static void unblock(struct unsaved *u, size_t most)
{
	struct thread *t;

	while (most-- > 0 && (t = TAILQ_FIRST(&u->blocked)) != NULL)
		put(t, &u->ready);
}

static void thread_free(struct thread *t)
{
	put(t, NULL);
	tdelete(t, &t->unsaved->tree, compare);
	free(t->key);
	free(t);
}

/* ---- turns ---- */

static void weigh(struct append *a, size_t weight)
{
	struct unsaved *u = a->thread->unsaved;

	u->bytes = u->bytes - a->weight + weight;
	a->weight = weight;
}

static struct append *append_new(struct unsaved *u, const struct store_key *k, const char *answer)
{
	const size_t len = strlen(answer) + 1;
	struct thread *t = find_thread(u, k);
	struct append *a = malloc(sizeof *a + len);
	uint64_t id;

	if (t == NULL)
		t = thread_new(u, k);
	if (a == NULL || t == NULL || getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id) {
		if (t != NULL && TAILQ_EMPTY(&t->appends))
			thread_free(t);
		free(a);
		return NULL;
	}
	*a = (struct append){.request.base.ops = &store_redis, .thread = t, .at_ms = clock_wall_ms()};
	snprintf(a->id, sizeof a->id, "%016" PRIx64, id);
	memcpy(a->answer, answer, len);
	TAILQ_INSERT_TAIL(&u->queue, a, next);
	TAILQ_INSERT_TAIL(&t->appends, a, next_of_thread);
	u->waiting++;
	counters_add(u->options.limits->counters, COUNTER_TURNS_UNSAVED, 1);
	return a;
}

/* The thread goes with its last turn. */
static void append_free(struct append *a)
{
	struct thread *t = a->thread;
	struct unsaved *u = t->unsaved;

	weigh(a, 0);
	TAILQ_REMOVE(&u->queue, a, next);
	TAILQ_REMOVE(&t->appends, a, next_of_thread);
	if (TAILQ_EMPTY(&t->appends))
		thread_free(t);
	u->waiting--;
	counters_add(u->options.limits->counters, COUNTER_TURNS_UNSAVED, -1);
	free(a->text);
	free(a);
}

static void finish(struct append *a, const struct err *e)
{
	store_saved_fn *saved = a->saved;
	void *arg = a->arg;

	append_free(a);
	if (saved != NULL)
		saved(arg, e);
}

static void lose(struct append *a, const struct err *why)
{
	struct unsaved *u = a->thread->unsaved;

	u->lost++;
	counters_add(u->options.limits->counters, COUNTER_TURNS_LOST, 1);
	finish(a, why);
}

/* The oldest go first; not those that the server may have stored by now. */
static void drop_surplus(struct unsaved *u)
{
	const size_t limit = u->options.limits->unsaved_bytes, max = limit > 0 ? limit : UNSAVED_BYTES;
	struct append *a = TAILQ_FIRST(&u->queue);
	struct err why = ERR_INIT;

	err_set(&why, "too many turns wait for the conversations' server");
	while (a != NULL && u->bytes > max) {
		struct append *next = TAILQ_NEXT(a, next);

		if (a->state == APPEND_WAITING)
			lose(a, &why);
		a = next;
	}
}

/* ---- sending ---- */

static void note_away(struct unsaved *u, bool away, const struct err *why)
{
	if (away == u->away)
		return;
	u->away = away;
	counters_add(u->options.limits->counters, COUNTER_STORES_AWAY, away ? 1 : -1);
	if (away)
		log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", why->text),
		          L_STR("effect", "chats go on without their history; what is to be stored waits"));
	else
		log_event(LOG_THREADS_REDIS, L_INT("turns_to_store", u->waiting), L_INT("turns_lost", u->lost));
	if (!away)
		u->lost = 0;
}

static void retry_later(struct unsaved *u)
{
	const struct timeval t = clock_timeval_ms(RETRY_MS);

	if (!event_pending(u->retry, EV_TIMEOUT, NULL))
		event_add(u->retry, &t);
}

static void block(struct append *a, const struct err *e)
{
	store_saved_fn *saved = a->saved;

	a->late = true;
	a->tries = 0;
	a->saved = NULL;
	put(a->thread, &a->thread->unsaved->blocked);
	retry_later(a->thread->unsaved);
	if (saved != NULL)
		saved(a->arg, e);
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

static void not_stored(struct append *a, const struct redis_reply *reply, const struct err *e)
{
	struct unsaved *u = a->thread->unsaved;
	struct redis_state state;

	redis_state(u->redis, &state);
	if (a->deleted) {
		finish(a, NULL);
	} else if (reply == NULL) {
		/* A connection that is made again at once fails nobody. */
		if (!state.usable || a->tries >= TRIES_AT_ONCE)
			block(a, e);
	} else if (is_for_now(reply)) {
		if (!u->refuses)
			log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", e->text),
			          L_STR("effect", "what is to be stored waits"));
		u->refuses = true;
		block(a, e);
	} else {
		log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", e->text), L_STR("effect", "a turn is not stored"));
		lose(a, e);
	}
}

static void on_appended(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct append *a = arg;
	struct unsaved *u = a->thread->unsaved;

	u->sent--;
	a->state = APPEND_WAITING;
	ready(a->thread);
	event_active(u->pump, EV_TIMEOUT, 0);
	if (e != NULL) {
		not_stored(a, reply, e);
		return;
	}
	if (u->refuses)
		log_event(LOG_THREADS_REDIS, L_INT("turns_to_store", u->waiting));
	u->refuses = false;
	if (a->late) /* as others may be by now */
		unblock(u, SIZE_MAX);
	finish(a, NULL);
}

static struct redis_request *run_append(struct redis *redis, const struct append *a, redis_done_fn *done, void *arg)
{
	const struct store_key *key = a->thread->key;
	const struct unsaved_options *o = &a->thread->unsaved->options;
	const bool is_short = store_id_is_short(key->thread_id);
	struct redis_keys keys;
	struct redis_append run = {.keys = &keys,
	                           .key = key,
	                           .run = is_short ? o->run : "",
	                           .messages = a->text,
	                           .len = a->len,
	                           .at_ms = a->at_ms,
	                           .created_ms = a->at_ms,
	                           .expire_ms = is_short ? o->limits->short_id_idle_ms : o->limits->expire_ms,
	                           .thread_bytes = o->limits->thread_bytes,
	                           .late = a->late};

	redis_keys_of(&keys, key->subject, key->thread_id, run.run);
	memcpy(run.id, a->id, sizeof run.id);
	return redis_append_run(redis, &run, done, arg);
}

/* Only those that are being sent may be before it. */
static struct append *next_to_send(const struct thread *t)
{
	struct append *a = TAILQ_FIRST(&t->appends);

	while (a != NULL && a->state == APPEND_SENT)
		a = TAILQ_NEXT(a, next_of_thread);
	return a != NULL && a->state == APPEND_WAITING && a->deletion == NULL ? a : NULL;
}

static void send_next(struct unsaved *u)
{
	struct thread *t;

	while (u->sent < SENT_AT_ONCE && (t = TAILQ_FIRST(&u->ready)) != NULL) {
		struct append *a = next_to_send(t);

		if (a == NULL) {
			put(t, NULL);
			continue;
		}
		a->tries++;
		if (run_append(u->redis, a, on_appended, a) == NULL)
			break; /* too much is on its way, or no memory: the next answer, or the timer, goes on */
		a->state = APPEND_SENT;
		u->sent++;
	}
	if (u->sent == 0 && !TAILQ_EMPTY(&u->ready))
		retry_later(u);
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct unsaved *u = arg;

	(void)fd, (void)what;
	drop_surplus(u);
	send_next(u);
}

/* Where one of them is stored, all others are sent; so that a server that is away costs little, however many wait. */
static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct unsaved *u = arg;

	(void)fd, (void)what;
	unblock(u, SENT_AT_ONCE);
	send_next(u);
	if (!TAILQ_EMPTY(&u->blocked))
		retry_later(u);
}

void unsaved_client_changed(struct unsaved *u, bool usable, const struct err *why)
{
	note_away(u, !usable, why);
	if (!usable)
		return;
	unblock(u, SIZE_MAX);
	send_next(u);
}

/* ---- appending ---- */

static void encode(void *arg)
{
	struct encoding *c = arg;
	const size_t len = json_dumpb(c->messages, NULL, 0, JSON_COMPACT);
	json_t *cut;

	if (c->limits.turn_bytes == 0 || len <= c->limits.turn_bytes) {
		c->text = json_dumps(c->messages, JSON_COMPACT);
	} else {
		cut = turn_cut(c->messages, len, &c->limits);
		c->text = cut != NULL ? json_dumps(cut, JSON_COMPACT) : NULL;
		json_decref(cut);
	}
}

/* The turn, as text from now on. */
static struct append *take_text(struct encoding *c)
{
	struct append *a = c->append;

	a->text = c->text;
	a->len = c->text != NULL ? strlen(c->text) : 0;
	a->encoding = NULL;
	a->state = APPEND_WAITING;
	weigh(a, a->len + OVERHEAD);
	put(a->thread, &a->thread->unsaved->ready); /* also a blocked one: who waits for the turn is told soon */
	json_decref(c->messages);
	free(c);
	return a;
}

static void on_encoded(void *arg)
{
	struct append *a = take_text(arg);
	struct err e = ERR_INIT;

	event_active(a->thread->unsaved->pump, EV_TIMEOUT, 0);
	err_set(&e, "no memory, or the turn is not UTF-8");
	if (a->deleted)
		finish(a, NULL);
	else if (a->text == NULL)
		lose(a, &e);
}

/* The store is being freed; the turn is flushed. */
static void on_dropped(void *arg)
{
	struct encoding *c = arg;

	if (c->text == NULL)
		encode(c);
	take_text(c);
}

static void cancel(struct redis_store_request *request)
{
	((struct append *)request)->saved = NULL;
}

struct redis_store_request *unsaved_append(struct unsaved *u, const struct store_key *k, json_t *messages,
                                           store_saved_fn *done, void *arg)
{
	static const struct background_work work = {.run = encode, .done = on_encoded, .drop = on_dropped};
	struct append *a = append_new(u, k, store_answer_of(messages));
	struct encoding *c = a != NULL ? malloc(sizeof *c) : NULL;

	if (c == NULL) {
		json_decref(messages);
		if (a != NULL)
			append_free(a);
		return NULL;
	}
	*c = (struct encoding){.append = a, .messages = messages, .limits = *u->options.limits};
	a->request.cancel = cancel;
	a->encoding = c;
	weigh(a, turn_cache_weight(messages));
	if (a->weight <= BACKGROUND_MIN || background_start(u->options.background, &work, c) == NULL) {
		encode(c);
		take_text(c);
		if (a->text == NULL) {
			append_free(a);
			return NULL;
		}
		event_active(u->pump, EV_TIMEOUT, 0);
	}
	a->saved = done;
	a->arg = arg;
	return &a->request;
}

/* ---- what loads and deletions see ---- */

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

void unsaved_add_turns(struct unsaved *u, const struct store_key *k, const json_t *stored, json_t *all)
{
	const struct thread *t = find_thread(u, k);
	const struct append *a;

	if (t == NULL)
		return;
	TAILQ_FOREACH(a, &t->appends, next_of_thread)
	{
		if (a->deleted || a->deletion != NULL || has_turn(stored, a->id))
			continue;
		json_array_append_new(all, a->encoding == NULL ? json_loadb(a->text, a->len, JSON_ALLOW_NUL, NULL)
		                                               : json_deep_copy(a->encoding->messages));
	}
}

bool unsaved_begin_deletion(struct unsaved *u, const struct store_key *k, const char *response, const void *deletion)
{
	const struct thread *t = find_thread(u, k);
	bool found = false;
	struct append *a;

	if (t == NULL)
		return false;
	TAILQ_FOREACH(a, &t->appends, next_of_thread)
	{
		if (!a->deleted && a->deletion == NULL && (response == NULL || strcmp(a->answer, response) == 0)) {
			a->deletion = deletion;
			found = true;
		}
	}
	return found;
}

/* What the server is being sent may be stored by now, or not: its answer says that it was, and no more. */
void unsaved_end_deletion(struct unsaved *u, const struct store_key *k, const void *deletion, bool deleted)
{
	struct thread *t = find_thread(u, k);
	struct append *a = t != NULL ? TAILQ_FIRST(&t->appends) : NULL;

	if (t == NULL)
		return;
	ready(t);
	event_active(u->pump, EV_TIMEOUT, 0);
	while (a != NULL) {
		struct append *next = TAILQ_NEXT(a, next_of_thread);

		if (a->deletion == deletion) {
			a->deletion = NULL;
			a->deleted = deleted;
			if (deleted && a->state == APPEND_WAITING)
				finish(a, NULL);
		}
		a = next;
	}
}

/* ---- the end ---- */

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

void unsaved_flush(struct unsaved *u, struct event_base *base, struct redis *redis)
{
	const struct timeval max = clock_timeval_ms(FLUSH_MS);
	struct flush f = {.base = base};
	const struct append *a;

	TAILQ_FOREACH(a, &u->queue, next)
	if (a->deleted || a->deletion != NULL)
		continue;
	else if (redis != NULL && a->text != NULL && run_append(redis, a, on_flushed, &f) != NULL)
		f.left++;
	else
		f.failed++;
	if (f.left > 0) {
		event_base_loopexit(base, &max);
		event_base_dispatch(base);
	}
	f.failed += f.left;
	if (f.failed == 0)
		return;
	counters_add(u->options.limits->counters, COUNTER_TURNS_LOST, (int64_t)f.failed);
	log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", "the service ends while turns wait to be stored"),
	          L_INT("turns_lost", f.failed));
}

bool unsaved_is_empty(const struct unsaved *u)
{
	return u->waiting == 0;
}

void unsaved_free(struct unsaved *u)
{
	if (u == NULL)
		return;
	while (!TAILQ_EMPTY(&u->queue))
		append_free(TAILQ_FIRST(&u->queue));
	if (u->away)
		counters_add(u->options.limits->counters, COUNTER_STORES_AWAY, -1);
	if (u->pump != NULL)
		event_free(u->pump);
	if (u->retry != NULL)
		event_free(u->retry);
	free(u);
}

struct unsaved *unsaved_new(const struct unsaved_options *o)
{
	struct unsaved *u = calloc(1, sizeof *u);

	if (u == NULL)
		return NULL;
	u->options = *o;
	TAILQ_INIT(&u->queue);
	TAILQ_INIT(&u->ready);
	TAILQ_INIT(&u->blocked);
	u->pump = event_new(o->base, -1, 0, on_pump, u);
	u->retry = event_new(o->base, -1, 0, on_retry, u);
	if (u->pump != NULL && u->retry != NULL)
		return u;
	unsaved_free(u);
	return NULL;
}

void unsaved_set_client(struct unsaved *u, struct redis *redis)
{
	u->redis = redis;
}
