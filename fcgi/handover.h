/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of dead workers on their way to living ones, each with its connection: one socket pair
 * of the parent, from which all workers read as from a listener, and to which keepers write. */
#ifndef TT_FCGI_HANDOVER_H
#define TT_FCGI_HANDOVER_H

#include "core/base/err.h"

#include <stddef.h>
#include <stdint.h>

#define HANDOVER_MAX 61440u /* bytes of the request and of the answer's text so far */

struct handover {
	int take, give; /* -1: closed */
};

int handover_open(struct handover *h, struct err *e);
void handover_close(struct handover *h);

/* What is known of an answer whose worker died. The request as it came and the text so far follow. */
struct orphan {
	char protocol[16];   /* its name */
	unsigned char state; /* of the reply: output_set_state */
	uint16_t request_id; /* FastCGI's */
	uint32_t request_len, text_len;
	uint32_t writes;
	int64_t began_ns, first_ns, last_ns; /* CLOCK_MONOTONIC */
};

/* -1: it was not given, as nobody takes. The connection stays the caller's to close. */
int handover_give(int give, const struct orphan *o, const char *bytes, int connection);

/* 0: the connection is the caller's, and bytes hold o->request_len and then o->text_len bytes.
 * -1: there is none. */
int handover_take(int take, struct orphan *o, char bytes[HANDOVER_MAX], int *connection);

#endif
