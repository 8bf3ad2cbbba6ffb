/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of recent events: the file `<dir>/events.v1`, in which the daemon records what has
 * happened, and which others map and read without asking it, also while it is dead.
 *
 * One writer, any number of readers, no locks. Each slot's number is its seqlock: 0 while the slot
 * is being written. A reader that meets a change gets no record, and does not wait. Numbers begin
 * with 1 and go on over restarts of the daemon; a file that was lost or damaged is replaced by one
 * with another epoch. */
#ifndef TT_STATUS_EVENT_RING_H
#define TT_STATUS_EVENT_RING_H

#include "core/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_RING_SLOTS 512u

enum event_kind {
#define EVENT_KIND(id, name, reporter, meaning) EVENT_##id,
#include "core/status/event_kinds.def"
#undef EVENT_KIND
	EVENT_KINDS
};

const char *event_kind_name(enum event_kind k);
bool event_kind_is_of_worker(enum event_kind k);           /* a responder reports it */
int event_kind_find(const char *name, enum event_kind *k); /* -1: there is none; name may be NULL */

/* A slot of the file. Texts are terminated, and empty where nothing is known. */
struct event_record {
	uint64_t number;
	int64_t at_ms; /* wall clock */
	uint32_t kind;
	uint32_t count; /* how often it happened */
	char model[112];
	char deploy_id[72];
	char was[112]; /* the model before it */
	char reason[192];
};

/* A record of one event without number and time. Texts may be NULL, and are cut between characters. */
struct event_record event_record_of(enum event_kind kind, const char *model, const char *deploy_id, const char *was,
                                    const char *reason);

/* {"number","epoch","at","kind","model","deploy_id","was","reason","count"}; brief: without deploy_id
 * and reason. New reference, NULL: out of memory. */
json_t *event_record_json(const struct event_record *r, uint64_t epoch, bool brief);

/* --- the daemon ------------------------------------------------------------------------------- */

struct event_ring;

/* Goes on with the file in dir, or makes it. NULL with e. */
struct event_ring *event_ring_open(const char *dir, struct err *e);
void event_ring_close(struct event_ring *r); /* the file stays; NULL is fine */

/* The record that was added last, by this daemon or an earlier one. false: none is known. */
bool event_ring_newest(const struct event_ring *r, struct event_record *out);

/* Adds a record and sets its number. A file that somebody removed or damaged is made again, and the
 * numbers go on. -1 with e: it could not be, and the record is lost. */
int event_ring_add(struct event_ring *r, struct event_record *record, struct err *e);

/* --- readers ------------------------------------------------------------------------------------ */

struct event_reader; /* one thread */

/* A missing file is no error: there are no events until there is one. NULL: out of memory. */
struct event_reader *event_reader_new(const char *dir);
void event_reader_free(struct event_reader *r); /* NULL is fine */

/* Maps the file if it is another one than before; one stat otherwise. -1 with e: it cannot be read, and what
 * was mapped before stays. */
int event_reader_check(struct event_reader *r, struct err *e);

/* 0: there is no file. */
uint64_t event_reader_epoch(const struct event_reader *r);
/* The number of the newest record; 0: there is none. */
uint64_t event_reader_last(const struct event_reader *r);
/* false: it is not in the ring (any more), or is being replaced. */
bool event_reader_get(const struct event_reader *r, uint64_t number, struct event_record *out);

#endif
