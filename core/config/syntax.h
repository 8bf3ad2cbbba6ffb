/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong where libconfig says no more than "syntax error": follows the grammar token by token
 * and describes the first token that does not fit. It refuses nothing: what libconfig accepts is
 * valid. Pure. */
#ifndef TT_CONFIG_SYNTAX_H
#define TT_CONFIG_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

enum syntax_token {
	SYNTAX_NAME,
	SYNTAX_STRING,
	SYNTAX_NUMBER,  /* any that begins like one */
	SYNTAX_BOOLEAN, /* true, false */
	SYNTAX_OTHER,   /* one character */
};

#define SYNTAX_DEPTH_MAX   32
#define SYNTAX_NAME_MAX    48
#define SYNTAX_PROBLEM_MAX 400

struct syntax {
	enum { SYNTAX_WANT_NAME, SYNTAX_WANT_ASSIGN, SYNTAX_WANT_VALUE, SYNTAX_AFTER_VALUE } state;
	struct {
		char open; /* '{', '(' or '[' */
		unsigned line;
		char name[SYNTAX_NAME_MAX];
	} stack[SYNTAX_DEPTH_MAX]; /* what is open */
	unsigned depth;
	char name[SYNTAX_NAME_MAX]; /* of the last setting */
	unsigned name_line;
	bool unseparated;       /* it began in the line of a value, without a ; between */
	unsigned value_line;    /* of the last value */
	unsigned comma_line;    /* of a comma before the end of a list, which libconfig 1.5 refuses; 0: none */
	bool after_comma;       /* the last token was one */
	bool after_string;      /* the last token was one */
	const char *string_end; /* where it ended */
	unsigned string_line;   /* where it began */
	unsigned line;          /* of the problem; 0: none yet */
	char problem[SYNTAX_PROBLEM_MAX]; /* never has the value of a secret */
};

/* The next token, whose text begins at `text`, where `end` ends the file. line counts in the text that
 * libconfig reads. */
void syntax_add(struct syntax *s, enum syntax_token token, const char *text, size_t len, const char *end,
                unsigned line);

/* The text ends. */
void syntax_end(struct syntax *s);

#endif
