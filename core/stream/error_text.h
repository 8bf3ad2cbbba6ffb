/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as LLM servers report them, in a stream or as the body of an HTTP error, in any of
 * the known shapes: {"error":{"message"}}, {"error":"..."}, {"message"}, {"detail"}, plain
 * text. Pure. */
#ifndef TT_STREAM_ERROR_TEXT_H
#define TT_STREAM_ERROR_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What the body of an HTTP error says: its first line, cut between two characters where it is
 * longer than size allows; "" where it says nothing to people (HTML, other JSON). */
void error_text_of_body(const char *body, size_t len, char *out, size_t size);

/* The same of an object that was parsed. False: it has no message of an error. */
bool error_text_of_json(const json_t *object, char *out, size_t size);

/* Whether an error text says that the context window is exceeded. */
bool error_text_is_context_overflow(const char *text);

#endif
