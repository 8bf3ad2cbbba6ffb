/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as LLM servers and gateways report them, in a stream or as the body of an HTTP error,
 * in any of the known shapes: {"error":{"message","code","type","param"}}, {"error":"..."},
 * {"message"}, {"detail"}, arrays of those, an error as JSON text within a message, plain text.
 * Pure. */
#ifndef TT_STREAM_ERROR_REPORT_H
#define TT_STREAM_ERROR_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What an error means for the turn. The words decide, then the status. */
enum error_meaning {
	ERROR_UNKNOWN,      /* neither words nor status say anything */
	ERROR_OVERFLOW,     /* the prompt does not fit the context window */
	ERROR_FILTERED,     /* the server's content filter refused it */
	ERROR_BUSY,         /* a limit of requests or tokens, overloaded: temporary */
	ERROR_NO_CREDIT,    /* the account is used up */
	ERROR_UNAUTHORIZED, /* the credentials are not accepted */
	ERROR_NO_MODEL,     /* the server does not have the model, or could not load it */
	ERROR_UNAVAILABLE,  /* the server failed */
	ERROR_REFUSED,      /* what was sent is at fault */
	ERROR_MEANINGS
};

struct error_report {
	enum error_meaning meaning;
	long status;    /* HTTP's, or in a stream the one that the error carries; 0: none */
	char code[64];  /* the server's word or number for the error, "" where it gives none */
	char type[64];  /* likewise its class of errors */
	char param[64]; /* the member of the request that is at fault */
	char text[512]; /* for people: one line, cut between two characters; "" where it says nothing */
};

/* From the body of an HTTP error. HTML and JSON of other kinds say nothing to people. */
void error_report_of_body(struct error_report *r, long status, const char *body, size_t len);

/* Says so where the server gave no reason. */
void error_report_complete(struct error_report *r);

/* The same of an object that was parsed. False: it has no message of an error. */
bool error_report_of_json(struct error_report *r, const json_t *object);

#endif
