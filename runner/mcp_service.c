/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/mcp_service.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/process.h"
#include "core/base/utf8.h"
#include "core/mcp/mcp.h"
#include "core/mcp/mcp_wire.h"
#include "runner/mcp_process.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define HEAD_MAX         (64 << 10)
#define REQUEST_MAX      (16 << 20)
#define CALLS_MAX        1024  /* of a server at once */
#define DISCOVER_MS      3000  /* before the older handshake is tried: a legacy server may not answer at all */
#define HANDSHAKE_MS     90000 /* some install themselves first */
#define AGAIN_FIRST_MS   1000
#define AGAIN_LONGEST_MS 60000
#define ID_MAX           100000000000000
#define END_MS           6000 /* for all processes together */

struct server {
	TAILQ_ENTRY(server) link;
	struct mcp_service *service;
	char *name;
	json_t *settings;
	bool retired;                /* by other settings: it ends with its last call */
	struct mcp_process *process; /* NULL: it does not run */
	bool ready, legacy;
	bool initialize_first;                 /* it ended when it got server/discover */
	json_int_t discover_id, initialize_id; /* 0: not sent, or answered */
	struct event *timer;                   /* of the handshake */
	int64_t deadline_ms;                   /* of the handshake */
	int64_t not_before_ms;                 /* CLOCK_MONOTONIC: when it may be started again */
	unsigned failures;                     /* ends since it answered a call last */
	char error[400];                       /* why it failed last */
	size_t call_count;
	TAILQ_HEAD(, call) calls;
};

struct call {
	TAILQ_ENTRY(call) link;
	struct server *server;
	struct evhttp_request *request;
	json_t *message; /* NULL: server/discover, which is answered here */
	json_t *id;      /* the client's */
	json_int_t sent; /* the id under which it was sent; 0: it waits for the handshake */
	struct event *closed;
};

struct mcp_service {
	struct event_base *base;
	struct evhttp *http;
	struct mcp_processes *processes;
	TAILQ_HEAD(, server) servers; /* retired ones last */
	json_int_t next_id;
};

static void start(struct server *v, bool initialize_first);
static void server_free(struct server *v);

/* ---- answers ---------------------------------------------------------------------------------------- */

/* Steals message. */
static void reply(struct evhttp_request *request, int status, json_t *message)
{
	char *text = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
	struct evbuffer *body = evbuffer_new();

	if (text != NULL && body != NULL && evbuffer_add(body, text, strlen(text)) == 0) {
		evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
		evhttp_send_reply(request, status, NULL, body);
	} else {
		evhttp_send_reply(request, status == 202 ? 202 : 500, NULL, NULL);
	}
	if (body != NULL)
		evbuffer_free(body);
	free(text);
	json_decref(message);
}

static void call_free(struct call *call)
{
	TAILQ_REMOVE(&call->server->calls, call, link);
	if (--call->server->call_count == 0 && call->server->retired)
		event_active(call->server->timer, EV_TIMEOUT, 0);
	if (call->closed != NULL)
		event_free(call->closed);
	json_decref(call->message);
	json_decref(call->id);
	free(call);
}

/* Steals message. */
static void answer(struct call *call, int status, json_t *message)
{
	struct evhttp_request *request = call->request;

	call_free(call);
	reply(request, status, message);
}

static void fail_call(struct call *call, const char *text)
{
	answer(call, 502, mcp_error(call->id, MCP_INTERNAL_ERROR, text, NULL));
}

static void fail_calls(struct server *v, const char *text)
{
	while (!TAILQ_EMPTY(&v->calls))
		fail_call(TAILQ_FIRST(&v->calls), text);
}

static void answer_discover(struct call *call)
{
	answer(call, 200,
	       mcp_result(call->id,
	                  json_pack("{s:s, s:[s], s:{s:{}}, s:i, s:s}", "resultType", "complete", "supportedVersions",
	                            MCP_VERSION, "capabilities", "tools", "ttlMs", 0, "cacheScope", "private")));
}

/* ---- messages to a server ------------------------------------------------------------------------------ */

