/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/redis_unsaved_internal.h"

#include "core/base/clock.h"

#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define OVERHEAD 384 /* what one takes besides its text */
#define RETRY_MS 1000

/* ---- threads ---- */

static int compare(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;
	int order = strcmp(x->key->thread_id, y->key->thread_id);

	return order != 0 ? order : strcmp(x->key->subject, y->key->subject);
}

struct thread *thread_find(struct unsaved *u, const struct store_key *k)
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

void thread_put(struct thread *t, struct thread_list *list)
{
	if (t->list != NULL)
		TAILQ_REMOVE(t->list, t, next);
	t->list = list;
	if (list != NULL)
		TAILQ_INSERT_TAIL(list, t, next);
}

void thread_ready(struct thread *t)
{
	if (t->list == NULL)
		thread_put(t, &t->unsaved->ready);
}

void threads_unblock(struct unsaved *u, size_t most)
{
	struct thread *t;

	while (most-- > 0 && (t = TAILQ_FIRST(&u->blocked)) != NULL)
		thread_put(t, &u->ready);
}

static void thread_free(struct thread *t)
{
	thread_put(t, NULL);
	tdelete(t, &t->unsaved->tree, compare);
	free(t->key);
	free(t);
}

/* ---- turns ---- */

void append_weigh(struct append *a, size_t weight)
{
	struct unsaved *u = a->thread->unsaved;

	u->bytes = u->bytes - a->weight + weight;
	a->weight = weight;
}

struct append *append_new(struct unsaved *u, const struct store_key *k, const char *answer)
{
	const size_t len = strlen(answer) + 1;
	struct thread *t = thread_find(u, k);
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
	*a = (struct append){
		.request.base.ops = &store_redis, .thread = t, .at_ms = clock_wall_ms(), .state = APPEND_WAITING};
	snprintf(a->id, sizeof a->id, "%016" PRIx64, id);
	memcpy(a->answer, answer, len);
	TAILQ_INSERT_TAIL(&u->queue, a, next);
	TAILQ_INSERT_TAIL(&t->appends, a, next_of_thread);
	u->waiting++;
	return a;
}

void append_set_text(struct append *a, char *text, size_t len)
{
	a->text = text;
	a->len = len;
	a->state = APPEND_WAITING;
	append_weigh(a, a->row == 0 ? len + OVERHEAD : 0);
	thread_put(a->thread, &a->thread->unsaved->ready); /* also a blocked one: who waits for the turn is told soon */
}

/* The thread goes with its last turn. */
void append_free(struct append *a)
{
	struct thread *t = a->thread;
	struct unsaved *u = t->unsaved;

	append_weigh(a, 0);
	TAILQ_REMOVE(&u->queue, a, next);
	TAILQ_REMOVE(&t->appends, a, next_of_thread);
	if (TAILQ_EMPTY(&t->appends))
		thread_free(t);
	if (a->row == 0)
		u->waiting--;
	free(a->text);
	free(a);
}

void unsaved_count(struct unsaved *u)
{
	const int64_t now = (int64_t)u->waiting + u->spooled;

	counters_add(u->options.limits->counters, COUNTER_TURNS_UNSAVED, now - u->counted);
	u->counted = now;
}

void unsaved_count_lost(struct unsaved *u, int64_t turns)
{
	u->lost += turns;
	counters_add(u->options.limits->counters, COUNTER_TURNS_LOST, turns);
}

size_t unsaved_max_bytes(const struct unsaved *u)
{
	const size_t limit = u->options.limits->unsaved_bytes;

	return limit > 0 ? limit : UNSAVED_BYTES;
}

void unsaved_retry_later(struct unsaved *u)
{
	const struct timeval t = clock_timeval_ms(RETRY_MS);

	if (!event_pending(u->retry, EV_TIMEOUT, NULL))
		event_add(u->retry, &t);
}
