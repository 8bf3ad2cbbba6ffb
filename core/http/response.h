/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of an HTTP/1 response become its status, the few headers that a client of LLMs needs, and
 * its body, by llhttp or (where there is none, as in Debian 12) by http-parser. Pure: it may be fed in any
 * pieces. Responses that those parsers or this file do not understand, or whose body is encoded, are "odd":
 * libcurl should be given the request. */
#ifndef TT_HTTP_RESPONSE_H
#define TT_HTTP_RESPONSE_H

#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef HAVE_LLHTTP_H
#include <llhttp.h>
typedef llhttp_t response_parser;
#else
#include <http_parser.h>
typedef http_parser response_parser;
#endif

#define RESPONSE_HEAD_MAX (64u << 10)

struct response_events {
	/* Status and headers have arrived; once, and never for a status of 1xx. false: stop. */
	bool (*head)(void *arg);
	/* A piece of the body, len > 0. false: stop. */
	bool (*body)(void *arg, const char *bytes, size_t len);
};

enum response_state {
	RESPONSE_MORE,      /* it goes on */
	RESPONSE_WHOLE,     /* the body has ended */
	RESPONSE_STOPPED,   /* by one of the events */
	RESPONSE_ODD,       /* see above; nothing of its body was told */
	RESPONSE_TOO_LARGE, /* headers beyond RESPONSE_HEAD_MAX */
	RESPONSE_BAD,       /* its body is not as HTTP says */
};

struct response {
	response_parser parser;
	const struct response_events *events;
	void *arg;
	enum response_state state;
	int status;           /* 0: it has not arrived */
	bool head_done;       /* events->head was called */
	bool keep_alive;      /* once it is whole: the connection can be used again */
	unsigned char header; /* the one whose value comes */
	unsigned char name_len, type_len, retry_len, encoding_len;
	size_t head_len;
	char name[20], encoding[20];
	char type[128], retry_after[64]; /* Content-Type and Retry-After, "" without */
};

void response_init(struct response *r, const struct response_events *events, void *arg);

/* Bytes that follow a whole response are dropped, and the connection is not used again. */
enum response_state response_feed(struct response *r, const char *bytes, size_t len);

/* The server closed the connection: RESPONSE_WHOLE, or RESPONSE_MORE where it is cut. */
enum response_state response_end(struct response *r);

/* Of a body whose length the server told, what has not come; -1: it was not told. */
int64_t response_missing(const struct response *r);

#endif
