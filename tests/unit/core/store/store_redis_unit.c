/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations in a real Redis: what is stored, what happens while it is away, and what administrators see. */
#include "core/store/redis_thread.h"
#include "core/store/store_admin.h"
#include "tests/unit/support/redis_server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

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
};

static const struct store_limits no_limits = {.max_threads = 1};

static void open_store(struct fixture *f, const char *run, const struct store_limits *limits)
{
	struct store_limits l = *limits;
	struct err e = ERR_INIT;

	l.counters = f->counters;
	store_free(f->store);
	f->store = store_new(f->base, f->server.url, run, &l, &e);
	if (f->store == NULL)
		fail_msg("%s", e.text);
}

static int setup(void **state)
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

static int teardown(void **state)
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

static void run(struct fixture *f, int answers)
{
	const int want = f->answers + answers;

	while (f->answers < want)
		assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
	assert_int_equal(f->answers, want);
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct fixture *f = arg;

	json_decref(f->loaded);
	f->loaded = json_incref((json_t *)(uintptr_t)turns);
	f->error = e != NULL ? *e : (struct err)ERR_INIT;
	assert_int_equal(e != NULL, turns == NULL);
	f->answers++;
}

static void on_saved(void *arg, const struct err *e)
{
	struct fixture *f = arg;

	f->error = e != NULL ? *e : (struct err)ERR_INIT;
	f->answers++;
}

static json_t *turn(const char *text)
{
	return json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", text, "role", "assistant", "content",
	                 text);
}

static void start_append(struct fixture *f, const char *subject, const char *thread, const char *text)
{
	const int before = f->answers;

	assert_non_null(store_append(f->store, &(struct store_key){.subject = subject, .thread_id = thread}, turn(text),
	                             on_saved, f));
	assert_int_equal(f->answers, before);
}

static void append(struct fixture *f, const char *subject, const char *thread, const char *text)
{
	start_append(f, subject, thread, text);
	run(f, 1);
	assert_string_equal(f->error.text, "");
}

static void start_load(struct fixture *f, const char *subject, const char *thread)
{
	assert_non_null(
		store_load(f->store, &(struct store_key){.subject = subject, .thread_id = thread}, on_loaded, f));
}

/* The user messages of what was loaded last, joined by spaces. */
static void assert_loaded(struct fixture *f, const char *want)
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

static void assert_thread(struct fixture *f, const char *subject, const char *thread, const char *want)
{
	start_load(f, subject, thread);
	run(f, 1);
	assert_loaded(f, want);
}

static void on_direct(void *arg, struct redis_reply *reply, const struct err *e)
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

static const char *direct(struct fixture *f, size_t count, const char *const *args)
{
	assert_non_null(redis_send(f->direct, &(struct redis_command){.args = args, .count = count, .repeatable = true},
	                           on_direct, f));
	run(f, 1);
	return f->text;
}
#define DIRECT(f, ...) direct(f, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static int64_t counted(const struct fixture *f, enum counter c)
{
	int64_t sums[COUNTERS];
	struct err e = ERR_INIT;

	assert_int_equal(counters_sum(f->server.directory, sums, &e), 0);
	return sums[c];
}

static void wait_for(struct fixture *f, enum counter c, int64_t want)
{
	while (counted(f, c) != want)
		event_base_loop(f->base, EVLOOP_ONCE);
}

static struct fixture *start(void **state)
{
	if (!redis_server_exists())
		skip();
	return *state;
}

/* ---- what is stored ---- */

static void turns_come_back_in_their_thread(void **state)
{
	struct fixture *f = start(state);

	assert_thread(f, "", "thread", "");
	append(f, "", "thread", "one");
	append(f, "", "thread", "two");
	append(f, "ann", "thread", "hers");
	append(f, "annthread", "", "x");
	append(f, "", "other", "\xc3\xa4\n\"\x01");
	assert_thread(f, "", "thread", "one two");
	assert_thread(f, "ann", "thread", "hers");
	assert_thread(f, "annthread", "", "x");
	assert_thread(f, "", "other", "\xc3\xa4\n\"\x01");
	open_store(f, "another", &no_limits);
	assert_thread(f, "", "thread", "one two");
}

static void requests_at_once_run_in_order(void **state)
{
	struct fixture *f = start(state);
	struct buf want = BUF_INIT(10000);
	char text[8];

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "%d", i);
		start_append(f, "", "thread", text);
		buf_addf(&want, "%s%d", i > 0 ? " " : "", i);
	}
	start_load(f, "", "thread");
	run(f, 101);
	assert_thread(f, "", "thread", want.data);
	buf_free(&want);
}

