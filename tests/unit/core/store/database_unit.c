/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite file of conversations below the store: databases of former layouts, threads whose keys have one hash, and
 * deletion in steps. */
#include "core/store/database_internal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
	char directory[64], file[128];
	sqlite3 *raw; /* bypasses database.c */
	struct database *db;
};

static const struct store_limits no_limits = {.expire_ms = 0};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (f == NULL)
		return -1;
	strcpy(f->directory, "/tmp/database_unit.XXXXXX");
	if (mkdtemp(f->directory) == NULL)
		return -1;
	snprintf(f->file, sizeof f->file, "%s/threads.db", f->directory);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[160];

	database_close(f->db);
	sqlite3_close(f->raw);
	for (const char *const *end = (const char *const[]){"", "-wal", "-shm", "-reserve", NULL}; *end != NULL;
	     end++) {
		snprintf(path, sizeof path, "%s%s", f->file, *end);
		unlink(path);
	}
	rmdir(f->directory);
	free(f);
	return 0;
}

static void sql(struct fixture *f, const char *text)
{
	char *message = NULL;

	if (f->raw == NULL) {
		assert_int_equal(sqlite3_open(f->file, &f->raw), SQLITE_OK);
		sqlite3_busy_timeout(f->raw, 10000);
	}
	if (sqlite3_exec(f->raw, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
}

static int64_t number(struct fixture *f, const char *text)
{
	sqlite3_stmt *s;
	int64_t n;

	if (sqlite3_prepare_v2(f->raw, text, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW)
		fail_msg("%s: %s", text, sqlite3_errmsg(f->raw));
	n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return n;
}

static void open_database(struct fixture *f)
{
	struct err e = ERR_INIT;

	f->db = database_open(f->file, "run", true, &e);
	if (f->db == NULL)
		fail_msg("%s", e.text);
}

static struct store_key key_of(const char *thread)
{
	return (struct store_key){.subject = "ann", .thread_id = thread};
}

static void append_at(struct fixture *f, const char *thread, const char *text, int64_t at_ms)
{
	const struct store_key k = key_of(thread);
	struct err e = ERR_INIT;
	char turn[200];

	snprintf(turn, sizeof turn, "[{\"role\":\"user\",\"content\":\"%s\"}]", text);
	if (database_convert_thread(f->db, &k, &e) < 0 || database_begin_writing(f->db, &e) < 0 ||
	    database_append(f->db, &k, turn, strlen(turn), at_ms, &no_limits, &e) < 0 || database_commit(f->db, &e) < 0)
		fail_msg("%s", e.text);
}

/* The texts of its turns. */
static void assert_thread(struct fixture *f, const char *thread, const char *want)
{
	const struct store_key k = key_of(thread);
	struct err e = ERR_INIT;
	char got[400] = "";
	json_t *turns, *turn;
	size_t i;

	if (database_convert_thread(f->db, &k, &e) < 0)
		fail_msg("%s", e.text);
	turns = database_load(f->db, &k, 1000000, &no_limits, &e);
	if (turns == NULL)
		fail_msg("%s", e.text);
	json_array_foreach(turns, i, turn)
		snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i > 0 ? " " : "",
	                 json_string_value(json_object_get(json_array_get(turn, 0), "content")));
	assert_string_equal(got, want);
	json_decref(turns);
}

static int64_t convert_all(struct fixture *f)
{
	struct err e = ERR_INIT;
	int64_t moved, all = 0;

	while ((moved = database_convert(f->db, &e)) > 0)
		all += moved;
	if (moved < 0)
		fail_msg("%s", e.text);
	assert_false(database_is_converting(f->db));
	return all;
}

/* The threads from the least recently used one on, as a sweep finds them. */
static void assert_order(struct fixture *f, const char *want)
{
	char got[400] = "";
	sqlite3_stmt *s;

	assert_int_equal(sqlite3_prepare_v2(f->raw,
	                                    "SELECT thread_id FROM history WHERE id IN (SELECT max(id) FROM history"
	                                    " WHERE thread > 0 GROUP BY key, thread) ORDER BY id",
	                                    -1, &s, NULL),
	                 SQLITE_OK);
	while (sqlite3_step(s) == SQLITE_ROW)
		snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", (const char *)sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
	assert_string_equal(got, want);
}

/* ---- former layouts ---- */

struct layout {
	const char *name, *schema;
	/* As that version stored a turn: ?1 thread, ?2 time, ?3 messages. */
	const char *append;
};

static const struct layout layouts[] = {
	{"0.1.0",
         "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL;"
         "CREATE TABLE threads("
         " id INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, thread_id TEXT NOT NULL, run TEXT NOT NULL,"
         " created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL,"
         " first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL,"
         " UNIQUE(subject, thread_id, run)) STRICT;"
         "CREATE INDEX threads_long ON threads(used_ms) WHERE run = '';"
         "CREATE INDEX threads_short ON threads(used_ms) WHERE run <> '';"
         "CREATE TABLE turns("
         " thread INTEGER NOT NULL REFERENCES threads(id) ON DELETE CASCADE, number INTEGER NOT NULL,"
         " at_ms INTEGER NOT NULL, messages TEXT NOT NULL, PRIMARY KEY(thread, number)) STRICT;"
         "PRAGMA application_id = 1953775975; PRAGMA user_version = 1",
         "BEGIN IMMEDIATE;"
         "INSERT INTO threads(subject, thread_id, run, created_ms, used_ms, first, last, bytes)"
         " VALUES('ann', %Q, '', %lld, %lld, 1, 1, 70)"
         " ON CONFLICT(subject, thread_id, run) DO UPDATE SET used_ms = excluded.used_ms, last = last + 1;"
         "INSERT INTO turns SELECT id, last, used_ms, '[{\"role\":\"user\",\"content\":\"%s\"}]' FROM threads"
         " WHERE thread_id = %Q; COMMIT"},
	{"0.2.0 before its release",
         "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
         "CREATE TABLE log("
         " id INTEGER PRIMARY KEY, thread INTEGER NOT NULL, first INTEGER NOT NULL, number INTEGER NOT NULL,"
         " bytes INTEGER NOT NULL, threads INTEGER NOT NULL, created_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
         " subject TEXT NOT NULL, thread_id TEXT NOT NULL, run TEXT NOT NULL, messages TEXT NOT NULL) STRICT;"
         "CREATE INDEX log_thread ON log(thread_id, subject, run);"
         "CREATE TABLE state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
         "PRAGMA application_id = 1953775975; PRAGMA user_version = 2",
         "INSERT INTO log(subject, thread_id, run, thread, first, number, bytes, threads, created_ms, at_ms, messages)"
         " SELECT 'ann', %Q, '', coalesce(max(thread), (SELECT coalesce(max(id), 0) + 1 FROM log)), 1,"
         " coalesce(max(number), 0) + 1, 70, (SELECT count(DISTINCT thread) FROM log) + (count(*) = 0),"
         " coalesce(min(created_ms), %lld), %lld, '[{\"role\":\"user\",\"content\":\"%s\"}]' FROM log"
         " WHERE thread_id = %Q"},
};

static void former_append(struct fixture *f, const struct layout *l, const char *thread, const char *text,
                          int64_t at_ms)
{
	char *insert = sqlite3_mprintf(l->append, thread, (long long)at_ms, (long long)at_ms, text, thread);

	sql(f, insert);
	sqlite3_free(insert);
}

static void each_layout(void **state, void (*test)(struct fixture *f, const struct layout *l))
{
	for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
		print_message("layout of %s\n", layouts[i].name);
		sql(*state, layouts[i].schema);
		test(*state, &layouts[i]);
		teardown(state);
		assert_int_equal(setup(state), 0);
	}
}

static void turns_and_order_stay(struct fixture *f, const struct layout *l)
{
	former_append(f, l, "first", "one", 1000);
	former_append(f, l, "second", "two", 2000);
	former_append(f, l, "third", "three", 3000);
	former_append(f, l, "first", "four", 4000);
	former_append(f, l, "fourth", "five", 5000);
	open_database(f);
	assert_true(database_is_converting(f->db));
	/* New turns come between, of a new thread and of one whose turn has not come. */
	append_at(f, "new", "six", 6000);
	append_at(f, "third", "seven", 7000);
	assert_int_equal(convert_all(f), 4);
	assert_thread(f, "first", "one four");
	assert_thread(f, "second", "two");
	assert_thread(f, "third", "three seven");
	assert_thread(f, "fourth", "five");
	assert_thread(f, "new", "six");
	assert_thread(f, "none", "");
	assert_order(f, "second first fourth new third ");
	assert_int_equal(number(f, "SELECT threads FROM history ORDER BY id DESC LIMIT 1"), 5);
	assert_int_equal(number(f, "SELECT created_ms FROM history WHERE thread_id = 'third' ORDER BY id DESC"), 3000);
}

static void converted_turns_and_order_stay(void **state)
{
	each_layout(state, turns_and_order_stay);
}

static void an_older_program_writes(struct fixture *f, const struct layout *l)
{
	former_append(f, l, "both", "one", 1000);
	open_database(f);
	assert_int_equal(convert_all(f), 1);
	former_append(f, l, "both", "two", 2000);
	former_append(f, l, "its-own", "three", 3000);
	append_at(f, "both", "four", 4000);
	database_check_former(f->db);
	assert_true(database_is_converting(f->db));
	assert_thread(f, "both", "one four two");
	assert_int_equal(convert_all(f), 1);
	assert_thread(f, "its-own", "three");
	/* Its tables are dropped when they have been empty for a day, and not before. */
	sql(f, "UPDATE state SET value = value - 90000000 WHERE name = 'converted'");
	former_append(f, l, "late", "five", 5000);
	database_check_former(f->db);
	assert_thread(f, "late", "five");
	assert_int_equal(convert_all(f), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM sqlite_schema WHERE name IN ('threads', 'turns', 'log')"), 0);
	assert_thread(f, "late", "five");
}

static void an_older_program_loses_no_turn(void **state)
{
	each_layout(state, an_older_program_writes);
}

static void one_thread_is_refused(struct fixture *f, const struct layout *l)
{
	struct err e = ERR_INIT;

	former_append(f, l, "good", "one", 1000);
	former_append(f, l, "bad", "poison", 2000);
	former_append(f, l, "last", "two", 3000);
	open_database(f);
	sql(f,
	    "CREATE TRIGGER refuse BEFORE INSERT ON history WHEN NEW.messages LIKE '%poison%'"
	    " BEGIN SELECT RAISE(ABORT, 'refused'); END");
	assert_int_equal(database_convert(f->db, &e), -1);
	assert_string_equal(strstr(e.text, "cannot be"),
	                    l == layouts ? "cannot be written: refused"
	                                 : "cannot be converted to the layout of this version: refused");
	assert_true(database_is_converting(f->db));
	/* Others can be used. */
	assert_thread(f, "last", "two");
	append_at(f, "last", "three", 4000);
	sql(f, "DROP TRIGGER refuse");
	convert_all(f);
	assert_thread(f, "good", "one");
	assert_thread(f, "bad", "poison");
	assert_thread(f, "last", "two three");
}

static void a_thread_that_cannot_be_converted_is_not_lost(void **state)
{
	each_layout(state, one_thread_is_refused);
}

#define FORMER_THREADS 1200

static void convert_and_exit(const struct fixture *f)
{
	struct err e = ERR_INIT;
	struct database *db = database_open(f->file, "run", true, &e);
	int64_t moved = db != NULL;

	while (moved > 0)
		moved = database_convert(db, &e);
	_exit(moved < 0);
}

static void it_is_killed(struct fixture *f, const struct layout *l)
{
	char thread[32];
	int interrupted = 0;

	sql(f, "PRAGMA synchronous = OFF");
	for (int n = 0; n < 2; n++)
		for (int i = 0; i < FORMER_THREADS; i++) {
			snprintf(thread, sizeof thread, "thread-%d", i);
			former_append(f, l, thread, n == 0 ? "one" : "two", 1000 + i * 2 + n);
		}
	sqlite3_close(f->raw);
	f->raw = NULL;
	/* Two at once; each lives a little longer than the one before. */
	for (int i = 0; i < 20; i++) {
		const struct timespec life = {.tv_nsec = (i + 1) * 1000000L};
		pid_t children[2];

		for (int j = 0; j < 2; j++) {
			children[j] = fork();
			assert_true(children[j] >= 0);
			if (children[j] == 0)
				convert_and_exit(f);
		}
		nanosleep(&life, NULL);
		for (int j = 0; j < 2; j++) {
			int status;

			kill(children[j], SIGKILL);
			waitpid(children[j], &status, 0);
			interrupted += WIFSIGNALED(status);
			assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		}
	}
	print_message("interrupted %d times\n", interrupted);
	open_database(f);
	convert_all(f);
	for (int i = 0; i < FORMER_THREADS; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		assert_thread(f, thread, "one two");
	}
	sql(f, "PRAGMA synchronous = OFF");
	assert_int_equal(number(f, "SELECT threads FROM history ORDER BY id DESC LIMIT 1"), FORMER_THREADS);
	assert_int_equal(number(f, "SELECT count(*) FROM history WHERE thread > 0"), 2 * FORMER_THREADS);
}

static void killed_while_converting(void **state)
{
	each_layout(state, it_is_killed);
}

/* ---- several processes ---- */

#define ROUNDS 200

static size_t turns_of(struct database *db, const struct store_key *k)
{
	struct err e = ERR_INIT;
	json_t *turns = database_convert_thread(db, k, &e) == 0 ? database_load(db, k, 1000000, &no_limits, &e) : NULL;
	const size_t count = json_array_size(turns);

	json_decref(turns);
	return count;
}

static bool append_one(struct database *db, const struct store_key *k)
{
	static const char turn[] = "[{\"role\":\"user\",\"content\":\"a\"}]";
	struct err e = ERR_INIT;

	return database_convert_thread(db, k, &e) == 0 && database_begin_writing(db, &e) == 0 &&
	       database_append(db, k, turn, sizeof turn - 1, 2000000, &no_limits, &e) == 0 &&
	       database_commit(db, &e) == 0;
}

/* For each byte: loads a thread, appends to it and answers how many turns it saw. */
static void be_the_other_worker(const struct fixture *f, int in, int out)
{
	struct err e = ERR_INIT;
	struct database *db = database_open(f->file, "run", true, &e);
	unsigned char which;

	while (db != NULL && read(in, &which, 1) == 1) {
		char thread[32];
		const struct store_key k = key_of(thread);
		unsigned char seen;

		snprintf(thread, sizeof thread, "thread-%d", which);
		seen = (unsigned char)turns_of(db, &k);
		if (!append_one(db, &k) || write(out, &seen, 1) != 1)
			_exit(1);
	}
	_exit(db == NULL);
}

static void each_sees_what_the_other_stored(struct fixture *f, const struct layout *l)
{
	int to[2], from[2], status;
	char thread[32];
	pid_t child;

	for (int i = 0; i < 300; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		former_append(f, l, thread, "one", 1000 + i);
	}
	sqlite3_close(f->raw);
	f->raw = NULL;
	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(to[1]);
		be_the_other_worker(f, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	open_database(f);
	for (int i = 0; i < ROUNDS; i++) {
		const struct store_key k = key_of(thread);
		const unsigned char which = (unsigned char)(i % 100);
		const size_t had = (size_t)1 + 2 * (size_t)(i / 100);
		struct err e = ERR_INIT;
		unsigned char seen;

		snprintf(thread, sizeof thread, "thread-%d", i % 100);
		assert_int_equal(turns_of(f->db, &k), had);
		assert_true(append_one(f->db, &k));
		assert_int_equal(write(to[1], &which, 1), 1);
		if (i % 20 == 0) /* meanwhile */
			assert_true(database_convert(f->db, &e) >= 0);
		assert_int_equal(read(from[0], &seen, 1), 1);
		assert_int_equal(seen, had + 1);
		assert_int_equal(turns_of(f->db, &k), had + 2);
	}
	close(to[1]);
	close(from[0]);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	convert_all(f);
	sql(f, "SELECT 1");
	assert_int_equal(number(f, "SELECT count(*) FROM history WHERE thread > 0"), 300 + 2 * ROUNDS);
	assert_int_equal(number(f, "SELECT threads FROM history ORDER BY id DESC LIMIT 1"), 300);
}

static void workers_see_each_other_while_converting(void **state)
{
	each_layout(state, each_sees_what_the_other_stored);
}

/* ---- one hash ---- */

static void threads_of_one_hash_do_not_mix(void **state)
{
	struct fixture *f = *state;
	const struct thread_key a = {.subject = "ann", .thread_id = "a-thread", .run = ""};
	struct err e = ERR_INIT;
	char *update;

	open_database(f);
	append_at(f, "a-thread", "a1", 1000);
	append_at(f, "b-thread", "b1", 2000);
	append_at(f, "a-thread", "a2", 3000);
	append_at(f, "b-thread", "b2", 4000);
	/* Nobody finds another key with the same hash in time. */
	update = sqlite3_mprintf("UPDATE history SET key = %lld", (long long)database_key(&a));
	sql(f, update);
	sqlite3_free(update);
	append_at(f, "a-thread", "a3", 5000);
	assert_thread(f, "a-thread", "a1 a2 a3");
	assert_int_equal(number(f, "SELECT count(DISTINCT key) FROM history"), 1);
	assert_order(f, "b-thread a-thread ");
	assert_int_equal(database_begin_writing(f->db, &e), 0);
	assert_int_equal(database_delete_thread(f->db, &a, &e), 3);
	assert_int_equal(database_commit(f->db, &e), 0);
	assert_thread(f, "a-thread", "");
	assert_int_equal(number(f, "SELECT count(*) FROM history WHERE thread > 0"), 2);
}

static void a_hash_never_changes(void **state)
{
	static const struct thread_key keys[] = {
		{"", "a-thread", ""}, {"ann", "7", "run"}, {"ann", "7", "another run"}};
	static const int64_t hashes[] = {-8093832621105736659, -4439232800456036687, -4439232800455998585};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(database_key(&keys[i]), hashes[i]);
	/* An administrator finds all runs. */
	assert_int_equal(hashes[1] & ~(int64_t)KEY_RUN_MASK, hashes[2] & ~(int64_t)KEY_RUN_MASK);
}

/* ---- deletion in steps ---- */

static int sweep(struct fixture *f, int64_t now_ms, const struct store_limits *limits, int max, bool *more)
{
	struct err e = ERR_INIT;
	int deleted = database_sweep(f->db, now_ms, limits, max, more, &e);

	if (deleted < 0)
		fail_msg("%s", e.text);
	return deleted;
}

static void expired_threads_are_deleted_in_steps(void **state)
{
	struct fixture *f = *state;
	const struct store_limits limits = {.expire_ms = 1000};
	char thread[16];
	bool more;

	open_database(f);
	for (int i = 0; i < 25; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		append_at(f, thread, "text", 1000 + i);
	}
	append_at(f, "thread-3", "again", 1900);
	append_at(f, "new", "text", 2000);
	assert_int_equal(sweep(f, 2500, &limits, 10, &more), 10);
	assert_true(more);
	assert_int_equal(sweep(f, 2500, &limits, 10, &more), 10);
	assert_true(more);
	assert_int_equal(sweep(f, 2500, &limits, 10, &more), 4);
	assert_int_equal(sweep(f, 2500, &limits, 10, &more), 0);
	assert_false(more);
	sql(f, "SELECT 1");
	assert_order(f, "thread-3 new ");
	assert_int_equal(number(f, "SELECT threads FROM history ORDER BY id DESC LIMIT 1"), 2);
}

static void evict(struct fixture *f, const struct store_limits *limits)
{
	struct err e = ERR_INIT;

	if (database_begin_writing(f->db, &e) < 0 || database_evict(f->db, limits, &e) < 0 ||
	    database_commit(f->db, &e) < 0)
		fail_msg("%s", e.text);
}

static void a_wrong_count_deletes_nothing(void **state)
{
	struct fixture *f = *state;
	const struct store_limits limits = {.max_threads = 3};
	struct database *another;
	struct err e = ERR_INIT;
	bool more;

	open_database(f);
	append_at(f, "a", "text", 1000);
	append_at(f, "b", "text", 2000);
	append_at(f, "c", "text", 3000);
	sql(f, "UPDATE history SET threads = 1000000");
	another = database_open(f->file, "run", true, &e);
	assert_non_null(another);
	evict(f, &limits);
	assert_true(database_must_count(f->db));
	sweep(f, 4000, &limits, 10, &more);
	assert_false(database_must_count(f->db));
	assert_order(f, "a b c ");
	assert_int_equal(number(f, "SELECT threads FROM history ORDER BY id DESC LIMIT 1"), 3);
	/* Who has counted before that corrects nothing more. */
	assert_int_equal(database_sweep(another, 4000, &limits, 10, &more, &e), 0);
	database_close(another);
	append_at(f, "d", "text", 5000);
	evict(f, &limits);
	assert_order(f, "b c d ");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(converted_turns_and_order_stay),
		TEST(an_older_program_loses_no_turn),
		TEST(a_thread_that_cannot_be_converted_is_not_lost),
		TEST(killed_while_converting),
		TEST(workers_see_each_other_while_converting),
		TEST(threads_of_one_hash_do_not_mix),
		cmocka_unit_test(a_hash_never_changes),
		TEST(expired_threads_are_deleted_in_steps),
		TEST(a_wrong_count_deletes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
