/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into the ring of recent events, and when: a storm of events of one kind must not push
 * out all others. Pure, the clock is an argument.
 *
 * Each kind may have RECORDER_BURST events, and another one every RECORDER_REFILL_MS; what exceeds
 * that becomes one event with a count, after RECORDER_LONG_MS. What responders report, 5,000
 * failovers in one moment, always becomes one event for each pair of models, after RECORDER_SHORT_MS. */
#ifndef TT_AGENTD_RECORDER_H
#define TT_AGENTD_RECORDER_H

#include "core/status/event_ring.h"

#define RECORDER_BURST     20
#define RECORDER_REFILL_MS 10000
#define RECORDER_SHORT_MS  500
#define RECORDER_LONG_MS   10000

struct recorder;

/* write gets each record, without a number; it may change it. NULL: no memory. */
struct recorder *recorder_new(void (*write)(void *arg, struct event_record *r), void *arg);
void recorder_free(struct recorder *r); /* what waits is lost; NULL is fine */

/* record->at_ms is set to now_ms (wall clock). */
void recorder_add(struct recorder *r, struct event_record record, int64_t now_ms);

/* Writes what is due. Returns in how many milliseconds something is due next; -1: nothing waits. */
int64_t recorder_tick(struct recorder *r, int64_t now_ms);

/* Writes all that waits. */
void recorder_flush(struct recorder *r);

#endif
