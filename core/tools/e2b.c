#include "core/tools/e2b.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SANDBOXES_MAX  256
#define ANSWER_LIMIT   (1u << 20)
#define SWEEP_S        10
#define TEMPLATE       "code-interpreter-v1"
#define INTERPRETER_PORT "49999"

/* A sandbox; its thread is "" while the slot is free. */
struct sandbox {
	char *thread;
	char *id, *domain;
	char *access_token, *traffic_token; /* NULL: none was given */
	int64_t used_ms;                    /* CLOCK_MONOTONIC */
	unsigned running;
};

struct e2b {
	struct event *sweep;
	struct sandbox items[SANDBOXES_MAX];
	/* For killing idle ones: of the last run, alive as long as its worker. */
	struct http *http;
	struct config *config;
};

enum e2b_step { E2B_CREATE, E2B_EXECUTE };

struct e2b_run {
	struct e2b *owner;
	const struct tool_context *ctx;
	char *thread, *code;
	e2b_done_fn *done;
	void *arg;
	struct event *later;
	struct http_transfer *transfer;
	enum e2b_step step;
	struct sandbox *sandbox; /* it runs in */
	bool recreated;
	struct execution execution;
	char failure[300];
};

static void create(struct e2b_run *r);
static void execute(struct e2b_run *r);

/* ---- sandboxes -------------------------------------------------------------------- */

static void sandbox_clear(struct sandbox *s)
{
	free(s->thread);
	free(s->id);
	free(s->domain);
	free(s->access_token);
	free(s->traffic_token);
	memset(s, 0, sizeof *s);
}

static struct sandbox *sandbox_find(struct e2b *b, const char *thread)
{
	for (size_t i = 0; i < SANDBOXES_MAX; i++)
		if (b->items[i].thread != NULL && strcmp(b->items[i].thread, thread) == 0)
			return &b->items[i];
	return NULL;
}

static char *api_url(const struct config *c, const char *path)
{
	const char *base = cfg_str(c, CFG_CODE_E2B_URL);
	char *url;
	int n = base != NULL ? asprintf(&url, "%s%s", base, path)
			     : asprintf(&url, "https://api.%s%s", cfg_str(c, CFG_CODE_E2B_DOMAIN), path);

	return n < 0 ? NULL : url;
}

static void on_told(void *arg, const struct http_result *h)
{
	(void)arg;
	if (h->outcome != HTTP_DONE || (h->status != 204 && h->status != 404))
		log_warning("sandbox_not_told", L_INT("status", h->status), L_STR("why", h->text));
}

/* A request about one sandbox whose answer only the log needs: it outlives its caller. */
static void tell(struct http *http, const struct config *c, const char *method, const char *path, const char *body)
{
	static const struct http_handlers handlers = {.done = on_told};
	const char *headers[] = {NULL, NULL};
	char *url = api_url(c, path), *key = NULL;
	struct http_request request = {
		.method = method,
		.url = url,
		.headers = headers,
		.body = body,
		.body_len = body == NULL ? 0 : strlen(body),
		.connect_ms = 10000,
		.total_ms = 20000,
		.collect_limit = ANSWER_LIMIT,
		.ca_file = cfg_str(c, CFG_CLOUD_CA_FILE),
	};

	if (asprintf(&key, "X-API-KEY: %s", cfg_str(c, CFG_CODE_E2B_KEY)) < 0)
		key = NULL;
	headers[0] = key;
	if (url != NULL && key != NULL)
		http_start(http, &request, &handlers, NULL);
	free(url);
	free(key);
}

