/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_client.h"

#include "core/base/background.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/mcp/mcp.h"
#include "core/mcp/mcp_wire.h"
#include "core/stream/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#define CONNECT_MS       10000
#define SESSION_MAX      1024
#define RESUMES_MAX      5
#define RESUME_MS        1000 /* where the server does not say */
#define RESUME_LONGEST   10000
#define REPLIES_MAX      16 /* to requests of the server, during one call */
#define PROGRESS_MS      1000
#define PROGRESS_MAX     200 /* bytes of what is shown */
#define NOTICE_MS        5000
#define LABELS_MAX       60
#define OLDEST_VERSION   "2024-11-05" /* we don't speak it, but what we need of it is the same */
#define TRACEPARENT_LINE "traceparent: "

enum stage {
	STAGE_WAITING,    /* for the handshake */
	STAGE_DISCOVER,   /* of the handshake: server/discover, */
	STAGE_INITIALIZE, /* initialize, */
	STAGE_CONFIRM,    /* and notifications/initialized */
	STAGE_REQUEST,
	STAGE_PAUSE, /* before a stream that broke is taken up again */
	STAGE_RESUME,
};

struct mcp_call {
	TAILQ_ENTRY(mcp_call) link;
	struct mcp_client *client;
	mcp_done_fn *done; /* NULL: it is the handshake */
	mcp_progress_fn *progress;
	int64_t progress_ms; /* CLOCK_MONOTONIC: not before that again */
	void *arg;
	enum stage stage;
	json_int_t id;
	char *method, *name;
	json_t *params;
	char **headers, **labels;
	bool repeatable, repeated;
	struct event *deadline, *next; /* next: its next step, from the loop */
	int64_t deadline_ms;
	struct http_transfer *transfer;
	/* Of the response that comes. */
	struct sse sse;
	bool reading; /* sse is in use */
	long status;
	bool is_stream, has_other; /* has_other: messages that are no answer to the request */
	char type[60];             /* Content-Type */
	size_t received;
	json_t *answer;
	char session[SESSION_MAX + 1];
	unsigned resumes, replies;
	char failure[512]; /* of the handshake that it waited for; "": none */
	/* A long message, which is parsed in the background, what came after it, and the end, if that came too. */
	struct background_job *parsing; /* NULL: none */
	struct buf rest;
	bool ended;
	struct http_result result;
};

struct mcp_client {
	struct event_base *base;
	struct http *http;
	struct background *background;
	struct mcp_target target;
	char *proxy;
	size_t reply_limit;
	enum { ERA_UNKNOWN, ERA_MODERN, ERA_LEGACY } era;
	bool ready;       /* calls may be sent */
	char version[16]; /* of the legacy era */
	char *session;    /* NULL: none */
	json_int_t next_id;
	struct mcp_call *handshake; /* NULL: none */
	TAILQ_HEAD(, mcp_call) calls;
};

static void proceed(struct mcp_call *call);
static void send_stage(struct mcp_call *call, enum stage stage);

/* ---- life of a call ------------------------------------------------------------------------------- */

static void free_lines(char **lines)
{
	for (char **l = lines; l != NULL && *l != NULL; l++)
		free(*l);
	free(lines);
}

/* NULL: no memory. */
static char **copy_lines(const char *const *lines)
{
	size_t count = 0;
	char **copy;

	while (lines != NULL && lines[count] != NULL)
		count++;
	copy = calloc(count + 1, sizeof *copy);
	for (size_t i = 0; copy != NULL && i < count; i++) {
		copy[i] = strdup(lines[i]);
		if (copy[i] == NULL) {
			free_lines(copy);
			return NULL;
		}
	}
	return copy;
}

static void end_response(struct mcp_call *call)
{
	if (call->transfer != NULL)
		http_cancel(call->transfer);
	call->transfer = NULL;
	if (call->parsing != NULL)
		background_cancel(call->parsing);
	call->parsing = NULL;
	if (call->reading)
		sse_free(&call->sse);
	call->reading = false;
	call->ended = false;
	buf_free(&call->rest);
	json_decref(call->answer);
	call->answer = NULL;
}