/* Steals message. -1: it was not sent. */
static int send_message(struct server *v, json_t *message)
{
	char *line = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
	int result = line != NULL ? mcp_process_send(v->process, line) : -1;

	free(line);
	json_decref(message);
	return result;
}

/* A request of our own; its id. */
static json_int_t send_request(struct server *v, const char *method, json_t *params)
{
	json_t *id = json_integer(++v->service->next_id);

	send_message(v, mcp_request(id, method, params));
	json_decref(id);
	return v->service->next_id;
}

static void send_call(struct call *call)
{
	struct server *v = call->server;
	json_t *meta = json_object_get(json_object_get(call->message, "params"), "_meta");

	if (v->legacy) {
		json_object_del(meta, MCP_META_VERSION);
		json_object_del(meta, MCP_META_CAPABILITIES);
		json_object_del(meta, MCP_META_CLIENT);
	}
	call->sent = ++v->service->next_id;
	json_object_set_new(call->message, "id", json_integer(call->sent));
	if (send_message(v, json_incref(call->message)) < 0)
		fail_call(call, "the server does not read what it is sent");
}

static void send_cancelled(struct server *v, json_int_t id)
{
	send_message(v, mcp_notification("notifications/cancelled",
	                                 json_pack("{s:I, s:s}", "requestId", id, "reason", "no longer needed")));
}

/* ---- the handshake ---------------------------------------------------------------------------------------- */

static void arm(struct server *v, int64_t ms)
{
	struct timeval wait = clock_timeval_ms(ms);

	evtimer_add(v->timer, &wait);
}

static void send_initialize(struct server *v)
{
	v->initialize_id = send_request(v, "initialize",
	                                json_pack("{s:s, s:{}, s:o}", "protocolVersion", MCP_LEGACY_NEWEST,
	                                          "capabilities", "clientInfo", mcp_wire_client_info()));
	arm(v, v->deadline_ms - clock_mono_ms());
}

static void became_ready(struct server *v, bool legacy)
{
	struct call *call, *next;

	v->ready = true;
	v->legacy = legacy;
	v->discover_id = v->initialize_id = 0;
	evtimer_del(v->timer);
	if (legacy)
		send_message(v, mcp_notification("notifications/initialized", NULL));
	for (call = TAILQ_FIRST(&v->calls); call != NULL; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->message == NULL)
			answer_discover(call);
		else
			send_call(call);
	}
}