static void kill_sandbox(struct e2b *b, struct sandbox *s)
{
	char path[300];

	if (b->config != NULL && cfg_str(b->config, CFG_CODE_E2B_KEY) != NULL) {
		snprintf(path, sizeof path, "/sandboxes/%.200s", s->id);
		tell(b->http, b->config, "DELETE", path, NULL);
	}
	sandbox_clear(s);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct e2b *b = arg;
	int64_t now = clock_mono_ms();

	(void)fd;
	(void)what;
	for (size_t i = 0; i < SANDBOXES_MAX; i++) {
		struct sandbox *s = &b->items[i];

		if (s->thread != NULL && s->running == 0 && now - s->used_ms > cfg_ms(b->config, CFG_CODE_IDLE))
			kill_sandbox(b, s);
	}
}

struct e2b *e2b_new(struct event_base *base)
{
	const struct timeval every = {.tv_sec = SWEEP_S};
	struct e2b *b = calloc(1, sizeof *b);

	if (b == NULL)
		return NULL;
	b->sweep = event_new(base, -1, EV_PERSIST, on_sweep, b);
	if (b->sweep == NULL) {
		free(b);
		return NULL;
	}
	event_add(b->sweep, &every);
	return b;
}

void e2b_free(struct e2b *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < SANDBOXES_MAX; i++)
		sandbox_clear(&b->items[i]);
	event_free(b->sweep);
	config_unref(b->config);
	free(b);
}

/* A free slot; the longest unused sandbox gives way. NULL: all are running code. */
static struct sandbox *sandbox_slot(struct e2b *b)
{
	struct sandbox *oldest = NULL;

	for (size_t i = 0; i < SANDBOXES_MAX; i++) {
		struct sandbox *s = &b->items[i];

		if (s->thread == NULL)
			return s;
		if (s->running == 0 && (oldest == NULL || s->used_ms < oldest->used_ms))
			oldest = s;
	}
	if (oldest != NULL)
		kill_sandbox(b, oldest);
	return oldest;
}

/* ---- a run ------------------------------------------------------------------------ */

static void leave_sandbox(struct e2b_run *r)
{
	if (r->sandbox == NULL)
		return;
	r->sandbox->running--;
	r->sandbox->used_ms = clock_mono_ms();
	r->sandbox = NULL;
}

static void run_free(struct e2b_run *r)
{
	leave_sandbox(r);
	if (r->later != NULL)
		event_free(r->later);
	execution_clear(&r->execution);
	free(r->thread);
	free(r->code);
	free(r);
}

static void end_run(struct e2b_run *r, const char *failure)
{
	r->done(r->arg, &r->execution, failure);
	run_free(r);
}

/* E2B's errors are {"code":N,"message":...}. */
static void fail_with(struct e2b_run *r, const char *what, const struct http_result *h)
{
	json_t *error = h->body_len == 0 ? NULL : json_loadb(h->body, h->body_len, 0, NULL);
	const char *message = json_string_value(json_object_get(error, "message"));
	char status[32];

	snprintf(status, sizeof status, "HTTP %ld", h->status);
	snprintf(r->failure, sizeof r->failure, "%s: %s", what,
	         message != NULL ? message : h->outcome == HTTP_DONE ? status : http_outcome_text(h->outcome));
	json_decref(error);
	log_warning("sandbox_failed", L_STR("what", what), L_INT("status", h->status),
	            L_STR("outcome", http_outcome_text(h->outcome)));
	end_run(r, r->failure);
}

static char *copied(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL || *text == '\0' ? NULL : strdup(text);
}

static void on_created(void *arg, const struct http_result *h)
{
	struct e2b_run *r = arg;
	struct sandbox *s;
	json_t *answer;

	r->transfer = NULL;
	if (h->outcome != HTTP_DONE || h->status != 201) {
		fail_with(r, "the sandbox could not be made", h);
		return;
	}
	answer = json_loadb(h->body, h->body_len, 0, NULL);
	s = sandbox_find(r->owner, r->thread); /* two runs of one answer made one each: both stay */
	if (s == NULL || s->running > 0)
		s = sandbox_slot(r->owner);
	if (s == NULL) {
		json_decref(answer);
		end_run(r, "too many sandboxes are running code; try again later");
		return;
	}
	sandbox_clear(s);
	s->thread = strdup(r->thread);
	s->id = copied(answer, "sandboxID");
	s->domain = copied(answer, "domain");
	s->access_token = copied(answer, "envdAccessToken");
	s->traffic_token = copied(answer, "trafficAccessToken");
	json_decref(answer);
	if (s->thread == NULL || s->id == NULL) {
		sandbox_clear(s);
		end_run(r, "the answer about the new sandbox has no sandboxID");
		return;
	}
	r->sandbox = s;
	s->running++;
	execute(r);
}

