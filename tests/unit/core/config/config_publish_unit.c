/* SPDX-License-Identifier: Apache-2.0 */
/* The published form, differences, the printed documents, and memory running out. */
#include "tests/unit/support/config_fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- allocations that fail: the linker sends ours here -------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static long allocations_left = -1; /* -1: no limit */

static bool refused(void)
{
	if (allocations_left < 0)
		return false;
	if (allocations_left == 0)
		return true;
	allocations_left--;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return refused() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size)
{
	return refused() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size)
{
	return refused() ? NULL : __real_realloc(p, size);
}
char *__wrap_strdup(const char *s)
{
	return refused() ? NULL : __real_strdup(s);
}
char *__wrap_strndup(const char *s, size_t n)
{
	return refused() ? NULL : __real_strndup(s, n);
}

static void load_something(struct fixture *f)
{
	char a[] = "JWT_SECRET=hush", b[] = "AGENT_LLM_POLLING_INTERVAL=0.123",
	     c[] = "AGENT_PRIORITY_MODELS=a,\xc3\xa4";
	char *environment[] = {a, b, c, NULL};
	const char *const sets[] = {"llm.top_p=0.1", "prompts.tools=", NULL};

	fixture_write(f, "main.conf", "llm: { top_k = 5; stop = [ ]; temperature = 0.1234567890123; };\n");
	assert_true(fixture_load(f, f->main, environment, sets));
}

static void forbid_change(void *arg, const char *path, const char *old_value, const char *new_value)
{
	(void)arg;
	fail_msg("%s: %s -> %s", path, old_value, new_value);
}

static void equal_configs(const struct config *a, const struct config *b)
{
	config_diff(a, b, forbid_change, NULL);
	for (unsigned k = 0; k < CFG_KEYS; k++)
		assert_string_equal(cfg_origin(a, (enum cfg_key)k), cfg_origin(b, (enum cfg_key)k));
}

static void what_was_saved_is_read(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct config *again;
	char path[160];
	struct stat st;

	load_something(f);
	assert_int_equal(config_save(f->config, fixture_path(f, "config.1", path), &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	again = config_read_saved(path, &e);
	assert_non_null(again);
	equal_configs(f->config, again);
	assert_string_equal(cfg_str(again, CFG_AUTH_JWT_SECRET), "hush");
	assert_false(cfg_is_set(again, CFG_LOCAL_HOST));
	assert_null(cfg_str(again, CFG_PROMPT_TOOLS));
	assert_int_equal(cfg_ms(again, CFG_POLLING_INTERVAL), 123);
	config_unref(again);
}

static void the_shown_form_has_no_secret(void **state)
{
	struct fixture *f = *state;
	json_t *shown, *key;
	char *text;

	load_something(f);
	shown = config_to_json(f->config, false);
	text = json_dumps(shown, 0);
	assert_null(strstr(text, "hush"));
	key = json_object_get(shown, "auth.jwt_secret");
	assert_true(json_is_null(json_object_get(key, "value")));
	assert_true(json_is_true(json_object_get(key, "secret")));
	assert_true(json_is_true(json_object_get(key, "set")));
	assert_string_equal(json_string_value(json_object_get(key, "origin")), "environment JWT_SECRET");
	assert_true(json_is_false(json_object_get(json_object_get(shown, "cloud.token"), "set")));
	for (unsigned k = 0; k < CFG_KEYS; k++)
		assert_int_equal(json_object_get(shown, cfg_key_info((enum cfg_key)k)->path) == NULL,
		                 cfg_key_info((enum cfg_key)k)->old);
	free(text);
	json_decref(shown);
}

static void a_damaged_file_is_reported(void **state)
{
	static const struct {
		const char *text, *what;
	} wrong[] = {
		{"", "not valid JSON"},
		{"{\"hush", "not valid JSON"},
		{"[]", "not a JSON object"},
		{"{\"polling.interval\": 3}", "polling.interval: value or origin is missing"},
		{"{\"polling.interval\": {\"value\": \"x\", \"origin\": \"y\"}}",
	         "polling.interval: \"x\" is a string"},
		{"{\"polling.interval\": {\"value\": 0, \"origin\": \"y\"}}", "out of range"},
		{"{\"llm.stop\": {\"value\": [1], \"origin\": \"y\"}}", "put each in quotes"},
		{"{\"cloud.url\": {\"value\": null, \"origin\": \"y\"}}", "is empty"},
	};
	struct fixture *f = *state;
	char path[160];

	fixture_path(f, "config.1", path);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct err e = ERR_INIT;

		fixture_write(f, "config.1", wrong[i].text);
		assert_null(config_read_saved(path, &e));
		assert_non_null(strstr(e.text, path));
		assert_non_null(strstr(e.text, wrong[i].what));
		assert_null(strstr(e.text, "hush"));
	}
}

static void versions_may_differ(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct config *c;
	char path[160];

	fixture_write(f, "config.1",
	              "{\"brand.new\": {\"value\": 1, \"origin\": \"x\"},"
	              " \"threads.file\": {\"value\": \"/x\", \"origin\": \"y:1\"},"
	              " \"local.port\": {\"value\": 81, \"origin\": \"x\"}}");
	c = config_read_saved(fixture_path(f, "config.1", path), &e);
	assert_non_null(c);
	assert_int_equal(cfg_int(c, CFG_LOCAL_PORT), 81);
	assert_string_equal(cfg_str(c, CFG_LOCAL_HOST), "localhost");
	assert_string_equal(cfg_str(c, CFG_THREADS_STORE), "sqlite:/x");
	assert_string_equal(cfg_origin(c, CFG_THREADS_STORE), "y:1");
	config_unref(c);

	fixture_write(f, "config.1", "{\"search.bench\": {\"value\": 7, \"origin\": \"x\"}}");
	c = config_read_saved(path, &e);
	assert_non_null(c);
	assert_int_equal(cfg_ms(c, CFG_SEARCH_COOLDOWN), 7000);
	assert_string_equal(cfg_origin(c, CFG_SEARCH_COOLDOWN), "x");
	config_unref(c);
}

static void saving_fails_with_a_reason(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char path[160];

	load_something(f);
	assert_int_equal(config_save(f->config, fixture_path(f, "no/such/config.1", path), &e), -1);
	assert_non_null(strstr(e.text, "config.1: No such file"));
}

static void note_change(void *arg, const char *path, const char *old_value, const char *new_value)
{
	struct buf *b = arg;

	assert_int_equal(buf_addf(b, "%s:%s>%s\n", path, old_value, new_value), 0);
}

static void differences_are_reported(void **state)
{
	struct fixture *f = *state;
	struct buf reported = BUF_INIT(4096);
	struct config *before;

	assert_true(fixture_load_env(f, "JWT_SECRET=one"));
	before = config_ref(f->config);
	fixture_write(f, "main.conf",
	              "auth: { jwt_secret = \"two\"; };\nllm: { stop = [ \"x\", \"y\" ]; top_p = 0.5; };\n"
	              "local: { port = 7000; };");
	assert_true(fixture_load(f, f->main, NULL, NULL));
	config_diff(before, f->config, note_change, &reported);
	assert_string_equal(reported.data,
	                    "auth.jwt_secret:(secret)>(secret)\nllm.top_p:0.9>0.5\nllm.stop:<|eot_id|>>x, y\n");
	config_unref(before);
	buf_free(&reported);
}

/* --- the printed documents --------------------------------------------------------------- */

static char *printed(int (*print)(FILE *out))
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(print(out), 0);
	fclose(out);
	return text;
}

