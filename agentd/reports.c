/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/reports.h"

#include "agentd/probe.h"
#include "agentd/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_MS       1000  /* how far in the future an attempt may have begun */
#define STATUS_SERVING 100   /* continue */
#define QUIET_MS       60000 /* well for so long, and as long as it was ejected: it starts anew */

static const char *const verdict_texts[] = {
	[REPORT_COUNTS] = "counted", [REPORT_GONE] = "no such LLM any more", [REPORT_NOT_ITS_FAULT] = "not its fault",
	[REPORT_SERVED] = "served",  [REPORT_SERVING] = "serving",           [REPORT_SAME_EPISODE] = "same episode",
};

const char *report_verdict_text(enum report_verdict v)
{
	return verdict_texts[v];
}

static int parse_outcome(const char *text, enum http_outcome *o)
{
	for (int i = HTTP_DONE; text != NULL && i <= HTTP_FAILED; i++) {
		if (strcmp(text, http_outcome_text((enum http_outcome)i)) == 0) {
			*o = (enum http_outcome)i;
			return 0;
		}
	}
	return -1;
}

int report_parse(const json_t *j, struct report *r, struct err *e)
{
	const json_t *instance = json_object_get(j, "instance"), *began = json_object_get(j, "began_boot_ms");

	if (!json_is_object(j))
		return err_set(e, "report: an object is needed");
	if (!json_is_integer(instance) || json_integer_value(instance) <= 0)
		return err_set(e, "report.instance: a positive integer is needed");
	if (!json_is_integer(began) || json_integer_value(began) < 0)
		return err_set(e, "report.began_boot_ms: an integer is needed");
	if (parse_outcome(json_string_value(json_object_get(j, "outcome")), &r->outcome) != 0)
		return err_set(e, "report.outcome: no such outcome");
	r->instance = (uint64_t)json_integer_value(instance);
	r->began_boot_ms = json_integer_value(began);
	r->status = (long)json_integer_value(json_object_get(j, "status"));
	return 0;
}

static bool is_refusal(const struct report *r)
{
	return r->outcome == HTTP_DONE && (r->status == 401 || r->status == 403);
}

static bool is_its_fault(const struct report *r)
{
	if (r->outcome == HTTP_BAD_URL || r->outcome == HTTP_TOO_LARGE || r->outcome == HTTP_NO_RESOURCES)
		return false;
	return r->outcome != HTTP_DONE || r->status >= 500 || is_refusal(r);
}

enum report_verdict report_judge(const struct report *r, struct track *t, int64_t now_boot_ms)
{
	if (r->outcome == HTTP_DONE && (r->status == 200 || r->status == STATUS_SERVING)) {
		if (r->began_boot_ms <= t->counted_boot_ms || r->began_boot_ms > now_boot_ms + AHEAD_MS)
			return REPORT_SAME_EPISODE;
		return r->status == 200 ? REPORT_SERVED : REPORT_SERVING;
	}
	if (!is_its_fault(r))
		return REPORT_NOT_ITS_FAULT;
	if (r->began_boot_ms <= t->episode_boot_ms || r->began_boot_ms > now_boot_ms + AHEAD_MS)
		return REPORT_SAME_EPISODE;
	if (t->counted_boot_ms != 0 && now_boot_ms - t->counted_boot_ms < REPORTS_COALESCE_MS)
		return REPORT_SAME_EPISODE;
	t->episode_boot_ms = t->counted_boot_ms = now_boot_ms;
	return REPORT_COUNTS;
}

void report_result(const struct report *r, int64_t now_wall_ms, struct probe_result *out)
{
	memset(out, 0, sizeof *out);
	out->status = r->status;
	out->at_ms = now_wall_ms;
	out->latency_ms = -1;
	if (r->outcome != HTTP_DONE) {
		out->outcome = probe_outcome_of(r->outcome);
		snprintf(out->text, sizeof out->text, "a chat turn failed: %s", http_outcome_text(r->outcome));
		return;
	}
	/* A refused token ejects it; the verdict counts it like any failure. */
	out->outcome = PROBE_STATUS;
	snprintf(out->text, sizeof out->text, "a chat turn got HTTP %ld%s", r->status,
	         is_refusal(r) ? ": the token is not accepted" : "");
}

void report_apply(struct llm *l, const struct probe_result *r, const struct config *c)
{
	if (l->probe_url != NULL) {
		verdict_apply(l, r, c);
		return;
	}
	l->checked_ms = r->at_ms;
	free(l->reason);
	l->reason = strdup(r->text);
}

void report_eject(struct llm *l, struct track *t, const struct config *c, const char *why, int64_t now_wall_ms)
{
	int64_t ms;

	snprintf(t->ejection_reason, sizeof t->ejection_reason, "%.159s", why);
	if (l->ejected_until_ms > now_wall_ms)
		return;
	if (now_wall_ms > t->ejections_end_ms)
		t->ejections = 0;
	ms = schedule_eject_ms(c, t->ejections++);
	t->ejections_end_ms = now_wall_ms + ms + (ms > QUIET_MS ? ms : QUIET_MS);
	l->ejected_since_ms = now_wall_ms;
	l->ejected_until_ms = now_wall_ms + ms;
}

bool report_is_over(const struct llm *l, int64_t now_wall_ms)
{
	return l->ejected_until_ms != 0 && (l->ejected_until_ms <= now_wall_ms || now_wall_ms < l->ejected_since_ms);
}

void report_release(struct llm *l, struct track *t)
{
	l->ejected_since_ms = l->ejected_until_ms = 0;
	t->ejection_reason[0] = '\0';
	if (l->health == LLM_DEGRADED || l->health == LLM_UNHEALTHY)
		return;
	free(l->reason);
	l->reason = NULL;
}

void report_clear_ejection(struct llm *l, struct track *t)
{
	if (l->ejected_until_ms != 0)
		report_release(l, t);
	t->ejections = 0;
	t->ejections_end_ms = 0;
}

void report_explain(struct llm *l, const struct track *t, int64_t now_wall_ms)
{
	if (l->ejected_until_ms <= now_wall_ms || l->reason != NULL || t->ejection_reason[0] == '\0')
		return;
	l->reason = strdup(t->ejection_reason);
}
