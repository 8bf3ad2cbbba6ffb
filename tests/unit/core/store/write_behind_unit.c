/* SPDX-License-Identifier: Apache-2.0 */
/* Turns that were told before they are stored: each is stored once, in its order, whoever is killed when, and whatever
 * becomes of the file. */
#include "core/store/write_behind.h"

#include "core/base/clock.h"
#include "core/store/database.h"

#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { PROCESSES = 3, ROUNDS = 40 };

/* One process that uses the database. */
struct user {
	struct database *db;
	struct write_behind *pending;
};

struct fixture {
	char directory[64], file[128], rings[140];
	struct user a, b;
};

static const struct store_limits no_limits = {.expire_ms = 0};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (f == NULL)
		return -1;
	snprintf(f->directory, sizeof f->directory, "/tmp/write_behind_unit.XXXXXX");
	if (mkdtemp(f->directory) == NULL)
		return -1;
	snprintf(f->file, sizeof f->file, "%s/threads.db", f->directory);
	snprintf(f->rings, sizeof f->rings, "%s" WRITE_BEHIND_SUFFIX, f->file);
	*state = f;
	return 0;
}

static void close_user(struct user *u)
{
	database_close(u->db);
	write_behind_free(u->pending);
	*u = (struct user){.db = NULL};
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	close_user(&f->a);
	close_user(&f->b);
	snprintf(command, sizeof command, "rm -r %s", f->directory);
	free(f);
	return system(command);
}

static int try_open_user(const struct fixture *f, struct user *u, struct err *e)
{
	u->pending = write_behind_new(f->file);
	u->db = database_open(f->file, "run", true, e);
	assert_non_null(u->db);
	return database_share_pending(u->db, u->pending, true, e);
}

static void open_user(const struct fixture *f, struct user *u)
{
	struct err e = ERR_INIT;

	if (try_open_user(f, u, &e) < 0)
		fail_msg("%s", e.text);
}

/* ---- one turn after the other ---- */

static struct store_key key_of(const char *thread)
{
	return (struct store_key){.subject = "ann", .thread_id = thread};
}

static uint64_t add(const struct user *u, const char *thread, const char *text)
{
	const struct store_key k = key_of(thread);
	const struct write_behind_turn t = {.key = database_key_of("run", &k),
	                                    .at_ms = clock_wall_ms(),
	                                    .subject = "ann",
	                                    .thread_id = thread,
	                                    .run = "",
	                                    .text = text,
	                                    .len = strlen(text)};
	bool filling;

	return write_behind_add(u->pending, &t, &filling);
}

static bool waits(const struct user *u, const char *thread)
{
	const struct store_key k = key_of(thread);

	return database_has_pending(u->db, &k);
}

/* How many could not be stored. */
static int64_t store_all(const struct user *u)
{
	int64_t dropped, sum = 0;
	struct err e = ERR_INIT;
	int more = 1;

	while (more > 0) {
		more = database_store_pending(u->db, &no_limits, &dropped, &e);
		sum += dropped;
	}
	if (more < 0)
		fail_msg("%s", e.text);
	return sum;
}

static void assert_thread(const struct user *u, const char *thread, const char *want)
{
	const struct store_key k = key_of(thread);
	struct err e = ERR_INIT;
	json_t *turns = database_load(u->db, &k, clock_wall_ms(), &no_limits, &e);
	char *got = json_dumps(turns, JSON_COMPACT);

	assert_string_equal(got, want);
	free(got);
	json_decref(turns);
}

/* Turns in one transaction, without the rings. */
static void append(const struct user *u, const char *thread, const char *const *texts, int count)
{
	const struct store_key k = key_of(thread);
	struct err e = ERR_INIT;

	assert_int_equal(database_begin_writing(u->db, &e), 0);
	for (int i = 0; i < count; i++)
		assert_int_equal(database_append(u->db, &k, texts[i], strlen(texts[i]), 1, &no_limits, &e), 0);
	assert_int_equal(database_commit(u->db, &e), 0);
}

