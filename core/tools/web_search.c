/* SPDX-License-Identifier: Apache-2.0 */
/* Web search: the services of search.order, one after the other until one answers. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/http/http_proxy.h"
#include "core/tools/search_service.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_LIMIT (4u << 20)
#define QUERY_MAX    400 /* Brave's limit; longer questions find nothing anyway */

/* A service that failed is in cooldown: it is tried last for a while, so that a search does
 * not pay for the same timeout again and again. A new configuration (a new key) ends it. */
struct cooldowns {
	struct config *config;
	int64_t until_ms[SEARCH_SERVICES_COUNT]; /* CLOCK_MONOTONIC */
};

struct tool_run {
	struct cooldowns *cooldowns;
	const struct config *config;
	struct http *http;
	const char *const *labels;
	struct background *background;
	struct background_job *parsing; /* NULL: none */
	tool_done_fn *done;
	void *arg;
	struct event *begin; /* done is never called from within start */
	struct http_transfer *transfer;
	size_t service; /* that is tried now */
	bool tried[SEARCH_SERVICES_COUNT];
	char *query;
	struct err failure; /* of the last service that failed */
};

static void try_next(struct tool_run *r);

/* ---- cooldown --------------------------------------------------------------------- */

static void begin_cooldown(struct tool_run *r, int64_t retry_after_s)
{
	int64_t ms = cfg_ms(r->config, CFG_SEARCH_COOLDOWN);

	if (r->cooldowns->config != r->config) {
		config_unref(r->cooldowns->config);
		memset(r->cooldowns, 0, sizeof *r->cooldowns);
		r->cooldowns->config = config_ref((struct config *)(uintptr_t)r->config);
	}
	if (ms > 0 && retry_after_s > 0 && retry_after_s < 86400 && retry_after_s * 1000 > ms)
		ms = retry_after_s * 1000;
	r->cooldowns->until_ms[r->service] = clock_mono_ms() + ms;
}

static bool in_cooldown(const struct tool_run *r, size_t service)
{
	return r->cooldowns->config == r->config && clock_mono_ms() < r->cooldowns->until_ms[service];
}

/* ---- the end of a run -------------------------------------------------------------- */

static void run_free(struct tool_run *r)
{
	if (r->begin != NULL)
		event_free(r->begin);
	free(r->query);
	free(r);
}

static void end_run(struct tool_run *r, struct tool_result *result)
{
	r->done(r->arg, result);
	tool_result_clear(result);
	run_free(r);
}

static void end_failed(struct tool_run *r)
{
	struct tool_result result = {.failed = true};

	if (asprintf(
		    &result.text,
		    "Error: the web search failed (%s). Answer with what you know and say that the search did not work.",
		    err_is_set(&r->failure) ? r->failure.text : "no search service is configured") < 0)
		result.text = strdup("Error: the web search failed.");
	end_run(r, &result);
}

/* ---- requests --------------------------------------------------------------------- */

static void service_failed(struct tool_run *r, const char *why, int64_t retry_after_s)
{
	const char *name = search_services[r->service]->name;

	log_event(LOG_SEARCH_FAILED, L_STR("service", name), L_STR("why", why));
	begin_cooldown(r, retry_after_s);
	err_clear(&r->failure);
	err_set(&r->failure, "%s: %s", name, why);
	try_next(r);
}

/* ---- a long answer is parsed in the background ---- */

struct long_answer {
	struct tool_run *run;
	const struct search_service *service;
	struct config *config;
	char *body;
	size_t len;
	int status; /* of search_service_result */
	struct tool_result result;
	struct err err;
};

static void long_answer_free(void *arg)
{
	struct long_answer *a = arg;

	tool_result_clear(&a->result);
	config_unref(a->config);
	free(a->body);
	free(a);
}

static void parse_long_answer(void *arg)
{
	struct long_answer *a = arg;

	a->status = search_service_result(a->service, a->config, a->body, a->len, &a->result, &a->err);
}

static void on_parsed(void *arg)
{
	struct long_answer *a = arg;
	struct tool_run *r = a->run;
	struct tool_result result = a->result;
	const struct err e = a->err;
	bool found = a->status == 0;

	r->parsing = NULL;
	if (found)
		memset(&a->result, 0, sizeof a->result); /* it is moved */
	long_answer_free(a);
	if (found)
		end_run(r, &result);
	else
		service_failed(r, e.text, -1);
}

static bool parse_in_background(struct tool_run *r, const struct http_result *h)
{
	static const struct background_work work = {
		.run = parse_long_answer, .done = on_parsed, .drop = long_answer_free};
	struct long_answer *a = calloc(1, sizeof *a);

	if (a == NULL)
		return false;
	*a = (struct long_answer){.run = r,
	                          .service = search_services[r->service],
	                          .config = config_ref((struct config *)(uintptr_t)r->config),
	                          .body = malloc(h->body_len),
	                          .len = h->body_len,
	                          .err = ERR_INIT};
	if (a->body != NULL) {
		memcpy(a->body, h->body, h->body_len);
		r->parsing = background_start(r->background, &work, a);
	}
	if (r->parsing == NULL)
		long_answer_free(a);
	return r->parsing != NULL;
}

static void on_done(void *arg, const struct http_result *h)
{
	struct tool_run *r = arg;
	struct tool_result result = {.failed = false};
	struct err e = ERR_INIT;
	char status[32];

	r->transfer = NULL;
	if (h->outcome != HTTP_DONE || h->status != 200) {
		snprintf(status, sizeof status, "HTTP %ld", h->status);
		service_failed(r, h->outcome != HTTP_DONE ? http_outcome_text(h->outcome) : status, h->retry_after_s);
	} else if (r->background != NULL && h->body_len > BACKGROUND_MIN && parse_in_background(r, h)) {
		return;
	} else if (search_service_result(search_services[r->service], r->config, h->body, h->body_len, &result, &e) <
	           0) {
		tool_result_clear(&result);
		service_failed(r, e.text, -1);
	} else {
		end_run(r, &result);
	}
}

