/* GET / and GET /status: documents that the daemon rendered once and published. */
#include "fcgi/serve.h"

#include "core/status/document.h"
#include "fcgi/response.h"

#include <stdlib.h>
#include <string.h>

typedef char *initializing_fn(size_t *len);

static void answer_made(struct connection *c, char *doc, size_t len, bool head)
{
	if (doc != NULL)
		response_document(c, doc, len, head);
	else
		response_detail(c, 500, "", "Out of memory");
	free(doc);
}

static void answer(struct worker *w, struct connection *c, bool head, struct status_snapshot *s, struct status_text t)
{
	const char *doc = status_text(s, t), *reason = NULL;
	int64_t since_ms = 0;
	size_t len = 0;
	char *stale;

	if (!published_is_stale(worker_published(w), &since_ms, &reason)) {
		response_document(c, doc, t.length, head);
		return;
	}
	stale = document_stale(doc, t.length, since_ms, reason, &len);
	answer_made(c, stale, len, head);
}

static void answer_initializing(struct connection *c, bool head, initializing_fn *make)
{
	size_t len = 0;
	char *doc = make(&len);

	answer_made(c, doc, len, head);
}

void serve_root(struct worker *w, struct connection *c, bool head)
{
	struct status_snapshot *s = published_acquire(worker_published(w));

	if (s == NULL) {
		answer_initializing(c, head, document_root_initializing);
		return;
	}
	answer(w, c, head, s, status_header(s)->root_document);
	status_release(s);
}

void serve_status(struct worker *w, struct connection *c, bool head)
{
	struct status_snapshot *s = published_acquire(worker_published(w));

	if (s == NULL) {
		answer_initializing(c, head, document_status_initializing);
		return;
	}
	answer(w, c, head, s, status_header(s)->status_document);
	status_release(s);
}
