/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: what is valid, and every way to be invalid. */
#include "tests/unit/support/config_fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void every_type_is_read(void **state)
{
	struct fixture *f = *state;

	assert_true(fixture_load_text(f,
	                              "# comment\n/* another */ // and one\n"
	                              "polling: { interval = 2.5; max_attempts = 0x10; enabled = FALSE; }\n"
	                              "health = { timeout = 3; interval = 20L };\n"
	                              "log: { level = \"debug\"; };\n"
	                              "llm: { temperature = 1; top_p = .5; top_k = -1; stop = [ \"a,b\", \"c\" ]; };\n"
	                              "selection: { priority_models = ( \"x\" \"y\", \"z\" ); model_types = [ ]; };\n"
	                              "cloud: { url = \"https://h/\\x41\"; };\n"
	                              "http: { body_limit = 2048; };\nsearch: { order = [ \"BRAVE\" ]; };"));
	assert_string_equal(cfg_list(f->config, CFG_SEARCH_ORDER)->items[0], "brave");
	assert_int_equal(cfg_ms(f->config, CFG_POLLING_INTERVAL), 2500);
	assert_int_equal(cfg_int(f->config, CFG_POLLING_MAX_ATTEMPTS), 16);
	assert_false(cfg_bool(f->config, CFG_POLLING_ENABLED));
	assert_int_equal(cfg_ms(f->config, CFG_HEALTH_TIMEOUT), 3000);
	assert_int_equal(cfg_ms(f->config, CFG_HEALTH_INTERVAL), 20000);
	assert_string_equal(cfg_str(f->config, CFG_LOG_LEVEL), "DEBUG");
	assert_true(cfg_real(f->config, CFG_LLM_TEMPERATURE) > 0.99);
	assert_true(cfg_real(f->config, CFG_LLM_TOP_P) < 0.51);
	assert_int_equal(cfg_int(f->config, CFG_LLM_TOP_K), -1);
	assert_string_equal(cfg_list(f->config, CFG_LLM_STOP)->items[0], "a,b");
	assert_string_equal(cfg_list(f->config, CFG_SELECTION_PRIORITY_MODELS)->items[0], "xy");
	assert_int_equal(cfg_list(f->config, CFG_SELECTION_MODEL_TYPES)->count, 0);
	assert_true(cfg_is_set(f->config, CFG_SELECTION_MODEL_TYPES));
	assert_string_equal(cfg_str(f->config, CFG_CLOUD_URL), "https://h/A");
	assert_int_equal(cfg_int(f->config, CFG_HTTP_BODY_LIMIT), 2048);
}

