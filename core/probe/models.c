/* SPDX-License-Identifier: Apache-2.0 */
#include "core/probe/models.h"

#include "core/base/text.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define BODY_LIMIT (4u << 20)

static const struct document {
	const char *path;
	bool names_model; /* POST {"model": ...} */
} documents[] = {
	{"/v1/models", false},
	{"/api/v0/models", false},                     /* LM Studio */
	{"/props", false},                             /* llama.cpp */
	{"/api/ps", false},                            /* Ollama: what is loaded */
	{"/api/show", true},                           /* Ollama */
	{"/info", false},                              /* text-generation-inference */
	{"/get_server_info", false},                   /* SGLang */
	{"/api/extra/true_max_context_length", false}, /* KoboldCpp */
	{"/model/info", false},                        /* LiteLLM */
};
#define DOCUMENTS (sizeof documents / sizeof documents[0])

struct models_probe {
	struct http *http;
	struct http_transfer *transfer;
	const struct models_handlers *handlers;
	void *arg;
	char *url, *model, *bearer, *ca_file, *proxy;
	int64_t deadline_ms;
	bool only_list;
	size_t document;
};

static void probe_free(struct models_probe *p)
{
	free(p->url);
	free(p->model);
	free(p->bearer);
	free(p->ca_file);
	free(p->proxy);
	free(p);
}

static void end(struct models_probe *p, int64_t context)
{
	const struct models_handlers *handlers = p->handlers;
	const char *path = context > 0 ? documents[p->document].path : NULL;
	void *arg = p->arg;

	probe_free(p);
	handlers->done(arg, context, path);
}

static void on_answer(void *arg, const struct http_result *r);

static int request(struct models_probe *p)
{
	static const struct http_handlers handlers = {.done = on_answer};
	const struct document *d = &documents[p->document];
	char *url = llm_sibling_url(p->url, d->path), *body = NULL;
	struct http_request req = {
		.method = d->names_model ? "POST" : "GET",
		.url = url,
		.bearer = p->bearer,
		.ca_file = p->ca_file,
		.proxy = p->proxy,
		.connect_ms = p->deadline_ms,
		.total_ms = p->deadline_ms,
		.collect_limit = BODY_LIMIT,
	};
	json_t *j = NULL;

	if (d->names_model) {
		j = json_pack("{s:s}", "model", p->model);
		body = j != NULL ? json_dumps(j, JSON_COMPACT) : NULL;
		req.body = body;
		req.body_len = body != NULL ? strlen(body) : 0;
	}
	if (url != NULL && d->names_model == (body != NULL))
		p->transfer = http_start(p->http, &req, &handlers, p);
	json_decref(j);
	free(body);
	free(url);
	return p->transfer != NULL ? 0 : -1;
}

/* The next document that can be asked for; ends the probe where there is none. */
static void request_next(struct models_probe *p)
{
	while (++p->document < DOCUMENTS)
		if ((!documents[p->document].names_model || p->model != NULL) && request(p) == 0)
			return;
	end(p, 0);
}

static void on_list(struct models_probe *p, const struct http_result *r)
{
	struct model_list_entry entry = {.id = NULL};
	bool ok = r->outcome == HTTP_DONE && r->status == 200, more;

	errno = 0;
	if (ok && model_list_read(r->body, r->body_len, p->model, &entry) < 0) {
		ok = false;
		errno = ENOMEM;
	}
	/* What is asked for next is about the model that the server serves. */
	if (p->model == NULL && entry.id != NULL)
		p->model = strdup(entry.id);
	more = p->handlers->models(p->arg, r, ok ? &entry : NULL);
	if (entry.context > 0 || !more || p->only_list || r->outcome != HTTP_DONE)
		end(p, entry.context);
	else
		request_next(p);
	model_list_clear(&entry);
}

static void on_answer(void *arg, const struct http_result *r)
{
	struct models_probe *p = arg;
	struct model_list_entry entry = {.id = NULL};

	p->transfer = NULL;
	if (p->document == 0) {
		on_list(p, r);
		return;
	}
	if (r->outcome == HTTP_DONE && r->status == 200 &&
	    model_list_read(r->body, r->body_len, p->model, &entry) == 0 && entry.context > 0)
		end(p, entry.context);
	else if (r->outcome != HTTP_DONE)
		end(p, 0); /* it hangs, or is gone */
	else
		request_next(p);
	model_list_clear(&entry);
}

struct models_probe *models_probe_start(struct http *http, const struct models_request *r,
                                        const struct models_handlers *handlers, void *arg)
{
	struct models_probe *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	*p = (struct models_probe){.http = http,
	                           .handlers = handlers,
	                           .arg = arg,
	                           .deadline_ms = r->deadline_ms,
	                           .only_list = r->only_list};
	if (text_copy(&p->url, r->llm->url) && text_copy(&p->model, r->llm->model) &&
	    text_copy(&p->bearer, r->bearer) && text_copy(&p->ca_file, r->ca_file) && text_copy(&p->proxy, r->proxy) &&
	    p->url != NULL && request(p) == 0)
		return p;
	probe_free(p);
	return NULL;
}

void models_probe_cancel(struct models_probe *p)
{
	if (p->transfer != NULL)
		http_cancel(p->transfer);
	probe_free(p);
}
