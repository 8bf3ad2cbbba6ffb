/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations: the turns of a thread come back, and in no other thread. */
#include "core/store/store_admin.h"
#include "core/store/store_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
	struct event_base *base;
	struct store *store;
	char directory[64], file[128];
	json_t *loaded; /* the last answer */
	bool failed;    /* it was an error */
	bool found;     /* what was deleted last */
	int answers;
};

#define MAX_THREADS 1000

static const struct store_limits no_limits = {.max_threads = MAX_THREADS};

static struct store *sqlite_open(struct fixture *f, const char *run, const struct store_limits *limits)
{
	struct err e = ERR_INIT;
	char url[140];

	snprintf(url, sizeof url, "sqlite:%s", f->file);
	return store_new(f->base, url, run, limits, &e);
}

static int setup_base(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (f == NULL || (f->base = event_base_new()) == NULL)
		return -1;
	strcpy(f->directory, "/tmp/store_unit.XXXXXX");
	if (mkdtemp(f->directory) == NULL)
		return -1;
	snprintf(f->file, sizeof f->file, "%s/threads.db", f->directory);
	*state = f;
	return 0;
}

static int setup_memory(void **state)
{
	struct fixture *f;
	struct err e = ERR_INIT;

	if (setup_base(state) < 0)
		return -1;
	f = *state;
	f->store = store_new(f->base, "memory:", "", &no_limits, &e);
	return f->store == NULL;
}

static int setup_sqlite(void **state)
{
	struct fixture *f;

	if (setup_base(state) < 0)
		return -1;
	f = *state;
	f->store = sqlite_open(f, "run", &no_limits);
	return f->store == NULL;
}

static int teardown(void **state)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-reserve", "-versions", "-pending", ".away"};
	struct fixture *f = *state;
	char path[256];

	store_free(f->store);
	event_base_free(f->base);
	json_decref(f->loaded);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		snprintf(path, sizeof path, "%s/threads.db%s", f->directory, ends[i]);
		unlink(path);
	}
	rmdir(f->directory);
	free(f);
	return 0;
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct fixture *f = arg;

	json_decref(f->loaded);
	f->loaded = json_incref((json_t *)(uintptr_t)turns);
	f->failed = e != NULL;
	assert_int_equal(f->failed, turns == NULL);
	f->answers++;
}

static void on_saved(void *arg, const struct err *e)
{
	struct fixture *f = arg;

	f->failed = e != NULL;
	f->answers++;
}

static void run(struct fixture *f, int answers)
{
	int want = f->answers + answers;

	while (f->answers < want)
		assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
	assert_int_equal(f->answers, want);
}

static json_t *turn(const char *text)
{
	return json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", text, "role", "assistant", "content",
	                 text);
}

static void append(struct fixture *f, const char *subject, const char *thread, const char *text)
{
	const struct store_key k = {.subject = subject, .thread_id = thread};
	int before = f->answers;

	assert_non_null(store_append(f->store, &k, turn(text), on_saved, f));
	assert_int_equal(f->answers, before); /* never from within */
	run(f, 1);
	assert_false(f->failed);
}

/* The thread's user messages, joined by spaces. */
static char *load(struct fixture *f, const char *subject, const char *thread)
{
	const struct store_key k = {.subject = subject, .thread_id = thread};
	struct buf text = BUF_INIT(64u << 20);
	json_t *messages;
	size_t i;

	assert_non_null(store_load(f->store, &k, on_loaded, f));
	run(f, 1);
	assert_false(f->failed);
	json_array_foreach(f->loaded, i, messages)
	{
		const char *word = json_string_value(json_object_get(json_array_get(messages, 0), "content"));

		assert_int_equal(json_array_size(messages), 2);
		assert_int_equal(buf_addf(&text, "%s%s", i > 0 ? " " : "", word), 0);
	}
	return buf_steal(&text, NULL);
}

static void assert_thread(struct fixture *f, const char *subject, const char *thread, const char *want)
{
	char *got = load(f, subject, thread);

	assert_string_equal(got, want);
	free(got);
}

static void turns_come_back_in_order(void **state)
{
	assert_thread(*state, "", "t", "");
	append(*state, "", "t", "one");
	append(*state, "", "t", "two");
	assert_thread(*state, "", "t", "one two");
}

static void the_subject_is_part_of_the_key(void **state)
{
	append(*state, "alice", "1", "a");
	append(*state, "bob", "1", "b");
	append(*state, "", "1", "n");
	append(*state, "alice1", "", "x");
	assert_thread(*state, "alice", "1", "a");
	assert_thread(*state, "bob", "1", "b");
	assert_thread(*state, "", "1", "n");
	assert_thread(*state, "alice", "2", "");
	assert_thread(*state, "", "alice1", "");
}

static void what_was_loaded_does_not_change(void **state)
{
	struct fixture *f = *state;

	append(f, "", "t", "one");
	assert_thread(f, "", "t", "one");
	append(f, "", "t", "two");
	assert_int_equal(json_array_size(f->loaded), 1);
}

static void start_append(struct fixture *f, const char *thread, const char *text)
{
	const struct store_key k = {.subject = "", .thread_id = thread};

	assert_non_null(store_append(f->store, &k, turn(text), on_saved, f));
}

static void simultaneous_requests_run_in_order(void **state)
{
	struct fixture *f = *state;
	const struct store_key k = {.subject = "", .thread_id = "t"};

	start_append(f, "t", "one");
	start_append(f, "other", "x");
	assert_non_null(store_load(f->store, &k, on_loaded, f));
	start_append(f, "t", "two");
	run(f, 4);
	assert_int_equal(json_array_size(f->loaded), 1);
	assert_thread(f, "", "t", "one two");
	assert_thread(f, "", "other", "x");
}

/* ---- deleting ---- */

static json_t *answer_turn(const char *text, const char *id)
{
	return json_pack("[{s:s, s:s}, {s:s, s:s, s:{s:s}}]", "role", "user", "content", text, "role", "assistant",
	                 "content", text, "response", "id", id);
}

static void append_answer(struct fixture *f, const char *thread, const char *text, const char *id)
{
	const struct store_key k = {.subject = "", .thread_id = thread};

	assert_non_null(store_append(f->store, &k, answer_turn(text, id), on_saved, f));
	run(f, 1);
	assert_false(f->failed);
}

static void on_deleted(void *arg, bool found, const struct err *e)
{
	struct fixture *f = arg;

	f->failed = e != NULL;
	f->found = found;
	f->answers++;
}

