/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_send.h"

#include "core/base/buf.h"
#include "core/mcp/mcp.h"
#include "core/mcp/mcp_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS       10000
#define NOTICE_MS        5000
#define LABELS_MAX       60
#define TRACEPARENT_LINE "traceparent: "

/* ---- the message --------------------------------------------------------------------------------------- */

static const char *traceparent_of(const struct mcp_post *p)
{
	for (char *const *l = p->labels; l != NULL && *l != NULL; l++)
		if (strncasecmp(*l, TRACEPARENT_LINE, strlen(TRACEPARENT_LINE)) == 0)
			return *l + strlen(TRACEPARENT_LINE);
	return NULL;
}

/* The message of a stage; new reference. */
static json_t *message_of(const struct mcp_session *s, const struct mcp_post *p)
{
	json_t *id = json_integer(p->id), *message;

	if (p->stage == MCP_STAGE_DISCOVER)
		message = mcp_request(id, "server/discover", mcp_wire_params(NULL, true, NULL, 0));
	else if (p->stage == MCP_STAGE_INITIALIZE)
		message = mcp_request(id, "initialize",
		                      json_pack("{s:s, s:{}, s:o}", "protocolVersion", MCP_LEGACY_NEWEST,
		                                "capabilities", "clientInfo", mcp_wire_client_info()));
	else if (p->stage == MCP_STAGE_CONFIRM)
		message = mcp_notification("notifications/initialized", NULL);
	else
		message = mcp_request(id, p->method,
		                      mcp_wire_params(p->params, s->era == MCP_ERA_MODERN, traceparent_of(p),
		                                      p->progress ? p->id : 0));
	json_decref(id);
	return message;
}

/* ---- the headers --------------------------------------------------------------------------------------- */

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

static void add_lines(struct lines *l, const struct mcp_session *s, const struct mcp_post *p)
{
	enum mcp_stage stage = p->stage;
	bool modern = stage == MCP_STAGE_DISCOVER || (stage >= MCP_STAGE_REQUEST && s->era == MCP_ERA_MODERN);

	add_line(l, stage == MCP_STAGE_RESUME ? "Accept: text/event-stream"
	                                      : "Accept: application/json, text/event-stream");
	if (modern) {
		add_line(l, MCP_HEADER_VERSION ": " MCP_VERSION);
		add_made(l, MCP_HEADER_METHOD, stage == MCP_STAGE_DISCOVER ? "server/discover" : p->method, true);
	} else if (stage != MCP_STAGE_INITIALIZE) {
		add_made(l, MCP_HEADER_VERSION, s->version, false);
		if (s->id != NULL)
			add_made(l, MCP_HEADER_SESSION, s->id, false);
	}
	if (modern && stage == MCP_STAGE_REQUEST && p->name != NULL)
		add_made(l, MCP_HEADER_NAME, p->name, true);
	if (stage == MCP_STAGE_RESUME)
		add_made(l, "Last-Event-ID", p->last_event, false);
	for (char *const *h = p->headers; modern && stage == MCP_STAGE_REQUEST && h != NULL && *h != NULL; h++)
		add_line(l, *h);
	for (char *const *h = p->labels; h != NULL && *h != NULL; h++)
		add_line(l, *h);
}

/* ---- transfers ----------------------------------------------------------------------------------------- */

/* What is the same in all of them. */
static struct http_request request_to(const struct mcp_route *to, const char *method, const char *const *lines,
                                      const char *body)
{
	return (struct http_request){
		.method = method,
		.url = to->target.url,
		.bearer = to->target.bearer,
		.headers = (const char *const *)to->target.headers,
		.labels = lines,
		.body = body,
		.body_len = body != NULL ? strlen(body) : 0,
		.proxy = to->proxy,
		.socket = to->target.socket,
		.ca_file = to->target.ca_file,
		.connect_ms = CONNECT_MS,
	};
}

struct http_transfer *mcp_send(const struct mcp_route *to, const struct mcp_session *s, const struct mcp_post *p,
                               const struct http_handlers *handlers, void *arg)
{
	bool resumes = p->stage == MCP_STAGE_RESUME;
	json_t *message = resumes ? NULL : message_of(s, p);
	char *body = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
	struct http_transfer *transfer = NULL;
	struct lines lines = {.count = 0};

	add_lines(&lines, s, p);
	if (resumes || body != NULL) {
		struct http_request request = request_to(to, resumes ? "GET" : "POST", lines.at, body);

		request.once = p->stage == MCP_STAGE_REQUEST && !p->repeatable;
		transfer = http_start(to->http, &request, handlers, arg);
	}
	for (size_t i = 0; i < lines.made; i++)
		buf_free(&lines.texts[i]);
	free(body);
	json_decref(message);
	return transfer;
}

static void on_notice_done(void *arg, const struct http_result *r)
{
	(void)arg;
	(void)r;
}

void mcp_send_notice(const struct mcp_route *to, const struct mcp_session *s, json_t *message)
{
	static const struct http_handlers handlers = {.done = on_notice_done};
	char version[64], session[MCP_SESSION_MAX + 40];
	const char *const lines[] = {"Accept: application/json, text/event-stream", version,
	                             s->id != NULL ? session : NULL, NULL};
	char *body = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
	struct http_request request = request_to(to, message != NULL ? "POST" : "DELETE", lines, body);

	request.connect_ms = NOTICE_MS;
	request.total_ms = NOTICE_MS;
	snprintf(version, sizeof version, MCP_HEADER_VERSION ": %s", s->version);
	if (s->id != NULL)
		snprintf(session, sizeof session, MCP_HEADER_SESSION ": %s", s->id);
	if (message == NULL || body != NULL)
		http_start(to->http, &request, &handlers, NULL);
	free(body);
	json_decref(message);
}
