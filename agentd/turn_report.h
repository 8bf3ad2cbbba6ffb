/* SPDX-License-Identifier: Apache-2.0 */
/* Workers' reports on attempts of chat turns. Pure, the clock is an argument.
 *
 * A failure counts against the LLM once per episode: attempts that began before its last
 * change of verdict, before the last failure that was counted, or within REPORT_COALESCE_MS
 * of it, belong to the known episode. So 200 streams that meet one outage are one failure.
 * What the client caused never counts. */
#ifndef TT_AGENTD_TURN_REPORT_H
#define TT_AGENTD_TURN_REPORT_H

#include "agentd/registry.h"
#include "core/llm/quirks.h"
#include "core/llm/verdict.h"
#include "core/http/http.h"

#include <jansson.h>

#define REPORT_COALESCE_MS 100

struct turn_report {
	uint64_t instance;
	int64_t began_boot_ms; /* when the attempt began, CLOCK_BOOTTIME */
	enum http_outcome outcome;
	long status;
	char text[120];       /* what the LLM's server says; "" = nothing */
	struct quirks quirks; /* what it refused of our requests, in these words */
};

/* From the argument of the report command. */
int turn_report_parse(const json_t *j, struct turn_report *r, struct err *e);

enum turn_report_verdict {
	REPORT_COUNTS,
	REPORT_GONE,    /* the LLM left, or was deployed again */
	REPORT_IGNORED, /* a 4xx that the client caused, our own resource exhaustion */
	REPORT_SERVED,  /* no failure: a whole answer */
	REPORT_SERVING, /* a part of an answer */
	REPORT_SAME_EPISODE,
};
const char *turn_report_verdict_text(enum turn_report_verdict v);

/* t belongs to the report's instance; a counted failure begins an episode in it. */
enum turn_report_verdict turn_report_judge(const struct turn_report *r, struct track *t, int64_t now_boot_ms);

/* The failure as a probe's result, for turn_report_apply. */
void turn_report_result(const struct turn_report *r, int64_t now_wall_ms, struct probe_result *out);

/* The length of a reason that turn_report_result made, or another, without the words of the LLM's server. */
size_t turn_report_own_words(const char *reason);

/* Applies the failure to l as verdict_apply does. An LLM that is never probed (the cloud)
 * keeps its unknown health, since no probe could show that it has recovered: it is only
 * ejected, with its reason. */
void turn_report_apply(struct llm *l, const struct probe_result *r, const struct config *c);

#endif
