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

/* The headers of a failure: when to try again, if the reply knows it, or else the usual ones. */
#define OPENAI_RETRY_MAX 32
const char *openai_retry_header(const struct reply *r, const char *usual, char out[OPENAI_RETRY_MAX]);

/* {"error":{"message","type","param","code"}}: a new reference; NULL: no memory. Texts may be NULL. */
json_t *openai_error(const char *message, const char *type, const char *param, const char *code);

/* The same for a failure. */
json_t *openai_error_of(enum failure why, const char *message);

/* The event that ends a stream which breaks off; its length. */
#define OPENAI_EVENT_MAX 4096
size_t openai_error_event(char *out, size_t size, enum failure why, const char *message);

/* The end of a stream whose program has died. It may have broken off within an event, which an empty line ends. */
#define OPENAI_DIED                                                                                                     \
	"\n\ndata: {\"error\":{\"message\":\"The answer broke off because the part of the service that was writing it " \
	"ended unexpectedly. Please ask again.\",\"type\":\"server_error\",\"param\":null,"                             \
	"\"code\":\"upstream_error\"}}\n\n"

/* A random name of an answer, or of a part of one: OPENAI_KEY hexadecimal digits and a NUL. */
#define OPENAI_KEY 24
void openai_new_key(char out[OPENAI_KEY + 1]);

/* What else the model's server sent with a call joins what is said of it. */
void openai_add_extra(json_t *json, const struct call *call);

/* A whole response, headers as of output_head; steals json. NULL: no memory. */
void openai_send_object(struct output *o, int status, const char *headers, json_t *json);

/* ---- bodies of requests ---- */

/* What is wrong with one. */
struct openai_problem {
	const char *param; /* static; NULL: the body as a whole */
	char text[300];
};

/* Fills p; 400. */
int openai_wrong(struct openai_problem *p, const char *param, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Takes what is in a body, an object, for r. 0; 400 with p; -1: no memory. */
typedef int openai_take_fn(json_t *body, struct chat_request *r, struct openai_problem *p);
openai_take_fn openai_take_model;
int openai_take_bool(const json_t *object, const char *name, bool *out, struct openai_problem *p);

/* The whole of it, as JSON that take then sees. r is empty unless 0 is returned. */
int openai_take_body(const char *body, size_t len, openai_take_fn *take, struct chat_request *r,
                     struct openai_problem *p);

/* The same as a protocol's parse. */
int openai_parse(const char *body, size_t len, openai_take_fn *take, struct chat_request *r, json_t **problem);

/* The body of POST /v1/chat/completions: protocol_openai_chat.parse. Its model may have the agent's suffix yet. */
int openai_chat_parse(const char *body, size_t len, struct chat_request *r, json_t **problem);

#endif
