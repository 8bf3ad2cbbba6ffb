/* SPDX-License-Identifier: Apache-2.0 */
/* The option parser with a table of its own, and the tables of the four programs. */
#include "agentctl/options.h"
#include "agentd/options.h"
#include "fcgi/options.h"
#include "runner/options.h"

#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct values {
	const char *file, *run_dir;
	struct option_list sets;
	bool test;
	unsigned mode;
	int64_t bytes, wait_ms;
	const char *level; /* by the function */
};

static int check_set(void *into, const char *value, struct err *e)
{
	(void)into;
	return strchr(value, '=') != NULL ? 0 : err_set(e, "it takes KEY=VALUE");
}

static int take_level(void *into, const char *value, struct err *e)
{
	if (strcmp(value, "loud") == 0)
		return err_set(e, "'loud' is no level");
	((struct values *)into)->level = value;
	return 0;
}

static const struct option_row rows[] = {
	{.name = "config", .letter = 'c', .argument = "FILE", .help = "A file.", OPTION_INTO(struct values, file)},
	{.name = "run-dir",
         .argument = "DIR",
         .help = "A directory.",
         .initial = "/run/x",
         OPTION_INTO(struct values, run_dir)},
	{.name = "set",
         .argument = "KEY=VALUE",
         .help = "A setting.",
         .check = check_set,
         OPTION_INTO(struct values, sets)},
	{.name = "test", .letter = 't', .help = "A flag.", OPTION_INTO(struct values, test)},
	{.name = "mode",
         .argument = "OCTAL",
         .help = "A mode.",
         .initial = "0660",
         .max = 0777,
         .base = 8,
         OPTION_INTO(struct values, mode)},
	{.name = "size",
         .argument = "KIB",
         .help = "A size.",
         .min = 1,
         .max = 100,
         .scale = 1024,
         OPTION_INTO(struct values, bytes)},
	{.name = "wait",
         .letter = 'w',
         .argument = "SECONDS",
         .help = "A duration.",
         .max = 60,
         .is_duration = true,
         OPTION_INTO(struct values, wait_ms)},
	{.name = "level", .argument = "LEVEL", .help = "A level.", .initial = "low", .check = take_level},
};
static const struct option_exit_status exits[] = {{0, "Done."}};
static struct program program = {.name = "tt-test",
                                 .version = "1.2",
                                 .usage = "[OPTION]...",
                                 .purpose = "Tests options.",
                                 .rows = rows,
                                 .row_count = sizeof rows / sizeof rows[0],
                                 .exits = exits,
                                 .exit_count = 1};
