/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives a worker. A worker that is killed, crashes or hangs cannot end its answers, and
 * the web server would end them as if they were whole (nginx does). So each worker starts with a
 * companion, the keeper: a process that shares its table of file descriptors, but not its memory.
 * The keeper sleeps until the worker is dead. The connections are still open in it then. It hands
 * each answer over to another worker, which resumes it as if the LLM's stream had broken off; where
 * that is not possible it ends the answer as its protocol says: a sentence that it broke off, and
 * the statistics. An answer is handed over once: it may be what killed the worker. Answers that the
 * worker had no room to take over are handed on in the same way.
 *
 * Both map one table with an entry for each file descriptor, and a journal (journal.h) with its
 * request and the answer's text so far. The worker only stores words there:
 *
 *   FREE -> BEGUN    the response's head was made; nothing was sent, so the web server may retry
 *        -> STREAMS  a record is about to be sent: from here on the answer is the keeper's to end
 *        -> ENDS     the last record is about to be sent: the answer is whole
 *        -> FREE     before the file descriptor is closed or serves another request
 *
 * A keeper kills a worker whose event loop stands still (limits.hang_time). One thread. */
#ifndef TT_FCGI_KEEPER_H
#define TT_FCGI_KEEPER_H

#include "core/protocol/protocol.h"
#include "fcgi/fcgi_request.h"
#include "fcgi/handover.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;
struct kept; /* an answer; functions that take one accept NULL */

/* To be called first in a worker, before any thread or library: the keeper begins as a copy of its
 * memory. The worker must not close what is in h. NULL: the worker works without one, for a reason that
 * was logged. */
struct keeper *keeper_start(const struct handover *h);
/* For the parent, after handover_end: a process of its own ends the answers that wait there. */
void keeper_end_waiting(const struct handover *h);
/* The keeper ends with its worker. */
void keeper_free(struct keeper *k);

/* True once: the keeper died, so nobody outlives the worker any more. */
bool keeper_died(struct keeper *k);

void keeper_beat(struct keeper *k, int64_t now_ns); /* the event loop moves; CLOCK_MONOTONIC */
/* How long it may stand still, from the next beat on; 0: for ever, as under a debugger. */
void keeper_set_hang_time(struct keeper *k, int64_t ms);

/* An answer begins on fd. NULL: it is not kept. */
struct kept *keeper_begin(struct keeper *k, int fd, unsigned request_id, const struct protocol *p);
/* The request as it came. Without it the answer is not handed over. */
void kept_request(struct kept *e, const char *bytes, size_t len);
/* Where the worker takes an answer over (handover_take), and when it is kept: between the two the keeper
 * knows it from there. */
struct handed_over *keeper_takes(struct keeper *k);
void keeper_took(struct keeper *k);
void kept_resumed(struct kept *e, const struct orphan *o); /* another worker began it */
void kept_not_resumable(struct kept *e);
void kept_memo(struct kept *e, const char *memo); /* output_remember */
/* More text of the answer is in the record that will be sent next. */
void kept_text(struct kept *e, const char *bytes, size_t len);
/* A record is about to be sent, and was sent. state: output_set_state; writes: how many there were. In between it is
 * sent with that: then the keeper knows whether it was, where the worker is killed within. */
void kept_sends(struct kept *e, unsigned char state, uint32_t writes);
struct fcgi_sending *kept_sending(struct kept *e);
void kept_sent(struct kept *e);
void kept_state(struct kept *e, unsigned char state); /* changes while nothing is to be sent */
void kept_ends(struct kept *e);                       /* the last record is about to be sent */
void kept_free(struct kept *e);

#endif
