/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/options.h"

#include "core/base/log.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_WIDTH 96
#define TERM_WIDTH 34

enum { FIRST_ROW = 256 }; /* above every letter */

static const struct option_row common_rows[] = {
	{.name = "version", .letter = 'V', .help = "Prints the version."},
	{.name = "help", .letter = 'h', .help = "Prints the options."},
};
#define COMMON_ROWS (sizeof common_rows / sizeof common_rows[0])

const struct option_row *options_row(const struct program *p, size_t i)
{
	if (i < p->row_count)
		return &p->rows[i];
	return i - p->row_count < COMMON_ROWS ? &common_rows[i - p->row_count] : NULL;
}

/* --- help ----------------------------------------------------------------------------- */

/* The term in the first `width` columns, the help wrapped in the others. */
static void print_entry(FILE *out, const char *term, int width, const char *help)
{
	int used = fprintf(out, "  %s", term);

	if (used >= width)
		used = fprintf(out, "\n") - 1;
	while (*help != '\0') {
		size_t room = (size_t)(LINE_WIDTH - width), len = strlen(help);

		if (len > room) {
			for (len = room; len > 0 && help[len] != ' '; len--)
				;
			if (len == 0)
				len = strcspn(help, " ");
		}
		fprintf(out, "%*s%.*s\n", width - used, "", (int)len, help);
		used = 0;
		help += len;
		help += strspn(help, " ");
	}
}

void options_print_entry(FILE *out, const char *term, const char *help)
{
	print_entry(out, term, TERM_WIDTH, help);
}

void options_print_help(const struct program *p, FILE *out)
{
	const struct option_row *row;

	fprintf(out, "usage: %s %s\n\n%s\n\n", p->name, p->usage, p->purpose);
	if (p->help_arguments != NULL) {
		p->help_arguments(out);
		fputc('\n', out);
	}
	for (size_t i = 0; (row = options_row(p, i)) != NULL; i++) {
		char term[80] = "   ", help[512];

		if (row->letter != '\0')
			snprintf(term, sizeof term, "-%c,", row->letter);
		snprintf(term + 3, sizeof term - 3, " --%s%s%s", row->name, row->argument != NULL ? " " : "",
		         row->argument != NULL ? row->argument : "");
		snprintf(help, sizeof help, "%s%s%s%s", row->help, row->initial != NULL ? " Default: " : "",
		         row->initial != NULL ? row->initial : "", row->initial != NULL ? "." : "");
		options_print_entry(out, term, help);
	}
	fputs("\nExit status:\n", out);
	for (size_t i = 0; i < p->exit_count; i++) {
		char status[16];

		snprintf(status, sizeof status, "%d", p->exits[i].status);
		print_entry(out, status, 5, p->exits[i].help);
	}
	if (p->notes != NULL)
		fprintf(out, "\n%s\n", p->notes);
}

/* --- values ---------------------------------------------------------------------------- */

static int parse_duration(const struct option_row *row, const char *value, int64_t *out, struct err *e)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end != '\0' || !(seconds >= (double)row->min) || !(seconds <= (double)row->max))
		return err_set(e, "'%s' is not a number of seconds from %" PRId64 " to %" PRId64, value, row->min,
		               row->max);
	*out = (int64_t)(seconds * 1000);
	if (*out == 0 && seconds > 0) /* 0 often means something else */
		*out = 1;
	return 0;
}

static int parse_integer(const struct option_row *row, const char *value, int64_t *out, struct err *e)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(value, &end, row->base != 0 ? row->base : 10);
	if (errno != 0 || end == value || *end != '\0' || n < row->min || n > row->max)
		return err_set(e,
		               row->base == 8 ? "'%s' is not an octal number from %" PRIo64 " to %" PRIo64
		                              : "'%s' is not a whole number from %" PRId64 " to %" PRId64,
		               value, row->min, row->max);
	*out = n * (row->scale != 0 ? row->scale : 1);
	return 0;
}

static int append(struct option_list *list, const char *value, struct err *e)
{
	const char **items = realloc(list->items, (list->count + 1) * sizeof *items);

	if (items == NULL)
		return err_set(e, "out of memory");
	list->items = items;
	list->items[list->count++] = value;
	return 0;
}

static int store(const struct option_row *row, void *into, const char *value, struct err *e)
{
	void *member = (char *)into + row->offset;
	int64_t number = 0;

	if (value != NULL && *value == '\0')
		return err_set(e, "the value is empty");
	if (row->check != NULL && row->check(into, value, e) < 0)
		return -1;
	if ((row->type == OPTION_UNSIGNED || row->type == OPTION_INT64) &&
	    (row->is_duration ? parse_duration(row, value, &number, e) : parse_integer(row, value, &number, e)) < 0)
		return -1;
	switch (row->type) {
	case OPTION_FUNCTION:
		break;
	case OPTION_FLAG:
		*(bool *)member = true;
		break;
	case OPTION_STRING:
		*(const char **)member = value;
		break;
	case OPTION_LIST:
		return append(member, value, e);
	case OPTION_UNSIGNED:
		*(unsigned *)member = (unsigned)number;
		break;
	case OPTION_INT64:
		*(int64_t *)member = number;
		break;
	}
	return 0;
}