static void long_turns_are_stored_whole_and_in_order(void **state)
{
	struct fixture *f = start(state);
	char *text = malloc(200001);
	const char *got;

	memset(text, 'x', 200000);
	text[200000] = '\0';
	start_append(f, "", "thread", text);
	start_append(f, "", "thread", "short");
	run(f, 2);
	start_load(f, "", "thread");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), 2);
	got = json_string_value(json_object_get(json_array_get(json_array_get(f->loaded, 0), 1), "content"));
	assert_string_equal(got, text);
	free(text);
}

static void short_ids_belong_to_a_run(void **state)
{
	struct fixture *f = start(state);

	append(f, "", "0", "mine");
	assert_thread(f, "", "0", "mine");
	open_store(f, "another run", &no_limits);
	assert_thread(f, "", "0", "");
}

static void threads_expire(void **state)
{
	struct store_limits limits = no_limits;
	struct fixture *f = start(state);
	struct redis_keys keys;

	limits.expire_ms = 100000;
	limits.short_id_idle_ms = 1;
	open_store(f, "run", &limits);
	append(f, "", "thread", "one");
	append(f, "", "1", "gone");
	redis_keys_of(&keys, "", "thread", "");
	assert_in_range(atoll(DIRECT(f, "PTTL", keys.turns)), 1, 100000);
	assert_in_range(atoll(DIRECT(f, "PTTL", keys.meta)), 1, 100000);
	redis_keys_of(&keys, "", "1", "run");
	while (strcmp(DIRECT(f, "EXISTS", keys.turns), "0") != 0)
		continue;
	assert_thread(f, "", "1", "");
	limits.expire_ms = 0;
	open_store(f, "run", &limits);
	append(f, "", "thread", "two");
	redis_keys_of(&keys, "", "thread", "");
	assert_string_equal(DIRECT(f, "PTTL", keys.turns), "-1");
}

static void old_turns_are_dropped_whole(void **state)
{
	struct store_limits limits = no_limits;
	struct fixture *f = start(state);
	char text[64];

	for (int i = 0; i <= STORE_TURNS_MAX; i++) {
		snprintf(text, sizeof text, "%d", i);
		start_append(f, "", "many", text);
	}
	run(f, STORE_TURNS_MAX + 1);
	start_load(f, "", "many");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), STORE_TURNS_MAX);
	limits.thread_bytes = 600;
	open_store(f, "run", &limits);
	for (int i = 0; i < 10; i++) {
		snprintf(text, sizeof text, "%050d", i);
		append(f, "", "bytes", text);
	}
	start_load(f, "", "bytes");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), 2);
}

static void a_turn_is_stored_once_however_often_it_is_sent(void **state)
{
	struct fixture *f = start(state);
	const struct store_key key = {.subject = "", .thread_id = "thread"};
	struct redis_keys keys;
	struct redis_append a = {.keys = &keys,
	                         .key = &key,
	                         .run = "",
	                         .id = "0123456789abcdef",
	                         .messages = "[]",
	                         .len = 2,
	                         .at_ms = 1,
	                         .created_ms = 1};

	redis_keys_of(&keys, "", "thread", "");
	for (int i = 0; i < 3; i++) {
		redis_append_run(f->direct, &a, on_direct, f);
		run(f, 1);
		assert_string_equal(f->text, "1");
	}
	assert_string_equal(DIRECT(f, "LLEN", keys.turns), "1");
}

static void what_is_no_turn_is_left_out(void **state)
{
	struct fixture *f = start(state);
	struct redis_keys keys;

	redis_keys_of(&keys, "", "thread", "");
	append(f, "", "thread", "one");
	DIRECT(f, "RPUSH", keys.turns, "no JSON", "{}", "[1]", "{\"messages\":1}");
	append(f, "", "thread", "two");
	assert_thread(f, "", "thread", "one two");
	DIRECT(f, "DEL", keys.turns);
	DIRECT(f, "SET", keys.turns, "a text");
	start_load(f, "", "thread");
	run(f, 1);
	assert_non_null(strstr(f->error.text, "WRONGTYPE"));
	/* That turn is lost; the next ones of other threads are not held up. */
	start_append(f, "", "thread", "x");
	run(f, 1);
	assert_string_not_equal(f->error.text, "");
	append(f, "", "other", "y");
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 1);
}

/* ---- deleting ---- */

static void on_deleted(void *arg, bool found, const struct err *e)
{
	struct fixture *f = arg;

	f->error = e != NULL ? *e : (struct err)ERR_INIT;
	f->found = found;
	f->answers++;
}

static void start_delete(struct fixture *f, const char *thread, const char *response)
{
	assert_non_null(store_delete(f->store, &(struct store_key){.subject = "", .thread_id = thread}, response,
	                             on_deleted, f));
}