static void call_free(struct mcp_call *call)
{
	end_response(call);
	TAILQ_REMOVE(&call->client->calls, call, link);
	if (call->client->handshake == call)
		call->client->handshake = NULL;
	if (call->deadline != NULL)
		event_free(call->deadline);
	if (call->next != NULL)
		event_free(call->next);
	json_decref(call->params);
	free_lines(call->headers);
	free_lines(call->labels);
	free(call->method);
	free(call->name);
	free(call);
}

static void arm_ms(struct event *timer, int64_t ms)
{
	struct timeval tv = clock_timeval_ms(ms > 0 ? ms : 0);

	evtimer_add(timer, &tv);
}

/* The calls that wait for the handshake go on, or fail as it did. */
static void handshake_ended(struct mcp_client *c, const struct mcp_outcome *failure)
{
	struct mcp_call *call;

	TAILQ_FOREACH(call, &c->calls, link)
	{
		if (call->stage != STAGE_WAITING || call->done == NULL)
			continue;
		if (failure != NULL)
			snprintf(call->failure, sizeof call->failure, "%s", failure->text);
		event_active(call->next, EV_TIMEOUT, 0);
	}
}

static void finish(struct mcp_call *call, const struct mcp_outcome *o)
{
	struct mcp_client *c = call->client;
	mcp_done_fn *done = call->done;
	struct mcp_outcome outcome = *o;
	void *arg = call->arg;
	char text[512];

	if (o->text != NULL) {
		snprintf(text, sizeof text, "%s", o->text); /* it may be the call's own */
		outcome.text = text;
	}
	call_free(call);
	if (done != NULL)
		done(arg, &outcome);
	else
		handshake_ended(c, outcome.text != NULL ? &outcome : NULL);
}

static void fail(struct mcp_call *call, const char *text)
{
	const struct mcp_outcome o = {.text = text};

	finish(call, &o);
}

/* ---- messages that nobody waits for ------------------------------------------------------------------ */

static void on_notice_done(void *arg, const struct http_result *r)
{
	(void)arg;
	(void)r;
}

/* Sends a message, or (NULL) deletes the session; steals it. What becomes of it does not matter. */
static void send_notice(struct mcp_client *c, json_t *message)
{
	static const struct http_handlers handlers = {.done = on_notice_done};
	char version[64], session[SESSION_MAX + 40];
	const char *const labels[] = {"Accept: application/json, text/event-stream", version,
	                              c->session != NULL ? session : NULL, NULL};
	char *body = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
	const struct http_request request = {
		.method = message != NULL ? "POST" : "DELETE",
		.url = c->target.url,
		.bearer = c->target.bearer,
		.headers = (const char *const *)c->target.headers,
		.labels = labels,
		.body = body,
		.body_len = body != NULL ? strlen(body) : 0,
		.proxy = c->proxy,
		.socket = c->target.socket,
		.ca_file = c->target.ca_file,
		.connect_ms = NOTICE_MS,
		.total_ms = NOTICE_MS,
	};

	snprintf(version, sizeof version, MCP_HEADER_VERSION ": %s", c->version);
	if (c->session != NULL)
		snprintf(session, sizeof session, MCP_HEADER_SESSION ": %s", c->session);
	if (message == NULL || body != NULL)
		http_start(c->http, &request, &handlers, NULL);
	free(body);
	json_decref(message);
}

/* The server need not go on: in the modern era the connection's end says so. */
static void tell_cancelled(struct mcp_call *call)
{
	if (call->client->era == ERA_LEGACY && call->stage >= STAGE_REQUEST)
		send_notice(call->client,
		            mcp_notification("notifications/cancelled", json_pack("{s:I, s:s}", "requestId", call->id,
		                                                                  "reason", "no longer needed")));
}

/* ---- what the server sends ----------------------------------------------------------------------------- */

static void tell_progress(struct mcp_call *call, const json_t *message)
{
	char text[PROGRESS_MAX];
	int64_t now = clock_mono_ms();

	if (call->progress == NULL || now < call->progress_ms ||
	    !mcp_wire_progress(message, call->id, text, sizeof text))
		return;
	call->progress_ms = now + PROGRESS_MS;
	call->progress(call->arg, text);
}

