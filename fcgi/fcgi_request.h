/* SPDX-License-Identifier: Apache-2.0 */
/* One FastCGI request, which libfcgi reads, and its response; only fcgi_request.c includes libfcgi's header.
 *
 * libfcgi only reads requests that precheck.c has checked and that are there as a whole, so
 * reading never blocks. Records of at most FCGI_REQUEST_RECORD_MAX bytes are written when
 * the caller knows that the socket has room for them, so writing never blocks either. */
#ifndef TT_FCGI_FCGI_REQUEST_H
#define TT_FCGI_FCGI_REQUEST_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define FCGI_REQUEST_RECORD_MAX 8184u
#define FCGI_REQUEST_OVERHEAD   15u /* bytes of a record besides its content, at most */

/* The parameters that are used anywhere; NULL: the web server did not send it. */
struct fcgi_request_params {
	const char *method, *request_uri, *script_name, *path_info, *query_string;
	const char *request_id, *traceparent, *admin, *prefix, *body_too_long, *remote_user, *remote_addr;
	const char *host, *origin, *fetch_site, *referer, *user_agent, *content_type;
	/* A parameter of the line above was sent twice, with different values. */
	bool ambiguous;
};

struct fcgi_request;

/* Once per process, before anything else. Sets libfcgi's signal handlers, so the caller must
 * install its own afterwards. */
int fcgi_request_library_init(struct err *e);

/* Buffers for long records, which the requests of one thread share: a request holds one only until its record is
 * written. Zeroed at start. */
#define FCGI_RECORDS_SPARE 32
struct fcgi_records {
	char *spare[FCGI_RECORDS_SPARE];
	size_t count;
};
void fcgi_records_free(struct fcgi_records *records);

/* NULL: no memory. Used for one request after another; records outlives it. */
struct fcgi_request *fcgi_request_new(struct fcgi_records *records);
void fcgi_request_free(struct fcgi_request *r);

/* Reads a request from `from` (the socket itself, or a file), which holds all of it, to be answered
 * on `to`. Its parameters end within its first params_len bytes, and its body has body_len. -1: it could not be
 * read, which after precheck.c means no memory: `from` is closed, and the next request may begin. */
int fcgi_request_begin(struct fcgi_request *r, int from, int to, size_t params_len, size_t body_len);

const struct fcgi_request_params *fcgi_request_params(const struct fcgi_request *r);
/* A request header by its HTTP name ("X-User"); NULL: there is none, or two that differ. Valid
 * until fcgi_request_forget_input. */
const char *fcgi_request_header(const struct fcgi_request *r, const char *name);
/* The first header of that name after `after` (NULL: from the start); NULL: there is no more. */
const char *fcgi_request_next_header(const struct fcgi_request *r, const char *name, const char *after);
const char *fcgi_request_body(const struct fcgi_request *r, size_t *len); /* NUL-terminated */
char *fcgi_request_take_body(struct fcgi_request *r, size_t *len);        /* the caller's: free() */

/* Frees parameters and body, which a long response no longer needs. */
void fcgi_request_forget_input(struct fcgi_request *r);

unsigned fcgi_request_id(const struct fcgi_request *r); /* FastCGI's */

/* What the kernel says of a record that is being written, in memory of the caller's: there it says so itself, before
 * the system call returns to a process that was killed meanwhile (sendmmsg stores msg_len). */
struct fcgi_sending {
	struct mmsghdr message;
	size_t len; /* of the record */
};
void fcgi_sending_begin(struct fcgi_sending *s); /* before the record is written: nothing of it is */
/* All of it was written, nothing was, or it is not known: a part, perhaps. */
enum fcgi_sent { FCGI_SENT_ALL, FCGI_SENT_NOTHING, FCGI_SENT_UNKNOWN };
enum fcgi_sent fcgi_sending_result(const struct fcgi_sending *s);

/* The record that is being filled: how many bytes are in it, more of them (no more than fit; -1: no memory), and
 * writing it. -1: the peer closed the connection. s: NULL is fine. */
size_t fcgi_request_pending(const struct fcgi_request *r);
int fcgi_request_put(struct fcgi_request *r, const char *bytes, size_t len);
int fcgi_request_flush(struct fcgi_request *r, struct fcgi_sending *s);

/* Writes an empty record that carries fd as ancillary data, beyond which none of the peer's reads
 * goes. The peer ignores fd itself. Only on AF_UNIX, and if the socket has room. -1: not written. */
int fcgi_request_split(struct fcgi_request *r, int fd);
/* The same with the record that is being filled; none of the peer's reads goes beyond it unless one ended within it. */
int fcgi_request_flush_split(struct fcgi_request *r, int fd, struct fcgi_sending *s);

/* Writes the current record and the end of the request; then the next request may begin. */
int fcgi_request_finish(struct fcgi_request *r);

/* Drops the request without writing anything. */
void fcgi_request_abandon(struct fcgi_request *r);

#endif
