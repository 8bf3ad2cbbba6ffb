/* A tool call that a model may be writing as text, recognised byte by byte. Pure.
 *
 * As soon as the text can be no call of a known tool any more, the verdict says so: a JSON
 * object that the user asked for is not held back longer than to its first foreign key or
 * name. */
#ifndef TT_CHAT_LEAK_H
#define TT_CHAT_LEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum leak_form {
	LEAK_JSON,      /* {"name":...} or [{"name":...}, the first byte included */
	LEAK_TAGGED,    /* behind <tool_call> */
	LEAK_FUNCTION,  /* behind <function= */
	LEAK_MISTRAL,   /* behind [TOOL_CALLS] */
	LEAK_FENCED,    /* behind ```: LEAK_JSON, the word json before it or none */
	LEAK_PYTHON,    /* behind a python tag: LEAK_JSON, or [NAME(key="value", ...)] */
};

enum leak_verdict { LEAK_MAYBE, LEAK_NO, LEAK_CALL };

#define LEAK_NAME_MAX  128
#define LEAK_DEPTH_MAX 48

typedef bool leak_is_tool_fn(void *arg, const char *name, size_t len);

struct leak {
	enum leak_verdict (*step)(struct leak *l, unsigned char c);
	leak_is_tool_fn *is_tool;
	void *arg;
	enum leak_form form;
	bool array;       /* a [ was opened around the calls */
	bool known, args; /* the name of a tool was seen; its arguments were begun */
	bool parameters;  /* arguments come as <parameter=...> */
	bool python;      /* arguments come as key="value" */
	size_t fed;       /* bytes so far */
	size_t from;      /* where the JSON or the first parameter begins */
	const char *word; /* a literal that must come */
	size_t matched;   /* of it */
	size_t name_len;
	char name[LEAK_NAME_MAX + 1];
	/* JSON */
	uint64_t objects;     /* one bit a level: it is an object */
	unsigned depth;
	unsigned call_depth;  /* levels whose keys are those of a call; 0: the JSON is arguments */
	uint8_t seen, keys;   /* members seen; those that the key may still become */
	uint8_t member;       /* whose value comes */
};

void leak_begin(struct leak *l, enum leak_form form, leak_is_tool_fn *is_tool, void *arg);
enum leak_verdict leak_feed(struct leak *l, unsigned char c);

/* Whether what was fed is a whole call but for closing brackets: as some models leave
 * them out. ended: nothing more comes. */
bool leak_is_mendable(const struct leak *l, bool ended);

/* The arguments of the call in text, which was fed (behind the marker) and found a call or
 * mendable: JSON, free(). NULL: it is no call after all, or no memory. */
char *leak_arguments(const struct leak *l, const char *text, size_t len);

#endif
