/* SPDX-License-Identifier: Apache-2.0 */
/* Which tool a model means by a name. Pure. */
#ifndef TT_STREAM_CALL_NAME_H
#define TT_STREAM_CALL_NAME_H

#include <stddef.h>

/* The tool that a model means by this name, as it is called in `tools` (names, ended by NULL), or
 * NULL. A namespace before the name, a number, a method or a template's token after it (functions.NAME,
 * default_api:NAME, functions.NAME:0, NAME.call, NAME<|channel|>json), surrounding whitespace and quotes, the
 * case of letters, and - for _ make no difference. name need not be terminated. */
const char *call_name_resolve(const char *name, size_t len, const char *const *tools);

#endif