static struct values v;
static struct err e;

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static enum options_result parse(const char *const *words)
{
	static char *argv[32];
	int argc = 1;

	argv[0] = (char *)(uintptr_t) "tt-test";
	for (; words[argc - 1] != NULL; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
	argv[argc] = NULL;
	options_free(&program, &v);
	memset(&v, 0, sizeof v);
	err_clear(&e);
	return options_parse(&program, &v, argc, argv, &e);
}

static void every_type_is_read(void **state)
{
	(void)state;
	assert_int_equal(parse(WORDS("--config", "/x", "--run-dir=/r", "--set", "a=1", "-t", "--set", "b=", "--mode",
	                             "600", "--size", "3", "-w0.25", "--level", "high")),
	                 OPTIONS_OK);
	assert_string_equal(v.file, "/x");
	assert_string_equal(v.run_dir, "/r");
	assert_int_equal(v.sets.count, 2);
	assert_string_equal(v.sets.items[0], "a=1");
	assert_string_equal(v.sets.items[1], "b=");
	assert_true(v.test);
	assert_int_equal(v.mode, 0600);
	assert_int_equal(v.bytes, 3072);
	assert_int_equal(v.wait_ms, 250);
	assert_string_equal(v.level, "high");
}

static void defaults_are_those_of_the_table(void **state)
{
	(void)state;
	assert_int_equal(parse((const char *const[]){NULL}), OPTIONS_OK);
	assert_null(v.file);
	assert_string_equal(v.run_dir, "/run/x");
	assert_int_equal(v.sets.count, 0);
	assert_false(v.test);
	assert_int_equal(v.mode, 0660);
	assert_int_equal(v.wait_ms, 0);
	assert_string_equal(v.level, "low");
}

static void errors_name_the_option(void **state)
{
	static const struct {
		const char *words[4], *text;
	} wrong[] = {
		{{"--nope"}, "unknown option --nope"},
		{{"-x"}, "unknown option -x"},
		{{"-tx"}, "unknown option -x"},
		{{"--test=yes"}, "--test takes no value"},
		{{"--config"}, "--config needs a value (FILE)"},
		{{"-c"}, "--config needs a value (FILE)"},
		{{"--config", ""}, "--config: the value is empty"},
		{{"--set", "nothing"}, "--set: it takes KEY=VALUE"},
		{{"--mode", "999"}, "--mode: '999' is not an octal number from 0 to 777"},
		{{"--size", "0"}, "--size: '0' is not a whole number from 1 to 100"},
		{{"--size", "7x"}, "--size: '7x' is not a whole number from 1 to 100"},
		{{"--size", "99999999999999999999"}, "is not a whole number from 1 to 100"},
		{{"--wait", "61"}, "--wait: '61' is not a number of seconds from 0 to 60"},
		{{"--wait", "nan"}, "--wait: 'nan' is not a number of seconds"},
		{{"--level", "loud"}, "--level: 'loud' is no level"},
		{{"-t", "what"}, "unexpected argument 'what'"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_int_equal(parse(wrong[i].words), OPTIONS_WRONG);
		if (strstr(e.text, wrong[i].text) == NULL)
			fail_msg("\"%s\" is not in \"%s\"", wrong[i].text, e.text);
	}
}

static void ignore_arguments(FILE *out)
{
	fputs("  argument\n", out);
}

static void arguments_follow_the_options(void **state)
{
	(void)state;
	program.help_arguments = ignore_arguments;
	assert_int_equal(parse(WORDS("one", "-t", "two")), OPTIONS_OK);
	assert_true(v.test);
	assert_int_equal(optind, 2); /* getopt_long moves them after the options */
	program.help_arguments = NULL;
}

static void help_and_version_belong_to_every_program(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_int_equal(parse(WORDS("-h")), OPTIONS_HELP);
	assert_int_equal(parse(WORDS("--help", "--nope")), OPTIONS_HELP);
	assert_int_equal(parse(WORDS("-V")), OPTIONS_VERSION);
	assert_int_equal(parse(WORDS("-t", "--version")), OPTIONS_VERSION);
	options_print_help(&program, out);
	fclose(out);
	assert_non_null(strstr(text, "usage: tt-test [OPTION]...\n\nTests options.\n\n"));
	assert_non_null(strstr(text, "\n  -c, --config FILE               A file.\n"));
	assert_non_null(strstr(text, "\n      --run-dir DIR               A directory. Default: /run/x.\n"));
	assert_non_null(strstr(text, "\n  -h, --help                      Prints the options.\n"));
	assert_non_null(strstr(text, "\nExit status:\n  0  Done.\n"));
	free(text);
}

/* Their defaults are valid, and their letters and names are unique. */
static void every_program_has_a_valid_table(void **state)
{
	static const struct program *const programs[] = {&agentd_program, &fcgi_program, &runner_program,
	                                                 &agentctl_program};
	char name[] = "x", *argv[] = {name, NULL};
	const struct option_row *a, *b;

	(void)state;
	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
		_Alignas(max_align_t) char values[1024] = {0};

		err_clear(&e);
		if (options_parse(programs[i], values, 1, argv, &e) != OPTIONS_OK)
			fail_msg("%s: %s", programs[i]->name, e.text);
		options_free(programs[i], values);
		for (size_t r = 0; (a = options_row(programs[i], r)) != NULL; r++) {
			assert_true(a->argument != NULL || a->type == OPTION_FLAG || r >= programs[i]->row_count ||
			            a->check != NULL);
			for (size_t s = r + 1; (b = options_row(programs[i], s)) != NULL; s++) {
				assert_string_not_equal(a->name, b->name);
				assert_true(a->letter == '\0' || a->letter != b->letter);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_is_read),
		cmocka_unit_test(defaults_are_those_of_the_table),
		cmocka_unit_test(errors_name_the_option),
		cmocka_unit_test(arguments_follow_the_options),
		cmocka_unit_test(help_and_version_belong_to_every_program),
		cmocka_unit_test(every_program_has_a_valid_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