static int64_t last_row(const struct fixture *f)
{
	sqlite3_stmt *s;
	sqlite3 *raw;
	int64_t id;

	assert_int_equal(sqlite3_open(f->file, &raw), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(raw, "SELECT max(id) FROM history", -1, &s, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	id = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(raw);
	return id;
}

static void any_process_finds_and_stores_them(void **state)
{
	struct fixture *f = *state;
	struct write_behind_result result;
	uint64_t first, second;

	open_user(f, &f->a);
	open_user(f, &f->b);
	first = add(&f->a, "thread-1", "[1]");
	second = add(&f->a, "thread-1", "[2]");
	assert_true(first > 0 && second > first);
	assert_true(waits(&f->a, "thread-1"));
	assert_true(waits(&f->b, "thread-1"));
	assert_false(waits(&f->b, "thread-2"));
	assert_int_equal(write_behind_check(f->a.pending, first, &result), WRITE_BEHIND_WAITS);
	store_all(&f->b);
	assert_false(waits(&f->a, "thread-1"));
	assert_thread(&f->a, "thread-1", "[[1],[2]]");
	assert_int_equal(write_behind_check(f->a.pending, first, &result), WRITE_BEHIND_STORED);
	assert_int_equal(result.turns, 1);
	assert_int_equal(write_behind_check(f->a.pending, second, &result), WRITE_BEHIND_STORED);
	assert_int_equal(result.turns, 2);
	assert_true(result.at_ms > 0);
	store_all(&f->a);
	assert_thread(&f->b, "thread-1", "[[1],[2]]");
}

/* In the file that outlives them. */
static void no_text_stays(void **state)
{
	struct fixture *f = *state;
	struct write_behind_result result;
	uint64_t ticket;
	char command[200];

	open_user(f, &f->a);
	ticket = add(&f->a, "thread-1", "[\"a secret\"]");
	snprintf(command, sizeof command, "grep -q secret %s", f->rings);
	assert_int_equal(system(command), 0);
	store_all(&f->a);
	assert_int_equal(write_behind_check(f->a.pending, ticket, &result), WRITE_BEHIND_STORED);
	assert_int_not_equal(system(command), 0);
	/* Of a process that has ended, once another one has its ring. */
	add(&f->a, "thread-1", "[\"a secret\"]");
	close_user(&f->a);
	open_user(f, &f->a);
	store_all(&f->a);
	assert_true(add(&f->a, "thread-1", "[1]") > 0);
	assert_int_not_equal(system(command), 0);
}

static void what_a_process_left_is_stored_by_another(void **state)
{
	struct fixture *f = *state;

	open_user(f, &f->a);
	add(&f->a, "thread-1", "[1]");
	add(&f->a, "thread-2", "[2]");
	close_user(&f->a);
	open_user(f, &f->b);
	assert_true(waits(&f->b, "thread-2"));
	store_all(&f->b);
	assert_thread(&f->b, "thread-1", "[[1]]");
	assert_thread(&f->b, "thread-2", "[[2]]");
}

/* As if the process had been killed after its commit. */
static void a_commit_that_was_not_noted_is_not_repeated(void **state)
{
	struct fixture *f = *state;

	open_user(f, &f->a);
	open_user(f, &f->b);
	add(&f->a, "thread-1", "[1]");
	add(&f->a, "thread-1", "[2]");
	append(&f->a, "thread-1", (const char *const[]){"[1]", "[2]"}, 2);
	write_behind_note(f->a.pending, 0, &(struct write_behind_commit){.to = 2, .row = last_row(f)});
	add(&f->a, "thread-1", "[3]");
	store_all(&f->b);
	assert_thread(&f->b, "thread-1", "[[1],[2],[3]]");
}

/* As if it had been killed before its commit; another program has stored something else in that row. */
static void a_commit_that_did_not_take_place_is_repeated(void **state)
{
	struct fixture *f = *state;

	open_user(f, &f->a);
	open_user(f, &f->b);
	add(&f->a, "thread-1", "[1]");
	append(&f->b, "thread-1", (const char *const[]){"[0]"}, 1);
	write_behind_note(f->a.pending, 0, &(struct write_behind_commit){.to = 1, .row = last_row(f)});
	store_all(&f->b);
	assert_thread(&f->b, "thread-1", "[[0],[1]]");
}

/* What the owner would take for all there is. */
static void a_result_says_nothing_of_a_thread_that_another_process_continues(void **state)
{
	struct fixture *f = *state;
	struct write_behind_result result;
	uint64_t mine, other;

	open_user(f, &f->a);
	open_user(f, &f->b);
	mine = add(&f->a, "thread-1", "[1]");
	other = add(&f->b, "thread-1", "[2]");
	store_all(&f->a);
	assert_int_equal(write_behind_check(f->a.pending, mine, &result), WRITE_BEHIND_STORED);
	assert_int_equal(result.number, 0);
	assert_int_equal(write_behind_check(f->b.pending, other, &result), WRITE_BEHIND_STORED);
	assert_int_equal(result.number, 0);
}

/* ---- turns that cannot be stored ---- */

static bool is_refused(unsigned i)
{
	return i == 0 || i == 7 || i == 8 || i == 39;
}

/* Wherever they are in a ring, the others are stored once and in their order. */
static void what_cannot_be_stored_harms_no_other(void **state)
{
	struct fixture *f = *state;
	const struct user *users[] = {&f->a, &f->b};
	char thread[16], text[16], want[64];
	sqlite3 *raw;

	open_user(f, &f->a);
	open_user(f, &f->b);
	assert_int_equal(sqlite3_open(f->file, &raw), SQLITE_OK);
	assert_int_equal(sqlite3_exec(raw,
	                              "CREATE TRIGGER refuse BEFORE INSERT ON history WHEN NEW.messages LIKE '%x%'"
	                              " BEGIN SELECT RAISE(ABORT, 'refused'); END",
	                              NULL, NULL, NULL),
	                 SQLITE_OK);
	sqlite3_close(raw);
	for (unsigned i = 0; i < 40; i++)
		for (unsigned u = 0; u < 2; u++) {
			snprintf(thread, sizeof thread, "thread-%u-%u", u, i % 20);
			snprintf(text, sizeof text, is_refused(i) ? "[\"x\"]" : "[%u]", i);
			assert_true(add(users[u], thread, text) > 0);
		}
	assert_int_equal(store_all(&f->b), 8);
	for (unsigned i = 0; i < 20; i++)
		for (unsigned u = 0; u < 2; u++) {
			snprintf(thread, sizeof thread, "thread-%u-%u", u, i);
			if (is_refused(i))
				snprintf(want, sizeof want, "[[%u]]", i + 20);
			else if (is_refused(i + 20))
				snprintf(want, sizeof want, "[[%u]]", i);
			else
				snprintf(want, sizeof want, "[[%u],[%u]]", i, i + 20);
			assert_thread(users[u], thread, want);
			assert_false(waits(users[u], thread));
		}
}

/* ---- the ring ---- */

static void fill_text(char *text, size_t len, uint64_t number)
{
	memset(text, (char)('a' + number % 26), len);
	text[len] = '\0';
}

/* Turns of any length go round in it; each comes out as it went in. */
static void the_ring_goes_round(void **state)
{
	struct fixture *f = *state;
	struct write_behind_turn t = {.key = 1, .at_ms = 7, .subject = "", .thread_id = "thread-1", .run = ""};
	static char text[WRITE_BEHIND_BYTES], want[WRITE_BEHIND_BYTES], copy[WRITE_BEHIND_COPY];
	uint64_t tickets[4096] = {0};
	struct write_behind_result result;
	uint64_t added = 0, stored = 0, looked = 0, refused = 0;
	bool filling, filled = false;

	open_user(f, &f->a);
	srand(7);
	for (int i = 0; i < 20000; i++) {
		const size_t len =
			rand() % 50 == 0 ? (size_t)rand() % (WRITE_BEHIND_BYTES - 100) : (size_t)rand() % 900;

		fill_text(text, len, added);
		t.text = text;
		t.len = len;
		tickets[added % 4096] = write_behind_add(f->a.pending, &t, &filling);
		filled |= filling;
		if (tickets[added % 4096] > 0)
			added++;
		else
			refused++;
		while (stored < added && (refused > 0 || rand() % 3 == 0) && rand() % 200 != 0) {
			assert_true(write_behind_copy(f->a.pending, 0, stored, copy, &t));
			fill_text(want, t.len, stored);
			assert_string_equal(t.text, want);
			assert_string_equal(t.thread_id, "thread-1");
			assert_int_equal(t.at_ms, 7);
			write_behind_committed(f->a.pending, 0, ++stored);
		}
		t.subject = t.run = "";
		t.thread_id = "thread-1";
		while (looked < stored) {
			assert_int_equal(write_behind_check(f->a.pending, tickets[looked % 4096], &result),
			                 WRITE_BEHIND_STORED);
			looked++;
		}
		refused = 0;
	}
	assert_true(filled);
}

static void a_turn_without_room_is_refused(void **state)
{
	struct fixture *f = *state;
	static char text[WRITE_BEHIND_BYTES + 1];
	int n = 0;

	open_user(f, &f->a);
	fill_text(text, WRITE_BEHIND_BYTES, 0);
	assert_int_equal(add(&f->a, "thread-1", text), 0); /* with its names it is longer than any may be */
	fill_text(text, 10000, 0);
	while (add(&f->a, "thread-1", text) > 0)
		assert_true(++n < 1000);
	assert_true(n > 10);
	store_all(&f->a);
	assert_false(waits(&f->a, "thread-1"));
}

/* ---- the file ---- */

static void a_file_that_is_gone_is_made_again(void **state)
{
	struct fixture *f = *state;
	struct write_behind_result result;
	struct err e = ERR_INIT;
	uint64_t ticket;

	open_user(f, &f->a);
	ticket = add(&f->a, "thread-1", "[1]");
	assert_int_equal(unlink(f->rings), 0);
	assert_true(write_behind_has_moved(f->a.pending));
	assert_int_equal(database_share_pending(f->a.db, f->a.pending, true, &e), 0);
	assert_int_equal(write_behind_check(f->a.pending, ticket, &result), WRITE_BEHIND_GONE);
	ticket = add(&f->a, "thread-1", "[1]");
	assert_int_equal(write_behind_check(f->a.pending, ticket, &result), WRITE_BEHIND_WAITS);
	store_all(&f->a);
	assert_thread(&f->a, "thread-1", "[[1]]");
}

static void a_file_that_is_cut_off_harms_nobody(void **state)
{
	struct fixture *f = *state;
	struct write_behind_result result;
	struct err e = ERR_INIT;
	uint64_t ticket;

	open_user(f, &f->a);
	ticket = add(&f->a, "thread-1", "[1]");
	assert_int_equal(truncate(f->rings, 0), 0);
	assert_int_equal(add(&f->a, "thread-1", "[2]"), 0);
	assert_false(waits(&f->a, "thread-1"));
	assert_int_equal(write_behind_check(f->a.pending, ticket, &result), WRITE_BEHIND_GONE);
	store_all(&f->a);
	assert_true(write_behind_has_moved(f->a.pending));
	assert_int_equal(database_share_pending(f->a.db, f->a.pending, true, &e), 0);
	assert_true(add(&f->a, "thread-1", "[2]") > 0);
	store_all(&f->a);
	assert_thread(&f->a, "thread-1", "[[2]]");
}

static void a_directory_in_its_place_is_reported(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	assert_int_equal(mkdir(f->rings, 0700), 0);
	assert_int_equal(try_open_user(f, &f->a, &e), -1);
	assert_non_null(strstr(e.text, WRITE_BEHIND_SUFFIX));
	assert_false(write_behind_is_attached(f->a.pending));
	assert_int_equal(add(&f->a, "thread-1", "[1]"), 0);
	store_all(&f->a);
}

/* Whatever bytes it has: nobody crashes or hangs, and the database stays what it is. */
static void a_damaged_file_harms_nobody(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	open_user(f, &f->a);
	append(&f->a, "before", (const char *const[]){"[0]"}, 1);
	srand(11);
	for (int i = 0; i < 300; i++) {
		struct write_behind_result result;
		FILE *out;

		for (int n = 0; n < 5; n++)
			write_behind_check(f->a.pending, add(&f->a, "thread-1", "[\"text\"]"), &result);
		out = fopen(f->rings, "r+b");
		assert_non_null(out);
		for (int n = 0; n < 20; n++) {
			/* what counts, the keys and places of records, or their bytes */
			const long at =
				rand() % 3 == 0 ? 4096 + rand() % 64 : 8192 + rand() % (rand() % 2 ? 600 : 60000);

			fseek(out, at, SEEK_SET);
			fputc(rand(), out);
		}
		fclose(out);
		waits(&f->a, "thread-1");
		store_all(&f->a);
		database_share_pending(f->a.db, f->a.pending, true, &e);
		err_clear(&e);
		if (rand() % 10 == 0) {
			close_user(&f->a);
			unlink(f->rings);
			open_user(f, &f->a);
		}
	}
	assert_thread(&f->a, "before", "[[0]]");
}

static void a_process_without_a_ring_still_sees_them(void **state)
{
	struct fixture *f = *state;
	struct write_behind *others[WRITE_BEHIND_RINGS];
	struct stat st;
	struct err e = ERR_INIT;

	open_user(f, &f->a);
	assert_int_equal(stat(f->file, &st), 0);
	for (unsigned i = 1; i < WRITE_BEHIND_RINGS; i++) {
		others[i] = write_behind_new(f->file);
		assert_int_equal(write_behind_attach(others[i], st.st_dev, st.st_ino, true, &e), 0);
	}
	add(&f->a, "thread-1", "[1]");
	assert_int_equal(try_open_user(f, &f->b, &e), -1);
	assert_non_null(strstr(e.text, "64 processes"));
	assert_int_equal(add(&f->b, "thread-1", "[2]"), 0);
	assert_true(waits(&f->b, "thread-1"));
	store_all(&f->b);
	assert_thread(&f->b, "thread-1", "[[1]]");
	for (unsigned i = 1; i < WRITE_BEHIND_RINGS; i++)
		write_behind_free(others[i]);
}

/* ---- processes that are killed ---- */

/* Tells numbered turns of its own thread as fast as it can, a byte each, and stores those of all now and then. */
static void tell_forever(const struct fixture *f, int process, int from, int fd)
{
	struct user u = {.db = NULL};
	struct write_behind_result result;
	char thread[16], text[16];
	uint64_t ticket;

	srand((unsigned)getpid());
	snprintf(thread, sizeof thread, "thread-%d", process);
	open_user(f, &u);
	for (int n = from;; n++) {
		snprintf(text, sizeof text, "[%d]", n);
		while ((ticket = add(&u, thread, text)) == 0)
			store_all(&u);
		if (write(fd, ".", 1) != 1)
			_exit(1);
		if (rand() % 8 == 0)
			store_all(&u);
		write_behind_check(u.pending, ticket, &result);
	}
}

static int confirmed_by(int fd)
{
	char bytes[4096];
	ssize_t n;
	int count = 0;

	while ((n = read(fd, bytes, sizeof bytes)) > 0)
		count += (int)n;
	return count;
}

/* The numbers that the thread has, which must be those up to the last one without a gap; it has the newest 256. */
static int last_of(const struct user *u, int process)
{
	char thread[16];
	const struct store_key k = {.subject = "ann", .thread_id = thread};
	struct err e = ERR_INIT;
	json_t *turns, *turn;
	int last = 0;
	size_t i;

	snprintf(thread, sizeof thread, "thread-%d", process);
	turns = database_load(u->db, &k, clock_wall_ms(), &no_limits, &e);
	json_array_foreach(turns, i, turn)
	{
		const int number = (int)json_integer_value(json_array_get(turn, 0));

		if (i > 0)
			assert_int_equal(number, last + 1);
		last = number;
	}
	json_decref(turns);
	return last;
}

static void killed_at_any_moment(void **state)
{
	struct fixture *f = *state;
	int last[PROCESSES] = {0};

	for (int round = 0; round < ROUNDS; round++) {
		const struct timespec life = {.tv_nsec = 3000000 + (round * 7919 % 40) * 500000L};
		pid_t pids[PROCESSES];
		int fds[PROCESSES][2];
		char first;

		for (int i = 0; i < PROCESSES; i++) {
			assert_int_equal(pipe(fds[i]), 0);
			pids[i] = fork();
			if (pids[i] == 0)
				tell_forever(f, i, last[i] + 1, fds[i][1]);
			close(fds[i][1]);
		}
		for (int i = 0; i < PROCESSES; i++)
			assert_int_equal(read(fds[i][0], &first, 1), 1);
		nanosleep(&life, NULL);
		for (int i = 0; i < PROCESSES; i++)
			kill(pids[i], SIGKILL);
		for (int i = 0; i < PROCESSES; i++)
			waitpid(pids[i], NULL, 0);
		open_user(f, &f->a);
		assert_int_equal(store_all(&f->a), 0);
		for (int i = 0; i < PROCESSES; i++) {
			const int confirmed = 1 + confirmed_by(fds[i][0]), found = last_of(&f->a, i);

			close(fds[i][0]);
			/* One more may have been added before the byte was written. */
			assert_in_range(found, last[i] + confirmed, last[i] + confirmed + 1);
			last[i] = found;
		}
		close_user(&f->a);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_process_finds_and_stores_them),
		TEST(no_text_stays),
		TEST(what_a_process_left_is_stored_by_another),
		TEST(a_commit_that_was_not_noted_is_not_repeated),
		TEST(a_commit_that_did_not_take_place_is_repeated),
		TEST(a_result_says_nothing_of_a_thread_that_another_process_continues),
		TEST(what_cannot_be_stored_harms_no_other),
		TEST(the_ring_goes_round),
		TEST(a_turn_without_room_is_refused),
		TEST(a_file_that_is_gone_is_made_again),
		TEST(a_file_that_is_cut_off_harms_nobody),
		TEST(a_directory_in_its_place_is_reported),
		TEST(a_damaged_file_harms_nobody),
		TEST(a_process_without_a_ring_still_sees_them),
		TEST(killed_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
