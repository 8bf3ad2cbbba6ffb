/* SPDX-License-Identifier: Apache-2.0 */
/* What every part of the daemon works with. One loop, one thread. */
#ifndef TT_AGENTD_SERVICES_H
#define TT_AGENTD_SERVICES_H

#include "core/config/config.h"
#include "agentd/events.h"
#include "agentd/registry.h"
#include "agentd/tokens.h"
#include "core/http/http.h"
#include "core/resolve/resolver.h"

#include <event2/event.h>

struct services {
	struct event_base *base;
	struct resolver *resolver;
	struct http *http;
	struct config *config; /* in force; another one after a reload */
	struct registry *registry;
	struct tokens *tokens;
	struct events *events;
};

/* Arms a timer for a time from now; negative counts as at once. */
static inline void timer_arm_ms(struct event *timer, int64_t ms)
{
	struct timeval tv = {.tv_sec = 0};

	if (ms > 0) {
		tv.tv_sec = (time_t)(ms / 1000);
		tv.tv_usec = (suseconds_t)(ms % 1000 * 1000);
	}
	evtimer_add(timer, &tv);
}

#endif
