/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/service.h"

#include "core/base/log.h"
#include "core/base/utf8.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX  (1u << 20)
#define REQUEST_WAIT 10 /* seconds for the whole line */

struct service {
	struct event_base *base;
	struct sandboxes *sandboxes;
	struct evconnlistener *listener;
	struct sandbox_limits limits;
	size_t most, running;
	char *path;
	LIST_HEAD(, run) runs;
};

struct run {
	struct service *service;
	LIST_ENTRY(run) link;
	struct bufferevent *client;
	struct sandbox *sandbox; /* NULL before and after */
	bool ended;              /* the connection is closed once all is written */
	struct service_text out, err;
};

static void run_free(struct run *r)
{
	if (r->sandbox != NULL) {
		sandbox_kill(r->sandbox);
		r->service->running--;
	}
	LIST_REMOVE(r, link);
	bufferevent_free(r->client);
	free(r);
}

/* ---- text ------------------------------------------------------------------------- */

/* The length of the bytes at the end that may be the beginning of a character. */
static size_t unfinished(const char *bytes, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)bytes[len - back];

		if ((c & 0xc0) == 0x80)
			continue;
		return (c >= 0xf0 && back < 4) || (c >= 0xe0 && back < 3) || (c >= 0xc0 && back < 2) ? back : 0;
	}
	return 0;
}

char *service_text_next(struct service_text *t, const char *bytes, size_t len)
{
	size_t all_len = t->len + len, rest;
	char *all = malloc(all_len + 1), *text;

	if (all == NULL)
		return NULL;
	memcpy(all, t->rest, t->len);
	if (len > 0)
		memcpy(all + t->len, bytes, len);
	rest = len > 0 ? unfinished(all, all_len) : 0;
	memcpy(t->rest, all + all_len - rest, rest);
	t->len = rest;
	text = utf8_text(all, all_len - rest);
	free(all);
	return text;
}

/* ---- events to the client --------------------------------------------------------- */

static void send_event(struct run *r, json_t *event)
{
	char *line = event == NULL ? NULL : json_dumps(event, JSON_COMPACT);

	if (line != NULL) {
		bufferevent_write(r->client, line, strlen(line));
		bufferevent_write(r->client, "\n", 1);
	}
	free(line);
	json_decref(event);
}

static void send_error(struct run *r, const char *name, const char *value)
{
	send_event(r,
	           json_pack("{s:s, s:s, s:s, s:s}", "type", "error", "name", name, "value", value, "traceback", ""));
}

static void send_end(struct run *r)
{
	const struct timeval wait = {.tv_sec = REQUEST_WAIT};

	r->ended = true;
	bufferevent_set_timeouts(r->client, NULL, &wait); /* not reading must not keep it open */
	send_event(r, json_pack("{s:s}", "type", "end_of_execution"));
}

static void send_output(struct run *r, bool is_stderr, const char *bytes, size_t len)
{
	char *text = service_text_next(is_stderr ? &r->err : &r->out, bytes, len);

	if (text != NULL && *text != '\0')
		send_event(r, json_pack("{s:s, s:s}", "type", is_stderr ? "stderr" : "stdout", "text", text));
	free(text);
}

static void on_output(void *arg, bool is_stderr, const char *bytes, size_t len)
{
	if (len > 0)
		send_output(arg, is_stderr, bytes, len);
}

/* Where a signal ended the code, bwrap exits with 128 and its number. */
static bool is_limit(int status)
{
	return status == 128 + SIGKILL || status == 128 + SIGXCPU;
}

static void on_ended(void *arg, enum sandbox_end end, int status)
{
	struct run *r = arg;
	char text[120];

	r->sandbox = NULL;
	r->service->running--;
	send_output(r, false, NULL, 0);
	send_output(r, true, NULL, 0);
	if (end == SANDBOX_TIMED_OUT)
		send_error(r, "TimeoutError", "the code ran longer than is allowed and was stopped");
	else if (end == SANDBOX_OUTPUT)
		send_error(r, "OutputLimit", "the code printed more than is allowed and was stopped");
	else if (end == SANDBOX_CPU)
		send_error(r, "Killed", "the code was stopped because it used more CPU time than is allowed");
	else if (end == SANDBOX_MEMORY)
		send_error(r, "Killed", "the code was stopped because it used more memory than is allowed");
	else if (end == SANDBOX_KILLED || is_limit(status))
		send_error(r, "Killed", "the code was ended for using too much CPU time or memory");
	else if (status != 0) {
		snprintf(text, sizeof text, "the code ended with status %d; see its output", status);
		send_error(r, "ExitStatus", text);
	}
	send_end(r);
	log_event(LOG_RUN_ENDED, L_STR("end", end == SANDBOX_EXITED ? "exited" : "stopped"), L_INT("status", status));
}

static const struct sandbox_handlers sandbox_handlers = {.output = on_output, .ended = on_ended};

/* ---- requests --------------------------------------------------------------------- */

