/* SPDX-License-Identifier: Apache-2.0 */
/* The output of answers in tests: keeps what was written. */
#ifndef TT_TESTS_UNIT_SUPPORT_TEST_OUTPUT_H
#define TT_TESTS_UNIT_SUPPORT_TEST_OUTPUT_H

#include "core/base/buf.h"
#include "core/protocol/output.h"

struct output {
	struct buf written; /* buf_init before, buf_free after */
	struct buf text;    /* that frames told, likewise */
	int status;         /* of output_head; 0: not called */
	char memo[OUTPUT_MEMO_MAX];
	bool boundaries; /* a flush boundary is kept as '|'; several in one place are one */
	bool full;       /* as a slow client makes it */
	bool closed;     /* whatever is written from now on fails the test */
	bool at_boundary;
	unsigned char state;                              /* the last one that was set */
	void (*before_write)(void), (*after_write)(void); /* NULL: nothing */
};

#endif
