/* SPDX-License-Identifier: Apache-2.0 */
/* From a script and a request to the bytes of an LLM's answer. Pure. */
#ifndef TT_TESTS_MOCK_STREAM_H
#define TT_TESTS_MOCK_STREAM_H

#include "tests/mock/plan.h"
#include "tests/mock/script.h"

/* What a request to /v1/chat/completions or /v1/completions asked for. */
struct stream_request {
	const char *model;
	bool completions, stream, usage_last, usage_each, tools;
	int64_t max_tokens; /* 0 = not said */
	const char *echo;   /* the text to say instead of the script's; NULL: none */
	const char *begun;  /* an answer that is to be continued: not said again; NULL: none */
};

struct plan *stream_plan(const struct script *s, const struct stream_request *request);

#endif
