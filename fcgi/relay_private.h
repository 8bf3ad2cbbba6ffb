/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a relay share; nobody else includes this.
 *
 * relay.c      the request: whether it may be relayed, its body, its client, and its ends
 * relay_llm.c  the LLMs: which one is asked, what it answers, and what follows when it fails
 * relay_queue.c  the wait for a place at one of them
 */
#ifndef TT_FCGI_RELAY_PRIVATE_H
#define TT_FCGI_RELAY_PRIVATE_H

#include "core/access/access.h"
#include "core/base/buf.h"
#include "core/protocol/openai_relay.h"
#include "core/turn/attempt.h"
#include "core/turn/place_wait.h"
#include "core/turn/turn.h"
#include "fcgi/relay.h"

#include <event2/event.h>

#define NO_MEMORY "The service is out of memory. Please try again in a moment."
#define TOO_MANY  "The service is answering as many requests as it can at the moment. Please try again in a few seconds."

/* States of output_set_state. What is no stream is not whole without its end, as its length or its JSON tells. */
enum phase { PHASE_BYTES, PHASE_EVENTS, PHASE_COMPLETE };

/* What a server answered that was no success. */
struct rejection {
	long status; /* 0: none did */
	char type[128];
	struct buf body;
	int64_t retry_after_s;
};

struct relay {
	const struct relay_kind *kind;
	struct worker *worker;
	struct connection *connection;
	const struct chat_services *services;
	struct config *config;
	struct access_turn *access;
	unsigned entry; /* its admission */
	struct openai_relay_request request;
	char *body; /* as the client sent it; NULL: no LLM will be asked any more */
	size_t body_len;
	struct trace *trace;
	struct span span;
	struct event *again; /* another LLM is asked, outside the callbacks of the one before; or it has waited */
	struct place_wait wait;
	int64_t beat_ms; /* while it waits: when a stream is sent something next */
	int64_t began_ns, first_ns, deadline_ms;
	int64_t prompt, tokens; /* of the request, roughly; that the attempts took */

	/* The LLM that is asked. */
	struct status_snapshot *snapshot;
	const struct status_llm *llm; /* NULL: none yet */
	struct balance_place place;   /* that is held there */
	const char *replica;          /* its name where it has replicas; NULL: it has none */
	unsigned model;               /* of it, in the counters */
	struct tried tried;
	bool does_own;         /* what it is there for: only this says that it is sick */
	bool retried, repeats; /* after a connection that was closed while it was idle: once; it is about to be */
	unsigned failovers;
	int64_t began_boot_ms;
	struct http_transfer *transfer; /* NULL: none runs */
	enum attempt_result failure;
	char reason[300];

	/* What it answers. */
	long status;
	char type[128];
	int64_t length; /* -1: not known */
	bool is_stream, is_json;
	struct buf held;
	size_t searched;
	struct openai_relay_stream stream;
	bool committed; /* its bytes go to the client */
	bool paused;

	bool begun; /* the response's head was made */
	struct rejection rejection;
};

static inline struct output *relay_output(const struct relay *r)
{
	return connection_output(r->connection);
}

/* ---- relay.c: each ends the relay, which is gone then ---- */

/* The response is written. */
void relay_end(struct relay *r, const char *status);
/* What was written is no whole response. */
void relay_end_broken(struct relay *r, enum failure why, const char *sentence);
/* There is no answer, or it breaks off. */
void relay_fail(struct relay *r, enum failure why, const char *sentence);
/* What an LLM's server said (r->rejection), in its words. */
void relay_give_refusal(struct relay *r);
/* It found no place. */
void relay_refuse(struct relay *r, const struct place_refusal *refusal);

/* ---- relay_llm.c ---- */

int relay_llm_init(struct relay *r); /* -1: no memory */
/* Asks the next LLM, or waits for a place at one. The relay may be gone then. */
void relay_llm_choose(struct relay *r);
void relay_llm_begin_stream(struct relay *r); /* the response's head, before an LLM answers */
void relay_llm_resume(void *relay);           /* the client takes more */
void relay_llm_stop(struct relay *r);
void relay_llm_give_place(struct relay *r, enum balance_end end); /* nothing happens where none is held */

/* ---- relay_queue.c ---- */

void relay_queue_init(struct relay *r, uint64_t key); /* key: whose it is, among those that wait */
/* All LLMs that may answer are full. The relay may be gone then. */
void relay_queue_enter(struct relay *r);
void relay_queue_late(struct relay *r);  /* while it waits, its timer has run out; likewise */
void relay_queue_leave(struct relay *r); /* need not wait */

static inline bool relay_queue_waits(const struct relay *r)
{
	return r->wait.waiter.queue != NULL;
}

#endif
