/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a turn share; nobody else includes this.
 *
 * turn.c          the table of steps, its driver, and ADMIT, WAIT and END
 * turn_choose.c   CHOOSE: which LLM is asked next, until one answers
 * turn_outcome.c  what an attempt comes to: another one, tools, the end, or a sentence
 * turn_attempt.c  PROMPT and ATTEMPT: what an LLM is asked, and how
 * turn_quirks.c   what an LLM refuses of a request, and is asked again without
 * turn_queue.c    QUEUE: waiting for a place at an LLM
 * turn_tools.c    TOOLS: the calls of an answer
 * turn_store.c    LOAD and SAVE: the history
 *
 * Each calls only functions of those below it.
 *
 * A step is a function that does its work and returns the next step, or STEP_STAY where it
 * has to wait; no step calls another one. */
#ifndef TT_TURN_TURN_PRIVATE_H
#define TT_TURN_TURN_PRIVATE_H

#include "core/turn/attempt.h"
#include "core/turn/place_wait.h"
#include "core/turn/tool_round.h"
#include "core/turn/turn.h"

#include <event2/event.h>

enum step {
	STEP_STAY,
	STEP_ADMIT,
	STEP_WAIT,
	STEP_LOAD,
	STEP_CHOOSE,
	STEP_QUEUE,
	STEP_ATTEMPT,
	STEP_PROMPT,
	STEP_TOOLS,
	STEP_SAVE,
	STEP_END,
	STEPS
};

/* The history of the thread, and what this turn adds to it. */
struct conversation {
	struct chat_request request;
	struct access_identity *client; /* NULL: it may use everything */
	bool alone;                     /* its thread has no name: nothing is loaded, nothing is stored */
	char *subject;
	char *sandbox;    /* its name for tools; NULL: none has run */
	json_t *history;  /* the turns before this one */
	json_t *messages; /* of this turn, the user's first */
	size_t given;     /* so many of them came with the request, as the client's whole conversation */
	/* Those of them that their LLM gets back as it sent them, by position: {"instance", "message"};
	 * not stored. NULL: none. */
	json_t *as_sent;
};

/* What this turn learned from refusals of the LLM that is asked. */
struct learned {
	struct quirks quirks;
	unsigned repeats;  /* how often it was asked again */
	bool confirmed;    /* it answered a request that was made so: remembered and reported */
	char refusal[256]; /* the last one, in its words */
};

/* The LLMs that are asked for one answer, and what was tried. */
struct upstream {
	struct attempt *attempt;
	struct status_snapshot *snapshot;
	const struct status_llm *llm; /* the one that is asked */
	struct balance_place place;   /* that is held there */
	const char *replica;          /* its name where it has replicas; NULL: it has none */
	unsigned model;               /* the same, for counters */
	struct tried tried;
	size_t skip_turns;           /* the oldest ones that this LLM is not sent */
	size_t result_max;           /* what it is sent of each tool result, in bytes; 0 = all */
	unsigned shrunk;             /* how often it was asked again with less */
	bool retried;                /* it was asked again on a new connection */
	struct learned learned;      /* what it was found to refuse */
	struct long_prompt *prompt;  /* that is being made in the background; NULL: none */
	bool continuing;             /* the answer that another LLM began */
	int64_t began_boot_ms;       /* the attempt */
	struct span span;            /* the attempt's, or that of the time before it in WAIT */
	const char *const *tools;    /* names of those that it was offered, ended by NULL; NULL: none */
	char *refusal;               /* the server's own words for that; NULL: none */
	enum attempt_result result;  /* of the last attempt; ATTEMPT_COMPLETE: another one follows it already */
	enum attempt_result failure; /* how the attempt ended whose failure the user is told */
};

/* The wait for a place, before an attempt. */
struct queueing {
	struct place_wait wait;
	int64_t beat_ms; /* when the client is sent something next */
};

/* The rounds of tools between two attempts. */
struct tool_phase {
	json_t *definitions; /* NULL: none */
	const char **names;  /* of them, the client's first, ended by NULL; NULL: none */
	bool fewer;          /* than the settings provide: the client may not use them all */
	size_t of_client;    /* so many of them are the client's, which runs them */
	json_t *subjects;    /* what the tools of this turn were run on, by tool */
	struct tool_round *round;
	struct tool_context context;
	unsigned rounds;
	int64_t began_ms;      /* the round that runs */
	int64_t left_ms;       /* that rounds may still take */
	int64_t keep_alive_ms; /* when proxies must be shown something next */
};

/* What the log line says. */
struct turn_log {
	char *request_id;
	char client[46]; /* its address; empty: not known */
	const char *status;
	unsigned tool_runs, failovers;
	char reason[300];
};

struct turn {
	const struct chat_services *services;
	struct config *config;
	struct output *output;
	void (*ended)(void *arg);
	void (*summary)(void *arg, const struct turn_summary *s);
	void (*attempted)(void *arg, const struct turn_attempt *a);
	void *arg;