static void start_delete(struct fixture *f, const char *subject, const char *thread, const char *response)
{
	const struct store_key k = {.subject = subject, .thread_id = thread};

	assert_non_null(store_delete(f->store, &k, response, on_deleted, f));
}

static void assert_deletes(struct fixture *f, const char *thread, const char *response, bool found)
{
	int before = f->answers;

	start_delete(f, "", thread, response);
	assert_int_equal(f->answers, before); /* never from within */
	run(f, 1);
	assert_false(f->failed);
	assert_int_equal(f->found, found);
}

static void a_thread_is_deleted(void **state)
{
	struct fixture *f = *state;

	append(f, "", "t", "one");
	append(f, "", "t", "two");
	append(f, "", "other", "o");
	append(f, "ann", "t", "hers");
	assert_thread(f, "", "t", "one two");
	assert_deletes(f, "t", NULL, true);
	assert_thread(f, "", "t", "");
	assert_deletes(f, "t", NULL, false);
	assert_deletes(f, "never", NULL, false);
	append(f, "", "t", "new");
	assert_thread(f, "", "t", "new");
	assert_thread(f, "", "other", "o");
	assert_thread(f, "ann", "t", "hers");
}

static void one_answer_is_deleted(void **state)
{
	struct fixture *f = *state;

	append_answer(f, "t", "one", "resp_1");
	append_answer(f, "t", "resp_1 in the text", "resp_2");
	append_answer(f, "t", "three", "resp_3");
	append_answer(f, "other", "o", "resp_2");
	assert_thread(f, "", "t", "one resp_1 in the text three");
	assert_deletes(f, "t", "resp_1", true);
	assert_thread(f, "", "t", "resp_1 in the text three");
	assert_deletes(f, "t", "resp_1", false);
	append_answer(f, "t", "four", "resp_4");
	assert_deletes(f, "t", "resp_3", true);
	assert_deletes(f, "t", "resp_", false);
	assert_thread(f, "", "t", "resp_1 in the text four");
	assert_deletes(f, "t", "resp_4", true);
	assert_deletes(f, "t", "resp_2", true);
	assert_deletes(f, "t", "resp_2", false);
	assert_deletes(f, "t", NULL, false);
	assert_thread(f, "", "t", "");
	assert_thread(f, "", "other", "o");
}

static void deletions_run_in_their_order(void **state)
{
	struct fixture *f = *state;
	const struct store_key k = {.subject = "", .thread_id = "t"};

	start_append(f, "t", "one");
	start_delete(f, "", "t", NULL);
	assert_non_null(store_load(f->store, &k, on_loaded, f));
	start_append(f, "t", "two");
	run(f, 4);
	assert_true(f->found);
	assert_int_equal(json_array_size(f->loaded), 0);
	assert_thread(f, "", "t", "two");
	store_cancel(store_delete(f->store, &k, NULL, on_deleted, f));
	assert_thread(f, "", "t", "");
	append(f, "", "t", "three");
	assert_non_null(store_delete(f->store, &k, NULL, NULL, NULL));
	assert_thread(f, "", "t", "");
}

/* Its cache has the turns, but not the deletion. */
static void another_process_shows_nothing_that_was_deleted(void **state)
{
	struct fixture *f = *state;
	struct store *one = f->store, *two = sqlite_open(f, "run", &no_limits);

	append_answer(f, "t", "one", "resp_1");
	append_answer(f, "t", "two", "resp_2");
	append_answer(f, "t", "three", "resp_3");
	f->store = two;
	assert_thread(f, "", "t", "one two three");
	f->store = one;
	assert_deletes(f, "t", "resp_2", true);
	f->store = two;
	assert_thread(f, "", "t", "one three");
	append_answer(f, "t", "four", "resp_4");
	f->store = one;
	assert_thread(f, "", "t", "one three four");
	assert_deletes(f, "t", NULL, true);
	append_answer(f, "t", "again", "resp_5");
	f->store = two;
	assert_thread(f, "", "t", "again");
	assert_deletes(f, "t", NULL, true);
	store_free(two);
	f->store = sqlite_open(f, "run", &no_limits);
	store_free(one);
	assert_thread(f, "", "t", "");
}

static void a_deletion_that_fails_says_so(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;

	append_answer(f, "t", "one", "resp_1");
	append_answer(f, "t", "two", "resp_2");
	assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
	                              "CREATE TRIGGER refuse BEFORE DELETE ON history"
	                              " BEGIN SELECT RAISE(ABORT, 'refused'); END",
	                              NULL, NULL, NULL),
	                 SQLITE_OK);
	for (int i = 0; i < 2; i++) {
		start_delete(f, "", "t", i == 0 ? "resp_1" : NULL);
		start_append(f, "u", "good");
		run(f, 2);
	}
	assert_thread(f, "", "t", "one two");
	assert_thread(f, "", "u", "good good");
	assert_int_equal(sqlite3_exec(db, "DROP TRIGGER refuse", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_deletes(f, "t", NULL, true);
}

/* Turns that arrive together are stored together, but one that cannot be stored fails alone. */
static void a_turn_that_cannot_be_stored_harms_no_other(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;
	char name[16];

	append(f, "", "before", "b");
	assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
	                              "CREATE TRIGGER refuse BEFORE INSERT ON history WHEN NEW.messages LIKE '%poison%'"
	                              " BEGIN SELECT RAISE(ABORT, 'refused'); END",
	                              NULL, NULL, NULL),
	                 SQLITE_OK);
	sqlite3_close(db);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "t%d", i);
		start_append(f, name, i == 7 ? "poison" : "good");
	}
	run(f, 20);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "t%d", i);
		assert_thread(f, "", name, i == 7 ? "" : "good");
	}
	append(f, "", "after", "a");
}

static void the_least_recently_used_goes_first(void **state)
{
	char name[16];

	append(*state, "", "keep", "k");
	append(*state, "", "go", "g");
	for (int i = 0; i < MAX_THREADS - 2; i++) {
		snprintf(name, sizeof name, "%d", i);
		append(*state, "", name, name);
	}
	assert_thread(*state, "", "keep", "k");
	append(*state, "", "new", "n");
	assert_thread(*state, "", "keep", "k");
	assert_thread(*state, "", "go", "");
	assert_thread(*state, "", "0", "0");
}

static void a_lower_limit_drops_threads(void **state)
{
	struct fixture *f = *state;

	append(f, "", "first", "1");
	append(f, "", "second", "2");
	append(f, "", "third", "3");
	f->store->ops->configure(f->store, &(struct store_limits){.max_threads = 2});
	assert_thread(f, "", "first", "");
	assert_thread(f, "", "second", "2");
	append(f, "", "fourth", "4");
	assert_thread(f, "", "third", "");
}