static void create(struct e2b_run *r)
{
	static const struct http_handlers handlers = {.done = on_created};
	const struct config *c = r->ctx->config;
	const char *headers[] = {NULL, NULL};
	char *url = api_url(c, "/sandboxes"), *key = NULL, *body = NULL;
	struct http_request request = {.method = "POST", .url = url, .headers = headers, .connect_ms = 10000,
	                               .total_ms = 60000, .collect_limit = ANSWER_LIMIT,
	                               .ca_file = cfg_str(c, CFG_CLOUD_CA_FILE)};

	r->step = E2B_CREATE;
	if (asprintf(&key, "X-API-KEY: %s", cfg_str(c, CFG_CODE_E2B_KEY)) < 0)
		key = NULL;
	if (asprintf(&body, "{\"templateID\":\"" TEMPLATE "\",\"timeout\":%lld,\"secure\":true,\"allow_internet_access\":%s}",
	             (long long)(cfg_ms(c, CFG_CODE_IDLE) / 1000 + cfg_ms(c, CFG_CODE_TIMEOUT) / 1000 + 1),
	             cfg_bool(c, CFG_CODE_INTERNET) ? "true" : "false") < 0)
		body = NULL;
	headers[0] = key;
	request.body = body;
	request.body_len = body == NULL ? 0 : strlen(body);
	if (url != NULL && key != NULL && body != NULL)
		r->transfer = http_start(r->ctx->http, &request, &handlers, r);
	free(url);
	free(key);
	free(body);
	if (r->transfer == NULL)
		end_run(r, "out of memory");
}

/* ---- running code ----------------------------------------------------------------- */

static bool on_response(void *arg, long status, const char *content_type)
{
	(void)arg;
	(void)content_type;
	return status == 200;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	execution_feed(&((struct e2b_run *)arg)->execution, bytes, len);
}

static bool vanished(const struct http_result *h)
{
	return h->status == 502 || h->status == 404 || h->outcome == HTTP_REFUSED || h->outcome == HTTP_NO_HOST ||
	       h->outcome == HTTP_RESET;
}

static void extend(struct e2b_run *r)
{
	const struct config *c = r->ctx->config;
	char path[300], body[64];

	snprintf(path, sizeof path, "/sandboxes/%.200s/timeout", r->sandbox->id);
	snprintf(body, sizeof body, "{\"timeout\":%lld}",
	         (long long)((cfg_ms(c, CFG_CODE_IDLE) + cfg_ms(c, CFG_CODE_TIMEOUT)) / 1000 + 1));
	tell(r->ctx->http, c, "POST", path, body);
}

static void on_executed(void *arg, const struct http_result *h)
{
	struct e2b_run *r = arg;
	const struct execution *x = &r->execution;

	r->transfer = NULL;
	if (h->outcome == HTTP_DONE && h->status == 200) {
		extend(r);
		end_run(r, NULL);
		return;
	}
	if (vanished(h) && x->out.len == 0 && x->results.len == 0) {
		struct sandbox *s = r->sandbox;

		leave_sandbox(r);
		if (s->running == 0)
			sandbox_clear(s);
		if (!r->recreated) {
			r->recreated = true;
			log_info("sandbox_vanished", L_STR("next", "made again"));
			create(r);
			return;
		}
	}
	if (h->outcome == HTTP_TIMEOUT) {
		end_run(r, "the code ran longer than is allowed and was stopped");
		return;
	}
	fail_with(r, "the code could not be run", h);
}

