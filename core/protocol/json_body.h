/* SPDX-License-Identifier: Apache-2.0 */
/* A client's JSON as values, at a cost in proportion to its length: up to 30 ns a byte (jansson reads byte by
 * byte), and memory within the limits, up to 240 bytes for each value. Pure. */
#ifndef TT_PROTOCOL_JSON_BODY_H
#define TT_PROTOCOL_JSON_BODY_H

#include <jansson.h>
#include <stddef.h>

/* How many values a body may have at most, and beyond the first ones bytes of text for each. */
struct json_body_limits {
	size_t values, text;
};
extern const struct json_body_limits json_body_short; /* a message */
extern const struct json_body_limits json_body_long;  /* a conversation, and schemas of tools */

struct json_body_error {
	const char *message; /* static, in Python's words; NULL: no memory */
	size_t offset;       /* in characters, or in bytes where Python would accept the text */
};

/* A new reference, or NULL with e. An integer beyond 64 bits becomes a real. */
json_t *json_body_parse(const char *body, size_t len, const struct json_body_limits *limits, struct json_body_error *e);

#endif
