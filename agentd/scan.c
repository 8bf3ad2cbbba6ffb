/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/scan.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdlib.h>

struct scan {
	struct services *s;
	struct discovery *discovery;
	struct monitor *monitor;
	scan_done_fn *done;
	void *arg;
	struct event *end; /* activated at the end: done never runs inside its caller */
	int64_t began_ms;
	size_t awaited;
	bool running;
};

static void ended(evutil_socket_t fd, short what, void *arg)
{
	struct scan *v = arg;

	(void)fd;
	(void)what;
	if (!v->running || discovery_running(v->discovery) || v->awaited > 0)
		return;
	v->running = false;
	log_event(LOG_SCAN, L_INT("llms", registry_count(v->s->registry)),
	          L_INT("duration_ms", clock_mono_ms() - v->began_ms));
	v->done(v->arg);
}

struct scan *scan_new(struct services *s, struct discovery *d, struct monitor *m, scan_done_fn *done, void *arg)
{
	struct scan *v = calloc(1, sizeof *v);

	if (v == NULL)
		return NULL;
	*v = (struct scan){.s = s, .discovery = d, .monitor = m, .done = done, .arg = arg};
	v->end = evtimer_new(s->base, ended, v);
	if (v->end == NULL) {
		free(v);
		return NULL;
	}
	return v;
}

void scan_free(struct scan *v)
{
	if (v == NULL)
		return;
	event_free(v->end);
	free(v);
}

bool scan_running(const struct scan *v)
{
	return v->running;
}

static void end_if_done(struct scan *v)
{
	if (v->running && !discovery_running(v->discovery) && v->awaited == 0)
		event_active(v->end, EV_TIMEOUT, 1);
}

static void recount(struct scan *v)
{
	v->awaited = 0;
	for (size_t i = 0; i < registry_count(v->s->registry); i++)
		v->awaited += registry_track(v->s->registry, i)->awaited;
}

/* only_new: those that were never probed. */
static void await(struct scan *v, bool only_new)
{
	for (size_t i = 0; i < registry_count(v->s->registry); i++) {
		struct llm *l = registry_llm(v->s->registry, i);
		struct track *t = registry_track(v->s->registry, i);

		if (l->probe_url == NULL || (only_new && (l->health != LLM_UNKNOWN || t->awaited)))
			continue;
		monitor_enqueue(v->monitor, i);
		t->awaited = t->probing;
	}
	recount(v);
}

void scan_start(struct scan *v)
{
	v->running = true;
	v->began_ms = clock_mono_ms();
	discovery_cancel(v->discovery); /* an older request would give an older answer */
	discovery_start(v->discovery);
	await(v, false);
	end_if_done(v);
}

void scan_merged(struct scan *v)
{
	if (!v->running)
		return;
	await(v, true);
	end_if_done(v);
}

void scan_settled(struct scan *v, size_t index)
{
	struct track *t = registry_track(v->s->registry, index);

	if (!v->running || !t->awaited || t->gated || t->probing)
		return;
	t->awaited = false;
	v->awaited--;
	end_if_done(v);
}