static void assert_deletes(struct fixture *f, const char *thread, const char *response, bool found)
{
	start_delete(f, thread, response);
	run(f, 1);
	assert_string_equal(f->error.text, "");
	assert_int_equal(f->found, found);
}

static void start_answer(struct fixture *f, const char *thread, const char *text, const char *id)
{
	assert_non_null(store_append(f->store, &(struct store_key){.subject = "", .thread_id = thread},
	                             json_pack("[{s:s, s:s, s:s}, {s:s, s:{s:s}}]", "role", "user", "content", text,
	                                       "id", "resp_2", "role", "assistant", "response", "id", id),
	                             on_saved, f));
}

static void threads_and_answers_are_deleted(void **state)
{
	struct fixture *f = start(state);
	struct redis_keys keys;
	struct store *one = f->store, *two;

	redis_keys_of(&keys, "", "thread", "");
	for (int i = 0; i < 3; i++)
		start_answer(f, "thread",
		             i == 0   ? "one"
		             : i == 1 ? "two"
		                      : "three",
		             i == 0   ? "resp_1"
		             : i == 1 ? "resp_2"
		                      : "resp_3");
	start_append(f, "ann", "thread", "hers");
	run(f, 4);
	DIRECT(f, "RPUSH", keys.turns, "no JSON with \"id\":\"resp_2\"", "[\"id\":\"resp_2\"]");
	assert_deletes(f, "thread", "resp_2", true);
	assert_deletes(f, "thread", "resp_2", false);
	assert_thread(f, "", "thread", "one three");
	f->store = NULL;
	open_store(f, "another", &no_limits);
	two = f->store;
	assert_thread(f, "", "thread", "one three");
	assert_deletes(f, "thread", NULL, true);
	f->store = one;
	assert_thread(f, "", "thread", "");
	assert_deletes(f, "thread", NULL, false);
	assert_string_equal(DIRECT(f, "EXISTS", keys.turns, keys.meta), "0");
	start_answer(f, "thread", "one", "resp_1");
	run(f, 1);
	assert_deletes(f, "thread", "resp_1", true);
	assert_string_equal(DIRECT(f, "EXISTS", keys.turns, keys.meta), "0");
	assert_thread(f, "ann", "thread", "hers");
	store_free(two);
}

static void deletions_run_in_their_order(void **state)
{
	struct fixture *f = start(state);

	for (int i = 0; i < 100; i++) /* more than are sent at once */
		start_append(f, "", "thread", "old");
	start_delete(f, "thread", NULL);
	start_append(f, "", "thread", "new");
	start_load(f, "", "thread");
	run(f, 103);
	assert_true(f->found);
	assert_loaded(f, "new");
	assert_thread(f, "", "thread", "new");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	store_cancel(
		store_delete(f->store, &(struct store_key){.subject = "", .thread_id = "thread"}, NULL, on_deleted, f));
	assert_thread(f, "", "thread", "");
}

static void a_deletion_while_it_is_away_fails_and_loses_nothing(void **state)
{
	struct fixture *f = start(state);

	redis_server_kill(&f->server);
	start_append(f, "", "thread", "waits");
	start_answer(f, "thread", "too", "resp_1");
	run(f, 2);
	start_delete(f, "thread", NULL);
	run(f, 1);
	assert_string_not_equal(f->error.text, "");
	assert_false(f->found);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "waits too");
	assert_deletes(f, "thread", NULL, true);
}

/* ---- what was loaded before ---- */

static void append_by_other(struct fixture *f, const struct store_limits *limits, const char *text)
{
	struct store *mine = f->store;
	struct err e = ERR_INIT;

	if (f->other == NULL)
		f->other = store_new(f->base, f->server.url, "another", limits, &e);
	assert_non_null(f->other);
	f->store = f->other;
	append(f, "", "thread", text);
	f->store = mine;
}

static void turns_of_others_are_seen(void **state)
{
	struct fixture *f = start(state);
	struct buf want = BUF_INIT(10000);
	char text[8];

	append(f, "", "thread", "a");
	buf_adds(&want, "a");
	for (int i = 0; i < 100; i++) { /* 1, then 2, ... of them are new to it, at last more than there are marks */
		for (int n = 0; n <= i / 2; n++) {
			snprintf(text, sizeof text, "%d-%d", i, n);
			if (n % 8 == 7)
				append(f, "", "thread", text);
			else
				append_by_other(f, &no_limits, text);
			buf_addf(&want, " %s", text);
		}
		assert_thread(f, "", "thread", want.data);
		if (i == 15)
			i = 79;
		if (i == 82)
			break;
	}
	buf_free(&want);
}

