/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations in a Redis of the test's own, for the files that test them. */
#ifndef TT_TESTS_REDIS_STORE_H
#define TT_TESTS_REDIS_STORE_H

#include "core/base/buf.h"
#include "core/redis/redis.h"
#include "core/store/store.h"
#include "tests/unit/support/redis_server.h"
#include "tests/unit/support/settings.h"

#include <signal.h>
#include <stdlib.h>

struct fixture {
	struct event_base *base;
	struct store *store;
	struct store *other; /* of another process; NULL: none */
	struct counters *counters;
	struct redis_server server;
	struct redis *direct; /* beside the store */
	json_t *loaded;
	struct err error; /* of the last answer; "": none */
	int answers;
	bool found;     /* what was deleted last */
	char text[256]; /* of the last direct reply */
	bool on_disk;   /* turns that wait are there: in the server's directory */
};

static const struct store_limits no_limits = {.max_threads = 1};

static inline struct store *new_store(struct fixture *f, const char *run, const struct store_limits *limits,
                                      const char *directory)
{
	struct store_limits l = *limits;
	char store[160], unsaved_dir[128], unsaved_bytes[64];
	struct err e = ERR_INIT;
	struct store *s;

	l.counters = f->counters;
	if (directory == NULL) {
		s = store_new(f->base, f->server.url, run, &l, &e);
	} else {
		struct config *c;

		snprintf(store, sizeof store, "threads.store=%s", f->server.url);
		snprintf(unsaved_dir, sizeof unsaved_dir, "threads.unsaved_dir=%s", directory);
		snprintf(unsaved_bytes, sizeof unsaved_bytes, "threads.max_unsaved_bytes=%zu",
		         limits->unsaved_bytes > 0 ? limits->unsaved_bytes : 1u << 30);
		c = SETTINGS(store, unsaved_dir, unsaved_bytes);
		s = store_open(f->base, c, run, f->counters, &e);
		config_unref(c);
	}
	if (s == NULL)
		fail_msg("%s", e.text);
	return s;
}

static inline void open_store(struct fixture *f, const char *run, const struct store_limits *limits)
{
	store_free(f->store);
	f->store = NULL;
	f->store = new_store(f, run, limits, f->on_disk ? f->server.directory : NULL);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err e = ERR_INIT;

	*state = f;
	if (!redis_server_exists())
		return 0;
	redis_server_start(&f->server, NULL);
	f->base = event_base_new();
	f->counters = counters_open(f->server.directory, &e);
	f->direct = redis_new(f->base, &(struct redis_options){.url = f->server.url, .timeout_ms = 20000}, &e);
	open_store(f, "run", &no_limits);
	return f->base == NULL || f->counters == NULL || f->direct == NULL;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->server.pid > 0)
		kill(f->server.pid, SIGCONT);
	store_free(f->store);
	store_free(f->other);
	redis_free(f->direct);
	counters_close(f->counters);
	if (f->base != NULL)
		event_base_free(f->base);
	json_decref(f->loaded);
	redis_server_remove(&f->server);
	free(f);
	return 0;
}

/* ---- what tests do ---- */

static inline void run(struct fixture *f, int answers)
{
	const int want = f->answers + answers;

	while (f->answers < want)
		assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
	assert_int_equal(f->answers, want);
}

static inline void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct fixture *f = arg;

	json_decref(f->loaded);
	f->loaded = json_incref((json_t *)(uintptr_t)turns);
	f->error = e != NULL ? *e : (struct err)ERR_INIT;
	assert_int_equal(e != NULL, turns == NULL);
	assert_true(e == NULL || e->text[0] != '\0');
	f->answers++;
}

static inline void on_saved(void *arg, const struct err *e)
{
	struct fixture *f = arg;

	f->error = e != NULL ? *e : (struct err)ERR_INIT;
	f->answers++;
}

