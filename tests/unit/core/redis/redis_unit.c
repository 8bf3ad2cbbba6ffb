/* SPDX-License-Identifier: Apache-2.0 */
/* Commands come back from a real server, and what a bad one does costs no more than it must. */
#include "core/redis/redis.h"
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
#include <arpa/inet.h>
#include <cmocka.h>

#define MANY 3000

struct fixture {
	struct event_base *base;
	struct redis *redis;
	struct redis_server server;
	int changes;
	bool usable;
	/* A server on this loop that answers greetings, and everything else with `says`. */
	struct evconnlistener *listener;
	const char *says;      /* NULL: nothing; "": closes */
	int connections, open; /* ever, now */
	char url[64];
};

/* What came back. */
struct outcome {
	bool done;
	struct redis_reply *reply;
	struct err err;
	int *left; /* counted down; NULL is fine */
	struct event_base *base;
};

static void on_done(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct outcome *o = arg;

	assert_false(o->done);
	o->done = true;
	o->reply = reply != NULL ? redis_reply_ref(reply) : NULL;
	if (e != NULL)
		o->err = *e;
}

static void on_changed(void *arg, bool usable, const struct err *why)
{
	struct fixture *f = arg;

	assert_true(usable || err_is_set(why));
	f->changes++;
	f->usable = usable;
}

static void open_with(struct fixture *f, const struct redis_options *o)
{
	struct err e = ERR_INIT;
	struct redis_options all = *o;

	if (all.timeout_ms == 0)
		all.timeout_ms = 10000;
	all.changed = on_changed;
	all.arg = f;
	redis_free(f->redis);
	f->usable = false;
	f->redis = redis_new(f->base, &all, &e);
	if (f->redis == NULL)
		fail_msg("%s", e.text);
}

static void open_url(struct fixture *f, const char *url)
{
	open_with(f, &(struct redis_options){.url = url});
}

static void run_until(struct fixture *f, const bool *done)
{
	while (!*done)
		event_base_loop(f->base, EVLOOP_ONCE);
}

static struct outcome call(struct fixture *f, bool repeatable, size_t count, const char *const *args)
{
	const struct redis_command c = {.args = args, .count = count, .repeatable = repeatable};
	struct outcome o = {.done = false};

	assert_non_null(redis_send(f->redis, &c, on_done, &o));
	assert_false(o.done);
	run_until(f, &o.done);
	return o;
}
#define CALL(f, ...)                                                                                                   \
	call(f, true, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static void expect_text(struct outcome o, const char *text)
{
	if (o.reply == NULL)
		fail_msg("%s", o.err.text);
	assert_false(err_is_set(&o.err));
	assert_string_equal(o.reply->text, text);
	redis_reply_free(o.reply);
}

static void expect_error(struct outcome o, const char *part)
{
	if (strstr(o.err.text, part) == NULL)
		fail_msg("'%s' is not in '%s'", part, o.err.text);
	redis_reply_free(o.reply);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (f == NULL || (f->base = event_base_new()) == NULL)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	redis_free(f->redis);
	while (f->open > 0)
		event_base_loop(f->base, EVLOOP_ONCE);
	if (f->listener != NULL)
		evconnlistener_free(f->listener);
	event_base_free(f->base);
	redis_server_remove(&f->server);
	free(f);
	return 0;
}

static void start_server(struct fixture *f, const char *const *arguments)
{
	if (!redis_server_exists())
		skip();
	redis_server_start(&f->server, arguments);
	open_url(f, f->server.url);
}

/* ---- a real server ---- */

static void commands_are_answered(void **state)
{
	struct fixture *f = *state;

	start_server(f, NULL);
	expect_text(CALL(f, "SET", "k", "value"), "OK");
	expect_text(CALL(f, "GET", "k"), "value");
	expect_error(CALL(f, "INCR", "k"), "not an integer");
	expect_text(CALL(f, "CLIENT", "GETNAME"), "tt-agent");
	assert_int_equal(f->changes, 1);
	assert_true(f->usable);
}

static void many_commands_are_answered_in_order(void **state)
{
	struct fixture *f = *state;
	static struct outcome all[MANY];

	start_server(f, NULL);
	memset(all, 0, sizeof all);
	for (int i = 0; i < MANY; i++)
		assert_non_null(redis_send(f->redis,
		                           &(struct redis_command){.args = (const char *[]){"INCR", "n"}, .count = 2},
		                           on_done, &all[i]));
	run_until(f, &all[MANY - 1].done);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(all[i].reply->number, i + 1);
		redis_reply_free(all[i].reply);
	}
}

