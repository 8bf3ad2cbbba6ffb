/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict on an LLM's health, from what probes and turns met. Pure: the clock
 * is an argument. */
#ifndef TT_LLM_VERDICT_H
#define TT_LLM_VERDICT_H

#include "core/llm/llm.h"

enum probe_outcome {
	PROBE_OK,           /* 200 in time, and the body does not say otherwise */
	PROBE_REFUSED,      /* no connection */
	PROBE_TIMEOUT,      /* connected or not, no answer within the deadline */
	PROBE_LOADING,      /* 503 (or 500, 405) that says the model is not loaded yet */
	PROBE_STATUS,       /* any other status */
	PROBE_UNAUTHORIZED, /* 401, 403 */
	PROBE_BROKEN,       /* reset, cut, no HTTP, "status":"unhealthy" */
	PROBE_NOT_MADE,     /* we had no descriptor or memory for it: says nothing */
};
const char *probe_outcome_text(enum probe_outcome o);

struct probe_result {
	enum probe_outcome outcome;
	long status; /* HTTP status, 0 = none */
	int64_t latency_ms;
	int64_t at_ms;  /* wall clock of the end */
	bool real;      /* not of a probe but of a real completion */
	bool busy;      /* real turns succeeded meanwhile */
	char text[160]; /* for the reason: "HTTP 500", "connection refused" ... */
};

/* What a whole HTTP response of /health means: its status, and a body that may be
 * empty, {}, {"status":"unhealthy"}, or llama.cpp's 503 "Loading model". text gets
 * the reason, "" for PROBE_OK; status 0 is PROBE_BROKEN. body need not be terminated. */
enum probe_outcome probe_judge(long status, const char *body, size_t len, char *text, size_t size);

/* Takes one result into l (failures, health, reason, checked_ms, latency_ms).
 *
 * An answer ends the failures: healthy, or degraded when it took health.degraded_after
 * or longer; an unhealthy LLM needs health.rise of them in a row, but only one when it
 * was loading. A failure makes a healthy or degraded LLM degraded, and unhealthy with the
 * health.max_failures-th in a row. What was never seen healthy (unknown), or is
 * unhealthy already, is unhealthy at the first. 401 and 403 make it unhealthy at
 * once, since nobody may ask it. Loading makes it unhealthy at once and does not
 * count as a failure: it is a state that ends. A timeout of one that is busy with real
 * turns makes it degraded and never more.
 *
 * Real completions: the second failure in a row (the first where health.max_failures is
 * 1) means that it hangs: unhealthy until one succeeds, since /health of a hung model
 * often answers. A success says nothing about one that does not hang.
 *
 * A probe that was not made changes nothing.
 *
 * Returns true when the health changed. Where memory is out the reason is missing. */
bool verdict_apply(struct llm *l, const struct probe_result *r, const struct config *c);

/* The next answer is enough, whatever health.rise says: somebody asked for it, or there
 * is no other LLM. */
void verdict_expect(struct llm *l, const struct config *c);

#endif
