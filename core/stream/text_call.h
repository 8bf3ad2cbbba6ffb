/* SPDX-License-Identifier: Apache-2.0 */
/* A tool call that a model may be writing as text, recognised byte by byte. Pure.
 *
 * As soon as the text can be no call of a known tool any more, the verdict says so: a JSON
 * object that the user asked for is not held back longer than to its first foreign key or
 * name. */
#ifndef TT_STREAM_TEXT_CALL_H
#define TT_STREAM_TEXT_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum text_call_form {
	TEXT_CALL_JSON,     /* {"name":...} or [{"name":...}, the first byte included */
	TEXT_CALL_TAGGED,   /* behind <tool_call> */
	TEXT_CALL_FUNCTION, /* behind <function= */
	TEXT_CALL_MISTRAL,  /* behind [TOOL_CALLS] */
	TEXT_CALL_FENCED,   /* behind ```: TEXT_CALL_JSON, the word json before it or none */
	TEXT_CALL_PYTHON,   /* behind a python tag: TEXT_CALL_JSON, or [NAME(key="value", ...)] */
};

enum text_call_verdict { TEXT_CALL_MAYBE, TEXT_CALL_NO, TEXT_CALL_CALL };

#define TEXT_CALL_NAME_MAX  128
#define TEXT_CALL_DEPTH_MAX 48

typedef bool text_call_is_tool_fn(void *arg, const char *name, size_t len);

struct text_call {
	enum text_call_verdict (*step)(struct text_call *l, unsigned char c);
	text_call_is_tool_fn *is_tool;
	void *arg;
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

void text_call_begin(struct text_call *l, enum text_call_form form, text_call_is_tool_fn *is_tool, void *arg);
enum text_call_verdict text_call_feed(struct text_call *l, unsigned char c);

/* Whether what was fed is a whole call but for closing brackets: as some models leave
 * them out. ended: nothing more comes. */
bool text_call_is_mendable(const struct text_call *l, bool ended);

/* The arguments of the call in text, which was fed (behind the marker) and found a call or
 * mendable: JSON, free(). NULL: it is no call after all, or no memory. */
char *text_call_arguments(const struct text_call *l, const char *text, size_t len);

#endif
