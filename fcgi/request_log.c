/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/request_log.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 20

struct request_log {
	int64_t began_ns;
	int status; /* 0: no response yet */
	enum request_outcome outcome;
	bool is_turn;
	char client[46], method[16];
	char path[256], model[128], replica[128], reason[300]; /* cut, where one is longer */
	const char *turn;
	char trace_id[33];
	int64_t tokens;
	double ttft, queue_ms;
	unsigned tool_runs, failovers;
};

static void copy_text(char *to, size_t size, const char *text)
{
	if (text != NULL)
		snprintf(to, size, "%.*s", (int)utf8_cut(text, size - 1), text);
}

/* The path of a request's target, without a query, or a scheme, user and host before it. */
static void copy_path(char *to, size_t size, const struct fcgi_request_params *p)
{
	const char *uri = p->request_uri != NULL ? p->request_uri : p->path_info != NULL ? p->path_info : "";
	size_t len = strcspn(uri, "?#");
	const char *scheme = memmem(uri, len, "://", 3);

	if (uri[0] != '/' && scheme != NULL) {
		const char *host = scheme + 3, *slash = memchr(host, '/', len - (size_t)(host - uri));

		len = slash != NULL ? len - (size_t)(slash - uri) : 0;
		uri = slash;
	}
	snprintf(to, size, "%.*s", (int)(len < size ? len : size - 1), len > 0 ? uri : "");
}

struct request_log *request_log_new(const struct fcgi_request_params *p)
{
	struct request_log *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->began_ns = clock_mono_ns();
	l->ttft = l->queue_ms = (double)NAN;
	copy_text(l->client, sizeof l->client, p->remote_addr);
	copy_text(l->method, sizeof l->method, p->method);
	copy_path(l->path, sizeof l->path, p);
	return l;
}

void request_log_status(struct request_log *l, int status)
{
	if (l != NULL)
		l->status = status;
}

void request_log_broke_off(struct request_log *l)
{
	if (l != NULL)
		l->outcome = REQUEST_BROKE_OFF;
}

void request_log_refused(struct request_log *l, const char *why)
{
	if (l == NULL)
		return;
	l->outcome = REQUEST_REFUSED;
	copy_text(l->reason, sizeof l->reason, why);
}

void request_log_turn(struct request_log *l, const struct turn_summary *s)
{
	if (l == NULL)
		return;
	l->is_turn = true;
	l->turn = s->status;
	l->tokens = s->tokens;
	l->ttft = s->ttft;
	l->queue_ms = s->queue_ms;
	l->tool_runs = s->tool_runs;
	l->failovers = s->failovers;
	copy_text(l->trace_id, sizeof l->trace_id, s->trace_id);
	copy_text(l->model, sizeof l->model, s->model);
	copy_text(l->replica, sizeof l->replica, s->replica);
	copy_text(l->reason, sizeof l->reason, s->reason);
	if (strcmp(s->status, "broken") == 0)
		l->outcome = REQUEST_BROKE_OFF;
	else if (strcmp(s->status, "refused") == 0)
		l->outcome = REQUEST_REFUSED;
}

static const char *known(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

void request_log_end(struct request_log *l, const char *request_id, size_t bytes, bool whole)
{
	static const char *const outcomes[] = {[REQUEST_WHOLE] = "whole",
	                                       [REQUEST_CANCELLED] = "cancelled",
	                                       [REQUEST_BROKE_OFF] = "broke_off",
	                                       [REQUEST_REFUSED] = "refused"};

	if (l == NULL)
		return;
	const struct log_field fields[] = {
		L_STR("request_id", request_id),
		L_STR("client", known(l->client)),
		L_STR("method", known(l->method)),
		L_STR("path", l->path),
		L_INT("status", l->status),
		L_INT("bytes", bytes),
		L_REAL("duration", (double)(clock_mono_ns() - l->began_ns) / 1e9),
		L_STR("outcome", outcomes[whole ? l->outcome : REQUEST_CANCELLED]),
		L_STR("reason", known(l->reason)),
		/* of a chat turn */
		L_STR("turn", l->turn),
		L_STR("trace_id", known(l->trace_id)),
		L_STR("model", known(l->model)),
		L_STR("replica", known(l->replica)),
		L_REAL("ttft", l->ttft),
		L_REAL("queue_ms", l->queue_ms),
		L_INT("tokens", l->tokens),
		L_INT("tools", l->tool_runs),
		L_INT("failovers", l->failovers),
	};

	log_fields(LOG_REQUEST, fields, sizeof fields / sizeof fields[0] - (l->is_turn ? 0 : 8));
	free(l);
}
