/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations in a real Redis: what is stored, what was loaded before, and what administrators see. */
#include "core/store/redis_thread.h"
#include "core/store/store_admin.h"
#include "tests/unit/support/redis_store.h"

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

/* ---- cancelling ---- */

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
		TEST(cancelled_requests_stay_silent),
		TEST(administrators_list_show_export_and_delete),
		TEST(administrators_see_more_threads_than_fit_in_an_answer),
	};

	signal(SIGPIPE, SIG_IGN); /* as the programs do */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
