/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/document_search.h"

#include "core/base/buf.h"
#include "core/base/json_text.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/tools/tool.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH        "/collections/retrieve"
#define QUERY_MAX   1000 /* bytes */
#define SEPARATOR   "\n\n---\n\n"
#define RESULT_MAX  (16u << 20)
#define REPLACEMENT "\xef\xbf\xbd"

struct tool_run {
	const struct config *config;
	struct http *http;
	const char *const *labels;
	tool_done_fn *done;
	void *arg;
	struct event *begin; /* done is never called from within start */
	struct http_transfer *transfer;
	char *query; /* NULL: there is none */
};

/* ---- the request and its answer ------------------------------------------------------- */

char *document_search_url(const struct config *c)
{
	const char *backend = cfg_str(c, CFG_DISCOVERY_BACKEND_URL);
	size_t len = strlen(backend);
	char *url;

	while (len > 0 && backend[len - 1] == '/')
		len--;
	return asprintf(&url, "%.*s" PATH, (int)len, backend) < 0 ? NULL : url;
}

char *document_search_body(const struct config *c, const char *query)
{
	json_t *body = json_pack("{s:s, s:s}", "query_text", query, "collection", cfg_str(c, CFG_DOCUMENTS_COLLECTION));
	char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);

	json_decref(body);
	return text;
}

/* A vector database gives one list for each query, so a list within the list counts. */
static int take_documents(json_t *to, const json_t *list, unsigned depth)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *text = json_string_value(one);

		if (text != NULL && !utf8_is_blank(text) && json_array_append(to, (json_t *)(uintptr_t)one) < 0)
			return -1;
		if (depth == 0 && take_documents(to, one, 1) < 0)
			return -1;
	}
	return 0;
}

static json_t *load(const char *body, size_t len)
{
	json_t *answer = json_loadb(body, len, 0, NULL);
	struct buf repaired = BUF_INIT(3 * len);

	if (answer == NULL && json_text_repair(body, len, REPLACEMENT, &repaired) == 0)
		answer = json_loadb(repaired.data == NULL ? "" : repaired.data, repaired.len, 0, NULL);
	buf_free(&repaired);
	return answer;
}

json_t *document_search_read(const char *body, size_t len, struct err *e)
{
	json_t *answer = load(body, len), *list = json_object_get(answer, "documents"), *documents = NULL;

	if (answer == NULL)
		err_set(e, "the answer is not JSON");
	else if (!json_is_array(list))
		err_set(e, "the answer has no list of documents");
	else if ((documents = json_array()) == NULL || take_documents(documents, list, 0) < 0) {
		json_decref(documents);
		documents = NULL;
		err_set(e, "out of memory");
	}
	json_decref(answer);
	return documents;
}

/* ---- the end of a run ------------------------------------------------------------------ */

static void run_free(struct tool_run *r)
{
	if (r->begin != NULL)
		event_free(r->begin);
	free(r->query);
	free(r);
}

/* Takes text. */
static void end_run(struct tool_run *r, char *text, bool failed)
{
	struct tool_result result = {.text = text == NULL ? strdup("Error: out of memory.") : text,
	                             .failed = failed || text == NULL};

	r->done(r->arg, &result);
	tool_result_clear(&result);
	run_free(r);
}

static void end_failed(struct tool_run *r, const char *why)
{
	char *text;

	log_event(LOG_SEARCH_FAILED, L_STR("service", "documents"), L_STR("why", why));
	if (asprintf(
		    &text,
		    "Error: the document search failed (%s). Search elsewhere, or answer with what you know and say that "
		    "the search did not work.",
		    why) < 0)
		text = NULL;
	end_run(r, text, true);
}

/* The length of the first max characters of text. */
static size_t characters(const char *text, int64_t max)
{
	size_t len = 0;

	for (; text[len] != '\0'; len++)
		if (((unsigned char)text[len] & 0xC0) != 0x80 && max-- == 0)
			break;
	return len;
}

