/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentctl: one command, one answer. */
#ifndef TT_AGENTCTL_ADMIN_H
#define TT_AGENTCTL_ADMIN_H

#include "core/control/command.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define ADMIN_RUN_DIR "/run/tt-agent"

enum admin_exit {
	ADMIN_OK = 0,
	ADMIN_REFUSED = 1, /* the daemon answered, and the answer is no */
	ADMIN_USAGE = 2,
	ADMIN_UNREACHABLE = 3, /* nobody answered */
};

/* The kinds of documents that are shown; an output has a function for each. */
enum admin_document {
	SHOW_STATUS,
	SHOW_MODELS,
	SHOW_CONFIG,
	SHOW_PING,
	SHOW_ANSWER, /* of refresh, select, reload, ... */
	SHOW_EVENT,
	SHOW_THREADS,
	SHOW_THREAD,
	SHOW_KINDS
};

struct admin {
	const char *run_dir;
	const struct admin_output *output;
	int64_t deadline_ms; /* 0: the command's own */
	FILE *out, *err;
	bool colour;
	bool whole; /* long values are not cut */
};

/* A way to write: text for people, JSON for scripts. */
struct admin_output {
	void (*show[SHOW_KINDS])(const struct admin *a, const json_t *document);
	void (*problem)(const struct admin *a, const char *text);
};
extern const struct admin_output admin_text, admin_json;

/* How tt-agentctl serves a command of commands.def. */
struct admin_action {
	enum admin_document shows;
	enum admin_exit (*run)(const struct admin *a, enum command c, char *const *args, size_t count);
	/* Reads a part of what the command would show from the run directory where no
	 * daemon answers; NULL: only the daemon knows. */
	json_t *(*fallback)(const struct admin *a);
	const char *usage; /* of its arguments, in place of the table's; NULL: the table's */
};
/* NULL for commands that are not for people. */
const struct admin_action *admin_action(enum command c);

/* "select DEPLOY_ID" into out. */
void admin_usage(enum command c, char *out, size_t size);

/* The commands on conversations (threads.c), which need no daemon: they open the store that
 * the published configuration names. */
struct admin_thread_command {
	const char *name, *args; /* as in "threads show THREAD [SUBJECT]" */
	const char *help;
	size_t min, max; /* arguments */
	enum admin_exit (*run)(const struct admin *a, const char *url, char *const *args, size_t count);
};
#define ADMIN_THREADS "threads"
const struct admin_thread_command *admin_thread_commands(size_t *count);
enum admin_exit admin_threads(const struct admin *a, char *const *words, size_t count);
/* For people. */
void admin_show_threads(const struct admin *a, const json_t *document);
void admin_show_thread(const struct admin *a, const json_t *document);

/* Runs the command named by words[0]. */
enum admin_exit admin_run(const struct admin *a, char *const *words, size_t count);

/* Last published state, marked as stale (fallback.c); new references, NULL where there is
 * none that can be read. */
json_t *admin_stale_status(const struct admin *a);
json_t *admin_stale_models(const struct admin *a);

/* Adds the workers' counters to a status document, where they can be read. */
void admin_add_counters(const struct admin *a, json_t *status);

#endif
