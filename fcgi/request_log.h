/* SPDX-License-Identifier: Apache-2.0 */
/* The line that a request gets in the log at its end, where log.requests is set. Each function takes
 * NULL, a request that gets none. */
#ifndef TT_FCGI_REQUEST_LOG_H
#define TT_FCGI_REQUEST_LOG_H

#include "core/turn/turn.h"
#include "fcgi/fcgi_request.h"

struct request_log;

enum request_outcome {
	REQUEST_WHOLE,     /* the web server took all of the response */
	REQUEST_CANCELLED, /* it closed the connection before: the client has left */
	REQUEST_BROKE_OFF, /* the answer of a chat turn, and its client was told so */
	REQUEST_REFUSED,   /* a chat turn that did not begin */
};

/* NULL: no memory. */
struct request_log *request_log_new(const struct fcgi_request_params *p);
void request_log_status(struct request_log *l, int status);
void request_log_broke_off(struct request_log *l);
void request_log_refused(struct request_log *l, const char *why);
void request_log_turn(struct request_log *l, const struct turn_summary *s);

/* Writes the line and frees l. whole: the response was sent, bytes of it. */
void request_log_end(struct request_log *l, const char *request_id, size_t bytes, bool whole);

#endif
