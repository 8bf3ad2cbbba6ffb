/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls that a model writes as text. Pure.
 *
 * One is read forward from its first byte, in whatever notation comes (one file each):
 *   JSON     {"name": "NAME", "arguments": {...}}, with the names of keys that models use
 *   Python   NAME(key="value", ...), NAME.call(...), {'name': ...}
 *   tags     <function=NAME><parameter=KEY>value</parameter></function>,
 *            <invoke name="NAME"><parameter name="KEY">value</parameter></invoke>, with any prefix
 *   named    NAME, then JSON arguments, <arg_key>...</arg_key><arg_value>...</arg_value>, or {key:value}
 *
 * As soon as the text can no longer be a call of a known tool, the answer is MATCH_NO, so a JSON object that
 * the user asked for is held back only up to its first unknown key or name. */
#ifndef TT_STREAM_TEXT_CALL_H
#define TT_STREAM_TEXT_CALL_H

#include "core/stream/cursor.h"
#include "core/stream/wrappers.h"

#include <jansson.h>

#define TEXT_CALL_DEPTH_MAX 48
#define MINIMAX_TOKEN       "]<]minimax[>[" /* before each tag of MiniMax M3 */

struct text_call {
	const char *tool; /* of the list of tools */
	char *arguments;  /* JSON, free() */
};

/* Where calls are read: within one wrapper. */
struct text_call_body {
	const struct wrapper *wrapper;
	const char *const *tools; /* the names of those that may be called, ended by NULL; borrowed */
	bool array;               /* a [ is open around the calls */
	bool print;               /* print( is */
};

/* The next call, and what may stand before it: whitespace, tokens, openings of further wrappers. The cursor
 * moves past it (MATCH_YES), or to where it became clear that there is none (MATCH_NO). */
enum match text_call_read(struct text_call_body *b, struct cursor *c, struct text_call *call);

/* What must follow a call for it to count. */
enum text_call_need {
	TEXT_CALL_ANYWHERE, /* nothing */
	TEXT_CALL_LINE_END, /* the end of its line, or more of its kind: it is not within prose */
	TEXT_CALL_TEXT_END, /* it is in a fence, whose name comes first, and which is the whole answer */
};

/* The same for a call that counts only with its surroundings. */
enum match text_call_read_as(struct text_call_body *b, struct cursor *c, enum text_call_need need,
                             struct text_call *call);

/* What stands between calls and after the last one: separators, closings. MATCH_YES: the cursor has moved past
 * some of it. */
enum match text_call_separator(struct text_call_body *b, struct cursor *c);

/* ---- between the files of this module ---- */

/* Each reads from the cursor on and gives a new reference. */
enum match text_call_json(struct cursor *c, const struct text_call_body *b, const char **tool, json_t **arguments);
enum match text_call_json_value(struct cursor *c, json_t **value);
enum match text_call_python(struct cursor *c, json_t **arguments); /* after the opening ( */
enum match text_call_python_value(struct cursor *c, json_t **value);
enum match text_call_pairs(struct cursor *c, json_t **arguments); /* {key:value} */
enum match text_call_tag(struct cursor *c, const struct text_call_body *b, const char **tool, json_t **arguments);
enum match text_call_parameters(struct cursor *c, json_t *arguments); /* as many as come; a reference is borrowed */

/* The call in an object that was read; false: it is none. */
bool text_call_of_object(const json_t *object, const struct text_call_body *b, const char **tool, json_t **arguments);

#endif
