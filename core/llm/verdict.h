/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict on an LLM's health, from the results of probes and chat turns. Pure: the clock
 * is an argument. */
#ifndef TT_LLM_VERDICT_H
#define TT_LLM_VERDICT_H

#include "core/llm/llm.h"

enum probe_outcome {
	PROBE_OK,           /* 200 in time, and not "status":"unhealthy" */
	PROBE_REFUSED,      /* no connection */
	PROBE_TIMEOUT,      /* connected or not, no answer within the deadline */
	PROBE_LOADING,      /* 503 (or 500, 405) whose body says that the model is not loaded yet */
	PROBE_STATUS,       /* any other status */
	PROBE_UNAUTHORIZED, /* 401, 403 */
	PROBE_BROKEN,       /* reset, cut, not HTTP, "status":"unhealthy" */
	PROBE_NOT_MADE,     /* resource exhaustion of our own: no verdict */
};
const char *probe_outcome_text(enum probe_outcome o);

struct probe_result {
	enum probe_outcome outcome;
	long status; /* HTTP status, 0 = none */
	int64_t latency_ms;
	int64_t at_ms;  /* wall clock of the end */
	bool real;      /* of a canary probe or a chat turn, not of /health */
	bool unreached; /* there was no connection */
	bool plain;     /* as http_result has it */
	bool busy;      /* chat turns succeeded meanwhile */
	char text[160]; /* for the reason: "HTTP 500", "connection refused" ... */
};

/* The outcome of a complete HTTP response of /health, from its status and a body that may be
 * empty, {}, {"status":"unhealthy"}, or llama.cpp's 503 "Loading model". text gets the
 * reason, "" for PROBE_OK; status 0 is PROBE_BROKEN. body need not be terminated. */
enum probe_outcome probe_judge(long status, const char *body, size_t len, char *text, size_t size);

/* Applies one result to l (failures, health, reason, checked_ms, latency_ms).
 *
 * A success resets the failures: the LLM is healthy, or degraded if the probe took
 * health.degraded_after or longer. An unhealthy LLM needs health.rise consecutive successes,
 * but only one if it was loading. A failure makes a healthy or degraded LLM degraded, and the
 * health.max_failures-th consecutive one unhealthy. An LLM that was never healthy (unknown),
 * or is already unhealthy, is unhealthy at the first failure. 401 and 403 make it unhealthy
 * at once, because no request can succeed. Loading makes it unhealthy at once, but does not
 * count as a failure, because it will end. A timeout of an LLM that is busy with chat turns
 * makes it degraded at most.
 *
 * Canary probes: the second consecutive failure (the first if health.max_failures is 1) means
 * that the LLM hangs: it is unhealthy until a canary probe succeeds, because /health of a hung
 * model often answers. A success changes nothing for an LLM that does not hang.
 *
 * PROBE_NOT_MADE changes nothing.
 *
 * Returns true if the health changed. When out of memory, the reason is missing. */
bool verdict_apply(struct llm *l, const struct probe_result *r, const struct config *c);

/* The next success is enough, whatever health.rise says: somebody asked for a refresh, or
 * there is no other LLM. */
void verdict_expect(struct llm *l, const struct config *c);

#endif