static void on_message(struct mcp_call *call, const json_t *message)
{
	const char *method = json_string_value(json_object_get(message, "method"));
	const json_t *id = json_object_get(message, "id");

	switch (mcp_wire_kind(message, call->id)) {
	case MCP_ANSWER:
		if (call->answer == NULL)
			call->answer = json_incref((json_t *)(uintptr_t)message);
		break;
	case MCP_REQUEST:
		if (call->client->era != ERA_LEGACY || call->replies++ >= REPLIES_MAX)
			break;
		send_notice(call->client, strcmp(method, "ping") == 0 ? mcp_result(id, NULL)
		                                                      : mcp_error(id, MCP_METHOD_NOT_FOUND,
		                                                                  "this client offers nothing", NULL));
		break;
	case MCP_NOTIFICATION:
		tell_progress(call, message);
		call->has_other = true;
		break;
	default:
		call->has_other |= json_is_object(message);
	}
}

static void on_messages(struct mcp_call *call, const json_t *message)
{
	json_t *one;
	size_t i;

	if (json_is_array(message)) /* a batch of 2025-03-26 */
		json_array_foreach(message, i, one) on_message(call, one);
	else
		on_message(call, message);
}

static void evaluate(struct mcp_call *call, const struct http_result *r);
static void go_on(struct mcp_call *call);

struct long_message {
	struct mcp_call *call;
	json_t *message;
	size_t len;
	char bytes[];
};

static void parse_long_message(void *arg)
{
	struct long_message *m = arg;

	m->message = mcp_wire_parse(m->bytes, m->len);
}

static void drop_long_message(void *arg)
{
	struct long_message *m = arg;

	json_decref(m->message);
	free(m);
}

static void on_long_message(void *arg)
{
	struct long_message *m = arg;
	struct mcp_call *call = m->call;
	struct buf rest = call->rest;

	call->parsing = NULL;
	call->rest = (struct buf){.data = NULL};
	on_messages(call, m->message);
	drop_long_message(m);
	if (call->answer == NULL)
		sse_feed(&call->sse, rest.data, rest.len);
	go_on(call);
	buf_free(&rest);
}

static bool parse_in_background(struct mcp_call *call, const struct sse_event *event)
{
	static const struct background_work work = {
		.run = parse_long_message, .done = on_long_message, .drop = drop_long_message};
	struct long_message *m = malloc(sizeof *m + event->len);

	if (m == NULL)
		return false;
	*m = (struct long_message){.call = call, .len = event->len};
	memcpy(m->bytes, event->data, event->len);
	call->parsing = background_start(call->client->background, &work, m);
	if (call->parsing == NULL)
		free(m);
	return call->parsing != NULL;
}

/* What was fed, up to the answer, or up to a message that takes longer. */
static void read_events(struct mcp_call *call)
{
	struct sse_event event;

	while (call->answer == NULL && sse_next(&call->sse, &event)) {
		if (event.len > BACKGROUND_MIN && call->client->background != NULL &&
		    parse_in_background(call, &event)) {
			buf_init(&call->rest, call->client->reply_limit);
			(void)buf_add(&call->rest, call->sse.at, (size_t)(call->sse.end - call->sse.at));
			call->sse.at = call->sse.end;
			return;
		}
		json_t *message = event.len > 0 ? mcp_wire_parse(event.data, event.len) : NULL;

		on_messages(call, message);
		json_decref(message);
	}
}

/* After a long message: what came meanwhile, and then what comes. */
static void go_on(struct mcp_call *call)
{
	read_events(call);
	if (call->parsing == NULL && call->answer == NULL && call->ended && call->result.outcome == HTTP_DONE) {
		sse_end(&call->sse);
		read_events(call);
	}
	if (call->parsing != NULL)
		return;
	if (call->ended)
		evaluate(call, &call->result);
	else if (call->answer != NULL && call->status < 300 && call->is_stream)
		evaluate(call, NULL);
	else
		http_resume(call->transfer);
}