static void what_was_loaded_is_not_parsed_again(void **state)
{
	struct fixture *f = start(state);
	struct redis_keys keys;

	redis_keys_of(&keys, "", "thread", "");
	append(f, "", "thread", "one");
	append(f, "", "thread", "two");
	assert_thread(f, "", "thread", "one two");
	DIRECT(f, "LSET", keys.turns, "0", "not sent again");
	append_by_other(f, &no_limits, "three");
	assert_thread(f, "", "thread", "one two three");
	DIRECT(f, "SCRIPT", "FLUSH");
	append_by_other(f, &no_limits, "four");
	assert_thread(f, "", "thread", "one two three four");
	DIRECT(f, "SCRIPT", "FLUSH");
	assert_thread(f, "", "thread", "one two three four");
}

static void loads_at_once_see_the_same(void **state)
{
	struct fixture *f = start(state);

	append(f, "", "thread", "one");
	for (int round = 0; round < 3; round++) {
		start_load(f, "", "thread");
		start_append(f, "", "thread", "x");
		start_load(f, "", "thread");
		start_load(f, "", "thread");
		run(f, 4);
		assert_int_equal(json_array_size(f->loaded), round + 2);
	}
	assert_thread(f, "", "thread", "one x x x");
}

static void a_thread_that_was_deleted_is_begun_again(void **state)
{
	struct fixture *f = start(state);
	struct redis_keys keys;

	redis_keys_of(&keys, "", "thread", "");
	append(f, "", "thread", "one");
	append(f, "", "thread", "two");
	assert_thread(f, "", "thread", "one two");
	DIRECT(f, "DEL", keys.turns, keys.meta);
	append_by_other(f, &no_limits, "new");
	append_by_other(f, &no_limits, "newer");
	assert_thread(f, "", "thread", "new newer");
	DIRECT(f, "DEL", keys.turns, keys.meta);
	assert_thread(f, "", "thread", "");
	append_by_other(f, &no_limits, "newest");
	assert_thread(f, "", "thread", "newest");
	/* Redis may evict one of the two keys. */
	DIRECT(f, "DEL", keys.turns);
	assert_thread(f, "", "thread", "");
	append_by_other(f, &no_limits, "second");
	assert_thread(f, "", "thread", "second");
	DIRECT(f, "DEL", keys.meta);
	assert_thread(f, "", "thread", "second");
	append_by_other(f, &no_limits, "third");
	assert_thread(f, "", "thread", "second third");
	append_by_other(f, &no_limits, "fourth");
	assert_thread(f, "", "thread", "second third fourth");
}

static void turns_that_others_dropped_are_dropped(void **state)
{
	struct store_limits limits = no_limits;
	struct fixture *f = start(state);
	struct redis_keys keys;
	char text[8], want[64];

	redis_keys_of(&keys, "", "thread", "");
	limits.thread_bytes = 600;
	for (int i = 10; i < 30; i++) {
		snprintf(text, sizeof text, "%d", i);
		append_by_other(f, &limits, text);
		start_load(f, "", "thread");
		run(f, 1);
		assert_int_equal(json_array_size(f->loaded), atoi(DIRECT(f, "LLEN", keys.turns)));
	}
	snprintf(want, sizeof want, "%d %d %d", 27, 28, 29);
	assert_thread(f, "", "thread", want);
}

static void an_answer_that_another_deleted_is_gone(void **state)
{
	static const char *const ids[] = {"resp_1", "resp_2", "resp_3", "resp_4"};
	struct fixture *f = start(state);
	struct store *mine = f->store;

	for (int i = 0; i < 4; i++) {
		start_answer(f, "thread", ids[i], ids[i]);
		run(f, 1);
	}
	append_by_other(f, &no_limits, "a");
	assert_thread(f, "", "thread", "resp_1 resp_2 resp_3 resp_4 a");
	f->store = f->other;
	assert_deletes(f, "thread", "resp_2", true);
	f->store = mine;
	assert_thread(f, "", "thread", "resp_1 resp_3 resp_4 a");
	f->store = f->other;
	assert_deletes(f, "thread", "resp_3", true);
	f->store = mine;
	append_by_other(f, &no_limits, "b");
	assert_thread(f, "", "thread", "resp_1 resp_4 a b");
	start_answer(f, "thread", "last", "resp_5");
	run(f, 1);
	assert_thread(f, "", "thread", "resp_1 resp_4 a b last");
	f->store = f->other;
	assert_deletes(f, "thread", "resp_5", true);
	f->store = mine;
	append_by_other(f, &no_limits, "c");
	assert_thread(f, "", "thread", "resp_1 resp_4 a b c");
	append_by_other(f, &no_limits, "d");
	assert_thread(f, "", "thread", "resp_1 resp_4 a b c d");
}