static void each_error_has_its_line(void **state)
{
	static const struct {
		const char *text, *where, *what;
	} wrong[] = {
		{"\npollin: { };",
	         ":2: ", "pollin: no such group; did you mean polling? allowed: log, trace, polling, "},
		{"interval = 3;", ":1: ", "(there is polling.interval)"},
		{"polling: {\n\n intervall = 3; };", ":3: ",
	         "polling.intervall: no such setting; did you mean polling.interval? allowed in polling: enabled, interval, max_attempts"},
		{"polling = 3;", ":1: ", "polling is a group; allowed: {"},
		{"polling: { interval = \"3\"; };",
	         ":1: ", "polling.interval: \"3\" is a string: remove the quotes; allowed: a number"},
		{"polling: { interval = true; };", ":1: ", "true is a boolean; allowed: a number"},
		{"polling: { interval = { }; };", ":1: ", "the value is a group; allowed: a number"},
		{"polling: { enabled = 1; };", ":1: ", "1 is a number: write true; allowed: true or false"},
		{"polling: { max_attempts = 1.0; };",
	         ":1: ", "1 has a fraction: write a whole number, without a point; allowed: a whole number"},
		{"log: { level = 3; };", ":1: ", "allowed: DEBUG, INFO"},
		{"log: { level = \"x\"; };", ":1: ", "log.level: x is not a choice; allowed: DEBUG, INFO"},
		{"llm: { stop = \"x\"; };", ":1: ", "\"x\" is a string: write [ \"x\" ]; allowed: a list of strings"},
		{"llm: { stop = [ 1, 2 ]; };", ":1: ", "put each in quotes; allowed: a list of strings"},
		{"llm: { stop = [ \"\" ]; };", ":1: ", "empty string"},
		{"llm: { stop = [ \"a\", 2 ]; };", ":1: ", "allowed: GROUP"},
		{"search: { order = [ \"Brave\", \"google\" ]; };",
	         ":1: ", "google is not a choice; allowed: a list of these strings: tavily, searxng, brave"},
		{"http: { subject_header = \"X-User:\"; };",
	         ":1: ", "X-User: is not the name of a header; allowed: a string"},
		{"http: { prefixes = [ \"agent\" ]; };", ":1: ", "agent does not begin with /; allowed: a list"},
		{"cloud: { url = \"\"; };", ":1: ", "cloud.url: the value is empty"},
		{"cloud: { url = \"x\"; };", ":1: ", "cloud.url: x is not a valid URL"},
		{"polling: { interval = 1e9; };", ":1: ", "out of range; allowed: a number from 0.05 to 86400 seconds"},
		{"polling: { interval = 0.01; };", ":1: ", "0.01 is out of range"},
		/* 5000000000 - 2^32 = 705032704, 4294967297 - 2^32 = 1: libconfig would take them */
		{"polling: { max_attempts = 5000000000; };",
	         ":1: ", "5000000000 is out of range; allowed: a whole number"},
		{"polling: { max_attempts = 4294967297; };", ":1: ", "4294967297 is out of range"},
		{"polling: { max_attempts = 0x100000001; };", ":1: ", "4294967297 is out of range"},
		{"polling: { max_attempts = 0x1FFFFFFFFFFFFFFFFF1; };", ":1: ", "is out of range"},
		{"polling: { max_attempts = 18446744073709551617; };", ":1: ", "is out of range"},
		{"polling: { max_attempts = -18446744073709551615L; };", ":1: ", "is out of range"},
		{"polling: { max_attempts = 1234567890123456789012345678901234567890123456789012345678901234567890; };",
	         ":1: ", "is out of range"},
		{"polling: { interval = 5; };\npolling: {\ninterval = 6; };", ":3: ", "polling.interval is set twice"},
		{"polling: { interval = 5; interval = 5; };", ":1: ", "is set twice; allowed: once (first at "},
		{"polling: { interval = ; };", ":1: ", "syntax error: interval has no value"},
		{"polling: {\n interval = 3\n", ":", "syntax error"},
		{"polling.interval = 3;", ":1: ", "syntax error"},
		{"polling: { interval = 3abc; };", ":1: ", "syntax error"},
		{"\n\n/* no end", ":3: ", "this comment never ends"},
		{"\nlog: { level = \"INFO\n\n; };", ":2: ", "this string never ends"},
		{"prompts: { plain = \"a\\x00b\"; };", ":1: ", "\\x00 is not allowed in a string"},
		{"cloud: { model = \"a\\nb\"; };", ":1: ", "control character"},
		{"cloud: { model = \"\xff\"; };", ":1: ", "not valid UTF-8"},
		{"\n@include \"nothing.conf\"", ":2: ", "nothing.conf: No such file"},
		{"@include \"..\"", ":1: ", "not a regular file"},
		{"@include \"/dev/zero\"", ":1: ", "not a regular file"},
		{"@include nothing", ":1: ", "@include needs a file name"},
		{"@include \"main.conf\"", ":1: ", "@include goes too deep"},
	};
	struct fixture *f = *state;
	char where[160];

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_false(fixture_load_text(f, wrong[i].text));
		snprintf(where, sizeof where, "%s%s", f->main, wrong[i].where);
		if (!fixture_says(&f->report.errors, where, wrong[i].what) || fixture_lines(&f->report.errors) != 1)
			fail_msg("%s\n-> %s", wrong[i].text, f->report.errors.data);
	}
}

