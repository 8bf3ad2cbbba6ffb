/* SPDX-License-Identifier: Apache-2.0 */
/* TT-Studio's user_config.env and the configuration that follows it. */
#include "core/config/user_config.h"
#include "tests/unit/support/config_fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENV_FILE  "backend_volume/user_config.env"
#define JSON_FILE "backend_volume/user_config.json"
#define NO_KEY    "tavily-api-key-not-configured"

static void lines_are_read(void **state)
{
	static const struct {
		const char *text, *tavily, *jwt;
	} cases[] = {
		{"TAVILY_API_KEY=tvly-1\nJWT_SECRET=s\n", "tvly-1", "s"},
		{"TAVILY_API_KEY=tvly-1", "tvly-1", NULL},
		{"# comment\n\n  export TAVILY_API_KEY = tvly-1  \r\nOTHER=1\r\n", "tvly-1", NULL},
		{"TAVILY_API_KEY=\"a b\"\nJWT_SECRET='c\\d\"'\n", "a b", "c\\d\""},
		{"JWT_SECRET=\"a\\\"b\\\\c\" # comment\n", NULL, "a\"b\\c"},
		{"JWT_SECRET=a=b#c\n", NULL, "a=b#c"},
		{"JWT_SECRET=ab # comment\n", NULL, "ab"},
		{"JWT_SECRET=\nTAVILY_API_KEY=\"\"\n", NULL, NULL},
		{"TAVILY_API_KEY=" NO_KEY "\nJWT_SECRET=s\n", NULL, "s"},
		{"TAVILY_API_KEY=one\nTAVILY_API_KEY=two\n", "two", NULL},
		{"XTAVILY_API_KEY=one\nTAVILY_API_KEYX=two\n", NULL, NULL},
		{"", NULL, NULL},
	};
	struct fixture *f = *state;
	char path[160];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf warnings = BUF_INIT(4096);
		struct user_config u;

		fixture_write(f, ENV_FILE, cases[i].text);
		user_config_read(f->dir, &u, &warnings);
		assert_int_equal(warnings.len, 0);
		assert_string_equal(u.path, fixture_path(f, ENV_FILE, path));
		assert_true((u.tavily_api_key == NULL) == (cases[i].tavily == NULL));
		if (u.tavily_api_key != NULL)
			assert_string_equal(u.tavily_api_key, cases[i].tavily);
		assert_true((u.jwt_secret == NULL) == (cases[i].jwt == NULL));
		if (u.jwt_secret != NULL)
			assert_string_equal(u.jwt_secret, cases[i].jwt);
		user_config_free(&u);
		buf_free(&warnings);
	}
}

static void wrong_lines_are_reported_but_not_shown(void **state)
{
	struct fixture *f = *state;
	struct buf warnings = BUF_INIT(4096);
	struct user_config u;

	fixture_write_bytes(f, ENV_FILE, "hush\nJWT_SECRET=\"hush\nTAVILY_API_KEY=h\0ush\n", 41);
	user_config_read(f->dir, &u, &warnings);
	assert_null(u.jwt_secret);
	assert_null(u.tavily_api_key);
	assert_true(fixture_says(&warnings, "user_config.env:1: ", "not KEY=VALUE"));
	assert_true(fixture_says(&warnings, "user_config.env:2: ", "closing quote"));
	assert_true(fixture_says(&warnings, "user_config.env:3: ", "NUL"));
	assert_null(strstr(warnings.data, "hush"));
	user_config_free(&u);
	buf_free(&warnings);
}

static void the_legacy_file_counts_where_the_other_is_missing(void **state)
{
	struct fixture *f = *state;
	struct buf warnings = BUF_INIT(4096);
	struct user_config u;

	fixture_write(f, JSON_FILE, "{\"tavily_api_key\": \"old\", \"x\": 1}");
	user_config_read(f->dir, &u, &warnings);
	assert_string_equal(u.tavily_api_key, "old");
	user_config_free(&u);
	fixture_write(f, ENV_FILE, "JWT_SECRET=s\n");
	user_config_read(f->dir, &u, &warnings);
	assert_null(u.tavily_api_key);
	assert_int_equal(warnings.len, 0);
	user_config_free(&u);
	buf_free(&warnings);
}

