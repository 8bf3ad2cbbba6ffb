/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int parse(struct options *o, struct err *e, const char *const *words)
{
	char *argv[16] = {(char *)(uintptr_t) "tt-agentd"};
	int argc = 1;

	for (; words[argc - 1] != NULL; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
	err_clear(e);
	return options_parse(o, argc, argv, e);
}

static void takes_every_option(void **state)
{
	struct options o;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(
		parse(&o, &e,
	              (const char *const[]){"--config", "/x", "--run-dir=/r", "--set", "a=1", "--set", "b=", NULL}),
		0);
	assert_int_equal(o.action, OPTIONS_RUN);
	assert_string_equal(o.file, "/x");
	assert_string_equal(o.run_dir, "/r");
	assert_int_equal(o.set_count, 2);
	assert_string_equal(o.sets[1], "b=");
	options_free(&o);
	assert_int_equal(parse(&o, &e, (const char *const[]){"-t", "-c", "/x", NULL}), 0);
	assert_int_equal(o.action, OPTIONS_TEST);
	options_free(&o);
	assert_int_equal(parse(&o, &e, (const char *const[]){NULL}), 0);
	assert_string_equal(o.run_dir, OPTIONS_DEFAULT_RUN_DIR);
	options_free(&o);
}

static void says_what_is_wrong(void **state)
{
	struct options o;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(parse(&o, &e, (const char *const[]){"--set", "nothing", NULL}), -1);
	assert_non_null(strstr(e.text, "--set takes KEY=VALUE"));
	options_free(&o);
	assert_int_equal(parse(&o, &e, (const char *const[]){"what", NULL}), -1);
	assert_non_null(strstr(e.text, "what"));
	options_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_every_option),
		cmocka_unit_test(says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
