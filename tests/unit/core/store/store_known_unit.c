/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that an SQLite store knows without its database: several workers' stores over one file, of which none ever
 * misses a turn that was reported as stored. */
#include "core/store/store_admin.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { STORES = 3, THREADS = 6, OPEN_MAX = 8, TURNS_MAX = 200 };

/* What was reported of a thread. */
struct thread {
	char id[32];
	int reported[TURNS_MAX + OPEN_MAX];
	int count;
};

struct fixture {
	char directory[64], file[128];
	struct event_base *base;
	struct counters *counters;
	struct store *stores[STORES];
	int open; /* requests */
	json_t *loaded;
	struct thread threads[THREADS];
	int words;
};

struct request {
	struct fixture *fixture;
	struct thread *thread;
	int word;  /* of an append */
	int count; /* what was reported when the load began */
};

static void open_store(struct fixture *f, int i, const struct store_limits *wanted)
{
	struct store_limits limits = *wanted;
	struct err e = ERR_INIT;
	char url[140];

	limits.counters = f->counters;
	snprintf(url, sizeof url, "sqlite:%s", f->file);
	f->stores[i] = store_new(f->base, url, "run", &limits, &e);
	if (f->stores[i] == NULL)
		fail_msg("%s", e.text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err e = ERR_INIT;

	if (f == NULL || (f->base = event_base_new()) == NULL)
		return -1;
	strcpy(f->directory, "/tmp/store_known_unit.XXXXXX");
	if (mkdtemp(f->directory) == NULL)
		return -1;
	snprintf(f->file, sizeof f->file, "%s/threads.db", f->directory);
	f->counters = counters_open(f->directory, &e);
	*state = f;
	return f->counters == NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	for (int i = 0; i < STORES; i++)
		store_free(f->stores[i]);
	counters_close(f->counters);
	event_base_free(f->base);
	json_decref(f->loaded);
	snprintf(command, sizeof command, "rm -r %s", f->directory);
	free(f);
	return system(command);
}

static int64_t known(const struct fixture *f)
{
	int64_t sums[COUNTERS];
	struct err e = ERR_INIT;

	assert_int_equal(counters_sum(f->directory, sums, &e), 0);
	return sums[COUNTER_THREADS_KNOWN];
}

static void run(struct fixture *f)
{
	while (f->open > 0)
		assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
}

/* ---- one request after the other ---- */

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct fixture *f = arg;

	assert_null(e);
	json_decref(f->loaded);
	f->loaded = json_incref((json_t *)(uintptr_t)turns);
	f->open--;
}

static void on_saved(void *arg, const struct err *e)
{
	struct fixture *f = arg;

	assert_null(e);
	f->open--;
}

static void on_deleted(void *arg, bool found, const struct err *e)
{
	struct fixture *f = arg;

	(void)found;
	assert_null(e);
	f->open--;
}

static json_t *turn(const char *text)
{
	return json_pack("[{s:s, s:s}, {s:s, s:s, s:{s:s}}]", "role", "user", "content", text, "role", "assistant",
	                 "content", text, "response", "id", text);
}

static void append(struct fixture *f, int store, const char *thread, const char *text)
{
	const struct store_key k = {.subject = "ann", .thread_id = thread};

	f->open++;
	assert_non_null(store_append(f->stores[store], &k, turn(text), on_saved, f));
	run(f);
}

static void delete_turns(struct fixture *f, int store, const char *thread, const char *response)
{
	const struct store_key k = {.subject = "ann", .thread_id = thread};

	f->open++;
	assert_non_null(store_delete(f->stores[store], &k, response, on_deleted, f));
	run(f);
}

/* Loads a thread, as the words of its turns. */
static void load(struct fixture *f, int store, const char *thread)
{
	const struct store_key k = {.subject = "ann", .thread_id = thread};

	f->open++;
	assert_non_null(store_load(f->stores[store], &k, on_loaded, f));
	assert_int_equal(f->open, 1); /* never from within */
	run(f);
}

static void assert_thread(struct fixture *f, int store, const char *thread, const char *want)
{
	char got[400] = "";
	json_t *messages;
	size_t i;

	load(f, store, thread);
	json_array_foreach(f->loaded, i, messages)
		snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i > 0 ? " " : "",
	                 json_string_value(json_object_get(json_array_get(messages, 0), "content")));
	assert_string_equal(got, want);
}

static bool ignore_thread(void *arg, const struct store_thread *t)
{
	(void)arg;
	(void)t;
	return true;
}

/* All that was told is in the database: an administrator waits for that. */
static void settle(const struct fixture *f)
{
	struct err e = ERR_INIT;
	struct store_admin *a;
	char url[140];

	snprintf(url, sizeof url, "sqlite:%s", f->file);
	a = store_admin_open(url, NULL, &e);
	assert_non_null(a);
	assert_int_equal(store_admin_list(a, ignore_thread, NULL, &e), 0);
	store_admin_close(a);
}

