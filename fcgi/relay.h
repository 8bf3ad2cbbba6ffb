/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is no turn: it goes to an LLM of the model as it came, with that model's real name, and the bytes of
 * the answer come back unchanged. There is nothing to continue and nothing to remember, so it is no protocol of the
 * turn engine; it shares its candidates, health reports, limits and usage rows.
 *
 * Before the first byte of an answer another LLM may take the place of one that fails. An answer that breaks off
 * after that never looks whole: a stream ends with an event that has error in it, anything else is cut off. */
#ifndef TT_FCGI_RELAY_H
#define TT_FCGI_RELAY_H

#include "core/trace/trace.h"
#include "core/turn/candidates.h"
#include "fcgi/api.h"
#include "fcgi/connection.h"
#include "fcgi/worker.h"

struct relay_kind {
	const char *path; /* of the LLM's endpoint, below its server */
	enum candidate_work work;
	const char *lacks;           /* what is said of a model that does other work */
	const struct api_form *form; /* in which it is refused; NULL: OpenAI's */
	/* What is said where no server of the model has that endpoint; NULL: what it says itself. */
	const char *unsupported;
	bool needs_no_place; /* no model runs for it: it waits for none */
};

/* Answers the request on c, now or later. */
void relay_dispatch(const struct relay_kind *k, struct worker *w, struct connection *c);

/* A chat that no turn can answer. body: an object, for free(), taken over; address: of the client, NULL: not known. */
void relay_chat(struct worker *w, struct connection *c, char *body, size_t len, const char *address,
                const struct trace_context *trace);

#endif
