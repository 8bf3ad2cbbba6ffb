/* SPDX-License-Identifier: Apache-2.0 */
/* The slots of keys are those that a server says. */
#include "core/redis/redis_private.h"
#include "tests/unit/support/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

struct question {
	bool done;
	int64_t slot;
};

static void on_slot(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct question *q = arg;

	if (e != NULL)
		fail_msg("%s", e->text);
	q->slot = reply->number;
	q->done = true;
}

static void slots_are_those_of_the_server(void **state)
{
	static const char *const keys[] = {"",        "123456789", "tt:{ab}:t", "tt:{ab}:m", "{}x",  "{}{ab}", "a{b",
	                                   "a}b{c}d", "{{ab}}",    "{a}{b}",    "\xff\x80",  "{ab}", "ab"};
	struct event_base *base = event_base_new();
	struct redis_server server;
	struct err e = ERR_INIT;
	struct redis *r;

	(void)state;
	assert_int_equal(cluster_slot("123456789", 9), 0x31c3); /* of the cluster's specification */
	assert_int_equal(cluster_slot("tt:{ab}:t", 9), cluster_slot("ab", 2));
	if (!redis_server_exists()) {
		event_base_free(base);
		skip();
	}
	redis_server_start(&server, (const char *[]){"--cluster-enabled", "yes", NULL});
	r = redis_new(base, &(struct redis_options){.url = server.url, .timeout_ms = 20000}, &e);
	assert_non_null(r);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		struct question q = {.done = false};
		const struct redis_command c = {.args = (const char *[]){"CLUSTER", "KEYSLOT", keys[i]}, .count = 3};

		assert_non_null(redis_send(r, &c, on_slot, &q));
		while (!q.done)
			event_base_loop(base, EVLOOP_ONCE);
		assert_int_equal(q.slot, cluster_slot(keys[i], strlen(keys[i])));
	}
	redis_free(r);
	event_base_free(base);
	redis_server_remove(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(slots_are_those_of_the_server)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
