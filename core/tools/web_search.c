/* SPDX-License-Identifier: Apache-2.0 */
/* Web search: the services of search.order, one after the other until one answers. */
#include "core/tools/web_search.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/config/features.h"
#include "core/tools/search_backend.h"
#include "core/tools/search_result.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_LIMIT (4u << 20)
#define QUERY_MAX    400 /* Brave's limit; longer questions find nothing anyway */

#define BACKENDS 3

static const struct search_backend *const backends[BACKENDS] = {&search_tavily, &search_searxng, &search_brave};

/* Services that failed are tried last for a while: a search does not pay for the same
 * timeout again and again. A new configuration (a new key) starts afresh. */
struct benches {
	struct config *config;
	int64_t until_ms[BACKENDS]; /* CLOCK_MONOTONIC */
};

struct tool_run {
	struct benches *benches;
	const struct config *config;
	struct http *http;
	tool_done_fn *done;
	void *arg;
	struct event *later; /* says a result that was there at once */
	struct http_transfer *transfer;
	size_t backend; /* that is asked */
	bool tried[BACKENDS];
	char *query;
	struct err why; /* of the last service that failed */
};

static void try_next(struct tool_run *r);

static size_t backend_named(const char *name)
{
	size_t i = 0;

	while (i < BACKENDS && strcmp(backends[i]->name, name) != 0)
		i++;
	return i;
}

static void bench(struct tool_run *r, int64_t retry_after_s)
{
	int64_t ms = cfg_ms(r->config, CFG_SEARCH_BENCH);

	if (r->benches->config != r->config) {
		config_unref(r->benches->config);
		memset(r->benches, 0, sizeof *r->benches);
		r->benches->config = config_ref((struct config *)(uintptr_t)r->config);
	}
	if (ms > 0 && retry_after_s > 0 && retry_after_s < 86400 && retry_after_s * 1000 > ms)
		ms = retry_after_s * 1000;
	r->benches->until_ms[r->backend] = clock_mono_ms() + ms;
}

static bool is_benched(const struct tool_run *r, size_t backend)
{
	return r->benches->config == r->config && clock_mono_ms() < r->benches->until_ms[backend];
}

static void run_free(struct tool_run *r)
{
	if (r->later != NULL)
		event_free(r->later);
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
		    err_is_set(&r->why) ? r->why.text : "no search service is configured") < 0)
		result.text = strdup("Error: the web search failed.");
	end_run(r, &result);
}

/* ---- asking one service ----------------------------------------------------------- */

static void failed(struct tool_run *r, const char *why, int64_t retry_after_s)
{
	const char *name = backends[r->backend]->name;

	log_warning("search_failed", L_STR("service", name), L_STR("why", why));
	bench(r, retry_after_s);
	err_clear(&r->why);
	err_set(&r->why, "%s: %s", name, why);
	try_next(r);
}

static void on_done(void *arg, const struct http_result *h)
{
	struct tool_run *r = arg;
	struct tool_result result = {.failed = false};
	struct err e = ERR_INIT;
	char status[32];

	r->transfer = NULL;
	snprintf(status, sizeof status, "HTTP %ld", h->status);
	if (h->outcome != HTTP_DONE || h->status != 200) {
		failed(r, h->outcome != HTTP_DONE ? http_outcome_text(h->outcome) : status, h->retry_after_s);
		return;
	}
	if (search_result(backends[r->backend], r->config, h->body, h->body_len, &result, &e) < 0) {
		tool_result_clear(&result);
		failed(r, e.text, -1);
		return;
	}
	end_run(r, &result);
}

static const struct http_handlers handlers = {.done = on_done};

static int ask(struct tool_run *r)
{
	struct search_request q = {.method = NULL};
	const char *headers[] = {NULL, NULL, NULL};
	struct http_request request = {
		.headers = headers,
		.connect_ms = cfg_ms(r->config, CFG_SEARCH_TIMEOUT),
		.total_ms = cfg_ms(r->config, CFG_SEARCH_TIMEOUT),
		.collect_limit = ANSWER_LIMIT,
		.ca_file = cfg_str(r->config, CFG_CLOUD_CA_FILE),
	};

	if (backends[r->backend]->request(r->config, r->query, &q) == 0) {
		headers[0] = "Accept: application/json";
		headers[1] = q.header;
		request.method = q.method;
		request.url = q.url;
		request.bearer = q.bearer;
		request.body = q.body;
		request.body_len = q.body == NULL ? 0 : strlen(q.body);
		r->transfer = http_start(r->http, &request, &handlers, r);
	}
	search_request_clear(&q);
	return r->transfer == NULL ? -1 : 0;
}

/* The first service in the order that was not tried; benched ones after the others. */
static bool choose(struct tool_run *r)
{
	const struct cfg_list *order = cfg_list(r->config, CFG_SEARCH_ORDER);

	for (int benched = 0; benched <= 1; benched++) {
		for (size_t i = 0; i < order->count; i++) {
			size_t n = backend_named(order->items[i]);

			if (n == BACKENDS || r->tried[n] || !features_search_service(r->config, backends[n]->name) ||
			    (!benched && is_benched(r, n)))
				continue;
			r->tried[n] = true;
			r->backend = n;
			return true;
		}
	}
	return false;
}

static void try_next(struct tool_run *r)
{
	while (choose(r)) {
		if (ask(r) == 0)
			return;
		err_clear(&r->why);
		err_set(&r->why, "%s: no memory", backends[r->backend]->name);
	}
	end_failed(r);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
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
	r->benches = state;
	r->config = ctx->config;
	r->http = ctx->http;
	r->done = done;
	r->arg = arg;
	r->query = query_of(args);
	r->later = event_new(ctx->base, -1, 0, on_later, r);
	if (r->later == NULL) {
		run_free(r);
		return NULL;
	}
	event_active(r->later, EV_TIMEOUT, 0);
	return r;
}

static void cancel(struct tool_run *r)
{
	if (r->transfer != NULL)
		http_cancel(r->transfer);
	run_free(r);
}

static void *open_state(struct event_base *base, const char *dir)
{
	(void)base;
	(void)dir;
	return calloc(1, sizeof(struct benches));
}

static void close_state(void *state)
{
	struct benches *b = state;

	if (b != NULL)
		config_unref(b->config);
	free(b);
}

const struct tool tool_web_search = {
	.name = FEATURE_WEB_SEARCH,
	.description =
		"Searches the web. Use it for recent events, facts that change, local information and anything you "
		"are not sure of. Returns titles, addresses and excerpts of pages.",
	.parameters =
		"{\"properties\":{\"query\":{\"description\":\"What to search for, as one would type it into a search "
		"engine\",\"type\":\"string\"}},\"required\":[\"query\"],\"type\":\"object\"}",
	.shows = TOOL_SHOWS_SEARCH,
	.available = features_web_search,
	.start = start,
	.cancel = cancel,
	.open = open_state,
	.close = close_state,
};