static void a_bad_legacy_file_warns(void **state)
{
	static const char *const bad[] = {"{\"tavily_api_key\": 5}", "{", "[]x", ""};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf warnings = BUF_INIT(4096);
		struct user_config u;

		fixture_write(f, JSON_FILE, bad[i]);
		user_config_read(f->dir, &u, &warnings);
		assert_null(u.tavily_api_key);
		assert_true(fixture_says(&warnings, JSON_FILE, "ignored"));
		user_config_free(&u);
		buf_free(&warnings);
	}
}

static void a_missing_or_unreadable_file_warns(void **state)
{
	struct fixture *f = *state;
	struct buf warnings = BUF_INIT(4096);
	struct user_config u;
	char path[160];

	user_config_read(f->dir, &u, &warnings);
	assert_null(u.path);
	assert_true(fixture_says(&warnings, f->dir, "neither user_config.env nor user_config.json"));
	fixture_write(f, JSON_FILE, "{\"tavily_api_key\": \"old\"}");
	assert_int_equal(mkdir(fixture_path(f, ENV_FILE, path), 0700), 0);
	user_config_read(f->dir, &u, &warnings);
	assert_null(u.tavily_api_key);
	assert_true(fixture_says(&warnings, ENV_FILE, "not a regular file"));
	buf_free(&warnings);
}

/* As TT-Studio's settings page writes it: as root, for root alone. */
static void a_file_of_root_says_how_to_get_a_copy(void **state)
{
	static const char *const hidden[] = {ENV_FILE, "backend_volume"}; /* the file, or the way to it */
	struct fixture *f = *state;
	struct buf warnings = BUF_INIT(4096);
	char path[160];

	if (geteuid() != 0)
		skip();
	fixture_write(f, ENV_FILE, "JWT_SECRET=hush\n");
	fixture_write(f, JSON_FILE, "{\"tavily_api_key\": \"old\"}");
	assert_int_equal(chmod(f->dir, 0755), 0);
	for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
		struct user_config u;

		buf_reset(&warnings);
		assert_int_equal(chmod(fixture_path(f, hidden[i], path), i == 0 ? 0600 : 0700), 0);
		assert_int_equal(seteuid(65534), 0);
		user_config_read(f->dir, &u, &warnings);
		assert_int_equal(seteuid(0), 0);
		assert_null(u.jwt_secret);
		assert_null(u.tavily_api_key);
		assert_int_equal(fixture_lines(&warnings), 1);
		assert_true(fixture_says(&warnings, fixture_path(f, ENV_FILE, path), "Permission denied"));
		assert_true(fixture_says(&warnings, "only root", "chmod does not last"));
		assert_true(fixture_says(&warnings, "systemctl enable --now", f->dir));
		assert_true(fixture_says(&warnings, "auth.volume", "doc/migration.md"));
		assert_null(strstr(warnings.data, "chown"));
		user_config_free(&u);
	}
	buf_free(&warnings);
}

