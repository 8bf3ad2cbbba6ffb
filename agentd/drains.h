/* SPDX-License-Identifier: Apache-2.0 */
/* The LLMs that an admin drains: they get no new turns, whatever their health is, until they are undrained. A drain
 * belongs to the name, not to the deployment: it outlives a model that is deployed again, and is published, so that the
 * next daemon restores it. */
#ifndef TT_AGENTD_DRAINS_H
#define TT_AGENTD_DRAINS_H

#include "core/base/err.h"
#include "core/status/view.h"

struct drains {
	struct status_drain *items;
	size_t count;
};
void drains_clear(struct drains *d);

/* name: as status_drain_name() gives it. NULL: it is not drained. */
const struct status_drain *drains_find(const struct drains *d, const char *name);

/* -1: out of memory. The first drain of a name counts. */
int drains_add(struct drains *d, const char *name, const char *by, int64_t since_ms);
void drains_remove(struct drains *d, const char *name);

/* Adds those of a status document, as document_status() makes it. */
void drains_restore(struct drains *d, const char *document, size_t len);

#endif
