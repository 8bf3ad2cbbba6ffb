/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/mcp_reply.h"

#include "core/base/buf.h"
#include "core/base/json_text.h"
#include "core/mcp/mcp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EVENTS_TYPE "text/event-stream"
#define JSON_TYPE   "application/json"

/* ---- what a client accepts ---- */

static bool matches(const char *range, size_t len, const char *type)
{
	size_t family = strcspn(type, "/") + 1;

	if (len == 3 && memcmp(range, "*/*", 3) == 0)
		return true;
	if (len == family + 1 && range[family] == '*' && strncasecmp(range, type, family) == 0)
		return true;
	return len == strlen(type) && strncasecmp(range, type, len) == 0;
}

/* "q=0", or 0.0: not at all. */
static bool is_refused(const char *parameters, size_t len)
{
	for (const char *p = parameters, *end = parameters + len; p < end; p++) {
		p += strspn(p, "; \t");
		if (p + 2 < end && (*p == 'q' || *p == 'Q') && p[1] == '=')
			return strtod(p + 2, NULL) <= 0;
		while (p < end && *p != ';')
			p++;
	}
	return false;
}

bool mcp_reply_accepts(const char *accept, bool *json, bool *events)
{
	size_t len, type;

	*json = *events = accept == NULL || accept[strspn(accept, " \t")] == '\0';
	for (; accept != NULL && *accept != '\0'; accept += len + (accept[len] == ',')) {
		accept += strspn(accept, " \t");
		len = strcspn(accept, ",");
		type = strcspn(accept, ",; \t");
		if (is_refused(accept + type, len - type))
			continue;
		*json |= matches(accept, type, JSON_TYPE);
		*events |= matches(accept, type, EVENTS_TYPE);
	}
	return *json || *events;
}

/* ---- its life ---- */

void mcp_reply_init(struct mcp_reply *r, struct output *o, struct mcp_message *m, bool takes_json, bool takes_events)
{
	*r = (struct mcp_reply){.output = o,
	                        .id = m->id,
	                        .progress_token = m->progress_token,
	                        .modern = m->modern,
	                        .takes_json = takes_json,
	                        .takes_events = takes_events};
	m->id = m->progress_token = NULL;
}

void mcp_reply_clear(struct mcp_reply *r)
{
	free(r->id);
	free(r->progress_token);
	memset(r, 0, sizeof *r);
}

json_t *mcp_reply_save(const struct mcp_reply *r)
{
	return json_pack("{s:s?, s:s?, s:b, s:b, s:b}", "id", r->id, "token", r->progress_token, "modern", r->modern,
	                 "json", r->takes_json, "events", r->takes_events);
}

int mcp_reply_restore(struct mcp_reply *r, struct output *o, const json_t *saved)
{
	const char *id = json_string_value(json_object_get(saved, "id"));
	const char *token = json_string_value(json_object_get(saved, "token"));

	*r = (struct mcp_reply){.output = o,
	                        .id = id != NULL ? strdup(id) : NULL,
	                        .progress_token = token != NULL ? strdup(token) : NULL,
	                        .modern = json_is_true(json_object_get(saved, "modern")),
	                        .takes_json = json_is_true(json_object_get(saved, "json")),
	                        .takes_events = json_is_true(json_object_get(saved, "events"))};
	if ((id == NULL || r->id != NULL) && (token == NULL || r->progress_token != NULL))
		return 0;
	mcp_reply_clear(r);
	return -1;
}

/* ---- before the answer ---- */

static void begin_stream(struct mcp_reply *r)
{
	if (!r->begun)
		output_head(r->output, 200, EVENTS_TYPE, "");
	r->begun = true;
}

/* A whole event; -1: no memory. */
static int send_event(struct mcp_reply *r, const char *text)
{
	char *event = NULL;
	int len = asprintf(&event, "event: message\ndata: %s\n\n", text);

	if (len < 0)
		return -1;
	begin_stream(r);
	output_write_frame(r->output, event, (size_t)len, "", 0);
	free(event);
	return 0;
}

void mcp_reply_progress(struct mcp_reply *r, const char *message)
{
	char memo[OUTPUT_MEMO_MAX], *text;

	if (!mcp_reply_wants_progress(r))
		return;
	text = mcp_server_progress(r->progress_token, r->progress + 1, message);
	if (text != NULL && send_event(r, text) == 0) {
		snprintf(memo, sizeof memo, "%llu", ++r->progress);
		output_remember(r->output, memo);
	}
	free(text);
}

void mcp_reply_beat(struct mcp_reply *r)
{
	static const char comment[] = ": the answer is still coming\n\n";

	if (!r->takes_events)
		return;
	begin_stream(r);
	output_write_frame(r->output, comment, sizeof comment - 1, "", 0);
}

void mcp_reply_resume(struct mcp_reply *r, const char *memo)
{
	r->begun = true;
	r->progress = strtoull(memo, NULL, 10); /* it only grows */
	output_remember(r->output, memo);
}

/* ---- the ends ---- */

/* Steals text; NULL: no memory. */
static void send_answer(struct mcp_reply *r, int status, const char *headers, char *text)
{
	static const char no_memory[] =
		"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32603,\"message\":\"Out of memory\"}}";
	const char *body = text != NULL ? text : no_memory;
	char *lines = NULL;

	if (!r->begun && (r->takes_json || status != 200 || text == NULL)) {
		if (asprintf(&lines, "%sContent-Length: %zu\r\n", headers, strlen(body)) < 0)
			lines = NULL;
		output_head(r->output, text != NULL ? status : 503, JSON_TYPE, lines != NULL ? lines : "");
		output_write_frame(r->output, body, strlen(body), "", 0);
		free(lines);
	} else if (text != NULL) { /* else the stream has no answer, which says that something went wrong */
		send_event(r, text);
	}
	free(text);
}

void mcp_reply_result(struct mcp_reply *r, json_t *result)
{
	send_answer(r, 200, "", mcp_server_result(r->id, r->modern, result));
}

void mcp_reply_error(struct mcp_reply *r, int status, const char *headers, int code, const char *message, json_t *data)
{
	send_answer(r, status, headers, mcp_server_error(r->id, code, message, data));
}

json_t *mcp_reply_text(const char *text, bool is_error, json_t *structured)
{
	return json_pack("{s:[{s:s, s:o}], s:b, s:o*}", "content", "type", "text", "text",
	                 json_text_value(text != NULL ? text : ""), "isError", is_error, "structuredContent",
	                 structured);
}
