/* SPDX-License-Identifier: Apache-2.0 */
/* The command channel: server, both clients, and peers that misbehave. */
#include "core/control/command.h"

#include "core/base/clock.h"
#include "core/control/command_wire.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define HELD_MAX 400

struct rig {
	struct event_base *base;
	char dir[64], path[96];
	struct command_server *server;
	struct command_client *client;
	struct command_call *held[HELD_MAX]; /* calls of "models" wait here */
	int helds, served;
	struct command_call *stream;
	int closed;
	int descriptors;
};

static int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count;
}

static void on_closed(void *arg)
{
	struct rig *r = arg;

	r->closed++;
	r->stream = NULL;
}

static void handler(void *arg, struct command_call *call, enum command c, const json_t *args)
{
	struct rig *r = arg;
	const char *id;
	char *big;

	r->served++;
	switch (c) {
	case CMD_PING:
		command_reply(call, json_pack("{s:i}", "pid", 42));
		break;
	case CMD_SELECT:
		id = json_string_value(json_object_get(args, "deploy_id"));
		if (id == NULL)
			command_fail(call, "deploy_id is missing");
		else
			command_reply(call, json_pack("{s:s}", "selected", id));
		break;
	case CMD_STATUS:
		big = malloc(3000000);
		memset(big, 'x', 3000000);
		command_reply(call, json_pack("{s:o}", "big", json_stringn(big, 3000000)));
		free(big);
		break;
	case CMD_EVENTS:
		r->stream = call;
		command_on_close(call, on_closed, r);
		command_event(call, json_pack("{s:s}", "event", "hello"));
		break;
	default:
		assert_true(r->helds < HELD_MAX);
		r->held[r->helds++] = call;
	}
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof *r);
	struct err e = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	r->descriptors = open_descriptors();
	snprintf(r->dir, sizeof r->dir, "/tmp/command_unit.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof r->path, "%s/command.sock", r->dir);
	r->base = event_base_new();
	r->server = command_server_new(r->base, r->path, handler, r, &e);
	assert_string_equal(e.text, "");
	r->client = command_client_new(r->base, r->path, &e);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	command_client_free(r->client);
	command_server_free(r->server);
	for (int i = 0; i < r->helds; i++)
		command_fail(r->held[i], "nobody hears that");
	event_base_free(r->base);
	assert_int_equal(access(r->path, F_OK), -1);
	rmdir(r->dir);
	assert_int_equal(open_descriptors(), r->descriptors);
	free(r);
	return 0;
}

/* Runs the loop until *flag reaches value; fails after 5 s. */
static void run_until(struct rig *r, const int *flag, int value)
{
	int64_t until = clock_mono_ms() + 30000;

	while (*flag < value) {
		const struct timeval step = {0, 20000};

		assert_true(clock_mono_ms() < until);
		event_base_loopexit(r->base, &step);
		event_base_loop(r->base, EVLOOP_ONCE);
	}
}

static void run_a_while(struct rig *r, int ms)
{
	const struct timeval step = {ms / 1000, ms % 1000 * 1000};

	event_base_loopexit(r->base, &step);
	event_base_dispatch(r->base);
}

struct answer {
	int count;
	bool unreachable;
	char text[512];
	json_t *result;
};

static void on_done(void *arg, const json_t *result, bool unreachable, const struct err *e)
{
	struct answer *a = arg;

	a->count++;
	a->unreachable = unreachable;
	snprintf(a->text, sizeof a->text, "%s", e->text);
	json_decref(a->result);
	a->result = result != NULL ? json_deep_copy(result) : NULL;
}

/* --- a peer of plain bytes ---------------------------------------------------------- */

static int dial(struct rig *r)
{
	struct sockaddr_un sa;
	struct err e = ERR_INIT;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	command_wire_address(&sa, r->path, &e);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Runs the loop until a line has come or the peer has closed the connection (then "" or the rest). */
static const char *hear(struct rig *r, int fd)
{
	static char line[4096];
	size_t len = 0;
	int64_t until = clock_mono_ms() + 30000;

	for (;;) {
		ssize_t n = read(fd, line + len, 1);

		if (n == 1 && line[len] == '\n')
			break;
		if (n == 1)
			len++;
		else if (n == 0 || errno != EAGAIN)
			break;
		else
			run_a_while(r, 2);
		assert_true(clock_mono_ms() < until && len < sizeof line - 1);
	}
	line[len] = '\0';
	return line;
}

#define assert_hears(r, fd, text) assert_string_equal(hear(r, fd), text)

/* --- tests -------------------------------------------------------------------------- */

static void answers_a_command(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};

	command_send(r->client, CMD_SELECT, json_pack("{s:s}", "deploy_id", "d1"), 1000, on_done, &a);
	assert_int_equal(a.count, 0); /* never from within command_send */
	run_until(r, &a.count, 1);
	assert_string_equal(json_string_value(json_object_get(a.result, "selected")), "d1");
	assert_string_equal(a.text, "");
	json_decref(a.result);
}