/* Its process is gone, or ends now: calls fail, and later ones until it may be started again. */
static void stopped(struct server *v, const char *text)
{
	int64_t wait_ms = 0;

	if (v->process != NULL)
		mcp_process_end(v->process);
	v->process = NULL;
	v->initialize_first = v->initialize_first && v->ready;
	v->ready = false;
	evtimer_del(v->timer);
	v->failures++;
	if (v->failures > 1)
		wait_ms = AGAIN_FIRST_MS << (v->failures < 8 ? v->failures - 2 : 6);
	v->not_before_ms = clock_mono_ms() + (wait_ms < AGAIN_LONGEST_MS ? wait_ms : AGAIN_LONGEST_MS);
	snprintf(v->error, sizeof v->error, "%s", text);
	utf8_disarm(v->error);
	log_event(LOG_MCP_PROCESS_FAILED, L_STR("server", v->name), L_STR("error", v->error));
	fail_calls(v, v->error);
	if (v->retired)
		event_active(v->timer, EV_TIMEOUT, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct server *v = arg;

	(void)fd;
	(void)what;
	if (v->retired && v->call_count == 0)
		server_free(v);
	else if (v->initialize_id == 0)
		send_initialize(v); /* the answer to server/discover may come yet */
	else
		stopped(v, "the server did not answer the handshake in time");
}

static bool supports_modern(const json_t *result)
{
	json_t *versions = json_object_get(result, "supportedVersions"), *version;
	size_t i;

	json_array_foreach(versions, i, version) if (json_is_string(version) &&
	                                             strcmp(json_string_value(version), MCP_VERSION) == 0) return true;
	return false;
}

static void on_handshake(struct server *v, json_int_t id, const json_t *message)
{
	const json_t *result = json_object_get(message, "result");
	char reason[200], text[300];

	if (id == v->discover_id) {
		v->discover_id = 0;
		if (supports_modern(result))
			became_ready(v, false);
		else if (v->initialize_id == 0)
			send_initialize(v);
	} else if (result != NULL) {
		became_ready(v, true);
	} else {
		mcp_wire_error_text(json_object_get(message, "error"), reason, sizeof reason);
		snprintf(text, sizeof text, "the server refuses the handshake: %s", reason);
		stopped(v, text);
	}
}

/* ---- what a server sends -------------------------------------------------------------------------------------- */

static struct call *find_call(const struct server *v, json_int_t id)
{
	struct call *call;

	TAILQ_FOREACH(call, &v->calls, link)
	if (call->sent != 0 && call->sent == id)
		return call;
	return NULL;
}

/* We declare no capability, so only pings have an answer. */
static void on_server_request(struct server *v, const json_t *message)
{
	const json_t *id = json_object_get(message, "id");
	const char *method = json_string_value(json_object_get(message, "method"));

	if (method != NULL && strcmp(method, "ping") == 0)
		send_message(v, mcp_result(id, json_object()));
	else
		send_message(v, mcp_error(id, MCP_METHOD_NOT_FOUND, "Method not found", NULL));
}

static void on_message(struct server *v, json_t *message)
{
	const json_t *id = json_object_get(message, "id");
	json_int_t number = json_is_integer(id) ? json_integer_value(id) : 0;
	struct call *call;

	switch (mcp_wire_kind(message, number)) {
	case MCP_REQUEST:
		on_server_request(v, message);
		return;
	case MCP_ANSWER:
		break;
	default:
		return;
	}
	if (number != 0 && (number == v->discover_id || number == v->initialize_id)) {
		on_handshake(v, number, message);
		return;
	}
	call = find_call(v, number);
	if (call == NULL)
		return; /* it was cancelled */
	v->failures = 0;
	json_object_set(message, "id", call->id);
	answer(call, 200, json_incref(message));
}

static void on_line(void *arg, const char *line, size_t len)
{
	json_t *message = mcp_wire_parse(line, len), *each;
	size_t i;

	/* Whatever is no message is no answer either: some print to their standard output. */
	if (json_is_array(message))
		json_array_foreach(message, i, each)
		{
			if (((struct server *)arg)->process != NULL)
				on_message(arg, each);
		}
	else if (message != NULL)
		on_message(arg, message);
	json_decref(message);
}

/* Ids are large random numbers, so that they are not found by accident: it is the end or beginning of a message. */
static void on_too_long(void *arg, const char *piece, size_t len)
{
	static const char member[] = "\"id\"";
	struct server *v = arg;
	const char *at = piece, *end = piece + len;

	while (at != NULL && (at = memmem(at, (size_t)(end - at), member, sizeof member - 1)) != NULL) {
		struct call *call;
		json_int_t id = 0;

		at += sizeof member - 1;
		while (at < end && (*at == ' ' || *at == ':'))
			at++;
		for (; at < end && *at >= '0' && *at <= '9' && id < ID_MAX; at++)
			id = id * 10 + (*at - '0');
		call = find_call(v, id);
		if (call != NULL) {
			fail_call(call, "the server's answer is longer than --reply allows");
			return;
		}
	}
}

static void on_ended(void *arg)
{
	struct server *v = arg;
	bool refused_to_discover = v->process != NULL && !v->ready && v->initialize_id == 0;

	v->process = NULL;
	if (refused_to_discover)
		start(v, true);
	else
		stopped(v, v->ready ? "the server's process ended" : "the server's process ended at its start");
}

static void start(struct server *v, bool initialize_first)
{
	static const struct mcp_process_handlers handlers = {
		.line = on_line, .too_long = on_too_long, .ended = on_ended};
	struct err e = ERR_INIT;

	if (initialize_first)
		v->initialize_first = true;
	v->ready = false;
	v->discover_id = v->initialize_id = 0;
	v->process = mcp_process_start(v->service->processes, v->name, v->settings, &handlers, v, &e);
	if (v->process == NULL) {
		stopped(v, e.text);
		return;
	}
	v->deadline_ms = clock_mono_ms() + HANDSHAKE_MS;
	if (v->initialize_first) {
		send_initialize(v);
		return;
	}
	v->discover_id = send_request(v, "server/discover", mcp_wire_params(NULL, true, NULL, 0));
	arm(v, DISCOVER_MS);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* The client does not want the answer any more. */
static void on_closed(evutil_socket_t fd, short what, void *arg)
{
	struct call *call = arg;
	struct server *v = call->server;
	struct evhttp_connection *connection = evhttp_request_get_connection(call->request);
	json_int_t id = call->sent;

	(void)fd;
	(void)what;
	call_free(call);
	evhttp_connection_free(connection);
	if (id != 0 && v->process != NULL)
		send_cancelled(v, id);
}

/* Steals message. */
static void refuse(struct evhttp_request *request, int status, json_t *message, int code, const char *text)
{
	reply(request, status, mcp_error(json_object_get(message, "id"), code, text, NULL));
	json_decref(message);
}

static struct server *server_named(struct mcp_service *s, const char *name)
{
	struct server *v;

	TAILQ_FOREACH(v, &s->servers, link)
	if (!v->retired && strcmp(v->name, name) == 0)
		return v;
	return NULL;
}

static struct server *find_server(struct mcp_service *s, const struct evhttp_request *request)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));

	return path != NULL && path[0] == '/' ? server_named(s, path + 1) : NULL;
}