static void on_header(void *arg, const char *line, size_t len)
{
	struct mcp_call *call = arg;
	size_t name = strlen(MCP_HEADER_SESSION);

	if (len <= name || line[name] != ':' || strncasecmp(line, MCP_HEADER_SESSION, name) != 0)
		return;
	for (line += name + 1, len -= name + 1; len > 0 && (*line == ' ' || *line == '\t'); line++)
		len--;
	while (len > 0 && (unsigned char)line[len - 1] <= ' ')
		len--;
	call->session[0] = '\0';
	if (len > SESSION_MAX)
		return;
	memcpy(call->session, line, len);
	call->session[len] = '\0';
	for (const char *p = call->session; *p != '\0'; p++)
		if (*p < '!' || *p > '~')
			call->session[0] = '\0';
}

static bool on_response(void *arg, long status, const char *content_type)
{
	struct mcp_call *call = arg;

	call->status = status;
	snprintf(call->type, sizeof call->type, "%s", content_type != NULL ? content_type : "no type");
	utf8_disarm(call->type);
	call->is_stream = content_type != NULL && strncasecmp(content_type, "text/event-stream", 17) == 0;
	return true;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	struct mcp_call *call = arg;

	call->received += len;
	if (call->received > call->client->reply_limit) {
		char text[100];

		snprintf(text, sizeof text, "it sent more than %zu bytes (mcp.reply_limit)", call->client->reply_limit);
		tell_cancelled(call);
		fail(call, text);
		return;
	}
	sse_feed(&call->sse, bytes, len);
	read_events(call);
	if (call->parsing != NULL)
		http_pause(call->transfer);
	else if (call->answer != NULL && call->status < 300 && call->is_stream)
		evaluate(call, NULL); /* some servers leave a stream open after the answer */
}

static void on_done(void *arg, const struct http_result *r)
{
	struct mcp_call *call = arg;

	call->transfer = NULL;
	call->ended = true;
	call->result = *r;
	call->result.body = NULL;
	if (call->parsing == NULL)
		go_on(call);
}

/* ---- requests -------------------------------------------------------------------------------------------- */

static const char *traceparent_of(const struct mcp_call *call)
{
	for (char **l = call->labels; l != NULL && *l != NULL; l++)
		if (strncasecmp(*l, TRACEPARENT_LINE, strlen(TRACEPARENT_LINE)) == 0)
			return *l + strlen(TRACEPARENT_LINE);
	return NULL;
}

/* The message of a stage; new reference. */
static json_t *message_of(struct mcp_call *call, enum stage stage)
{
	json_t *id = json_integer(call->id), *message;

	if (stage == STAGE_DISCOVER)
		message = mcp_request(id, "server/discover", mcp_wire_params(NULL, true, NULL, 0));
	else if (stage == STAGE_INITIALIZE)
		message = mcp_request(id, "initialize",
		                      json_pack("{s:s, s:{}, s:o}", "protocolVersion", MCP_LEGACY_NEWEST,
		                                "capabilities", "clientInfo", mcp_wire_client_info()));
	else if (stage == STAGE_CONFIRM)
		message = mcp_notification("notifications/initialized", NULL);
	else
		message = mcp_request(id, call->method,
		                      mcp_wire_params(call->params, call->client->era == ERA_MODERN,
		                                      traceparent_of(call), call->progress != NULL ? call->id : 0));
	json_decref(id);
	return message;
}

struct lines {
	const char *at[LABELS_MAX + 1];
	size_t count;
	struct buf texts[4];
	size_t made;
};

static void add_line(struct lines *l, const char *line)
{
	if (l->count < LABELS_MAX && line != NULL)
		l->at[l->count++] = line;
}

/* "name: value", encoded as a header of the modern era is. */
static void add_made(struct lines *l, const char *name, const char *value, bool encoded)
{
	struct buf *b = &l->texts[l->made++];

	buf_init(b, 16u << 10);
	if (buf_addf(b, "%s: ", name) == 0 && (encoded ? mcp_wire_header_value(value, b) : buf_adds(b, value)) == 0)
		add_line(l, b->data);
}