static char *execute_url(const struct config *c, const struct sandbox *s)
{
	const char *base = cfg_str(c, CFG_CODE_E2B_SANDBOX_URL);
	char *url;
	int n = base != NULL ? asprintf(&url, "%s/execute", base)
			     : asprintf(&url, "https://" INTERPRETER_PORT "-%s.%s/execute", s->id,
		                        s->domain != NULL ? s->domain : cfg_str(c, CFG_CODE_E2B_DOMAIN));

	return n < 0 ? NULL : url;
}

static char *header(const char *name, const char *value)
{
	char *line;

	return value == NULL || asprintf(&line, "%s: %s", name, value) < 0 ? NULL : line;
}

static void execute(struct e2b_run *r)
{
	static const struct http_handlers handlers = {.response = on_response, .data = on_data, .done = on_executed};
	const struct config *c = r->ctx->config;
	const struct sandbox *s = r->sandbox;
	json_t *json = json_pack("{s:s, s:n, s:n, s:n}", "code", r->code, "context_id", "language", "env_vars");
	char *body = json == NULL ? NULL : json_dumps(json, JSON_COMPACT), *url = execute_url(c, s);
	char *lines[4] = {header("E2b-Sandbox-Id", s->id), header("E2b-Sandbox-Port", INTERPRETER_PORT),
	                  header("X-Access-Token", s->access_token), header("E2B-Traffic-Access-Token", s->traffic_token)};
	const char *headers[5] = {NULL};
	struct http_request request = {.method = "POST", .url = url, .headers = headers, .body = body,
	                               .body_len = body == NULL ? 0 : strlen(body), .connect_ms = 10000,
	                               .total_ms = cfg_ms(c, CFG_CODE_TIMEOUT), .ca_file = cfg_str(c, CFG_CLOUD_CA_FILE)};

	r->step = E2B_EXECUTE;
	for (size_t i = 0, n = 0; i < 4; i++)
		if (lines[i] != NULL)
			headers[n++] = lines[i];
	if (url != NULL && body != NULL)
		r->transfer = http_start(r->ctx->http, &request, &handlers, r);
	for (size_t i = 0; i < 4; i++)
		free(lines[i]);
	free(url);
	free(body);
	json_decref(json);
	if (r->transfer == NULL)
		end_run(r, "out of memory");
}

/* ---- beginning -------------------------------------------------------------------- */

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct e2b_run *r = arg;

	(void)fd;
	(void)what;
	r->sandbox = sandbox_find(r->owner, r->thread);
	if (r->sandbox == NULL) {
		create(r);
		return;
	}
	r->sandbox->running++;
	execute(r);
}

struct e2b_run *e2b_start(struct e2b *b, const struct tool_context *ctx, const char *code, e2b_done_fn *done,
                          void *arg)
{
	struct e2b_run *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	execution_init(&r->execution, (size_t)cfg_int(ctx->config, CFG_CODE_OUTPUT_CHARS));
	*r = (struct e2b_run){.owner = b, .ctx = ctx, .thread = strdup(ctx->thread), .code = strdup(code), .done = done,
	                      .arg = arg, .execution = r->execution,
	                      .later = event_new(ctx->base, -1, 0, on_later, r)};
	if (r->thread == NULL || r->code == NULL || r->later == NULL) {
		run_free(r);
		return NULL;
	}
	b->http = ctx->http;
	if (b->config != ctx->config) {
		config_unref(b->config);
		b->config = config_ref((struct config *)(uintptr_t)ctx->config);
	}
	event_active(r->later, EV_TIMEOUT, 0);
	return r;
}

void e2b_cancel(struct e2b_run *r)
{
	if (r->transfer != NULL)
		http_cancel(r->transfer);
	run_free(r);
}
