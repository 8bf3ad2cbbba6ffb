/* SPDX-License-Identifier: Apache-2.0 */
/* What will be written to one connection, byte for byte and with its pauses: made
 * once, played many times (by any number of streams at once). One thread. */
#ifndef TT_TESTS_MOCK_PLAN_H
#define TT_TESTS_MOCK_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum plan_end {
	PLAN_KEEP,  /* a whole response: the connection goes on */
	PLAN_CLOSE, /* closed after the last byte */
	PLAN_RESET, /* reset after the last byte */
	PLAN_STALL, /* nothing more, the connection stays open */
};

struct plan_step {
	size_t offset, len;
	int64_t delay_us; /* pause before it */
	bool stamped;     /* PLAN_STAMP is in it */
};

/* The zeros are replaced by the time of sending, CLOCK_MONOTONIC in nanoseconds: a reader on
 * the same machine knows how long it took. */
#define PLAN_STAMP "@0000000000000000000"

struct plan {
	unsigned refs;
	char *bytes;
	size_t len, cap;
	struct plan_step *steps;
	size_t step_count, step_cap;
	enum plan_end end;
};

struct plan *plan_new(void); /* memory that is out ends the process: this is a test tool */
struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p); /* NULL is fine */

/* Begins a step; plan_add then adds to it. */
void plan_step(struct plan *p, int64_t delay_us);
void plan_add(struct plan *p, const void *bytes, size_t len);
void plan_adds(struct plan *p, const char *text);

/* Finds the stamps; once the plan is whole. */
void plan_find_stamps(struct plan *p);

/* A whole response with Content-Length. headers: further lines, each ended by \r\n; NULL: none. */
struct plan *plan_response(int status, const char *content_type, const char *headers, const char *body, size_t len,
                           int64_t delay_us);
const char *plan_reason(int status);

#endif
