/* SPDX-License-Identifier: Apache-2.0 */
/* Name lookups: answers, caching, cancelling, hanging name servers. */
#include "core/resolve/resolver.h"

#include "core/base/clock.h"
#include "tests/unit/support/fake_names.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>

struct rig {
	struct event_base *base;
	struct resolver *resolver;
};

struct answer {
	int count;
	char resolve[400], text[512];
	bool exhausted;
	struct resolver_query *cancel; /* from within the callback */
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof *r);
	struct err e = ERR_INIT;

	fake_names_reset();
	r->base = event_base_new();
	r->resolver = resolver_new(r->base, &e);
	assert_non_null(r->resolver);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	fake_names_release();
	resolver_free(r->resolver);
	event_base_free(r->base);
	free(r);
	return 0;
}

static void on_done(void *arg, const char *resolve, bool exhausted, const struct err *e)
{
	struct answer *a = arg;

	a->count++;
	a->exhausted = exhausted;
	snprintf(a->resolve, sizeof a->resolve, "%s", resolve != NULL ? resolve : "");
	snprintf(a->text, sizeof a->text, "%s", e != NULL ? e->text : "");
	if (a->cancel != NULL)
		resolver_cancel(a->cancel);
	a->cancel = NULL;
}

static void run_until(struct rig *r, const struct answer *a, int count)
{
	int64_t until = clock_mono_ms() + 30000;

	while (a->count < count) {
		const struct timeval step = {0, 10000};

		assert_true(clock_mono_ms() < until);
		event_base_loopexit(r->base, &step);
		event_base_loop(r->base, EVLOOP_ONCE);
	}
}

static void look_up(struct rig *r, struct answer *a, const char *host)
{
	int before = a->count;

	assert_non_null(resolver_lookup(r->resolver, host, 80, on_done, a));
	assert_int_equal(a->count, before);
	run_until(r, a, before + 1);
}

static void writes_answers_as_curl_wants_them(void **state)
{
	static const struct {
		const char *host, *resolve;
	} cases[] = {
		{"one.test", "one.test:80:127.0.0.1"},
		{"ONE.test", "one.test:80:127.0.0.1"},
		{"two.test", "two.test:80:127.0.0.1,[::1]"},
		{"10.1.2.3", "10.1.2.3:80:10.1.2.3"},
		{"::1", "[::1]:80:[::1]"},
		{"[fe80::1]", "[fe80::1]:80:[fe80::1]"},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct answer a = {.count = 0};

		look_up(r, &a, cases[i].host);
		assert_string_equal(a.resolve, cases[i].resolve);
		assert_string_equal(a.text, "");
	}
}

static void reports_what_is_wrong(void **state)
{
	static const struct {
		const char *host, *text;
	} cases[] = {
		{"gone.test", "the name 'gone.test' cannot be looked up: Name or service not known"},
		{"", "'' is not a host name"},
		{"a b", "'a b' is not a host name"},
		{"a/b", "'a/b' is not a host name"},
		{"a,b", "'a,b' is not a host name"},
		{"a\nb", "'a b' is not a host name"},
	};
	struct rig *r = *state;
	char longest[300];
	struct answer a = {.count = 0};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		a.count = 0;
		look_up(r, &a, cases[i].host);
		assert_string_equal(a.resolve, "");
		assert_string_equal(a.text, cases[i].text);
	}
	memset(longest, 'a', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	look_up(r, &a, longest);
	assert_non_null(strstr(a.text, "is not a host name"));
}

static void one_lookup_answers_many(void **state)
{
	struct rig *r = *state;
	struct answer a[20] = {{.count = 0}};

	for (int i = 0; i < 20; i++)
		resolver_lookup(r->resolver, "slow.test", 80, on_done, &a[i]);
	fake_names_release();
	run_until(r, &a[19], 1);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(a[i].count, 1);
		assert_string_equal(a[i].resolve, "slow.test:80:127.0.0.1");
	}
	assert_int_equal(fake_names_asked("slow.test"), 1);
	look_up(r, &a[0], "slow.test");
	assert_int_equal(fake_names_asked("slow.test"), 1);
	assert_string_equal(resolver_cached(r->resolver, "Slow.test", 80), "slow.test:80:127.0.0.1");
	assert_null(resolver_cached(r->resolver, "slow.test", 81));
	assert_null(resolver_cached(r->resolver, "one.test", 80));
}

