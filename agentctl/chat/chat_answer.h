/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of POST /poll_requests as a person reads it: what is reasoning, what is text, and the statistics at its
 * end, however the network cut it into pieces. Pure. */
#ifndef TT_AGENTCTL_CHAT_ANSWER_H
#define TT_AGENTCTL_CHAT_ANSWER_H

#include "core/base/buf.h"

#include <jansson.h>
#include <stdbool.h>

struct chat_answer {
	/* A piece of it, whole characters unless the answer itself has broken ones. */
	void (*piece)(void *arg, bool reasoning, const char *bytes, size_t len);
	void *arg;
	struct buf held; /* not given to piece yet: it may be the beginning of a mark */
	bool reasoning, begun;
	bool line_begins; /* the last byte ended a line, or was a mark */
};

void chat_answer_begin(struct chat_answer *a, void (*piece)(void *arg, bool reasoning, const char *bytes, size_t len),
                       void *arg);

/* A piece as it came. -1: out of memory, or longer than any answer. */
int chat_answer_feed(struct chat_answer *a, const char *bytes, size_t len);

/* The end. Returns the statistics, a new reference; NULL: there are none, so the answer is not whole. *waiting: what
 * the service says instead of an answer while it has no LLM, a new reference; NULL: nothing. */
json_t *chat_answer_end(struct chat_answer *a, json_t **waiting);

#endif
