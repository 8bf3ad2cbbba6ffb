/* What every part of the daemon works with. One loop, one thread. */
#ifndef TT_DAEMON_SERVICES_H
#define TT_DAEMON_SERVICES_H

#include "core/config/config.h"
#include "core/daemon/events.h"
#include "core/daemon/registry.h"
#include "core/daemon/tokens.h"
#include "core/net/http.h"
#include "core/net/resolver.h"

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
