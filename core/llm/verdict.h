/* The verdict on an LLM's health, from what probes and turns met. Pure: the clock
 * is an argument. */
#ifndef TT_LLM_VERDICT_H
#define TT_LLM_VERDICT_H

#include "core/llm/llm.h"

enum probe_outcome {
	PROBE_OK,           /* 200 in time */
	PROBE_REFUSED,      /* no connection */
	PROBE_TIMEOUT,      /* connected or not, no answer within the deadline */
	PROBE_LOADING,      /* 503 that says the model is loading: waited for */
	PROBE_STATUS,       /* any other status */
	PROBE_UNAUTHORIZED, /* 401, 403 */
	PROBE_BROKEN,       /* reset, cut, no HTTP, "status":"unhealthy" */
};
const char *probe_outcome_text(enum probe_outcome o);

struct probe_result {
	enum probe_outcome outcome;
	long status;        /* HTTP status, 0 = none */
	int64_t latency_ms;
	int64_t at_ms;      /* wall clock of the end */
	char text[160];     /* for the reason: "HTTP 500", "connection refused" ... */
};

/* What an HTTP exchange with /health means: the status, and a body that may be
 * empty, {}, {"status":"unhealthy"}, or llama.cpp's 503 "Loading model". */
enum probe_outcome probe_judge(long status, const char *body, size_t len, char *text, size_t size);

/* Takes one result into l (failures, health, reason, checked_ms, latency_ms).
 * A probe that answers makes it healthy, or degraded when slow; failures make it
 * degraded below health.max_failures, unhealthy from there on. The first result
 * of an LLM that was never seen healthy counts fully: it is unhealthy at once.
 * Returns true when the health changed. */
bool verdict_apply(struct llm *l, const struct probe_result *r, const struct config *c);

#endif
