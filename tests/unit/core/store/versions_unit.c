/* SPDX-License-Identifier: Apache-2.0 */
/* What processes know of threads without reading the database: never less than what was committed, whoever wrote it,
 * whoever died, and whatever became of the files. */
#include "core/store/versions.h"

#include "core/base/clock.h"
#include "core/store/database.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define NUMBER_AT 68 /* in the table's file: the number of the last transaction */

/* One process that uses the database. */
struct user {
	struct database *db;
	struct versions *versions;
	int64_t now_ms;
};

struct fixture {
	char directory[64], file[128], table[140];
	struct user a, b;
};

static const struct store_limits no_limits = {.expire_ms = 0};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (f == NULL)
		return -1;
	strcpy(f->directory, "/tmp/versions_unit.XXXXXX");
	if (mkdtemp(f->directory) == NULL)
		return -1;
	snprintf(f->file, sizeof f->file, "%s/threads.db", f->directory);
	snprintf(f->table, sizeof f->table, "%s" VERSIONS_SUFFIX, f->file);
	*state = f;
	return 0;
}

static void close_user(struct user *u)
{
	database_close(u->db);
	versions_free(u->versions);
	*u = (struct user){.db = NULL};
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[160];

	close_user(&f->a);
	close_user(&f->b);
	for (const char *const *end = (const char *const[]){"", "-wal", "-shm", "-reserve", VERSIONS_SUFFIX, ".copy",
	                                                    VERSIONS_SUFFIX ".new", NULL};
	     *end != NULL; end++) {
		snprintf(path, sizeof path, "%s%s", f->file, *end);
		unlink(path);
		rmdir(path);
	}
	rmdir(f->directory);
	free(f);
	return 0;
}

/* A step of what fills the table; also where it waits for its next check. */
static int tend(struct user *u)
{
	struct err e = ERR_INIT;
	int more = database_tend_versions(u->db, &e);

	if (more < 0)
		fail_msg("%s", e.text);
	return more;
}

static void open_user(const struct fixture *f, struct user *u)
{
	struct err e = ERR_INIT;

	u->now_ms = 1000000;
	u->versions = versions_new(f->file);
	u->db = database_open(f->file, "run", true, &e);
	if (u->db == NULL || database_share_versions(u->db, u->versions, &e) < 0)
		fail_msg("%s", e.text);
	while (tend(u) > 0)
		continue;
}

/* As open_user, again: its first check is not delayed. */
static void reopen(const struct fixture *f, struct user *u)
{
	close_user(u);
	open_user(f, u);
}

static struct store_key key_of(const char *thread)
{
	return (struct store_key){.subject = "ann", .thread_id = thread};
}

static int64_t hash_of(const char *thread)
{
	const struct store_key k = key_of(thread);

	return database_key_of("run", &k);
}

static bool find(struct user *u, const char *thread, struct version *v)
{
	return versions_find(u->versions, hash_of(thread), u->now_ms, v);
}

static bool is_unknown(struct user *u, const char *thread)
{
	struct version v;

	return !find(u, thread, &v);
}

static bool was_never_written(struct user *u, const char *thread)
{
	struct version v;

	return find(u, thread, &v) && v.never;
}

/* The number of the commit; 0: not known. */
static uint64_t append(struct user *u, const char *thread)
{
	static const char turn[] = "[{\"role\":\"user\",\"content\":\"a\"}]";
	const struct store_key k = key_of(thread);
	struct err e = ERR_INIT;

	if (database_begin_writing(u->db, &e) < 0 ||
	    database_append(u->db, &k, turn, sizeof turn - 1, 1000, &no_limits, &e) < 0 ||
	    database_commit(u->db, &e) < 0)
		fail_msg("%s", e.text);
	return database_committed(u->db);
}

/* How many turns it has, and of which number that is. */
static int64_t load(struct user *u, const char *thread, uint64_t *number)
{
	const struct store_key k = key_of(thread);
	const uint64_t before = database_now(u->db);
	struct err e = ERR_INIT;
	json_t *turns = NULL;
	int64_t count;

	if (database_begin_reading(u->db, &e) == 0)
		turns = database_load(u->db, &k, 1000, &no_limits, &e);
	if (turns == NULL)
		fail_msg("%s", e.text);
	*number = database_now(u->db) == before ? before : 0;
	database_end_reading(u->db);
	count = (int64_t)json_array_size(turns);
	json_decref(turns);
	return count;
}