	enum step step;
	void (*proceed)(struct turn *t); /* what the step waited for has come: its resume function runs */
	bool client_left;
	bool calls_given;             /* the answer is calls that the client runs */
	bool resumed;                 /* another program began the answer */
	int64_t deadline_ms;          /* CLOCK_MONOTONIC */
	struct event *timer;          /* one, for whatever the step waits for */
	struct waiter waiter;         /* WAIT */
	struct store_request *stored; /* LOAD, SAVE */
	bool not_loaded;              /* the store failed: there may be a history */

	struct conversation conversation;
	struct answer answer;
	struct upstream upstream;
	struct queueing queue;
	struct tool_phase tools;
	struct turn_log log;
	struct trace *trace; /* NULL: it belongs to none */
	struct span span;    /* the whole turn's */
};

/* Arms the timer. */
static inline void turn_wake_in(struct turn *t, int64_t ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(t->timer, &tv);
}

#define TURN_NO_ANSWER "No language model could answer right now. Please try again in a moment."
#define TURN_NO_MEMORY "The service is out of memory. Please try again in a moment."

/* ---- turn_choose.c ---- */

enum step turn_choose(struct turn *t); /* the best candidate that was not tried */

/* ---- turn_outcome.c ---- */

extern const struct attempt_handlers turn_attempt_handlers;
enum step turn_attempt_ended(struct turn *t);
enum step turn_none_answered(struct turn *t); /* no candidate is left: the user is told why */

/* ---- turn_attempt.c ---- */

/* Until the turn's deadline, or until the client must be shown that the answer is still coming. */
void turn_wake_at_deadline(struct turn *t);
/* The timer: true where it was only that, and the turn waits on. */
bool turn_beat(struct turn *t);

struct prompt turn_prompt_of(struct turn *t); /* what the LLM is asked */
enum step turn_attempt(struct turn *t);       /* asks it */
enum step turn_attempt_late(struct turn *t);
void turn_attempt_stop(struct turn *t);
enum step turn_prompt(struct turn *t); /* makes a long request, for ATTEMPT to go on with */
enum step turn_prompt_made(struct turn *t);
enum step turn_prompt_late(struct turn *t);
void turn_prompt_stop(struct turn *t);

/* The attempt's; o: how it ended, NULL: it was stopped. */
void turn_attempt_end_span(struct turn *t, const struct attempt_outcome *o);
void turn_give_place(struct turn *t, enum balance_end end); /* nothing happens where none is held */

/* ---- turn_queue.c ---- */

void turn_queue_init(struct turn *t, uint64_t key); /* once the turn has its trace */
enum step turn_queue(struct turn *t);               /* waits until there is a place */
enum step turn_queue_called(struct turn *t);
enum step turn_queue_late(struct turn *t);
void turn_queue_leave(struct turn *t); /* it has taken a place, or wants none; need not wait */

/* ---- turn_quirks.c ---- */

struct quirks turn_quirks(const struct turn *t); /* of the LLM that is asked */

/* The attempt, made from p, has failed. STEP_ATTEMPT: the refusal says what to leave out or to
 * change, and the LLM is asked again. STEP_CHOOSE: it can do nothing for this turn, which is
 * remembered. STEP_STAY: nothing was learned. */
enum step turn_quirks_learn(struct turn *t, const struct prompt *p, const struct attempt_outcome *o);

/* The LLM answers. What was learned of it holds: it is remembered, and returned, to be reported;
 * NULL: nothing new. */
const struct quirks *turn_quirks_confirm(struct turn *t);

/* ---- turn_tools.c ---- */

/* Finds out which tools the model is offered: the client's, and ours unless the request is plain. -1: no memory. */
int turn_tools_find(struct turn *t);
bool turn_tools_is_of_client(const struct turn *t, const char *name); /* the client runs it */
bool turn_tools_used_up(const struct turn *t);                        /* the model must answer with what it has */
enum step turn_tools(struct turn *t);                                 /* runs the calls of the last attempt */
enum step turn_tools_ended(struct turn *t);
enum step turn_tools_due(struct turn *t);
void turn_tools_stop(struct turn *t);

/* ---- turn_store.c ---- */

enum step turn_load(struct turn *t); /* the turns before this one */
enum step turn_loaded(struct turn *t);
enum step turn_load_late(struct turn *t);

/* The answer is whole, or (sentence) broke off: both go on with saving it. */
enum step turn_complete(struct turn *t);
enum step turn_fail(struct turn *t, enum failure why, const char *sentence);
enum step turn_leave(struct turn *t, const char *status, enum counter outcome);

enum step turn_save(struct turn *t); /* this turn */
enum step turn_saved(struct turn *t);
enum step turn_save_late(struct turn *t);
void turn_store_stop(struct turn *t); /* of LOAD and SAVE */

#endif