static void the_sample_is_all_defaults(void **state)
{
	struct fixture *f = *state;
	char *text = printed(config_print_sample);
	struct config *defaults;

	assert_true(fixture_load(f, NULL, NULL, NULL));
	defaults = config_ref(f->config);
	assert_true(fixture_load_text(f, text));
	equal_configs(defaults, f->config);

	/* With every setting's # taken away: the same values, each from the file. */
	for (char *p = text; (p = strstr(p, "\n\t#")) != NULL; p += 2)
		if (p[3] != ' ')
			p[2] = ' ';
	if (!fixture_load_text(f, text))
		fail_msg("%s", f->report.errors.data);
	config_diff(defaults, f->config, forbid_change, NULL);
	for (unsigned k = 0; k < CFG_KEYS; k++)
		assert_int_equal(cfg_is_set(f->config, (enum cfg_key)k), !cfg_key_info((enum cfg_key)k)->old);
	config_unref(defaults);
	free(text);
}

/* --- memory ------------------------------------------------------------------------------- */

/* Runs what with the first n allocations granted, for every n until it succeeds. */
static void starve(struct fixture *f, bool (*what)(struct fixture *f))
{
	bool done = false;

	for (long n = 0; !done && n < 20000; n++) {
		allocations_left = n;
		done = what(f);
		allocations_left = -1;
	}
	assert_true(done);
}

static bool save_and_read(struct fixture *f)
{
	struct err e = ERR_INIT;
	struct config *again = NULL;
	bool saved;
	char path[160];

	fixture_path(f, "config.1", path);
	saved = config_save(f->config, path, &e) == 0;
	if (saved)
		again = config_read_saved(path, &e);
	assert_true(again != NULL || err_is_set(&e));
	config_unref(again);
	return again != NULL;
}

static bool load_environment(struct fixture *f)
{
	char a[] = "JWT_SECRET=hush", b[] = "AGENT_PRIORITY_MODELS=a,b,c", volume[160];
	char *environment[] = {a, b, volume, NULL};
	struct config_source source = {.environment = environment};
	struct config *c;
	bool whole;

	snprintf(volume, sizeof volume, "INTERNAL_PERSISTENT_STORAGE_VOLUME=%s", f->dir);
	config_report_free(&f->report);
	c = config_load(&source, &f->report);
	whole = c != NULL && cfg_str(c, CFG_SEARCH_TAVILY_KEY) != NULL;
	config_unref(c);
	return whole;
}

static void memory_may_run_out(void **state)
{
	struct fixture *f = *state;

	load_something(f);
	starve(f, save_and_read);
	fixture_write(f, "backend_volume/user_config.env", "TAVILY_API_KEY='k'\n");
	starve(f, load_environment);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static void a_switch_is_off_in_a_copy(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct config *off, *read;
	char path[160];

	assert_true(fixture_load_set(f, "code.local=true"));
	off = config_switched_off(f->config, CFG_CODE_LOCAL, "nothing runs it", &e);
	assert_non_null(off);
	assert_true(cfg_bool(f->config, CFG_CODE_LOCAL));
	assert_int_equal(config_save(off, fixture_path(f, "published", path), &e), 0);
	read = config_read_saved(path, &e);
	assert_non_null(read);
	assert_false(cfg_bool(read, CFG_CODE_LOCAL));
	assert_string_equal(cfg_origin(read, CFG_CODE_LOCAL), "nothing runs it");
	config_unref(read);
	config_unref(off);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_saved_is_read),   TEST(the_shown_form_has_no_secret), TEST(a_damaged_file_is_reported),
		TEST(versions_may_differ),      TEST(saving_fails_with_a_reason),   TEST(a_switch_is_off_in_a_copy),
		TEST(differences_are_reported), TEST(the_sample_is_all_defaults),   TEST(memory_may_run_out),
	};

	json_set_alloc_funcs(__wrap_malloc, free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
