/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_response.h"

#include "core/base/utf8.h"
#include "core/mcp/mcp.h"
#include "core/mcp/mcp_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- messages ------------------------------------------------------------------------------------------ */

static void on_message(struct mcp_response *r, const json_t *message)
{
	switch (mcp_wire_kind(message, r->id)) {
	case MCP_ANSWER:
		if (r->answer == NULL)
			r->answer = json_incref((json_t *)(uintptr_t)message);
		break;
	case MCP_REQUEST:
		r->handlers->request(r->arg, message);
		break;
	case MCP_NOTIFICATION:
		r->handlers->notification(r->arg, message);
		r->has_other = true;
		break;
	default:
		r->has_other |= json_is_object(message);
	}
}

static void on_messages(struct mcp_response *r, const json_t *message)
{
	json_t *one;
	size_t i;

	if (json_is_array(message)) /* a batch of 2025-03-26 */
		json_array_foreach(message, i, one) on_message(r, one);
	else
		on_message(r, message);
}

static void go_on(struct mcp_response *r);

struct long_message {
	struct mcp_response *response;
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
	struct mcp_response *r = m->response;
	struct buf rest = r->rest;

	r->parsing = NULL;
	r->rest = (struct buf){.data = NULL};
	on_messages(r, m->message);
	drop_long_message(m);
	if (r->answer == NULL)
		sse_feed(&r->sse, rest.data, rest.len);
	go_on(r);
	buf_free(&rest);
}

static bool parse_in_background(struct mcp_response *r, const struct sse_event *event)
{
	static const struct background_work work = {
		.run = parse_long_message, .done = on_long_message, .drop = drop_long_message};
	struct long_message *m = malloc(sizeof *m + event->len);

	if (m == NULL)
		return false;
	*m = (struct long_message){.response = r, .len = event->len};
	memcpy(m->bytes, event->data, event->len);
	r->parsing = background_start(r->background, &work, m);
	if (r->parsing == NULL)
		free(m);
	return r->parsing != NULL;
}

/* What was fed, up to the answer, or up to a message that takes longer. */
static void read_events(struct mcp_response *r)
{
	struct sse_event event;

	while (r->answer == NULL && sse_next(&r->sse, &event)) {
		if (event.len > BACKGROUND_MIN && r->background != NULL && parse_in_background(r, &event)) {
			buf_init(&r->rest, r->limit);
			(void)buf_add(&r->rest, r->sse.at, (size_t)(r->sse.end - r->sse.at));
			r->sse.at = r->sse.end;
			return;
		}
		json_t *message = event.len > 0 ? mcp_wire_parse(event.data, event.len) : NULL;

		on_messages(r, message);
		json_decref(message);
	}
}

/* After a long message: what came meanwhile, and then what comes. */
static void go_on(struct mcp_response *r)
{
	read_events(r);
	if (r->parsing == NULL && r->answer == NULL && r->ended && r->result.outcome == HTTP_DONE) {
		sse_end(&r->sse);
		read_events(r);
	}
	if (r->parsing != NULL)
		return;
	if (r->ended || (r->answer != NULL && r->status < 300 && r->is_stream))
		r->handlers->done(r->arg);
	else
		http_resume(r->transfer);
}

/* ---- the transfer -------------------------------------------------------------------------------------- */

static void on_header(void *arg, const char *line, size_t len)
{
	struct mcp_response *r = arg;
	size_t name = strlen(MCP_HEADER_SESSION);

	if (len <= name || line[name] != ':' || strncasecmp(line, MCP_HEADER_SESSION, name) != 0)
		return;
	for (line += name + 1, len -= name + 1; len > 0 && (*line == ' ' || *line == '\t'); line++)
		len--;
	while (len > 0 && (unsigned char)line[len - 1] <= ' ')
		len--;
	r->session[0] = '\0';
	if (len > MCP_SESSION_MAX)
		return;
	memcpy(r->session, line, len);
	r->session[len] = '\0';
	for (const char *p = r->session; *p != '\0'; p++)
		if (*p < '!' || *p > '~')
			r->session[0] = '\0';
}