static inline json_t *turn(const char *text)
{
	return json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", text, "role", "assistant", "content",
	                 text);
}

static inline void start_append(struct fixture *f, const char *subject, const char *thread, const char *text)
{
	const int before = f->answers;

	assert_non_null(store_append(f->store, &(struct store_key){.subject = subject, .thread_id = thread}, turn(text),
	                             on_saved, f));
	assert_int_equal(f->answers, before);
}

static inline void append(struct fixture *f, const char *subject, const char *thread, const char *text)
{
	start_append(f, subject, thread, text);
	run(f, 1);
	assert_string_equal(f->error.text, "");
}

static inline void start_load(struct fixture *f, const char *subject, const char *thread)
{
	assert_non_null(
		store_load(f->store, &(struct store_key){.subject = subject, .thread_id = thread}, on_loaded, f));
}

/* The user messages of what was loaded last, joined by spaces. */
static inline void assert_loaded(struct fixture *f, const char *want)
{
	struct buf text = BUF_INIT(64u << 20);
	json_t *messages;
	size_t i;

	assert_string_equal(f->error.text, "");
	buf_adds(&text, "");
	json_array_foreach(f->loaded, i, messages)
		buf_addf(&text, "%s%s", i > 0 ? " " : "",
	                 json_string_value(json_object_get(json_array_get(messages, 0), "content")));
	assert_string_equal(text.data, want);
	buf_free(&text);
}

static inline void assert_thread(struct fixture *f, const char *subject, const char *thread, const char *want)
{
	start_load(f, subject, thread);
	run(f, 1);
	assert_loaded(f, want);
}

static inline void on_direct(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct fixture *f = arg;

	if (e != NULL)
		fail_msg("%s", e->text);
	if (reply->type == REDIS_NUMBER)
		snprintf(f->text, sizeof f->text, "%lld", (long long)reply->number);
	else
		snprintf(f->text, sizeof f->text, "%s", reply->text);
	f->answers++;
}

static inline const char *direct(struct fixture *f, size_t count, const char *const *args)
{
	assert_non_null(redis_send(f->direct, &(struct redis_command){.args = args, .count = count, .repeatable = true},
	                           on_direct, f));
	run(f, 1);
	return f->text;
}
#define DIRECT(f, ...) direct(f, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static inline int64_t counted(const struct fixture *f, enum counter c)
{
	int64_t sums[COUNTERS];
	struct err e = ERR_INIT;

	assert_int_equal(counters_sum(f->server.directory, sums, &e), 0);
	return sums[c];
}

static inline void wait_for(struct fixture *f, enum counter c, int64_t want)
{
	while (counted(f, c) != want)
		event_base_loop(f->base, EVLOOP_ONCE);
}

static inline struct fixture *start(void **state)
{
	if (!redis_server_exists())
		skip();
	return *state;
}

static inline void on_deleted(void *arg, bool found, const struct err *e)
{
	struct fixture *f = arg;

	f->error = e != NULL ? *e : (struct err)ERR_INIT;
	f->found = found;
	f->answers++;
}

static inline void start_delete(struct fixture *f, const char *thread, const char *response)
{
	assert_non_null(store_delete(f->store, &(struct store_key){.subject = "", .thread_id = thread}, response,
	                             on_deleted, f));
}

static inline void assert_deletes(struct fixture *f, const char *thread, const char *response, bool found)
{
	start_delete(f, thread, response);
	run(f, 1);
	assert_string_equal(f->error.text, "");
	assert_int_equal(f->found, found);
}

static inline void start_answer(struct fixture *f, const char *thread, const char *text, const char *id)
{
	assert_non_null(store_append(f->store, &(struct store_key){.subject = "", .thread_id = thread},
	                             json_pack("[{s:s, s:s, s:s}, {s:s, s:{s:s}}]", "role", "user", "content", text,
	                                       "id", "resp_2", "role", "assistant", "response", "id", id),
	                             on_saved, f));
}

#endif