static void old_turns_are_dropped_whole(void **state)
{
	struct fixture *f = *state;
	char *big = malloc(1u << 20), *first;
	char name[16];

	for (int i = 0; i < STORE_TURNS_MAX + 3; i++) {
		snprintf(name, sizeof name, "%d", i);
		append(f, "", "t", name);
	}
	first = load(f, "", "t");
	assert_int_equal(strncmp(first, "3 4 ", 4), 0);
	assert_int_equal(json_array_size(f->loaded), STORE_TURNS_MAX);
	free(first);
	assert_non_null(big);
	memset(big, 'x', (1u << 20) - 1);
	big[(1u << 20) - 1] = '\0';
	for (int i = 0; i < 8; i++)
		append(f, "", "t", big);
	free(load(f, "", "t"));
	assert_int_equal(json_array_size(f->loaded), 3); /* of 2 MiB each, within 8 MiB */
	free(big);
}

static void cancelled_requests_stay_silent(void **state)
{
	struct fixture *f = *state;
	const struct store_key k = {.subject = "", .thread_id = "t"};

	store_cancel(store_load(f->store, &k, on_loaded, f));
	store_cancel(store_append(f->store, &k, turn("kept"), on_saved, f));
	store_cancel(NULL);
	assert_non_null(store_append(f->store, &k, turn("untold"), NULL, NULL));
	assert_thread(f, "", "t", "kept untold");
	assert_int_equal(f->answers, 1);
	/* Left open at the end: freed with the store, without a call. */
	assert_non_null(store_load(f->store, &k, on_loaded, f));
	assert_non_null(store_append(f->store, &k, turn("open"), on_saved, f));
}

static void pass_ms(long ms)
{
	const struct timespec tick = {.tv_nsec = ms * 1000000};

	nanosleep(&tick, NULL);
}

static void idle_threads_are_forgotten(void **state)
{
	struct fixture *f = *state;
	const struct store_limits never = no_limits;
	const struct store_limits late = {
		.expire_ms = 3600000, .short_id_idle_ms = 3600000, .max_threads = MAX_THREADS};
	const struct store_limits short_soon = {
		.expire_ms = 3600000, .short_id_idle_ms = 1, .max_threads = MAX_THREADS};
	const struct store_limits soon = {.expire_ms = 1, .max_threads = MAX_THREADS};

	append(f, "", "12345678", "long");
	append(f, "", "1234567", "short");
	pass_ms(5);
	f->store->ops->configure(f->store, &late);
	assert_thread(f, "", "1234567", "short");
	pass_ms(5);
	f->store->ops->configure(f->store, &short_soon);
	assert_thread(f, "", "1234567", "");
	assert_thread(f, "", "12345678", "long");
	append(f, "", "1234567", "of somebody else");
	free(load(f, "", "1234567")); /* it is stored, under these limits */
	f->store->ops->configure(f->store, &never);
	assert_thread(f, "", "1234567", "of somebody else");
	pass_ms(5);
	f->store->ops->configure(f->store, &soon);
	assert_thread(f, "", "12345678", "");
	assert_thread(f, "", "1234567", "of somebody else");
}

/* 1,000 threads at once, each with its own marker words. */
static void no_text_in_a_wrong_thread(void **state)
{
	struct fixture *f = *state;
	char name[16], word[32], want[128];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MAX_THREADS; i++) {
			struct store_key k = {.subject = i % 2 == 0 ? "a" : "b", .thread_id = name};

			snprintf(name, sizeof name, "%d", i / 2);
			snprintf(word, sizeof word, "w%d-%d", i, round);
			assert_non_null(store_append(f->store, &k, turn(word), on_saved, f));
		}
	}
	run(f, 3 * MAX_THREADS);
	for (int i = 0; i < MAX_THREADS; i++) {
		snprintf(name, sizeof name, "%d", i / 2);
		snprintf(want, sizeof want, "w%d-0 w%d-1 w%d-2", i, i, i);
		assert_thread(f, i % 2 == 0 ? "a" : "b", name, want);
	}
}

/* ---- SQLite alone ---- */

static void reopen(struct fixture *f, const char *run, const struct store_limits *limits)
{
	store_free(f->store);
	f->store = sqlite_open(f, run, limits);
	assert_non_null(f->store);
}