static int set(const struct option_row *row, void *into, const char *value, struct err *e)
{
	if (store(row, into, value, e) == 0)
		return 0;
	err_prefix(e, "--%s", row->name);
	return -1;
}

/* --- parsing ---------------------------------------------------------------------------- */

static const struct option_row *find_row(const struct program *p, int value)
{
	const struct option_row *row = NULL;

	if (value >= FIRST_ROW)
		return options_row(p, (size_t)(value - FIRST_ROW));
	for (size_t i = 0; value != 0 && (row = options_row(p, i)) != NULL && row->letter != value; i++)
		;
	return row;
}

/* What getopt_long met: ':' a missing value, else an unknown option or a value for a flag. */
static int wrong_option(const struct program *p, int met, char **argv, struct err *e)
{
	const struct option_row *row = find_row(p, optopt);
	char letter[3] = {'-', (char)optopt, '\0'};

	if (met == ':')
		return err_set(e, "--%s needs a value (%s)", row->name, row->argument);
	if (row != NULL)
		return err_set(e, "--%s takes no value", row->name);
	return err_set(e, "unknown option %s", optopt != 0 ? letter : argv[optind - 1]);
}

static enum options_result parse(const struct program *p, void *into, int argc, char **argv, const char *letters,
                                 const struct option *longs, struct err *e)
{
	const struct option_row *row;
	int met;

	for (size_t i = 0; i < p->row_count; i++)
		if (p->rows[i].initial != NULL && set(&p->rows[i], into, p->rows[i].initial, e) < 0)
			return OPTIONS_WRONG;
	opterr = 0;
	optind = 0; /* glibc: start again from the beginning */
	while ((met = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		row = met != '?' && met != ':' ? find_row(p, met) : NULL;
		if (row == NULL) {
			wrong_option(p, met, argv, e);
			return OPTIONS_WRONG;
		}
		if (row == &common_rows[0] || row == &common_rows[1])
			return row == &common_rows[0] ? OPTIONS_VERSION : OPTIONS_HELP;
		if (set(row, into, optarg, e) < 0)
			return OPTIONS_WRONG;
	}
	if (optind < argc && p->help_arguments == NULL) {
		err_set(e, "unexpected argument '%s'", argv[optind]);
		return OPTIONS_WRONG;
	}
	return OPTIONS_OK;
}

enum options_result options_parse(const struct program *p, void *into, int argc, char **argv, struct err *e)
{
	size_t count = p->row_count + COMMON_ROWS;
	struct option *longs = calloc(count + 1, sizeof *longs);
	char *letters = calloc(count + 1, 2), *end = letters;
	enum options_result result = OPTIONS_WRONG;

	if (longs == NULL || letters == NULL) {
		err_set(e, "out of memory");
		goto out;
	}
	*end++ = ':';
	for (size_t i = 0; i < count; i++) {
		const struct option_row *row = options_row(p, i);

		longs[i] = (struct option){.name = row->name,
		                           .has_arg = row->argument != NULL ? required_argument : no_argument,
		                           .val = FIRST_ROW + (int)i};
		if (row->letter == '\0')
			continue;
		*end++ = row->letter;
		if (row->argument != NULL)
			*end++ = ':';
	}
	result = parse(p, into, argc, argv, letters, longs, e);
out:
	free(longs);
	free(letters);
	return result;
}

int options_main(const struct program *p, void *into, int argc, char **argv)
{
	struct err e = ERR_INIT;

	switch (options_parse(p, into, argc, argv, &e)) {
	case OPTIONS_OK:
		return -1;
	case OPTIONS_HELP:
		options_print_help(p, stdout);
		break;
	case OPTIONS_VERSION:
		printf("%s %s\n", p->name, p->version);
		break;
	case OPTIONS_WRONG:
		fprintf(stderr, "%s%s: %s; see %s --help\n", log_has_priorities() ? "<3>" : "", p->name, e.text,
		        p->name);
		options_free(p, into);
		return OPTIONS_EXIT_USAGE;
	}
	options_free(p, into);
	return fflush(stdout) == 0 ? 0 : 1;
}

void options_free(const struct program *p, void *into)
{
	for (size_t i = 0; i < p->row_count; i++)
		if (p->rows[i].type == OPTION_LIST) {
			struct option_list *list = (struct option_list *)((char *)into + p->rows[i].offset);

			free(list->items);
			*list = (struct option_list){0};
		}
}