static struct outcome run_script(struct fixture *f, struct redis_script *script)
{
	const char *const args[] = {"{h}a", "{h}b", "x\0y"};
	const size_t lens[] = {4, 4, 3};
	const struct redis_run run = {.script = script, .keys = 2, .args = args, .lens = lens, .count = 3};
	struct outcome o = {.done = false};

	assert_non_null(redis_run(f->redis, &run, on_done, &o));
	run_until(f, &o.done);
	return o;
}

static void a_script_is_loaded_where_the_server_lost_it(void **state)
{
	struct fixture *f = *state;
	struct redis_script script = {.text = "return redis.call('INCRBY', KEYS[1], #ARGV[1] + #KEYS)"};
	struct outcome o;

	start_server(f, NULL);
	for (int i = 1; i <= 3; i++) {
		o = run_script(f, &script);
		assert_int_equal(o.reply->number, 5 * i);
		redis_reply_free(o.reply);
		if (i == 2)
			expect_text(CALL(f, "SCRIPT", "FLUSH"), "OK");
	}
	script = (struct redis_script){.text = "this is no Lua"};
	expect_error(run_script(f, &script), "NOSCRIPT");
}

static void it_connects_again(void **state)
{
	struct fixture *f = *state;
	struct redis_state s;
	struct outcome o;

	start_server(f, NULL);
	expect_text(CALL(f, "PING"), "PONG");
	redis_server_kill(&f->server);
	/* Until it is noticed a command may be lost with the connection. */
	o = CALL(f, "PING");
	assert_true(err_is_set(&o.err));
	expect_error(CALL(f, "PING"), "Redis at");
	assert_false(f->usable);
	redis_state(f->redis, &s);
	assert_false(s.usable);
	assert_true(s.failures > 0);
	redis_server_restart(&f->server);
	run_until(f, &f->usable);
	expect_text(CALL(f, "PING"), "PONG");
	redis_state(f->redis, &s);
	assert_true(s.usable);
	assert_string_equal(s.error, "");
}

static void a_closed_connection_fails_nothing_that_may_be_repeated(void **state)
{
	struct fixture *f = *state;

	start_server(f, NULL);
	for (int i = 0; i < 3; i++)
		expect_text(CALL(f, "EVAL", "return redis.call('PING')", "0"), "PONG");
	expect_text(CALL(f, "CONFIG", "SET", "timeout", "0"), "OK");
	expect_error(call(f, false, 3, (const char *[]){"CLIENT", "KILL", "TYPE"}), "ERR");
	redis_reply_free(CALL(f, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no").reply);
	expect_text(CALL(f, "PING"), "PONG");
	assert_int_equal(f->changes, 1); /* it was never away */
}

static void a_password_is_needed_and_may_be_in_a_file(void **state)
{
	struct fixture *f = *state;
	char url[160], file[100];
	FILE *out;

	start_server(f, (const char *[]){"--requirepass", "hush", "--user", "ann", "on", ">secret", "~*", "&*", "+@all",
	                                 NULL});
	expect_error(CALL(f, "PING"), "NOAUTH");
	open_with(f, &(struct redis_options){.url = f->server.url, .password = "wrong"});
	expect_error(CALL(f, "PING"), "redis.password");
	open_with(f, &(struct redis_options){.url = f->server.url, .password = "hush"});
	expect_text(CALL(f, "PING"), "PONG");
	snprintf(url, sizeof url, "redis+unix://ann:secret@%s/socket?db=3", f->server.directory);
	open_url(f, url);
	expect_text(CALL(f, "ACL", "WHOAMI"), "ann");
	snprintf(file, sizeof file, "%s/password", f->server.directory);
	open_with(f, &(struct redis_options){.url = f->server.url, .password_file = file});
	expect_error(CALL(f, "PING"), file);
	out = fopen(file, "we");
	fputs("hush\n", out);
	fclose(out);
	run_until(f, &f->usable);
	expect_text(CALL(f, "ACL", "WHOAMI"), "default");
}

/* ---- a server that misbehaves ---- */

static void close_connection(struct fixture *f, struct bufferevent *b)
{
	bufferevent_free(b);
	f->open--;
}

static void on_request(struct bufferevent *b, void *arg)
{
	struct fixture *f = arg;
	struct evbuffer *in = bufferevent_get_input(b);
	char line[256];
	int len = evbuffer_remove(in, line, sizeof line - 1);

	line[len > 0 ? len : 0] = '\0';
	if (strstr(line, "SETNAME") != NULL)
		evbuffer_add_printf(bufferevent_get_output(b), "+OK\r\n+PONG\r\n");
	else if (f->says != NULL && f->says[0] != '\0')
		evbuffer_add(bufferevent_get_output(b), f->says, strlen(f->says));
	else if (f->says != NULL)
		close_connection(f, b);
}

static void on_end(struct bufferevent *b, short what, void *arg)
{
	(void)what;
	close_connection(arg, b);
}

static void on_connection(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *address, int len, void *arg)
{
	struct fixture *f = arg;
	struct bufferevent *b = bufferevent_socket_new(f->base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)l, (void)address, (void)len;
	f->connections++;
	f->open++;
	bufferevent_setcb(b, on_request, NULL, on_end, f);
	bufferevent_enable(b, EV_READ | EV_WRITE);
}

static void start_fake(struct fixture *f)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;

	f->listener = evconnlistener_new_bind(f->base, on_connection, f, LEV_OPT_CLOSE_ON_FREE, 8,
	                                      (struct sockaddr *)&address, sizeof address);
	assert_non_null(f->listener);
	getsockname(evconnlistener_get_fd(f->listener), (struct sockaddr *)&address, &len);
	snprintf(f->url, sizeof f->url, "redis://127.0.0.1:%u", ntohs(address.sin_port));
}

static void a_hostile_reply_costs_its_request_only(void **state)
{
	static const char *const hostile[] = {"*2147483647\r\n", "HTTP/1.1 400 Bad\r\n\r\n", "%1\r\n+a\r\n+b\r\n",
	                                      ":1\r\n:2\r\n:3\r\n", ""};
	struct fixture *f = *state;

	start_fake(f);
	open_url(f, f->url);
	for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
		struct outcome o;

		f->says = hostile[i];
		o = call(f, false, 1, (const char *[]){"GET"});
		redis_reply_free(o.reply);
		f->says = ":7\r\n";
		do /* what it says unasked ends the connection a moment later */
			o = CALL(f, "GET");
		while (o.reply == NULL);
		assert_int_equal(o.reply->type, REDIS_NUMBER);
		redis_reply_free(o.reply);
	}
}