static void turns_survive_a_restart(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	append(f, "alice", "01234567-89ab", "one");
	append(f, "", "7", "short");
	assert_int_equal(stat(f->file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	reopen(f, "run", &no_limits);
	append(f, "alice", "01234567-89ab", "two");
	assert_thread(f, "alice", "01234567-89ab", "one two");
	assert_thread(f, "", "7", "short"); /* a worker came back, the service is the same */
	reopen(f, "another run", &no_limits);
	assert_thread(f, "alice", "01234567-89ab", "one two");
	assert_thread(f, "", "7", "");
	append(f, "", "7", "new");
	assert_thread(f, "", "7", "new");
}

static void appends_before_shutdown_are_stored(void **state)
{
	struct fixture *f = *state;
	const struct store_key k = {.subject = "", .thread_id = "thread"};

	for (int i = 0; i < 100; i++)
		assert_non_null(store_append(f->store, &k, turn("x"), NULL, NULL));
	reopen(f, "run", &no_limits);
	free(load(f, "", "thread"));
	assert_int_equal(json_array_size(f->loaded), 100);
}

/* Told before they were stored, and more than are stored at once. */
static void nothing_waits_after_the_end(void **state)
{
	struct fixture *f = *state;
	sqlite3_stmt *count;
	sqlite3 *raw;
	char id[16];

	append(f, "", "first", "x");
	for (int i = 0; i < 700; i++) {
		snprintf(id, sizeof id, "thread-%d", i % 7);
		assert_non_null(store_append(f->store, &(struct store_key){.subject = "", .thread_id = id}, turn("x"),
		                             NULL, NULL));
	}
	store_free(f->store);
	f->store = NULL;
	assert_int_equal(sqlite3_open(f->file, &raw), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(raw, "SELECT count(*) FROM history", -1, &count, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(count), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(count, 0), 701);
	sqlite3_finalize(count);
	sqlite3_close(raw);
}

/* Two turns that end at once let the next ones wait for others. */
static void turns_that_are_gathered_are_stored_in_their_order(void **state)
{
	struct fixture *f = *state;
	const struct store_key other = {.subject = "", .thread_id = "other"},
			       same = {.subject = "", .thread_id = "same"};

	for (size_t round = 1; round <= 20; round++) {
		int before = f->answers;

		start_append(f, "same", "first");
		start_append(f, "other", "x");
		run(f, 2);
		start_append(f, "same", "second");
		assert_non_null(store_load(f->store, &other, on_loaded, f));
		json_decref(f->loaded);
		f->loaded = NULL;
		while (f->loaded == NULL) /* it waits for no turn of another thread */
			assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
		assert_int_equal(json_array_size(f->loaded), round);
		assert_non_null(store_load(f->store, &same, on_loaded, f));
		run(f, before + 5 - f->answers);
		assert_int_equal(json_array_size(f->loaded), 2 * round);
	}
	start_append(f, "same", "before the end");
	start_append(f, "other", "x");
	run(f, 2);
	assert_non_null(store_append(f->store, &same, turn("at the end"), NULL, NULL));
	reopen(f, "run", &no_limits);
	free(load(f, "", "same"));
	assert_int_equal(json_array_size(f->loaded), 42);
}

static void threads_expire(void **state)
{
	struct fixture *f = *state;
	const struct store_limits soon = {.expire_ms = 1, .short_id_idle_ms = 0};
	const struct store_limits short_soon = {.expire_ms = 0, .short_id_idle_ms = 1};

	append(f, "", "12345678", "long");
	append(f, "", "1234567", "short");
	pass_ms(5); /* beyond the idle time of 1 ms */
	reopen(f, "run", &short_soon);
	assert_thread(f, "", "1234567", "");
	assert_thread(f, "", "12345678", "long");
	reopen(f, "run", &soon);
	assert_thread(f, "", "12345678", "");
	reopen(f, "run", &no_limits);
	assert_thread(f, "", "12345678", ""); /* swept, not only hidden */
	assert_thread(f, "", "1234567", "");
}

static void two_processes_share_a_file(void **state)
{
	struct fixture *f = *state, other = {.base = f->base};

	snprintf(other.file, sizeof other.file, "%s", f->file);
	other.store = sqlite_open(&other, "run", &no_limits);
	assert_non_null(other.store);
	for (int i = 0; i < 20; i++) {
		append(f, "", "thread", "a");
		append(&other, "", "thread", "b");
		append(&other, "", "1", "s");
		assert_thread(f, "", "nothing", "");
	}
	free(load(f, "", "thread"));
	assert_int_equal(json_array_size(f->loaded), 40);
	free(load(f, "", "1"));
	assert_int_equal(json_array_size(f->loaded), 20);
	store_free(other.store);
	json_decref(other.loaded);
}

static void any_text_is_stored(void **state)
{
	struct fixture *f = *state;
	const char *odd = "Gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80 '; DROP TABLE log; -- \" \\ \x01";

	append(f, odd, odd, odd);
	assert_thread(f, odd, odd, odd);
	assert_thread(f, "", odd, "");
}

/* Loads and appends that are expected to fail; how many answers say so. */
static void assert_fails(struct fixture *f)
{
	const struct store_key k = {.subject = "", .thread_id = "thread"};

	assert_non_null(store_load(f->store, &k, on_loaded, f));
	run(f, 1);
	assert_true(f->failed);
	assert_non_null(store_append(f->store, &k, turn("x"), on_saved, f));
	run(f, 1);
	assert_true(f->failed);
}

static void a_damaged_file_is_reported(void **state)
{
	struct fixture *f = *state;
	FILE *out;

	append(f, "", "thread", "x");
	store_free(f->store);
	out = fopen(f->file, "wb");
	assert_non_null(out);
	for (int i = 0; i < 1000; i++)
		fputs("this is no database. ", out);
	fclose(out);
	f->store = sqlite_open(f, "run", &no_limits);
	assert_non_null(f->store);
	assert_fails(f);
}

static void a_missing_directory_is_reported(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	snprintf(f->file, sizeof f->file, "%s/no/threads.db", f->directory);
	f->store = sqlite_open(f, "run", &no_limits);
	assert_non_null(f->store);
	assert_fails(f);
}

/* Pages of the file are overwritten while it is open; the service lives on, and once
 * the file was moved away a new one is made. */
static void damage_while_running(void **state)
{
	struct fixture *f = *state;
	const struct store_key k = {.subject = "", .thread_id = "thread"};
	char away[160], wal[160];
	FILE *out;

	for (int i = 0; i < 50; i++)
		append(f, "", "thread", "some words of a conversation");
	reopen(f, "run", &no_limits); /* all in the database, no log */
	out = fopen(f->file, "r+b");
	assert_non_null(out);
	fseek(out, 4096, SEEK_SET);
	for (int i = 0; i < 5000; i++)
		fputs("damage", out);
	fclose(out);
	for (int i = 0; i < 20; i++) {
		assert_non_null(store_load(f->store, &k, on_loaded, f));
		assert_non_null(store_append(f->store, &k, turn("x"), on_saved, f));
		run(f, 2);
	}
	assert_true(f->failed);
	snprintf(away, sizeof away, "%s.away", f->file);
	snprintf(wal, sizeof wal, "%s-wal", f->file);
	assert_int_equal(rename(f->file, away), 0);
	unlink(wal);
	for (int i = 0; i < 1000 && f->failed; i++) {
		struct timespec tick = {.tv_nsec = 10000000}; /* it is tried again at growing intervals */

		assert_non_null(store_append(f->store, &k, turn("again"), on_saved, f));
		run(f, 1);
		nanosleep(&tick, NULL);
	}
	assert_thread(f, "", "thread", "again");
}

/* A turn was told, and not yet stored, when somebody moved the file away; after ms somebody asks for it. */
static void move_away(struct fixture *f, long ms)
{
	char away[160];

	append(f, "", "first", "x");
	pass_ms(600); /* after which it is looked at once more whether the file is still there */
	append(f, "", "thread", "told");
	snprintf(away, sizeof away, "%s.away", f->file);
	assert_int_equal(rename(f->file, away), 0);
	pass_ms(ms);
	append(f, "", "another", "x");
	assert_thread(f, "", "thread", "told");
	assert_thread(f, "", "first", "");
}

static void a_turn_that_waits_is_stored_in_the_next_file(void **state)
{
	move_away(*state, 500);
}

static void a_turn_that_waits_is_found_in_the_next_file(void **state)
{
	move_away(*state, 0);
}

/* ---- a process that is killed ---- */

struct confirmed {
	int fd, waiting;
};

static void answer_byte(void *arg, const struct err *e)
{
	struct confirmed *t = arg;
	char c = e == NULL ? '.' : '!';

	/* Only turns that were reported as stored must be there afterwards. */
	if (write(t->fd, &c, 1) != 1)
		_exit(1);
	t->waiting--;
}

/* Appends turns of two messages as fast as it can, several at once, until it is killed. */
static void append_forever(const char *url, int fd)
{
	struct confirmed confirmed = {.fd = fd};
	struct event_base *base = event_base_new();
	struct err e = ERR_INIT;
	struct store *s = store_new(base, url, "run", &no_limits, &e);
	const struct store_key k = {.subject = "", .thread_id = "killed"};

	for (;;) {
		if (store_append(s, &k, turn("some words of a conversation that is cut off"), answer_byte,
		                 &confirmed) == NULL)
			_exit(1);
		for (confirmed.waiting++; confirmed.waiting > 8;)
			event_base_loop(base, EVLOOP_ONCE);
	}
}

static size_t count_confirmed(int fd)
{
	char bytes[4096];
	ssize_t n;
	size_t confirmed = 0;

	while ((n = read(fd, bytes, sizeof bytes)) > 0) {
		confirmed += (size_t)n;
		assert_null(memchr(bytes, '!', (size_t)n));
	}
	return confirmed;
}

static void killed_at_any_moment(void **state)
{
	struct fixture *f = *state;
	size_t confirmed = 0, before = 0;

	store_free(f->store);
	f->store = NULL;
	for (int i = 0; i < 40; i++) {
		struct timespec life = {.tv_nsec = (i * 7919 % 40) * 500000L};
		int fds[2];
		pid_t child;
		char first, url[140];

		assert_int_equal(pipe(fds), 0);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			close(fds[0]);
			snprintf(url, sizeof url, "sqlite:%s", f->file);
			append_forever(url, fds[1]);
		}
		close(fds[1]);
		assert_int_equal(read(fds[0], &first, 1), 1);
		nanosleep(&life, NULL);
		kill(child, SIGKILL);
		confirmed = 1 + count_confirmed(fds[0]);
		waitpid(child, NULL, 0);
		close(fds[0]);
		f->store = sqlite_open(f, "run", &no_limits);
		free(load(f, "", "killed")); /* also checks that each turn is whole */
		assert_true(json_array_size(f->loaded) >=
		            (before + confirmed < STORE_TURNS_MAX ? before + confirmed : STORE_TURNS_MAX));
		before = json_array_size(f->loaded);
		store_free(f->store);
		f->store = NULL;
	}
	assert_true(before > 0);
}

/* ---- configured stores ---- */

static struct config *config_of(const char *store)
{
	const char *sets[1];
	char set[256];
	struct config_source source = {.sets = sets, .set_count = 1};
	struct config_report report;
	struct config *c;

	snprintf(set, sizeof set, "threads.store=%s", store);
	sets[0] = set;
	config_report_init(&report);
	c = config_load(&source, &report);
	assert_non_null(c);
	config_report_free(&report);
	return c;
}

static void a_moved_store_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct config *memory = config_of("memory:"), *nowhere = config_of("sqlite:/nonexistent/threads.db");
	struct err e = ERR_INIT;

	f->store = store_open(f->base, memory, "run", NULL, &e);
	assert_non_null(f->store);
	append(f, "", "t", "one");
	assert_false(store_moved(f->store, memory));
	assert_true(store_moved(f->store, nowhere));
	store_free(f->store);
	/* Memory takes its place, but it is still the store that was configured. */
	f->store = store_open(f->base, nowhere, "run", NULL, &e);
	assert_non_null(f->store);
	append(f, "", "t", "one");
	assert_false(store_moved(f->store, nowhere));
	assert_true(store_moved(f->store, memory));
	store_configure(f->store, memory);
	assert_thread(f, "", "t", "one");
	config_unref(memory);
	config_unref(nowhere);
}

static void an_unknown_kind_is_refused(void **state)
{
	static const char *const urls[] = {"", "memory", "memo:", "sqlite", "sqlite3:/x", "/var/lib/threads.db"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		struct err e = ERR_INIT;

		assert_null(store_new(f->base, urls[i], "run", &no_limits, &e));
		assert_non_null(strstr(e.text, "names no store; it begins with one of sqlite:, memory:"));
		err_clear(&e);
		assert_null(store_admin_open(urls[i], NULL, &e));
		assert_non_null(strstr(e.text, "names no store"));
	}
}

/* The setting's choices are the kinds of stores. */
static void every_kind_can_be_configured(void **state)
{
	char kinds[256] = "";

	(void)state;
#define ADD(scheme, kind)                                                                                              \
	snprintf(kinds + strlen(kinds), sizeof kinds - strlen(kinds), "%s%s:", kinds[0] ? "|" : "", scheme);
	STORE_KINDS(ADD)
#undef ADD
	assert_string_equal(cfg_key_info(CFG_THREADS_STORE)->unit, kinds);
}

/* ---- administrators ---- */

static struct store_admin *open_admin(struct fixture *f)
{
	struct err e = ERR_INIT;
	char url[140];
	struct store_admin *a;

	snprintf(url, sizeof url, "sqlite:%s", f->file);
	a = store_admin_open(url, NULL, &e);
	assert_string_equal(e.text, "");
	return a;
}

static bool note_thread(void *arg, const struct store_thread *t)
{
	struct buf *b = arg;

	return buf_addf(b, "%s/%s:%lld%s ", t->subject, t->thread_id, (long long)t->turns, t->short_id ? "s" : "") == 0;
}

static void assert_list(struct store_admin *a, const char *want)
{
	struct buf text = BUF_INIT(4096);
	struct err e = ERR_INIT;

	assert_int_equal(buf_adds(&text, ""), 0);
	assert_int_equal(store_admin_list(a, note_thread, &text, &e), 0);
	assert_string_equal(text.data != NULL ? text.data : "", want);
	buf_free(&text);
}

static bool count_exported(void *arg, const json_t *thread)
{
	size_t *turns = arg;

	*turns += json_array_size(json_object_get(thread, "turns"));
	return true;
}

static void administrators_list_show_and_delete(void **state)
{
	struct fixture *f = *state;
	const struct store_key of_ann = {.subject = "ann", .thread_id = "a-thread"}, of_nobody = {.subject = ""};
	const struct store_key missing = {.subject = "bob", .thread_id = "a-thread"};
	struct store_admin *a;
	struct store_size size;
	struct err e = ERR_INIT;
	size_t exported = 0;
	json_t *shown;

	append(f, "ann", "a-thread", "one");
	append(f, "", "7", "two");
	pass_ms(2); /* so that it is the last used */
	append(f, "ann", "a-thread", "three");
	a = open_admin(f);
	assert_list(a, "ann/a-thread:2 /7:1s ");
	shown = store_admin_show(a, &of_ann, &e);
	assert_string_equal(json_string_value(json_object_get(shown, "subject")), "ann");
	assert_int_equal(json_array_size(json_object_get(shown, "turns")), 2);
	json_decref(shown);
	assert_int_equal(store_admin_export(a, count_exported, &exported, &e), 0);
	assert_int_equal(exported, 3);
	assert_int_equal(store_admin_size(a, &size, &e), 0);
	assert_int_equal(size.threads, 2);
	assert_int_equal(size.turns, 3);
	assert_in_range(size.bytes, 3 * 20, 1000);
	assert_true(size.disk_bytes > 4096);
	assert_null(store_admin_show(a, &missing, &e));
	assert_string_equal(e.text, "there is no thread a-thread of bob");
	err_clear(&e);
	assert_int_equal(store_admin_delete(a, &missing, &e), -1);
	assert_string_equal(e.text, "there is no thread a-thread of bob");
	err_clear(&e);
	assert_int_equal(store_admin_delete(a, &of_nobody, &e), 1);
	assert_list(a, "ann/a-thread:2 ");
	assert_int_equal(store_admin_delete(a, &of_nobody, &e), 0);
	assert_int_equal(store_admin_delete(a, &of_ann, &e), 1);
	append(f, "", "t", "x");
	append(f, "bob", "t", "x");
	assert_int_equal(store_admin_delete(a, NULL, &e), 2);
	assert_list(a, "");
	store_admin_close(a);
	assert_thread(f, "ann", "a-thread", "");
}

static void a_store_without_a_file_is_empty(void **state)
{
	struct fixture *f = *state;
	const struct store_key k = {.subject = "", .thread_id = "t"}, all_of_ann = {.subject = "ann"};
	struct store_admin *a = open_admin(f);
	struct store_size size = {.threads = 1};
	struct err e = ERR_INIT;
	size_t exported = 0;

	assert_list(a, "");
	assert_int_equal(store_admin_export(a, count_exported, &exported, &e), 0);
	assert_int_equal(store_admin_size(a, &size, &e), 0);
	assert_int_equal(size.threads + size.turns + size.bytes + size.disk_bytes, 0);
	assert_int_equal(store_admin_delete(a, NULL, &e), 0);
	assert_int_equal(store_admin_delete(a, &all_of_ann, &e), 0);
	assert_null(store_admin_show(a, &k, &e));
	assert_string_equal(e.text, "there is no thread t");
	assert_int_equal(store_admin_delete(a, &k, &e), -1);
	store_admin_close(a);
	assert_int_equal(access(f->file, F_OK), -1);
}

/* ---- limits of all threads ---- */

static int64_t file_bytes(const struct fixture *f, const char *suffix)
{
	char path[160];
	struct stat st;

	snprintf(path, sizeof path, "%s%s", f->file, suffix);
	return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

#define USED 64 /* threads of different ages */

/* Random turns of random threads: the limits hold after each, and what was used last is there, whole. */
static void limits_hold(struct fixture *f, const struct store_limits *limits, size_t longest)
{
	char *text = malloc(longest + 1), thread[32], *got;
	int last[USED] = {0}, turns = 3000;
	unsigned seed = 7;

	assert_non_null(text);
	f->store->ops->configure(f->store, limits);
	for (int i = 1; i <= turns; i++) {
		const int which = rand_r(&seed) % USED;
		const size_t len = 1 + (size_t)rand_r(&seed) % (longest - 1);

		memset(text, 'x', len);
		text[len] = '\0';
		snprintf(thread, sizeof thread, "a-thread-%d", which);
		append(f, "", thread, text);
		last[which] = i;
		got = load(f, "", thread);
		assert_true(strlen(got) >= len && strcmp(got + strlen(got) - len, text) == 0);
		free(got);
		if (limits->max_bytes > 0)
			assert_true(file_bytes(f, "") <= limits->max_bytes + 2 * (int64_t)longest + 4 * 4096);
	}
	/* Those that are left are the ones that were used last. */
	for (int i = 0, oldest = 0, newest_gone = 0; i < USED; i++) {
		snprintf(thread, sizeof thread, "a-thread-%d", i);
		got = load(f, "", thread);
		if (got == NULL || got[0] == '\0')
			newest_gone = last[i] > newest_gone ? last[i] : newest_gone;
		else
			oldest = oldest == 0 || last[i] < oldest ? last[i] : oldest;
		free(got);
		if (i == USED - 1) {
			assert_true(oldest > newest_gone);
			assert_true(newest_gone > 0);
		}
	}
	free(text);
}

static void no_more_threads_than_allowed(void **state)
{
	const struct store_limits limits = {.max_threads = 10};

	limits_hold(*state, &limits, 30);
}

static void no_more_bytes_than_allowed(void **state)
{
	const struct store_limits limits = {.max_threads = 100000, .max_bytes = 1 << 20, .thread_bytes = 1 << 18};

	limits_hold(*state, &limits, 20000);
}

static void what_a_flood_leaves_is_small(void **state)
{
	const struct store_limits limits = {.max_threads = 100000, .max_bytes = 1 << 20, .thread_bytes = 1 << 18};
	struct fixture *f = *state;
	struct store_admin *a;
	struct store_size size;
	struct err e = ERR_INIT;
	char thread[32], text[2000];

	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	for (int i = 0; i < 3000; i++) {
		snprintf(thread, sizeof thread, "a-thread-%d", i);
		start_append(f, thread, text);
	}
	run(f, 3000);
	assert_true(file_bytes(f, "") + file_bytes(f, "-wal") > 10 << 20);
	/* Limits that are lowered take effect without a turn, and the file becomes smaller. */
	reopen(f, "run", &limits);
	for (int i = 0; i < 1000 && file_bytes(f, "") > 3 << 19; i++)
		pass_ms(20);
	assert_true(file_bytes(f, "") <= 3 << 19);
	a = open_admin(f);
	assert_int_equal(store_admin_size(a, &size, &e), 0);
	assert_in_range(size.threads, 50, 1 << 8);
	store_admin_close(a);
	assert_thread(f, "", "a-thread-0", "");
	assert_thread(f, "", "a-thread-2999", text);
}

/* A question and an answer of many bytes, and what tools said between them. */
static json_t *long_turn(size_t len, char c)
{
	char *text = malloc(len + 1);
	json_t *turn;

	assert_non_null(text);
	memset(text, c, len);
	text[len] = '\0';
	turn = json_pack("[{s:s, s:[{s:s, s:s}]}, {s:s, s:[]}, {s:s, s:s}, {s:s, s:s, s:b}]", "role", "user", "content",
	                 "type", "text", "text", text, "role", "assistant", "tool_calls", "role", "tool", "content",
	                 text, "role", "assistant", "content", text, "interrupted", 1);
	free(text);
	return turn;
}

static void a_turn_that_is_too_long_is_cut_and_says_so(void **state)
{
	const struct store_limits limits = {.max_threads = 10, .turn_bytes = 5000};
	const struct store_key k = {.subject = "", .thread_id = "a-thread"};
	const char texts[] = {'x', '\x01', '"'};
	struct fixture *f = *state;

	f->store->ops->configure(f->store, &limits);
	append(f, "", "a-thread", "short");
	for (size_t i = 0; i < sizeof texts; i++) {
		const json_t *question, *answer;
		json_t *cut;

		assert_non_null(store_append(f->store, &k, long_turn(30000, texts[i]), on_saved, f));
		run(f, 1);
		assert_false(f->failed);
		free(load(f, "", "a-thread"));
		assert_int_equal(json_array_size(f->loaded), i + 2);
		cut = json_array_get(f->loaded, i + 1);
		assert_int_equal(json_array_size(cut), 2);
		assert_true(json_dumpb(cut, NULL, 0, JSON_COMPACT) <= limits.turn_bytes);
		question = json_object_get(json_array_get(cut, 0), "content");
		answer = json_object_get(json_array_get(cut, 1), "content");
		assert_int_equal(json_string_value(question)[0], texts[i]);
		assert_non_null(strstr(json_string_value(question), "\n[Cut here: this turn was too long"));
		assert_non_null(strstr(json_string_value(answer), "\n[Cut here: this turn was too long"));
		assert_true(json_is_true(json_object_get(json_array_get(cut, 1), "interrupted")));
	}
}

/* ---- the layout of tt-agent 0.1.0 ---- */

static const char old_schema[] =
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
	"PRAGMA application_id = 1953775975; PRAGMA user_version = 1";

static void execute(sqlite3 *db, const char *sql)
{
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
}

/* As that version stored a turn. */
static void old_append(sqlite3 *db, const char *subject, const char *thread, const char *run, int64_t at_ms,
                       const char *text)
{
	char *sql = sqlite3_mprintf(
		"BEGIN IMMEDIATE;"
		"INSERT INTO threads(subject, thread_id, run, created_ms, used_ms, first, last, bytes)"
		" VALUES(%Q, %Q, %Q, %lld, %lld, 1, 1, 70)"
		" ON CONFLICT(subject, thread_id, run) DO UPDATE SET used_ms = excluded.used_ms, last = last + 1;"
		"INSERT INTO turns SELECT id, last, %lld,"
		" '[{\"role\":\"user\",\"content\":\"%s\"},{\"role\":\"assistant\",\"content\":\"a\"}]'"
		" FROM threads WHERE subject = %Q AND thread_id = %Q AND run = %Q; COMMIT",
		subject, thread, run, (long long)at_ms, (long long)at_ms, (long long)at_ms, text, subject, thread, run);

	execute(db, sql);
	sqlite3_free(sql);
}

static sqlite3 *make_old(struct fixture *f)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 10000);
	execute(db, old_schema);
	return db;
}

