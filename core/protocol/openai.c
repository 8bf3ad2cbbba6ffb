/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/openai.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define INVALID "invalid_request_error"
#define SERVER  "server_error"
#define SOON    "Retry-After: 2\r\n"
/* OpenAI's own clients try again after each 5xx, unless they are told not to. */
#define NEVER "x-should-retry: false\r\n"

static const struct openai_failure failures[FAILURES] = {
	[FAILURE_REQUEST] = {400, INVALID, NULL, NULL, ""},
	[FAILURE_OVERFLOW] = {400, INVALID, "context_length_exceeded", "messages", ""},
	[FAILURE_TOO_LARGE] = {413, INVALID, "request_too_large", NULL, ""},
	[FAILURE_MODEL] = {404, INVALID, "model_not_found", "model", ""},
	[FAILURE_PREVIOUS] = {404, INVALID, "previous_response_not_found", "previous_response_id", ""},
	[FAILURE_FORBIDDEN] = {403, INVALID, "model_not_allowed", "model", ""},
	[FAILURE_FILTERED] = {400, INVALID, "content_filter", "messages", ""},
	[FAILURE_BUSY] = {429, "requests", "rate_limit_exceeded", NULL, SOON},
	[FAILURE_FULL] = {429, "requests", "rate_limit_exceeded", NULL, SOON},
	[FAILURE_UNAVAILABLE] = {503, SERVER, "service_unavailable", NULL, SOON},
	[FAILURE_SETUP] = {503, SERVER, "service_misconfigured", NULL, NEVER},
	[FAILURE_UPSTREAM] = {502, SERVER, "upstream_error", NULL, ""},
	[FAILURE_TIME] = {504, SERVER, "timeout", NULL, NEVER},
};

const struct openai_failure *openai_failure(enum failure why)
{
	return &failures[why];
}

const char *openai_retry_header(const struct reply *r, const char *usual, char out[OPENAI_RETRY_MAX])
{
	if (r->retry_after_s == 0)
		return usual;
	snprintf(out, OPENAI_RETRY_MAX, "Retry-After: %u\r\n", r->retry_after_s);
	return out;
}

json_t *openai_error(const char *message, const char *type, const char *param, const char *code)
{
	return json_pack("{s:{s:s?, s:s?, s:s?, s:s?}}", "error", "message", message, "type", type, "param", param,
	                 "code", code);
}

json_t *openai_error_of(enum failure why, const char *message)
{
	const struct openai_failure *f = &failures[why];

	return openai_error(message, f->type, f->param, f->code);
}

void openai_new_key(char out[OPENAI_KEY + 1])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char random[OPENAI_KEY / 2];

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		memcpy(random, &(int64_t[2]){(int64_t)time(NULL), (int64_t)(uintptr_t)out}, sizeof random);
	for (size_t i = 0; i < sizeof random; i++) {
		*out++ = hex[random[i] >> 4];
		*out++ = hex[random[i] & 15];
	}
	*out = '\0';
}

void openai_add_extra(json_t *json, const struct call *call)
{
	json_t *extra = call->extra != NULL ? json_deep_copy(call->extra) : NULL;

	json_object_del(extra, "function");
	if (extra != NULL)
		json_object_update_missing(json, extra);
	json_decref(extra);
}

void openai_send_object(struct output *o, int status, const char *headers, json_t *json)
{
	static const char no_memory[] =
		"{\"error\":{\"message\":\"Out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
	const char *body = text != NULL ? text : no_memory;
	char *lines = NULL;

	if (asprintf(&lines, "%sContent-Length: %zu\r\n", headers, strlen(body)) < 0)
		lines = NULL;
	output_head(o, text != NULL ? status : 500, "application/json", lines != NULL ? lines : "");
	output_write_frame(o, body, strlen(body), "", 0);
	free(lines);
	free(text);
	json_decref(json);
}

size_t openai_error_event(char *out, size_t size, enum failure why, const char *message)
{
	json_t *error = openai_error_of(why, message);
	char *text = error != NULL ? json_dumps(error, JSON_COMPACT) : NULL;
	int n = snprintf(out, size, "data: %s\n\n",
	                 text != NULL ? text
	                              : "{\"error\":{\"message\":\"The answer broke off.\",\"type\":\"server_error\","
	                                "\"param\":null,\"code\":\"upstream_error\"}}");

	free(text);
	json_decref(error);
	return n < 0 || (size_t)n >= size ? 0 : (size_t)n;
}
