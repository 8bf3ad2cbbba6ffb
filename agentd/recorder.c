/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 32

struct waiting {
	struct event_record record; /* the first one; count: of all */
	int64_t due_ms;
};

struct bucket {
	unsigned used; /* of RECORDER_BURST */
	int64_t refilled_ms;
};

struct recorder {
	void (*write)(void *arg, struct event_record *r);
	void *arg;
	struct bucket buckets[EVENT_KINDS];
	struct waiting waiting[WAITING_MAX]; /* in the order in which they began */
	size_t count;
};

struct recorder *recorder_new(void (*write)(void *arg, struct event_record *r), void *arg)
{
	struct recorder *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->write = write;
	r->arg = arg;
	return r;
}

void recorder_free(struct recorder *r)
{
	free(r);
}

/* A clock that was set back counts as no time. */
static void refill(struct bucket *b, int64_t now_ms)
{
	int64_t passed = now_ms - b->refilled_ms, full = passed / RECORDER_REFILL_MS;

	if (b->used == 0 || passed < 0) {
		b->refilled_ms = now_ms;
	} else if (full > 0) {
		b->used -= full < b->used ? (unsigned)full : b->used;
		b->refilled_ms += full * RECORDER_REFILL_MS;
	}
}

static void write_waiting(struct recorder *r, size_t i)
{
	struct event_record record = r->waiting[i].record;

	r->count--;
	memmove(&r->waiting[i], &r->waiting[i + 1], (r->count - i) * sizeof r->waiting[0]);
	if (r->buckets[record.kind].used < RECORDER_BURST)
		r->buckets[record.kind].used++;
	r->write(r->arg, &record);
}

static bool is_same(const struct event_record *a, const struct event_record *b)
{
	return strcmp(a->model, b->model) == 0 && strcmp(a->deploy_id, b->deploy_id) == 0 &&
	       strcmp(a->was, b->was) == 0;
}

/* Of several models: the first one is an example. */
static void merge(struct event_record *into, const struct event_record *record)
{
	char first[sizeof into->model];

	if (!is_same(into, record) && (into->model[0] != '\0' || into->was[0] != '\0')) {
		memcpy(first, into->model[0] != '\0' ? into->model : into->was, sizeof first);
		snprintf(into->reason, sizeof into->reason, "%s and others", first);
		into->model[0] = into->deploy_id[0] = into->was[0] = '\0';
	}
	into->count += record->count;
}

/* strict: only one of the same models. */
static struct waiting *find(struct recorder *r, const struct event_record *record, bool strict)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->waiting[i].record.kind == record->kind && (!strict || is_same(&r->waiting[i].record, record)))
			return &r->waiting[i];
	return NULL;
}

void recorder_add(struct recorder *r, struct event_record record, int64_t now_ms)
{
	struct bucket *b = &r->buckets[record.kind];
	bool of_worker = event_kind_is_of_worker((enum event_kind)record.kind);
	struct waiting *w = find(r, &record, of_worker);

	record.at_ms = now_ms;
	refill(b, now_ms);
	if (w == NULL && of_worker && (r->count == WAITING_MAX || b->used == RECORDER_BURST))
		w = find(r, &record, false);
	if (w != NULL) {
		merge(&w->record, &record);
	} else if (r->count == WAITING_MAX || (!of_worker && b->used < RECORDER_BURST)) {
		b->used += b->used < RECORDER_BURST;
		r->write(r->arg, &record);
	} else {
		r->waiting[r->count++] = (struct waiting){
			.record = record,
			.due_ms = now_ms + (b->used < RECORDER_BURST ? RECORDER_SHORT_MS : RECORDER_LONG_MS)};
	}
}

int64_t recorder_tick(struct recorder *r, int64_t now_ms)
{
	int64_t next = -1;

	for (size_t i = 0; i < r->count;) {
		int64_t left = r->waiting[i].due_ms - now_ms;

		if (left <= 0 || left > RECORDER_LONG_MS) { /* or the clock was set back */
			write_waiting(r, i);
			continue;
		}
		if (next < 0 || left < next)
			next = left;
		i++;
	}
	return next;
}

void recorder_flush(struct recorder *r)
{
	while (r->count > 0)
		write_waiting(r, 0);
}
