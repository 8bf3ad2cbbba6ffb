/* SPDX-License-Identifier: Apache-2.0 */
/* What every part of the daemon works with. One loop, one thread. */
#ifndef TT_AGENTD_SERVICES_H
#define TT_AGENTD_SERVICES_H

#include "agentd/events.h"
#include "agentd/registry.h"
#include "agentd/tokens.h"
#include "core/base/clock.h"
#include "core/config/config.h"
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

/* Arms a timer for a time from now; a negative one is due at once. */
static inline void timer_arm_ms(struct event *timer, int64_t ms)
{
	struct timeval tv = clock_timeval_ms(ms);

	evtimer_add(timer, &tv);
}

#endif
