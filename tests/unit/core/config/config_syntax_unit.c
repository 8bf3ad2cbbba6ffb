/* SPDX-License-Identifier: Apache-2.0 */
/* What a file says that is not in libconfig's syntax, and what was probably meant. */
#include "tests/unit/support/config_fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct wrong {
	const char *text;
	unsigned line;
	const char *what;
};

static void each_says(struct fixture *f, const struct wrong *wrong, size_t count)
{
	char where[160];

	for (size_t i = 0; i < count; i++) {
		assert_false(fixture_load_text(f, wrong[i].text));
		snprintf(where, sizeof where, "%s:%u: ", f->main, wrong[i].line);
		if (!fixture_says(&f->report.errors, where, wrong[i].what))
			fail_msg("%s\n-> %s", wrong[i].text, f->report.errors.data);
	}
}

#define EACH_SAYS(wrong) each_says(*state, wrong, sizeof(wrong) / sizeof(wrong)[0])

static void characters_that_resemble_others_are_explained(void **state)
{
	static const struct wrong wrong[] = {
		{"local: { host = \xe2\x80\x9c"
	         "a\xe2\x80\x9d; };",
	         1, "U+201C is a typographic quote; write \" instead"},
		{"\n\nlocal: { host = \xe2\x80\x98"
	         "a\xe2\x80\x99; };",
	         3, "U+2018 is a typographic quote"},
		{"local: { host = \xe2\x80\x9e"
	         "a\"; };",
	         1, "U+201E is a typographic quote"},
		{"local:\xc2\xa0{ port = 5; };", 1, "U+00A0 is a no-break space, which looks like a space"},
		{"local: {\n\xe3\x80\x80port = 5; };", 2, "U+3000 is an ideographic space"},
		{"local: { \xe2\x80\x8bport = 5; };", 1, "U+200B is an invisible character; write nothing instead"},
		{"local: { port\xef\xbc\x9d 5; };", 1, "U+FF1D is a full-width character"},
		{"llm: { top_k = \xe2\x88\x92"
	         "1; };",
	         1, "U+2212 is a typographic minus sign; write - instead"},
		{"log: { };\n\xef\xbb\xbflocal: { };", 2, "U+FEFF is a byte order mark"},
		{"local: { \xc3\xa4 = 1; };", 1, "U+00E4 is allowed only in strings"},
		{"log: { };\n\xff", 2, "a byte (0xFF) that is not UTF-8"},
	};
	struct fixture *f = *state;

	EACH_SAYS(wrong);
	fixture_write_bytes(f, "main.conf", "\xff\xfel\0o\0g\0", 8);
	assert_false(fixture_load(f, f->main, NULL, NULL));
	assert_true(fixture_says(&f->report.errors, "main.conf:1: ", "the file is UTF-16; save it as UTF-8"));
}

static void a_byte_order_mark_begins_a_file(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, "b.conf", "\xef\xbb\xbfhealth: { timeout = 7; };\r\n");
	assert_true(fixture_load_text(f, "\xef\xbb\xbf@include \"b.conf\"\r\nlocal: { port = 5; };\r\n"));
	assert_int_equal(cfg_int(f->config, CFG_LOCAL_PORT), 5);
	assert_int_equal(cfg_ms(f->config, CFG_HEALTH_TIMEOUT), 7000);
}

static void values_without_quotes_are_explained(void **state)
{
	static const struct wrong wrong[] = {
		{"polling: {\n interval = 60s; };", 2, "interval: 60s is not a number; write 60"},
		{"polling: { interval = 5m; };", 1, "5m is not a number; write 300"},
		{"polling: { interval = 5 minutes; };", 1,
	         "minutes follows a value in its line; numbers have no units"},
		{"http: { body_limit = 1MB; };", 1, "1MB is not a number; write 1048576"},
		{"local: { port = 7,000; };", 1, "port: a number follows the comma"},
		{"llm: { temperature = 0,7; };", 1, "a number is written without commas: 0.7"},
		{"local: { port = 7_000; };", 1, "port: _ follows its value"},
		{"health: { enabled = yes; };", 1, "enabled: yes is not a value; write true"},
		{"health: { enabled = Off; };", 1, "enabled: Off is not a value; write false"},
		{"polling: { interval = None; };", 1,
	         "interval: None is not a value; to leave it unset, remove the line"},
		{"local: { host = localhost; };", 1, "host: localhost is a string; put it in quotes: \"localhost\""},
		{"local: { host = 10.0.0.1; };", 1, "host: 10.0.0.1 is not a number; a string is written in quotes"},
		{"discovery: { backend_url = http://a:80/x; };", 1, "put it in quotes: \"http://a:80/x\""},
		{"local: { host = 'a'; };", 1,
	         "host: ' stands where its value is expected; a string is written in double"},
		{"local: { host = $HOST; };", 1, "host: $ stands where its value is expected"},
		{"search: { order = [ brave ]; };", 1, "brave is not in quotes; a list is written [ \"ONE\""},
		{"search: { order = [ \"brave\" \"tavily\" 3 ]; };", 1, "a comma is missing between two entries"},
		{"local: { port == 1; };", 1, "port: = is one too many"},
		{"local: { port = ; };", 1, "port has no value"},
	};

	EACH_SAYS(wrong);
}

