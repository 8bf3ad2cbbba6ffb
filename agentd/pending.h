/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that are not answered yet: a list with a deadline for each. */
#ifndef TT_AGENTD_PENDING_H
#define TT_AGENTD_PENDING_H

#include "agentd/agent.h"
#include "core/control/command.h"

/* Before the channel's own deadline: the answer still has to travel. */
#define PENDING_MARGIN_MS 400

struct pending;
typedef void pending_late_fn(struct pending *p);

struct pending {
	struct pending *next, **link; /* link: the pointer that points here */
	struct agent *agent;
	struct command_call *call;
	enum command command;
	struct event *deadline;
	pending_late_fn *late;          /* the deadline: must answer */
	char *old_name;                 /* of the LLM that was current when it came */
	char *deploy_id;                /* select */
	struct http_transfer *transfer; /* test */
	uint64_t instance;              /* test: of the LLM that is asked */
	bool begun;                     /* refresh: it belongs to the survey that runs; select:
	                                 * the backend was asked for it */
};

/* NULL: no memory; the call was failed. */
struct pending *pending_new(struct pending **list, struct agent *a, struct command_call *call, enum command c,
                            pending_late_fn *late);

/* Nobody waits for it any more, and the call is gone: it ends without an answer. */
void pending_drop(void *p);

/* Ends it with a reply (stolen), or with an error text. */
void pending_reply(struct pending *p, json_t *result);
void pending_fail(struct pending *p, const char *text);

#endif
