/* SPDX-License-Identifier: Apache-2.0 */
/* A client's JSON as values, at a cost in proportion to its length: up to 30 ns a byte (jansson reads byte by
 * byte), and at most 16 times its length and 256 KiB of memory. Pure. */
#ifndef TT_PROTOCOL_JSON_BODY_H
#define TT_PROTOCOL_JSON_BODY_H

#include <jansson.h>
#include <stddef.h>

struct json_body_error {
	const char *message; /* static, in Python's words; NULL: no memory */
	size_t offset;       /* in characters, or in bytes where Python would accept the text */
};

/* A new reference, or NULL with e. An integer beyond 64 bits becomes a real. */
json_t *json_body_parse(const char *body, size_t len, struct json_body_error *e);

#endif
