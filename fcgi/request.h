/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its response over libfcgi: the only place that knows its header.
 *
 * What is handed to libfcgi was checked by peek.c and lies there whole, so reading never
 * blocks; what is written goes out in records of at most REQUEST_RECORD_MAX bytes, of
 * which the caller knows that the socket takes them, so writing never blocks either. */
#ifndef TT_FCGI_REQUEST_H
#define TT_FCGI_REQUEST_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define REQUEST_RECORD_MAX 8184u

/* The parameters that anything here looks at; NULL where the web server sent none. */
struct request_params {
	const char *method, *request_uri, *script_name, *path_info, *query_string;
	const char *request_id, *admin, *prefix, *body_too_long, *remote_user, *remote_addr;
};

struct request;

/* Once per process, before anything else; sets libfcgi's signal handlers, so the caller
 * installs its own afterwards. */
int request_library_init(struct err *e);

struct request *request_new(void); /* NULL: no memory; is used for one request after another */
void request_free(struct request *x);

/* Reads a request that lies whole in `from` (the socket itself, or a file) and will be
 * answered on `to`. Its body is body_len bytes. -1: not readable after all (after peek.c
 * that means no memory): `from` is closed, the exchange is free again. */
int request_begin(struct request *x, int from, int to, size_t body_len);

const struct request_params *request_params(const struct request *x);
/* A request header by its name in HTTP ("X-User"); NULL: there is none, or two that differ.
 * Until request_forget_request. */
const char *request_header(const struct request *x, const char *name);
const char *request_body(const struct request *x, size_t *len); /* NUL-terminated */

/* Frees parameters and body, which a long answer needs no more. */
void request_forget_request(struct request *x);

/* Puts up to REQUEST_RECORD_MAX bytes into the record that is being filled. */
void request_put(struct request *x, const void *bytes, size_t len);
size_t request_room(const struct request *x);    /* bytes that it still takes */
size_t request_pending(const struct request *x); /* bytes in it */

/* Writes the record. -1: the peer is gone. */
int request_flush(struct request *x);

/* Writes an empty record that carries fd, which the peer does not get to see: none of its reads
 * goes beyond. Only on AF_UNIX, and where the socket has room. -1: it was not written. */
int request_split(struct request *x, int fd);

/* Writes the record and the end of the request, and is free for the next. */
int request_finish(struct request *x);

/* Drops everything without a word to the peer. */
void request_abandon(struct request *x);

#endif
