/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/verdict.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_READ_MAX 4096
#define HANGS         2 /* consecutive failures that mean that it hangs */

static const char *const outcome_texts[] = {
	[PROBE_OK] = "ok",           [PROBE_REFUSED] = "refused",   [PROBE_TIMEOUT] = "timeout",
	[PROBE_LOADING] = "loading", [PROBE_STATUS] = "status",     [PROBE_UNAUTHORIZED] = "unauthorized",
	[PROBE_BROKEN] = "broken",   [PROBE_NOT_MADE] = "not made",
};

const char *probe_outcome_text(enum probe_outcome o)
{
	return outcome_texts[o];
}

/* "Loading model", "Model is not ready", "Model not loaded", case-insensitive. */
static bool says_loading(const char *body, size_t len)
{
	static const char *const words[] = {"loading", "not ready", "not loaded", "warming up"};
	char text[BODY_READ_MAX + 1];

	if (len > BODY_READ_MAX)
		len = BODY_READ_MAX;
	for (size_t i = 0; i < len; i++)
		text[i] = body[i] != '\0' ? body[i] : ' ';
	text[len] = '\0';
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcasestr(text, words[i]) != NULL)
			return true;
	return false;
}

static bool says_unhealthy(const char *body, size_t len)
{
	json_t *doc;
	const char *status;
	bool result;

	if (len == 0 || len > BODY_READ_MAX)
		return false;
	doc = json_loadb(body, len, 0, NULL);
	status = json_string_value(json_object_get(doc, "status"));
	result = status != NULL && strcmp(status, "unhealthy") == 0;
	json_decref(doc);
	return result;
}

enum probe_outcome probe_judge(long status, const char *body, size_t len, char *text, size_t size)
{
	if (size > 0)
		text[0] = '\0';
	if (status == 200) {
		if (!says_unhealthy(body, len))
			return PROBE_OK;
		snprintf(text, size, "/health reports unhealthy");
		return PROBE_BROKEN;
	}
	if (status == 401 || status == 403) {
		snprintf(text, size, "HTTP %ld: the token is not accepted", status);
		return PROBE_UNAUTHORIZED;
	}
	if ((status == 503 || status == 500 || status == 405) && says_loading(body, len)) {
		snprintf(text, size, "the model is loading");
		return PROBE_LOADING;
	}
	if (status == 0) {
		snprintf(text, size, "no HTTP response");
		return PROBE_BROKEN;
	}
	snprintf(text, size, "HTTP %ld", status);
	return PROBE_STATUS;
}

static void set_reason(struct llm *l, const char *text)
{
	free(l->reason);
	l->reason = text != NULL ? strdup(text) : NULL;
}

static enum llm_health probe_succeeded(struct llm *l, const struct probe_result *r, const struct config *c)
{
	int64_t rise = l->health == LLM_UNHEALTHY && !l->loading ? cfg_int(c, CFG_HEALTH_RISE) : 1;
	char text[64];

	l->latency_ms = r->latency_ms;
	if (l->hung)
		return LLM_UNHEALTHY;
	l->failures = 0;
	l->successes++;
	if ((int64_t)l->successes < rise) {
		snprintf(text, sizeof text, "recovering: success %u of %lld", l->successes, (long long)rise);
		set_reason(l, text);
		return LLM_UNHEALTHY;
	}
	l->successes = 0;
	if (l->latency_ms < cfg_ms(c, CFG_HEALTH_DEGRADED_AFTER)) {
		set_reason(l, NULL);
		return LLM_HEALTHY;
	}
	snprintf(text, sizeof text, "slow: answered after %.1f s", (double)l->latency_ms / 1000);
	set_reason(l, text);
	return LLM_DEGRADED;
}

static enum llm_health probe_failed(struct llm *l, const struct probe_result *r, const struct config *c)
{
	bool was_up = llm_health_is_up(l->health);
	int64_t fall = cfg_int(c, CFG_HEALTH_MAX_FAILURES);

	l->successes = 0;
	if (r->outcome == PROBE_REFUSED || r->outcome == PROBE_LOADING) {
		l->hung = false; /* the process that hung has ended */
		l->hangs = 0;
	}
	if (!l->hung)
		set_reason(l, r->text[0] != '\0' ? r->text : probe_outcome_text(r->outcome));
	if (r->outcome == PROBE_LOADING)
		return LLM_UNHEALTHY;
	if (r->busy && was_up && r->outcome == PROBE_TIMEOUT) {
		if ((int64_t)l->failures + 1 < fall)
			l->failures++;
		return LLM_DEGRADED;
	}
	l->failures++;
	if (r->outcome == PROBE_UNAUTHORIZED || !was_up)
		return LLM_UNHEALTHY;
	return (int64_t)l->failures < fall ? LLM_DEGRADED : LLM_UNHEALTHY;
}

static enum llm_health canary_succeeded(struct llm *l)
{
	l->hangs = 0;
	if (!l->hung)
		return l->health;
	l->hung = false;
	l->failures = l->successes = 0;
	set_reason(l, NULL);
	return LLM_HEALTHY;
}

static enum llm_health canary_failed(struct llm *l, const struct probe_result *r, const struct config *c)
{
	int64_t fall = cfg_int(c, CFG_HEALTH_MAX_FAILURES);

	if (r->outcome == PROBE_LOADING || !(llm_health_is_up(l->health) || l->hung))
		return l->health;
	l->hangs++;
	l->failures++;
	set_reason(l, r->text);
	l->hung |= l->hangs >= HANGS || fall == 1;
	if (l->hung && (int64_t)l->failures < fall)
		l->failures = (unsigned)fall;
	return (int64_t)l->failures < fall ? LLM_DEGRADED : LLM_UNHEALTHY;
}

bool verdict_apply(struct llm *l, const struct probe_result *r, const struct config *c)
{
	enum llm_health before = l->health;

	if (r->outcome == PROBE_NOT_MADE)
		return false;
	l->checked_ms = r->at_ms;
	if (r->real) {
		l->health = r->outcome == PROBE_OK ? canary_succeeded(l) : canary_failed(l, r, c);
		return l->health != before;
	}
	l->health = r->outcome == PROBE_OK ? probe_succeeded(l, r, c) : probe_failed(l, r, c);
	l->loading = r->outcome == PROBE_LOADING;
	return l->health != before;
}

void verdict_expect(struct llm *l, const struct config *c)
{
	if (l->health == LLM_UNHEALTHY)
		l->successes = (unsigned)cfg_int(c, CFG_HEALTH_RISE) - 1;
}
