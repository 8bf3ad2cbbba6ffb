/* SPDX-License-Identifier: Apache-2.0 */
/* Which parsed turns are cached. */
#include "core/store/turn_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MAX_BYTES 20000

static json_t *turn_of(size_t len)
{
	char text[2000] = {0};

	assert_true(len < sizeof text);
	for (size_t i = 0; i < len; i++)
		text[i] = 'x';
	return json_pack("[{s:s, s:s}]", "role", "user", "content", text);
}

static void add(struct turn_cache *c, int64_t id, int64_t first, size_t len)
{
	struct cached_thread *t = turn_cache_thread(c, id, first);

	assert_non_null(t);
	assert_int_equal(turn_cache_add(c, t, turn_of(len)), 0);
}

static bool is_cached(struct turn_cache *c, int64_t id)
{
	const struct cached_thread *t = turn_cache_thread(c, id, 1);

	assert_non_null(t);
	return json_array_size(t->turns) > 0;
}

static void the_least_recently_used_thread_leaves(void **state)
{
	struct turn_cache *c = turn_cache_new(MAX_BYTES);

	(void)state;
	assert_non_null(c);
	add(c, 1, 1, 10);
	add(c, 2, 1, 10);
	assert_true(is_cached(c, 1));
	for (int64_t id = 3; id < 11; id++)
		add(c, id, 1, 1900);
	assert_false(is_cached(c, 2));
	assert_true(is_cached(c, 10));
	turn_cache_free(c);
}

/* Evicted turns no longer count. */
static void a_long_thread_evicts_no_other(void **state)
{
	struct turn_cache *c = turn_cache_new(MAX_BYTES);

	(void)state;
	assert_non_null(c);
	add(c, 1, 1, 10);
	for (int64_t first = 1; first < 100; first++)
		add(c, 2, first, 1900); /* one is added, one is evicted */
	assert_true(is_cached(c, 1));
	turn_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_recently_used_thread_leaves),
		cmocka_unit_test(a_long_thread_evicts_no_other),
	};

	return cmocka_run_group_tests_name("turn cache", tests, NULL, NULL);
}
