/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/document_check.h"

#include "core/base/clock.h"
#include "core/tools/document_search.h"
#include "core/tools/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERY   "Tenstorrent"
#define NOT_YET "the backend has not searched documents yet"
#define OFF     "discovery.enabled is false, so the backend is not asked"

struct document_check {
	struct services *s;
	void (*changed)(void *arg);
	void *arg;
	char *url, *body; /* of the request; NULL: nothing is searched */
	struct http_transfer *transfer;
	int64_t due_ms; /* CLOCK_MONOTONIC */
	bool works;
	struct err problem; /* not set: none */
};

struct document_check *document_check_new(struct services *s, void (*changed)(void *arg), void *arg)
{
	struct document_check *d = calloc(1, sizeof *d);

	if (d != NULL)
		*d = (struct document_check){.s = s, .changed = changed, .arg = arg};
	return d;
}

static void forget_request(struct document_check *d)
{
	if (d->transfer != NULL)
		http_cancel(d->transfer);
	d->transfer = NULL;
	free(d->url);
	free(d->body);
	d->url = d->body = NULL;
}

void document_check_free(struct document_check *d)
{
	if (d == NULL)
		return;
	forget_request(d);
	free(d);
}

/* ---- a check -------------------------------------------------------------------------- */

static void on_answer(void *arg, const struct http_result *r)
{
	struct document_check *d = arg;
	struct err e = ERR_INIT;
	json_t *documents = NULL;

	d->transfer = NULL;
	d->due_ms = clock_mono_ms() + cfg_ms(d->s->config, CFG_DISCOVERY_INTERVAL);
	if (r->outcome != HTTP_DONE)
		err_set(&e, "%s", r->text[0] != '\0' ? r->text : http_outcome_text(r->outcome));
	else if (r->status != 200)
		err_set(&e, "HTTP %ld", r->status);
	else
		documents = document_search_read(r->body, r->body_len, &e);
	if (documents == NULL)
		err_prefix(&e, "the backend's answer to POST /collections/retrieve");
	json_decref(documents);
	if (strcmp(e.text, d->problem.text) == 0)
		return;
	d->problem = e;
	events_documents(d->s->events, document_check_problem(d), d->works);
	if (d->works == !err_is_set(&e))
		return;
	d->works = !d->works;
	d->changed(d->arg);
}

static void start(struct document_check *d)
{
	static const struct http_handlers handlers = {.done = on_answer};
	const struct config *c = d->s->config;
	const struct http_request request = {
		.method = "POST",
		.url = d->url,
		.body = d->body,
		.body_len = strlen(d->body),
		.connect_ms = cfg_ms(c, CFG_DOCUMENTS_CONNECT_TIMEOUT),
		.total_ms = cfg_ms(c, CFG_DOCUMENTS_TIMEOUT),
		.collect_limit = DOCUMENT_SEARCH_ANSWER_MAX,
		.ca_file = cfg_str(c, CFG_CLOUD_CA_FILE),
	};

	d->transfer = http_start(d->s->http, &request, &handlers, d); /* without memory: at the next tick */
}

/* Switches to the backend and the collection that the configuration names. */
static void follow_config(struct document_check *d)
{
	const bool discovers = cfg_bool(d->s->config, CFG_DISCOVERY_ENABLED);
	const bool wanted = tool_document_search.available(d->s->config);
	char *url = wanted && discovers ? document_search_url(d->s->config) : NULL;
	char *body = url != NULL ? document_search_body(d->s->config, QUERY) : NULL;

	if (d->url != NULL && body != NULL && strcmp(url, d->url) == 0 && strcmp(body, d->body) == 0) {
		free(url);
		free(body);
		return;
	}
	forget_request(d);
	d->works = false;
	d->due_ms = 0;
	err_clear(&d->problem);
	if (wanted)
		err_set(&d->problem, "%s", discovers ? NOT_YET : OFF);
	if (body != NULL) {
		d->url = url;
		d->body = body;
	} else {
		free(url);
	}
}

void document_check_tick(struct document_check *d)
{
	follow_config(d);
	if (d->url != NULL && d->transfer == NULL && d->s->http != NULL && clock_mono_ms() >= d->due_ms)
		start(d);
}

const char *document_check_problem(const struct document_check *d)
{
	return err_is_set(&d->problem) ? d->problem.text : NULL;
}
