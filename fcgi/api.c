/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/api.h"

#include "core/protocol/messages.h"
#include "core/protocol/openai.h"
#include "fcgi/gate.h"
#include "fcgi/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFLIGHT                                                                                                      \
	"Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS\r\n"                                                 \
	"Access-Control-Max-Age: 600\r\n"
#define EXPOSED                                                                                                        \
	"Access-Control-Expose-Headers: X-Request-Id, Retry-After, x-ratelimit-limit-requests, "                       \
	"x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "                       \
	"x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens\r\n"

/* Steals the error. */
static void respond(struct connection *c, int status, const char *headers, json_t *error)
{
	char *body = error != NULL ? json_dumps(error, JSON_COMPACT) : NULL;

	if (body != NULL)
		response_json_with(c, status, headers, body, strlen(body));
	else
		response_detail(c, 500, "", "Out of memory");
	free(body);
	json_decref(error);
}

void api_refuse(struct connection *c, int status, const char *headers, const char *text)
{
	respond(c, status, headers,
	        openai_error(text, status >= 500 ? "server_error" : "invalid_request_error", NULL,
	                     status == 404 ? "not_found" : NULL));
}

void api_fail_with(struct connection *c, enum failure why, const char *headers, const char *text)
{
	respond(c, openai_failure(why)->status, headers, openai_error_of(why, text));
}

void api_fail(struct connection *c, enum failure why, const char *text)
{
	api_fail_with(c, why, openai_failure(why)->headers, text);
}

const struct api_form api_openai = {
	.setting = CFG_HTTP_API,
	.off = "The OpenAI-compatible API is switched off (setting http.api)",
	.refuse = api_refuse,
};

static void messages_refuse(struct connection *c, int status, const char *headers, const char *text)
{
	respond(c, status, headers, messages_refusal(status, text));
}

const struct api_form api_messages = {
	.setting = CFG_HTTP_API,
	.off = "The API is switched off (setting http.api)",
	.refuse = messages_refuse,
};

void api_refuse_access(struct connection *c, const struct access_refusal *r)
{
	char headers[ACCESS_HEADERS_MAX];

	access_refusal_headers(r, headers);
	respond(c, r->status, headers, openai_error(r->message, r->type, NULL, r->code));
}

bool api_admits_origin(const struct config *config, const struct connection *c)
{
	const struct fcgi_request_params *p = connection_params(c);
	const struct cfg_list *origins = config != NULL ? cfg_list(config, CFG_HTTP_CORS_ORIGINS) : NULL;

	return p->origin != NULL && origins != NULL && gate_has_origin(p->origin, origins->items, origins->count);
}

/* Only letters, digits and -_ are in the names of headers that a page wants to send. */
static void add_cors_headers(const struct connection *c, char *out, size_t size, bool preflight)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ";
	const char *wanted = connection_header(c, "Access-Control-Request-Headers");

	if (wanted == NULL || strspn(wanted, allowed) != strlen(wanted) || strlen(wanted) > 1000)
		wanted = "authorization, content-type";
	snprintf(out, size, "Access-Control-Allow-Origin: %s\r\nVary: Origin\r\n%s%s%s%s", connection_params(c)->origin,
	         preflight ? PREFLIGHT "Access-Control-Allow-Headers: " : "", preflight ? wanted : "",
	         preflight ? "\r\n" : "", preflight ? "" : EXPOSED);
}

bool api_enter(struct worker *w, struct connection *c, const struct api_form *form)
{
	const struct config *config = published_config(worker_published(w));
	const char *method = connection_params(c)->method;
	bool is_preflight = method != NULL && strcmp(method, "OPTIONS") == 0;
	char headers[2048];

	if (config == NULL || !cfg_bool(config, form->setting)) {
		form->refuse(c, 404, "", form->off);
		return false;
	}
	if (api_admits_origin(config, c)) {
		add_cors_headers(c, headers, sizeof headers, is_preflight);
		connection_add_headers(c, headers);
	}
	if (is_preflight)
		response_empty(c, 204);
	return !is_preflight;
}
