/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of JSON strings, for those that scan them without building values. Pure. */
#ifndef TT_BASE_JSON_TEXT_H
#define TT_BASE_JSON_TEXT_H

#include "core/base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The first byte at or after p that is not plain ASCII text: a quote, a backslash, a control
 * character, or a byte above 0x7f. end if there is none. */
const unsigned char *json_text_span(const unsigned char *p, const unsigned char *end);

/* Sets *step to the length of the escape at p (a backslash). True if it is one half of a
 * surrogate pair and the other half is missing. Invalid escapes are stepped over. */
bool json_text_lone_surrogate(const unsigned char *p, const unsigned char *end, size_t *step);

/* Decodes the escape at *p (a backslash), a surrogate pair included, and moves *p past it. The number of
 * bytes; 0: it is invalid, one half of a pair, or NUL. */
size_t json_text_escape(const unsigned char **p, const unsigned char *end, char out[4]);

/* Appends the JSON text with mark in place of what no text can have (NUL, half of a surrogate pair, bytes that are
 * not UTF-8), and null in place of what Python writes, but JSON does not know, and of numbers that no double can
 * hold. -1: no memory, or no room in out. */
int json_text_repair(const char *json, size_t len, const char *mark, struct buf *out);

/* Appends text (UTF-8) as it is between the quotes of a JSON string. -1: no memory, or no room in out. */
int json_text_add(struct buf *out, const char *text, size_t len);

/* How many bytes text takes between the quotes of a JSON string; false: it is not UTF-8. */
bool json_text_measure(const char *text, size_t len, size_t *room);
/* Writes it where there is that much room. What follows it. */
char *json_text_write(char *to, const char *text, size_t len);

/* The same as json_text_add between two texts that are JSON already. What was added before it failed stays. */
int json_text_add_between(struct buf *out, const struct buf *before, const char *text, size_t len, const char *after);

/* Text as a JSON string, with '?' for each byte that is not UTF-8: a new reference; NULL: no memory. */
json_t *json_text_value(const char *text);

/* The value of the four hexadecimal digits at p; -1: not four hexadecimal digits. */
int json_text_hex4(const unsigned char *p);

#endif
