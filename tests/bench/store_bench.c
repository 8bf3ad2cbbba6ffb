/* SPDX-License-Identifier: Apache-2.0 */
/* What keeping a turn costs: the time on the loop that asks for it, and the time until it
 * is stored, as the turn's statistics wait for it. Microseconds: median, 99th, worst. */
#include "core/base/clock.h"
#include "core/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURNS 5000

static void on_saved(void *arg, const struct err *e)
{
	*(bool *)arg = true;
	if (e != NULL)
		fprintf(stderr, "%s\n", e->text);
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	(void)turns;
	on_saved(arg, e);
}

static int compare(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void print(const char *what, int64_t *ns)
{
	qsort(ns, TURNS, sizeof *ns, compare);
	printf("%-22s %6.1f %6.1f %8.1f\n", what, (double)ns[TURNS / 2] / 1e3, (double)ns[TURNS * 99 / 100] / 1e3,
	       (double)ns[TURNS - 1] / 1e3);
}

int main(void)
{
	static int64_t asked[TURNS], stored[TURNS], loaded[TURNS], fresh[TURNS];
	const struct store_limits limits = {.expire_ms = 0};
	struct event_base *base = event_base_new();
	struct err e = ERR_INIT;
	char directory[] = "/tmp/store_bench.XXXXXX", file[64], thread[32], answer[1001];
	struct store *s;

	memset(answer, 'x', sizeof answer - 1);
	answer[sizeof answer - 1] = '\0';
	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(file, sizeof file, "%s/threads.db", directory);
	s = store_sqlite_new(base, file, "run", &limits, &e);
	for (int i = 0; i < TURNS; i++) {
		const struct store_key k = {.subject = "", .thread_id = thread};
		bool done = false;
		int64_t began;

		snprintf(thread, sizeof thread, "new-%d", i);
		began = clock_mono_ns();
		store_load(s, &k, on_loaded, &done);
		while (!done)
			event_base_loop(base, EVLOOP_ONCE);
		fresh[i] = clock_mono_ns() - began;
		done = false;
		snprintf(thread, sizeof thread, "thread-%d", i % 500);
		began = clock_mono_ns();
		store_load(s, &k, on_loaded, &done);
		while (!done)
			event_base_loop(base, EVLOOP_ONCE);
		loaded[i] = clock_mono_ns() - began;
		done = false;
		began = clock_mono_ns();
		store_append(s, &k,
		             json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "a question", "role",
		                       "assistant", "content", answer),
		             on_saved, &done);
		asked[i] = clock_mono_ns() - began;
		while (!done)
			event_base_loop(base, EVLOOP_ONCE);
		stored[i] = clock_mono_ns() - began;
	}
	print("append, on the loop", asked);
	print("append, until stored", stored);
	print("load of a new thread", fresh);
	print("load of 0 to 9 turns", loaded);
	store_free(s);
	event_base_free(base);
	for (const char *const *end = (const char *const[]){"", "-wal", "-shm", NULL}; *end != NULL; end++) {
		snprintf(file, sizeof file, "%s/threads.db%s", directory, *end);
		unlink(file);
	}
	return rmdir(directory) == 0 ? 0 : 1;
}
