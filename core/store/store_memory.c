/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations in this process's memory: a tree of threads. Where they are too many or too big,
 * the least recently used goes first. */
#include "core/store/store_impl.h"
#include "core/store/turn_cache.h"

#include "core/base/clock.h"
#include "core/store/turn_cut.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define THREAD_OVERHEAD 512 /* what a thread needs besides its turns, about */

struct thread {
	TAILQ_ENTRY(thread) used;
	struct lifetime *lifetime;
	int64_t used_ms; /* CLOCK_BOOTTIME */
	char *subject, *thread_id;
	json_t *turns;
	size_t bytes; /* of the turns: turn_cache_weight */
};

/* Threads that expire after the same time, the least recently used first. */
struct lifetime {
	int64_t idle_ms; /* 0: never */
	TAILQ_HEAD(, thread) used;
};

struct request {
	struct store_request base;
	TAILQ_ENTRY(request) open;
	struct memory *store;
	struct event *answer;
	json_t *turns; /* of a load */
	bool found;    /* of a deletion */
	store_loaded_fn *loaded;
	store_saved_fn *saved;
	store_deleted_fn *deleted; /* NULL: none waits, as the others */
	void *arg;
};

struct memory {
	struct store base;
	struct event_base *loop;
	void *tree; /* of threads, for tsearch */
	size_t count;
	int64_t bytes; /* of all threads, with the overheads */
	struct store_limits limits;
	struct lifetime short_ids, long_ids;
	TAILQ_HEAD(, request) requests;
};

/* ---- threads ---- */

static int compare(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;
	int order = strcmp(x->thread_id, y->thread_id);

	return order != 0 ? order : strcmp(x->subject, y->subject);
}

static void thread_free(struct thread *t)
{
	free(t->subject);
	free(t->thread_id);
	json_decref(t->turns);
	free(t);
}

static struct thread *find(struct memory *m, const struct store_key *k)
{
	const struct thread wanted = {.subject = (char *)(uintptr_t)k->subject,
	                              .thread_id = (char *)(uintptr_t)k->thread_id};
	void *found = tfind(&wanted, &m->tree, compare);

	return found != NULL ? *(struct thread **)found : NULL;
}

static void drop(struct memory *m, struct thread *t)
{
	tdelete(t, &m->tree, compare);
	TAILQ_REMOVE(&t->lifetime->used, t, used);
	m->count--;
	counters_add(m->limits.counters, COUNTER_THREADS_IN_MEMORY, -1);
	m->bytes -= THREAD_OVERHEAD + (int64_t)t->bytes;
	thread_free(t);
}

static void drop_expired(struct memory *m, const struct lifetime *l, int64_t now_ms)
{
	struct thread *t;

	while (l->idle_ms > 0 && (t = TAILQ_FIRST(&l->used)) != NULL && now_ms - t->used_ms > l->idle_ms)
		drop(m, t);
}

static void drop_least_recent(struct memory *m)
{
	struct thread *a = TAILQ_FIRST(&m->short_ids.used), *b = TAILQ_FIRST(&m->long_ids.used);

	drop(m, b == NULL || (a != NULL && a->used_ms < b->used_ms) ? a : b);
}

/* The last one stays, and with it the thread that was just used. */
static void evict(struct memory *m)
{
	while (m->count > 1 &&
	       (m->count > m->limits.max_threads || (m->limits.max_bytes > 0 && m->bytes > m->limits.max_bytes))) {
		drop_least_recent(m);
		counters_add(m->limits.counters, COUNTER_THREADS_EVICTED, 1);
	}
}

static struct thread *add(struct memory *m, const struct store_key *k)
{
	struct thread *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->lifetime = store_id_is_short(k->thread_id) ? &m->short_ids : &m->long_ids;
	t->used_ms = clock_boot_ms();
	t->subject = strdup(k->subject);
	t->thread_id = strdup(k->thread_id);
	t->turns = json_array();
	if (t->subject == NULL || t->thread_id == NULL || t->turns == NULL || tsearch(t, &m->tree, compare) == NULL) {
		thread_free(t);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&t->lifetime->used, t, used);
	m->count++;
	counters_add(m->limits.counters, COUNTER_THREADS_IN_MEMORY, 1);
	m->bytes += THREAD_OVERHEAD;
	return t;
}

static void touch(struct thread *t)
{
	t->used_ms = clock_boot_ms();
	TAILQ_REMOVE(&t->lifetime->used, t, used);
	TAILQ_INSERT_TAIL(&t->lifetime->used, t, used);
}

/* The thread of that key unless it has expired. */
static struct thread *look_up(struct memory *m, const struct store_key *k)
{
	int64_t now_ms = clock_boot_ms();

	drop_expired(m, &m->short_ids, now_ms);
	drop_expired(m, &m->long_ids, now_ms);
	return find(m, k);
}

static void drop_turn(struct memory *m, struct thread *t, size_t at)
{
	const size_t size = turn_cache_weight(json_array_get(t->turns, at));

	t->bytes -= size;
	m->bytes -= (int64_t)size;
	json_array_remove(t->turns, at);
}

/* messages is stolen. */
static int append_turn(struct memory *m, const struct store_key *k, json_t *messages)
{
	const size_t thread_max = m->limits.thread_bytes > 0 ? m->limits.thread_bytes : STORE_THREAD_BYTES_MAX;
	size_t size = turn_cache_weight(messages);
	struct thread *t = look_up(m, k);

	if (m->limits.turn_bytes > 0 && size > m->limits.turn_bytes) {
		size_t len = json_dumpb(messages, NULL, 0, JSON_COMPACT);
		json_t *cut = len > m->limits.turn_bytes ? turn_cut(messages, len, &m->limits) : json_incref(messages);

		json_decref(messages);
		messages = cut;
		size = turn_cache_weight(messages);
	}
	if (t == NULL)
		t = add(m, k);
	if (t == NULL || messages == NULL) {
		json_decref(messages);
		return -1;
	}
	touch(t);
	if (json_array_size(t->turns) == STORE_TURNS_MAX)
		drop_turn(m, t, 0);
	if (json_array_append_new(t->turns, messages) < 0)
		return -1;
	t->bytes += size;
	m->bytes += (int64_t)size;
	while (t->bytes > thread_max && json_array_size(t->turns) > 1)
		drop_turn(m, t, 0);
	evict(m);
	return 0;
}