/* Steals message; NULL: server/discover. */
static void take_call(struct server *v, struct evhttp_request *request, json_t *message, bool is_discover)
{
	struct bufferevent *connection = evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
	struct call *call = calloc(1, sizeof *call);
	char text[500];

	if (call != NULL)
		call->closed = event_new(v->service->base, bufferevent_getfd(connection), EV_CLOSED, on_closed, call);
	if (call == NULL || call->closed == NULL || event_add(call->closed, NULL) < 0) {
		if (call != NULL && call->closed != NULL)
			event_free(call->closed);
		free(call);
		refuse(request, 503, message, MCP_INTERNAL_ERROR, "out of memory");
		return;
	}
	call->server = v;
	call->request = request;
	call->id = json_incref(json_object_get(message, "id"));
	call->message = is_discover ? NULL : json_incref(message);
	json_decref(message);
	TAILQ_INSERT_TAIL(&v->calls, call, link);
	v->call_count++;
	if (v->process == NULL && clock_mono_ms() < v->not_before_ms) {
		snprintf(text, sizeof text, "%s; it is started again within %lld s", v->error,
		         (long long)(v->not_before_ms - clock_mono_ms()) / 1000 + 1);
		fail_call(call, text);
	} else if (v->process == NULL) {
		start(v, false);
	} else if (v->ready && is_discover) {
		answer_discover(call);
	} else if (v->ready) {
		send_call(call);
	}
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	size_t len = evbuffer_get_length(body);
	const char *bytes = (const char *)evbuffer_pullup(body, -1), *method;
	json_t *message = bytes != NULL ? mcp_wire_parse(bytes, len) : NULL;
	struct server *v = find_server(arg, request);
	bool is_discover;

	method = json_string_value(json_object_get(message, "method"));
	is_discover = method != NULL && strcmp(method, "server/discover") == 0;
	if (v == NULL)
		refuse(request, 404, message, MCP_INVALID_REQUEST,
		       "tt-agent-runner has no server of this name in the file of --mcp");
	else if (method == NULL)
		refuse(request, 400, message, MCP_INVALID_REQUEST, "the body is no request of JSON-RPC");
	else if (json_object_get(message, "id") == NULL) {
		json_decref(message);
		reply(request, 202, NULL);
	} else if (!is_discover && strcmp(method, "tools/list") != 0 && strcmp(method, "tools/call") != 0)
		refuse(request, 404, message, MCP_METHOD_NOT_FOUND, "Method not found");
	else if (v->call_count >= CALLS_MAX)
		refuse(request, 503, message, MCP_INTERNAL_ERROR, "too many calls of this server at once");
	else
		take_call(v, request, message, is_discover);
}

/* ---- the servers ------------------------------------------------------------------------------------------------- */