/* A replica that had not received the last turns takes over: numbers and places are as before, turns are not. */
static void what_a_new_master_has_lost_is_lost(void **state)
{
	struct fixture *f = start(state);
	struct redis_keys keys;

	redis_keys_of(&keys, "", "thread", "");
	append(f, "", "thread", "one");
	DIRECT(f, "COPY", keys.turns, "replica:t");
	DIRECT(f, "COPY", keys.meta, "replica:m");
	append(f, "", "thread", "lost");
	append(f, "", "thread", "two");
	assert_thread(f, "", "thread", "one lost two");
	DIRECT(f, "RENAME", "replica:t", keys.turns);
	DIRECT(f, "RENAME", "replica:m", keys.meta);
	append_by_other(f, &no_limits, "instead");
	append_by_other(f, &no_limits, "two");
	assert_thread(f, "", "thread", "one instead two");
}

/* One that marks nothing, while hosts are being upgraded. */
static void turns_of_an_older_service_are_seen(void **state)
{
	static const char old[] =
		"{\"number\":2,\"at\":1,\"id\":\"0123456789abcdef\",\"messages\":"
		"[{\"role\":\"user\",\"content\":\"old\"}]}";
	struct fixture *f = start(state);
	struct redis_keys keys;

	redis_keys_of(&keys, "", "thread", "");
	append(f, "", "thread", "one");
	assert_thread(f, "", "thread", "one");
	for (int i = 0; i < 2; i++) {
		DIRECT(f, "RPUSH", keys.turns, old);
		DIRECT(f, "HINCRBY", keys.meta, "n", "1");
		assert_thread(f, "", "thread", i == 0 ? "one old" : "one old old");
	}
	append(f, "", "thread", "two");
	assert_thread(f, "", "thread", "one old old two");
	append(f, "", "thread", "three");
	assert_thread(f, "", "thread", "one old old two three");
}

/* ---- answers that are cut, or wrong ---- */

/* Between a store and the server: it forwards so much of what the server sends, then ends the connection. */
struct cutter {
	struct event_base *base;
	struct sockaddr_un server;
	struct evconnlistener *listener;
	struct bufferevent *ends[2]; /* the store's, the server's; NULL: not connected */
	size_t left;                 /* bytes; SIZE_MAX: any number */
	int connections;
	const char *instead; /* of what the server sends; NULL: that */
};

static void cutter_end(struct cutter *c)
{
	for (size_t i = 0; i < 2; i++) {
		if (c->ends[i] != NULL)
			bufferevent_free(c->ends[i]);
		c->ends[i] = NULL;
	}
}

static void on_bytes(struct bufferevent *from, void *arg)
{
	struct cutter *c = arg;
	struct evbuffer *in = bufferevent_get_input(from);
	struct evbuffer *out = bufferevent_get_output(c->ends[from == c->ends[0]]);

	if (from == c->ends[0]) {
		evbuffer_add_buffer(out, in);
		return;
	}
	if (c->instead != NULL) {
		evbuffer_drain(in, evbuffer_get_length(in));
		evbuffer_add(out, c->instead, strlen(c->instead));
		c->instead = NULL;
		return;
	}
	if (c->left == SIZE_MAX || evbuffer_get_length(in) < c->left) {
		c->left -= c->left == SIZE_MAX ? 0 : evbuffer_get_length(in);
		evbuffer_add_buffer(out, in);
		return;
	}
	evbuffer_remove_buffer(in, out, c->left);
	evbuffer_write(out, bufferevent_getfd(c->ends[0]));
	c->left = SIZE_MAX;
	cutter_end(c);
}

static void on_end(struct bufferevent *from, short what, void *arg)
{
	(void)from;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		cutter_end(arg);
}

static void on_connection(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	struct cutter *c = arg;

	(void)l, (void)from, (void)len;
	cutter_end(c);
	c->connections++;
	c->ends[0] = bufferevent_socket_new(c->base, fd, BEV_OPT_CLOSE_ON_FREE);
	c->ends[1] = bufferevent_socket_new(c->base, -1, BEV_OPT_CLOSE_ON_FREE);
	for (size_t i = 0; i < 2; i++) {
		assert_non_null(c->ends[i]);
		bufferevent_setcb(c->ends[i], on_bytes, NULL, on_end, c);
	}
	bufferevent_socket_connect(c->ends[1], (struct sockaddr *)&c->server, sizeof c->server);
	for (size_t i = 0; i < 2; i++)
		bufferevent_enable(c->ends[i], EV_READ | EV_WRITE);
}