static void all_errors_of_a_file_come_at_once(void **state)
{
	struct fixture *f = *state;

	assert_false(fixture_load_text(f,
	                               "polling: { interval = 0; max_attempts = 5000000000; };\n" /* 2 */
	                               "polling: { interval = 9; };\n"                            /* twice */
	                               "log: { level = 1; colour = true; };\n"                    /* 2 */
	                               "unknown: { a = 1; b = 2; };\n"                            /* 1 */
	                               "llm: { temperature = 9.0; };\n"                           /* 1 */
	                               "http: { prefixes = 1;\n"                                  /* 1 */
	                               "nonsense } ;\n"));                                        /* syntax */
	assert_int_equal(fixture_lines(&f->report.errors), 9);
	assert_true(fixture_says(&f->report.errors, "main.conf:7: ", "syntax error"));
	assert_true(fixture_says(&f->report.errors, "main.conf:2: ", "set twice"));
	assert_true(fixture_says(&f->report.errors, "main.conf:6: ", "http.prefixes"));
}

static void an_error_names_the_included_file(void **state)
{
	struct fixture *f = *state;
	char inner[160];

	fixture_write(f, "sub/one.conf", "\n\npolling: { interval = \"x\"; };\n\t@include \"two.conf\"\n");
	fixture_write(f, "sub/two.conf", "health: {\nmax_failures = 0;\n}"); /* no newline at the end */
	assert_false(fixture_load_text(f, "log: { };\n  @include \"sub/one.conf\" llm: { top_k = \"x\"; };\nx = 1;\n"));
	assert_int_equal(fixture_lines(&f->report.errors), 4);
	assert_true(fixture_says(&f->report.errors, fixture_path(f, "sub/one.conf:3: ", inner), "polling.interval"));
	assert_true(fixture_says(&f->report.errors, fixture_path(f, "sub/two.conf:2: ", inner), "health.max_failures"));
	assert_true(fixture_says(&f->report.errors, "main.conf:2: ", "llm.top_k"));
	assert_true(fixture_says(&f->report.errors, "main.conf:3: ", "x: no such group"));
}

static void a_group_may_be_in_several_files(void **state)
{
	struct fixture *f = *state;
	char origin[160];

	fixture_write(f, "secrets.conf", "\nauth: { jwt_secret = \"s\"; };\n");
	assert_true(fixture_load_text(
		f, "auth: { team_id = \"t\"; };\n@include \"secrets.conf\"\nlog: { debug = true; };"));
	assert_string_equal(cfg_str(f->config, CFG_AUTH_TEAM_ID), "t");
	assert_string_equal(cfg_str(f->config, CFG_AUTH_JWT_SECRET), "s");
	assert_string_equal(cfg_origin(f->config, CFG_AUTH_JWT_SECRET), fixture_path(f, "secrets.conf:2", origin));
	assert_string_equal(cfg_origin(f->config, CFG_LOG_DEBUG), fixture_path(f, "main.conf:3", origin));
}

static void secrets_in_a_public_file_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_true(fixture_load_text(f, "auth: { jwt_secret = \"hush\"; };"));
	assert_int_equal(chmod(f->main, 0640), 0);
	assert_true(fixture_load(f, f->main, NULL, NULL));
	assert_int_equal(chmod(f->main, 0644), 0);
	assert_false(fixture_load(f, f->main, NULL, NULL));
	assert_true(fixture_says(&f->report.errors, "main.conf:1: auth.jwt_secret", "chmod o-r"));
	assert_null(strstr(f->report.errors.data, "hush"));

	fixture_write(f, "main.conf", "auth: { team_id = \"t\"; };"); /* no secret: anybody may read */
	assert_true(fixture_load(f, f->main, NULL, NULL));

	fixture_write(f, "secrets.conf", "auth: { jwt_secret = \"hush\"; };");
	fixture_write(f, "main.conf", "@include \"secrets.conf\"\n");
	assert_true(fixture_load(f, f->main, NULL, NULL));
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	struct fixture *f = *state;
	char fifo[160];

	assert_false(fixture_load(f, f->main, NULL, NULL));
	assert_true(fixture_says(&f->report.errors, f->main, "main.conf: No such file"));
	assert_false(fixture_load(f, f->dir, NULL, NULL));
	assert_int_equal(mkfifo(fixture_path(f, "fifo", fifo), 0600), 0);
	assert_false(fixture_load(f, fifo, NULL, NULL));
	assert_true(fixture_says(&f->report.errors, fifo, "not a regular file"));
	fixture_write_bytes(f, "main.conf", "a = 1;\n\0", 8);
	assert_false(fixture_load(f, f->main, NULL, NULL));
	assert_true(fixture_says(&f->report.errors, "main.conf:2: ", "a NUL byte"));
}

