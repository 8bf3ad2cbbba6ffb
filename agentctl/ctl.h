/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentctl: a command is an entry in commands/, and its row in commands.c. */
#ifndef TT_AGENTCTL_CTL_H
#define TT_AGENTCTL_CTL_H

#include "core/control/command.h"

#include "core/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1,     /* the daemon answered with an error; probe: the LLM cannot be used; doctor: warnings */
	CTL_USAGE = 2,       /* doctor: errors */
	CTL_UNREACHABLE = 3, /* no daemon answered; probe: no server did */
	CTL_RESTART = 4,     /* reload: it worked, but something takes effect only after a restart */
};

struct ctl_command;
struct ctl;

/* A way to write: text for people, JSON for scripts. */
struct ctl_output {
	void (*show)(const struct ctl *a, const struct ctl_command *c, const json_t *document);
	void (*problem)(const struct ctl *a, const char *text);
};
extern const struct ctl_output ctl_text, ctl_json;

struct ctl {
	const char *run_dir;
	const struct ctl_output *output;
	int64_t deadline_ms;                        /* 0: the command's own */
	const char *token_env, *model, *proxy, *ca; /* probe: NULL: not given */
	const char *by;                             /* usage: likewise */
	bool all_hosts;                             /* usage */
	const char *thread;                         /* chat: NULL: a new one */
	const char *url;                            /* chat, doctor: of the web server; NULL: not given */
	bool changed;                               /* config: what differs from the defaults */
	bool try_services;                          /* doctor: makes a search and a chat */
	const char *since;                          /* events, usage: NULL: not given */
	bool follow;                                /* events */
	bool batch;                                 /* top */
	unsigned count;                             /* top: pages; 0: without end */
	int64_t delay_ms;                           /* top */
	FILE *out, *err;
	bool colour;
	bool terminal; /* out is one: tables fit its width */
	bool utf8;     /* the locale's characters are UTF-8: pictures can be shown */
	bool whole;    /* long values are not cut */
};

/* --- commands --------------------------------------------------------------------------- */

/* The daemon's commands are those of commands.def: one without an entry here is asked for,
 * and its answer is shown as text_document() shows any. An entry of the same name changes
 * that; an entry of another name is a command that needs no daemon. */
struct ctl_command {
	const char *name;      /* "status"; two words where commands form a group: "threads list" */
	const char *arguments; /* "THREAD [SUBJECT]"; NULL: those of the daemon's command */
	size_t min, max;       /* their number, where they are given here */
	const char *help;      /* a sentence; NULL: that of the daemon's command */
	const char *manual;    /* further sentences, for the manual only */
	bool is_stream;        /* shows many documents, in JSON each on a line */
	/* NULL: ask the daemon, and show its answer. */
	enum ctl_exit (*run)(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count);
	/* As text; NULL: text_document(). */
	void (*show)(const struct ctl *a, const json_t *document);
	/* Reads what the command would show from the run directory when no daemon answers; a
	 * new reference, NULL: nothing can be read. */
	json_t *(*last_state)(const struct ctl *a);
};

/* The i-th command for people, its NULL members filled in from the daemon's table, in the
 * order of --help; false at the end. */
bool ctl_command_at(size_t i, struct ctl_command *out);

/* "select DEPLOY_ID" into out. */
void ctl_usage(const struct ctl_command *c, char *out, size_t size);

/* Runs the command that the first word, or the first two, name. */
enum ctl_exit ctl_run(const struct ctl *a, char *const *words, size_t count);

/* --- for the commands ------------------------------------------------------------------- */

/* Asks the daemon; steals args. NULL when there is nothing left to do: the last state or
 * the error was shown, and *result is set. */
json_t *ctl_call(const struct ctl *a, const struct ctl_command *c, json_t *args, enum ctl_exit *result);

/* The same for another command of the daemon, whose failure is not shown. NULL: it failed. */
json_t *ctl_request(const struct ctl *a, enum command id, json_t *args);

/* Shows the daemon's answer; steals it. CTL_REFUSED where it is an error. */
enum ctl_exit ctl_finish(const struct ctl *a, const struct ctl_command *c, json_t *document);

/* Shows events until the reader of a->out is gone or the daemon closes the connection. */
enum ctl_exit ctl_watch(const struct ctl *a, const struct ctl_command *c);

/* The last published state, made by `make` and marked as stale; a new reference, NULL: none
 * can be read. */
struct status_snapshot;
json_t *ctl_last_state(const struct ctl *a, json_t *(*make)(const struct status_snapshot *s));

/* The configuration that tt-agentd published last. NULL with e: there is none. */
struct config *ctl_published_config(const struct ctl *a, struct err *e);

extern const struct ctl_command ctl_usage_sums;
extern const struct ctl_command ctl_mcp_list, ctl_mcp_tools, ctl_mcp_call;
extern const struct ctl_command ctl_keys_list, ctl_keys_create, ctl_keys_rotate, ctl_keys_revoke, ctl_keys_delete;
extern const struct ctl_command ctl_ping, ctl_status, ctl_models, ctl_config, ctl_config_explain, ctl_events,
	ctl_refresh, ctl_select, ctl_drain, ctl_undrain, ctl_reload, ctl_top, ctl_metrics;
extern const struct ctl_command ctl_threads_list, ctl_threads_show, ctl_threads_stat, ctl_threads_size,
	ctl_threads_delete, ctl_threads_delete_user, ctl_threads_delete_all, ctl_threads_export, ctl_threads_copy,
	ctl_probe, ctl_doctor, ctl_chat;

#endif