/* libconfig accepts it from 1.7 on. */
static void a_comma_before_the_end_of_a_list_is_accepted_or_explained(void **state)
{
	struct fixture *f = *state;

	if (fixture_load_text(f, "search: { order = [ \"brave\", ]; };"))
		assert_int_equal(cfg_list(f->config, CFG_SEARCH_ORDER)->count, 1);
	else
		assert_true(
			fixture_says(&f->report.errors, "main.conf:1: ", "a comma stands before the end of a list"));
}

static void other_formats_are_recognized(void **state)
{
	static const struct wrong wrong[] = {
		{"polling:\n  interval: 60\n", 2, "interval stands where { is expected; a group is written polling: {"},
		{"- polling: 1\n", 1, "- stands where the name of a setting is expected"},
		{"[polling]\ninterval = 60\n", 1, "[polling]: this is not an INI file; a group is written polling: {"},
		{"polling.interval = 60\n", 1, "polling.interval is written polling: {"},
		{"{ \"polling\": { } }", 1, "names have no quotes, and the file no braces around it"},
		{"polling: { \"interval\": 3 };", 1, "a string stands where the name of a setting is expected"},
		{"\nexport AGENT_X=1\n", 2, "export: this is not a shell script"},
		{"AGENT_MAX_FAILURES = 1;", 1,
	         "a variable of the environment, here write health: { max_failures = ...; };"},
		{"polling { interval = 5; };", 1, "polling has no : before its {"},
		{"log: { };\n x @include \"y\"\n", 2, "x is not followed by = or :"},
		{"log: { }; @include \"y\"\n", 1, "@include \"FILE\" must begin its line"},
	};

	EACH_SAYS(wrong);
}

static void the_line_is_that_of_the_mistake(void **state)
{
	static const struct wrong wrong[] = {
		{"log: { };\ngarbage\n", 2, "garbage is not followed by = or :"},
		{"log: { };\ngarbage", 2, "garbage is not followed by = or :"},
		{"log: { };\ngarbage\n\n\n# end\n", 2, "garbage is not followed by = or :"},
		{"log: { };\n\ngarbage and more\nlocal: { };\n", 3, "garbage is not followed by = or :"},
		{"log: { };\nlocal: {\n\n port = 1;\n\n", 2, "local: its { is never closed; } is missing"},
		{"log: { };\nlocal: { host =\n", 2, "host has no value; the file ends"},
		{"log: { };\nlocal: { host =\n};\n", 2, "host has no value"},
		{"log: { } };\nlocal: { };\n", 1, "} closes nothing"},
		{"search: { order = [ \"brave\" };\n", 1, "order: } stands where , or ] is expected"},
		{"cloud: {\n model = \"a;\n url = \"b\"; };\n", 2, "model: text follows the end of its string"},
	};
	struct fixture *f = *state;
	char inner[160];

	EACH_SAYS(wrong);
	fixture_write(f, "b.conf", "health: { };\n\ngarbage\n");
	assert_false(fixture_load_text(f, "log: { };\n@include \"b.conf\"\nlocal: { };\n"));
	assert_true(fixture_says(&f->report.errors, fixture_path(f, "b.conf:3: ", inner), "garbage"));
}

static void no_secret_is_quoted(void **state)
{
	static const char *const texts[] = {
		"auth: { jwt_secret = hush1; };",
		"auth: { jwt_secret = 5hush; };",
		"auth: { jwt_secret = 'hush1'; };",
		"auth:\n jwt_secret: hush1\n",
		"jwt_secret: hush1\n",
		"[auth]\njwt_secret = hush1\n",
		"JWT_SECRET=hush1\n",
		"export JWT_SECRET=hush1\n",
		"jwt_secrt = hush1;",
		"auth: { jwt_secret = \"a;\n };\nsearch: { tavily_key = \"hush1\"; };",
		"auth: { jwt_secret = \"a\"hush1\"; };",
		"log: { }; sk-hush1\n",
		"sk-hush1",
		"cloud: { token = [ hush1 ]; };",
		"discovery: { backend_url = http://me:hush1@host/; };",
		"proxy: { http = http://me:hush1@host/; };",
		"cloud: { token = 17hush1; };",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		assert_false(fixture_load_text(f, texts[i]));
		if (strstr(f->report.errors.data, "hush") != NULL)
			fail_msg("%s\n-> %s", texts[i], f->report.errors.data);
	}
}

