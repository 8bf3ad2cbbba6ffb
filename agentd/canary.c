/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/canary.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/http/http_proxy.h"
#include "core/probe/chat.h"
#include "core/probe/health.h"
#include "agentd/capabilities.h"
#include "agentd/schedule.h"

#include <stdio.h>
#include <stdlib.h>

#define AT_ONCE 32
#define FULL_MS 50 /* until a place may be free */

struct canary_probe {
	struct canary_probe *next, **link; /* link: the pointer that points here */
	struct canary *owner;
	struct chat_probe *probe;
	uint64_t instance;
	size_t hint;
	int64_t began_ms;
};

struct canary {
	struct services *s;
	canary_done_fn *done;
	void *arg;
	struct event *timer;
	int64_t armed_ms; /* 0 = not armed */
	struct canary_probe *probes;
	size_t running;
};

static void tick(evutil_socket_t fd, short what, void *arg);

struct canary *canary_new(struct services *s, canary_done_fn *done, void *arg)
{
	struct canary *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	*c = (struct canary){.s = s, .done = done, .arg = arg};
	c->timer = evtimer_new(s->base, tick, c);
	if (c->timer == NULL) {
		free(c);
		return NULL;
	}
	return c;
}

static void probe_free(struct canary_probe *p)
{
	*p->link = p->next;
	if (p->next != NULL)
		p->next->link = p->link;
	p->owner->running--;
	if (p->probe != NULL)
		chat_probe_cancel(p->probe);
	free(p);
}

void canary_free(struct canary *c)
{
	if (c == NULL)
		return;
	while (c->probes != NULL)
		probe_free(c->probes);
	event_free(c->timer);
	free(c);
}

static void arm(struct canary *c, int64_t due_ms)
{
	if (c->armed_ms != 0 && c->armed_ms <= due_ms)
		return;
	c->armed_ms = due_ms;
	timer_arm_ms(c->timer, due_ms - clock_mono_ms());
}

void canary_plan(struct canary *c, size_t index)
{
	struct track *t = registry_track(c->s->registry, index);

	if (t->canary_running)
		return;
	t->canary_due_ms =
		schedule_canary(registry_llm(c->s->registry, index), t, c->s->config, clock_mono_ms(), arc4random());
	if (t->canary_due_ms != 0)
		arm(c, t->canary_due_ms);
}

void canary_replan(struct canary *c)
{
	for (size_t i = 0; i < registry_count(c->s->registry); i++)
		canary_plan(c, i);
}

void canary_soon(struct canary *c, size_t index, int64_t within_ms)
{
	struct track *t = registry_track(c->s->registry, index);
	int64_t due = clock_mono_ms() + within_ms;

	canary_plan(c, index);
	if (t->canary_running || t->canary_due_ms == 0 || t->canary_due_ms <= due)
		return;
	t->canary_due_ms = due;
	arm(c, due);
}

/* ---- one of them ----------------------------------------------------------------- */

/* false: it proves nothing. */
static bool judge(const struct canary_probe *p, const struct http_result *h, const struct config *c,
                  struct probe_result *r)
{
	char text[sizeof r->text];

	*r = (struct probe_result){.real = true, .status = h->status, .at_ms = clock_wall_ms()};
	r->latency_ms = clock_mono_ms() - p->began_ms;
	if (h->outcome == HTTP_DONE) {
		r->outcome =
			h->status == 200 ? PROBE_OK : probe_judge(h->status, h->body, h->body_len, text, sizeof text);
		snprintf(r->text, sizeof r->text, "asked for a few words: %.100s", r->outcome != PROBE_OK ? text : "");
		return r->outcome != PROBE_STATUS || h->status >= 500;
	}
	r->outcome = probe_outcome_of(h->outcome);
	if (r->outcome == PROBE_NOT_MADE)
		return false;
	if (r->outcome == PROBE_TIMEOUT)
		snprintf(r->text, sizeof r->text, "it hangs: asked for a few words, no answer within %.15g s",
		         (double)cfg_ms(c, CFG_HEALTH_CANARY_TIMEOUT) / 1000);
	else
		snprintf(r->text, sizeof r->text, "asked for a few words: %s", http_outcome_text(h->outcome));
	return true;
}