static void an_old_database_is_converted(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = make_old(f);
	const struct store_key k = {.subject = "ann", .thread_id = "a-thread"};
	struct err e = ERR_INIT;
	struct store_admin *a;
	json_t *shown;

	old_append(db, "ann", "a-thread", "", 1000, "gone");
	old_append(db, "ann", "a-thread", "", 2000, "one");
	execute(db, "DELETE FROM turns WHERE number = 1; UPDATE threads SET first = 2");
	old_append(db, "", "7", "run", 3000, "short");
	old_append(db, "", "7", "another", 4000, "of another run");
	old_append(db, "bob", "a-thread", "", 5000, "b");
	old_append(db, "ann", "a-thread", "", 6000, "two");
	sqlite3_close(db);
	f->store = sqlite_open(f, "run", &no_limits);
	assert_thread(f, "ann", "a-thread", "one two");
	assert_thread(f, "bob", "a-thread", "b");
	assert_thread(f, "", "7", "short");
	a = open_admin(f);
	assert_list(a, "ann/a-thread:2 bob/a-thread:1 /7:1s /7:1s ");
	shown = store_admin_show(a, &k, &e);
	assert_string_equal(json_string_value(json_object_get(shown, "created")), "1970-01-01T00:00:01Z");
	assert_string_equal(json_string_value(json_object_get(shown, "used")), "1970-01-01T00:00:06Z");
	json_decref(shown);
	append(f, "ann", "a-thread", "three");
	assert_thread(f, "ann", "a-thread", "one two three");
	assert_list(a, "ann/a-thread:3 bob/a-thread:1 /7:1s /7:1s ");
	store_admin_close(a);
}