static void a_wrong_type_says_what_to_write(void **state)
{
	static const struct wrong wrong[] = {
		{"local: { port = \"7000\"; };", 1,
	         "local.port: \"7000\" is a string: remove the quotes; allowed: a whole number from 1 to 65535"},
		{"polling: { interval = \"60s\"; };", 1, "\"60s\" is a string: write 60; allowed: a number"},
		{"polling: { enabled = \"yes\"; };", 1, "\"yes\" is a string: write true, without quotes"},
		{"polling: { enabled = 0; };", 1, "0 is a number: write false"},
		{"polling: { enabled = 2; };", 1, "2 is a number; allowed: true or false"},
		{"local: { host = 10; };", 1, "10 is a number: put it in quotes"},
		{"cloud: { model = true; };", 1, "true is a boolean: put it in quotes"},
		{"cloud: { model = [ \"a\" ]; };", 1, "the value is a list: write one string, without brackets"},
		{"cloud: { token = 17; };", 1, "the value is a number: put it in quotes"},
		{"selection: { model_types = \"a,b\"; };", 1, "is a string: write [ \"ONE\", \"ANOTHER\" ]"},
		{"log: { level = \"WARNNG\"; };", 1, "WARNNG is not a choice; did you mean WARNING?"},
		{"local: { prot = 1; };", 1, "local.prot: no such setting; did you mean local.port?"},
		{"local: { backend_url = \"x\"; };", 1, "(there is discovery.backend_url)"},
		{"locl: { };", 1, "locl: no such group; did you mean local?"},
	};
	struct fixture *f = *state;

	EACH_SAYS(wrong);
	assert_false(fixture_load_set(f, "local.prot=1"));
	assert_true(fixture_says(&f->report.errors, "--set local.prot: ", "did you mean local.port?"));
	assert_true(fixture_load_env(f, "AGENT_BACKENDURL=http://x"));
	assert_true(
		fixture_says(&f->report.warnings, "environment AGENT_BACKENDURL: ", "did you mean AGENT_BACKEND_URL?"));
	assert_false(fixture_load_env(f, "AGENT_LLM_POLLING_INTERVAL=5m"));
	assert_true(fixture_says(&f->report.errors, "", "5m is not a number: write 300; allowed: "));
}

static void an_address_that_no_host_can_have_is_an_error(void **state)
{
	static const char *const wrong[] = {"http://", "host:99999", "host:0",     "host:abc", "a b",     "ftp://x",
	                                    "-x",      "..",         "a..b",       "x:",       "http:/x", "https//x",
	                                    "%zz",     "$HOST",      "http://x:0", "[::1",     "a,b",     "x:1:2"},
				 *const right[] = {"x_y",      "h:7000/v1",    "http://[::1]:7000",
	                                           "10.0.0.1", "tt-llm.local", "h/"};
	struct fixture *f = *state;
	char text[128];

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		for (int local = 0; local < 2; local++) {
			snprintf(text, sizeof text, "\n%s = \"%s\"; };", local ? "local: { host" : "container: { name",
			         wrong[i]);
			assert_false(fixture_load_text(f, text));
			if (!fixture_says(&f->report.errors,
			                  "main.conf:2: ", local ? "local.host: " : "container.name: "))
				fail_msg("%s -> %s", text, f->report.errors.data);
		}
	}
	for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
		snprintf(text, sizeof text, "container: { name = \"%s\"; };", right[i]);
		if (!fixture_load_text(f, text))
			fail_msg("%s -> %s", text, f->report.errors.data);
	}
}

static void levels_have_the_synonyms_of_python(void **state)
{
	struct fixture *f = *state;

	assert_true(fixture_load_env(f, "AGENT_LOG_LEVEL=warn"));
	assert_string_equal(cfg_str(f->config, CFG_LOG_LEVEL), "WARNING");
	assert_true(fixture_load_text(f, "log: { level = \"Fatal\"; };"));
	assert_string_equal(cfg_str(f->config, CFG_LOG_LEVEL), "CRITICAL");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(characters_that_resemble_others_are_explained),
		TEST(a_byte_order_mark_begins_a_file),
		TEST(values_without_quotes_are_explained),
		TEST(a_comma_before_the_end_of_a_list_is_accepted_or_explained),
		TEST(other_formats_are_recognized),
		TEST(the_line_is_that_of_the_mistake),
		TEST(no_secret_is_quoted),
		TEST(a_wrong_type_says_what_to_write),
		TEST(an_address_that_no_host_can_have_is_an_error),
		TEST(levels_have_the_synonyms_of_python),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