/* The database thread fills the table of versions after the start. */
static void wait_until_known(struct fixture *f)
{
	const int64_t before = known(f);

	append(f, 0, "the-first-commit", "a");
	for (int i = 0; known(f) == before; i++) {
		char thread[32];

		assert_true(i < 10000);
		usleep(1000);
		snprintf(thread, sizeof thread, "nobody-wrote-%d", i);
		assert_thread(f, 0, thread, "");
	}
}

static void start(struct fixture *f, int stores, const struct store_limits *limits)
{
	for (int i = 0; i < stores; i++)
		open_store(f, i, limits);
	wait_until_known(f);
}

static const struct store_limits no_limits = {.max_threads = 0};

static void turns_of_this_worker_need_no_database(void **state)
{
	struct fixture *f = *state;
	int64_t before;

	start(f, 2, &no_limits);
	before = known(f);
	assert_thread(f, 0, "thread-1", "");
	append(f, 0, "thread-1", "one");
	settle(f);
	assert_thread(f, 0, "thread-1", "one");
	append(f, 0, "thread-1", "two");
	append(f, 0, "thread-1", "three");
	settle(f);
	assert_thread(f, 0, "thread-1", "one two three");
	assert_thread(f, 0, "thread-1", "one two three");
	assert_int_equal(known(f), before + 4);
	assert_thread(f, 1, "thread-1", "one two three"); /* it has yet to read them */
	assert_int_equal(known(f), before + 4);
	assert_thread(f, 1, "thread-1", "one two three");
	assert_int_equal(known(f), before + 5);
	append(f, 1, "thread-1", "four");
	settle(f);
	assert_thread(f, 1, "thread-1", "one two three four");
	assert_int_equal(known(f), before + 6);
	assert_thread(f, 0, "thread-1", "one two three four");
	assert_int_equal(known(f), before + 6);
}

static void what_a_caller_does_with_the_list_stays_its_own(void **state)
{
	struct fixture *f = *state;

	start(f, 1, &no_limits);
	append(f, 0, "thread-1", "one");
	append(f, 0, "thread-1", "two");
	load(f, 0, "thread-1");
	append(f, 0, "thread-1", "three");
	load(f, 0, "thread-1");
	assert_int_equal(json_array_size(f->loaded), 3);
	json_array_clear(f->loaded);
	assert_thread(f, 0, "thread-1", "one two three");
}

static void what_was_deleted_is_gone_everywhere(void **state)
{
	struct fixture *f = *state;

	start(f, 2, &no_limits);
	append(f, 0, "thread-1", "one");
	append(f, 0, "thread-1", "two");
	assert_thread(f, 1, "thread-1", "one two");
	delete_turns(f, 1, "thread-1", "one");
	assert_thread(f, 0, "thread-1", "two");
	assert_thread(f, 1, "thread-1", "two");
	delete_turns(f, 0, "thread-1", NULL);
	assert_thread(f, 0, "thread-1", "");
	assert_thread(f, 1, "thread-1", "");
	append(f, 1, "thread-1", "three");
	assert_thread(f, 0, "thread-1", "three");
	assert_thread(f, 1, "thread-1", "three");
}

static void expired_threads_are_not_shown(void **state)
{
	const struct store_limits soon = {.expire_ms = 1000000, .short_id_idle_ms = 1};
	struct fixture *f = *state;

	start(f, 1, &soon);
	append(f, 0, "7", "one");
	usleep(5000); /* what is tested is that time passes */
	assert_thread(f, 0, "7", "");
	append(f, 0, "thread-1", "one");
	assert_thread(f, 0, "thread-1", "one");
}

static void what_was_evicted_is_not_shown(void **state)
{
	const struct store_limits few = {.max_threads = 3};
	struct fixture *f = *state;
	char id[32];

	open_store(f, 0, &few);
	open_store(f, 1, &few);
	/* The first sweep counts the threads, before which none is evicted. */
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof id, "another-%d", i);
		append(f, i % 2, id, "a");
	}
	wait_until_known(f);
	append(f, 0, "thread-1", "one");
	for (int i = 0; i < 20; i++) {
		snprintf(id, sizeof id, "one-more-%d", i);
		append(f, i % 2, id, "a");
	}
	settle(f);
	assert_thread(f, 0, "thread-1", "");
	assert_thread(f, 1, "thread-1", "");
}

static void a_turn_that_was_cut_is_shown_as_it_was_stored(void **state)
{
	const struct store_limits narrow = {.turn_bytes = 2000};
	struct fixture *f = *state;
	char text[4001] = "";
	const char *stored;

	start(f, 1, &narrow);
	memset(text, 'a', sizeof text - 1);
	append(f, 0, "thread-1", text);
	load(f, 0, "thread-1");
	stored = json_string_value(json_object_get(json_array_get(json_array_get(f->loaded, 0), 0), "content"));
	assert_true(strlen(stored) < 2000);
}