static void secrets_in_a_public_file_are_not_used(void **state)
{
	static const struct {
		const char *file, *text;
		mode_t mode;
		bool used;
	} cases[] = {
		{JSON_FILE, "{\"tavily_api_key\": \"hush\"}", 0644, false},
		{JSON_FILE, "{\"tavily_api_key\": \"hush\"}", 0640, true},
		{ENV_FILE, "TAVILY_API_KEY=hush\n", 0604, false}, /* and the older file does not replace it */
		{ENV_FILE, "TAVILY_API_KEY=hush\n", 0660, true},
		{ENV_FILE, "SETUP_COMPLETE=true\n", 0644, true},
	};
	struct fixture *f = *state;
	char path[160];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf warnings = BUF_INIT(4096);
		struct user_config u;

		fixture_write(f, cases[i].file, cases[i].text);
		assert_int_equal(chmod(fixture_path(f, cases[i].file, path), cases[i].mode), 0);
		user_config_read(f->dir, &u, &warnings);
		assert_int_equal(u.tavily_api_key != NULL, cases[i].used && strstr(cases[i].text, "hush") != NULL);
		assert_int_equal(warnings.len == 0, cases[i].used);
		if (!cases[i].used) {
			assert_true(fixture_says(&warnings, path, "everybody can read this file: chmod o-r "));
			assert_null(strstr(warnings.data, "hush"));
		}
		user_config_free(&u);
		buf_free(&warnings);
	}
}

static void a_public_file_leaves_the_environment_in_force(void **state)
{
	struct fixture *f = *state;
	char volume[160], a[] = "JWT_SECRET=from-env", path[160];
	char *environment[] = {a, volume, NULL};

	snprintf(volume, sizeof volume, "INTERNAL_PERSISTENT_STORAGE_VOLUME=%s", f->dir);
	fixture_write(f, ENV_FILE, "JWT_SECRET=from-file\n");
	assert_int_equal(chmod(fixture_path(f, ENV_FILE, path), 0644), 0);
	assert_true(fixture_load(f, NULL, environment, NULL));
	assert_string_equal(cfg_str(f->config, CFG_AUTH_JWT_SECRET), "from-env");
	assert_true(fixture_says(&f->report.warnings, path, "everybody can read"));
}

static void it_overrides_the_environment_but_not_set(void **state)
{
	struct fixture *f = *state;
	char volume[160], a[] = "JWT_SECRET=from-env", b[] = "TAVILY_API_KEY=env-key";
	char *environment[] = {a, b, volume, NULL};
	const char *const sets[] = {"search.tavily_key=", NULL};
	char path[160];

	snprintf(volume, sizeof volume, "INTERNAL_PERSISTENT_STORAGE_VOLUME=%s", f->dir);
	fixture_write(f, ENV_FILE, "JWT_SECRET=from-file\nTAVILY_API_KEY=file-key\n");
	assert_true(fixture_load(f, NULL, environment, sets));
	assert_string_equal(cfg_str(f->config, CFG_AUTH_JWT_SECRET), "from-file");
	assert_string_equal(cfg_origin(f->config, CFG_AUTH_JWT_SECRET), fixture_path(f, ENV_FILE, path));
	assert_null(cfg_str(f->config, CFG_SEARCH_TAVILY_KEY));
	assert_string_equal(cfg_origin(f->config, CFG_SEARCH_TAVILY_KEY), "command line");
}

/* TT-Studio's settings page stores the placeholder that it found in the environment: a key that
 * is set there later, or in the settings file, must be used. */
static void a_placeholder_hides_no_other_key(void **state)
{
	static const struct {
		const char *user, *environment, *file, *used;
	} cases[] = {
		{NO_KEY, "env-key", "", "env-key"},   {NO_KEY, NO_KEY, "file-key", "file-key"},
		{"user-key", NO_KEY, "", "user-key"}, {"user-key", "env-key", "file-key", "user-key"},
		{NO_KEY, NO_KEY, NO_KEY, NULL},       {"", "env-key", "", "env-key"},
	};
	struct fixture *f = *state;
	char volume[160], key[160], text[160];
	char *environment[] = {volume, key, NULL};

	snprintf(volume, sizeof volume, "INTERNAL_PERSISTENT_STORAGE_VOLUME=%s", f->dir);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *used;

		snprintf(text, sizeof text, "TAVILY_API_KEY=%s\n", cases[i].user);
		fixture_write(f, ENV_FILE, text);
		snprintf(text, sizeof text, "search: { tavily_key = \"%s\"; };\n", cases[i].file);
		fixture_write(f, "main.conf", text);
		snprintf(key, sizeof key, "TAVILY_API_KEY=%s", cases[i].environment);
		assert_true(fixture_load(f, f->main, environment, NULL));
		used = cfg_str(f->config, CFG_SEARCH_TAVILY_KEY);
		assert_true((used == NULL) == (cases[i].used == NULL));
		if (used != NULL)
			assert_string_equal(used, cases[i].used);
	}
}