static char *result_text(const struct config *c, const json_t *documents)
{
	const size_t max = (size_t)cfg_int(c, CFG_DOCUMENTS_MAX_RESULTS);
	struct buf text = BUF_INIT(RESULT_MAX);

	for (size_t i = 0; i < json_array_size(documents) && i < max; i++) {
		const char *one = json_string_value(json_array_get(documents, i));

		if ((i > 0 && buf_adds(&text, SEPARATOR) < 0) ||
		    buf_add(&text, one, characters(one, cfg_int(c, CFG_DOCUMENTS_RESULT_CHARS))) < 0) {
			buf_free(&text);
			return NULL;
		}
	}
	return buf_steal(&text, NULL);
}

static void on_done(void *arg, const struct http_result *h)
{
	struct tool_run *r = arg;
	struct err e = ERR_INIT;
	json_t *documents = NULL;

	r->transfer = NULL;
	if (h->outcome != HTTP_DONE)
		err_set(&e, "%s", http_outcome_text(h->outcome));
	else if (h->status != 200)
		err_set(&e, "HTTP %ld", h->status);
	else
		documents = document_search_read(h->body, h->body_len, &e);
	if (documents == NULL)
		end_failed(r, e.text);
	else if (json_array_size(documents) == 0)
		end_run(r,
		        strdup("The document search found nothing for this query. Try other words, search elsewhere, or "
		               "answer with what you know."),
		        false);
	else
		end_run(r, result_text(r->config, documents), false);
	json_decref(documents);
}

/* ---- the tool --------------------------------------------------------------------------- */

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	static const struct http_handlers handlers = {.done = on_done};
	struct tool_run *r = arg;
	const struct config *c = r->config;
	char *url, *body;
	struct http_request request = {
		.method = "POST",
		.labels = r->labels,
		.connect_ms = cfg_ms(c, CFG_DOCUMENTS_CONNECT_TIMEOUT),
		.total_ms = cfg_ms(c, CFG_DOCUMENTS_TIMEOUT),
		.collect_limit = DOCUMENT_SEARCH_ANSWER_MAX,
		.ca_file = cfg_str(c, CFG_CLOUD_CA_FILE),
	};

	(void)fd;
	(void)what;
	if (r->query == NULL) {
		end_run(r,
		        strdup("Error: the argument query is missing or empty. Call the tool again with {\"query\": "
		               "\"...\"}."),
		        true);
		return;
	}
	request.url = url = document_search_url(c);
	request.body = body = document_search_body(c, r->query);
	request.body_len = body == NULL ? 0 : strlen(body);
	if (url != NULL && body != NULL)
		r->transfer = http_start(r->http, &request, &handlers, r);
	free(url);
	free(body);
	if (r->transfer == NULL)
		end_failed(r, "out of memory");
}

static struct tool_run *start(void *state, const struct tool_context *ctx, const json_t *args, tool_done_fn *done,
                              void *arg)
{
	const char *query = json_string_value(json_object_get(args, "query"));
	struct tool_run *r = calloc(1, sizeof *r);

	(void)state;
	if (r == NULL)
		return NULL;
	*r = (struct tool_run){
		.config = ctx->config, .http = ctx->http, .labels = ctx->labels, .done = done, .arg = arg};
	r->query = query == NULL || utf8_is_blank(query) ? NULL : strndup(query, utf8_cut(query, QUERY_MAX));
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
	run_free(r);
}

static bool available(const struct config *c)
{
	return cfg_bool(c, CFG_DOCUMENTS_ENABLED) && cfg_str(c, CFG_DISCOVERY_BACKEND_URL) != NULL;
}

const struct tool tool_document_search = {
	.name = "document_search",
	.description =
		"Searches the documentation of Tenstorrent. Use it first for questions about Tenstorrent, TT-Studio, "
		"tt-metal, tt-inference-server, QuietBox or Blackhole. Returns excerpts of documents.",
	.parameters =
		"{\"properties\":{\"query\":{\"description\":\"What to look for in the documents\",\"type\":\"string\"}},"
		"\"required\":[\"query\"],\"type\":\"object\"}",
	.hint = "For questions about Tenstorrent, TT-Studio, tt-metal, tt-inference-server, QuietBox or Blackhole use "
		"document_search first, and search the web for what it does not answer and for everything else; make at "
		"most two searches for a question.",
	.progress = "Searching",
	.subject = "query",
	.available = available,
	.start = start,
	.cancel = cancel,
};
