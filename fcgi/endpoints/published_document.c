/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoints/published_document.h"

#include "core/status/document.h"
#include "fcgi/response.h"

#include <stdlib.h>
#include <string.h>

static void answer_stale(struct connection *c, const char *doc, size_t len, int64_t since_ms, const char *reason)
{
	char *stale = document_stale(doc, len, since_ms, reason, &len);

	response_document(c, stale, len);
	free(stale);
}

/* For clients that are not admins, if http.public_status is brief: nothing about hosts. Its keys are
 * those of the whole documents. */
static json_t *brief(const struct status_snapshot *s)
{
	const struct status_header *h = status_header(s);
	const struct status_llm *current = h->usable_count > 0 ? status_candidate(s, 0) : NULL;
	const char *name = current != NULL ? status_text(s, current->model_name) : NULL;
	int total = 0, count[LLM_UNHEALTHY + 1] = {0};

	if (current != NULL && name == NULL)
		name = status_text(s, current->model);
	for (uint32_t i = 0; i < h->llm_count; i++) {
		const struct status_llm *l = status_llm(s, i);

		if (l->kind != LLM_DISCOVERED)
			continue;
		total++;
		count[l->health]++;
	}
	return json_pack("{s:s,s:s?,s:{s:i,s:i,s:i,s:i}}", "status", current != NULL ? "ready" : "initializing",
	                 "model_name", name, "discovery_summary", "total_llms", total, "healthy", count[LLM_HEALTHY],
	                 "degraded", count[LLM_DEGRADED], "unhealthy", count[LLM_UNHEALTHY]);
}

static bool wants_brief(struct published *p, const struct connection *c)
{
	const struct config *config = published_config(p);
	const char *admin = connection_params(c)->admin;

	return config != NULL && strcmp(cfg_str(config, CFG_HTTP_PUBLIC_STATUS), "brief") == 0 &&
	       (admin == NULL || strcmp(admin, "1") != 0 || !connection_is_trusted(c));
}

void published_document_answer(struct worker *w, struct connection *c, enum published_document which)
{
	struct published *p = worker_published(w);
	struct status_snapshot *s = published_acquire(p);
	const char *reason = NULL, *doc;
	char *short_doc = NULL;
	int64_t since_ms = 0;
	struct status_text t;
	size_t len;

	if (s == NULL) {
		doc = published_initializing(p, which, &len);
		response_document(c, doc, len);
		return;
	}
	t = which == PUBLISHED_ROOT ? status_header(s)->root_document : status_header(s)->status_document;
	doc = status_text(s, t);
	len = t.length;
	if (wants_brief(p, c)) {
		json_t *j = brief(s);

		doc = short_doc = document_text(j, &len);
		json_decref(j);
	}
	if (doc != NULL && published_is_stale(p, &since_ms, &reason))
		answer_stale(c, doc, len, since_ms, reason);
	else
		response_document(c, doc, len);
	free(short_doc);
	status_release(s);
}