static bool on_response(void *arg, long status, const char *content_type)
{
	struct mcp_response *r = arg;

	r->status = status;
	snprintf(r->type, sizeof r->type, "%s", content_type != NULL ? content_type : "no type");
	utf8_disarm(r->type);
	r->is_stream = content_type != NULL && strncasecmp(content_type, "text/event-stream", 17) == 0;
	return true;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	struct mcp_response *r = arg;

	r->received += len;
	if (r->received > r->limit) {
		r->too_long = true;
		r->handlers->done(r->arg);
		return;
	}
	sse_feed(&r->sse, bytes, len);
	read_events(r);
	if (r->parsing != NULL)
		http_pause(r->transfer);
	else if (r->answer != NULL && r->status < 300 && r->is_stream)
		r->handlers->done(r->arg); /* some servers leave a stream open after the answer */
}

static void on_done(void *arg, const struct http_result *result)
{
	struct mcp_response *r = arg;

	r->transfer = NULL;
	r->ended = true;
	r->result = *result;
	r->result.body = NULL;
	if (r->parsing == NULL)
		go_on(r);
}

const struct http_handlers *mcp_response_http(bool begins_session)
{
	static const struct http_handlers handlers[] = {
		{.response = on_response, .data = on_data, .done = on_done},
		{.response = on_response, .header = on_header, .data = on_data, .done = on_done},
	};

	return &handlers[begins_session];
}

/* ---- its life ------------------------------------------------------------------------------------------ */

void mcp_response_begin(struct mcp_response *r, json_int_t id, const char *last_event)
{
	char event[SSE_ID_MAX + 1];

	snprintf(event, sizeof event, "%s", last_event); /* it may be the response's own */
	mcp_response_end(r);
	sse_init(&r->sse);
	memcpy(r->sse.id, event, sizeof event);
	r->reading = true;
	r->id = id;
	r->status = 0;
	r->received = 0;
	r->has_other = false;
}

void mcp_response_end(struct mcp_response *r)
{
	if (r->transfer != NULL)
		http_cancel(r->transfer);
	r->transfer = NULL;
	if (r->parsing != NULL)
		background_cancel(r->parsing);
	r->parsing = NULL;
	if (r->reading)
		sse_free(&r->sse);
	r->reading = false;
	r->ended = false;
	r->too_long = false;
	buf_free(&r->rest);
	json_decref(r->answer);
	r->answer = NULL;
}

/* ---- of failures --------------------------------------------------------------------------------------- */

json_int_t mcp_response_error_code(const struct mcp_response *r)
{
	return json_integer_value(json_object_get(json_object_get(r->answer, "error"), "code"));
}

void mcp_response_describe(const struct mcp_response *r, char *out, size_t size)
{
	char error[300] = "";

	if (r->answer != NULL)
		mcp_wire_error_text(json_object_get(r->answer, "error"), error, sizeof error);
	if (r->ended && r->result.outcome != HTTP_DONE)
		snprintf(out, size, "%s",
		         r->result.text[0] != '\0' ? r->result.text : http_outcome_text(r->result.outcome));
	else if (r->status >= 300 && r->status < 400)
		snprintf(out, size, "HTTP %ld: redirects are not followed; set its url to where it is now", r->status);
	else if (r->status >= 400)
		snprintf(out, size, "HTTP %ld%s%s", r->status, error[0] != '\0' ? ": " : "", error);
	else if (r->answer != NULL)
		snprintf(out, size, "%s", error);
	else if (r->is_stream)
		snprintf(out, size, "the stream of its answer ended early");
	else if (r->has_other)
		snprintf(out, size, "it answered another request");
	else
		snprintf(out, size, "its answer is no message of JSON-RPC (%s)", r->type);
}