static void reports_a_refusal(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};

	command_send(r->client, CMD_SELECT, NULL, 1000, on_done, &a);
	run_until(r, &a.count, 1);
	assert_null(a.result);
	assert_false(a.unreachable);
	assert_string_equal(a.text, "deploy_id is missing");
}

static void answers_many_at_once_in_any_order(void **state)
{
	struct rig *r = *state;
	struct answer a[50] = {{.count = 0}};
	char text[20];

	for (int i = 0; i < 50; i++)
		command_send(r->client, CMD_MODELS, NULL, 2000, on_done, &a[i]);
	run_until(r, &r->helds, 50);
	for (int i = 49; i >= 0; i--)
		command_reply(r->held[i], json_pack("{s:i}", "n", i));
	r->helds = 0;
	run_until(r, &a[0].count, 1);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(a[i].count, 1);
		snprintf(text, sizeof text, "%d", i);
		assert_int_equal(json_integer_value(json_object_get(a[i].result, "n")), i);
		json_decref(a[i].result);
	}
}

static void moves_answers_of_megabytes(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};

	command_send(r->client, CMD_STATUS, NULL, 5000, on_done, &a);
	run_until(r, &a.count, 1);
	assert_int_equal(json_string_length(json_object_get(a.result, "big")), 3000000);
	json_decref(a.result);
}

static void says_that_no_daemon_runs(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0};
	struct err e = ERR_INIT;

	command_server_free(r->server);
	r->server = NULL;
	command_send(r->client, CMD_PING, NULL, 1000, on_done, &a);
	assert_int_equal(a.count, 0);
	run_until(r, &a.count, 1);
	assert_true(a.unreachable);
	assert_string_equal(a.text, "tt-agentd is not running");
	/* ... and finds it when it is back */
	r->server = command_server_new(r->base, r->path, handler, r, &e);
	command_send(r->client, CMD_PING, NULL, 1000, on_done, &a);
	run_until(r, &a.count, 2);
	assert_non_null(a.result);
	json_decref(a.result);
}

static void all_commands_end_when_the_server_closes(void **state)
{
	struct rig *r = *state;
	struct answer a[3] = {{.count = 0}};

	for (int i = 0; i < 3; i++)
		command_send(r->client, CMD_MODELS, NULL, 5000, on_done, &a[i]);
	run_until(r, &r->helds, 3);
	command_server_free(r->server);
	r->server = NULL;
	run_until(r, &a[2].count, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(a[i].count, 1);
		assert_true(a[i].unreachable);
		assert_string_equal(a[i].text, "tt-agentd closed the connection");
	}
}

static void keeps_the_deadline_of_the_client(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0}, b = {.count = 0};

	command_send(r->client, CMD_MODELS, NULL, 30, on_done, &a);
	run_until(r, &a.count, 1);
	assert_true(a.unreachable);
	assert_string_equal(a.text, "tt-agentd did not answer 'models' in time");
	/* The late answer harms nobody. */
	command_reply(r->held[0], json_object());
	r->helds = 0;
	command_send(r->client, CMD_PING, NULL, 1000, on_done, &b);
	run_until(r, &b.count, 1);
	assert_int_equal(json_integer_value(json_object_get(b.result, "pid")), 42);
	assert_int_equal(a.count, 1);
	json_decref(b.result);
}

static void keeps_the_deadline_of_the_server(void **state)
{
	struct rig *r = *state;
	int fd = dial(r);

	say(fd, "{\"v\":1,\"id\":3,\"command\":\"log-level\",\"args\":{}}\n"); /* 1 s */
	assert_hears(r, fd, "{\"v\":1,\"id\":3,\"ok\":false,\"error\":\"timed out\"}");
	command_reply(r->held[0], json_object());
	r->helds = 0;
	say(fd, "{\"v\":1,\"id\":4,\"command\":\"ping\"}\n");
	assert_hears(r, fd, "{\"v\":1,\"id\":4,\"ok\":true,\"result\":{\"pid\":42}}");
	close(fd);
}