static void a_silent_server_is_paid_for_once(void **state)
{
	struct fixture *f = *state;
	struct redis_state state_now;
	struct outcome o;
	int connections;

	start_fake(f);
	open_with(f, &(struct redis_options){.url = f->url, .timeout_ms = 50});
	o = CALL(f, "GET");
	assert_string_not_equal(o.err.text, "");
	assert_null(strstr(o.err.text, "refused"));
	f->says = "+OK\r\n";
	run_until(f, &f->usable);
	expect_text(CALL(f, "GET"), "OK");
	/* It answers no greeting, either: after the first command nobody waits. */
	f->says = NULL;
	evconnlistener_disable(f->listener);
	expect_error(CALL(f, "GET"), "in time");
	connections = f->connections;
	expect_error(CALL(f, "GET"), "in time");
	expect_error(CALL(f, "GET"), "in time");
	assert_int_equal(f->connections, connections);
	/* Also while it is connected to, the reason is the last one. */
	redis_state(f->redis, &state_now);
	for (unsigned failures = state_now.failures; state_now.failures == failures;
	     redis_state(f->redis, &state_now)) {
		assert_non_null(strstr(state_now.error, "in time"));
		expect_error(CALL(f, "GET"), "in time");
	}
}

static void what_is_cancelled_or_freed_calls_nobody_back(void **state)
{
	struct fixture *f = *state;
	struct outcome o = {.done = true}; /* a callback would fail */
	const struct redis_command c = {.args = (const char *[]){"GET"}, .count = 1};

	start_fake(f);
	open_url(f, f->url);
	redis_cancel(redis_send(f->redis, &c, on_done, &o));
	f->says = "+OK\r\n+OK\r\n"; /* both requests come at once */
	expect_text(CALL(f, "GET"), "OK");
	redis_send(f->redis, &c, on_done, &o);
	redis_free(f->redis);
	f->redis = NULL;
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(commands_are_answered),
		TEST(many_commands_are_answered_in_order),
		TEST(a_script_is_loaded_where_the_server_lost_it),
		TEST(it_connects_again),
		TEST(a_closed_connection_fails_nothing_that_may_be_repeated),
		TEST(a_password_is_needed_and_may_be_in_a_file),
		TEST(a_hostile_reply_costs_its_request_only),
		TEST(a_silent_server_is_paid_for_once),
		TEST(what_is_cancelled_or_freed_calls_nobody_back),
	};

	signal(SIGPIPE, SIG_IGN); /* as the programs do */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
