/* SPDX-License-Identifier: Apache-2.0 */
/* One chat turn: from the checked request to [STATS]. A state machine on the worker's
 * loop with one driver and one way out.
 *
 *   LOAD -> ASK -> (TOOLS -> ASK)* -> SAVE -> end
 *
 * (WAIT before LOAD where there is no LLM: for one to come, or for the waiting reply.)
 *
 * Before the first shown text of an ask any failure of the LLM moves to the next
 * candidate; after it the answer breaks off with a sentence. A stream that breaks never
 * looks complete. */
#ifndef TT_TURN_TURN_H
#define TT_TURN_TURN_H

#include "core/turn/candidates.h"
#include "core/turn/prompt.h"
#include "core/protocol/request.h"
#include "core/turn/wait_queue.h"
#include "core/config/config.h"
#include "core/http/http.h"
#include "core/status/counters.h"
#include "core/status/reader.h"
#include "core/store/store.h"
#include "core/tools/tool.h"

#include <stdint.h>

/* What a worker lends to its turns; outlives them. */
struct turn_report;

struct chat_services {
	struct event_base *base;
	struct http *http;
	struct config *(*config)(void *arg);            /* a new reference; NULL: none published yet */
	struct status_snapshot *(*snapshot)(void *arg); /* status_acquire */
	struct store *store;
	const char *run; /* names this run of the service, to which short ids belong (store_run_name) */
	struct toolbox *toolbox;
	struct wait_queue *waiting;   /* where turns wait while chat_services_has_llm says no */
	struct cooldown *bench;       /* zeroed at start, only turns use it */
	struct prompt_cache *prompts; /* likewise; prompt_cache_clear at the end */
	struct counters *counters;    /* may be NULL */
	/* A real turn met a failure of an LLM, is being answered (status TURN_REPORT_SERVING),
	 * or got a whole answer (see the report command). */
	void (*report)(void *arg, const struct turn_report *r);
	void *arg; /* of the calls above */
};

/* Whether a turn would find an LLM now. */
bool chat_services_has_llm(const struct chat_services *host);

#define TURN_REPORT_SERVING 100

struct turn_report {
	uint64_t instance;          /* of the LLM */
	uint64_t epoch, generation; /* of the snapshot */
	int64_t began_boot_ms;      /* when the attempt began, CLOCK_BOOTTIME */
	enum http_outcome outcome;
	long status;
	const char *text;
};

/* Where the answer goes. */
struct turn_output {
	/* Text to send now. apart: as an HTTP chunk of its own (without a byte: in no chunk
	 * with what was before). Returns 0; 1 = enough for
	 * now, the turn pauses until turn_resume; what was given is sent in any case. */
	int (*write)(void *arg, const char *bytes, size_t len, bool apart);
	/* The turn is over, everything was written; the turn is gone when this returns. */
	void (*end)(void *arg);
};

struct turn_request {
	struct chat_request chat; /* moved into the turn */
	const char *subject;      /* copied */
	const char *request_id;   /* copied */
};

struct turn;

/* Why none of the LLMs could answer this, as a sentence for the user; NULL: one could, or
 * there is none yet. */
const char *turn_obstacle(const struct chat_services *host, const struct chat_request *chat);

/* NULL: no memory. Writes nothing before it returns. Where there is no LLM the waiting
 * reply is written. */
struct turn *turn_start(const struct chat_services *host, struct turn_request *request,
                        const struct turn_output *output, void *output_arg);
void turn_resume(struct turn *t);
/* The client is gone: the LLM's connection is closed, what was generated is kept in
 * the history, marked as interrupted. No further callback; the turn is gone. */
void turn_cancel(struct turn *t);

#endif