static void forgets_a_cancelled_request(void **state)
{
	struct rig *r = *state;
	struct answer a = {.count = 0}, b = {.count = 0};
	struct command_request *q = command_send(r->client, CMD_PING, NULL, 1000, on_done, &a);

	command_request_cancel(q);
	command_send(r->client, CMD_PING, NULL, 1000, on_done, &b);
	run_until(r, &b.count, 1);
	assert_int_equal(a.count, 0);
	json_decref(b.result);
}

static void streams_events_until_the_peer_leaves(void **state)
{
	struct rig *r = *state;
	int fd = dial(r);

	say(fd, "{\"v\":1,\"id\":9,\"command\":\"events\"}\n");
	assert_hears(r, fd, "{\"v\":1,\"id\":9,\"event\":{\"event\":\"hello\"}}");
	command_event(r->stream, json_pack("{s:i}", "n", 2));
	assert_hears(r, fd, "{\"v\":1,\"id\":9,\"event\":{\"n\":2}}");
	close(fd);
	run_until(r, &r->closed, 1);
}

static void drops_a_watcher_that_does_not_read(void **state)
{
	struct rig *r = *state;
	int fd = dial(r), events = 0;
	char *text = calloc(1, 10001);

	memset(text, 'x', 10000);
	say(fd, "{\"v\":1,\"id\":9,\"command\":\"events\"}\n");
	run_a_while(r, 10);
	while (r->stream != NULL && events < 10000) {
		command_event(r->stream, json_pack("{s:s}", "t", text));
		assert_int_equal(r->closed, 0); /* not from within command_event */
		run_a_while(r, 0);
		if (r->closed > 0)
			break;
		events++;
	}
	assert_int_equal(r->closed, 1);
	assert_true(events < 1000);
	free(text);
	close(fd);
}

static void answers_a_client_that_only_writes_and_waits(void **state)
{
	struct rig *r = *state;
	int fd = dial(r);

	say(fd, "{\"v\":1,\"id\":1,\"command\":\"models\"}\n");
	shutdown(fd, SHUT_WR);
	run_until(r, &r->helds, 1);
	run_a_while(r, 10);
	command_reply(r->held[0], json_object());
	r->helds = 0;
	assert_hears(r, fd, "{\"v\":1,\"id\":1,\"ok\":true,\"result\":{}}");
	assert_hears(r, fd, "");
	close(fd);
}

static void survives_a_peer_that_leaves_its_call(void **state)
{
	struct rig *r = *state;
	int fd = dial(r);

	say(fd, "{\"v\":1,\"id\":1,\"command\":\"models\"}\n{\"v\":1,\"id\":2,\"command\":\"models\"}\n");
	run_until(r, &r->helds, 2);
	close(fd);
	run_a_while(r, 10);
	command_reply(r->held[0], json_object());
	run_a_while(r, 10);
	command_fail(r->held[1], "too late");
	r->helds = 0;
	run_a_while(r, 10);
}

static void says_what_is_wrong_and_closes(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{"nonsense\n",
	         "{\"v\":1,\"id\":null,\"ok\":false,\"error\":\"the line is not JSON: "
	         "'[' or '{' expected near 'nonsense' (column 8)\"}"},
		{"\n",
	         "{\"v\":1,\"id\":null,\"ok\":false,\"error\":\"the line is not JSON: "
	         "'[' or '{' expected near end of file (column 0)\"}"},
		{"[1]\n", "{\"v\":1,\"id\":null,\"ok\":false,\"error\":\"the line is not a JSON object\"}"},
		{"{\"id\":1,\"command\":\"ping\"}\n",
	         "{\"v\":1,\"id\":1,\"ok\":false,\"error\":\"\\\"v\\\", the protocol's "
	         "version, is missing\"}"},
		{"{\"v\":2,\"id\":1,\"command\":\"ping\"}\n",
	         "{\"v\":1,\"id\":1,\"ok\":false,\"error\":\"protocol version 2 is not supported, only 1 (are all "
	         "programs of one release?)\"}"},
		{"{\"v\":1,\"command\":\"ping\"}\n",
	         "{\"v\":1,\"id\":null,\"ok\":false,\"error\":\"\\\"id\\\" must be a number of 0 or more\"}"},
		{"{\"v\":1,\"id\":5}\n",
	         "{\"v\":1,\"id\":5,\"ok\":false,\"error\":\"\\\"command\\\" must be a string\"}"},
		{"{\"v\":1,\"id\":5,\"command\":\"ping\",\"args\":[]}\n",
	         "{\"v\":1,\"id\":5,\"ok\":false,\"error\":\"\\\"args\\\" must be an object\"}"},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int fd = dial(r);

		say(fd, cases[i].line);
		assert_hears(r, fd, cases[i].says);
		assert_hears(r, fd, "");
		close(fd);
	}
	assert_int_equal(r->served, 0);
}

