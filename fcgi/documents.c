/* SPDX-License-Identifier: Apache-2.0 */
/* GET / and GET /status: documents that the daemon rendered once and published. */
#include "fcgi/dispatch.h"

#include "core/status/document.h"
#include "fcgi/response.h"

#include <stdlib.h>

static void answer(struct connection *c, bool head, const char *doc, size_t len)
{
	if (doc != NULL)
		response_document(c, doc, len, head);
	else
		response_detail(c, 500, "", "Out of memory");
}

static void answer_published(struct published *p, struct connection *c, bool head, const char *doc, size_t len)
{
	const char *reason = NULL;
	int64_t since_ms = 0;
	char *stale;

	if (!published_is_stale(p, &since_ms, &reason)) {
		answer(c, head, doc, len);
		return;
	}
	stale = document_stale(doc, len, since_ms, reason, &len);
	answer(c, head, stale, len);
	free(stale);
}

static void serve(struct worker *w, struct connection *c, bool head, enum published_document which)
{
	struct published *p = worker_published(w);
	struct status_snapshot *s = published_acquire(p);
	struct status_text t;
	const char *doc;
	size_t len;

	if (s == NULL) {
		doc = published_initializing(p, which, &len);
		answer(c, head, doc, len);
		return;
	}
	t = which == PUBLISHED_ROOT ? status_header(s)->root_document : status_header(s)->status_document;
	answer_published(p, c, head, status_text(s, t), t.length);
	status_release(s);
}

void serve_root(struct worker *w, struct connection *c, bool head)
{
	serve(w, c, head, PUBLISHED_ROOT);
}

void serve_status(struct worker *w, struct connection *c, bool head)
{
	serve(w, c, head, PUBLISHED_STATUS);
}
