/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as jansson accepts it: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Pure. */
#ifndef TT_BASE_UTF8_H
#define TT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the sequence at p (p < end); 0: invalid or incomplete. */
size_t utf8_sequence(const unsigned char *p, const unsigned char *end);

/* The length of text, or of its longest prefix of whole characters within max bytes. */
size_t utf8_cut(const char *text, size_t max);

/* A copy in which '?' replaces each byte that is not UTF-8 and each NUL: the same length,
 * terminated, free(). NULL: out of memory. */
char *utf8_text(const char *bytes, size_t len);

/* Steps over the character at *at (< end); *code is its code point, or the byte that is not
 * UTF-8. False where it must not be shown as it is: a control character (C0, DEL, C1), a mark
 * that turns the direction of a text or hides in it, a line separator, a surrogate that was
 * encoded, a byte that is not UTF-8. */
bool utf8_next(const char **at, const char *end, uint32_t *code);

/* The length of the whitespace character at p (p < end), as Python's str.isspace knows them; 0: it is none. */
size_t utf8_whitespace(const unsigned char *p, const unsigned char *end);

/* Whether nothing of text can be seen: only whitespace and characters without a width, or nothing at all. */
bool utf8_is_blank(const char *text);

/* Replaces with '?' each byte that must not be shown, in place. */
void utf8_disarm(char *text);

/* Writes a code point, which must not be a surrogate; returns the number of bytes. */
size_t utf8_encode(uint32_t code, char out[4]);

#endif