/* Such as a worker that answers its last chats while the next version already serves. */
static void assert_thread_is_one_of(struct fixture *f, const char *thread, const char *const *want)
{
	char *got = load(f, "", thread);

	while (*want != NULL && strcmp(*want, got) != 0)
		want++;
	if (*want == NULL)
		fail_msg("%s", got);
	free(got);
}

static void an_older_program_that_has_it_open_loses_no_turn(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = make_old(f);
	sqlite3_stmt *count;
	/* What the older program writes comes over with a sweep. */
	const char *const orders[] = {"one three two", "one two three", NULL};

	old_append(db, "", "a-thread", "", 1000, "one");
	f->store = sqlite_open(f, "run", &no_limits);
	assert_thread(f, "", "a-thread", "one");
	old_append(db, "", "a-thread", "", 2000, "two");
	old_append(db, "", "b-thread", "", 3000, "new");
	append(f, "", "a-thread", "three");
	reopen(f, "run", &no_limits);
	assert_thread_is_one_of(f, "a-thread", orders);
	assert_thread(f, "", "b-thread", "new");
	/* It cannot open the file again: it refuses what is newer. */
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &count, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(count), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(count, 0), 3);
	sqlite3_finalize(count);
	/* Once they were empty for a day, its tables go. */
	execute(db, "UPDATE state SET value = value - 90000000 WHERE name = 'converted'");
	sqlite3_close(db);
	reopen(f, "run", &no_limits);
	assert_thread_is_one_of(f, "a-thread", orders);
	assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "SELECT * FROM threads", NULL, NULL, NULL), SQLITE_ERROR);
	sqlite3_close(db);
}

