/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/e2b_api.h"

#include "core/base/log.h"
#include "core/http/http_proxy.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_LIMIT     (1u << 20)
#define CONNECT_MS       10000
#define CREATE_MS        60000
#define UPDATE_MS        20000
#define TEMPLATE         "code-interpreter-v1"
#define INTERPRETER_PORT "49999"

/* ---- URLs and headers --------------------------------------------------------------- */

static char *below(const char *base, const char *path)
{
	size_t len = strlen(base);
	char *url;

	while (len > 0 && base[len - 1] == '/')
		len--;
	return asprintf(&url, "%.*s%s", (int)len, base, path) < 0 ? NULL : url;
}

static char *api_url(const struct config *c, const char *path)
{
	const char *base = cfg_str(c, CFG_CODE_E2B_URL);
	char *url;

	if (base != NULL)
		return below(base, path);
	return asprintf(&url, "https://api.%s%s", cfg_str(c, CFG_CODE_E2B_DOMAIN), path) < 0 ? NULL : url;
}

static char *execute_url(const struct config *c, const struct e2b_handle *h)
{
	const char *base = cfg_str(c, CFG_CODE_E2B_SANDBOX_URL);
	const char *domain = h->domain != NULL ? h->domain : cfg_str(c, CFG_CODE_E2B_DOMAIN);
	char *url;

	if (base != NULL)
		return below(base, "/execute");
	return asprintf(&url, "https://" INTERPRETER_PORT "-%s.%s/execute", h->id, domain) < 0 ? NULL : url;
}

static char *header(const char *name, const char *value)
{
	char *line;

	return value == NULL || asprintf(&line, "%s: %s", name, value) < 0 ? NULL : line;
}

/* ---- sandboxes ---------------------------------------------------------------------- */

/* A request to the API; NULL: no memory. */
static struct http_transfer *send_request(struct http *http, const struct config *c, struct http_request *request,
                                          const char *path, const struct http_handlers *handlers, void *arg)
{
	char *url = api_url(c, path), *key = header("X-API-KEY", cfg_str(c, CFG_CODE_E2B_KEY));
	const char *headers[] = {key, NULL};
	struct http_transfer *t = NULL;

	request->url = url;
	request->proxy = url != NULL ? http_proxy_for(c, url) : NULL;
	request->headers = headers;
	request->body_len = request->body == NULL ? 0 : strlen(request->body);
	request->connect_ms = CONNECT_MS;
	request->collect_limit = ANSWER_LIMIT;
	request->ca_file = cfg_str(c, CFG_CLOUD_CA_FILE);
	if (url != NULL && key != NULL)
		t = http_start(http, request, handlers, arg);
	free(url);
	free(key);
	return t;
}

/* E2B ends a sandbox after its longest run and the time that it may idle after that. */
static long long lifetime_s(const struct config *c)
{
	return (long long)((cfg_ms(c, CFG_CODE_IDLE) + cfg_ms(c, CFG_CODE_TIMEOUT)) / 1000 + 1);
}

struct http_transfer *e2b_api_create(const struct tool_context *ctx, const struct http_handlers *handlers, void *arg)
{
	const struct config *c = ctx->config;
	char body[200];

	snprintf(body, sizeof body,
	         "{\"templateID\":\"" TEMPLATE "\",\"timeout\":%lld,\"secure\":true,\"allow_internet_access\":%s}",
	         lifetime_s(c), cfg_bool(c, CFG_CODE_INTERNET) ? "true" : "false");
	return send_request(
		ctx->http, c,
		&(struct http_request){.method = "POST", .body = body, .labels = ctx->labels, .total_ms = CREATE_MS},
		"/sandboxes", handlers, arg);
}

static void on_updated(void *arg, const struct http_result *h)
{
	(void)arg;
	if (h->outcome != HTTP_DONE || (h->status != 204 && h->status != 404))
		log_event(LOG_SANDBOX_NOT_UPDATED, L_INT("status", h->status),
		          L_STR("why", http_outcome_text(h->outcome)));
}

static const struct http_handlers update_handlers = {.done = on_updated};

void e2b_api_kill(struct http *http, const struct config *c, const char *id)
{
	char path[300];

	if (cfg_str(c, CFG_CODE_E2B_KEY) == NULL)
		return;
	snprintf(path, sizeof path, "/sandboxes/%s", id);
	send_request(http, c, &(struct http_request){.method = "DELETE", .total_ms = UPDATE_MS}, path, &update_handlers,
	             NULL);
}

