/* SPDX-License-Identifier: Apache-2.0 */
/* One round of a turn's tools: the calls of one answer, run in parallel.
 *
 * What cannot be run (an unknown tool, arguments that are cut off or not a JSON object, a search
 * that was made before) has a result that the model can read, like everything that fails. */
#ifndef TT_TURN_TOOL_ROUND_H
#define TT_TURN_TOOL_ROUND_H

#include "core/access/access.h"
#include "core/status/counters.h"
#include "core/stream/calls.h"
#include "core/tools/tool.h"
#include "core/trace/trace.h"

#include <jansson.h>

struct tool_round;

struct tool_round_handlers {
	/* A tool begins to run. */
	void (*started)(void *arg, const struct tool_run_info *run);
	/* What it tells meanwhile: one line, safe to show. NULL: nobody wants to know. */
	void (*progress)(void *arg, const struct tool_run_info *run, const char *text);
	void (*finished)(void *arg, const struct tool_run_info *run, const struct tool_result *result);
	/* All calls have their results. Once, never from within tool_round_start. */
	void (*ended)(void *arg);
};

/* Where a round runs. What it points to must outlive the round. */
struct tool_round_place {
	const struct access_identity *client; /* whose tools it may be; NULL: all */
	struct toolbox *box;
	const struct tool_context *context;
	json_t *subjects; /* an object: what tools were run on in this turn, by tool; kept by the turn */
	const char *request_id;
	struct trace *trace; /* of the turn, below this span of it; NULL: none */
	const struct span *span;
	struct counters *counters; /* NULL is fine */
	/* Names of tools that the client runs: a call of one is put off. */
	const char *const *others;
	size_t other_count;
	bool closed;          /* no tool runs any more: each call has a result that says so */
	unsigned runs_left;   /* for so many calls; the others have that result as well */
	unsigned runs_before; /* of the turn */
};

/* Starts what the calls ask for; they are copied as far as needed. NULL: no memory. */
struct tool_round *tool_round_start(const struct tool_round_place *place, const struct call *const *calls, size_t count,
                                    const struct tool_round_handlers *handlers, void *arg);

/* What still runs is ended, with a result that says that it took too long; the round ends
 * soon. */
void tool_round_expire(struct tool_round *r);

/* Once it has ended: {"role":"tool","tool_call_id":...,"content":...} messages in the order of
 * the calls. A new reference; NULL: no memory. */
json_t *tool_round_results(const struct tool_round *r);

/* Cancels what runs; no further callback. */
void tool_round_free(struct tool_round *r);

/* The assistant's message that made the calls: {"role":"assistant","content":text,
 * "tool_calls":[...]}. Arguments that are not JSON become {}: servers parse what they are sent.
 * New reference; NULL: no memory. */
json_t *tool_round_message(const struct call *const *calls, size_t count, const char *text, size_t len);

/* The same as its LLM sent it: with the members beside, and those of the calls that the API does not
 * know. New reference; NULL: it would not differ, or no memory. */
json_t *tool_round_message_as_sent(const json_t *message, const struct call *const *calls, size_t count,
                                   const json_t *beside);

#endif