/* The store is from now on behind it. */
static void cutter_start(struct cutter *c, struct fixture *f)
{
	struct sockaddr_un own = {.sun_family = AF_UNIX};
	char url[sizeof f->server.url];

	*c = (struct cutter){.base = f->base, .server = {.sun_family = AF_UNIX}, .left = SIZE_MAX};
	snprintf(c->server.sun_path, sizeof c->server.sun_path, "%s/socket", f->server.directory);
	snprintf(own.sun_path, sizeof own.sun_path, "%s/cutter", f->server.directory);
	c->listener = evconnlistener_new_bind(f->base, on_connection, c, LEV_OPT_CLOSE_ON_FREE, -1,
	                                      (struct sockaddr *)&own, sizeof own);
	assert_non_null(c->listener);
	memcpy(url, f->server.url, sizeof url);
	snprintf(f->server.url, sizeof f->server.url, "redis+unix://%s/cutter", f->server.directory);
	open_store(f, "run", &no_limits);
	memcpy(f->server.url, url, sizeof url);
}

static void cutter_free(struct cutter *c)
{
	cutter_end(c);
	evconnlistener_free(c->listener);
}

static void an_answer_that_is_cut_is_requested_again(void **state)
{
	struct fixture *f = start(state);
	struct cutter c;

	cutter_start(&c, f);
	append(f, "", "thread", "one");
	append(f, "", "thread", "two");
	for (size_t left = 1; left < 150; left += 7) { /* 0 or 1 turn is new */
		const int before = c.connections;

		assert_thread(f, "", "thread", "one two");
		append_by_other(f, &no_limits, "three");
		c.left = left;
		assert_thread(f, "", "thread", "one two three");
		assert_int_equal(c.connections, before + 1);
		DIRECT(f, "FLUSHALL");
		append_by_other(f, &no_limits, "one");
		append_by_other(f, &no_limits, "two");
		c.left = left;
		assert_thread(f, "", "thread", "one two");
		assert_int_equal(c.connections, before + 2);
	}
	cutter_free(&c);
}

static void a_wrong_answer_is_an_error(void **state)
{
	static const char *const wrong[] = {"*0\r\n",
	                                    "$4\r\nnone\r\n",
	                                    ":3\r\n",
	                                    "*3\r\n:2\r\n:2\r\n$1\r\nx\r\n",
	                                    "*3\r\n:2\r\n:0\r\n*1\r\n$1\r\nx\r\n",
	                                    "*3\r\n:3\r\n:2\r\n*0\r\n",
	                                    "*3\r\n:1\r\n:2\r\n*0\r\n",
	                                    "*3\r\n:2\r\n:3\r\n*0\r\n",
	                                    "*3\r\n:-9223372036854775807\r\n:9223372036854775807\r\n*0\r\n",
	                                    "*3\r\n:9223372036854775807\r\n:-9223372036854775807\r\n*0\r\n",
	                                    "*4\r\n:2\r\n:2\r\n*0\r\n:1\r\n"};
	struct fixture *f = start(state);
	struct cutter c;

	cutter_start(&c, f);
	append(f, "", "thread", "one");
	append(f, "", "thread", "two");
	for (int i = 0; i < 2; i++) /* the server now has the script */
		assert_thread(f, "", "thread", "one two");
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_thread(f, "", "thread", "one two");
		c.instead = wrong[i];
		start_load(f, "", "thread");
		run(f, 1);
		assert_non_null(strstr(f->error.text, "no list of turns"));
		assert_null(f->loaded);
	}
	assert_thread(f, "", "thread", "one two");
	cutter_free(&c);
}

/* ---- Redis is away ---- */

static void turns_wait_while_it_is_away(void **state)
{
	struct fixture *f = start(state);

	append(f, "", "thread", "lost with the server");
	redis_server_kill(&f->server);
	do { /* until the loss of the connection is noticed */
		start_load(f, "", "thread");
		run(f, 1);
	} while (f->error.text[0] == '\0');
	for (int i = 0; i < 3; i++) {
		start_append(f, "", "thread", i == 0 ? "a" : i == 1 ? "b" : "c");
		run(f, 1);
		assert_non_null(strstr(f->error.text, "Redis at"));
	}
	assert_int_equal(counted(f, COUNTER_TURNS_UNSAVED), 3);
	assert_int_equal(counted(f, COUNTER_STORES_AWAY), 1);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_STORES_AWAY), 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	assert_thread(f, "", "thread", "a b c");
}

static void only_their_memory_limits_how_many_wait(void **state)
{
	enum { TURNS = 12000 };
	struct fixture *f = start(state);
	char thread[24];

	redis_server_kill(&f->server);
	for (int i = 0; i < TURNS; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		start_append(f, "", thread, "short");
	}
	run(f, TURNS);
	assert_int_equal(counted(f, COUNTER_TURNS_UNSAVED), TURNS);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	assert_thread(f, "", "thread-11999", "short");
}

