/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values as text. */
#ifndef TT_BASE_JSON_DUMP_H
#define TT_BASE_JSON_DUMP_H

#include "core/base/buf.h"

#include <jansson.h>

/* Appends what json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) gives, in a sixth of its time: it does not check for
 * values that contain themselves, and passes over plain text in long steps. Some control characters are escaped in the
 * longer of two ways. -1: NULL, a string that is not UTF-8, no memory, or no room in out; what was appended stays. */
int json_dump(struct buf *out, const json_t *value);

#endif
