/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the command channel: bytes to values and back, without any I/O. Shared
 * by server and clients; nobody else needs it. */
#ifndef TT_CONTROL_COMMAND_WIRE_H
#define TT_CONTROL_COMMAND_WIRE_H

#include "core/control/command.h"

#include <event2/buffer.h>
#include <stddef.h>

enum wire_verdict {
	WIRE_OK,
	WIRE_REFUSED, /* unknown command: answered with an error */
	WIRE_BROKEN,  /* not the protocol: answered with an error, then the connection is closed */
};

struct wire_request {
	bool has_id;
	int64_t id;
	enum command command;
	json_t *args; /* an object, owned by the caller; NULL unless WIRE_OK */
};
enum wire_verdict command_wire_request(const char *line, size_t len, struct wire_request *r, struct err *e);

enum wire_kind { WIRE_RESULT, WIRE_ERROR, WIRE_EVENT };
struct wire_answer {
	bool has_id;
	int64_t id;
	enum wire_kind kind;
	json_t *value;    /* result or event, owned by the caller; NULL for an error */
	struct err error; /* from the daemon */
};
/* -1 with e when the line does not follow the protocol. */
int command_wire_answer(const char *line, size_t len, struct wire_answer *a, struct err *e);

/* One line with its newline (free()), or NULL without memory. Steal value and args. */
char *command_wire_put_request(int64_t id, enum command c, json_t *args, size_t *len);
char *command_wire_put_value(int64_t id, enum wire_kind kind, json_t *value, size_t *len);
char *command_wire_put_error(const int64_t *id, const char *text, size_t *len);

/* The next whole line in in (without its newline), valid until it is drained (len + 1 bytes);
 * NULL: not there yet, or too long (*too_long). *scanned remembers how far the search got; set
 * it to 0 after draining. */
const char *command_wire_next(struct evbuffer *in, size_t *scanned, size_t max, size_t *len, bool *too_long);

/* How long a client waits that has no deadline of its own: a little longer than the
 * daemon, so that its "timed out" still arrives. 0 = for ever. */
int64_t command_wire_client_deadline_ms(enum command c);

/* The error of connect, for people. */
void command_wire_unreachable(struct err *e, int errnum, const char *path);

/* Fills a sockaddr_un; -1 when the path is too long. */
struct sockaddr_un;
int command_wire_address(struct sockaddr_un *sa, const char *path, struct err *e);

#endif
