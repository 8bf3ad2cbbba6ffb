/* SPDX-License-Identifier: Apache-2.0 */
#include "core/probe/health.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_BODY_LIMIT  (64u << 10)
#define MODELS_BODY_LIMIT (4u << 20)

struct probe {
	struct probe *next, **link; /* link: the pointer that points here */
	struct prober *owner;
	struct http_transfer *transfer;
	uint64_t instance;
	size_t hint;
	int64_t began_ms, deadline_ms;
	char *second_url; /* /v1/models, where that is the alternative */
	char *token, *ca_file;
	struct probe_result first; /* of /health, when the second URL is fetched */
};

struct prober {
	struct http *http;
	probe_done_fn *done;
	void *arg;
	struct probe *probes;
};

enum probe_outcome probe_outcome_of(enum http_outcome o)
{
	static const enum probe_outcome map[] = {
		[HTTP_DONE] = PROBE_OK,
		[HTTP_BAD_URL] = PROBE_BROKEN,
		[HTTP_NO_HOST] = PROBE_REFUSED,
		[HTTP_REFUSED] = PROBE_REFUSED,
		[HTTP_CONNECT_TIMEOUT] = PROBE_TIMEOUT,
		[HTTP_TIMEOUT] = PROBE_TIMEOUT,
		[HTTP_SILENCE] = PROBE_TIMEOUT,
		[HTTP_RESET] = PROBE_BROKEN,
		[HTTP_CUT] = PROBE_BROKEN,
		[HTTP_TLS] = PROBE_BROKEN,
		[HTTP_TOO_LARGE] = PROBE_BROKEN,
		[HTTP_NO_RESOURCES] = PROBE_NOT_MADE,
		[HTTP_FAILED] = PROBE_BROKEN,
	};

	return (size_t)o < sizeof map / sizeof map[0] ? map[o] : PROBE_BROKEN;
}

struct prober *prober_new(struct http *http, probe_done_fn *done, void *arg)
{
	struct prober *p = calloc(1, sizeof *p);

	if (p != NULL)
		*p = (struct prober){.http = http, .done = done, .arg = arg};
	return p;
}

static void probe_free(struct probe *p)
{
	*p->link = p->next;
	if (p->next != NULL)
		p->next->link = p->link;
	if (p->transfer != NULL)
		http_cancel(p->transfer);
	free(p->second_url);
	free(p->token);
	free(p->ca_file);
	free(p);
}

void prober_free(struct prober *p)
{
	if (p == NULL)
		return;
	while (p->probes != NULL)
		probe_free(p->probes);
	free(p);
}

static void probe_end(struct probe *p, const struct probe_result *r)
{
	struct prober *owner = p->owner;
	uint64_t instance = p->instance;
	size_t hint = p->hint;

	probe_free(p);
	owner->done(owner->arg, instance, hint, r);
}

static void judge(const struct probe *p, const struct http_result *h, struct probe_result *r)
{
	memset(r, 0, sizeof *r);
	r->status = h->status;
	r->at_ms = clock_wall_ms();
	r->latency_ms = clock_mono_ms() - p->began_ms;
	r->plain = h->plain;
	if (h->outcome == HTTP_DONE) {
		r->outcome = probe_judge(h->status, h->body, h->body_len, r->text, sizeof r->text);
		return;
	}
	r->outcome = probe_outcome_of(h->outcome);
	r->unreached = http_outcome_is_unreached(h->outcome);
	snprintf(r->text, sizeof r->text, "%.159s", h->text[0] != '\0' ? h->text : http_outcome_text(h->outcome));
}

static void second_done(void *arg, const struct http_result *h)
{
	struct probe *p = arg;
	struct probe_result r;

	p->transfer = NULL;
	judge(p, h, &r);
	/* It has no /health: it is alive if it lists its models, else the first answer counts. */
	if (h->outcome == HTTP_DONE && h->status != 200)
		r = p->first;
	probe_end(p, &r);
}

static int send_get(struct probe *p, const char *url, size_t limit, const struct http_handlers *handlers)
{
	int64_t left = p->deadline_ms - (clock_mono_ms() - p->began_ms);
	struct http_request req = {
		.method = "GET",
		.url = url,
		.bearer = p->token,
		.ca_file = p->ca_file,
		.connect_ms = left > 1 ? left : 1,
		.total_ms = left > 1 ? left : 1,
		.collect_limit = limit,
	};

	p->transfer = http_start(p->owner->http, &req, handlers, p);
	return p->transfer != NULL ? 0 : -1;
}

static void first_done(void *arg, const struct http_result *h)
{
	static const struct http_handlers second = {.done = second_done};
	struct probe *p = arg;
	struct probe_result r;

	p->transfer = NULL;
	judge(p, h, &r);
	if (p->second_url != NULL && h->outcome == HTTP_DONE &&
	    (h->status == 404 || h->status == 405 || h->status == 501)) {
		p->first = r;
		if (send_get(p, p->second_url, MODELS_BODY_LIMIT, &second) == 0)
			return;
	}
	probe_end(p, &r);
}

int prober_start(struct prober *owner, const struct llm *l, size_t hint, const char *token, const char *ca_file,
                 int64_t deadline_ms)
{
	static const struct http_handlers first = {.done = first_done};
	struct probe *p = calloc(1, sizeof *p);

	if (p == NULL)
		return -1;
	*p = (struct probe){
		.next = owner->probes,
		.link = &owner->probes,
		.owner = owner,
		.instance = l->instance,
		.hint = hint,
		.began_ms = clock_mono_ms(),
		.deadline_ms = deadline_ms,
		.token = token != NULL ? strdup(token) : NULL,
		.ca_file = ca_file != NULL ? strdup(ca_file) : NULL,
		.second_url = l->kind == LLM_CONTAINER && l->url != NULL ? llm_sibling_url(l->url, "/v1/models") : NULL,
	};
	if (p->next != NULL)
		p->next->link = &p->next;
	owner->probes = p;
	/* Without its token the LLM would refuse the probe, without the CA file TLS would refuse the LLM. */
	if ((token == NULL || p->token != NULL) && (ca_file == NULL || p->ca_file != NULL) &&
	    send_get(p, l->probe_url, PROBE_BODY_LIMIT, &first) == 0)
		return 0;
	probe_free(p);
	return -1;
}
