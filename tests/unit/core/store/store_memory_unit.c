/* SPDX-License-Identifier: Apache-2.0 */
/* The n-th allocation fails, for every n, while conversations are stored in SQLite, its own
 * allocations included: every request is answered, and every stored turn is whole. */
#include "core/store/store.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "tests/unit/support/short_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define DEADLINE_MS 30000

static char directory[64], file[128], url[140];
static struct event_base *base;
static sqlite3_mem_methods real; /* SQLite's own */

static void *sqlite_malloc(int size)
{
	return short_memory_fails() ? NULL : real.xMalloc(size);
}
static void *sqlite_realloc(void *p, int size)
{
	return short_memory_fails() ? NULL : real.xRealloc(p, size);
}

struct seen {
	int requested, answered;
	bool saved, failed, deleted;
	size_t turns;
};

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct seen *s = arg;

	assert_true(turns != NULL || e != NULL);
	s->answered++;
	s->turns = json_array_size(turns);
	for (size_t i = 0; i < s->turns; i++)
		assert_int_equal(json_array_size(json_array_get(turns, i)), 2);
}

static void on_saved(void *arg, const struct err *e)
{
	struct seen *s = arg;

	s->answered++;
	s->saved = e == NULL;
	s->failed = e != NULL;
}

static void wait_for(struct seen *s)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	while (s->answered < s->requested) {
		const struct timeval step = {0, 20000};

		if (clock_mono_ms() > until)
			fail_msg("%d of %d answers", s->answered, s->requested);
		event_base_loopexit(base, &step);
		event_base_loop(base, EVLOOP_ONCE);
	}
}

static void on_deleted(void *arg, bool found, const struct err *e)
{
	struct seen *s = arg;

	s->answered++;
	s->deleted = found && e == NULL;
	s->failed = e != NULL;
}

static struct seen use(const char *thread, bool append)
{
	static const struct store_limits limits = {.expire_ms = 0};
	const struct store_key k = {.subject = "s", .thread_id = thread};
	struct seen s = {.requested = 0};
	struct err e = ERR_INIT;
	struct store *store = store_new(base, url, "run", &limits, &e);
	json_t *turn = append ? json_pack("[{s:s}, {s:s}]", "role", "user", "role", "assistant") : NULL;

	assert_true(store != NULL || err_is_set(&e));
	if (store != NULL && turn != NULL)
		s.requested += store_append(store, &k, turn, on_saved, &s) != NULL;
	else
		json_decref(turn);
	if (store != NULL)
		s.requested += store_load(store, &k, on_loaded, &s) != NULL;
	wait_for(&s);
	store_free(store);
	return s;
}

static void append_and_load(void)
{
	static unsigned threads;
	struct seen before, after;
	char thread[32];

	snprintf(thread, sizeof thread, "a-thread-%u", threads++);
	before = use(thread, true);
	short_memory_lift();
	after = use(thread, false);
	if (before.saved)
		assert_int_equal(after.turns, 1);
	if (before.failed)
		assert_int_equal(after.turns, 0);
	short_memory_impose();
}

/* All of it or nothing is deleted. */
static void delete_one_of_two(void)
{
	static const char *const ids[] = {"resp_1", "resp_2"};
	static const struct store_limits limits = {.expire_ms = 0};
	static unsigned threads;
	struct seen seen = {.requested = 0}, after;
	struct err e = ERR_INIT;
	struct store *store;
	char thread[32];

	snprintf(thread, sizeof thread, "two-answers-%u", threads++);
	short_memory_lift();
	store = store_new(base, url, "run", &limits, &e);
	for (size_t i = 0; i < 2; i++)
		store_append(store, &(struct store_key){.subject = "s", .thread_id = thread},
		             json_pack("[{s:s}, {s:s, s:{s:s}}]", "role", "user", "role", "assistant", "response", "id",
		                       ids[i]),
		             NULL, NULL);
	store_free(store);
	short_memory_impose();
	store = store_new(base, url, "run", &limits, &e);
	if (store != NULL)
		seen.requested += store_delete(store, &(struct store_key){.subject = "s", .thread_id = thread}, ids[0],
		                               on_deleted, &seen) != NULL;
	wait_for(&seen);
	store_free(store);
	short_memory_lift();
	after = use(thread, false);
	assert_int_equal(after.turns, seen.deleted ? 1 : 2);
	short_memory_impose();
}

static void deletes_one_or_none(void **state)
{
	(void)state;
	short_memory_sweep(delete_one_of_two);
}

static void keeps_what_it_can(void **state)
{
	(void)state;
	short_memory_sweep(append_and_load);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_what_it_can), cmocka_unit_test(deletes_one_or_none)};
	static const char *const ends[] = {"", "-wal", "-shm", "-reserve", "-versions", "-pending"};
	sqlite3_mem_methods wrapped;
	char path[160];
	int failed;

	sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
	wrapped = real;
	wrapped.xMalloc = sqlite_malloc;
	wrapped.xRealloc = sqlite_realloc;
	sqlite3_config(SQLITE_CONFIG_MALLOC, &wrapped);
	log_open("store_memory_unit", LOG_TO_STDERR, LOG_CRITICAL_);
	strcpy(directory, "/dev/shm/store_memory.XXXXXX"); /* a disk would make it slow */
	if (mkdtemp(directory) == NULL && mkdtemp(strcpy(directory, "/tmp/store_memory.XXXXXX")) == NULL)
		return 1;
	snprintf(file, sizeof file, "%s/threads.db", directory);
	snprintf(url, sizeof url, "sqlite:%s", file);
	base = event_base_new();
	use("made-with-memory", true);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		snprintf(path, sizeof path, "%s%s", file, ends[i]);
		unlink(path);
	}
	rmdir(directory);
	return failed;
}
