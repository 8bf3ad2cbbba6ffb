/* SPDX-License-Identifier: Apache-2.0 */
/* One command of the daemon. Its row in core/control/commands.def has name, arguments, right
 * and deadline; a file in agentd/commands/ defines its `const struct command_entry
 * command_<ID>`. A new command is such a row and such a file. */
#ifndef TT_AGENTD_COMMANDS_COMMAND_H
#define TT_AGENTD_COMMANDS_COMMAND_H

#include "agentd/agent.h"
#include "core/control/command.h"

#include <jansson.h>

struct pending;

struct command_entry {
	/* Answers the call, or makes it pending (then the functions below answer it). args is
	 * borrowed. */
	void (*run)(struct agent *a, struct command_call *call, const json_t *args);

	/* For a command that can be pending. timeout: its deadline is near; must answer. The
	 * others may be NULL: something changed; the scan that it waits for has ended; its
	 * state is to be freed. */
	void (*timeout)(struct pending *p);
	void (*progress)(struct pending *p);
	void (*scan_ended)(struct pending *p);
	void (*clear)(struct pending *p);
};

#define COMMAND(id, ...) extern const struct command_entry command_##id;
#define CHANNEL_COMMAND(id, ...)
#include "core/control/commands.def"

/* How long before the channel's own deadline a command times out: its answer has to travel. */
#define PENDING_MARGIN_MS 400

/* A command that is not answered yet. */
struct pending {
	struct pending *next, **link; /* link: the pointer that points here */
	struct agent *agent;
	struct command_call *call;
	enum command command;
	struct event *deadline;
	char *old_name;  /* of the LLM that was current when it came */
	bool wants_scan; /* waits for a whole scan that begins after it came */
	bool scanning;   /* that scan runs */
	void *state;     /* the command's own */
};

/* NULL: no memory; the call was failed. */
struct pending *pending_new(struct agent *a, struct command_call *call, enum command c);

/* Waits for a scan. One scan serves all commands that came before it began. */
void pending_scan(struct pending *p);

/* Ends it with a reply (stolen; NULL: no memory), or with an error text. */
void pending_reply(struct pending *p, json_t *result);
void pending_fail(struct pending *p, const char *text);

/* For command_on_cancel: the call is gone, it ends without an answer. */
void pending_drop(void *p);

/* ---- parts of results: new references, NULL: out of memory -------------------------- */

/* {"status":"error","message":...} */
json_t *command_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The discovered LLMs, each as show shows it. */
json_t *command_discovered(const struct agent *a, json_t *(*show)(const struct llm *l));

/* A finished refresh, as /refresh shows it (refresh.c); reload includes it. */
json_t *command_refresh_result(const struct pending *p);

/* A refresh's deadline: publishes what is known by then (refresh.c). */
void command_refresh_settle(struct agent *a);

#endif
