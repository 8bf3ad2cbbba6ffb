/* SPDX-License-Identifier: Apache-2.0 */
/* Plays a plan on the connection of an evhttp request.
 *
 * evhttp parses the request; the answer's bytes are the plan's own, so that every kind
 * of misbehaviour can be written. Between request and answer's end evhttp does not look
 * at the connection, so the player does: it sees at once when the client leaves. */
#ifndef TT_TESTS_MOCK_PLAYER_H
#define TT_TESTS_MOCK_PLAYER_H

#include "tests/mock/plan.h"

#include <event2/event.h>
#include <event2/http.h>
#include <stdbool.h>

/* left: the client went away before the plan's end (at_ns: CLOCK_MONOTONIC). */
typedef void player_done_fn(void *arg, uint64_t id, size_t steps_delivered, bool left, int64_t at_ns);

/* Takes a reference of the plan. direct: the connection is a plain socket, written to
 * without a copy. */
void player_start(struct event_base *base, struct evhttp_request *req, struct plan *plan, bool direct,
                  player_done_fn *done, void *arg, uint64_t id);

#endif
