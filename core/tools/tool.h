/* SPDX-License-Identifier: Apache-2.0 */
/* Tools that a model may call: one interface, one file each.
 *
 * A tool is a constant struct tool and a row of TOOLS. A worker has one toolbox, which owns
 * what tools remember between calls (sandboxes, cooldown of search services). A run ends with exactly one result unless
 * it was cancelled. Failures are results that the model can read, never ends of a turn. Everything runs on the worker's
 * loop and nothing blocks. */
#ifndef TT_TOOLS_TOOL_H
#define TT_TOOLS_TOOL_H

#include "core/base/background.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/config/config.h"
#include "core/http/http.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tool_source {
	char *title; /* may be NULL */
	char *url;
};

struct tool_result {
	char *text; /* what the model reads; never NULL */
	struct tool_source *sources;
	size_t source_count;
	bool failed;
};
void tool_result_clear(struct tool_result *r);

typedef void tool_done_fn(void *arg, struct tool_result *result); /* result is borrowed */
typedef void tool_progress_fn(void *arg, const char *text);       /* one line, safe to show */

/* What a run needs of the turn that started it. */
struct tool_context {
	struct event_base *base;
	struct http *http;
	struct background *background; /* where long answers are parsed; NULL: on the loop */
	const struct config *config;   /* of this turn; outlives the run */
	const char *thread;            /* an opaque name of the conversation, which has a sandbox of its own */
	const char *client;            /* an opaque name of the user, or of the conversation where no user is known */
	const char *const *labels;     /* of http_request, for the requests of this run; outlive it */
	int64_t idle_ms;               /* it is forgotten this long after a run; 0: no limit */
	tool_progress_fn *progress; /* what is told while it runs, with the arg of done; NULL: nobody wants to know */
};

struct tool_run; /* each tool's own */

struct tool {
	const char *name;        /* as the model calls it and as /status lists it */
	const char *description; /* for the model */
	const char *parameters;  /* JSON schema of its arguments */
	const char *hint;        /* when to use it, a sentence for the system prompt ({tools}); NULL: none */
	const char *progress;    /* what a client is shown while it runs: "Searching" */
	/* The argument that is the subject ("query"): shown after progress; a tool is not run
	 * twice on the same subject in one turn. NULL: none. */
	const char *subject;
	const char *metric; /* what its calls are counted as; NULL: name */
	/* The argument that is code, which clients may want to see with what came out of it. NULL: none. */
	const char *code;
	const char *server, *server_tool; /* of an MCP server: its name, and the tool's own there; NULL: one of ours */
	/* Whether this configuration provides what it needs. */
	bool (*available)(const struct config *c);
	/* args is a JSON object (borrowed), checked against nothing yet. done is called once,
	 * never from within start. NULL: no memory. state is the tool's own, from open. */
	struct tool_run *(*start)(void *state, const struct tool_context *ctx, const json_t *args, tool_done_fn *done,
	                          void *arg);
	void (*cancel)(struct tool_run *run); /* done is not called any more */
	/* State that lasts between calls; all may be NULL. */
	void *(*open)(struct event_base *base, const char *dir);
	void (*close)(void *state);
	void (*forget)(void *state, const char *thread); /* a conversation has ended; nothing runs for it */
};

/* One run of a tool, as it is told of. */
struct tool_run_info {
	unsigned number; /* among the runs of the turn */
	const char *id;  /* of the call, as the model's server gave it */
	const struct tool *tool;
	const json_t *args; /* of the call, an object */
};

/* Every tool, in the order in which models are offered them. core/tools/NAME.c defines
 * tool_NAME. */
#define TOOLS(TOOL)                                                                                                    \
	TOOL(web_search)                                                                                               \
	TOOL(document_search)                                                                                          \
	TOOL(code_interpreter)

#define TOOLS_DECLARE(name) extern const struct tool tool_##name;
TOOLS(TOOLS_DECLARE)
#undef TOOLS_DECLARE

#define TOOLS_ONE(name) +1
#define TOOLS_MAX       (0 TOOLS(TOOLS_ONE))

/* The names of the tools that c provides, those of MCP servers last, ended by NULL; free(). The names last as long
 * as c. NULL: no memory. */
const char **toolbox_names(const struct config *c, size_t *count);

/* Appends the hints of those among these definitions, each followed by a space. -1: no memory. */
int toolbox_hints(const json_t *definitions, struct buf *out);

struct toolbox;
/* dir: the run directory, where workers share what they must; NULL: nothing is shared. */
struct toolbox *toolbox_new(struct event_base *base, const char *dir, struct err *e);
void toolbox_free(struct toolbox *b);

/* The tool of that name that c provides, which lasts as long as c, or NULL. name need not end with a NUL. */
const struct tool *toolbox_find(struct toolbox *b, const struct config *c, const char *name, size_t len);

/* The "tools" array of a request: a new reference, shared by turns (never change it); NULL
 * where c provides none (or out of memory). */
json_t *toolbox_definitions(struct toolbox *b, const struct config *c);

struct tool_run *toolbox_start(struct toolbox *b, const struct tool *tool, const struct tool_context *ctx,
                               const json_t *args, tool_done_fn *done, void *arg);

/* The conversation has ended, and nothing runs for it: what tools keep for it is released. */
void toolbox_forget(struct toolbox *b, const char *thread);

#endif
