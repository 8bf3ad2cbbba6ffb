/* SPDX-License-Identifier: Apache-2.0 */
/* What all endpoints of the OpenAI API share: the form of an error, and what each failure is there. */
#ifndef TT_PROTOCOL_OPENAI_H
#define TT_PROTOCOL_OPENAI_H

#include "core/protocol/protocol.h"

#include <jansson.h>

/* How OpenAI's clients are told of a failure. */
struct openai_failure {
	int status;
	const char *type, *code, *param; /* NULL: null */
	const char *headers;             /* of the response, each line ended by \r\n; "" */
};
const struct openai_failure *openai_failure(enum failure why);

/* {"error":{"message","type","param","code"}}: a new reference; NULL: no memory. Texts may be NULL. */
json_t *openai_error(const char *message, const char *type, const char *param, const char *code);

/* The same for a failure. */
json_t *openai_error_of(enum failure why, const char *message);

/* The body of POST /v1/chat/completions: protocol_openai_chat.parse. Its model may have the agent's suffix yet. */
int openai_chat_parse(const char *body, size_t len, struct chat_request *r, json_t **problem);

#endif