static void a_file_of_another_user_says_what_to_do(void **state)
{
	struct fixture *f = *state;
	char run_by[128];

	if (geteuid() != 0)
		skip();
	fixture_write(f, "main.conf", "");
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(seteuid(65534), 0);
	assert_false(fixture_load(f, f->main, NULL, NULL));
	assert_int_equal(seteuid(0), 0);
	snprintf(run_by, sizeof run_by, "(%s runs as nobody: chown root:nogroup, chmod 640)",
	         program_invocation_short_name);
	assert_true(fixture_says(&f->report.errors, "main.conf: Permission denied ", run_by));
}

static void size_and_depth_have_limits(void **state)
{
	struct fixture *f = *state;
	size_t len = (1u << 20) + 1;
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, ' ', len);
	text[len] = '\0';
	assert_false(fixture_load_text(f, text));
	assert_true(fixture_says(&f->report.errors, f->main, "longer than 1048576 bytes"));
	text[len - 1] = '\0';
	assert_true(fixture_load_text(f, text));

	for (size_t i = 0; i + 4 < len; i += 4)
		memcpy(text + i, "a=1;", 4);
	assert_false(fixture_load_text(f, text));
	assert_true(fixture_says(&f->report.errors, f->main, "too many settings"));

	for (size_t i = 0; i + 2 < len; i += 2)
		memcpy(text + i, "((", 2);
	memcpy(text, "a=", 2);
	assert_false(fixture_load_text(f, text));
	assert_true(fixture_says(&f->report.errors, f->main, "nested too deeply"));
	free(text);
}

/* Random bytes, and a right file with bytes changed: an answer, never a crash. */
static void random_bytes_get_an_answer(void **state)
{
	static const char right[] =
		"polling: { interval = 5; enabled = true; };\n@include \"b.conf\"\n"
		"llm: { stop = [ \"a\", \"b\" ]; top_p = 0.5; }; /* x */ # y\n"
		"log: { level = \"INFO\" \"\"; }; // z\nhttp: { body_limit = 0x1000L; };\n";
	static const char bytes[] = "{}[]()=:;,\"\\/*#@-+.0123456789abcexLtrue \n\t\x01\xff";
	struct fixture *f = *state;
	char text[512];

	srand(4711);
	fixture_write(f, "b.conf", "health: { timeout = 1.5; };");
	for (int round = 0; round < 4000; round++) {
		size_t len = sizeof right - 1;

		memcpy(text, right, len);
		if (round % 4 == 0)
			len = (size_t)rand() % len;
		for (int changes = rand() % 6; changes > 0 && len > 0; changes--)
			text[(size_t)rand() % len] = bytes[(size_t)rand() % (sizeof bytes - 1)];
		for (size_t i = 0; round % 4 == 1 && i < len; i++)
			text[i] = bytes[(size_t)rand() % (sizeof bytes - 1)];
		fixture_write_bytes(f, "main.conf", text, len);
		(void)fixture_load(f, f->main, NULL, NULL);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_type_is_read),
		TEST(each_error_has_its_line),
		TEST(all_errors_of_a_file_come_at_once),
		TEST(an_error_names_the_included_file),
		TEST(a_group_may_be_in_several_files),
		TEST(secrets_in_a_public_file_are_refused),
		TEST(a_file_that_cannot_be_read_is_an_error),
		TEST(a_file_of_another_user_says_what_to_do),
		TEST(size_and_depth_have_limits),
		TEST(random_bytes_get_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