static void add_lines(struct lines *l, const struct mcp_call *call, enum stage stage)
{
	const struct mcp_client *c = call->client;
	bool modern = stage == STAGE_DISCOVER || (stage >= STAGE_REQUEST && c->era == ERA_MODERN);

	add_line(l,
	         stage == STAGE_RESUME ? "Accept: text/event-stream" : "Accept: application/json, text/event-stream");
	if (modern) {
		add_line(l, MCP_HEADER_VERSION ": " MCP_VERSION);
		add_made(l, MCP_HEADER_METHOD, stage == STAGE_DISCOVER ? "server/discover" : call->method, true);
	} else if (stage != STAGE_INITIALIZE) {
		add_made(l, MCP_HEADER_VERSION, c->version, false);
		if (c->session != NULL)
			add_made(l, MCP_HEADER_SESSION, c->session, false);
	}
	if (modern && stage == STAGE_REQUEST && call->name != NULL)
		add_made(l, MCP_HEADER_NAME, call->name, true);
	if (stage == STAGE_RESUME)
		add_made(l, "Last-Event-ID", call->sse.id, false);
	for (char **h = call->headers; modern && stage == STAGE_REQUEST && h != NULL && *h != NULL; h++)
		add_line(l, *h);
	for (char **h = call->labels; h != NULL && *h != NULL; h++)
		add_line(l, *h);
}

/* The transfer of a stage; the call is in it from now on. */
static void send_stage(struct mcp_call *call, enum stage stage)
{
	static const struct http_handlers handlers = {.response = on_response, .data = on_data, .done = on_done},
					  with_session = {.response = on_response,
	                                                  .header = on_header,
	                                                  .data = on_data,
	                                                  .done = on_done};
	struct mcp_client *c = call->client;
	struct lines lines = {.count = 0};
	json_t *message = NULL;
	char *body = NULL, last_id[SSE_ID_MAX + 1] = "";

	if (stage == STAGE_RESUME)
		memcpy(last_id, call->sse.id, sizeof last_id);
	else if (stage != STAGE_CONFIRM)
		call->id = ++c->next_id;
	call->stage = stage;
	add_lines(&lines, call, stage);
	if (stage != STAGE_RESUME) {
		message = message_of(call, stage);
		body = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
	}
	end_response(call);
	sse_init(&call->sse);
	memcpy(call->sse.id, last_id, sizeof last_id);
	call->reading = true;
	call->status = 0;
	call->received = 0;
	call->has_other = false;
	if (stage == STAGE_RESUME || body != NULL) {
		const struct http_request request = {
			.method = stage == STAGE_RESUME ? "GET" : "POST",
			.url = c->target.url,
			.bearer = c->target.bearer,
			.headers = (const char *const *)c->target.headers,
			.labels = lines.at,
			.body = body,
			.body_len = body != NULL ? strlen(body) : 0,
			.proxy = c->proxy,
			.socket = c->target.socket,
			.ca_file = c->target.ca_file,
			.connect_ms = CONNECT_MS,
			.once = stage == STAGE_REQUEST && !call->repeatable,
		};

		call->transfer =
			http_start(c->http, &request, stage == STAGE_INITIALIZE ? &with_session : &handlers, call);
	}
	for (size_t i = 0; i < lines.made; i++)
		buf_free(&lines.texts[i]);
	free(body);
	json_decref(message);
	if (call->transfer == NULL)
		fail(call, "out of memory");
}

/* ---- what follows from an answer ---------------------------------------------------------------------------- */

