/* SPDX-License-Identifier: Apache-2.0 */
/* A tool call that a model may be writing as text, recognised byte by byte. Pure.
 *
 * As soon as the text can no longer be a call of a known tool, the verdict says so: a JSON
 * object that the user asked for is held back only up to its first unknown key or name. */
#ifndef TT_STREAM_TEXT_CALL_H
#define TT_STREAM_TEXT_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum text_call_form {
	TEXT_CALL_JSON,     /* {"name":...} or [{"name":...}, the first byte included */
	TEXT_CALL_TAGGED,   /* after <tool_call> */
	TEXT_CALL_FUNCTION, /* after <function= */
	TEXT_CALL_MISTRAL,  /* after [TOOL_CALLS] */
	TEXT_CALL_FENCED,   /* after ```: TEXT_CALL_JSON, the word json before it or none */
	TEXT_CALL_PYTHON,   /* after a python tag: TEXT_CALL_JSON, or [NAME(key="value", ...)] */
};

enum text_call_verdict { TEXT_CALL_MAYBE, TEXT_CALL_NO, TEXT_CALL_CALL };

#define TEXT_CALL_NAME_MAX  128
#define TEXT_CALL_DEPTH_MAX 48

struct text_call {
	enum text_call_verdict (*step)(struct text_call *t, unsigned char c);
	const char *const *tools; /* their names, ended by NULL */
	enum text_call_form form;
	bool array;       /* a [ was opened around the calls */
	bool known, args; /* the name of a tool was seen; its arguments were begun */
	bool parameters;  /* arguments come as <parameter=...> */
	bool python;      /* arguments come as key="value" */
	size_t fed;       /* bytes so far */
	size_t from;      /* where the JSON or the first parameter begins */
	const char *word; /* a literal that must come */
	size_t matched;   /* of it */
	size_t name_len;
	char name[TEXT_CALL_NAME_MAX + 1];
	/* JSON */
	uint64_t objects; /* one bit a level: it is an object */
	unsigned depth;
	unsigned call_depth; /* levels whose keys are those of a call; 0: the JSON is arguments */
	uint8_t seen, keys;  /* members seen; those that the key may still become */
	uint8_t member;      /* whose value comes */
};

/* tools: the names of those that may be called, ended by NULL; borrowed. */
void text_call_begin(struct text_call *t, enum text_call_form form, const char *const *tools);
enum text_call_verdict text_call_feed(struct text_call *t, unsigned char c);

/* Whether what was fed is a whole call except for closing brackets: some models leave them out.
 * ended: nothing more comes. */
bool text_call_is_closable(const struct text_call *t, bool ended);

/* The arguments of the call in text, which was fed (after the marker) and found a call or
 * closable: JSON, free(). NULL: it is not a call after all, or no memory. */
char *text_call_arguments(const struct text_call *t, const char *text, size_t len);

/* ---- shared by text_call.c, text_call_arguments.c and text_call_python.c ---- */

enum text_call_verdict text_call_go(struct text_call *t,
                                    enum text_call_verdict (*step)(struct text_call *t, unsigned char c));
bool text_call_is_whitespace(unsigned char c);
bool text_call_is_name(unsigned char c);
enum text_call_verdict text_call_add_to_name(struct text_call *t, unsigned char c);
bool text_call_name_is_known(struct text_call *t);

/* A call as Python writes it, from its name on. */
enum text_call_verdict text_call_python_name(struct text_call *t, unsigned char c);
/* The arguments between its parentheses: a new reference, NULL without memory. */
struct json_t *text_call_python_arguments(const char *text, size_t len);

#endif
