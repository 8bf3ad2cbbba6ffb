/* One request and its response over libfcgi: the only place that knows its header.
 *
 * What is handed to libfcgi was checked by peek.c and lies there whole, so reading never
 * blocks; what is written goes out in records of at most EXCHANGE_RECORD_MAX bytes, of
 * which the caller knows that the socket takes them, so writing never blocks either. */
#ifndef TT_FCGI_EXCHANGE_H
#define TT_FCGI_EXCHANGE_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define EXCHANGE_RECORD_MAX 8184u

/* The parameters that anything here looks at; NULL where the web server sent none. */
struct exchange_params {
	const char *method, *request_uri, *script_name, *path_info, *query_string;
	const char *request_id, *admin, *prefix, *body_too_long, *remote_user, *remote_addr;
};

struct exchange;

/* Once per process, before anything else; sets libfcgi's signal handlers, so the caller
 * installs its own afterwards. */
int exchange_library_init(struct err *e);

struct exchange *exchange_new(void); /* NULL: no memory; is used for one request after another */
void exchange_free(struct exchange *x);

/* Reads a request that lies whole in `from` (the socket itself, or a file) and will be
 * answered on `to`. Its body is body_len bytes. -1: not readable after all (after peek.c
 * that means no memory): `from` is closed, the exchange is free again. */
int exchange_begin(struct exchange *x, int from, int to, size_t body_len);

const struct exchange_params *exchange_params(const struct exchange *x);
/* A request header by its name in HTTP ("X-User"); NULL: there is none, or two that differ.
 * Until exchange_forget_request. */
const char *exchange_header(const struct exchange *x, const char *name);
const char *exchange_body(const struct exchange *x, size_t *len); /* NUL-terminated */

/* Frees parameters and body, which a long answer needs no more. */
void exchange_forget_request(struct exchange *x);

/* Puts up to EXCHANGE_RECORD_MAX bytes into the record that is being filled. */
void exchange_put(struct exchange *x, const void *bytes, size_t len);
size_t exchange_room(const struct exchange *x);    /* bytes that it still takes */
size_t exchange_pending(const struct exchange *x); /* bytes in it */

/* Writes the record. -1: the peer is gone. */
int exchange_flush(struct exchange *x);

/* Writes an empty record that carries fd, which the peer does not get to see: none of its reads
 * goes beyond. Only on AF_UNIX, and where the socket has room. -1: it was not written. */
int exchange_split(struct exchange *x, int fd);

/* Writes the record and the end of the request, and is free for the next. */
int exchange_finish(struct exchange *x);

/* Drops everything without a word to the peer. */
void exchange_abandon(struct exchange *x);

#endif
