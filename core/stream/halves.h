/* SPDX-License-Identifier: Apache-2.0 */
/* Characters whose parts come in two deltas: a surrogate pair that a server cut in its middle, or
 * bytes of UTF-8. JSON cannot hold a part, so each becomes a mark (a private code point) where an
 * event is read, and the marks are joined where deltas meet. Pure. */
#ifndef TT_STREAM_HALVES_H
#define TT_STREAM_HALVES_H

#include "core/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the mark of a surrogate or of a byte above 0x7f: 4 bytes of UTF-8. */
void halves_mark_surrogate(uint32_t surrogate, char out[4]);
void halves_mark_byte(unsigned char byte, char out[4]);

/* Appends text to out: adjacent marks become their character, a mark that is alone becomes U+FFFD.
 * Unless it is the last text, marks at its end that the next may complete are left out: returns the
 * length of text without them. -1: no memory or out's limit. */
ptrdiff_t halves_join(struct buf *out, const char *text, size_t len, bool last);

#endif
