/* SPDX-License-Identifier: Apache-2.0 */
/* One chat turn: from the checked request to the end of its answer. It knows no wire format:
 * a protocol (core/protocol) writes what the client reads.
 *
 *   ADMIT -> (WAIT ->) LOAD -> CHOOSE -> ATTEMPT -> (TOOLS -> CHOOSE -> ATTEMPT)* -> SAVE -> END
 *
 * Where all replicas that may answer are full, CHOOSE goes to QUEUE, and comes again when one has a place.
 * A long request is made in the background, in a step PROMPT before ATTEMPT.
 *
 * Before the first shown text of an attempt any failure of the LLM moves to the next
 * candidate; after it another one continues the answer, or it breaks off with a sentence. A
 * stream that breaks never looks complete. One thread, on the worker's loop. */
#ifndef TT_TURN_TURN_H
#define TT_TURN_TURN_H

#include "core/access/access.h"
#include "core/balance/balance.h"
#include "core/base/background.h"
#include "core/config/config.h"
#include "core/http/http.h"
#include "core/protocol/protocol.h"
#include "core/status/counters.h"
#include "core/status/event_ring.h"
#include "core/status/reader.h"
#include "core/store/store.h"
#include "core/tools/tool.h"
#include "core/trace/trace.h"
#include "core/turn/candidates.h"
#include "core/turn/place_queue.h"
#include "core/turn/prompt.h"
#include "core/turn/wait_queue.h"

#include <stdint.h>

struct turn;
struct turn_report;

/* What a worker lends to its turns; outlives them. */
struct chat_services {
	struct event_base *base;
	struct http *http;
	struct config *(*config)(void *arg);            /* a new reference; NULL: none published yet */
	struct status_snapshot *(*snapshot)(void *arg); /* status_acquire */
	struct store *store;
	const char *run; /* names this run of the service, to which short ids belong (store_run_name) */
	struct toolbox *toolbox;
	struct place_queue *places;    /* where turns wait while all replicas are full */
	struct wait_queue *waiting;    /* where turns wait while chat_services_has_llm says no */
	struct balance *balance;       /* places at replicas; NULL: they are not counted */
	struct cooldown *cooldown;     /* zeroed at start, only turns use it */
	struct quirk_memory *quirks;   /* likewise */
	struct prompt_cache *prompts;  /* likewise; prompt_cache_clear at the end */
	struct counters *counters;     /* may be NULL */
	struct background *background; /* where long requests are made; NULL: on the loop */
	/* The spans of a turn that is recorded; stolen. dropped: how many are missing. May be NULL. */
	void (*spans)(void *arg, json_t *spans, unsigned dropped);
	/* A real turn met a failure of an LLM, found out what it refuses, is being answered (status
	 * TURN_REPORT_SERVING), or got a whole answer (see the report command). May be NULL. */
	void (*report)(void *arg, const struct turn_report *r);
	/* Of a WORKER's kind in event_kinds.def; without number and time. May be NULL. */
	void (*note)(void *arg, const struct event_record *r);
	void *arg; /* of the calls above */
};

/* Whether a turn would find an LLM now. */
bool chat_services_has_llm(const struct chat_services *s);

/* Why none of the LLMs could answer this: a sentence for the user in text, and *why. False: one
 * could, or there is none yet. */
#define CHAT_OBSTACLE_MAX 600
bool chat_services_obstacle(const struct chat_services *s, const struct chat_request *chat, enum failure *why,
                            char text[CHAT_OBSTACLE_MAX]);

/* A place at this LLM was given back: if turns wait for it, one of them gets it. */
void chat_services_freed(const struct chat_services *s, const struct status_snapshot *snapshot,
                         const struct status_llm *l);

#define TURN_REPORT_SERVING 100

struct turn_report {
	uint64_t instance;          /* of the LLM */
	uint64_t epoch, generation; /* of the snapshot */
	int64_t began_boot_ms;      /* when the attempt began, CLOCK_BOOTTIME */
	enum http_outcome outcome;
	long status;
	const char *text;
	const struct quirks *quirks; /* the LLM was found to refuse this, in the words of text; NULL: nothing new */
};

struct resumed_answer {
	struct resumed_reply reply;                  /* what it points to is the caller's */
	int64_t tokens, began_ns, first_ns, last_ns; /* CLOCK_MONOTONIC */
};

/* What the log says of a turn. Reals in seconds, NaN: there is none. */
struct turn_summary {
	const char *model, *reason; /* NULL: none */
	const char *replica;        /* which of several of its model; NULL: there was one */
	const char *trace_id;       /* NULL: it belongs to none */
	const char *status;         /* complete, broken, cancelled, waiting, refused */
	int64_t tokens;
	double ttft, total;
	double queue_ms; /* that it waited for places, in milliseconds */
	unsigned tool_runs, failovers;
};

/* An attempt at an LLM has ended. */
struct turn_attempt {
	const char *model;                        /* never NULL */
	const char *outcome;                      /* attempt_result_text, or "cancelled" */
	int64_t prompt_tokens, completion_tokens; /* prompt -1: the LLM did not say */
	int64_t took_ms;
};

struct turn_request {
	struct chat_request chat; /* moved into the turn */
	const char *subject;      /* the user, "" = not known; copied */
	/* What the client may use, of which the turn takes a reference; NULL: everything. */
	struct access_identity *identity;
	uint64_t key;                      /* whose turn it is, among those that wait for a place; not 0 */
	const char *request_id;            /* copied */
	const char *client;                /* its address, for the log; NULL: not known; copied */
	const struct trace_context *trace; /* the trace that the request belongs to; NULL: none */
	const struct protocol *protocol;
	struct output *output; /* outlives the turn */
	/* An answer that another program began and this turn resumes; NULL: none. Copied. */
	const struct resumed_answer *resumed;
	/* The turn is over and everything was written; it is gone when this returns. Not after
	 * turn_cancel. */
	void (*ended)(void *arg);
	/* The turn ends, in whatever way: what its log line would say, which is not written then. NULL: the turn
	 * logs it. */
	void (*summary)(void *arg, const struct turn_summary *s);
	/* Also from within turn_cancel and turn_stop. May be NULL. */
	void (*attempted)(void *arg, const struct turn_attempt *a);
	void *arg;
};

/* Writes and does nothing yet. NULL: no memory (request->chat then stays the caller's). */
struct turn *turn_new(const struct chat_services *s, struct turn_request *request);

/* Begins it; once, right after turn_new. It may have ended when this returns. */
void turn_run(struct turn *t);

/* The output has room again. */
void turn_resume(struct turn *t);

/* The client has left: the LLM's connection is closed, and what was generated is kept in the
 * history, marked as interrupted. No further callback; the turn is gone. */
void turn_cancel(struct turn *t);

/* The answer ends early: with this sentence, or, if it is NULL, with the one that the service stops. The
 * turn ends soon, or has ended when this returns. */
void turn_stop(struct turn *t, const char *sentence);

#endif