static void errors_are_cached_briefly(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};

	look_up(r, &a, "gone.test");
	look_up(r, &a, "gone.test");
	assert_int_equal(fake_names_asked("gone.test"), 1);
	assert_string_equal(a.text, "the name 'gone.test' cannot be looked up: Name or service not known");
}

/* getaddrinfo would say that there is no such name. */
/* The address does not answer: the name is looked up again, though its answer is fresh. */
static void a_doubted_name_is_looked_up_again(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};

	assert_int_equal(resolver_doubt(r->resolver, "one.test", 80), 0); /* not known yet */
	look_up(r, &a, "one.test");
	assert_int_equal(fake_names_asked("one.test"), 1);
	assert_in_range(resolver_doubt(r->resolver, "one.test", 80), 1, 1000);
	assert_non_null(resolver_cached(r->resolver, "one.test", 80));
	while (resolver_doubt(r->resolver, "one.test", 80) > 0)
		usleep(20000);
	assert_null(resolver_cached(r->resolver, "one.test", 80));
	look_up(r, &a, "one.test");
	assert_int_equal(fake_names_asked("one.test"), 2);
}

static void our_own_exhaustion_is_not_the_names_fault(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};
	struct rlimit was, none;

	getrlimit(RLIMIT_NOFILE, &was);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = was.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	for (int i = 0; i < 2; i++) { /* the second time it is remembered */
		look_up(r, &a, "gone.test");
		assert_true(a.exhausted);
		assert_non_null(
			strstr(a.text, "all 3 file descriptors of this process are in use: raise LimitNOFILE="));
	}
	setrlimit(RLIMIT_NOFILE, &was);
	assert_non_null(resolver_lookup(r->resolver, "gone.test", 81, on_done, &a));
	run_until(r, &a, 3);
	assert_false(a.exhausted);
	assert_non_null(strstr(a.text, "Name or service not known"));
}

static void hanging_names_do_not_block_others(void **state)
{
	struct rig *r = *state;
	struct answer slow[10] = {{.count = 0}}, a = {.count = 0};

	for (int i = 0; i < 10; i++)
		resolver_lookup(r->resolver, "slow.test", (uint16_t)(i + 1), on_done, &slow[i]);
	look_up(r, &a, "one.test");
	assert_string_equal(a.resolve, "one.test:80:127.0.0.1");
	assert_int_equal(slow[0].count, 0);
}

static void a_cancelled_query_has_no_answer(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0}, b = {.count = 0}, c = {.count = 0};
	struct resolver_query *waiting = resolver_lookup(r->resolver, "slow.test", 80, on_done, &a);
	struct resolver_query *ready = resolver_lookup(r->resolver, "10.0.0.1", 80, on_done, &a);

	resolver_cancel(ready);
	resolver_cancel(waiting);
	resolver_lookup(r->resolver, "slow.test", 80, on_done, &b);
	fake_names_release();
	run_until(r, &b, 1);
	assert_int_equal(a.count, 0);
	/* ... from within its own callback, and another's */
	c.cancel = resolver_lookup(r->resolver, "10.0.0.2", 80, on_done, &c);
	resolver_lookup(r->resolver, "10.0.0.3", 80, on_done, &b);
	b.cancel = resolver_lookup(r->resolver, "10.0.0.4", 80, on_done, &a);
	run_until(r, &b, 2);
	assert_int_equal(c.count, 1);
	assert_int_equal(a.count, 0);
}

static void freed_with_lookups_under_way(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};
	struct err e = ERR_INIT;

	for (int i = 0; i < 30; i++)
		resolver_lookup(r->resolver, "slow.test", (uint16_t)(i + 1), on_done, &a);
	resolver_lookup(r->resolver, "10.0.0.1", 80, on_done, &a);
	resolver_free(r->resolver);
	fake_names_release();
	r->resolver = resolver_new(r->base, &e);
	look_up(r, &a, "one.test");
	assert_int_equal(a.count, 1);
}

static void cache_stays_small(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};
	char name[40];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "host%d.unknown", i);
		resolver_lookup(r->resolver, name, 80, on_done, &a);
		if (i % 50 == 49)
			run_until(r, &a, i + 1);
	}
	assert_int_equal(a.count, 3000);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(writes_answers_as_curl_wants_them), T(reports_what_is_wrong),
		T(one_lookup_answers_many),           T(errors_are_cached_briefly),
		T(a_doubted_name_is_looked_up_again), T(our_own_exhaustion_is_not_the_names_fault),
		T(hanging_names_do_not_block_others), T(a_cancelled_query_has_no_answer),
		T(freed_with_lookups_under_way),      T(cache_stays_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