/* What the server said of a failure, for people. */
static void describe(const struct mcp_call *call, const struct http_result *r, char *out, size_t size)
{
	char error[300] = "";

	if (call->answer != NULL)
		mcp_wire_error_text(json_object_get(call->answer, "error"), error, sizeof error);
	if (r != NULL && r->outcome != HTTP_DONE)
		snprintf(out, size, "%s", r->text[0] != '\0' ? r->text : http_outcome_text(r->outcome));
	else if (call->status >= 300 && call->status < 400)
		snprintf(out, size, "HTTP %ld: redirects are not followed; set its url to where it is now",
		         call->status);
	else if (call->status >= 400)
		snprintf(out, size, "HTTP %ld%s%s", call->status, error[0] != '\0' ? ": " : "", error);
	else if (call->answer != NULL)
		snprintf(out, size, "%s", error);
	else if (call->is_stream)
		snprintf(out, size, "the stream of its answer ended early");
	else if (call->has_other)
		snprintf(out, size, "it answered another request");
	else
		snprintf(out, size, "its answer is no message of JSON-RPC (%s)", call->type);
}

static json_int_t error_code(const struct mcp_call *call)
{
	return json_integer_value(json_object_get(json_object_get(call->answer, "error"), "code"));
}

static bool is_modern_code(json_int_t code)
{
	return code <= MCP_HEADER_MISMATCH && code >= MCP_UNSUPPORTED_VERSION;
}

static void fail_reported(struct mcp_call *call, const struct http_result *r)
{
	char text[512];
	struct mcp_outcome o = {.text = text};

	describe(call, r, text, sizeof text);
	o.refused = call->answer != NULL && call->status != 401 && call->status != 403;
	finish(call, &o);
}

/* The first version of a list that we speak; NULL: none. */
static const char *spoken(const json_t *versions)
{
	const char *legacy = NULL;
	json_t *version;
	size_t i;

	json_array_foreach(versions, i, version)
	{
		const char *text = json_string_value(version);

		if (text != NULL && strcmp(text, MCP_VERSION) == 0)
			return MCP_VERSION;
		if (mcp_is_legacy_version(text) && (legacy == NULL || strcmp(text, legacy) > 0))
			legacy = text;
	}
	return legacy;
}

static void handshake_done(struct mcp_call *call)
{
	const struct mcp_outcome o = {.text = NULL};

	call->client->ready = true;
	finish(call, &o);
}

static void fail_versions(struct mcp_call *call, const json_t *versions)
{
	char *text = json_dumps(versions, JSON_COMPACT | JSON_ENCODE_ANY), shown[300];

	snprintf(shown, sizeof shown, "it speaks none of our versions, but %.*s",
	         text != NULL ? (int)utf8_cut(text, 200) : 0, text != NULL ? text : "");
	utf8_disarm(shown);
	free(text);
	fail(call, shown);
}

static void discovered(struct mcp_call *call, const struct http_result *r)
{
	const json_t *result = json_object_get(call->answer, "result");
	const json_t *error = json_object_get(call->answer, "error");
	const json_t *supported = result != NULL ? json_object_get(result, "supportedVersions")
	                                         : json_object_get(json_object_get(error, "data"), "supported");
	const char *version = spoken(supported);

	if (result != NULL && version != NULL && strcmp(version, MCP_VERSION) == 0) {
		call->client->era = ERA_MODERN;
		handshake_done(call);
	} else if (error != NULL && version != NULL && strcmp(version, MCP_VERSION) == 0 && !call->repeated) {
		call->repeated = true; /* it refused the version that it says it speaks */
		send_stage(call, STAGE_DISCOVER);
	} else if (json_is_array(supported) && (version == NULL || strcmp(version, MCP_VERSION) == 0)) {
		fail_versions(call, supported);
	} else if ((r != NULL && r->outcome != HTTP_DONE) || (call->status >= 300 && call->status < 400) ||
	           call->status == 401 || call->status == 403 || call->status == 429 ||
	           (call->status >= 500 && (call->answer == NULL || call->status >= 502)) || /* of a gateway */
	           (is_modern_code(error_code(call)) && version == NULL)) {
		fail_reported(call, r);
	} else {
		call->client->era = ERA_LEGACY;
		send_stage(call, STAGE_INITIALIZE);
	}
}

