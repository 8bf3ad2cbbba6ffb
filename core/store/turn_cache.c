/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/turn_cache.h"

#include <search.h>
#include <stdlib.h>
#include <sys/queue.h>

#define SLOT_OVERHEAD 256 /* the array of turns, the node of the tree */

struct slot {
	struct cached_thread thread;
	TAILQ_ENTRY(slot) used; /* the least recently used first */
	size_t bytes;
};

struct turn_cache {
	void *tree; /* of slots, for tsearch */
	TAILQ_HEAD(, slot) used;
	size_t bytes, max_bytes;
};

static int compare(const void *a, const void *b)
{
	const struct cached_thread *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

struct turn_cache *turn_cache_new(size_t max_bytes)
{
	struct turn_cache *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	TAILQ_INIT(&c->used);
	c->max_bytes = max_bytes;
	return c;
}

void turn_cache_forget(struct turn_cache *c, struct cached_thread *t)
{
	struct slot *e = (struct slot *)t;

	tdelete(e, &c->tree, compare);
	TAILQ_REMOVE(&c->used, e, used);
	c->bytes -= e->bytes;
	json_decref(t->turns);
	free(e);
}

void turn_cache_free(struct turn_cache *c)
{
	if (c == NULL)
		return;
	while (!TAILQ_EMPTY(&c->used))
		turn_cache_forget(c, &TAILQ_FIRST(&c->used)->thread);
	free(c);
}

static struct slot *add(struct turn_cache *c, int64_t id, int64_t first)
{
	struct slot *e = calloc(1, sizeof *e);

	if (e == NULL)
		return NULL;
	e->thread = (struct cached_thread){.id = id, .first = first, .last = first - 1, .turns = json_array()};
	e->bytes = sizeof *e + SLOT_OVERHEAD;
	if (e->thread.turns == NULL || tsearch(e, &c->tree, compare) == NULL) {
		json_decref(e->thread.turns);
		free(e);
		return NULL;
	}
	c->bytes += e->bytes;
	TAILQ_INSERT_TAIL(&c->used, e, used);
	return e;
}

size_t turn_cache_weight(const json_t *value)
{
	enum { STRING = 64, OBJECT = 256, PAIR = 64, ARRAY = 160 };
	const char *key;
	json_t *item;
	size_t i, sum = STRING;

	if (json_is_string(value))
		return STRING + json_string_length(value);
	if (json_is_object(value)) {
		sum = OBJECT;
		json_object_foreach((json_t *)(uintptr_t)value, key, item) sum += PAIR + turn_cache_weight(item);
	} else if (json_is_array(value)) {
		sum = ARRAY;
		json_array_foreach(value, i, item) sum += sizeof item + turn_cache_weight(item);
	}
	return sum;
}

static void drop_oldest(struct turn_cache *c, struct slot *e)
{
	size_t size = turn_cache_weight(json_array_get(e->thread.turns, 0));

	e->bytes -= size;
	c->bytes -= size;
	json_array_remove(e->thread.turns, 0);
	e->thread.first++;
}

struct cached_thread *turn_cache_find(struct turn_cache *c, int64_t id)
{
	const struct cached_thread wanted = {.id = id};
	void *found = tfind(&wanted, &c->tree, compare);

	return found != NULL ? *(struct cached_thread **)found : NULL;
}

struct cached_thread *turn_cache_thread(struct turn_cache *c, int64_t id, int64_t first)
{
	struct slot *e = (struct slot *)turn_cache_find(c, id);

	/* The store no longer has these turns. */
	if (e != NULL && (first > e->thread.last + 1 || first < e->thread.first)) {
		turn_cache_forget(c, &e->thread);
		e = NULL;
	}
	if (e == NULL)
		return (e = add(c, id, first)) != NULL ? &e->thread : NULL;
	while (e->thread.first < first)
		drop_oldest(c, e);
	TAILQ_REMOVE(&c->used, e, used);
	TAILQ_INSERT_TAIL(&c->used, e, used);
	return &e->thread;
}

int turn_cache_add(struct turn_cache *c, struct cached_thread *t, json_t *turn)
{
	struct slot *e = (struct slot *)t;
	size_t size = turn_cache_weight(turn);

	if (json_array_append_new(t->turns, turn) < 0)
		return -1;
	t->last++;
	e->bytes += size;
	c->bytes += size;
	while (c->bytes > c->max_bytes && TAILQ_FIRST(&c->used) != e)
		turn_cache_forget(c, &TAILQ_FIRST(&c->used)->thread);
	return 0;
}
