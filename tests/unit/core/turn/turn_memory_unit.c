/* SPDX-License-Identifier: Apache-2.0 */
/* The n-th allocation fails, for every n: each stage says so or goes on, and nothing is
 * lost or used after it was freed (valgrind, ASan). */
#include "core/stream/chunk.h"
#include "core/protocol/emitter.h"
#include "core/stream/filter.h"
#include "core/protocol/request.h"
#include "core/stream/sse.h"
#include "core/store/store.h"

#include "core/base/log.h"
#include "tests/unit/support/short_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool on_event(void *arg, const char *data, size_t len)
{
	struct chunk d;

	chunk_read(arg, data, len, &d);
	return d.kind != CHUNK_DONE || len == 6;
}

static void read_stream(void)
{
	static const char *const pieces[] = {
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\\n",
		"\"}}]}\n\ndata: {\"choices\":[{\"del",
		"ta\":{\"tool_calls\":[{\"index\":0}]}}]}\ndata: \n\ndata: {\"error\":\"x\"}\n\n",
		"data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\n\ndata: [DONE]\n\n",
	};
	struct chunk_reader r;
	struct sse s;

	sse_init(&s);
	chunk_reader_init(&r);
	for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
		sse_feed(&s, pieces[i], strlen(pieces[i]), on_event, &r);
	sse_end(&s, on_event, &r);
	chunk_reader_free(&r);
	sse_free(&s);
}

/* A request that is right is never called wrong. */
static void read_request(void)
{
	static const char body[] = "{\"message\":[{\"type\":\"text\",\"text\":\"Hi\"}],\"thread_id\":\"7\"}";
	struct chat_request r;
	json_t *detail;
	char *id;

	if (chat_request_parse(body, sizeof body - 1, &r, &detail) != 0)
		assert_true(short_memory_was_short());
	assert_null(detail);
	chat_request_clear(&r);
	if (chat_select_parse(NULL, "{\"deploy_id\":\"d1\"}", 18, &id, &detail) != 0)
		assert_true(short_memory_was_short());
	assert_null(detail);
	free(id);
}

static void on_text(void *arg, const char *bytes, size_t len)
{
	(void)arg;
	(void)bytes;
	assert_true(len > 0);
}

static void on_call(void *arg, const char *name, const char *arguments)
{
	(void)arg;
	assert_string_equal(name, "t");
	assert_non_null(arguments);
}

static bool is_tool(void *arg, const char *name, size_t len)
{
	(void)arg;
	return len == 1 && *name == 't';
}

static void filter_text(void)
{
	static const char text[] =
		"Hi <think>x</think>\n{\"name\":\"t\",\"parameters\":{\"q\":\"x\"}} and <tool_call>"
		"<function=t><parameter=q>1</parameter></function></tool_call> python_tag";
	static const struct filter_handlers handlers = {on_text, on_text, on_call, is_tool, NULL};
	struct filter *f = filter_new(&handlers, NULL);

	if (f == NULL)
		return;
	for (size_t i = 0; i < sizeof text - 1; i++)
		filter_feed(f, text + i, 1);
	filter_end(f);
	filter_free(f);
}

static void on_write(void *arg, const char *bytes, size_t len, bool apart)
{
	(void)arg;
	(void)bytes;
	(void)apart;
	assert_true(len > 0);
}

static void emit(void)
{
	const struct emitter_stats stats = {.tokens = 1, .ttft_ns = -1, .tpot_ns = -1, .total_ns = 1};
	struct emitter *m = emitter_new(on_write, NULL);

	if (m == NULL)
		return;
	emitter_search(m, "one");
	emitter_search(m, "two");
	emitter_source(m, NULL, "https://www.example.org/x");
	emitter_text(m, "t", 1);
	emitter_end(m, &stats);
	emitter_free(m);
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

static void keep(struct store *s, struct event_base *base)
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

static void keep_in_memory(void)
{
	struct err e = ERR_INIT;
	struct store *s = store_new(base, "memory:", "", &no_limits, &e);

	if (s != NULL)
		keep(s, base);
	else
		assert_true(err_is_set(&e));
}

static void keep_in_sqlite(void)
{
	struct err e = ERR_INIT;
	struct store *s = store_new(base, "sqlite:/nonexistent/threads.db", "run", &no_limits, &e);

	if (s != NULL)
		keep(s, base);
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
SWEEP(filter_text)
SWEEP(emit)
SWEEP(keep_in_memory)
SWEEP(keep_in_sqlite)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_stream_sweep),    cmocka_unit_test(read_request_sweep),
		cmocka_unit_test(filter_text_sweep),    cmocka_unit_test(emit_sweep),
		cmocka_unit_test(keep_in_memory_sweep), cmocka_unit_test(keep_in_sqlite_sweep),
	};
	int failed;

	log_open("chat_memory_unit", LOG_TO_STDERR, LOG_CRITICAL_); /* that memory is out is no news here */
	base = event_base_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return failed;
}
