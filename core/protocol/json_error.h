/* SPDX-License-Identifier: Apache-2.0 */
/* What Python's json module says about text that is not JSON: FastAPI's answers contain its
 * wording and offsets. Pure. */
#ifndef TT_PROTOCOL_JSON_ERROR_H
#define TT_PROTOCOL_JSON_ERROR_H

#include <stddef.h>

struct json_error {
	const char *message; /* static */
	size_t offset;       /* in characters */
	size_t half;         /* where half a surrogate pair is, in bytes; SIZE_MAX: nowhere before the error */
};

/* The first error of text; message NULL where Python would accept it (jansson refuses
 * some more: NaN, 1e999, half surrogate pairs). */
void json_error_find(const char *text, size_t len, struct json_error *e);

#endif
