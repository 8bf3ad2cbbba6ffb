/* SPDX-License-Identifier: Apache-2.0 */
/* What workers tell about real turns. Pure, the clock is an argument.
 *
 * A failed turn counts against the LLM once per episode: attempts begun before its last
 * change of verdict, before the last failure that was counted, or within
 * REPORTS_COALESCE_MS of it, belong to the episode that is known already. So 200 streams
 * that meet one outage are one failure. What the client caused never counts. */
#ifndef TT_AGENTD_REPORTS_H
#define TT_AGENTD_REPORTS_H

#include "agentd/registry.h"
#include "core/llm/verdict.h"
#include "core/http/http.h"

#include <jansson.h>

#define REPORTS_COALESCE_MS 100

struct report {
	uint64_t instance;
	int64_t began_boot_ms; /* when the attempt began, CLOCK_BOOTTIME */
	enum http_outcome outcome;
	long status;
};

/* From the argument of the report command. */
int report_parse(const json_t *j, struct report *r, struct err *e);

enum report_verdict {
	REPORT_COUNTS,
	REPORT_GONE,          /* the LLM left, or was deployed again */
	REPORT_NOT_ITS_FAULT, /* a 4xx that the client caused, a shortage of ours */
	REPORT_SERVED,        /* no failure: a whole answer */
	REPORT_SERVING,       /* a part of an answer */
	REPORT_SAME_EPISODE,
};
const char *report_verdict_text(enum report_verdict v);

/* t is of the report's instance. Counting notes the episode in it. */
enum report_verdict report_judge(const struct report *r, struct track *t, int64_t now_boot_ms);

/* The failure as a probe's result, for report_apply. */
void report_result(const struct report *r, int64_t now_wall_ms, struct probe_result *out);

/* Takes the failure into l as verdict_apply does. What is never probed (the cloud) stays
 * of unknown health, since no probe could tell that it is well again: it is only ejected,
 * with its reason. */
void report_apply(struct llm *l, const struct probe_result *r, const struct config *c);

/* Ejects the LLM, longer with each repetition: /health would say that all is well. Sets
 * ejected_since_ms and ejected_until_ms; why is shown. While it is ejected already only
 * why is taken. */
void report_eject(struct llm *l, struct track *t, const struct config *c, const char *why, int64_t now_wall_ms);

/* It is ejected and its time is over: also where the clock was set back to before it began. */
bool report_is_over(const struct llm *l, int64_t now_wall_ms);

/* It is no longer ejected; repetitions go on being counted. */
void report_release(struct llm *l, struct track *t);

/* As if it had never been ejected. */
void report_clear_ejection(struct llm *l, struct track *t);

/* The reason to show while it is ejected, where nothing else is wrong with it. */
void report_explain(struct llm *l, const struct track *t, int64_t now_wall_ms);

#endif