static void goes_on_after_an_unknown_command(void **state)
{
	struct rig *r = *state;
	int fd = dial(r);

	say(fd, "{\"v\":1,\"id\":1,\"command\":\"dance\"}\n{\"v\":1,\"id\":2,\"command\":\"ping\"}\n");
	assert_hears(r, fd, "{\"v\":1,\"id\":1,\"ok\":false,\"error\":\"unknown command 'dance'\"}");
	assert_hears(r, fd, "{\"v\":1,\"id\":2,\"ok\":true,\"result\":{\"pid\":42}}");
	close(fd);
}

static void takes_a_line_byte_by_byte(void **state)
{
	struct rig *r = *state;
	const char *line = "{\"v\":1,\"id\":2,\"command\":\"ping\"}\n";
	int fd = dial(r);

	for (; *line != '\0'; line++) {
		assert_int_equal(write(fd, line, 1), 1);
		event_base_loop(r->base, EVLOOP_NONBLOCK);
	}
	assert_hears(r, fd, "{\"v\":1,\"id\":2,\"ok\":true,\"result\":{\"pid\":42}}");
	close(fd);
}

static void refuses_a_line_without_end(void **state)
{
	struct rig *r = *state;
	int fd = dial(r);
	char piece[4096];

	memset(piece, ' ', sizeof piece);
	for (int i = 0; i < 17; i++) {
		assert_int_equal(write(fd, piece, sizeof piece), sizeof piece);
		run_a_while(r, 1);
	}
	assert_hears(r, fd, "{\"v\":1,\"id\":null,\"ok\":false,\"error\":\"the line is longer than 65536 bytes\"}");
	close(fd);
}

static void limits_commands_at_once(void **state)
{
	struct rig *r = *state;
	int fd = dial(r);

	for (int i = 0; i < 257; i++)
		dprintf(fd, "{\"v\":1,\"id\":%d,\"command\":\"models\"}\n", i);
	assert_hears(r, fd,
	             "{\"v\":1,\"id\":256,\"ok\":false,\"error\":\"too many commands at once on one connection\"}");
	assert_int_equal(r->helds, 256);
	close(fd);
}

static void serves_a_flood_that_is_not_read(void **state)
{
	struct rig *r = *state;
	int fd = dial(r), sent = 0, received = 0;
	const char *line = "{\"v\":1,\"id\":2,\"command\":\"ping\"}\n";

	/* The server stops reading before it holds more than a little; nothing is lost. */
	while (write(fd, line, strlen(line)) == (ssize_t)strlen(line)) {
		sent++;
		event_base_loop(r->base, EVLOOP_NONBLOCK);
		assert_true(sent < 1000000);
	}
	while (received < sent && strlen(hear(r, fd)) > 0)
		received++;
	assert_int_equal(received, sent);
	close(fd);
}