static int send_request(struct tool_run *r)
{
	static const struct http_handlers handlers = {.done = on_done};
	struct search_request q = {.method = NULL};
	const char *headers[] = {NULL, NULL, NULL};
	struct http_request request = {
		.headers = headers,
		.labels = r->labels,
		.connect_ms = cfg_ms(r->config, CFG_SEARCH_TIMEOUT),
		.total_ms = cfg_ms(r->config, CFG_SEARCH_TIMEOUT),
		.collect_limit = ANSWER_LIMIT,
		.ca_file = cfg_str(r->config, CFG_CLOUD_CA_FILE),
	};

	if (search_services[r->service]->request(r->config, r->query, &q) == 0) {
		headers[0] = "Accept: application/json";
		headers[1] = q.header;
		request.method = q.method;
		request.url = q.url;
		request.proxy = http_proxy_for(r->config, q.url);
		request.bearer = q.bearer;
		request.body = q.body;
		request.body_len = q.body == NULL ? 0 : strlen(q.body);
		r->transfer = http_start(r->http, &request, &handlers, r);
	}
	search_request_clear(&q);
	return r->transfer == NULL ? -1 : 0;
}

/* Its place in search_services; SEARCH_SERVICES_COUNT: it is not enabled. */
static size_t find_enabled(const struct config *c, const char *name)
{
	size_t i = 0;

	while (i < SEARCH_SERVICES_COUNT && strcmp(search_services[i]->name, name) != 0)
		i++;
	return i < SEARCH_SERVICES_COUNT && search_service_enabled(search_services[i], c) ? i : SEARCH_SERVICES_COUNT;
}

/* The next service of search.order; those in cooldown come after the others. */
static bool choose(struct tool_run *r)
{
	const struct cfg_list *order = cfg_list(r->config, CFG_SEARCH_ORDER);

	for (int cooldown_too = 0; cooldown_too <= 1; cooldown_too++) {
		for (size_t i = 0; i < order->count; i++) {
			size_t n = find_enabled(r->config, order->items[i]);

			if (n == SEARCH_SERVICES_COUNT || r->tried[n] || (!cooldown_too && in_cooldown(r, n)))
				continue;
			r->tried[n] = true;
			r->service = n;
			return true;
		}
	}
	return false;
}

static void try_next(struct tool_run *r)
{
	while (choose(r)) {
		if (send_request(r) == 0)
			return;
		err_clear(&r->failure);
		err_set(&r->failure, "%s: no memory", search_services[r->service]->name);
	}
	end_failed(r);
}

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	struct tool_run *r = arg;

	(void)fd;
	(void)what;
	if (r->query == NULL) {
		struct tool_result result = {
			.failed = true,
			.text = strdup(
				"Error: the argument query is missing or empty. Call the tool again with {\"query\": \"...\"}."),
		};
		end_run(r, &result);
		return;
	}
	try_next(r);
}

/* ---- the tool --------------------------------------------------------------------- */

/* The query, cut at a code point; NULL where there is none. */
static char *query_of(const json_t *args)
{
	const char *query = json_string_value(json_object_get(args, "query"));

	if (query == NULL || query[strspn(query, " \t\r\n")] == '\0')
		return NULL;
	return strndup(query, utf8_cut(query, QUERY_MAX));
}

static struct tool_run *start(void *state, const struct tool_context *ctx, const json_t *args, tool_done_fn *done,
                              void *arg)
{
	struct tool_run *r = calloc(1, sizeof *r);

	if (r == NULL || state == NULL) {
		free(r);
		return NULL;
	}
	r->cooldowns = state;
	r->config = ctx->config;
	r->http = ctx->http;
	r->labels = ctx->labels;
	r->background = ctx->background;
	r->done = done;
	r->arg = arg;
	r->query = query_of(args);
	r->begin = event_new(ctx->base, -1, 0, on_begin, r);
	if (r->begin == NULL) {
		run_free(r);
		return NULL;
	}
	event_active(r->begin, EV_TIMEOUT, 0);
	return r;
}

static void cancel(struct tool_run *r)
{
	if (r->transfer != NULL)
		http_cancel(r->transfer);
	if (r->parsing != NULL)
		background_cancel(r->parsing);
	run_free(r);
}

static void *open_state(struct event_base *base, const char *dir)
{
	(void)base;
	(void)dir;
	return calloc(1, sizeof(struct cooldowns));
}

static void close_state(void *state)
{
	struct cooldowns *c = state;

	if (c != NULL)
		config_unref(c->config);
	free(c);
}

static bool available(const struct config *c)
{
	const struct cfg_list *order = cfg_list(c, CFG_SEARCH_ORDER);

	for (size_t i = 0; i < order->count; i++)
		if (find_enabled(c, order->items[i]) != SEARCH_SERVICES_COUNT)
			return true;
	return false;
}

/* TT-Studio and its prompts know this name, whichever service answers. */
const struct tool tool_web_search = {
	.name = "tavily_search_results_json",
	.description =
		"Searches the web. Use it for recent events, facts that change, local information and anything you "
		"are not sure of. Returns titles, addresses and excerpts of pages.",
	.parameters =
		"{\"properties\":{\"query\":{\"description\":\"What to search for, as one would type it into a search "
		"engine\",\"type\":\"string\"}},\"required\":[\"query\"],\"type\":\"object\"}",
	.progress = "Searching",
	.subject = "query",
	.available = available,
	.start = start,
	.cancel = cancel,
	.open = open_state,
	.close = close_state,
};
