/* SPDX-License-Identifier: Apache-2.0 */
/* What the endpoints of Anthropic's Messages API share: the form of an error, and the body of a request. */
#ifndef TT_PROTOCOL_MESSAGES_H
#define TT_PROTOCOL_MESSAGES_H

#include "core/protocol/protocol.h"

#include <jansson.h>

/* {"type":"error","error":{"type","message"}}: a new reference; NULL: no memory. */
json_t *messages_error(const char *type, const char *message);

/* The same, of the type that the status has there. */
json_t *messages_refusal(int status, const char *message);

/* The body of POST /v1/messages: protocol_messages.parse. The messages and fields become those of a chat completion. */
int messages_parse(const char *body, size_t len, struct chat_request *r, json_t **problem);

#endif