static void survives_running_out_of_file_descriptors(void **state)
{
	struct rig *r = *state;
	struct rlimit before, tight;
	int fd = -1, waste[256], wasted = 0;

	/* valgrind closes a file descriptor that it considers one too many. */
	if (strstr(getenv("LD_PRELOAD") != NULL ? getenv("LD_PRELOAD") : "", "vgpreload") != NULL)
		skip();
	fd = dial(r);
	run_a_while(r, 5);
	getrlimit(RLIMIT_NOFILE, &before);
	tight = before;
	tight.rlim_cur = (rlim_t)open_descriptors() + 8;
	setrlimit(RLIMIT_NOFILE, &tight);
	{
		int late = dial(r);

		while (wasted < 256 && (waste[wasted] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
			wasted++;
		run_a_while(r, 20); /* cannot be accepted, and does not spin */
		say(fd, "{\"v\":1,\"id\":1,\"command\":\"ping\"}\n");
		assert_hears(r, fd, "{\"v\":1,\"id\":1,\"ok\":true,\"result\":{\"pid\":42}}");
		while (wasted > 0)
			close(waste[--wasted]);
		setrlimit(RLIMIT_NOFILE, &before);
		say(late, "{\"v\":1,\"id\":1,\"command\":\"ping\"}\n");
		assert_hears(r, late, "{\"v\":1,\"id\":1,\"ok\":true,\"result\":{\"pid\":42}}");
		close(late);
	}
	close(fd);
}

static void refuses_a_second_server(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	char expected[200];

	assert_null(command_server_new(r->base, r->path, handler, r, &e));
	snprintf(expected, sizeof expected, "%s: another process listens there", r->path);
	assert_string_equal(e.text, expected);
	assert_int_equal(access(r->path, F_OK), 0);
}

static void replaces_only_a_dead_socket(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	struct command_server *s;
	struct sockaddr_un sa;
	char path[128];
	struct stat st;
	int fd;

	snprintf(path, sizeof path, "%s/other.sock", r->dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_null(command_server_new(r->base, path, handler, r, &e));
	assert_non_null(strstr(e.text, "is not a socket"));
	unlink(path);
	err_clear(&e);

	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	command_wire_address(&sa, path, &e);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	close(fd);
	s = command_server_new(r->base, path, handler, r, &e);
	assert_non_null(s);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	command_server_free(s);
	assert_int_equal(access(path, F_OK), -1);

	memset(path, 'a', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	assert_null(command_server_new(r->base, path, handler, r, &e));
	assert_non_null(strstr(e.text, "must have 1 to 107 bytes"));
}

/* As nobody, through a socket that is open to all, and through one that is not. */
static void keeps_the_rights(void **state)
{
	struct rig *r = *state;
	static const struct {
		mode_t mode;
		const char *command, *says;
	} cases[] = {
		{0666, "ping", "\"ok\":true"},
		{0666, "select", "'select' is for root, uid 0 and the group of "},
		{0666, "report", "'report' is for root and uid 0; this is uid 65534"},
	};

	if (geteuid() != 0)
		skip();
	chmod(r->dir, 0755);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int fd;

		chmod(r->path, cases[i].mode);
		assert_int_equal(setgroups(0, NULL), 0);
		assert_int_equal(setegid(65534), 0);
		assert_int_equal(seteuid(65534), 0);
		fd = dial(r);
		assert_int_equal(seteuid(0), 0);
		assert_int_equal(setegid(0), 0);
		dprintf(fd, "{\"v\":1,\"id\":1,\"command\":\"%s\"}\n", cases[i].command);
		assert_non_null(strstr(hear(r, fd), cases[i].says));
		close(fd);
	}
	assert_int_equal(r->served, 1);
}

/* --- the waiting client: the server runs on a thread ---------------------------------- */

struct waiter {
	struct rig *r;
	json_t *result;
	struct err e;
	bool unreachable;
	enum command command;
	int64_t deadline_ms;
	int events, done;
};

static bool each_event(void *arg, const json_t *event)
{
	struct waiter *w = arg;

	assert_string_equal(json_string_value(json_object_get(event, "event")), "hello");
	return ++w->events < 1;
}

static void *wait_in_thread(void *arg)
{
	struct waiter *w = arg;

	if (w->command == CMD_EVENTS)
		command_watch(w->r->path, CMD_EVENTS, each_event, w, &w->e);
	else
		w->result = command_call(w->r->path, w->command, NULL, w->deadline_ms, &w->unreachable, &w->e);
	__atomic_store_n(&w->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void wait_with_server(struct rig *r, struct waiter *w)
{
	pthread_t thread;

	w->r = r;
	pthread_create(&thread, NULL, wait_in_thread, w);
	while (!__atomic_load_n(&w->done, __ATOMIC_ACQUIRE))
		run_a_while(r, 2);
	pthread_join(thread, NULL);
	run_a_while(r, 5);
}

static void waits_for_an_answer(void **state)
{
	struct rig *r = *state;
	struct waiter ping = {.command = CMD_PING}, big = {.command = CMD_STATUS, .deadline_ms = 20000};
	struct waiter refused = {.command = CMD_SELECT};
	struct waiter late = {.command = CMD_MODELS, .deadline_ms = 30}, events = {.command = CMD_EVENTS};
	struct waiter nobody = {.command = CMD_PING};

	wait_with_server(r, &ping);
	assert_int_equal(json_integer_value(json_object_get(ping.result, "pid")), 42);
	json_decref(ping.result);
	wait_with_server(r, &big);
	assert_int_equal(json_string_length(json_object_get(big.result, "big")), 3000000);
	json_decref(big.result);
	wait_with_server(r, &refused);
	assert_null(refused.result);
	assert_false(refused.unreachable);
	assert_string_equal(refused.e.text, "deploy_id is missing");
	wait_with_server(r, &late);
	assert_null(late.result);
	assert_true(late.unreachable);
	assert_string_equal(late.e.text, "tt-agentd did not answer in time");
	wait_with_server(r, &events);
	assert_int_equal(events.events, 1);
	assert_string_equal(events.e.text, "");
	assert_int_equal(r->closed, 1);
	command_server_free(r->server);
	r->server = NULL;
	wait_with_server(r, &nobody);
	assert_true(nobody.unreachable);
	assert_string_equal(nobody.e.text, "tt-agentd is not running");
}

/* A daemon that answers nonsense. */
static void survives_a_hostile_server(void **state)
{
	static const char *const lines[] = {
		"nonsense\n",
		"{}\n",
		"{\"v\":1,\"id\":1}\n",
		"{\"v\":1,\"id\":1,\"ok\":true}\n",
		"{\"v\":1,\"id\":1,\"ok\":false,\"error\":5}\n",
		"{\"v\":9,\"id\":1,\"ok\":true,\"result\":{}}\n",
	};
	struct rig *r = *state;
	struct sockaddr_un sa;
	struct err e = ERR_INIT;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	command_server_free(r->server);
	r->server = NULL;
	command_wire_address(&sa, r->path, &e);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
	listen(listener, 8);
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct answer a = {.count = 0};
		int fd;

		command_send(r->client, CMD_PING, NULL, 1000, on_done, &a);
		fd = accept(listener, NULL, NULL);
		say(fd, lines[i]);
		run_until(r, &a.count, 1);
		assert_true(a.unreachable);
		assert_non_null(strstr(a.text, "tt-agentd's answer is not understood: "));
		close(fd);
	}
	close(listener);
	unlink(r->path);
}

/* A daemon that was stopped: commands fail in time, and don't fill our memory. */
static void survives_a_server_that_does_not_read(void **state)
{
	struct rig *r = *state;
	struct sockaddr_un sa;
	struct err e = ERR_INIT;
	struct answer a = {.count = 0};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), sent = 0;
	char text[10001];

	command_server_free(r->server);
	r->server = NULL;
	command_wire_address(&sa, r->path, &e);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
	listen(listener, 8);
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	while (strcmp(a.text, "tt-agentd does not read its commands") != 0) {
		command_send(r->client, CMD_REPORT, json_pack("{s:s}", "report", text), 50, on_done, &a);
		run_a_while(r, 1);
		assert_true(++sent < 1000);
	}
	run_until(r, &a.count, sent);
	assert_true(a.unreachable);
	close(listener);
	unlink(r->path);
}

static void every_command_has_its_row(void **state)
{
	enum command c;

	(void)state;
	for (int i = 0; i < COMMANDS; i++) {
		assert_int_equal(command_find(command_info((enum command)i)->name, &c), 0);
		assert_int_equal(c, i);
		assert_true(strlen(command_info(c)->help) > 10);
	}
	assert_int_equal(command_find("nothing", &c), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command_has_its_row),
		T(answers_a_command),
		T(reports_a_refusal),
		T(answers_many_at_once_in_any_order),
		T(moves_answers_of_megabytes),
		T(says_that_no_daemon_runs),
		T(all_commands_end_when_the_server_closes),
		T(keeps_the_deadline_of_the_client),
		T(keeps_the_deadline_of_the_server),
		T(forgets_a_cancelled_request),
		T(streams_events_until_the_peer_leaves),
		T(drops_a_watcher_that_does_not_read),
		T(answers_a_client_that_only_writes_and_waits),
		T(survives_a_peer_that_leaves_its_call),
		T(says_what_is_wrong_and_closes),
		T(goes_on_after_an_unknown_command),
		T(takes_a_line_byte_by_byte),
		T(refuses_a_line_without_end),
		T(limits_commands_at_once),
		T(serves_a_flood_that_is_not_read),
		T(survives_running_out_of_file_descriptors),
		T(refuses_a_second_server),
		T(replaces_only_a_dead_socket),
		T(keeps_the_rights),
		T(waits_for_an_answer),
		T(survives_a_hostile_server),
		T(survives_a_server_that_does_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
