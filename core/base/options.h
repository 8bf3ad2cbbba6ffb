/* SPDX-License-Identifier: Apache-2.0 */
/* A program's command line, declared as a table. getopt_long reads it; --help and the
 * OPTIONS part of the manual page are printed from it. -h and -V belong to every program
 * and have no row. Only for main(): getopt has global state. */
#ifndef TT_BASE_OPTIONS_H
#define TT_BASE_OPTIONS_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define OPTIONS_RUN_DIR    "/run/tt-agent" /* every program's run directory, by default */
#define OPTIONS_EXIT_USAGE 2               /* every program's exit status for a wrong command line */

/* The values of an option that may be repeated; borrowed strings, owned array. */
struct option_list {
	const char **items;
	size_t count;
};

/* What a row fills, by the type of the member that it names. */
enum option_type {
	OPTION_FUNCTION, /* a row without a member */
	OPTION_FLAG,     /* bool; no argument */
	OPTION_STRING,   /* const char *, borrowed from argv; never empty */
	OPTION_LIST,     /* struct option_list */
	OPTION_UNSIGNED, /* unsigned */
	OPTION_INT64,    /* int64_t */
};

#define OPTION_INTO(container, member)                                                                                 \
	.offset = offsetof(container, member),                                                                         \
	.type = _Generic(((container *)0)->member, bool                                                                \
	                 : OPTION_FLAG, const char *                                                                   \
	                 : OPTION_STRING, struct option_list                                                           \
	                 : OPTION_LIST, unsigned                                                                       \
	                 : OPTION_UNSIGNED, int64_t                                                                    \
	                 : OPTION_INT64)

struct option_row {
	const char *name;
	char letter;          /* 0: none */
	const char *argument; /* as --help shows it; NULL: none */
	const char *help;     /* a sentence */
	const char *more;     /* further sentences, for the manual only */
	const char *initial;  /* the default, as it would be given; NULL: the member stays 0 */
	enum option_type type;
	size_t offset;
	/* Numbers: the range as it is given. The member gets the number times scale (0: 1).
	 * A duration is given in seconds, with fractions, and its member is in milliseconds. */
	int64_t min, max, scale;
	int base; /* 0: decimal */
	bool is_duration;
	/* Called before the member (of `into`) is filled, or, for OPTION_FUNCTION, in its
	 * place. -1 with e, whose text options_parse puts after the option's name. */
	int (*check)(void *into, const char *value, struct err *e);
};

struct option_exit_status {
	int status;
	const char *help;
};

struct program {
	const char *name, *version;
	const char *usage;   /* what follows the name in the first line of --help */
	const char *purpose; /* a sentence */
	const struct option_row *rows;
	size_t row_count;
	const struct option_exit_status *exits;
	size_t exit_count;
	/* Prints what --help says of the arguments; NULL: the program takes none. */
	void (*help_arguments)(FILE *out);
	const char *notes; /* the last lines of --help; NULL: none */
};

enum options_result { OPTIONS_OK, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_WRONG };

/* Fills `into`, the struct of the table's OPTION_INTO, which is zero but for what has no
 * row. OPTIONS_WRONG with e set. optind is then the first argument. */
enum options_result options_parse(const struct program *p, void *into, int argc, char **argv, struct err *e);

/* For main(): options_parse, and answers --help, --version and wrong options. -1 to go on,
 * else the exit status. */
int options_main(const struct program *p, void *into, int argc, char **argv);

/* Frees the lists of `into`. */
void options_free(const struct program *p, void *into);

/* The i-th option, those of every program last; NULL at the end. */
const struct option_row *options_row(const struct program *p, size_t i);

void options_print_help(const struct program *p, FILE *out);
/* One entry of --help: the term, and beside it the help, wrapped. */
void options_print_entry(FILE *out, const char *term, const char *help);

#endif
