/* SPDX-License-Identifier: Apache-2.0 */
/* Which LLMs are offered, in which order; the pin; and the word about each change.
 *
 * Beyond select_order: one that was never looked at, or is held back until its
 * capabilities are known, is not offered yet; one that is benched (llm.ejected_until)
 * comes after the usable ones that are not, so that one is always left; and what is
 * current stays until a preferred one that was lost is stable again. */
#ifndef TT_AGENTD_SELECTOR_H
#define TT_AGENTD_SELECTOR_H

#include "agentd/services.h"

#include <stdbool.h>
#include <stddef.h>

struct selector {
	size_t *order; /* indexes into the registry, best first; valid until its next merge */
	size_t count;  /* candidates */
	size_t usable; /* the first so many are not unhealthy */
	size_t room;
	char *pinned;     /* deploy_id or NULL */
	uint64_t current; /* instance of order[0] when anything is usable, else 0 */
	char *name;       /* its name, for the log */
	bool panic;       /* all that are usable are ejected */
	bool failed;      /* memory was out: nothing is known, and nothing is to be published */
};

void selector_free(struct selector *s);

/* Selects anew. Lifts the pin from one that left or is unhealthy. Returns true when
 * another LLM is current than before. now is the wall clock. */
bool selector_update(struct selector *s, const struct services *services, int64_t now_wall_ms);

int selector_pin(struct selector *s, const char *deploy_id);
void selector_unpin(struct selector *s);

/* Index of the current LLM, or -1. */
long selector_current(const struct selector *s);

#endif
