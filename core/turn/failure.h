/* SPDX-License-Identifier: Apache-2.0 */
/* What follows when an ask fails: one row for each way it can end. Pure. */
#ifndef TT_TURN_FAILURE_H
#define TT_TURN_FAILURE_H

#include "core/turn/attempt.h"

enum failure_action {
	FAILURE_NONE,   /* it is no failure */
	FAILURE_NEXT,   /* ask the next candidate */
	FAILURE_SHRINK, /* drop the oldest turn, or more, and ask the same again, once */
	FAILURE_GO_ON,  /* another candidate goes on with what was shown, else a sentence ends the turn */
	FAILURE_TELL,   /* a sentence ends the turn */
};

struct failure {
	enum failure_action before; /* nothing of this ask's answer was shown yet */
	enum failure_action after;  /* some of it was */
	bool counts;                /* against the LLM's health */
	const char *sentence;       /* for the user, where nothing was shown */
	const char *broken;         /* for the user, behind text that was shown */
};

const struct failure *failure_of(enum attempt_result end);

#endif
