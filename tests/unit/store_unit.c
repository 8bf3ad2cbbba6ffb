/* Conversations: what was said in a thread comes back, and in no other thread. */
#include "core/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct fixture {
	struct event_base *base;
	struct store *store;
	json_t *loaded; /* the last answer */
	int answers;
};

#define MAX_THREADS 1000

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err e = ERR_INIT;

	if (f == NULL || (f->base = event_base_new()) == NULL)
		return -1;
	f->store = store_memory_new(f->base, MAX_THREADS, &e);
	*state = f;
	return f->store == NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	event_base_free(f->base);
	json_decref(f->loaded);
	free(f);
	return 0;
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct fixture *f = arg;

	assert_null(e);
	json_decref(f->loaded);
	f->loaded = json_incref((json_t *)(uintptr_t)turns);
	f->answers++;
}

static void on_saved(void *arg, const struct err *e)
{
	assert_null(e);
	((struct fixture *)arg)->answers++;
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
}

/* The thread's user messages, joined by blanks. */
static char *load(struct fixture *f, const char *subject, const char *thread)
{
	const struct store_key k = {.subject = subject, .thread_id = thread};
	struct buf text = BUF_INIT(64u << 20);
	json_t *messages;
	size_t i;

	assert_non_null(store_load(f->store, &k, on_loaded, f));
	run(f, 1);
	json_array_foreach(f->loaded, i, messages) {
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

static void the_longest_unused_goes_first(void **state)
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

static void old_turns_leave_whole(void **state)
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

/* 1,000 threads at once, each with its own marker words. */
static void no_word_in_a_wrong_thread(void **state)
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

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(turns_come_back_in_order),
		TEST(the_subject_is_part_of_the_key),
		TEST(what_was_loaded_does_not_change),
		TEST(the_longest_unused_goes_first),
		TEST(old_turns_leave_whole),
		TEST(cancelled_requests_stay_silent),
		TEST(no_word_in_a_wrong_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
