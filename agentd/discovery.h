/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the sources of LLMs: services that list which models are deployed. (LLMs that the
 * configuration alone defines are in core/llm/llm_kinds.def.)
 *
 * A new source is a file in agentd/sources/ and a row in core/llm/llm_kinds.def.
 */
#ifndef TT_AGENTD_DISCOVERY_H
#define TT_AGENTD_DISCOVERY_H

#include "agentd/services.h"
#include "core/status/view.h"

/* A service that answers a GET with the list of its LLMs. */
struct source {
	const char *name;
	const char *request; /* for messages: "the backend's answer to GET /models/deployed/" */
	enum llm_kind kind;  /* of all its LLMs; no other source has this kind */
	enum cfg_key timeout;
	bool (*is_enabled)(const struct config *c);
	char *(*url)(const struct config *c); /* free(); NULL: no memory */
	/* As deployments_parse, which see. */
	int (*parse)(const char *body, size_t len, const struct config *c, struct llm_list *out,
	             deployments_skipped_fn *skipped, void *arg, struct err *e);
};

#define LLM_KIND_FROM_SOURCE(id, name, ...) extern const struct source source_##name;
#define LLM_KIND(id, ...)
#include "core/llm/llm_kinds.def"

struct discovery;

/* A source answered. list NULL: it failed (the failure was logged), or the answer is, byte
 * for byte, the last one; what is known stays in force. Else its items may be moved out. */
typedef void discovery_done_fn(void *arg, enum llm_kind kind, struct llm_list *list);

struct discovery *discovery_new(struct services *s, discovery_done_fn *done, void *arg);
void discovery_free(struct discovery *d); /* NULL is fine */

/* Asks every enabled source now; a request that is already running counts. -1: nothing runs
 * (no source is enabled), done is not called. */
int discovery_start(struct discovery *d);

/* Drops the requests that are running (the configuration changed). */
void discovery_cancel(struct discovery *d);
bool discovery_running(const struct discovery *d);

/* Age of the oldest of the sources' last valid answers; -1: an enabled source never gave one,
 * or none is enabled. */
int64_t discovery_age_ms(const struct discovery *d);

/* Why the last answer of a source is no list of LLMs; NULL: it is one, or none came. */
const char *discovery_unreadable(const struct discovery *d);

/* How each source goes; valid until it answers or is asked again. poll_ms is when polling asks the
 * next time (wall clock, 0: not by itself), where there is no LLM; -1: there is one, and the sources
 * are asked at discovery.interval. */
const struct status_source *discovery_states(struct discovery *d, int64_t poll_ms, size_t *count);

/* Whether a source began to answer, or failed, since this was asked. */
bool discovery_changed(struct discovery *d);

/* Whether this kind belongs to a source and that is disabled. */
bool discovery_is_disabled(enum llm_kind kind, const struct config *c);

#endif