#define OLD_THREADS 1500

static void killed_while_converting(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = make_old(f);
	const struct store_limits limits = {.max_threads = OLD_THREADS};
	char url[140], thread[32];
	int interrupted = 0;

	execute(db, "PRAGMA synchronous = OFF");
	for (int i = 0; i < OLD_THREADS; i++) {
		snprintf(thread, sizeof thread, "a-thread-%d", i);
		for (int n = 0; n < 2; n++)
			old_append(db, "", thread, "", 1000 + i * 2 + n, n == 0 ? "one" : "two");
	}
	sqlite3_close(db);
	snprintf(url, sizeof url, "sqlite:%s", f->file);
	for (int i = 0; i < 20; i++) {
		const struct timespec life = {.tv_nsec = (i * 7919 % 20 + 1) * 1000000L};
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (child == 0) {
			struct err e = ERR_INIT;

			_exit(store_admin_open(url, NULL, &e) != NULL ? 0 : 1);
		}
		nanosleep(&life, NULL);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		interrupted += WIFSIGNALED(status);
	}
	print_message("interrupted %d times\n", interrupted);
	f->store = sqlite_open(f, "run", &limits);
	for (int i = 0; i < OLD_THREADS; i++) {
		snprintf(thread, sizeof thread, "a-thread-%d", i);
		assert_thread(f, "", thread, "one two");
	}
}