static void answered(void *arg, const struct http_result *h, const struct quirks *learned)
{
	struct canary_probe *p = arg;
	struct canary *c = p->owner;
	long i = registry_find(c->s->registry, p->instance, p->hint);
	struct probe_result r;
	bool counts = judge(p, h, c->s->config, &r);
	struct track *t;

	p->probe = NULL;
	probe_free(p);
	if (i < 0)
		return; /* it is gone */
	if (r.outcome == PROBE_OK)
		capabilities_learn_probed(c->s, registry_llm(c->s->registry, (size_t)i), learned);
	t = registry_track(c->s->registry, (size_t)i);
	log_event(LOG_CANARY, L_STR("model", llm_name(registry_llm(c->s->registry, (size_t)i))),
	          L_STR("outcome", probe_outcome_text(r.outcome)), L_INT("status", r.status),
	          L_INT("latency_ms", r.latency_ms), L_STR("detail", r.outcome != PROBE_OK ? r.text : NULL));
	t->canary_running = false;
	if (r.outcome == PROBE_NOT_MADE) {
		t->canary_due_ms = clock_mono_ms() + schedule_interval_ms(c->s->config, PACE_CHANGING);
		arm(c, t->canary_due_ms);
		return;
	}
	if (!counts || r.outcome == PROBE_OK)
		t->served_ms = clock_mono_ms(); /* probed again after another interval */
	if (counts)
		c->done(c->arg, (size_t)i, &r);
	canary_plan(c, (size_t)i);
}

static int start(struct canary *c, size_t index)
{
	const struct llm *l = registry_llm(c->s->registry, index);
	struct canary_probe *p = calloc(1, sizeof *p);
	const struct chat_probe_request req = {
		.llm = l,
		.question = CHAT_WORDS,
		.bearer = tokens_for(c->s->tokens, l, c->s->config),
		.ca_file = cfg_str(c->s->config, CFG_CLOUD_CA_FILE),
		.proxy = l->kind == LLM_CLOUD ? http_proxy_for(c->s->config, l->url) : NULL,
		.connect_ms = cfg_ms(c->s->config, CFG_HEALTH_CANARY_TIMEOUT),
		.total_ms = cfg_ms(c->s->config, CFG_HEALTH_CANARY_TIMEOUT),
	};

	if (p == NULL)
		return -1;
	*p = (struct canary_probe){
		.next = c->probes, .link = &c->probes, .owner = c, .instance = l->instance, .hint = index};
	p->began_ms = clock_mono_ms();
	p->probe = chat_probe_start(c->s->http, &req, answered, p);
	if (p->probe == NULL) {
		free(p);
		return -1;
	}
	if (p->next != NULL)
		p->next->link = &p->next;
	c->probes = p;
	c->running++;
	return 0;
}

static void start_due(struct canary *c, size_t index)
{
	struct track *t = registry_track(c->s->registry, index);

	/* Where it does not start, it is due again like any other. */
	t->canary_due_ms =
		schedule_canary(registry_llm(c->s->registry, index), t, c->s->config, clock_mono_ms(), arc4random());
	t->canary_running = t->canary_due_ms != 0 && start(c, index) == 0;
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct canary *c = arg;
	int64_t now = clock_mono_ms(), next = 0;

	(void)fd;
	(void)what;
	c->armed_ms = 0;
	for (size_t i = 0; i < registry_count(c->s->registry); i++) {
		struct track *t = registry_track(c->s->registry, i);

		if (t->canary_due_ms != 0 && t->canary_due_ms <= now && !t->canary_running) {
			if (c->running < AT_ONCE)
				start_due(c, i);
			else
				t->canary_due_ms = now + FULL_MS;
		}
		if (t->canary_due_ms != 0 && !t->canary_running && (next == 0 || t->canary_due_ms < next))
			next = t->canary_due_ms;
	}
	if (next != 0)
		arm(c, next);
}
