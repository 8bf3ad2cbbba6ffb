/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/polling.h"

#include <string.h>

void polling_start(struct polling *p, int64_t now_ms)
{
	memset(p, 0, sizeof *p);
	p->waiting = true;
	p->next_ms = now_ms;
}

void polling_lost(struct polling *p, const struct config *c, int64_t now_ms)
{
	memset(p, 0, sizeof *p);
	p->waiting = true;
	p->next_ms = cfg_bool(c, CFG_POLLING_ENABLED) ? now_ms : 0;
}

void polling_found(struct polling *p)
{
	memset(p, 0, sizeof *p);
}

bool polling_due(const struct polling *p, int64_t now_ms)
{
	return p->waiting && p->next_ms != 0 && now_ms >= p->next_ms;
}

static const int retry_delays_ms[] = {1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000};
#define RETRIES (sizeof retry_delays_ms / sizeof retry_delays_ms[0])

static void plan(struct polling *p, const struct config *c, int64_t now_ms)
{
	int64_t max = cfg_int(c, CFG_POLLING_MAX_ATTEMPTS), interval = cfg_ms(c, CFG_POLLING_INTERVAL);

	p->exhausted = cfg_bool(c, CFG_POLLING_ENABLED) && max > 0 && p->attempts >= (uint64_t)max;
	p->next_ms = 0;
	p->retry = false;
	if (!cfg_bool(c, CFG_POLLING_ENABLED) || p->exhausted)
		return;
	p->retry = p->retries < RETRIES && retry_delays_ms[p->retries] < interval;
	p->next_ms = now_ms + (p->retry ? retry_delays_ms[p->retries++] : interval);
}

void polling_attempt(struct polling *p, const struct config *c, int64_t now_ms)
{
	p->attempts += !p->retry;
	plan(p, c, now_ms);
}

void polling_restart(struct polling *p, const struct config *c, int64_t now_ms)
{
	p->attempts = 0;
	p->retries = 0;
	if (p->waiting)
		plan(p, c, now_ms);
}

void polling_reconfigure(struct polling *p, const struct config *c, int64_t now_ms)
{
	struct polling before = *p;

	/* The attempt at start is always made. */
	if (!p->waiting || (p->attempts == 0 && before.next_ms != 0 && before.next_ms <= now_ms))
		return;
	plan(p, c, now_ms);
	if (before.next_ms == 0 || before.next_ms >= p->next_ms)
		return;
	p->next_ms = before.next_ms;
	p->retry = before.retry;
	p->retries = before.retries;
}

bool polling_active(const struct polling *p)
{
	return p->waiting && p->next_ms != 0;
}