static bool delete_turns(struct memory *m, const struct store_key *k, const char *response)
{
	struct thread *t = look_up(m, k);
	size_t at = 0;

	if (t == NULL)
		return false;
	if (response != NULL) {
		while (at < json_array_size(t->turns) &&
		       strcmp(store_answer_of(json_array_get(t->turns, at)), response) != 0)
			at++;
		if (at == json_array_size(t->turns))
			return false;
		drop_turn(m, t, at);
	}
	if (response == NULL || json_array_size(t->turns) == 0)
		drop(m, t);
	return true;
}

/* ---- requests: answered from the loop ---- */

static void request_free(struct request *r)
{
	TAILQ_REMOVE(&r->store->requests, r, open);
	event_free(r->answer);
	json_decref(r->turns);
	free(r);
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct request *r = arg;
	const struct request answer = *r;

	(void)fd;
	(void)what;
	/* The callback may free the store. */
	r->turns = NULL;
	request_free(r);
	if (answer.loaded != NULL)
		answer.loaded(answer.arg, answer.turns, NULL);
	else if (answer.saved != NULL)
		answer.saved(answer.arg, NULL);
	else if (answer.deleted != NULL)
		answer.deleted(answer.arg, answer.found, NULL);
	json_decref(answer.turns);
}

static struct request *request_new(struct memory *m, void *arg)
{
	struct request *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->base.ops = m->base.ops;
	r->store = m;
	r->arg = arg;
	r->answer = event_new(m->loop, -1, 0, on_answer, r);
	if (r->answer == NULL) {
		free(r);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&m->requests, r, open);
	return r;
}

static struct store_request *memory_load(struct store *s, const struct store_key *k, store_loaded_fn *done, void *arg)
{
	struct memory *m = (struct memory *)s;
	struct thread *t = look_up(m, k);
	struct request *r = request_new(m, arg);

	if (r == NULL)
		return NULL;
	/* A copy of the list, as the thread may grow; the turns themselves never change. */
	r->turns = t != NULL ? json_copy(t->turns) : json_array();
	if (r->turns == NULL) {
		request_free(r);
		return NULL;
	}
	if (t != NULL)
		touch(t);
	r->loaded = done;
	event_active(r->answer, EV_TIMEOUT, 0);
	return &r->base;
}

static struct store_request *memory_append(struct store *s, const struct store_key *k, json_t *messages,
                                           store_saved_fn *done, void *arg)
{
	struct memory *m = (struct memory *)s;
	struct request *r = request_new(m, arg);

	if (r == NULL) {
		json_decref(messages);
		return NULL;
	}
	if (append_turn(m, k, messages) < 0) {
		request_free(r);
		return NULL;
	}
	r->saved = done;
	event_active(r->answer, EV_TIMEOUT, 0);
	return &r->base;
}

static struct store_request *memory_delete(struct store *s, const struct store_key *k, const char *response,
                                           store_deleted_fn *done, void *arg)
{
	struct memory *m = (struct memory *)s;
	struct request *r = request_new(m, arg);

	if (r == NULL)
		return NULL;
	r->found = delete_turns(m, k, response);
	r->deleted = done;
	event_active(r->answer, EV_TIMEOUT, 0);
	return &r->base;
}

static void memory_cancel(struct store_request *request)
{
	request_free((struct request *)request);
}

static void memory_free(struct store *s)
{
	struct memory *m = (struct memory *)s;

	while (!TAILQ_EMPTY(&m->requests))
		request_free(TAILQ_FIRST(&m->requests));
	while (m->count > 0)
		drop_least_recent(m);
	free(m);
}

static void memory_configure(struct store *s, const struct store_limits *limits)
{
	struct memory *m = (struct memory *)s;

	m->short_ids.idle_ms = limits->short_id_idle_ms;
	m->long_ids.idle_ms = limits->expire_ms;
	m->limits = *limits;
	evict(m);
}

static struct store *memory_open(const struct store_place *place, const struct store_limits *limits, struct err *e)
{
	struct memory *m = calloc(1, sizeof *m);

	assert(limits->max_threads > 0);
	if (m == NULL) {
		err_set(e, "no memory for the conversations");
		return NULL;
	}
	m->base.ops = &store_memory;
	m->loop = place->base;
	memory_configure(&m->base, limits);
	TAILQ_INIT(&m->short_ids.used);
	TAILQ_INIT(&m->long_ids.used);
	TAILQ_INIT(&m->requests);
	return &m->base;
}

static struct store_admin *memory_admin_open(const struct store_place *place, struct err *e)
{
	(void)place;
	err_set(e,
	        "conversations are in the memory of the responder's workers (threads.store is memory:), so there is "
	        "nothing to list, show, export or delete; they end with the workers");
	return NULL;
}

/* No handle is ever opened, so no other operation is ever called. */
static const struct store_admin_ops memory_admin_ops = {.open = memory_admin_open};

const struct store_ops store_memory = {
	.open = memory_open,
	.load = memory_load,
	.append = memory_append,
	.delete = memory_delete,
	.cancel = memory_cancel,
	.configure = memory_configure,
	.free = memory_free,
	.admin = &memory_admin_ops,
};
