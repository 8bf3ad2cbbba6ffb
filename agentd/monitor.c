/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/monitor.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/probe/health.h"
#include "agentd/schedule.h"

#include <stdlib.h>
#include <string.h>

#define RUNNING_MAX 1024u /* connections at once */
#define START_MAX   32u   /* probes that one iteration of the loop starts */

struct monitor {
	struct services *s;
	monitor_verdict_fn *judged;
	void *arg;
	struct prober *prober;
	struct event *timer, *starter;
	size_t running;
	bool waiting;     /* some are queued */
	size_t next;      /* index from which on the queue is searched */
	int64_t armed_ms; /* what the timer waits for; 0 = not armed */
	bool all, alone;
};

static void tick(evutil_socket_t fd, short what, void *arg);
static void start_queued(evutil_socket_t fd, short what, void *arg);
static probe_done_fn probed;

struct monitor *monitor_new(struct services *s, monitor_verdict_fn *judged, void *arg)
{
	struct monitor *m = calloc(1, sizeof *m);

	if (m == NULL)
		return NULL;
	*m = (struct monitor){.s = s, .judged = judged, .arg = arg, .all = true, .alone = true};
	m->timer = evtimer_new(s->base, tick, m);
	m->starter = evtimer_new(s->base, start_queued, m);
	m->prober = prober_new(s->http, probed, m);
	if (m->timer == NULL || m->starter == NULL || m->prober == NULL) {
		monitor_free(m);
		return NULL;
	}
	return m;
}

void monitor_free(struct monitor *m)
{
	if (m == NULL)
		return;
	prober_free(m->prober);
	if (m->timer != NULL)
		event_free(m->timer);
	if (m->starter != NULL)
		event_free(m->starter);
	free(m);
}

bool monitor_enabled(const struct config *c)
{
	return cfg_bool(c, CFG_HEALTH_ENABLED);
}

static void arm(struct monitor *m, int64_t due_ms, int64_t now_ms)
{
	if (m->armed_ms != 0 && m->armed_ms <= due_ms)
		return;
	m->armed_ms = due_ms;
	timer_arm_ms(m->timer, due_ms - now_ms);
}

/* An LLM that is no longer healthy is probed even where monitoring is off: a chat turn may have
 * failed. */
static void plan(struct monitor *m, size_t index)
{
	const struct llm *l = registry_llm(m->s->registry, index);
	struct track *t = registry_track(m->s->registry, index);
	int64_t now = clock_mono_ms();
	enum pace pace = schedule_pace(l, t, m->alone, now);

	if (!monitor_enabled(m->s->config) && !(t->seen_healthy && l->health != LLM_HEALTHY)) {
		t->probe_due_ms = 0;
		return;
	}
	t->probe_due_ms = schedule_probe(t, m->s->config, pace, now, arc4random());
	t->pace = pace;
	arm(m, t->probe_due_ms, now);
}

/* The probe could not be made: the next one does not wait for a whole interval. */
static void probe_again(struct monitor *m, size_t index)
{
	struct track *t = registry_track(m->s->registry, index);
	int64_t now = clock_mono_ms();

	t->probe_due_ms = schedule_probe(t, m->s->config, PACE_CHANGING, now, arc4random());
	t->pace = PACE_CHANGING;
	arm(m, t->probe_due_ms, now);
}

/* An LLM that answers chat turns and times out is busy. */
static bool is_busy(const struct monitor *m, const struct track *t)
{
	int64_t while_ms = cfg_ms(m->s->config, CFG_HEALTH_INTERVAL) + cfg_ms(m->s->config, CFG_HEALTH_TIMEOUT);

	return t->served_ms != 0 && clock_mono_ms() - t->served_ms < while_ms;
}

void monitor_note(struct track *t, const struct llm *l, enum llm_health before)
{
	if (l->health == before)
		return;
	t->episode_boot_ms = clock_boot_ms();
	if (l->health == LLM_HEALTHY && before != LLM_UNKNOWN && t->seen_healthy)
		t->healthy_since_ms = clock_mono_ms();
}

/* Whether the probe says something of the server that gets the chats. */
static bool is_same_server(const char *a, const char *b)
{
	const char *host_a = strstr(a, "://"), *host_b = strstr(b, "://");
	size_t len = host_a != NULL ? (size_t)(host_a - a) + 3 + strcspn(host_a + 3, "/") : 0;

	return len != 0 && host_b != NULL && len == (size_t)(host_b - b) + 3 + strcspn(host_b + 3, "/") &&
	       strncmp(a, b, len) == 0;
}

