/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/openai.h"

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
	[FAILURE_FORBIDDEN] = {403, INVALID, "model_not_allowed", "model", ""},
	[FAILURE_FILTERED] = {400, INVALID, "content_filter", "messages", ""},
	[FAILURE_BUSY] = {429, "requests", "rate_limit_exceeded", NULL, SOON},
	[FAILURE_UNAVAILABLE] = {503, SERVER, "service_unavailable", NULL, SOON},
	[FAILURE_SETUP] = {503, SERVER, "service_misconfigured", NULL, NEVER},
	[FAILURE_UPSTREAM] = {502, SERVER, "upstream_error", NULL, ""},
	[FAILURE_TIME] = {504, SERVER, "timeout", NULL, NEVER},
};

const struct openai_failure *openai_failure(enum failure why)
{
	return &failures[why];
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
