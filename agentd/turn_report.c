/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/turn_report.h"

#include "core/base/utf8.h"
#include "core/probe/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_MS       1000 /* how far in the future an attempt may have begun */
#define STATUS_SERVING 100  /* continue */

/* How reasons begin. */
#define FAILED "a chat turn failed: "
#define GOT    "a chat turn got HTTP "

static const char *const verdict_texts[] = {
	[REPORT_COUNTS] = "counted", [REPORT_GONE] = "no such LLM any more", [REPORT_IGNORED] = "not its fault",
	[REPORT_SERVED] = "served",  [REPORT_SERVING] = "serving",           [REPORT_SAME_EPISODE] = "same episode",
};

const char *turn_report_verdict_text(enum turn_report_verdict v)
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

int turn_report_parse(const json_t *j, struct turn_report *r, struct err *e)
{
	const json_t *instance = json_object_get(j, "instance"), *began = json_object_get(j, "began_boot_ms");
	const char *text;

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
	text = json_string_value(json_object_get(j, "text"));
	text = text == NULL ? "" : text;
	quirks_from_json(json_object_get(j, "quirks"), &r->quirks);
	snprintf(r->text, sizeof r->text, "%.*s", (int)utf8_cut(text, sizeof r->text - 1), text);
	return 0;
}

static bool is_token_refused(const struct turn_report *r)
{
	return r->outcome == HTTP_DONE && (r->status == 401 || r->status == 403);
}

static bool is_credit_used_up(const struct turn_report *r)
{
	return r->outcome == HTTP_DONE && r->status == 402;
}

static bool is_llm_failure(const struct turn_report *r)
{
	if (r->outcome == HTTP_BAD_URL || r->outcome == HTTP_TOO_LARGE || r->outcome == HTTP_NO_RESOURCES)
		return false;
	return r->outcome != HTTP_DONE || r->status >= 500 || is_token_refused(r) || is_credit_used_up(r);
}

enum turn_report_verdict turn_report_judge(const struct turn_report *r, struct track *t, int64_t now_boot_ms)
{
	if (r->outcome == HTTP_DONE && (r->status == 200 || r->status == STATUS_SERVING)) {
		if (r->began_boot_ms <= t->counted_boot_ms || r->began_boot_ms > now_boot_ms + AHEAD_MS)
			return REPORT_SAME_EPISODE;
		return r->status == 200 ? REPORT_SERVED : REPORT_SERVING;
	}
	if (!is_llm_failure(r))
		return REPORT_IGNORED;
	if (r->began_boot_ms <= t->episode_boot_ms || r->began_boot_ms > now_boot_ms + AHEAD_MS)
		return REPORT_SAME_EPISODE;
	if (t->counted_boot_ms != 0 && now_boot_ms - t->counted_boot_ms < REPORT_COALESCE_MS)
		return REPORT_SAME_EPISODE;
	t->episode_boot_ms = t->counted_boot_ms = now_boot_ms;
	return REPORT_COUNTS;
}

void turn_report_result(const struct turn_report *r, int64_t now_wall_ms, struct probe_result *out)
{
	const char *why = r->text;

	memset(out, 0, sizeof *out);
	out->status = r->status;
	out->at_ms = now_wall_ms;
	out->latency_ms = -1;
	if (r->outcome != HTTP_DONE) {
		out->outcome = probe_outcome_of(r->outcome);
		snprintf(out->text, sizeof out->text, FAILED "%s", *why != '\0' ? why : http_outcome_text(r->outcome));
		return;
	}
	/* A refused token or account ejects it; the verdict counts it like any failure. */
	if (is_token_refused(r))
		why = "the token is not accepted";
	else if (is_credit_used_up(r) && *why == '\0')
		why = "the account is used up";
	out->outcome = PROBE_STATUS;
	snprintf(out->text, sizeof out->text, GOT "%ld%s%s", r->status, *why == '\0' ? "" : ": ", why);
}

size_t turn_report_own_words(const char *reason)
{
	enum http_outcome outcome;

	if (strncmp(reason, GOT, strlen(GOT)) == 0)
		return strcspn(reason, ":");
	if (strncmp(reason, FAILED, strlen(FAILED)) == 0 && parse_outcome(reason + strlen(FAILED), &outcome) != 0)
		return strcspn(reason, ":");
	return strlen(reason);
}

void turn_report_apply(struct llm *l, const struct probe_result *r, const struct config *c)
{
	if (l->probe_url != NULL) {
		verdict_apply(l, r, c);
		return;
	}
	l->checked_ms = r->at_ms;
	free(l->reason);
	l->reason = strdup(r->text);
}