static void probed(void *arg, uint64_t instance, size_t hint, const struct probe_result *result)
{
	struct monitor *m = arg;
	struct probe_result judged = *result, *r = &judged;
	long i = registry_find(m->s->registry, instance, hint);
	struct track *t;
	struct llm *l;
	enum llm_health before;

	m->running--;
	if (m->waiting)
		timer_arm_ms(m->starter, 0);
	if (i < 0)
		return; /* it is gone */
	l = registry_llm(m->s->registry, (size_t)i);
	t = registry_track(m->s->registry, (size_t)i);
	before = l->health;
	log_event(LOG_PROBE, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id), L_STR("url", l->probe_url),
	          L_STR("outcome", probe_outcome_text(r->outcome)), L_INT("status", r->status),
	          L_INT("latency_ms", r->latency_ms), L_STR("detail", r->outcome != PROBE_OK ? r->text : NULL));
	t->probing = false;
	t->unreached = r->unreached;
	r->busy = is_busy(m, t);
	if (m->alone)
		verdict_expect(l, m->s->config);
	if (r->status != 0)
		l->plain = r->plain && l->url != NULL && is_same_server(l->url, l->probe_url);
	verdict_apply(l, r, m->s->config);
	monitor_note(t, l, before);
	t->seen_healthy |= llm_health_is_up(l->health);
	if (r->outcome == PROBE_NOT_MADE)
		probe_again(m, (size_t)i);
	else if (t->probe_due_ms == 0 || t->pace == PACE_CHANGING ||
	         schedule_pace(l, t, m->alone, clock_mono_ms()) != t->pace)
		plan(m, (size_t)i);
	m->judged(m->arg, (size_t)i, before);
}

void monitor_probe(struct monitor *m, size_t index)
{
	struct llm *l = registry_llm(m->s->registry, index);
	struct track *t = registry_track(m->s->registry, index);

	if ((t->probing && !t->queued) || l->probe_url == NULL)
		return;
	t->queued = false;
	t->probing =
		prober_start(m->prober, l, index, tokens_for(m->s->tokens, l, m->s->config),
	                     cfg_str(m->s->config, CFG_CLOUD_CA_FILE), cfg_ms(m->s->config, CFG_HEALTH_TIMEOUT)) == 0;
	if (t->probing) {
		m->running++;
	} else {
		log_event(LOG_PROBE_ERROR, L_STR("model", llm_name(l)), L_STR("error", "out of memory"));
		plan(m, index);
	}
}

void monitor_enqueue(struct monitor *m, size_t index)
{
	struct track *t = registry_track(m->s->registry, index);

	if (t->probing || registry_llm(m->s->registry, index)->probe_url == NULL)
		return;
	t->probing = t->queued = m->waiting = true;
	if (!evtimer_pending(m->starter, NULL))
		timer_arm_ms(m->starter, 0);
}

/* In turns, so that a registry that changes meanwhile leaves none out. */
static void start_queued(evutil_socket_t fd, short what, void *arg)
{
	struct monitor *m = arg;
	size_t count = registry_count(m->s->registry), started = 0, seen;

	(void)fd;
	(void)what;
	for (seen = 0; seen < count && started < START_MAX && m->running < RUNNING_MAX; seen++) {
		size_t i = m->next++ % count;

		if (!registry_track(m->s->registry, i)->queued)
			continue;
		monitor_probe(m, i);
		started++;
	}
	m->waiting = seen < count;
	if (started == START_MAX)
		timer_arm_ms(m->starter, 0);
}

void monitor_probe_new(struct monitor *m)
{
	for (size_t i = 0; i < registry_count(m->s->registry); i++)
		if (registry_llm(m->s->registry, i)->health == LLM_UNKNOWN &&
		    registry_track(m->s->registry, i)->probe_due_ms == 0)
			monitor_enqueue(m, i);
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct monitor *m = arg;
	int64_t now = clock_mono_ms(), next = 0;

	(void)fd;
	(void)what;
	m->armed_ms = 0;
	for (size_t i = 0; i < registry_count(m->s->registry); i++) {
		struct track *t = registry_track(m->s->registry, i);

		if (t->probe_due_ms != 0 && t->probe_due_ms <= now) {
			plan(m, i);
			if (m->all || t->seen_healthy)
				monitor_enqueue(m, i);
		}
		if (t->probe_due_ms != 0 && (next == 0 || t->probe_due_ms < next))
			next = t->probe_due_ms;
	}
	if (next != 0)
		arm(m, next, now);
}

void monitor_watch(struct monitor *m, bool all, bool alone)
{
	bool was_alone = m->alone;

	m->all = all;
	m->alone = alone;
	for (size_t i = 0; alone && !was_alone && i < registry_count(m->s->registry); i++)
		if (registry_track(m->s->registry, i)->probe_due_ms != 0 &&
		    registry_track(m->s->registry, i)->pace == PACE_DOWN)
			plan(m, i);
}

void monitor_replan(struct monitor *m)
{
	for (size_t i = 0; i < registry_count(m->s->registry); i++) {
		if (registry_llm(m->s->registry, i)->probe_url == NULL)
			continue;
		registry_track(m->s->registry, i)->probe_due_ms = 0; /* spread over the interval */
		plan(m, i);
	}
}
