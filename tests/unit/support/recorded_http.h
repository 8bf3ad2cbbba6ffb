/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP for tests without a network: in place of core/http/http.c's, by --wrap. The
 * requests are recorded; answers come from the loop, cut where a test wants it. */
#ifndef TT_TESTS_UNIT_RECORDED_HTTP_H
#define TT_TESTS_UNIT_RECORDED_HTTP_H

#include "core/base/buf.h"
#include "core/http/http.h"

struct recorded_answer {
	const char *path; /* end of the URL */
	long status;
	const char *body;
};

struct recorded_http {
	struct event_base *base;
	const char *const *llm; /* answers of chat completions, in order; NULL ends them */
	const struct recorded_answer *others;
	size_t other_count;
	/* One answer of the LLM comes in two pieces. */
	size_t split_attempt, split_at;

	size_t attempts;      /* chat completions so far */
	struct buf bodies;    /* what they were sent */
	size_t running, most; /* transfers at once */
};

/* The one in use; http_start and the like work on it. */
void recorded_http_use(struct recorded_http *r);

#endif
