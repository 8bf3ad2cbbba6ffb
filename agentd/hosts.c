/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/hosts.h"

#include "core/base/log.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_MS      30000
#define DOUBTED_MS    1000  /* the same for the hosts of LLMs that cannot be reached */
#define DOUBT_LAST_MS 60000 /* how long these are looked up so often */

struct lookup {
	struct lookup *next, **link;
	struct hosts *owner;
	struct resolver_query *query;
	uint64_t instance;
	size_t hint;
};

struct hosts {
	struct services *s;
	void (*changed)(void *arg, size_t index);
	void *arg;
	struct event *timer, *doubt_timer;
	struct lookup *lookups;
};

static void look_up_all(struct hosts *h, bool again);

static void again(evutil_socket_t fd, short what, void *arg)
{
	struct hosts *h = arg;

	(void)fd;
	(void)what;
	look_up_all(h, true);
	timer_arm_ms(h->timer, AGAIN_MS);
}

static void doubt_due(evutil_socket_t fd, short what, void *arg);

struct hosts *hosts_new(struct services *s, void (*changed)(void *arg, size_t index), void *arg)
{
	struct hosts *h = calloc(1, sizeof *h);

	if (h == NULL)
		return NULL;
	*h = (struct hosts){.s = s, .changed = changed, .arg = arg};
	h->timer = evtimer_new(s->base, again, h);
	h->doubt_timer = evtimer_new(s->base, doubt_due, h);
	if (h->timer == NULL || h->doubt_timer == NULL) {
		hosts_free(h);
		return NULL;
	}
	timer_arm_ms(h->timer, AGAIN_MS);
	return h;
}

void hosts_free(struct hosts *h)
{
	if (h == NULL)
		return;
	while (h->lookups != NULL) {
		struct lookup *l = h->lookups;

		h->lookups = l->next;
		resolver_cancel(l->query);
		free(l);
	}
	if (h->timer != NULL)
		event_free(h->timer);
	if (h->doubt_timer != NULL)
		event_free(h->doubt_timer);
	free(h);
}

static void unlink_lookup(struct lookup *l)
{
	*l->link = l->next;
	if (l->next != NULL)
		l->next->link = l->link;
}

static void looked_up(void *arg, const char *resolve, bool ours, const struct err *e)
{
	struct lookup *l = arg;
	struct hosts *h = l->owner;
	long i = registry_find(h->s->registry, l->instance, l->hint);
	struct llm *llm = i >= 0 ? registry_llm(h->s->registry, (size_t)i) : NULL;
	struct track *t;
	bool was_gone;

	(void)ours;
	unlink_lookup(l);
	free(l);
	if (llm == NULL)
		return;
	t = registry_track(h->s->registry, (size_t)i);
	t->looked_up = false;
	was_gone = t->name_gone;
	t->name_gone = resolve == NULL;
	if (resolve == NULL) {
		log_event(LOG_LOOKUP, L_STR("model", llm_name(llm)), L_STR("error", e->text));
	} else if (was_gone || llm->resolve == NULL || strcmp(llm->resolve, resolve) != 0) {
		free(llm->resolve);
		llm->resolve = strdup(resolve);
		h->changed(h->arg, (size_t)i);
	}
}

static void look_up(struct hosts *h, struct llm *llm, size_t index)
{
	struct llm_endpoint p = {.scheme = NULL};
	struct err e = ERR_INIT;
	struct lookup *l;

	if (llm_endpoint_parse(llm->url, &p, &e) != 0)
		return;
	l = p.literal ? NULL : calloc(1, sizeof *l);
	if (l != NULL) {
		*l = (struct lookup){
			.next = h->lookups, .link = &h->lookups, .owner = h, .instance = llm->instance, .hint = index};
		l->query = resolver_lookup(h->s->resolver, p.host, p.port, looked_up, l);
		if (l->query != NULL) {
			if (l->next != NULL)
				l->next->link = &l->next;
			h->lookups = l;
			registry_track(h->s->registry, index)->looked_up = true;
		} else {
			free(l);
		}
	}
	llm_endpoint_clear(&p);
}

static void look_up_all(struct hosts *h, bool once_more)
{
	for (size_t i = 0; i < registry_count(h->s->registry); i++) {
		struct llm *llm = registry_llm(h->s->registry, i);

		if (llm->url != NULL && (once_more || llm->resolve == NULL) &&
		    !registry_track(h->s->registry, i)->looked_up)
			look_up(h, llm, i);
	}
}

void hosts_update(struct hosts *h)
{
	look_up_all(h, false);
}

/* ---- hosts that cannot be reached ------------------------------------------------------------- */

static void look_up_doubted(struct hosts *h, size_t index)
{
	struct llm *llm = registry_llm(h->s->registry, index);
	struct llm_endpoint p = {.scheme = NULL};
	struct err e = ERR_INIT;
	int64_t wait;

	if (registry_track(h->s->registry, index)->looked_up || llm_endpoint_parse(llm->url, &p, &e) != 0)
		return;
	wait = p.literal ? 0 : resolver_doubt(h->s->resolver, p.host, p.port);
	if (wait == 0)
		look_up(h, llm, index);
	llm_endpoint_clear(&p);
}

static void doubt_due(evutil_socket_t fd, short what, void *arg)
{
	struct hosts *h = arg;
	int64_t now = clock_mono_ms();
	bool more = false;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < registry_count(h->s->registry); i++) {
		struct track *t = registry_track(h->s->registry, i);

		if (t->unreached_ms == 0 || now - t->unreached_ms > DOUBT_LAST_MS)
			continue;
		look_up_doubted(h, i);
		more = true;
	}
	if (more)
		timer_arm_ms(h->doubt_timer, DOUBTED_MS);
}

void hosts_unreached(struct hosts *h, size_t index)
{
	struct track *t = registry_track(h->s->registry, index);

	if (registry_llm(h->s->registry, index)->url == NULL)
		return;
	if (t->unreached_ms == 0)
		t->unreached_ms = clock_mono_ms();
	look_up_doubted(h, index);
	if (!event_pending(h->doubt_timer, EV_TIMEOUT, NULL))
		timer_arm_ms(h->doubt_timer, DOUBTED_MS);
}
