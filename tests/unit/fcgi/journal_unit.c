/* SPDX-License-Identifier: Apache-2.0 */
/* Where the requests and texts of answers lie: each has a place of its own, and what was written stays. */
#include "fcgi/handover.h"
#include "fcgi/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define ANSWERS 8

static struct journals *journals; /* zeroed and shared, as in a worker */

static int map(void **state)
{
	(void)state;
	journals = mmap(NULL, sizeof *journals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (journals == MAP_FAILED)
		return -1;
	journals_map(journals, ANSWERS);
	return 0;
}

static int unmap(void **state)
{
	(void)state;
	journals_unmap(journals);
	return munmap(journals, sizeof *journals);
}

/* As the worker does. */
static char *grow(char *at, size_t used, size_t needed)
{
	char *to = journal_room(journals, at, used, needed);

	if (to != NULL && to != at)
		journal_end(journals, at, used);
	return to;
}

static void test_answers_share_no_byte(void **state)
{
	char *at[ANSWERS];

	(void)state;
	for (int i = 0; i < ANSWERS; i++) {
		at[i] = journal_begin(journals);
		assert_non_null(at[i]);
		memset(at[i], 'a' + i, JOURNAL_SMALL);
	}
	assert_null(journal_begin(journals));
	for (int i = 0; i < ANSWERS; i += 2) {
		at[i] = grow(at[i], JOURNAL_SMALL, HANDOVER_MAX);
		assert_non_null(at[i]);
		memset(at[i] + JOURNAL_SMALL, 'a' + i, HANDOVER_MAX - JOURNAL_SMALL);
	}
	for (int i = 0; i < ANSWERS; i++)
		for (size_t n = 0; n < (i % 2 == 0 ? HANDOVER_MAX : JOURNAL_SMALL); n++)
			assert_int_equal(at[i][n], 'a' + i);
}

static void test_a_place_is_used_again(void **state)
{
	char *at = journal_begin(journals), *large;

	(void)state;
	journal_end(journals, at, 100);
	assert_ptr_equal(journal_begin(journals), at);
	large = grow(at, JOURNAL_SMALL, JOURNAL_SMALL + 1);
	assert_ptr_not_equal(large, at);
	assert_ptr_equal(journal_begin(journals), at);
	assert_ptr_equal(journal_room(journals, large, JOURNAL_SMALL + 1, HANDOVER_MAX), large);
	journal_end(journals, large, HANDOVER_MAX);
	assert_ptr_equal(journal_room(journals, at, 1, HANDOVER_MAX), large);
}

static void test_what_fits_nowhere(void **state)
{
	char *at = journal_begin(journals);

	(void)state;
	assert_null(journal_room(journals, at, JOURNAL_SMALL, HANDOVER_MAX + 1));
	assert_null(journal_room(journals, at, JOURNAL_SMALL, SIZE_MAX));
	for (int i = 0; i < ANSWERS; i++)
		assert_ptr_not_equal(journal_room(journals, at, 0, HANDOVER_MAX), NULL);
	assert_null(journal_room(journals, at, 0, HANDOVER_MAX));
	assert_ptr_equal(journal_room(journals, at, 0, JOURNAL_SMALL), at);
}

/* Places come and go at random; each holds what its answer wrote. */
static void test_many_answers(void **state)
{
	struct {
		char *at;
		size_t used;
		char byte;
	} answers[ANSWERS] = {{NULL, 0, 0}};

	(void)state;
	srandom(1);
	for (int turn = 0; turn < 20000; turn++) {
		size_t i = (size_t)random() % ANSWERS, more = (size_t)random() % 5000;
		char *at = answers[i].at;

		if (at == NULL) {
			answers[i].at = journal_begin(journals);
			assert_non_null(answers[i].at);
			answers[i].used = 0;
			answers[i].byte = (char)turn;
			continue;
		}
		for (size_t n = 0; n < answers[i].used; n += 97)
			assert_int_equal(at[n], answers[i].byte);
		at = answers[i].used + more <= HANDOVER_MAX ? grow(at, answers[i].used, answers[i].used + more) : NULL;
		if (at == NULL) {
			journal_end(journals, answers[i].at, answers[i].used);
			answers[i].at = NULL;
			continue;
		}
		memset(at + answers[i].used, answers[i].byte, more);
		answers[i].at = at;
		answers[i].used += more;
	}
}

static void test_no_memory(void **state)
{
	struct journals none = {.small = {.memory = NULL}};

	(void)state;
	assert_null(journal_begin(&none));
	journals_unmap(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers_share_no_byte, map, unmap),
		cmocka_unit_test_setup_teardown(test_a_place_is_used_again, map, unmap),
		cmocka_unit_test_setup_teardown(test_what_fits_nowhere, map, unmap),
		cmocka_unit_test_setup_teardown(test_many_answers, map, unmap),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
