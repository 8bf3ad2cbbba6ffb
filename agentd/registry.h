/* SPDX-License-Identifier: Apache-2.0 */
/* The LLMs that are known: what the backend deployed (in its order), then what the
 * configuration names (cloud, container, local host). Pure, no I/O.
 *
 * Indexes are valid until the next merge. What lasts longer holds an instance and asks
 * registry_find. */
#ifndef TT_AGENTD_REGISTRY_H
#define TT_AGENTD_REGISTRY_H

#include "core/llm/deployments.h"
#include "core/llm/llm.h"

enum pace { PACE_STEADY, PACE_CHANGING, PACE_DOWN };

enum caps_state { CAPS_NONE, CAPS_WANTED, CAPS_RUNNING, CAPS_DONE };

/* What the daemon alone knows about an LLM; moves with it. */
struct track {
	bool seen_healthy; /* at least once, adopted counts */
	bool adopted;      /* from an earlier daemon: its own secret is not known */
	bool probing;      /* a probe runs */
	bool awaited;      /* the survey that runs waits for its verdict */
	bool held;         /* healthy, but not offered before its capabilities are known */
	enum caps_state caps;
	unsigned caps_tries;
	int64_t caps_again_ms;    /* monotonic: not asked again before */
	unsigned ejections;       /* times it was ejected, each soon after the one before */
	int64_t ejections_end_ms; /* wall clock: what happens until then is a repetition */
	int64_t due_ms;           /* monotonic: next probe; 0 = none planned */
	enum pace pace;           /* what due_ms was planned by */
	int64_t well_ms;          /* monotonic: healthy again since then; 0 = was never lost */
	int64_t served_ms;        /* monotonic: when it last answered a turn or a completion */
	int64_t ask_ms;           /* monotonic: next real completion; 0 = none planned */
	bool asking;              /* a completion runs */
	char ejected_for[160];    /* why it was ejected */
	int64_t episode_boot_ms;  /* attempts of turns begun until then are counted already */
	int64_t counted_boot_ms;  /* when a failure of a turn was counted last */
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

/* Replaces all discovered (discovered = true) or all configured ones with fresh, whose
 * items are moved (fresh is empty afterwards). The same deployment keeps its health,
 * what was learned about it, and its instance; one whose URLs, model, type or secret
 * differ is another one. -1: no memory, nothing changed. */
int registry_merge(struct registry *r, bool discovered, struct llm_list *fresh, struct registry_change *change);

/* Takes over a value as it is, instance included (l is empty afterwards). */
int registry_adopt(struct registry *r, struct llm *l);

#endif
