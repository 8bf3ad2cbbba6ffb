/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/recent.h"
#include "core/store/turn_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define PLACES   2048
#define OVERHEAD 32 /* of the allocator */

struct entry {
	struct recent_thread thread;
	TAILQ_ENTRY(entry) used; /* the least recently used first */
	int64_t hash;
	size_t bytes;
	json_t *turns; /* NULL: it is text so far */
	size_t thread_id_at, text_at, text_len;
	char strings[]; /* the subject, the thread's id, the text */
};

/* A thread has one place, from which it displaces another one. */
struct recent {
	struct entry *places[PLACES];
	TAILQ_HEAD(, entry) used;
	size_t bytes, max_bytes;
};

struct recent *recent_new(size_t max_bytes)
{
	struct recent *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	TAILQ_INIT(&r->used);
	r->max_bytes = max_bytes;
	return r;
}

static struct entry **place_of(struct recent *r, int64_t hash)
{
	return &r->places[((uint64_t)hash >> 32) % PLACES];
}

static void drop(struct recent *r, struct entry *e)
{
	*place_of(r, e->hash) = NULL;
	TAILQ_REMOVE(&r->used, e, used);
	r->bytes -= e->bytes;
	json_decref(e->turns);
	free(e);
}

void recent_free(struct recent *r)
{
	if (r == NULL)
		return;
	while (!TAILQ_EMPTY(&r->used))
		drop(r, TAILQ_FIRST(&r->used));
	free(r);
}

static struct entry *find(struct recent *r, int64_t hash, const struct store_key *k)
{
	struct entry *e = *place_of(r, hash);

	return e != NULL && e->hash == hash && strcmp(e->strings + e->thread_id_at, k->thread_id) == 0 &&
	                       strcmp(e->strings, k->subject) == 0
	               ? e
	               : NULL;
}

const struct recent_thread *recent_find(struct recent *r, int64_t hash, const struct store_key *k)
{
	const struct entry *e = find(r, hash, k);

	return e != NULL ? &e->thread : NULL;
}

void recent_drop(struct recent *r, int64_t hash, const struct store_key *k)
{
	struct entry *e = find(r, hash, k);

	if (e != NULL)
		drop(r, e);
}

/* The entry is used now, and has that many bytes more. */
static void grow(struct recent *r, struct entry *e, size_t bytes)
{
	TAILQ_REMOVE(&r->used, e, used);
	TAILQ_INSERT_TAIL(&r->used, e, used);
	e->bytes += bytes;
	r->bytes += bytes;
	while (r->bytes > r->max_bytes)
		drop(r, TAILQ_FIRST(&r->used));
}

static struct entry *put(struct recent *r, int64_t hash, const struct store_key *k, const struct recent_thread *t,
                         size_t text_len)
{
	const size_t subject = strlen(k->subject) + 1, thread_id = strlen(k->thread_id) + 1;
	struct entry **place = place_of(r, hash);
	struct entry *e = malloc(sizeof *e + subject + thread_id + text_len);

	if (*place != NULL)
		drop(r, *place);
	if (e == NULL)
		return NULL;
	*e = (struct entry){.thread = *t,
	                    .hash = hash,
	                    .bytes = sizeof *e + OVERHEAD + subject + thread_id + text_len,
	                    .thread_id_at = subject,
	                    .text_at = subject + thread_id,
	                    .text_len = text_len};
	memcpy(e->strings, k->subject, subject);
	memcpy(e->strings + subject, k->thread_id, thread_id);
	*place = e;
	TAILQ_INSERT_TAIL(&r->used, e, used);
	r->bytes += e->bytes;
	return e;
}

void recent_put(struct recent *r, int64_t hash, const struct store_key *k, const struct recent_thread *t,
                const json_t *turns, size_t weight)
{
	struct entry *e = put(r, hash, k, t, 0);

	if (e == NULL)
		return;
	e->turns = json_copy((json_t *)(uintptr_t)turns);
	if (e->turns == NULL)
		drop(r, e);
	else
		grow(r, e, weight);
}

void recent_put_text(struct recent *r, int64_t hash, const struct store_key *k, const struct recent_thread *t,
                     const char *turn, size_t len)
{
	struct entry *e = put(r, hash, k, t, len);

	if (e == NULL)
		return;
	memcpy(e->strings + e->text_at, turn, len);
	grow(r, e, 0);
}

void recent_add(struct recent *r, int64_t hash, const struct store_key *k, const struct recent_thread *t, json_t *turn,
                size_t weight)
{
	struct entry *e = find(r, hash, k);

	if (e == NULL)
		return;
	if (e->turns == NULL || json_array_append(e->turns, turn) < 0) {
		drop(r, e);
		return;
	}
	e->thread = *t;
	grow(r, e, weight);
}

json_t *recent_turns(struct recent *r, int64_t hash, const struct store_key *k)
{
	struct entry *e = find(r, hash, k);
	json_t *turns;

	if (e == NULL)
		return NULL;
	if (e->turns == NULL) {
		e->turns = json_pack("[o]", json_loadb(e->strings + e->text_at, e->text_len, JSON_ALLOW_NUL, NULL));
		e->bytes += turn_cache_weight(e->turns);
		r->bytes += turn_cache_weight(e->turns);
	}
	turns = json_copy(e->turns);
	if (turns == NULL)
		drop(r, e);
	else
		grow(r, e, 0);
	return turns;
}
