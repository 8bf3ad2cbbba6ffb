/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoints/published_document.h"

#include "core/status/document.h"
#include "fcgi/response.h"

#include <stdlib.h>

static void answer_stale(struct connection *c, const char *doc, size_t len, int64_t since_ms, const char *reason)
{
	char *stale = document_stale(doc, len, since_ms, reason, &len);

	response_document(c, stale, len);
	free(stale);
}

void published_document_answer(struct worker *w, struct connection *c, enum published_document which)
{
	struct published *p = worker_published(w);
	struct status_snapshot *s = published_acquire(p);
	const char *reason = NULL, *doc;
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
	if (published_is_stale(p, &since_ms, &reason))
		answer_stale(c, doc, t.length, since_ms, reason);
	else
		response_document(c, doc, t.length);
	status_release(s);
}
