/* SPDX-License-Identifier: Apache-2.0 */
/* Each function reports one event: to the log, to all who subscribed to the stream
 * (`tt-agentctl events`), and, as far as event_kinds.def has it, to the ring of recent events. */
#ifndef TT_AGENTD_EVENTS_H
#define TT_AGENTD_EVENTS_H

#include "core/llm/llm.h"
#include "core/llm/quirks.h"
#include "core/control/command.h"
#include "core/status/event_ring.h"

#include <stddef.h>
#include <stdint.h>

struct events;

struct events *events_new(void);
void events_free(struct events *ev); /* after the command server; NULL is fine */

/* From now on events are recorded in the ring of run_dir. If it cannot be opened, that is logged, and none are. */
void events_record(struct events *ev, struct event_base *base, const char *run_dir);

void events_started(struct events *ev, const char *version);
void events_stopping(struct events *ev, const char *why); /* records all that waits, too */

/* What a responder reports; for the ring alone. */
void events_reported(struct events *ev, const struct event_record *r);

/* Adds a peer of the events command. */
void events_subscribe(struct events *ev, struct command_call *call);

void events_discovery(struct events *ev, size_t found, size_t skipped, int64_t elapsed_ms, bool repeated);
void events_discovery_failed(struct events *ev, const char *why, int64_t elapsed_ms, bool repeated);
void events_deployments(struct events *ev, size_t added, size_t removed, size_t redeployed);
void events_verdict(struct events *ev, const struct llm *l, enum llm_health before);
/* Tried after all others until l->ejected_until_ms; repetition counts from 1. */
void events_ejected(struct events *ev, const struct llm *l, const char *why, unsigned repetition);
/* It refuses known, of which something is new, in these words. */
void events_quirks(struct events *ev, const struct llm *l, const struct quirks *known, const char *refusal);
void events_ejection_over(struct events *ev, const struct llm *l, const char *why);
/* l NULL: there is none any more. */
void events_selection(struct events *ev, const struct llm *l, const char *old_name, const char *reason,
                      size_t candidates);
/* An admin drains it, or does not any more; l NULL: it is not known now. */
void events_drain(struct events *ev, const struct llm *l, const char *name, const char *by, bool drained);
void events_polling(struct events *ev, uint64_t attempt, int64_t next_ms); /* next_ms < 0: none follows */
/* Code can be run, or (problem not NULL) why not. */
void events_code(struct events *ev, const char *problem);
/* The same of documents. worked: the backend searched them before. */
void events_documents(struct events *ev, const char *problem, bool worked);
void events_config(struct events *ev, const char *key, const char *old_value, const char *new_value);
/* The same once for all settings that changed together, for the ring alone; changes says which. */
void events_config_changed(struct events *ev, const char *changes);
void events_config_refused(struct events *ev, const char *error);

#endif