static void a_conversion_that_cannot_begin_says_why(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = make_old(f);
	struct err e = ERR_INIT;
	char url[140];

	old_append(db, "", "a-thread", "", 1000, "one");
	execute(db, "BEGIN IMMEDIATE");
	snprintf(url, sizeof url, "sqlite:%s", f->file);
	assert_null(store_admin_open(url, NULL, &e));
	assert_string_equal(strstr(e.text, "cannot"),
	                    "cannot be converted to the layout of this version: database is locked");
	execute(db, "COMMIT");
	sqlite3_close(db);
	f->store = sqlite_open(f, "run", &no_limits);
	assert_thread(f, "", "a-thread", "one");
}

static void memory_has_nothing_for_administrators(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_null(store_admin_open("memory:", NULL, &e));
	assert_non_null(strstr(e.text, "in the memory of the responder's workers"));
}

static void ids_that_are_short(void **state)
{
	(void)state;
	assert_true(store_id_is_short(""));
	assert_true(store_id_is_short("0"));
	assert_true(store_id_is_short("1234567"));
	assert_false(store_id_is_short("12345678"));
	assert_false(store_id_is_short("a"));
	assert_false(store_id_is_short("1a"));
	assert_false(store_id_is_short("1 "));
}

static void a_run_has_one_name(void **state)
{
	char a[64], b[64], c[64];

	(void)state;
	store_run_name(getpid(), a);
	store_run_name(getpid(), b);
	store_run_name(1, c);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
}

int main(void)
{
#define BOTH(f)                                                                                                        \
	{#f " (memory)", f, setup_memory, teardown, NULL},                                                             \
	{                                                                                                              \
#f " (SQLite)", f, setup_sqlite, teardown, NULL                                                        \
	}
#define MEMORY(f) cmocka_unit_test_setup_teardown(f, setup_memory, teardown)
#define SQLITE(f) cmocka_unit_test_setup_teardown(f, setup_sqlite, teardown)
	const struct CMUnitTest tests[] = {
		BOTH(turns_come_back_in_order),
		BOTH(the_subject_is_part_of_the_key),
		BOTH(what_was_loaded_does_not_change),
		BOTH(simultaneous_requests_run_in_order),
		BOTH(a_thread_is_deleted),
		BOTH(one_answer_is_deleted),
		BOTH(deletions_run_in_their_order),
		SQLITE(another_process_shows_nothing_that_was_deleted),
		SQLITE(a_deletion_that_fails_says_so),
		SQLITE(a_turn_that_cannot_be_stored_harms_no_other),
		MEMORY(the_least_recently_used_goes_first),
		MEMORY(a_lower_limit_drops_threads),
		BOTH(old_turns_are_dropped_whole),
		BOTH(cancelled_requests_stay_silent),
		BOTH(idle_threads_are_forgotten),
		BOTH(no_text_in_a_wrong_thread),
		SQLITE(turns_survive_a_restart),
		SQLITE(appends_before_shutdown_are_stored),
		SQLITE(nothing_waits_after_the_end),
		SQLITE(turns_that_are_gathered_are_stored_in_their_order),
		SQLITE(threads_expire),
		SQLITE(two_processes_share_a_file),
		SQLITE(any_text_is_stored),
		SQLITE(a_damaged_file_is_reported),
		SQLITE(a_missing_directory_is_reported),
		SQLITE(damage_while_running),
		SQLITE(a_turn_that_waits_is_stored_in_the_next_file),
		SQLITE(a_turn_that_waits_is_found_in_the_next_file),
		SQLITE(killed_at_any_moment),
		BOTH(no_more_threads_than_allowed),
		BOTH(no_more_bytes_than_allowed),
		SQLITE(what_a_flood_leaves_is_small),
		BOTH(a_turn_that_is_too_long_is_cut_and_says_so),
		cmocka_unit_test_setup_teardown(a_moved_store_is_noticed, setup_base, teardown),
		cmocka_unit_test_setup_teardown(an_unknown_kind_is_refused, setup_base, teardown),
		cmocka_unit_test(every_kind_can_be_configured),
		SQLITE(administrators_list_show_and_delete),
		cmocka_unit_test_setup_teardown(a_store_without_a_file_is_empty, setup_base, teardown),
		cmocka_unit_test_setup_teardown(an_old_database_is_converted, setup_base, teardown),
		cmocka_unit_test_setup_teardown(an_older_program_that_has_it_open_loses_no_turn, setup_base, teardown),
		cmocka_unit_test_setup_teardown(killed_while_converting, setup_base, teardown),
		cmocka_unit_test_setup_teardown(a_conversion_that_cannot_begin_says_why, setup_base, teardown),
		cmocka_unit_test(memory_has_nothing_for_administrators),
		cmocka_unit_test(ids_that_are_short),
		cmocka_unit_test(a_run_has_one_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
