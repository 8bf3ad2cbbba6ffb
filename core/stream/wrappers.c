/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/wrappers.h"

#define TOKEN  WRAPPER_TOKEN
#define ALWAYS WRAPPER_ALWAYS
#define START  WRAPPER_START
#define HEAD   WRAPPER_HEAD
#define WRAPPER(kind, flags, opening, closing)                                                                         \
	{WRAPPER_##kind, (flags), (opening), (closing), sizeof(opening) - 1, sizeof(closing) - 1},

const struct wrapper wrappers[] = {
#include "core/stream/wrappers.def"
};
const size_t wrappers_count = sizeof wrappers / sizeof wrappers[0];

const struct wrapper wrapper_token = {.kind = WRAPPER_DROP, .flags = TOKEN, .opening = "", .closing = ""};
const struct wrapper wrapper_json = {.kind = WRAPPER_JSON, .opening = "", .closing = ""};
const struct wrapper wrapper_fence = {.kind = WRAPPER_FENCE, .opening = "```", .closing = "```"};