static void server_free(struct server *v)
{
	TAILQ_REMOVE(&v->service->servers, v, link);
	if (v->process != NULL)
		mcp_process_end(v->process);
	if (v->timer != NULL)
		event_free(v->timer);
	json_decref(v->settings);
	free(v->name);
	free(v);
}

static int add_server(struct mcp_service *s, const char *name, json_t *settings)
{
	struct server *v = calloc(1, sizeof *v);

	if (v == NULL)
		return -1;
	*v = (struct server){.service = s, .name = strdup(name), .settings = json_incref(settings)};
	v->timer = evtimer_new(s->base, on_timer, v);
	TAILQ_INIT(&v->calls);
	TAILQ_INSERT_HEAD(&s->servers, v, link);
	if (v->name != NULL && v->timer != NULL)
		return 0;
	server_free(v);
	return -1;
}

static void retire(struct server *v)
{
	v->retired = true;
	TAILQ_REMOVE(&v->service->servers, v, link);
	TAILQ_INSERT_TAIL(&v->service->servers, v, link);
	if (v->call_count == 0)
		server_free(v);
}

void mcp_service_configure(struct mcp_service *s, json_t *servers)
{
	size_t changed = 0;
	json_t *settings;
	const char *name;
	struct server *v, *next;

	for (v = TAILQ_FIRST(&s->servers); v != NULL && !v->retired; v = next) {
		next = TAILQ_NEXT(v, link);
		if (json_equal(v->settings, json_object_get(servers, v->name)))
			continue;
		retire(v);
		changed++;
	}
	json_object_foreach(servers, name, settings)
	{
		if (server_named(s, name) != NULL)
			continue;
		changed++;
		if (add_server(s, name, settings) < 0)
			log_event(LOG_MCP_FILE_ERROR, L_STR("server", name), L_STR("error", "out of memory"));
	}
	if (changed > 0)
		log_event(LOG_MCP_FILE, L_INT("mcp_servers", json_object_size(servers)));
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct mcp_service *mcp_service_new(struct event_base *base, int listen_fd, json_t *servers, size_t line_max,
                                    struct err *e)
{
	struct mcp_service *s = calloc(1, sizeof *s);
	json_t *settings;
	const char *name;
	bool failed;

	if (s == NULL) {
		close(listen_fd);
		err_set(e, "out of memory");
		return NULL;
	}
	*s = (struct mcp_service){
		.base = base,
		.http = evhttp_new(base),
		.processes = mcp_processes_new(base, line_max),
		.next_id = 100000000 + (json_int_t)(process_random() % 800000000),
	};
	TAILQ_INIT(&s->servers);
	evutil_make_socket_nonblocking(listen_fd);
	evutil_make_socket_closeonexec(listen_fd);
	failed = s->http == NULL || s->processes == NULL;
	json_object_foreach(failed ? NULL : servers, name, settings) failed |= add_server(s, name, settings) < 0;
	if (failed || evhttp_accept_socket(s->http, listen_fd) < 0) {
		close(listen_fd);
		err_set(e, "out of memory");
		mcp_service_free(s);
		return NULL;
	}
	evhttp_set_allowed_methods(s->http, EVHTTP_REQ_POST);
	evhttp_set_max_headers_size(s->http, HEAD_MAX);
	evhttp_set_max_body_size(s->http, REQUEST_MAX);
	evhttp_set_gencb(s->http, on_request, s);
	return s;
}

void mcp_service_free(struct mcp_service *s)
{
	int64_t end_ms = clock_mono_ms() + END_MS;
	struct server *v;

	while ((v = TAILQ_FIRST(&s->servers)) != NULL) {
		fail_calls(v, "tt-agent-runner stops");
		server_free(v);
	}
	if (s->http != NULL)
		evhttp_free(s->http);
	while (s->processes != NULL && mcp_processes_count(s->processes) > 0 && clock_mono_ms() < end_ms) {
		struct timeval wait = clock_timeval_ms(100);

		event_base_loopexit(s->base, &wait);
		event_base_dispatch(s->base);
	}
	if (s->processes != NULL)
		mcp_processes_free(s->processes);
	free(s);
}
