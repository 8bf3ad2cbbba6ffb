/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/failure.h"

#define NO_ANSWER  "No language model could answer right now. Please try again in a moment."
#define BROKE_OFF  "The answer broke off here because the connection to the language model was lost. Please ask again."
#define WENT_QUIET "The answer broke off here because the language model went silent. Please ask again."

static const struct failure table[ATTEMPT_ENDS] = {
	[ATTEMPT_COMPLETE] = {FAILURE_NONE, FAILURE_NONE, false, "", ""},
	[ATTEMPT_UNREACHABLE] = {FAILURE_NEXT, FAILURE_GO_ON, true, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_TIMEOUT] = {FAILURE_NEXT, FAILURE_GO_ON, true, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_SILENT] = {FAILURE_NEXT, FAILURE_GO_ON, true, NO_ANSWER, WENT_QUIET},
	[ATTEMPT_CUT] = {FAILURE_NEXT, FAILURE_GO_ON, true, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_ERROR_EVENT] =
		{FAILURE_NEXT, FAILURE_GO_ON, true, NO_ANSWER,
                 "The answer broke off here because the language model reported an error. Please ask again."},
	[ATTEMPT_MALFORMED] = {FAILURE_NEXT, FAILURE_GO_ON, true, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_BUSY] = {FAILURE_NEXT, FAILURE_GO_ON, false,
                          "The language model is busy right now. Please try again in a moment.", BROKE_OFF},
	[ATTEMPT_UNAVAILABLE] = {FAILURE_NEXT, FAILURE_GO_ON, true, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_UNAUTHORIZED] =
		{FAILURE_NEXT, FAILURE_GO_ON, true,
                 "The language model does not accept this service's credentials. Please tell the administrator.",
                 BROKE_OFF},
	[ATTEMPT_OVERFLOW] = {FAILURE_SHRINK, FAILURE_TELL, false,
                              "The message is too long for the language model's context window. Please shorten it.",
                              BROKE_OFF},
	[ATTEMPT_REFUSED] = {FAILURE_TELL, FAILURE_TELL, false, "The language model refused the request.", BROKE_OFF},
	[ATTEMPT_NO_RESOURCES] =
		{FAILURE_TELL, FAILURE_TELL, false,
                 "The agent is answering as many chats as it can at the moment. Please try again in a few seconds.",
                 "The answer broke off here because the agent is overloaded. Please ask again."},
	[ATTEMPT_FAILED] = {FAILURE_NEXT, FAILURE_GO_ON, false, NO_ANSWER, BROKE_OFF},
};

const struct failure *failure_of(enum attempt_result end)
{
	return &table[end];
}
