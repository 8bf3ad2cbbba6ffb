/* SPDX-License-Identifier: Apache-2.0 */
/* What `top` shows at one moment. */
#ifndef TT_AGENTCTL_TOP_STATE_H
#define TT_AGENTCTL_TOP_STATE_H

#include "core/llm/llm.h"
#include "core/status/counters.h"
#include "core/status/event_ring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOP_HISTORY    60    /* slots of a model's history, the newest one last */
#define TOP_HISTORY_MS 15000 /* a slot: the worst that happened in that time */
#define TOP_EVENTS     20

/* The worst one is the greatest. */
enum top_mark { TOP_NONE, TOP_UP, TOP_UNKNOWN, TOP_DEGRADED, TOP_EJECTED, TOP_DOWN, TOP_MARKS };

/* Negative numbers are not known. Texts are borrowed. */
struct top_model {
	const char *name, *deploy_id, *reason; /* deploy_id, reason: may be NULL */
	enum llm_health health;
	bool current, ejected;
	size_t rank;     /* in the order of preference; the others come after them */
	int64_t running; /* requests */
	double tokens_per_s, ttft_p50_ms, ttft_p99_ms;
	int64_t errors;
	unsigned char history[TOP_HISTORY]; /* enum top_mark */
};

struct top_state {
	int64_t now_ms;    /* wall clock */
	bool published;    /* anything is known at all */
	bool stale;        /* tt-agentd gives no sign of life: what is shown is the last known state */
	char problem[256]; /* stale: why */
	int64_t stale_since_ms;
	struct top_model *models; /* to be sorted as one likes */
	size_t count;
	int64_t sums[COUNTERS];
	double tokens_per_s;
	struct event_record events[TOP_EVENTS]; /* the newest one last */
	size_t event_count;
};

#endif
