/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as jansson accepts it: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Pure. */
#ifndef TT_BASE_UTF8_H
#define TT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the sequence at p (p < end); 0: it is none, or not whole. */
size_t utf8_sequence(const unsigned char *p, const unsigned char *end);

/* The length of text, cut between two characters where it is longer than max bytes. */
size_t utf8_cut(const char *text, size_t max);

/* A copy in which each byte that is no UTF-8, and each NUL, is a '?': as long as bytes is,
 * terminated, free(). NULL: no memory. */
char *utf8_text(const char *bytes, size_t len);

/* The length of the JSON escape at p (a backslash) in *step, and whether it is half of a
 * surrogate pair without the other half. Escapes that are none are left as they are. */
bool utf8_lone_surrogate(const unsigned char *p, const unsigned char *end, size_t *step);

/* The four hexadecimal digits at p as a number; -1: they are none. */
int utf8_hex4(const unsigned char *p);

/* Writes a code point that is no surrogate; returns the number of bytes. */
size_t utf8_encode(uint32_t code, char out[4]);

/* The first byte from p on that does not stand for itself in a JSON string, ASCII alone
 * considered: a quote, a backslash, a control character or any byte above 0x7f. */
const unsigned char *utf8_json_span(const unsigned char *p, const unsigned char *end);

#endif