/* Another program, which knows nothing of the table. */
static void sql(const char *file, const char *text)
{
	char *message = NULL;
	sqlite3 *raw;

	assert_int_equal(sqlite3_open(file, &raw), SQLITE_OK);
	sqlite3_busy_timeout(raw, 10000);
	if (sqlite3_exec(raw, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
	sqlite3_close(raw);
}

/* Another process, as a file that SQLite has open must not be closed in this one. */
static void sql_elsewhere(const char *file, const char *text)
{
	const pid_t pid = fork();
	int status;

	if (pid == 0) {
		sql(file, text);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void insert_elsewhere(const struct fixture *f, const char *thread)
{
	char text[1000];

	snprintf(
		text, sizeof text,
		"INSERT INTO history(key, thread, first, number, bytes, threads, created_ms, at_ms, subject,"
		" thread_id, run, messages) SELECT %lld, max(id) + 1, 1, 1, 10, 1, 1, 1, 'ann', '%s', '', '[]' FROM history",
		(long long)hash_of(thread), thread);
	sql_elsewhere(f->file, text);
}

static void a_new_thread_is_known_and_a_turn_is_seen(void **state)
{
	struct fixture *f = *state;
	struct version v;
	uint64_t first, second;

	open_user(f, &f->a);
	open_user(f, &f->b);
	assert_true(was_never_written(&f->a, "thread-1"));
	assert_true(was_never_written(&f->b, "thread-1"));
	first = append(&f->a, "thread-1");
	assert_int_not_equal(first, 0);
	assert_true(find(&f->b, "thread-1", &v));
	assert_false(v.never);
	assert_int_equal(v.since, first);
	assert_true(was_never_written(&f->b, "thread-2"));
	second = append(&f->b, "thread-1");
	assert_true(second > first);
	assert_true(find(&f->a, "thread-1", &v));
	assert_int_equal(v.since, second);
	append(&f->b, "thread-3");
	assert_true(find(&f->a, "thread-1", &v));
	assert_int_equal(v.since, second); /* others do not matter */
}

static void what_is_not_yet_committed_cannot_be_taken_for_read(void **state)
{
	static const char turn[] = "[]";
	struct fixture *f = *state;
	const struct store_key k = key_of("thread-1");
	struct err e = ERR_INIT;
	struct version v;
	uint64_t number;

	open_user(f, &f->a);
	open_user(f, &f->b);
	append(&f->a, "thread-1");
	assert_int_equal(database_begin_writing(f->a.db, &e), 0);
	assert_int_equal(database_append(f->a.db, &k, turn, sizeof turn - 1, 1000, &no_limits, &e), 0);
	assert_int_equal(load(&f->b, "thread-1", &number), 1);
	assert_int_equal(database_commit(f->a.db, &e), 0);
	assert_true(find(&f->b, "thread-1", &v));
	assert_true(v.since > number);
	assert_int_equal(load(&f->b, "thread-1", &number), 2);
	assert_true(v.since <= number);
}

static void what_was_rolled_back_does_no_harm(void **state)
{
	static const char turn[] = "[]";
	struct fixture *f = *state;
	const struct store_key k = key_of("thread-1");
	struct err e = ERR_INIT;
	struct version v;

	open_user(f, &f->a);
	assert_int_equal(database_begin_writing(f->a.db, &e), 0);
	assert_int_equal(database_append(f->a.db, &k, turn, sizeof turn - 1, 1000, &no_limits, &e), 0);
	database_roll_back(f->a.db);
	assert_true(find(&f->a, "thread-1", &v));
	append(&f->a, "thread-2");
	assert_true(find(&f->a, "thread-1", &v));
	assert_true(was_never_written(&f->a, "thread-3"));
}

static void threads_of_an_earlier_run_are_entered(void **state)
{
	struct fixture *f = *state;
	char thread[32];

	open_user(f, &f->a);
	for (int i = 0; i < 5000; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		append(&f->a, thread);
	}
	close_user(&f->a);
	unlink(f->table);
	open_user(f, &f->a);
	/* Without a log nothing distinguishes what others write from what is there. */
	assert_true(is_unknown(&f->a, "new"));
	append(&f->a, "another");
	assert_false(was_never_written(&f->a, "new"));
	open_user(f, &f->b);
	assert_true(was_never_written(&f->a, "new"));
	assert_true(was_never_written(&f->b, "new"));
	for (int i = 0; i < 5000; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		assert_false(was_never_written(&f->b, thread));
	}
}

/* Of a thousand threads that nobody wrote, how many the table does not know as new. */
static int taken_for_written(struct user *u)
{
	char thread[32];
	int count = 0;

	for (int i = 0; i < 1000; i++) {
		snprintf(thread, sizeof thread, "new-%d", i);
		count += !was_never_written(u, thread);
	}
	return count;
}

static void new_threads_are_known_beside_many(void **state)
{
	struct fixture *f = *state;

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	close_user(&f->a);
	unlink(f->table);
	sql_elsewhere(
		f->file,
		"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)"
		"INSERT INTO history(id, key, thread, first, number, bytes, threads, created_ms, at_ms, subject,"
		" thread_id, run, messages) SELECT i, random(), i, 1, 1, 10, i, 1, 1, 'ann', 'x' || i, '', '[]' FROM n");
	open_user(f, &f->a);
	append(&f->a, "thread-1");
	open_user(f, &f->b);
	assert_in_range(taken_for_written(&f->b), 0, 30);
	assert_false(was_never_written(&f->b, "thread-1"));
}

static void it_is_filled_again_for_many(void **state)
{
	struct fixture *f = *state;
	const int64_t later_ms = clock_mono_ms() + 60000;
	struct err e = ERR_INIT;
	char thread[32];

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	open_user(f, &f->b);
	assert_int_equal(taken_for_written(&f->b), 0);
	assert_false(versions_claim_filling(f->b.versions, later_ms));
	assert_int_equal(database_begin_writing(f->a.db, &e), 0);
	for (int i = 0; i < 70000; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		versions_touch(f->a.versions, hash_of(thread));
	}
	assert_int_equal(database_commit(f->a.db, &e), 0);
	assert_true(versions_claim_filling(f->b.versions, later_ms));
}

static uint64_t begin_filling(struct user *u)
{
	struct err e = ERR_INIT;
	uint64_t from;

	assert_int_equal(database_begin_writing(u->db, &e), 0);
	from = versions_begin_filling(u->versions, 1);
	database_roll_back(u->db);
	assert_int_equal(versions_committed(u->versions), from);
	return from;
}

static void one_process_fills_it_however_long_that_takes(void **state)
{
	struct fixture *f = *state;
	int64_t now_ms;
	uint64_t from;

	open_user(f, &f->a);
	open_user(f, &f->b);
	append(&f->a, "thread-1");
	insert_elsewhere(f, "thread-2");
	append(&f->a, "thread-1");
	now_ms = clock_mono_ms() + 60000;
	assert_true(versions_claim_filling(f->a.versions, now_ms));
	from = begin_filling(&f->a);
	for (int i = 0; i < 10; i++) {
		now_ms += 1500;
		assert_false(versions_claim_filling(f->b.versions, now_ms));
		assert_true(versions_claim_again(f->a.versions, from, now_ms));
	}
	/* Unless it seems to have died. */
	now_ms += 3000;
	assert_true(versions_claim_filling(f->b.versions, now_ms));
	begin_filling(&f->b);
	assert_false(versions_claim_again(f->a.versions, from, now_ms));
}

static void a_commit_of_another_program_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct version v;
	uint64_t number;

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	assert_int_equal(load(&f->a, "thread-1", &number), 1);
	insert_elsewhere(f, "thread-2");
	assert_true(is_unknown(&f->a, "thread-1"));
	assert_true(is_unknown(&f->a, "thread-2"));
	/* From the next commit on, what is read is known again, but not that there is nothing. */
	append(&f->a, "thread-3");
	assert_true(find(&f->a, "thread-1", &v));
	assert_true(v.since > number);
	assert_false(was_never_written(&f->a, "thread-2"));
	assert_int_equal(load(&f->a, "thread-1", &number), 1);
	assert_true(v.since <= number);
	assert_int_equal(load(&f->a, "thread-2", &number), 1);
}

static void a_database_of_another_time_is_noticed(void **state)
{
	struct fixture *f = *state;
	char text[300];
	uint64_t number;

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	snprintf(text, sizeof text, "VACUUM INTO '%s.copy'", f->file);
	sql_elsewhere(f->file, text);
	append(&f->a, "thread-2");
	close_user(&f->a);
	/* Stopped, restored, started. */
	snprintf(text, sizeof text, "%s.copy", f->file);
	insert_elsewhere(f, "thread-3");
	assert_int_equal(rename(text, f->file), 0);
	open_user(f, &f->a);
	append(&f->a, "thread-4");
	assert_false(was_never_written(&f->a, "thread-1"));
	assert_int_equal(load(&f->a, "thread-1", &number), 1);
	assert_int_equal(load(&f->a, "thread-3", &number), 0);
}

static void a_database_replaced_while_it_is_used_is_noticed(void **state)
{
	struct fixture *f = *state;
	char copy[160];
	char text[300];

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	snprintf(copy, sizeof copy, "%s.copy", f->file);
	snprintf(text, sizeof text, "VACUUM INTO '%s'", copy);
	sql_elsewhere(f->file, text);
	assert_true(was_never_written(&f->a, "thread-2"));
	assert_int_equal(rename(copy, f->file), 0);
	f->a.now_ms += 1000;
	assert_true(is_unknown(&f->a, "thread-2"));
	/* Whoever opens the other one has a table of its own. */
	open_user(f, &f->b);
	append(&f->b, "thread-2");
	assert_true(is_unknown(&f->a, "thread-2"));
	reopen(f, &f->a);
	assert_false(was_never_written(&f->a, "thread-2"));
}

static void commits_while_nobody_had_it_open_are_noticed(void **state)
{
	struct fixture *f = *state;

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	assert_true(was_never_written(&f->a, "thread-2"));
	close_user(&f->a);
	insert_elsewhere(f, "thread-2");
	open_user(f, &f->a);
	assert_false(was_never_written(&f->a, "thread-2"));
	append(&f->a, "thread-1");
	assert_false(was_never_written(&f->a, "thread-2"));
}

static void damage(const char *path, off_t at, size_t len)
{
	int fd = open(path, O_WRONLY);
	unsigned char junk[512];

	assert_true(fd >= 0);
	memset(junk, 0x5a, sizeof junk);
	assert_int_equal(pwrite(fd, junk, len, at), len);
	close(fd);
}

static void a_damaged_or_missing_table_is_made_again(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	for (int i = 0; i < 5; i++) {
		close_user(&f->a);
		if (i == 0)
			damage(f->table, 0, 100);
		else if (i == 1)
			damage(f->table, 56, 200);
		else if (i == 2)
			assert_int_equal(truncate(f->table, 5000), 0);
		else if (i == 3)
			assert_int_equal(unlink(f->table), 0);
		else
			assert_int_equal(truncate(f->table, 0), 0);
		open_user(f, &f->a);
		append(&f->a, "thread-1");
		assert_false(was_never_written(&f->a, "thread-1"));
		reopen(f, &f->a);
		append(&f->a, "thread-1");
		assert_false(was_never_written(&f->a, "thread-1"));
		assert_int_equal(stat(f->table, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

static void a_table_truncated_while_it_is_used_ends_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t number;

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	assert_int_equal(truncate(f->table, 0), 0);
	assert_true(is_unknown(&f->a, "thread-1"));
	append(&f->a, "thread-1");
	assert_true(is_unknown(&f->a, "thread-1"));
	assert_int_equal(load(&f->a, "thread-1", &number), 2);
	assert_int_equal(number, 0);
}

static void without_a_table_everything_is_read(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	uint64_t number;

	assert_int_equal(mkdir(f->table, 0700), 0); /* cannot be replaced by a file */
	f->a.versions = versions_new(f->file);
	f->a.db = database_open(f->file, "run", true, &e);
	assert_non_null(f->a.db);
	assert_int_equal(database_share_versions(f->a.db, f->a.versions, &e), -1);
	assert_non_null(strstr(e.text, VERSIONS_SUFFIX));
	assert_int_equal(append(&f->a, "thread-1"), 0);
	assert_true(is_unknown(&f->a, "thread-1"));
	assert_int_equal(load(&f->a, "thread-1", &number), 1);
	assert_int_equal(number, 0);
}

static void used_up_numbers_begin_again(void **state)
{
	struct fixture *f = *state;
	const uint32_t last = UINT32_MAX - 65536;
	struct version v;
	uint64_t before;
	int fd;

	open_user(f, &f->a);
	before = append(&f->a, "thread-1");
	fd = open(f->table, O_WRONLY);
	assert_int_equal(pwrite(fd, &last, sizeof last, NUMBER_AT), sizeof last);
	close(fd);
	assert_int_equal(append(&f->a, "thread-1"), 0);
	assert_true(is_unknown(&f->a, "thread-1"));
	reopen(f, &f->a);
	append(&f->a, "thread-1");
	assert_true(find(&f->a, "thread-1", &v));
	assert_in_range(v.since, before + 1, (uint64_t)clock_mono_ns());
}

/* Or what a process remembers would pass for what there is. */
static void numbers_of_a_new_table_are_larger(void **state)
{
	struct fixture *f = *state;
	uint64_t before;
	struct version v;

	open_user(f, &f->a);
	for (int i = 0; i < 10; i++)
		before = append(&f->a, "thread-1");
	unlink(f->table);
	open_user(f, &f->b);
	assert_true(append(&f->b, "thread-1") > before);
	reopen(f, &f->a);
	assert_true(find(&f->a, "thread-1", &v));
	assert_true(v.since > before);
}

static void threads_of_a_former_layout_are_not_new(void **state)
{
	struct fixture *f = *state;

	open_user(f, &f->a);
	append(&f->a, "thread-1");
	sql_elsewhere(f->file,
	              "CREATE TABLE log(id INTEGER PRIMARY KEY, thread INTEGER NOT NULL, first INTEGER NOT NULL,"
	              " number INTEGER NOT NULL, bytes INTEGER NOT NULL, threads INTEGER NOT NULL, created_ms INTEGER"
	              " NOT NULL, at_ms INTEGER NOT NULL, subject TEXT NOT NULL, thread_id TEXT NOT NULL, run TEXT NOT"
	              " NULL, messages TEXT NOT NULL) STRICT;"
	              "INSERT INTO log SELECT 1, 1, 1, 1, 10, 1, 1, 1, 'ann', 'thread-2', '', '[]'");
	append(&f->a, "thread-1");
	unlink(f->table); /* the next one fills it at once */
	open_user(f, &f->b);
	append(&f->b, "thread-1");
	reopen(f, &f->b);
	assert_false(was_never_written(&f->b, "thread-2"));
	while (database_is_converting(f->b.db))
		database_convert(f->b.db, NULL);
	append(&f->b, "thread-1");
	assert_false(was_never_written(&f->b, "thread-2"));
	unlink(f->table);
	reopen(f, &f->b);
	append(&f->b, "thread-1");
	reopen(f, &f->b);
	assert_false(was_never_written(&f->b, "thread-2"));
	assert_true(was_never_written(&f->b, "thread-3"));
}

/* ---- many processes ---- */

enum { THREADS = 65536, USERS = 4, KILLS = 30 };

struct shared {
	_Atomic uint32_t committed[THREADS]; /* turns that were reported as stored, or more */
	_Atomic uint32_t done[USERS + 1];
	_Atomic uint64_t known, never;
	_Atomic bool wrong;
};

static void check(struct shared *s, bool right)
{
	if (!right) {
		atomic_store(&s->wrong, true);
		_exit(1);
	}
}

struct cached {
	uint64_t number;
	uint32_t turns;
};

/* Appends to, and loads, threads at random, without end. */
static void use_threads(const struct fixture *f, struct shared *s, int who, unsigned seed)
{
	static struct cached cache[THREADS];
	struct user u = {.db = NULL};

	srand(seed);
	memset(cache, 0, sizeof cache);
	open_user(f, &u);
	for (;;) {
		const int t = rand() % 4 == 0 ? rand() % THREADS : rand() % 8;
		const uint32_t before = atomic_load(&s->committed[t]);
		struct version v;
		char thread[32];
		uint64_t number;
		int64_t turns;

		snprintf(thread, sizeof thread, "thread-%d", t);
		u.now_ms = clock_mono_ms();
		tend(&u);
		if (rand() % 3 == 0) {
			append(&u, thread);
			atomic_fetch_add(&s->committed[t], 1);
		} else if (!find(&u, thread, &v) || (!v.never && cache[t].number < v.since)) {
			turns = load(&u, thread, &number);
			check(s, turns >= before || turns == STORE_TURNS_MAX);
			cache[t] = (struct cached){.number = number, .turns = (uint32_t)turns};
		} else if (v.never) {
			check(s, before == 0);
			atomic_fetch_add(&s->never, 1);
		} else {
			check(s, cache[t].turns >= before || cache[t].turns == STORE_TURNS_MAX);
			atomic_fetch_add(&s->known, 1);
		}
		atomic_fetch_add(&s->done[who], 1);
	}
}

/* An old version, or sqlite3: writes now and then. */
static void write_elsewhere(const struct fixture *f, struct shared *s)
{
	struct err e = ERR_INIT;
	struct user u = {.db = database_open(f->file, "run", true, &e)};

	for (int i = 0; u.db != NULL; i++) {
		const int t = THREADS - 1 - i % 32;
		char thread[32];

		snprintf(thread, sizeof thread, "thread-%d", t);
		append(&u, thread);
		atomic_fetch_add(&s->committed[t], 1);
		atomic_fetch_add(&s->done[USERS], 1);
		usleep(20000);
	}
	_exit(1);
}

static pid_t start(const struct fixture *f, struct shared *s, int who, unsigned seed)
{
	const pid_t pid = fork();

	if (pid == 0) {
		if (who < USERS)
			use_threads(f, s, who, seed);
		else
			write_elsewhere(f, s);
	}
	assert_true(pid > 0);
	return pid;
}

static void no_process_misses_a_turn_whoever_is_killed(void **state)
{
	struct fixture *f = *state;
	struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[USERS + 1];
	const unsigned seed = (unsigned)getpid();
	int status;

	assert_true(s != MAP_FAILED);
	print_message("seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < USERS; i++)
		pids[i] = start(f, s, i, seed + 1 + (unsigned)i);
	for (int i = 0; i < KILLS && !atomic_load(&s->wrong); i++) {
		const int who = i < KILLS / 2 || i % 5 < 4 ? i % USERS : USERS;
		const uint32_t until = atomic_load(&s->done[who]) + (who < USERS ? 30 + (uint32_t)rand() % 200 : 2);

		if (i == KILLS / 2)
			pids[USERS] = start(f, s, USERS, seed);
		while (atomic_load(&s->done[who]) < until && !atomic_load(&s->wrong))
			usleep((useconds_t)(rand() % 1000));
		kill(pids[who], SIGKILL);
		waitpid(pids[who], &status, 0);
		assert_true(WIFSIGNALED(status));
		pids[who] = start(f, s, who, seed + 100 + (unsigned)i);
	}
	/* Without the other program, and without deaths, there is something to know soon. */
	kill(pids[USERS], SIGKILL);
	waitpid(pids[USERS], NULL, 0);
	for (uint64_t known = atomic_load(&s->known); atomic_load(&s->known) < known + 100 && !atomic_load(&s->wrong);)
		usleep(1000);
	for (int i = 0; i < USERS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	print_message("%llu known, %llu never written\n", (unsigned long long)s->known, (unsigned long long)s->never);
	assert_false(s->wrong);
	munmap(s, sizeof *s);
}

/* ---- the loop and the database's thread ---- */

static void *find_often(void *arg)
{
	struct user *u = arg;

	for (int i = 0; i < 20000; i++) {
		struct version v;
		char thread[32];

		snprintf(thread, sizeof thread, "thread-%d", i % 16);
		versions_find(u->versions, hash_of(thread), 1000000 + i, &v);
	}
	return NULL;
}

static void another_thread_may_search_while_the_database_is_closed(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	pthread_t thread;

	open_user(f, &f->a);
	assert_int_equal(pthread_create(&thread, NULL, find_often, &f->a), 0);
	for (int i = 0; i < 20; i++) {
		append(&f->a, "thread-1");
		database_close(f->a.db);
		f->a.db = database_open(f->file, "run", true, &e);
		assert_non_null(f->a.db);
		assert_int_equal(database_share_versions(f->a.db, f->a.versions, &e), 0);
		append(&f->a, "thread-2");
		while (tend(&f->a) > 0)
			continue;
	}
	pthread_join(thread, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_thread_is_known_and_a_turn_is_seen),
		TEST(what_is_not_yet_committed_cannot_be_taken_for_read),
		TEST(what_was_rolled_back_does_no_harm),
		TEST(threads_of_an_earlier_run_are_entered),
		TEST(new_threads_are_known_beside_many),
		TEST(it_is_filled_again_for_many),
		TEST(one_process_fills_it_however_long_that_takes),
		TEST(a_commit_of_another_program_is_noticed),
		TEST(a_database_of_another_time_is_noticed),
		TEST(a_database_replaced_while_it_is_used_is_noticed),
		TEST(commits_while_nobody_had_it_open_are_noticed),
		TEST(a_damaged_or_missing_table_is_made_again),
		TEST(a_table_truncated_while_it_is_used_ends_nothing),
		TEST(without_a_table_everything_is_read),
		TEST(used_up_numbers_begin_again),
		TEST(numbers_of_a_new_table_are_larger),
		TEST(threads_of_a_former_layout_are_not_new),
		TEST(no_process_misses_a_turn_whoever_is_killed),
		TEST(another_thread_may_search_while_the_database_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
