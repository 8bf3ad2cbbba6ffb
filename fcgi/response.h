/* SPDX-License-Identifier: Apache-2.0 */
/* Responses: whole ones, mostly in JSON, and the head of a stream. */
#ifndef TT_FCGI_RESPONSE_H
#define TT_FCGI_RESPONSE_H

#include "fcgi/connection.h"

#include <jansson.h>

/* A whole response with more header lines, each ended by \r\n, after which c must not be used any more.
 * type NULL: it has no body, as 304. To HEAD it has the length of the body, but no body. */
void response_whole(struct connection *c, int status, const char *type, const char *headers, const char *body,
                    size_t len);

/* The same in JSON. */
void response_json(struct connection *c, int status, const char *body, size_t len);

/* 200, not to be cached, of another type. */
void response_text(struct connection *c, const char *content_type, const char *body, size_t len);

/* 200, not to be cached (body NULL: no memory, 500). */
void response_document(struct connection *c, const char *body, size_t len);

/* With more header lines. */
void response_json_with(struct connection *c, int status, const char *headers, const char *body, size_t len);

/* Serialised compactly (NULL: no memory, 500). */
void response_borrowed(struct connection *c, int status, const json_t *j);
/* The same; steals j. */
void response_value(struct connection *c, int status, json_t *j);

/* {"detail":"..."} */
void response_detail(struct connection *c, int status, const char *headers, const char *detail);

/* The head alone, of a body that follows with output_write; headers: more lines. */
void response_head(struct connection *c, int status, const char *content_type, const char *headers);

/* Nothing but the head, as of 202 and 204. */
void response_empty(struct connection *c, int status);

/* 200, unbuffered: the body follows with output_write. */
void response_stream_head(struct connection *c, const char *content_type);

#endif
