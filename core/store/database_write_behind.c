/* SPDX-License-Identifier: Apache-2.0 */
/* Turns that were told before they are stored (write_behind.h), as SQLite's transactions store them. */
#include "core/store/database_internal.h"

#include "core/store/write_behind.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define STORED_AT_ONCE 2048
#define TICK_MS        5

struct shared_pending {
	struct write_behind *pending;
	/* what the transaction stores of each ring; to = 0: nothing */
	struct write_behind_commit stores[WRITE_BEHIND_RINGS];
	/* and turn by turn, the first `count` of them so far */
	struct stored_turn {
		int64_t key;
		uint64_t number;
		unsigned ring;
	} turns[STORED_AT_ONCE];
	int count;
	char copy[WRITE_BEHIND_COPY];
};

/* ---- in any transaction that writes ---- */

static bool is_in_row(struct database *db, const struct write_behind_turn *t, int64_t row)
{
	const struct thread_key key = {.subject = t->subject, .thread_id = t->thread_id, .run = t->run};
	sqlite3_stmt *s = database_statement(db, SQL_IS_STORED, NULL);
	bool found;

	if (s == NULL)
		return false;
	database_bind_key(s, &key);
	sqlite3_bind_int64(s, 5, row);
	sqlite3_bind_text64(s, 6, t->text, t->len, SQLITE_STATIC, SQLITE_UTF8);
	found = sqlite3_step(s) == SQLITE_ROW;
	database_done(s);
	return found;
}

/* A commit whose end nobody has noted yet: its process was killed after it, or is about to note it. */
static void settle(struct database *db)
{
	struct shared_pending *s = db->pending;
	const unsigned rings = write_behind_rings(s->pending);
	struct write_behind_commit c;
	struct write_behind_turn t;

	memset(s->stores, 0, sizeof s->stores);
	s->count = 0;
	for (unsigned i = 0; i < rings; i++) {
		if (write_behind_is_open(s->pending, i, &c) &&
		    write_behind_copy(s->pending, i, c.to - 1, s->copy, &t) && is_in_row(db, &t, c.row))
			write_behind_committed(s->pending, i, c.to);
	}
}

static const struct write_behind_result unknown = {.number = 0};

/* A thread of which a turn was stored may be among those that were deleted after that. */
static void forget_results(const struct shared_pending *s)
{
	for (int i = 0; i < s->count; i++)
		write_behind_set_result(s->pending, s->turns[i].ring, s->turns[i].number, &unknown);
}

static void note(struct database *db)
{
	struct shared_pending *s = db->pending;

	if (db->deleted)
		forget_results(s);
	for (unsigned i = 0; i < WRITE_BEHIND_RINGS; i++)
		if (s->stores[i].to > 0)
			write_behind_note(s->pending, i, &s->stores[i]);
}

static void pass(struct database *db)
{
	struct shared_pending *s = db->pending;

	for (unsigned i = 0; i < WRITE_BEHIND_RINGS; i++)
		if (s->stores[i].to > 0)
			write_behind_committed(s->pending, i, s->stores[i].to);
}

static const struct write_hooks hooks = {.begun = settle, .commits = note, .committed = pass};

int database_share_pending(struct database *db, struct write_behind *p, bool makes, struct err *e)
{
	struct stat st;

	if (db->pending == NULL)
		db->pending = calloc(1, sizeof *db->pending);
	if (db->pending == NULL)
		return err_set(e, "no memory");
	db->pending->pending = p;
	db->hooks = &hooks;
	if (stat(db->file, &st) < 0 || database_has_moved(db))
		return err_set(e, "%s: is being replaced", db->file);
	return write_behind_attach(p, st.st_dev, st.st_ino, makes, e);
}

bool database_has_pending(struct database *db, const struct store_key *k)
{
	return db->pending != NULL && write_behind_has(db->pending->pending, database_key_of(db->run, k));
}

/* Whether no other process' turn of the thread is in this transaction. If there is one, neither process knows after it
 * what the thread has. */
static bool is_alone(const struct shared_pending *s, const struct stored_turn *turn)
{
	bool alone = true;

	for (int i = 0; i < s->count; i++) {
		if (s->turns[i].key != turn->key || s->turns[i].ring == turn->ring)
			continue;
		write_behind_set_result(s->pending, s->turns[i].ring, s->turns[i].number, &unknown);
		alone = false;
	}
	return alone;
}

static void note_turn(struct database *db, const struct stored_turn *turn)
{
	struct shared_pending *s = db->pending;
	const uint64_t number = db->versions != NULL ? versions_current(db->versions) : 0;
	const struct write_behind_result result = {
		.turns = db->thread.turns, .at_ms = db->thread.at_ms, .number = number, .before = db->thread.before};
	const bool is_first = db->thread.before < number; /* no turn of this transaction precedes it */

	if (turn->number >= s->stores[turn->ring].to)
		s->stores[turn->ring] = (struct write_behind_commit){.to = turn->number + 1, .row = db->top};
	write_behind_set_result(s->pending, turn->ring, turn->number,
	                        is_first || is_alone(s, turn) ? &result : &unknown);
	s->count++;
}

static int store_turn(struct database *db, const struct stored_turn *turn, const struct store_limits *limits,
                      struct err *e)
{
	struct shared_pending *s = db->pending;
	struct write_behind_turn t;
	struct thread_key key;

