/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of dead workers on their way to living ones, each with its connection: one socket pair
 * of the parent, from which all workers read as from a listener, and to which keepers write. */
#ifndef TT_FCGI_HANDOVER_H
#define TT_FCGI_HANDOVER_H

#include "core/base/err.h"
#include "core/protocol/output.h"

#include <stdbool.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define HANDOVER_MAX 61440u /* bytes of the request and of the answer's text so far */

/* What the parent and keepers know of dead workers, and a living worker reports; in memory that all of
 * them share. */
struct deaths {
	_Atomic uint32_t workers;
	_Atomic int status;       /* of the last one, as waitpid gives it */
	_Atomic uint32_t answers; /* that broke off with it and nobody took over */
};

struct handover {
	int take, give; /* -1: closed */
	struct deaths *deaths;
};

int handover_open(struct handover *h, struct err *e);
void handover_close(struct handover *h);

/* For all who share it: nothing more is given, only what waits is taken. Whether something waits. */
bool handover_end(const struct handover *h);

/* What is known of an answer whose worker died. The request as it came and the text so far follow. */
struct orphan {
	char protocol[16]; /* its name */
	char memo[OUTPUT_MEMO_MAX];
	unsigned char state; /* of the reply: output_set_state */
	uint16_t request_id; /* FastCGI's */
	uint32_t request_len, text_len;
	uint32_t writes;
	int64_t began_ns, first_ns, last_ns; /* CLOCK_MONOTONIC */
};

/* One that is taken. The kernel writes it while it takes, connection included. */
struct handed_over {
	struct orphan known;
	char bytes[HANDOVER_MAX];
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

/* -1: it was not given, as nobody takes. The connection stays the caller's to close. */
int handover_give(int give, const struct orphan *o, const char *bytes, int connection);

/* 0: the connection is the caller's, and bytes hold known.request_len and then known.text_len bytes.
 * -1: there is none. 1: there is none, and none will come. */
int handover_take(int take, struct handed_over *h);
int handover_connection(const struct handed_over *h); /* -1: it was not taken */

#endif
