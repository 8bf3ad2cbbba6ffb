/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/redis_unsaved_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/store/turn_cache.h"
#include "core/store/turn_cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TRIES_AT_ONCE 3
#define FLUSH_MS      2000

/* A turn that is to become text. */
struct encoding {
	struct append *append;
	json_t *messages;
	struct store_limits limits;
	char *text;
};

/* ---- turns ---- */

static void finish(struct append *a, const struct err *e)
{
	struct unsaved *u = a->thread->unsaved;
	store_saved_fn *saved = a->saved;
	void *arg = a->arg;

	if (a->row != 0)
		spooling_settle(u, a, true);
	append_free(a);
	unsaved_count(u);
	if (saved != NULL)
		saved(arg, e);
}

static void lose(struct append *a, const struct err *why)
{
	unsaved_count_lost(a->thread->unsaved, 1);
	finish(a, why);
}

/* The oldest go first; not those that the server may have stored by now. */
static void drop_surplus(struct unsaved *u)
{
	const size_t max = spooling_works(u) ? UNSAVED_BYTES : unsaved_max_bytes(u);
	struct append *a = TAILQ_FIRST(&u->queue);
	struct err why = ERR_INIT;

	err_set(&why, "too many turns wait for the conversations' server");
	while (a != NULL && u->bytes > max) {
		struct append *next = TAILQ_NEXT(a, next);

		if (a->state == APPEND_WAITING && a->row == 0)
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
		log_event(LOG_THREADS_REDIS, L_INT("turns_to_store", u->counted), L_INT("turns_lost", u->lost));
	if (!away)
		u->lost = 0;
}

static void block(struct append *a, const struct err *e)
{
	struct unsaved *u = a->thread->unsaved;
	store_saved_fn *saved = a->saved;

	unsaved_retry_later(u);
	if (a->row != 0) {
		spooling_settle(u, a, false);
		append_free(a);
		return;
	}
	a->late = true;
	a->tries = 0;
	a->saved = NULL;
	thread_put(a->thread, &u->blocked);
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
	thread_ready(a->thread);
	event_active(u->pump, EV_TIMEOUT, 0);
	if (e != NULL) {
		not_stored(a, reply, e);
		return;
	}
	if (a->late) /* as others may be by now */
		threads_unblock(u, SIZE_MAX);
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

/* Only those that are being sent, or put on the disk, may be before it. */
static struct append *next_to_send(const struct thread *t)
{
	struct append *a = TAILQ_FIRST(&t->appends);

	while (a != NULL && (a->state == APPEND_SENT || a->state == APPEND_SPOOLING))
		a = TAILQ_NEXT(a, next_of_thread);
	return a != NULL && a->state == APPEND_WAITING && a->deletion == NULL ? a : NULL;
}

static void send_next(struct unsaved *u)
{
	struct thread *t;

	while (u->sent < UNSAVED_SENT_AT_ONCE && (t = TAILQ_FIRST(&u->ready)) != NULL) {
		struct append *a = next_to_send(t);

		if (a == NULL) {
			thread_put(t, NULL);
			continue;
		}
		a->tries++;
		if (run_append(u->redis, a, on_appended, a) == NULL)
			break; /* too much is on its way, or no memory: the next answer, or the timer, goes on */
		a->state = APPEND_SENT;
		u->sent++;
	}
	if (u->sent == 0 && !TAILQ_EMPTY(&u->ready))
		unsaved_retry_later(u);
}

/* Once all that was refused is stored: Redis may take some of it, and not the rest. */
static void note_taken(struct unsaved *u)
{
	if (!u->refuses || u->spooled > 0 || u->sent > 0 || !TAILQ_EMPTY(&u->blocked) || !TAILQ_EMPTY(&u->ready))
		return;
	log_event(LOG_THREADS_REDIS, L_INT("turns_to_store", u->counted));
	u->refuses = false;
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct unsaved *u = arg;

	(void)fd, (void)what;
	drop_surplus(u);
	spooling_put(u, false);
	spooling_take(u, false);
	send_next(u);
	note_taken(u);
}

/* Where one of them is stored, all others are sent; so that a server that is away costs little, however many wait. */
static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct unsaved *u = arg;

	(void)fd, (void)what;
	spooling_put(u, true);
	spooling_take(u, true);
	threads_unblock(u, UNSAVED_SENT_AT_ONCE);
	send_next(u);
	if (!TAILQ_EMPTY(&u->blocked))
		unsaved_retry_later(u);
}

void unsaved_client_changed(struct unsaved *u, bool usable, const struct err *why)
{
	note_away(u, !usable, why);
	if (!usable)
		return;
	spooling_scan(u);
	spooling_take(u, true);
	threads_unblock(u, SIZE_MAX);
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

	a->encoding = NULL;
	append_set_text(a, c->text, c->text != NULL ? strlen(c->text) : 0);
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
	unsaved_count(u);
	*c = (struct encoding){.append = a, .messages = messages, .limits = *u->options.limits};
	a->request.cancel = cancel;
	a->encoding = c;
	a->state = APPEND_ENCODING;
	append_weigh(a, turn_cache_weight(messages));
	if (a->weight <= BACKGROUND_MIN || background_start(u->options.background, &work, c) == NULL) {
		encode(c);
		take_text(c);
		if (a->text == NULL) {
			append_free(a);
			unsaved_count(u);
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

static const struct append *find_append(const struct thread *t, const char *id)
{
	const struct append *a;

	if (t == NULL)
		return NULL;
	TAILQ_FOREACH(a, &t->appends, next_of_thread)
	if (strcmp(a->id, id) == 0)
		return a;
	return NULL;
}

static bool is_deleted(const struct append *a)
{
	return a->deleted || a->deletion != NULL;
}

/* One that is in the spool may be here as well. */
void unsaved_add_turns(struct unsaved *u, const struct store_key *k, const json_t *stored, const json_t *spooled,
                       json_t *all)
{
	const struct thread *t = thread_find(u, k);
	const struct append *a;
	json_t *turn;
	size_t i;

	json_array_foreach(spooled, i, turn)
	{
		const char *id = json_string_value(json_array_get(turn, 0));

		a = find_append(t, id);
		if ((a == NULL || !is_deleted(a)) && !has_turn(stored, id))
			json_array_append(all, json_array_get(turn, 1));
	}
	if (t == NULL)
		return;
	TAILQ_FOREACH(a, &t->appends, next_of_thread)
	{
		if (is_deleted(a) || has_turn(stored, a->id) || has_turn(spooled, a->id))
			continue;
		json_array_append_new(all, a->encoding == NULL ? json_loadb(a->text, a->len, JSON_ALLOW_NUL, NULL)
		                                               : json_deep_copy(a->encoding->messages));
	}
}

void unsaved_begin_deletion(struct unsaved *u, struct unsaved_deletion *d)
{
	const struct thread *t = thread_find(u, d->key);
	struct append *a;

	LIST_INSERT_HEAD(&u->deletions, d, next);
	if (t == NULL)
		return;
	TAILQ_FOREACH(a, &t->appends, next_of_thread)
	{
		if (!is_deleted(a) && (d->response == NULL || strcmp(a->answer, d->response) == 0)) {
			a->deletion = d;
			d->found = true;
		}
	}
}

/* What the server is being sent may be stored by now, or not: its answer says that it was, and no more. */
static void on_deletion_ended(struct unsaved *u, struct unsaved_deletion *d, const struct err *e)
{
	struct thread *t = thread_find(u, d->key);
	struct append *a = t != NULL ? TAILQ_FIRST(&t->appends) : NULL;

	LIST_REMOVE(d, next);
	if (t != NULL) {
		thread_ready(t);
		event_active(u->pump, EV_TIMEOUT, 0);
	}
	while (a != NULL) {
		struct append *next = TAILQ_NEXT(a, next_of_thread);

		if (a->deletion == d) {
			a->deletion = NULL;
			a->deleted = e == NULL;
			if (a->deleted && a->state == APPEND_WAITING)
				finish(a, NULL);
		}
		a = next;
	}
	d->ended(d, e);
}

void unsaved_end_deletion(struct unsaved *u, struct unsaved_deletion *d, const struct err *failure)
{
	if (failure != NULL)
		on_deletion_ended(u, d, failure);
	else
		spooling_delete(u, d, on_deletion_ended);
}

/* ---- the end ---- */

struct flush {
	struct event_base *base;
	size_t left;
};

static void on_flushed(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct append *a = arg;
	struct flush *f = a->arg;

	(void)reply;
	a->flushed = e == NULL;
	if (--f->left == 0)
		event_base_loopbreak(f->base);
}

void unsaved_flush(struct unsaved *u, struct event_base *base, struct redis *redis)
{
	const struct timeval max = clock_timeval_ms(FLUSH_MS);
	struct flush f = {.base = base};
	struct append *a;
	size_t lost;

	TAILQ_FOREACH(a, &u->queue, next)
	{
		a->arg = &f;
		if (a->row == 0 && !is_deleted(a) && redis != NULL && a->text != NULL &&
		    run_append(redis, a, on_flushed, a) != NULL)
			f.left++;
	}
	if (f.left > 0) {
		event_base_loopexit(base, &max);
		event_base_dispatch(base);
	}
	lost = spooling_put_rest(u);
	if (lost == 0)
		return;
	counters_add(u->options.limits->counters, COUNTER_TURNS_LOST, (int64_t)lost);
	log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", "the service ends while turns wait to be stored"),
	          L_INT("turns_lost", lost));
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
	spooling_close(u);
	unsaved_count(u);
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
	LIST_INIT(&u->deletions);
	u->pump = event_new(o->base, -1, 0, on_pump, u);
	u->retry = event_new(o->base, -1, 0, on_retry, u);
	if (u->pump != NULL && u->retry != NULL) {
		spooling_open(u);
		return u;
	}
	unsaved_free(u);
	return NULL;
}

void unsaved_set_client(struct unsaved *u, struct redis *redis)
{
	u->redis = redis;
}