static void initialized(struct mcp_call *call, const struct http_result *r)
{
	struct mcp_client *c = call->client;
	const json_t *result = json_object_get(call->answer, "result");
	const char *version = json_string_value(json_object_get(result, "protocolVersion"));

	if (result == NULL && is_modern_code(error_code(call)) && !call->repeated) {
		call->repeated = true;
		send_stage(call, STAGE_DISCOVER);
	} else if (result == NULL) {
		c->era = ERA_UNKNOWN;
		fail_reported(call, r);
	} else if (version == NULL || (!mcp_is_legacy_version(version) && strcmp(version, OLDEST_VERSION) != 0)) {
		c->era = ERA_UNKNOWN;
		fail_versions(call, json_object_get(result, "protocolVersion"));
	} else {
		snprintf(c->version, sizeof c->version, "%s", version);
		free(c->session);
		c->session = call->session[0] != '\0' ? strdup(call->session) : NULL;
		send_stage(call, STAGE_CONFIRM);
	}
}

static void confirmed(struct mcp_call *call, const struct http_result *r)
{
	if (r != NULL && r->outcome == HTTP_DONE && r->status < 300) {
		handshake_done(call);
		return;
	}
	call->client->era = ERA_UNKNOWN;
	fail_reported(call, r);
}

/* Whether the server refused the request because it knows nothing of our session, or is of the other era. */
static bool is_of_another_time(const struct mcp_call *call)
{
	json_int_t code = error_code(call);

	if (call->status == 404 || call->status == 405)
		return true;
	if (call->status != 400)
		return call->client->era == ERA_MODERN && call->status < 300 && code == MCP_METHOD_NOT_FOUND;
	if (call->client->era == ERA_LEGACY)
		return code != MCP_INVALID_PARAMS && code != MCP_INTERNAL_ERROR;
	return code == MCP_UNSUPPORTED_VERSION ||
	       !(is_modern_code(code) || code == MCP_INVALID_PARAMS || code == MCP_INTERNAL_ERROR);
}

static void forget_era(struct mcp_client *c)
{
	c->ready = false;
	if (c->era == ERA_MODERN || c->session == NULL)
		c->era = ERA_UNKNOWN;
	free(c->session);
	c->session = NULL;
}

static void requested(struct mcp_call *call, const struct http_result *r)
{
	struct mcp_client *c = call->client;
	const json_t *result = call->status < 300 ? json_object_get(call->answer, "result") : NULL;
	bool broken = (r != NULL && (r->outcome == HTTP_CUT || r->outcome == HTTP_RESET)) ||
	              (call->status < 300 && call->answer == NULL && call->is_stream);

	if (result != NULL) {
		json_t *answer = json_incref(call->answer);
		const struct mcp_outcome o = {.result = result};

		end_response(call);
		finish(call, &o);
		json_decref(answer);
	} else if (broken && c->era == ERA_LEGACY && call->sse.id[0] != '\0' && call->resumes < RESUMES_MAX) {
		int64_t wait_ms = call->sse.retry_ms >= 0 ? call->sse.retry_ms : RESUME_MS;

		call->resumes++;
		call->stage = STAGE_PAUSE;
		arm_ms(call->next, wait_ms < RESUME_LONGEST ? wait_ms : RESUME_LONGEST);
	} else if (!call->repeated &&
	           ((broken && call->repeatable) || ((r == NULL || r->outcome == HTTP_DONE) && call->status >= 200 &&
	                                             call->stage == STAGE_REQUEST && is_of_another_time(call)))) {
		call->repeated = true;
		if (!broken)
			forget_era(c);
		end_response(call); /* a stream need not have ended yet */
		call->stage = STAGE_WAITING;
		proceed(call);
	} else {
		fail_reported(call, r);
	}
}

static void evaluate(struct mcp_call *call, const struct http_result *r)
{
	switch (call->stage) {
	case STAGE_DISCOVER:
		discovered(call, r);
		return;
	case STAGE_INITIALIZE:
		initialized(call, r);
		return;
	case STAGE_CONFIRM:
		confirmed(call, r);
		return;
	default:
		requested(call, r);
	}
}

/* ---- calls ---------------------------------------------------------------------------------------------------- */

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct mcp_call *call = arg;
	const struct mcp_outcome o = {.text = "it did not answer in time", .timed_out = true};

	(void)fd;
	(void)what;
	tell_cancelled(call);
	finish(call, &o);
}

