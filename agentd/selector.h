/* SPDX-License-Identifier: Apache-2.0 */
/* Which LLMs are offered, in which order; the pin; and the event for each change.
 *
 * Beyond select_order: an LLM that was never probed, or has not passed the readiness gate, is
 * not offered yet, and one that is drained never; an ejected one (llm.ejected_until_ms) comes after the other usable
 * ones, so that one is always left; and the current one stays until a preferred one that was lost is stable again. */
#ifndef TT_AGENTD_SELECTOR_H
#define TT_AGENTD_SELECTOR_H

#include "agentd/drains.h"
#include "agentd/services.h"

#include <stdbool.h>
#include <stddef.h>

struct selector {
	size_t *order; /* indexes into the registry, best first; valid until its next merge */
	size_t count;  /* candidates */
	size_t usable; /* this many, from the first on, are not unhealthy */
	size_t room;
	char *pinned; /* deploy_id or NULL */
	struct drains drains;
	uint64_t current; /* instance of order[0] when anything is usable, else 0 */
	char *name;       /* its name, for the log */
	bool panic;       /* all that are usable are ejected */
	bool failed;      /* out of memory: nothing is known, and nothing may be published */
};

void selector_free(struct selector *s);

/* Selects again. Removes the pin of an LLM that is gone or unhealthy. Returns true when
 * another LLM became current. */
bool selector_update(struct selector *s, const struct services *services, int64_t now_wall_ms);

int selector_pin(struct selector *s, const char *deploy_id);
void selector_unpin(struct selector *s);

/* Index of the current LLM, or -1. */
long selector_current(const struct selector *s);

#endif
