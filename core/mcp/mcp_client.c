/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_client.h"

#include "core/base/clock.h"
#include "core/mcp/mcp.h"
#include "core/mcp/mcp_send.h"
#include "core/mcp/mcp_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define RESUMES_MAX    5
#define RESUME_MS      1000 /* where the server does not say */
#define RESUME_LONGEST 10000
#define REPLIES_MAX    16 /* to requests of the server, during one call */
#define PROGRESS_MS    1000
#define PROGRESS_MAX   200 /* bytes of what is shown */

struct mcp_call {
	TAILQ_ENTRY(mcp_call) link;
	struct mcp_client *client;
	mcp_done_fn *done; /* NULL: it is the handshake */
	mcp_progress_fn *progress;
	int64_t progress_ms; /* CLOCK_MONOTONIC: not before that again */
	void *arg;
	enum mcp_stage stage;
	json_int_t id;
	char *method, *name;
	json_t *params;
	char **headers, **labels;
	bool repeatable, repeated;
	struct event *deadline, *next; /* next: its next step, from the loop */
	struct mcp_response response;
	unsigned resumes, replies;
	char failure[512]; /* of the handshake that it waited for; "": none */
};

struct mcp_client {
	struct event_base *base;
	struct background *background;
	size_t reply_limit;
	struct mcp_route route;
	struct mcp_session session;
	json_int_t next_id;
	struct mcp_call *handshake; /* NULL: none */
	TAILQ_HEAD(, mcp_call) calls;
};

static void proceed(struct mcp_call *call);

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