static void the_oldest_are_lost_where_too_many_wait(void **state)
{
	struct store_limits limits = no_limits;
	struct fixture *f = start(state);
	char text[1001];

	memset(text, 'x', 1000);
	text[1000] = '\0';
	limits.unsaved_bytes = 10000;
	open_store(f, "run", &limits);
	redis_server_kill(&f->server);
	for (int i = 0; i < 1000; i++)
		start_append(f, "", "thread", text);
	start_append(f, "", "thread", "last");
	run(f, 1001);
	wait_for(f, COUNTER_TURNS_LOST, 1001 - counted(f, COUNTER_TURNS_UNSAVED));
	assert_in_range(counted(f, COUNTER_TURNS_UNSAVED), 2, 9);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	start_load(f, "", "thread");
	run(f, 1);
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_array_get(f->loaded, json_array_size(f->loaded) - 1), 0), "content")),
		"last");
}

static void a_stopped_server_costs_a_deadline_once(void **state)
{
	struct fixture *f = start(state);

	append(f, "", "thread", "one");
	kill(f->server.pid, SIGSTOP);
	waitpid(f->server.pid, NULL, WUNTRACED); /* from now on it does nothing */
	start_append(f, "", "thread", "two");
	start_load(f, "", "thread");
	run(f, 2);
	assert_string_not_equal(f->error.text, "");
	for (int i = 0; i < 100; i++) { /* a test that waited for each would never end */
		start_load(f, "", "thread");
		run(f, 1);
		assert_string_not_equal(f->error.text, "");
	}
	kill(f->server.pid, SIGCONT);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "one two");
}

static void a_server_that_takes_nothing_is_read(void **state)
{
	struct fixture *f = start(state);

	append(f, "", "thread", "one");
	DIRECT(f, "CONFIG", "SET", "maxmemory-policy", "noeviction");
	DIRECT(f, "CONFIG", "SET", "maxmemory", "1");
	start_append(f, "", "thread", "two");
	run(f, 1);
	assert_non_null(strstr(f->error.text, "OOM"));
	assert_thread(f, "", "thread", "one two"); /* with what waits here */
	DIRECT(f, "CONFIG", "SET", "maxmemory", "0");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "one two");
	DIRECT(f, "REPLICAOF", "127.0.0.1", "1");
	start_append(f, "", "thread", "three");
	run(f, 1);
	assert_non_null(strstr(f->error.text, "READONLY"));
	DIRECT(f, "REPLICAOF", "NO", "ONE");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "one two three");
}

/* More threads than are tried at once. */
static void turns_of_many_threads_wait_and_are_stored_in_order(void **state)
{
	enum { THREADS = 100 };
	struct fixture *f = start(state);
	char thread[24];

	DIRECT(f, "CONFIG", "SET", "maxmemory-policy", "noeviction");
	DIRECT(f, "CONFIG", "SET", "maxmemory", "1");
	for (int i = 0; i < 2 * THREADS; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i % THREADS);
		start_append(f, "", thread, i < THREADS ? "one" : "two");
		run(f, 1);
		assert_non_null(strstr(f->error.text, "OOM"));
	}
	assert_int_equal(counted(f, COUNTER_TURNS_UNSAVED), 2 * THREADS);
	assert_thread(f, "", "thread-0", "one two"); /* with what waits here */
	DIRECT(f, "CONFIG", "SET", "maxmemory", "0");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	for (int i = 0; i < THREADS; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		assert_thread(f, "", thread, "one two");
	}
}

static void what_waits_is_written_before_the_end(void **state)
{
	struct fixture *f = start(state);

	for (int i = 0; i < 100; i++)
		store_append(f->store, &(struct store_key){.subject = "", .thread_id = "thread"}, turn("x"), NULL,
		             NULL);
	event_base_loop(f->base, EVLOOP_NONBLOCK);
	open_store(f, "run", &no_limits);
	start_load(f, "", "thread");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), 100);
}

static void cancelled_requests_stay_silent(void **state)
{
	struct fixture *f = start(state);
	const struct store_key key = {.subject = "", .thread_id = "thread"};

	store_cancel(store_append(f->store, &key, turn("one"), on_saved, f));
	store_cancel(store_load(f->store, &key, on_loaded, f));
	assert_thread(f, "", "thread", "one");
}

/* ---- administrators ---- */

static bool add_name(void *arg, const struct store_thread *t)
{
	return buf_addf(arg, "%s/%s:%lld ", t->subject, t->thread_id, (long long)t->turns) == 0;
}

static bool count_turns(void *arg, const json_t *thread)
{
	*(size_t *)arg += json_array_size(json_object_get(thread, "turns"));
	return true;
}

