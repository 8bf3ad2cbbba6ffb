/* SPDX-License-Identifier: Apache-2.0 */
/* The command channel: a Unix stream socket, one JSON object per line in each
 * direction.
 *
 *   -> {"v":1,"id":7,"command":"select","args":{"deploy_id":"d1"}}
 *   <- {"v":1,"id":7,"ok":true,"result":{...}}
 *   <- {"v":1,"id":7,"ok":false,"error":"..."}
 *   <- {"v":1,"id":7,"event":{...}}            (events only, until a side closes)
 *
 * A line is at most COMMAND_LINE_MAX bytes. A broken, silent or hostile peer costs its
 * own connection and nothing else: the server answers with an error that says what is
 * wrong, and closes. */
#ifndef TT_CONTROL_COMMAND_H
#define TT_CONTROL_COMMAND_H

#include "core/base/err.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define COMMAND_VERSION     1
#define COMMAND_LINE_MAX    (16u << 20) /* replies of 10,000 models fit */
#define COMMAND_REQUEST_MAX (64u << 10)
#define COMMAND_SOCKET      "command.sock" /* in the run directory */

#define COMMAND(id, name, args, right, deadline, help) CMD_##id,
enum command {
#include "core/control/commands.def"
	COMMANDS
};

/* READ: any peer that may open the socket. CONTROL: root, the daemon's own user, and
 * (by the socket's mode) the admin group. SERVICE: root and the daemon's own user. */
enum command_right { RIGHT_READ, RIGHT_CONTROL, RIGHT_SERVICE };

/* A row of commands.def: enough to show and send a command that the program does not know. */
struct command_info {
	const char *name, *args, *help;
	enum command_right right;
	int64_t deadline_ms; /* 0: a stream of events */
};
const struct command_info *command_info(enum command c);
int command_find(const char *name, enum command *c);

/* --- server -------------------------------------------------------------------- */
struct command_server;
struct command_call; /* one request; lives until it was answered */

/* Answers with exactly one of command_reply, command_fail (now or later), or with any
 * number of command_event for a stream. args is borrowed, {} where the peer sent none.
 * A call whose peer has gone, or whose deadline has passed ("timed out"), still takes
 * an answer, which goes nowhere. */
typedef void command_handler_fn(void *arg, struct command_call *call, enum command c, const json_t *args);

/* Binds path itself: mode 0660, close-on-exec, replaces a dead socket file only. */
struct command_server *command_server_new(struct event_base *base, const char *path, command_handler_fn *handler,
                                          void *arg, struct err *e);
/* Closes all connections; streams get their closed callback; unanswered calls still take their
 * answer. Output is still sent as far as the socket takes it at once. Not from within the
 * handler. */
void command_server_free(struct command_server *s);

void command_reply(struct command_call *call, json_t *result); /* steals; NULL: no memory */
void command_fail(struct command_call *call, const char *text);
void command_event(struct command_call *call, json_t *event); /* steals */
/* For a stream, to be called by the handler: its deadline ends, and closed is called once
 * when the peer has gone (or reads so slowly that it is dropped), never from within
 * command_event; the call is gone afterwards. */
void command_on_close(struct command_call *call, void (*closed)(void *arg), void *arg);
/* For a command that takes long: closed is called once when nobody waits for its answer any
 * more, because the peer has gone or has cancelled it; the call is gone then. */
void command_on_cancel(struct command_call *call, void (*closed)(void *arg), void *arg);
uid_t command_peer_uid(const struct command_call *call);

/* --- client on a loop ------------------------------------------------------------ */
/* Connects when the first command is sent and again after it was lost. */
struct command_client;
struct command_request;

struct command_client *command_client_new(struct event_base *base, const char *path, struct err *e);
void command_client_free(struct command_client *c); /* no callbacks; not from within one */

/* result is borrowed, NULL with e set: refused by the daemon ("..."), or no answer
 * (*unreachable: no listener, connection closed, deadline passed). Once; never from within
 * command_send. args is stolen (NULL: {}). deadline_ms 0: a little more than the daemon's
 * own deadline for this command. SIGPIPE must be ignored. */
typedef void command_done_fn(void *arg, const json_t *result, bool unreachable, const struct err *e);
struct command_request *command_send(struct command_client *c, enum command cmd, json_t *args, int64_t deadline_ms,
                                     command_done_fn *done, void *arg);
void command_request_cancel(struct command_request *r); /* done is not called; the daemon cancels it */

/* --- client for the admin tool: one command, waits --------------------------------- */
/* The result (new reference) or NULL with e; *unreachable and deadline_ms as above. */
json_t *command_call(const char *path, enum command cmd, json_t *args, int64_t deadline_ms, bool *unreachable,
                     struct err *e);
/* Streams events to each until it returns false or the daemon closes the connection. */
int command_watch(const char *path, enum command cmd, bool (*each)(void *arg, const json_t *event), void *arg,
                  struct err *e);

#endif
