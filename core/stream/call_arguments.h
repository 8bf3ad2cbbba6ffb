/* SPDX-License-Identifier: Apache-2.0 */
/* What the arguments of a tool call are meant to be, as models and servers write them: one JSON
 * object, perhaps encoded twice, repeated, in a fence, or with template tokens around it. Pure. */
#ifndef TT_STREAM_CALL_ARGUMENTS_H
#define TT_STREAM_CALL_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

/* The one object that the text holds; "{}" for an empty one. free(). NULL: it does not, or no memory. */
char *call_arguments_object(const char *text, size_t len);

/* The text is an object already, with members, or just "{}". */
bool call_arguments_are_object(const char *text, size_t len);

/* Whether two texts of JSON differ in whitespace alone. */
bool call_arguments_same(const char *a, size_t a_len, const char *b, size_t b_len);

const char *call_arguments_skip(const char *p, const char *end); /* whitespace */

#endif