/* ---- many at once ---- */

static void on_one_saved(void *arg, const struct err *e)
{
	struct request *r = arg;

	assert_null(e);
	r->thread->reported[r->thread->count++] = r->word;
	r->fixture->open--;
	free(r);
}

static bool has_word(const json_t *turns, int word)
{
	const json_t *messages;
	char text[16];
	size_t i;

	snprintf(text, sizeof text, "%d", word);
	json_array_foreach(turns, i, messages)
	{
		const char *content = json_string_value(json_object_get(json_array_get(messages, 0), "content"));

		if (content != NULL && strcmp(content, text) == 0)
			return true;
	}
	return false;
}

static void on_one_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct request *r = arg;

	assert_null(e);
	for (int i = 0; i < r->count; i++)
		if (!has_word(turns, r->thread->reported[i]))
			fail_msg("%s: turn %d of %d is missing", r->thread->id, i + 1, r->count);
	r->fixture->open--;
	free(r);
}

static void start_one(struct fixture *f)
{
	struct thread *t = &f->threads[rand() % THREADS];
	struct store *s = f->stores[rand() % STORES];
	const struct store_key k = {.subject = "ann", .thread_id = t->id};
	struct request *r = calloc(1, sizeof *r);
	char text[16];

	assert_non_null(r);
	*r = (struct request){.fixture = f, .thread = t, .count = t->count, .word = f->words++};
	f->open++;
	snprintf(text, sizeof text, "%d", r->word);
	if (rand() % 2 == 0)
		assert_non_null(store_append(s, &k, turn(text), on_one_saved, r));
	else
		assert_non_null(store_load(s, &k, on_one_loaded, r));
}

/* The next thread has never been used, or was deleted. */
static void renew(struct fixture *f, struct thread *t)
{
	run(f);
	t->count = 0;
	if (rand() % 2 == 0)
		snprintf(t->id, sizeof t->id, "thread-%d", f->words++);
	else
		delete_turns(f, rand() % STORES, t->id, NULL);
}

/* A process of its own, from before SQLite was used here: its locks do not outlive a fork. It writes for each byte, and
 * answers with one. */
struct other_program {
	pid_t pid;
	int command[2], answer[2];
};

static void start_elsewhere(struct other_program *o, const char *file)
{
	sqlite3 *raw;
	char c;

	assert_int_equal(pipe(o->command), 0);
	assert_int_equal(pipe(o->answer), 0);
	o->pid = fork();
	if (o->pid != 0)
		return;
	close(o->command[1]);
	while (read(o->command[0], &c, 1) == 1) {
		sqlite3_open(file, &raw);
		sqlite3_busy_timeout(raw, 10000);
		c = (char)sqlite3_exec(raw, "INSERT OR REPLACE INTO state(name, value) VALUES('test', 1)", NULL, NULL,
		                       NULL);
		sqlite3_close(raw);
		if (write(o->answer[1], &c, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void write_elsewhere(const struct other_program *o)
{
	char c = 0;

	assert_int_equal(write(o->command[1], &c, 1), 1);
	assert_int_equal(read(o->answer[0], &c, 1), 1);
	assert_int_equal(c, SQLITE_OK);
}

static void end_elsewhere(const struct other_program *o)
{
	close(o->command[0]);
	close(o->command[1]);
	close(o->answer[0]);
	close(o->answer[1]);
	assert_int_equal(waitpid(o->pid, NULL, 0), o->pid);
}

static void no_store_misses_a_turn(void **state)
{
	struct fixture *f = *state;
	const unsigned seed = (unsigned)getpid();
	const int64_t before = known(f);
	struct other_program other;

	start_elsewhere(&other, f->file);
	print_message("seed %u\n", seed);
	srand(seed);
	start(f, STORES, &no_limits);
	for (int i = 0; i < THREADS; i++)
		snprintf(f->threads[i].id, sizeof f->threads[i].id, "%d", i);
	for (int i = 0; i < 6000; i++) {
		struct thread *t = &f->threads[rand() % THREADS];

		if (t->count >= TURNS_MAX || rand() % 20 == 0)
			renew(f, t);
		start_one(f);
		while (f->open >= 1 + rand() % OPEN_MAX)
			assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
		if (i % 1000 == 999) {
			run(f);
			write_elsewhere(&other);
		}
	}
	run(f);
	end_elsewhere(&other);
	print_message("%lld known\n", (long long)(known(f) - before));
	assert_true(known(f) > before + 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(turns_of_this_worker_need_no_database),
		TEST(what_a_caller_does_with_the_list_stays_its_own),
		TEST(what_was_deleted_is_gone_everywhere),
		TEST(expired_threads_are_not_shown),
		TEST(what_was_evicted_is_not_shown),
		TEST(a_turn_that_was_cut_is_shown_as_it_was_stored),
		TEST(no_store_misses_a_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