static void on_next(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	proceed(arg);
}

static struct mcp_call *new_call(struct mcp_client *c, const struct mcp_request *r, mcp_done_fn *done, void *arg)
{
	struct mcp_call *call = calloc(1, sizeof *call);

	if (call == NULL)
		return NULL;
	*call = (struct mcp_call){
		.client = c,
		.done = done,
		.arg = arg,
		.progress = r->progress,
		.method = strdup(r->method),
		.name = r->name != NULL ? strdup(r->name) : NULL,
		.params = json_incref((json_t *)(uintptr_t)r->params),
		.headers = copy_lines((const char *const *)r->headers),
		.labels = copy_lines(r->labels),
		.repeatable = r->repeatable,
		.deadline = evtimer_new(c->base, on_deadline, call),
		.next = evtimer_new(c->base, on_next, call),
	};
	TAILQ_INSERT_TAIL(&c->calls, call, link);
	if (call->method == NULL || (r->name != NULL && call->name == NULL) || call->headers == NULL ||
	    call->labels == NULL || call->deadline == NULL || call->next == NULL) {
		call_free(call);
		return NULL;
	}
	arm_ms(call->deadline, r->timeout_ms > 0 ? r->timeout_ms : c->target.timeout_ms);
	event_active(call->next, EV_TIMEOUT, 0);
	return call;
}

/* The call's next step. */
static void proceed(struct mcp_call *call)
{
	static const struct mcp_request handshake = {.method = "initialize"};
	struct mcp_client *c = call->client;

	if (call->failure[0] != '\0') {
		const struct mcp_outcome o = {.text = call->failure};

		finish(call, &o);
	} else if (call->done == NULL) {
		send_stage(call, c->era == ERA_LEGACY ? STAGE_INITIALIZE : STAGE_DISCOVER);
	} else if (call->stage == STAGE_PAUSE) {
		send_stage(call, STAGE_RESUME);
	} else if (c->ready) {
		send_stage(call, STAGE_REQUEST);
	} else if (c->handshake == NULL) {
		c->handshake = new_call(c, &handshake, NULL, NULL);
		if (c->handshake == NULL)
			fail(call, "out of memory");
	}
}

struct mcp_call *mcp_client_call(struct mcp_client *c, const struct mcp_request *r, mcp_done_fn *done, void *arg)
{
	return new_call(c, r, done, arg);
}

void mcp_call_cancel(struct mcp_call *call)
{
	tell_cancelled(call);
	call_free(call);
}

/* ---- the client ------------------------------------------------------------------------------------------------ */

struct mcp_client *mcp_client_new(const struct mcp_client_place *place, const struct mcp_target *target)
{
	const char *proxy = target->socket == NULL ? place->proxy : NULL;
	struct mcp_client *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	TAILQ_INIT(&c->calls);
	c->base = place->base;
	c->http = place->http;
	c->background = place->background;
	c->reply_limit = place->reply_limit;
	c->proxy = proxy != NULL ? strdup(proxy) : NULL;
	if ((proxy != NULL && c->proxy == NULL) || mcp_target_init(&c->target, target->json, NULL) < 0) {
		free(c->proxy);
		free(c);
		return NULL;
	}
	if (c->target.era != NULL) {
		c->era = strcmp(c->target.era, MCP_VERSION) == 0 ? ERA_MODERN : ERA_LEGACY;
		c->ready = c->era == ERA_MODERN;
	}
	return c;
}

void mcp_client_free(struct mcp_client *c)
{
	struct mcp_call *call;

	if (c == NULL)
		return;
	while ((call = TAILQ_FIRST(&c->calls)) != NULL)
		call_free(call);
	if (c->session != NULL)
		send_notice(c, NULL);
	mcp_target_clear(&c->target);
	free(c->session);
	free(c->proxy);
	free(c);
}

const struct mcp_target *mcp_client_target(const struct mcp_client *c)
{
	return &c->target;
}

const char *mcp_client_version(const struct mcp_client *c)
{
	if (!c->ready)
		return NULL;
	return c->era == ERA_MODERN ? MCP_VERSION : c->version;
}