	if (!write_behind_copy(s->pending, turn->ring, turn->number, s->copy, &t))
		return err_set(e, "%s: a turn that was to be stored is damaged", db->file);
	key = (struct thread_key){.subject = t.subject, .thread_id = t.thread_id, .run = t.run};
	if (database_append_turn(db, &key, t.text, t.len, t.at_ms, limits, e) < 0)
		return -1;
	note_turn(db, turn);
	return 0;
}

/* The others have to wait as well. */
static bool is_in_trouble(const struct database *db)
{
	const int code = sqlite3_errcode(db->sqlite) & 0xff;

	return db->lost || code == SQLITE_FULL || code == SQLITE_BUSY || code == SQLITE_LOCKED || code == SQLITE_NOMEM;
}

/* What a transaction is to store: of that ring (-1: of all), up to before that number, as many as it takes. */
struct portion {
	int ring;
	uint64_t before;
	bool is_one; /* one turn that could not be stored among others */
};
static const struct portion everything = {.ring = -1, .before = UINT64_MAX};

static int by_key(const void *a, const void *b)
{
	const struct stored_turn *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->ring != y->ring)
		return x->ring < y->ring ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Finds them, in the order of the index, where neighbours share a page. The last turn of each ring comes last: its row
 * says whether the transaction took place, and older ones may be evicted. How many. */
static int gather(struct shared_pending *s, const struct portion *p)
{
	const unsigned rings = write_behind_rings(s->pending);
	struct stored_turn last[WRITE_BEHIND_RINGS];
	int64_t keys[STORED_AT_ONCE];
	struct write_behind_range range;
	int n = 0, lasts = 0;

	for (unsigned i = 0; i < rings && n + lasts < STORED_AT_ONCE; i++) {
		const uint64_t room = (uint64_t)(STORED_AT_ONCE - n - lasts);

		if ((p->ring >= 0 && i != (unsigned)p->ring) || !write_behind_range(s->pending, i, &range))
			continue;
		if (range.to > p->before)
			range.to = p->before;
		if (range.to > range.from + room)
			range.to = range.from + room;
		if (range.from >= range.to || !write_behind_keys(s->pending, i, &range, keys))
			continue;
		for (uint64_t k = range.from; k < range.to; k++)
			*(k < range.to - 1 ? &s->turns[n++] : &last[lasts++]) =
				(struct stored_turn){.key = keys[k - range.from], .number = k, .ring = i};
	}
	qsort(s->turns, (size_t)n, sizeof *s->turns, by_key);
	memcpy(&s->turns[n], last, (size_t)lasts * sizeof *last);
	return n + lasts;
}

/* In a transaction. How many, or -1 with e; failed: because of this one. */
static int store_some(struct database *db, const struct store_limits *limits, const struct portion *p,
                      const struct stored_turn **failed, struct err *e)
{
	struct shared_pending *s = db->pending;
	int n;

	*failed = NULL;
	if (database_begin_writing(db, e) < 0)
		return -1;
	n = gather(s, p);
	for (int i = 0; i < n; i++)
		if (store_turn(db, &s->turns[i], limits, e) < 0) {
			*failed = is_in_trouble(db) ? NULL : &s->turns[i];
			database_roll_back(db);
			return -1;
		}
	if (n > 0 && database_evict(db, limits, e) == 0)
		return database_commit(db, e) < 0 ? -1 : n;
	database_roll_back(db);
	return n == 0 ? 0 : -1;
}

static int drop(struct database *db, const struct stored_turn *failed, struct err *e)
{
	if (database_begin_writing(db, e) < 0)
		return -1;
	write_behind_set_result(db->pending->pending, failed->ring, failed->number, &unknown);
	write_behind_committed(db->pending->pending, failed->ring, failed->number + 1);
	database_roll_back(db);
	return 0;
}

/* After a failure: what precedes that turn in its ring, or it alone. */
static struct portion up_to(struct shared_pending *s, const struct stored_turn *failed)
{
	struct write_behind_range range;
	const bool is_first = write_behind_range(s->pending, failed->ring, &range) && range.from == failed->number;

	return (struct portion){
		.ring = (int)failed->ring, .before = failed->number + (is_first ? 1 : 0), .is_one = is_first};
}

int database_store_pending(struct database *db, const struct store_limits *limits, int64_t *dropped, struct err *e)
{
	struct portion p = everything;
	const struct stored_turn *failed;
	int n;

	*dropped = 0;
	if (db->pending == NULL)
		return 0;
	while ((n = store_some(db, limits, &p, &failed, e)) < 0) {
		if (failed == NULL || (p.is_one && drop(db, failed, e) < 0))
			return -1;
		*dropped += p.is_one;
		p = p.is_one ? everything : up_to(db->pending, failed);
		err_clear(e);
	}
	return n == STORED_AT_ONCE || p.ring >= 0;
}

static bool any_waits(const struct shared_pending *s)
{
	const unsigned rings = write_behind_rings(s->pending);
	struct write_behind_range range;

	for (unsigned i = 0; i < rings; i++)
		if (write_behind_range(s->pending, i, &range) && range.from < range.to)
			return true;
	return false;
}

void database_await_pending(struct database *db, int ms)
{
	const struct timespec tick = {.tv_nsec = TICK_MS * 1000000};

	for (int i = 0; db->pending != NULL && i < ms / TICK_MS && any_waits(db->pending); i++)
		nanosleep(&tick, NULL);
}
