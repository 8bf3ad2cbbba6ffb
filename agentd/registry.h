/* SPDX-License-Identifier: Apache-2.0 */
/* The known LLMs: the discovered ones (in the backend's order), then the other kinds in the
 * order of llm_kinds.def. Pure, no I/O.
 *
 * Indexes are valid until the next merge. Code that needs an LLM for longer holds its instance
 * and calls registry_find. */
#ifndef TT_AGENTD_REGISTRY_H
#define TT_AGENTD_REGISTRY_H

#include "core/llm/deployments.h"
#include "core/llm/llm.h"

enum pace { PACE_STEADY, PACE_CHANGING, PACE_DOWN };

enum caps_state { CAPS_NONE, CAPS_WANTED, CAPS_RUNNING, CAPS_DONE };

/* What only the daemon knows about an LLM; moves with it. */
struct track {
	bool seen_healthy;    /* at least once; restored ones count where they were usable */
	bool restored;        /* from an earlier daemon: its own secret is not known */
	bool probing;         /* a probe runs, or ... */
	bool queued;          /* ... waits for others to end */
	bool url_logged;      /* that its URL was completed */
	bool awaited;         /* the running scan waits for its verdict */
	bool gated;           /* healthy, but not offered before its capabilities are known */
	bool unreached;       /* the last probe had no connection */
	int64_t unreached_ms; /* monotonic: no connection since then; 0 = it was reached */
	bool looked_up;       /* its host is being looked up */
	bool name_gone;       /* its host had no address when it was last looked up */
	enum caps_state caps;
	unsigned caps_tries;
	int64_t caps_retry_ms;    /* monotonic: not requested again before */
	bool doubted;             /* other hosts ejected it */
	unsigned ejections;       /* in a row, each soon after the one before */
	int64_t ejections_end_ms; /* wall clock: an ejection until then repeats the last one */
	int64_t probe_due_ms;     /* monotonic: next probe; 0 = none planned */
	enum pace pace;           /* by which probe_due_ms was planned */
	int64_t healthy_since_ms; /* monotonic: healthy again since then; 0 = was never lost */
	int64_t served_ms;        /* monotonic: when it last answered a turn or a canary probe */
	int64_t canary_due_ms;    /* monotonic: next canary probe; 0 = none planned */
	bool canary_running;
	int64_t load_due_ms; /* monotonic: when its server is next asked for its load; 0 = it was not yet */
	char ejection_reason[160];
	int64_t episode_boot_ms; /* attempts of turns that began until then have been counted */
	int64_t counted_boot_ms; /* when a failed turn was counted last */
};

struct registry;

/* NULL: no memory. Instances are numbered from the wall clock's milliseconds on, so
 * that no number of an earlier daemon comes back. */
struct registry *registry_new(int64_t wall_ms);
void registry_free(struct registry *r);

size_t registry_count(const struct registry *r);
const struct llm *registry_llms(const struct registry *r);
struct llm *registry_llm(struct registry *r, size_t i);
struct track *registry_track(struct registry *r, size_t i);

/* Index or -1. hint is where it was last seen. */
long registry_find(const struct registry *r, uint64_t instance, size_t hint);
long registry_find_id(const struct registry *r, const char *deploy_id);

size_t registry_discovered(const struct registry *r); /* how many are LLM_DISCOVERED */

struct registry_change {
	size_t added, removed, redeployed;
};

/* Replaces all LLMs of one kind with fresh, whose items are of this kind and are moved (fresh
 * is empty afterwards). The same deployment keeps its health, what was learned about it, and
 * its instance; one whose URLs, model, type or secret differ is a new one. Adds to change.
 * -1: no memory, nothing changed. */
int registry_merge(struct registry *r, enum llm_kind kind, struct llm_list *fresh, struct registry_change *change);

/* Appends a published LLM as it is, instance included (l is empty afterwards). */
int registry_restore(struct registry *r, struct llm *l);

#endif