void e2b_api_extend(const struct tool_context *ctx, const char *id)
{
	char path[300], body[64];

	snprintf(path, sizeof path, "/sandboxes/%s/timeout", id);
	snprintf(body, sizeof body, "{\"timeout\":%lld}", lifetime_s(ctx->config));
	send_request(
		ctx->http, ctx->config,
		&(struct http_request){.method = "POST", .body = body, .labels = ctx->labels, .total_ms = UPDATE_MS},
		path, &update_handlers, NULL);
}

/* ---- running code -------------------------------------------------------------------- */

struct http_transfer *e2b_api_execute(const struct tool_context *ctx, const struct e2b_handle *handle, const char *code,
                                      const struct http_handlers *handlers, void *arg)
{
	const struct config *c = ctx->config;
	json_t *json = json_pack("{s:s, s:n, s:n, s:n}", "code", code, "context_id", "language", "env_vars");
	char *body = json == NULL ? NULL : json_dumps(json, JSON_COMPACT), *url = execute_url(c, handle);
	char *lines[] = {header("E2b-Sandbox-Id", handle->id), header("E2b-Sandbox-Port", INTERPRETER_PORT),
	                 header("X-Access-Token", handle->access_token),
	                 header("E2B-Traffic-Access-Token", handle->traffic_token)};
	const size_t count = sizeof lines / sizeof lines[0];
	const char *headers[sizeof lines / sizeof lines[0] + 1] = {NULL};
	struct http_request request = {.method = "POST",
	                               .url = url,
	                               .headers = headers,
	                               .labels = ctx->labels,
	                               .body = body,
	                               .body_len = body == NULL ? 0 : strlen(body),
	                               .connect_ms = CONNECT_MS,
	                               .total_ms = cfg_ms(c, CFG_CODE_TIMEOUT),
	                               .once = true,
	                               .ca_file = cfg_str(c, CFG_CLOUD_CA_FILE)};
	struct http_transfer *t = NULL;

	for (size_t i = 0, n = 0; i < count; i++)
		if (lines[i] != NULL)
			headers[n++] = lines[i];
	if (url != NULL && body != NULL && lines[0] != NULL) {
		request.proxy = http_proxy_for(c, url);
		t = http_start(ctx->http, &request, handlers, arg);
	}
	for (size_t i = 0; i < count; i++)
		free(lines[i]);
	free(url);
	free(body);
	json_decref(json);
	return t;
}

/* ---- answers -------------------------------------------------------------------------- */

void e2b_handle_clear(struct e2b_handle *h)
{
	free(h->id);
	free(h->domain);
	free(h->access_token);
	free(h->traffic_token);
	memset(h, 0, sizeof *h);
}

/* A member that is safe in URLs and headers; NULL: it is missing or is not. */
static char *word(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	if (text == NULL || *text == '\0' || strlen(text) > 4096 ||
	    text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+=:")] != '\0')
		return NULL;
	return strdup(text);
}

int e2b_handle_read(struct e2b_handle *h, const char *body, size_t len)
{
	json_t *answer = json_loadb(body, len, 0, NULL);

	e2b_handle_clear(h);
	h->id = word(answer, "sandboxID");
	h->domain = word(answer, "domain");
	h->access_token = word(answer, "envdAccessToken");
	h->traffic_token = word(answer, "trafficAccessToken");
	json_decref(answer);
	if (h->id != NULL && strlen(h->id) <= 200)
		return 0;
	e2b_handle_clear(h);
	return -1;
}

void e2b_api_failure(const struct http_result *h, const char *what, struct err *e)
{
	json_t *error = h->body_len == 0 ? NULL : json_loadb(h->body, h->body_len, 0, NULL);
	const char *message = json_string_value(json_object_get(error, "message"));

	if (h->outcome != HTTP_DONE)
		err_set(e, "%s: %s", what, http_outcome_text(h->outcome));
	else
		err_set(e, "%s: HTTP %ld%s%s", what, h->status, message == NULL ? "" : ", ",
		        message == NULL ? "" : message);
	log_event(LOG_SANDBOX_FAILED, L_STR("what", what), L_INT("status", h->status),
	          L_STR("outcome", http_outcome_text(h->outcome)));
	json_decref(error);
}