static void call_free(struct mcp_call *call)
{
	mcp_response_end(&call->response);
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
		if (call->stage != MCP_STAGE_WAITING || call->done == NULL)
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

/* The server need not go on: in the modern era the connection's end says so. */
static void tell_cancelled(struct mcp_call *call)
{
	if (call->client->session.era == MCP_ERA_LEGACY && call->stage >= MCP_STAGE_REQUEST)
		mcp_send_notice(
			&call->client->route, &call->client->session,
			mcp_notification("notifications/cancelled",
		                         json_pack("{s:I, s:s}", "requestId", call->id, "reason", "no longer needed")));
}

/* ---- what the server sends besides the answer ------------------------------------------------------------ */

static void on_request(void *arg, const json_t *message)
{
	struct mcp_call *call = arg;
	const char *method = json_string_value(json_object_get(message, "method"));
	const json_t *id = json_object_get(message, "id");

	if (call->client->session.era != MCP_ERA_LEGACY || call->replies++ >= REPLIES_MAX)
		return;
	mcp_send_notice(&call->client->route, &call->client->session,
	                strcmp(method, "ping") == 0
	                        ? mcp_result(id, NULL)
	                        : mcp_error(id, MCP_METHOD_NOT_FOUND, "this client offers nothing", NULL));
}

static void on_notification(void *arg, const json_t *message)
{
	struct mcp_call *call = arg;
	char text[PROGRESS_MAX];
	int64_t now = clock_mono_ms();

	if (call->progress == NULL || now < call->progress_ms ||
	    !mcp_wire_progress(message, call->id, text, sizeof text))
		return;
	call->progress_ms = now + PROGRESS_MS;
	call->progress(call->arg, text);
}

/* ---- what follows from an answer ------------------------------------------------------------------------- */

/* The call is in this stage from now on. */
static void send_stage(struct mcp_call *call, enum mcp_stage stage)
{
	struct mcp_client *c = call->client;
	bool resumes = stage == MCP_STAGE_RESUME;

	if (!resumes && stage != MCP_STAGE_CONFIRM)
		call->id = ++c->next_id;
	call->stage = stage;
	mcp_response_begin(&call->response, call->id, resumes ? call->response.sse.id : "");
	const struct mcp_post post = {
		.stage = stage,
		.id = call->id,
		.method = call->method,
		.name = call->name,
		.params = call->params,
		.headers = call->headers,
		.labels = call->labels,
		.last_event = call->response.sse.id,
		.repeatable = call->repeatable,
		.progress = call->progress != NULL,
	};

	call->response.transfer = mcp_send(&c->route, &c->session, &post,
	                                   mcp_response_http(stage == MCP_STAGE_INITIALIZE), &call->response);
	if (call->response.transfer == NULL)
		fail(call, "out of memory");
}

static void handshake_answered(struct mcp_call *call)
{
	static const struct mcp_outcome fine = {.text = NULL};
	struct err e = ERR_INIT;
	enum mcp_stage next =
		mcp_session_step(&call->client->session, call->stage, &call->response, &call->repeated, &e);

	if (next == MCP_STAGE_WAITING)
		fail(call, e.text);
	else if (next == MCP_STAGE_REQUEST)
		finish(call, &fine);
	else
		send_stage(call, next);
}

static void call_answered(struct mcp_call *call)
{
	struct mcp_client *c = call->client;
	struct mcp_response *r = &call->response;
	const json_t *result = r->status < 300 ? json_object_get(r->answer, "result") : NULL;
	bool broken = (r->ended && (r->result.outcome == HTTP_CUT || r->result.outcome == HTTP_RESET)) ||
	              (r->status < 300 && r->answer == NULL && r->is_stream);

	if (result != NULL) {
		json_t *answer = json_incref(r->answer);
		const struct mcp_outcome o = {.result = result};

		mcp_response_end(r);
		finish(call, &o);
		json_decref(answer);
	} else if (broken && c->session.era == MCP_ERA_LEGACY && r->sse.id[0] != '\0' && call->resumes < RESUMES_MAX) {
		int64_t wait_ms = r->sse.retry_ms >= 0 ? r->sse.retry_ms : RESUME_MS;

		call->resumes++;
		call->stage = MCP_STAGE_PAUSE;
		arm_ms(call->next, wait_ms < RESUME_LONGEST ? wait_ms : RESUME_LONGEST);
	} else if (!call->repeated && ((broken && call->repeatable) ||
	                               ((!r->ended || r->result.outcome == HTTP_DONE) && r->status >= 200 &&
	                                call->stage == MCP_STAGE_REQUEST && mcp_session_is_over(&c->session, r)))) {
		call->repeated = true;
		if (!broken)
			mcp_session_forget(&c->session);
		mcp_response_end(r); /* a stream need not have ended yet */
		call->stage = MCP_STAGE_WAITING;
		proceed(call);
	} else {
		char text[512];
		struct mcp_outcome o = {.text = text};

		mcp_response_describe(r, text, sizeof text);
		o.refused = r->answer != NULL && r->status != 401 && r->status != 403;
		finish(call, &o);
	}
}

static void on_response(void *arg)
{
	struct mcp_call *call = arg;
	char text[100];

	if (call->response.too_long) {
		snprintf(text, sizeof text, "it sent more than %zu bytes (mcp.reply_limit)", call->response.limit);
		tell_cancelled(call);
		fail(call, text);
	} else if (call->stage < MCP_STAGE_REQUEST) {
		handshake_answered(call);
	} else {
		call_answered(call);
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
	static const struct mcp_response_handlers handlers = {
		.request = on_request, .notification = on_notification, .done = on_response};
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
		.response = {.handlers = &handlers, .arg = call, .background = c->background, .limit = c->reply_limit},
	};
	TAILQ_INSERT_TAIL(&c->calls, call, link);
	if (call->method == NULL || (r->name != NULL && call->name == NULL) || call->headers == NULL ||
	    call->labels == NULL || call->deadline == NULL || call->next == NULL) {
		call_free(call);
		return NULL;
	}
	arm_ms(call->deadline, r->timeout_ms > 0 ? r->timeout_ms : c->route.target.timeout_ms);
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
		send_stage(call, c->session.era == MCP_ERA_LEGACY ? MCP_STAGE_INITIALIZE : MCP_STAGE_DISCOVER);
	} else if (call->stage == MCP_STAGE_PAUSE) {
		send_stage(call, MCP_STAGE_RESUME);
	} else if (c->session.ready) {
		send_stage(call, MCP_STAGE_REQUEST);
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
	c->route.http = place->http;
	c->background = place->background;
	c->reply_limit = place->reply_limit;
	c->route.proxy = proxy != NULL ? strdup(proxy) : NULL;
	if ((proxy != NULL && c->route.proxy == NULL) || mcp_target_init(&c->route.target, target->json, NULL) < 0) {
		free(c->route.proxy);
		free(c);
		return NULL;
	}
	mcp_session_init(&c->session, c->route.target.era);
	return c;
}

void mcp_client_free(struct mcp_client *c)
{
	struct mcp_call *call;

	if (c == NULL)
		return;
	while ((call = TAILQ_FIRST(&c->calls)) != NULL)
		call_free(call);
	if (c->session.id != NULL)
		mcp_send_notice(&c->route, &c->session, NULL);
	mcp_target_clear(&c->route.target);
	mcp_session_clear(&c->session);
	free(c->route.proxy);
	free(c);
}

const struct mcp_target *mcp_client_target(const struct mcp_client *c)
{
	return &c->route.target;
}

const char *mcp_client_version(const struct mcp_client *c)
{
	if (!c->session.ready)
		return NULL;
	return c->session.era == MCP_ERA_MODERN ? MCP_VERSION : c->session.version;
}