static struct config *follow(struct fixture *f)
{
	struct config *next;

	config_report_free(&f->report);
	next = config_with_user_config(f->config, &f->report);
	assert_non_null(next);
	config_unref(f->config);
	f->config = next;
	return next;
}

static void changes_are_followed(void **state)
{
	struct fixture *f = *state;
	char volume[160], a[] = "JWT_SECRET=from-env";
	char *environment[] = {a, volume, NULL};
	char path[160];

	snprintf(volume, sizeof volume, "INTERNAL_PERSISTENT_STORAGE_VOLUME=%s", f->dir);
	assert_true(fixture_load(f, NULL, environment, NULL));
	assert_string_equal(cfg_str(f->config, CFG_AUTH_JWT_SECRET), "from-env");

	fixture_write(f, ENV_FILE, "JWT_SECRET=one\nTAVILY_API_KEY=k\n");
	assert_string_equal(cfg_str(follow(f), CFG_AUTH_JWT_SECRET), "one");
	assert_string_equal(cfg_str(f->config, CFG_SEARCH_TAVILY_KEY), "k");
	assert_string_equal(cfg_str(f->config, CFG_LOCAL_HOST), "localhost");

	fixture_write(f, ENV_FILE, "JWT_SECRET=two\n");
	assert_string_equal(cfg_str(follow(f), CFG_AUTH_JWT_SECRET), "two");
	assert_null(cfg_str(f->config, CFG_SEARCH_TAVILY_KEY));
	assert_string_equal(cfg_origin(f->config, CFG_SEARCH_TAVILY_KEY), "default");

	assert_int_equal(remove(fixture_path(f, ENV_FILE, path)), 0);
	assert_string_equal(cfg_str(follow(f), CFG_AUTH_JWT_SECRET), "from-env");
	assert_string_equal(cfg_origin(f->config, CFG_AUTH_JWT_SECRET), "environment JWT_SECRET");
	assert_int_equal(fixture_lines(&f->report.warnings), 1);
}

static void a_bad_value_in_it_only_warns(void **state)
{
	struct fixture *f = *state;
	char volume[160];
	char *environment[] = {volume, NULL};

	snprintf(volume, sizeof volume, "INTERNAL_PERSISTENT_STORAGE_VOLUME=%s", f->dir);
	fixture_write(f, ENV_FILE, "JWT_SECRET=hush\xff\n");
	assert_true(fixture_load(f, NULL, environment, NULL));
	assert_true(fixture_says(&f->report.warnings, ENV_FILE, "not valid UTF-8"));
	assert_null(strstr(f->report.warnings.data, "hush"));
}

static void the_directory_is_known(void **state)
{
	char *directory = user_config_directory("/vol");

	(void)state;
	assert_string_equal(directory, "/vol/backend_volume");
	free(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_are_read),
		TEST(wrong_lines_are_reported_but_not_shown),
		TEST(the_legacy_file_counts_where_the_other_is_missing),
		TEST(a_bad_legacy_file_warns),
		TEST(a_missing_or_unreadable_file_warns),
		TEST(a_file_of_root_says_how_to_get_a_copy),
		TEST(secrets_in_a_public_file_are_not_used),
		TEST(a_public_file_leaves_the_environment_in_force),
		TEST(it_overrides_the_environment_but_not_set),
		TEST(a_placeholder_hides_no_other_key),
		TEST(changes_are_followed),
		TEST(a_bad_value_in_it_only_warns),
		TEST(the_directory_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