static void start(struct run *r, const json_t *request)
{
	const char *code = json_string_value(json_object_get(request, "code"));
	json_int_t timeout_ms = json_integer_value(json_object_get(request, "timeout_ms"));
	struct sandbox_limits limits = r->service->limits;
	struct err e = ERR_INIT;

	if (timeout_ms > 0 && timeout_ms < limits.timeout_ms)
		limits.timeout_ms = timeout_ms;
	if (code == NULL || *code == '\0') {
		send_error(r, "RequestError", "the request has no code");
	} else if (r->service->running >= r->service->most) {
		send_error(r, "Busy", "all sandboxes are running code; try again later");
	} else {
		r->sandbox =
			sandbox_start(r->service->sandboxes, &limits, code, strlen(code), &sandbox_handlers, r, &e);
		if (r->sandbox != NULL) {
			r->service->running++;
			return;
		}
		log_event(LOG_SANDBOX_START_FAILED, L_STR("error", e.text));
		send_error(r, "SandboxError", e.text);
	}
	send_end(r);
}

/* A check: the connection stays open for more. The answer itself means that the self-test has
 * passed. */
static bool is_hello(const json_t *request)
{
	return json_is_true(json_object_get(request, "hello"));
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct run *r = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	json_t *request;
	char *line;
	size_t len;

	if (r->sandbox != NULL || r->ended) {
		evbuffer_drain(in, evbuffer_get_length(in));
		return;
	}
	line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);
	if (line == NULL) {
		if (evbuffer_get_length(in) >= REQUEST_MAX) {
			send_error(r, "RequestError", "the request is too long");
			send_end(r);
		}
		return;
	}
	bufferevent_set_timeouts(bev, NULL, NULL);
	request = json_loadb(line, len, 0, NULL);
	free(line);
	if (is_hello(request))
		send_event(r, json_pack("{s:s}", "type", "ready"));
	else
		start(r, request);
	json_decref(request);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	run_free(arg); /* closed, silent or broken: its code ends with it */
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct run *r = arg;

	if (r->ended && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		run_free(r);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	const struct timeval wait = {.tv_sec = REQUEST_WAIT};
	struct service *s = arg;
	struct run *r = calloc(1, sizeof *r);

	(void)listener;
	(void)from;
	(void)len;
	if (r != NULL)
		r->client = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (r == NULL || r->client == NULL) {
		free(r);
		close(fd);
		return;
	}
	r->service = s;
	LIST_INSERT_HEAD(&s->runs, r, link);
	bufferevent_setcb(r->client, on_read, on_written, on_event, r);
	bufferevent_set_timeouts(r->client, &wait, NULL);
	bufferevent_setwatermark(r->client, EV_READ, 0, REQUEST_MAX);
	bufferevent_enable(r->client, EV_READ | EV_WRITE);
}

/* ---- the socket ------------------------------------------------------------------- */

/* File descriptors are exhausted: without a pause the loop would spin on the listener. */
static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	evconnlistener_enable(arg);
}

static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	const struct timeval pause = {.tv_usec = 200000};
	struct service *s = arg;

	log_event(LOG_ACCEPT_FAILED, L_STR("error", strerror(errno)));
	evconnlistener_disable(listener);
	event_base_once(s->base, -1, EV_TIMEOUT, on_accept_again, listener, &pause);
}

int service_bind(const char *path, struct err *e)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd, probe;

	if (strlen(path) >= sizeof at.sun_path)
		return err_set(e, "%s: the path of a socket has at most %zu bytes", path, sizeof at.sun_path - 1);
	memcpy(at.sun_path, path, strlen(path) + 1);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe >= 0 && connect(probe, (struct sockaddr *)&at, sizeof at) == 0) {
		close(probe);
		return err_set(e, "%s: another runner listens there", path);
	}
	if (probe >= 0 && errno == ECONNREFUSED)
		unlink(path);
	if (probe >= 0)
		close(probe);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || chmod(path, 0660) < 0 || listen(fd, 128) < 0) {
		err_set_errno(e, errno, "%s: can't listen there", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

struct service *service_new(struct event_base *base, struct groups *groups, const char *path, int listen_fd,
                            const struct sandbox_limits *limits, size_t most, struct err *e)
{
	struct service *s = calloc(1, sizeof *s);

	if (s == NULL) {
		err_set(e, "no memory");
		return NULL;
	}
	LIST_INIT(&s->runs);
	s->base = base;
	s->limits = *limits;
	s->most = most;
	s->path = path == NULL ? NULL : strdup(path);
	evutil_make_socket_nonblocking(listen_fd);
	evutil_make_socket_closeonexec(listen_fd);
	s->sandboxes = sandboxes_new(base, groups, e);
	s->listener =
		evconnlistener_new(base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, listen_fd);
	if (s->sandboxes == NULL || s->listener == NULL) {
		err_set(e, "no memory for the listener");
		if (s->listener == NULL)
			close(listen_fd);
		service_free(s);
		return NULL;
	}
	evconnlistener_set_error_cb(s->listener, on_accept_error);
	return s;
}

void service_free(struct service *s)
{
	while (!LIST_EMPTY(&s->runs))
		run_free(LIST_FIRST(&s->runs));
	if (s->listener != NULL)
		evconnlistener_free(s->listener);
	if (s->sandboxes != NULL)
		sandboxes_free(s->sandboxes);
	if (s->path != NULL)
		unlink(s->path);
	free(s->path);
	free(s);
}
