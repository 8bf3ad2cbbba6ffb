/* SPDX-License-Identifier: Apache-2.0 */
/* Checks one FastCGI request before libfcgi is allowed to read it. Pure; it is fed pieces of any
 * size.
 *
 * libfcgi 2.4.2 trusts its peer: parameter lengths that sum over INT_MAX abort it,
 * FCGI_GET_VALUES with four repeated names overruns its stack, records of other requests
 * and padding after BEGIN_REQUEST or an empty record confuse its reader. So only the plain
 * form passes: BEGIN_REQUEST (role RESPONDER), PARAMS ... up to its empty record, STDIN ...
 * up to its empty record, all with one request id that is not 0, parameters within the
 * limits below. */
#ifndef TT_FCGI_PRECHECK_H
#define TT_FCGI_PRECHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRECHECK_PARAMS_MAX      61440u /* bytes of all names and values together */
#define PRECHECK_PARAM_COUNT_MAX 512u
#define PRECHECK_HEADER_LEN      8u

enum precheck_verdict {
	PRECHECK_MORE,  /* correct so far, not complete yet */
	PRECHECK_WHOLE, /* complete; `consumed` is where it ends */
	PRECHECK_ABORT, /* the peer aborted it */
	PRECHECK_BAD,   /* malformed, see `error`; the connection cannot be used any more */
};

struct precheck {
	/* The result. */
	uint16_t request_id;
	bool keep;         /* the peer keeps the connection */
	size_t consumed;   /* bytes of the request seen so far */
	size_t params_end; /* offset after the empty PARAMS record; 0: not seen yet */
	size_t body_len;   /* bytes of STDIN content seen so far */
	const char *error;
	bool too_many; /* the error: more parameters than may be, which is the client's fault */

	/* The state of the parser. */
	enum { PRECHECK_AT_BEGIN, PRECHECK_AT_PARAMS, PRECHECK_AT_STDIN, PRECHECK_AT_END } stage;
	uint8_t header[PRECHECK_HEADER_LEN];
	unsigned header_len;
	unsigned content_left, padding_left;
	uint8_t begin[8];
	unsigned begin_len;
	enum { PAIR_NAME_LEN, PAIR_VALUE_LEN, PAIR_NAME, PAIR_VALUE } pair;
	uint32_t length;      /* a length of four bytes, while it is read */
	unsigned length_left; /* bytes of it that are missing */
	uint32_t name_left, value_left;
	size_t params_len;
	unsigned param_count;
};

void precheck_init(struct precheck *p);

/* Checks the next bytes. After PRECHECK_WHOLE, bytes after p->consumed are not part of the request.
 * Must not be called again once it has returned anything but PRECHECK_MORE. */
enum precheck_verdict precheck_feed(struct precheck *p, const void *bytes, size_t len);

#endif
