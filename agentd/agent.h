/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: its parts and how they are connected.
 *
 *   discovery, probes, reports -> registry -> settle: select, poll, publish -> responders
 *
 * A new state becomes visible only in settle. Code that changes something calls agent_touch
 * with how soon it must be visible; a command settles before it replies. Private to agentd. */
#ifndef TT_AGENTD_AGENT_H
#define TT_AGENTD_AGENT_H

#include "agentd/capabilities.h"
#include "agentd/canary.h"
#include "agentd/discovery.h"
#include "agentd/document_check.h"
#include "agentd/jwks.h"
#include "agentd/hosts.h"
#include "agentd/load_watch.h"
#include "agentd/mcp_watch.h"
#include "agentd/monitor.h"
#include "agentd/options.h"
#include "agentd/peer_watch.h"
#include "agentd/polling.h"
#include "agentd/publisher.h"
#include "agentd/reload.h"
#include "agentd/sandbox_check.h"
#include "agentd/selector.h"
#include "agentd/services.h"
#include "agentd/scan.h"
#include "agentd/span_export.h"

struct commands;

struct agent {
	struct services s;
	const char *run_dir;
	struct selector selector;
	struct polling polling;
	struct publisher *publisher;
	struct discovery *discovery;
	struct monitor *monitor;
	struct capabilities *capabilities;
	struct canary *canary;
	struct hosts *hosts;
	struct load_watch *load_watch;
	struct scan *scan;
	struct reload *reload;
	struct sandbox_check *sandbox_check;
	struct document_check *document_check;
	struct jwks *jwks;
	struct mcp_watch *mcp_watch;
	struct peer_watch *peer_watch;
	struct span_export *span_export;
	struct commands *commands;
	struct event *settle, *poll, *discover, *second;
	struct event *signals[3];
	int64_t settle_at_ms;               /* 0: nothing to settle */
	int64_t publish_ms, publish_end_ms; /* how long the last publication took, and when it ended */
	bool changed;                       /* more than probe times waits to be published */
	bool config_changed;                /* a new configuration waits to be published */
	int64_t started_ms;
	bool memory_released;     /* memory that only the start needed */
	bool refresh_follows;     /* the reload command runs the reload, and refreshes itself */
	struct err publish_error; /* the last one; empty: all is well */
};

/* Publishes a first state before it returns. src and what it points to must outlive it;
 * a reference to config is taken over. NULL with e. */
struct agent *agent_new(const struct agentd_options *o, const struct config_source *src, struct config *config,
                        struct err *e);
void agent_free(struct agent *a);

/* Until a signal or the shutdown command ends it. */
int agent_run(struct agent *a, struct err *e);

/* How soon a change must be visible: one that matters, and a mere time of a probe. */
#define AGENT_SOON_MS  50
#define AGENT_LATER_MS 1000

/* A change must be visible within this many milliseconds; AGENT_LATER_MS: one that no decision
 * depends on. */
void agent_touch(struct agent *a, int64_t within_ms);

/* Selects and publishes now. */
void agent_settle(struct agent *a);

/* The same where anything waits to be published, and where something that matters does. */
void agent_settle_if_touched(struct agent *a);
void agent_settle_if_changed(struct agent *a);

/* The LLM at index got a verdict on its health, by a probe or by a report. */
void agent_verdict(struct agent *a, size_t index, enum llm_health before);

/* Name of the current LLM, "Unknown" where there is none. */
const char *agent_current_name(const struct agent *a);

#endif
