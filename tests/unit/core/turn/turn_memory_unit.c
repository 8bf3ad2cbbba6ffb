/* SPDX-License-Identifier: Apache-2.0 */
/* The n-th allocation fails, for every n: each stage says so or goes on, and nothing is
 * lost or used after it was freed (valgrind, ASan). */
#include "core/protocol/protocol.h"
#include "core/protocol/studio_request.h"
#include "core/stream/stream.h"
#include "core/store/store.h"

#include "core/base/log.h"
#include "tests/unit/support/short_memory.h"
#include "tests/unit/support/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct output out = {.before_write = short_memory_lift, .after_write = short_memory_impose};

static void read_stream(void)
{
	static const char text[] =
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\\n\"}}]}\n\ndata: {\"choices\":[{\"delta\":"
		"{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"t\",\"arguments\":\"{}\"}}]}}]}\n\n"
		"data: {\"choices\":[{\"delta\":{\"content\":\"<tool_call>{\\\"name\\\": \\\"t\\\", "
		"\\\"arguments\\\": {}}</tool_call> python\"}}]}\n\n"
		"data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
	static const char *const tools[] = {"t", NULL};
	struct stream *s = stream_new();
	struct piece p;

	if (s == NULL)
		return;
	stream_begin(s, tools);
	for (size_t i = 0; i < sizeof text - 1; i++) {
		stream_feed(s, text + i, 1);
		while (stream_next(s, &p))
			assert_true(p.len > 0);
	}
	stream_close(s);
	while (stream_next(s, &p))
		assert_true(p.kind != PIECE_CALL || strcmp(p.call->name, "t") == 0);
	assert_int_equal(p.kind, PIECE_END);
	stream_free(s);
}

/* A request that is right is never called wrong. */
static void read_request(void)
{
	static const char body[] = "{\"message\":[{\"type\":\"text\",\"text\":\"Hi\"}],\"thread_id\":\"7\"}";
	struct chat_request r;
	json_t *detail;
	char *id;

	if (studio_request_parse(body, sizeof body - 1, &r, &detail) != 0)
		assert_true(short_memory_was_short());
	assert_null(detail);
	chat_request_clear(&r);
	if (studio_request_parse_select(NULL, "{\"deploy_id\":\"d1\"}", 18, &id, &detail) != 0)
		assert_true(short_memory_was_short());
	assert_null(detail);
	free(id);
}

static void write_reply(void)
{
	const struct usage usage = {.tokens = 1, .ttft_ns = -1, .tpot_ns = -1, .total_ns = 1};
	const struct protocol *p = &protocol_studio;
	struct reply *r;

	buf_init(&out.written, 1 << 20);
	r = p->open(p, &out, NULL);
	if (r != NULL) {
		p->tool(r, "Searching", "one");
		p->tool(r, "Searching", "two");
		p->source(r, NULL, "https://www.example.org/x");
		p->text(r, "t", 1);
		p->end(r, &usage);
		p->free(r);
	}
	buf_free(&out.written);
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	(void)arg;
	assert_true(turns != NULL || e != NULL);
}

static void on_saved(void *arg, const struct err *e)
{
	(void)arg;
	(void)e;
}

static void append_and_load(struct store *s, struct event_base *base)
{
	const struct store_key k = {.subject = "s", .thread_id = "t"};
	json_t *messages = json_pack("[{s:s}]", "role", "user");

	if (messages != NULL)
		store_append(s, &k, messages, on_saved, NULL);
	store_load(s, &k, on_loaded, NULL);
	event_base_loop(base, EVLOOP_NONBLOCK);
	store_free(s);
}

static struct event_base *base; /* made while memory is there */

static const struct store_limits no_limits = {.max_threads = 1};

static void store_in_memory(void)
{
	struct err e = ERR_INIT;
	struct store *s = store_new(base, "memory:", "", &no_limits, &e);

	if (s != NULL)
		append_and_load(s, base);
	else
		assert_true(err_is_set(&e));
}

static void store_in_sqlite(void)
{
	struct err e = ERR_INIT;
	struct store *s = store_new(base, "sqlite:/nonexistent/threads.db", "run", &no_limits, &e);

	if (s != NULL)
		append_and_load(s, base);
	else
		assert_true(err_is_set(&e));
}

#define SWEEP(work)                                                                                                    \
	static void work##_sweep(void **state)                                                                         \
	{                                                                                                              \
		(void)state;                                                                                           \
		short_memory_sweep(work);                                                                              \
	}
SWEEP(read_stream)
SWEEP(read_request)
SWEEP(write_reply)
SWEEP(store_in_memory)
SWEEP(store_in_sqlite)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_stream_sweep),     cmocka_unit_test(read_request_sweep),
		cmocka_unit_test(write_reply_sweep),     cmocka_unit_test(store_in_memory_sweep),
		cmocka_unit_test(store_in_sqlite_sweep),
	};
	int failed;

	log_open("turn_memory_unit", LOG_TO_STDERR, LOG_CRITICAL_); /* running out of memory is expected here */
	base = event_base_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return failed;
}