static void assert_list(struct store_admin *a, const char *want)
{
	struct buf names = BUF_INIT(10000);
	struct err e = ERR_INIT;

	buf_adds(&names, "");
	assert_int_equal(store_admin_list(a, add_name, &names, &e), 0);
	assert_string_equal(names.data, want);
	buf_free(&names);
}

static void administrators_list_show_export_and_delete(void **state)
{
	struct fixture *f = start(state);
	struct err e = ERR_INIT;
	struct store_admin *a = store_admin_open(f->server.url, NULL, &e);
	struct store_size size;
	size_t turns = 0;
	json_t *shown;

	assert_non_null(a);
	assert_list(a, "");
	append(f, "ann", "thread", "one");
	usleep(2000); /* the next one is younger */
	append(f, "ann", "thread", "two");
	append(f, "bob", "0", "x");
	usleep(2000);
	append(f, "ann", "second", "three");
	assert_list(a, "ann/second:1 bob/0:1 ann/thread:2 ");
	shown = store_admin_show(a, &(struct store_key){.subject = "bob", .thread_id = "0"}, &e);
	assert_int_equal(json_array_size(json_object_get(shown, "turns")), 1);
	json_decref(shown);
	assert_int_equal(store_admin_export(a, count_turns, &turns, &e), 0);
	assert_int_equal(turns, 4);
	assert_int_equal(store_admin_size(a, &size, &e), 0);
	assert_int_equal(size.threads, 3);
	assert_int_equal(size.turns, 4);
	assert_true(size.bytes > 0 && size.disk_bytes > 0 && size.oldest_ms > 0);
	assert_int_equal(store_admin_delete(a, &(struct store_key){.subject = "ann", .thread_id = "none-there"}, &e),
	                 -1);
	err_clear(&e);
	assert_int_equal(store_admin_delete(a, &(struct store_key){.subject = "ann", .thread_id = "thread"}, &e), 1);
	assert_list(a, "ann/second:1 bob/0:1 ");
	assert_int_equal(store_admin_delete(a, &(struct store_key){.subject = "ann"}, &e), 1);
	assert_list(a, "bob/0:1 ");
	assert_int_equal(store_admin_delete(a, NULL, &e), 1);
	assert_list(a, "");
	assert_string_equal(DIRECT(f, "DBSIZE"), "0");
	store_admin_close(a);
}

static void administrators_see_more_threads_than_fit_in_an_answer(void **state)
{
	struct fixture *f = start(state);
	struct err e = ERR_INIT;
	struct store_admin *a = store_admin_open(f->server.url, NULL, &e);
	size_t turns = 0;
	char name[32];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "thread-%d", i);
		start_append(f, "", name, "x");
	}
	run(f, 3000);
	assert_int_equal(store_admin_export(a, count_turns, &turns, &e), 0);
	assert_int_equal(turns, 3000);
	assert_int_equal(store_admin_delete(a, NULL, &e), 3000);
	store_admin_close(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(turns_come_back_in_their_thread),
		TEST(requests_at_once_run_in_order),
		TEST(long_turns_are_stored_whole_and_in_order),
		TEST(short_ids_belong_to_a_run),
		TEST(threads_expire),
		TEST(old_turns_are_dropped_whole),
		TEST(a_turn_is_stored_once_however_often_it_is_sent),
		TEST(what_is_no_turn_is_left_out),
		TEST(threads_and_answers_are_deleted),
		TEST(deletions_run_in_their_order),
		TEST(a_deletion_while_it_is_away_fails_and_loses_nothing),
		TEST(turns_of_others_are_seen),
		TEST(what_was_loaded_is_not_parsed_again),
		TEST(loads_at_once_see_the_same),
		TEST(a_thread_that_was_deleted_is_begun_again),
		TEST(turns_that_others_dropped_are_dropped),
		TEST(an_answer_that_another_deleted_is_gone),
		TEST(what_a_new_master_has_lost_is_lost),
		TEST(turns_of_an_older_service_are_seen),
		TEST(an_answer_that_is_cut_is_requested_again),
		TEST(a_wrong_answer_is_an_error),
		TEST(turns_wait_while_it_is_away),
		TEST(only_their_memory_limits_how_many_wait),
		TEST(the_oldest_are_lost_where_too_many_wait),
		TEST(a_stopped_server_costs_a_deadline_once),
		TEST(a_server_that_takes_nothing_is_read),
		TEST(turns_of_many_threads_wait_and_are_stored_in_order),
		TEST(what_waits_is_written_before_the_end),
		TEST(cancelled_requests_stay_silent),
		TEST(administrators_list_show_export_and_delete),
		TEST(administrators_see_more_threads_than_fit_in_an_answer),
	};

	signal(SIGPIPE, SIG_IGN); /* as the programs do */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
