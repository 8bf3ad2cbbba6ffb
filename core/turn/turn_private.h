/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a turn share; nobody else includes this.
 *
 * turn.c        the way in and out: load, wait, save, statistics, cancel
 * turn_ask.c    asking LLMs, one after the other until one answers
 * turn_tools.c  rounds of tools between two asks */
#ifndef TT_TURN_TURN_PRIVATE_H
#define TT_TURN_TURN_PRIVATE_H

#include "core/turn/answer.h"
#include "core/turn/attempt.h"
#include "core/stream/calls.h"
#include "core/turn/tool_round.h"
#include "core/turn/turn.h"

enum turn_state { TURN_LOAD, TURN_WAIT, TURN_ASK, TURN_TOOLS, TURN_SAVE };

struct turn {
	const struct chat_services *host;
	const struct turn_output *output;
	void *output_arg;
	enum turn_state state;
	bool paused;

	struct chat_request chat;
	char *subject, *request_id;
	char *sandbox; /* the conversation's name for tools */
	struct config *config;
	json_t *turns;    /* of the thread, before this one */
	json_t *messages; /* of this turn, the user's first */
	json_t *tools;    /* definitions, NULL: none */
	json_t *asked;    /* searches of this turn */
	struct answer *answer;
	struct waiter waiter; /* for an LLM, in the host's waiting room */
	struct event *wake;   /* the next step from the loop; the end of waiting for the store */
	struct store_request *stored;

	/* The ask that runs, and where it was asked. */
	struct attempt *ask;
	struct status_snapshot *snapshot;
	const struct status_llm *llm;
	struct tried tried;
	size_t skip_turns;
	bool shrunk, retried; /* this LLM was asked again: with less history, on a new connection */
	bool going_on;        /* with an answer that another LLM started */
	int64_t ask_began_boot_ms;
	unsigned heard;     /* pieces of its answer */
	struct calls calls; /* that it made */
	struct tool_round *round;
	struct tool_context tool_context;
	bool offered;           /* tools, to the LLM that is asked */
	int64_t deadline_ms;    /* CLOCK_MONOTONIC */
	int64_t tools_began_ms; /* the round that runs */
	int64_t tools_left_ms;  /* that rounds may still take */
	int64_t keep_alive_ms;  /* when proxies must be shown something next */

	/* What the log line says. */
	unsigned rounds, tool_runs, failovers;
	const char *status;
	enum attempt_result last_end; /* of the ask that failed last */
	char failure[300], sentence[400];
};

/* turn.c */
void turn_complete(struct turn *t);                   /* the answer is whole: save, then end */
void turn_fail(struct turn *t, const char *sentence); /* it is not: say so, save, then end */
void turn_wake_in(struct turn *t, int64_t ms);        /* one timer for whatever the state waits for */

/* turn_ask.c */
void turn_ask_next(struct turn *t); /* the best candidate that this ask has not tried */

/* turn_tools.c */
bool turn_tools_used_up(const struct turn *t); /* the model must answer with what it has */
void turn_run_tools(struct turn *t);           /* t->calls; another ask follows */
void turn_watch_tools(struct turn *t);         /* its timer */

#endif
