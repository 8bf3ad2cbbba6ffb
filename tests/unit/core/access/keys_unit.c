/* SPDX-License-Identifier: Apache-2.0 */
/* The file of API keys: what is read from it, what costs one key only, and how it is changed. */
#include "tests/unit/support/scratch.h"

#include "core/access/keys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ALICE  "1f3c1e5d0e6b6c1c8d4b3f0a9d6f5e4c3b2a19080706050403020100ffeeddcc"
#define NOBODY "0000000000000000000000000000000000000000000000000000000000000000"
#define BOB    "2f3c1e5d0e6b6c1c8d4b3f0a9d6f5e4c3b2a19080706050403020100ffeeddcc"

static uint8_t digest_bytes[DIGEST_LEN];
static char name_a[] = "a";

static const uint8_t *bytes_of(const char *hex)
{
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		unsigned byte;

		sscanf(hex + 2 * i, "%2x", &byte);
		digest_bytes[i] = (uint8_t)byte;
	}
	return digest_bytes;
}

static struct keys *parse(const char *text, struct buf *faults)
{
	struct err e = ERR_INIT;
	struct keys *k = keys_parse(text, strlen(text), faults, &e);

	assert_non_null(k);
	return k;
}

static void a_record_says_what_its_key_may_do(void **state)
{
	struct buf faults = BUF_INIT(4096);
	struct keys *k = parse(
		"# keys\n"
		"\n"
		"{\"id\":\"alice\",\"sha256\":\"" ALICE
		"\",\"subject\":\"alice@example.org\",\"models\":[\"llama-*\"],"
		"\"tools\":[],\"requests_per_minute\":60,\"tokens_per_minute\":1000,\"turns\":2,"
		"\"priority\":\"high\",\"created\":1,\"expires\":99,\"admin\":true,\"revoked\":7,"
		"\"ends_answers\":true,\"former\":{\"sha256\":\"" BOB
		"\",\"expires\":50}}\r\n"
		"  {\"sha256\":\"3F3c1e5d0e6b6c1c8d4b3f0a9d6f5e4c3b2a19080706050403020100ffeeddcc\",\"id\":\"carol\"}  ",
		&faults);
	const struct key *alice = keys_find(k, bytes_of(ALICE)), *former = keys_find(k, bytes_of(BOB));
	const struct key *carol = keys_find_id(k, "carol");
	const struct access_identity *i;

	(void)state;
	assert_int_equal(faults.len, 0);
	assert_int_equal(keys_count(k), 3);
	assert_non_null(alice);
	i = &alice->identity->known;
	assert_string_equal(i->subject, "alice@example.org");
	assert_string_equal(i->key_id, "alice");
	assert_int_equal(i->limits.requests, 60);
	assert_int_equal(i->limits.tokens, 1000);
	assert_int_equal(i->limits.turns, 2);
	assert_int_equal(i->priority, ACCESS_HIGH);
	assert_true(i->admin && alice->revoked && alice->ends_answers);
	assert_int_equal(alice->expires_ms, 99000);
	assert_true(access_may_use_model(i, "llama-3.1-8b"));
	assert_false(access_may_use_model(i, "qwen"));
	assert_false(access_may_use_tool(i, "web_search"));
	assert_non_null(former);
	assert_ptr_equal(former->identity, alice->identity);
	assert_int_equal(former->expires_ms, 50000);
	assert_ptr_equal(keys_find_id(k, "alice"), alice);
	assert_non_null(carol);
	i = &carol->identity->known;
	assert_string_equal(i->subject, "key:carol");
	assert_true(access_may_use_model(i, "anything") && access_may_use_tool(i, "web_search"));
	assert_int_equal(i->priority, ACCESS_NORMAL);
	assert_int_equal(carol->expires_ms, 0);
	assert_null(keys_find(k, bytes_of(NOBODY)));
	assert_null(keys_find_id(k, "nobody"));
	keys_free(k);
	buf_free(&faults);
}

/* What may restrict a key must not be overlooked, and one line must not take the others along. */
static void a_line_that_is_not_understood_costs_its_own_key(void **state)
{
	static const char *const lines[] = {
		"{",
		"nonsense",
		"[]",
		"null",
		"\"text\"",
		"{}",
		"{\"id\":\"x\"}",
		"{\"sha256\":\"" BOB "\"}",
		"{\"id\":\"\",\"sha256\":\"" BOB "\"}",
		"{\"id\":\"a b\",\"sha256\":\"" BOB "\"}",
		"{\"id\":\"a\\nb\",\"sha256\":\"" BOB "\"}",
		"{\"id\":7,\"sha256\":\"" BOB "\"}",
		"{\"id\":\"x\",\"id\":\"y\",\"sha256\":\"" BOB "\"}",
		"{\"id\":\"x\",\"sha256\":\"2f3c\"}",
		"{\"id\":\"x\",\"sha256\":\"zz3c1e5d0e6b6c1c8d4b3f0a9d6f5e4c3b2a19080706050403020100ffeeddcc\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "0\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"budget\":1}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"models\":\"llama\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"models\":[1]}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"models\":[\"\"]}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"models\":null}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"turns\":-1}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"turns\":1.5}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"turns\":\"3\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"expires\":9223372036854775807}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"expires\":1e3}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"priority\":\"urgent\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"admin\":1}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"revoked\":true}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"subject\":\"\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"subject\":\"a\\nb\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"subject\":\"a\\u0000b\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"subject\":\"\xff\"}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"former\":{}}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"former\":{\"sha256\":\"" BOB "\"}}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"former\":{\"sha256\":\"" BOB "\",\"expires\":0}}",
		"{\"id\":\"x\",\"sha256\":\"" BOB "\",\"former\":{\"sha256\":\"" BOB "\",\"expires\":1,\"id\":\"x\"}}",
		"{\"id\":\"alice\",\"sha256\":\"" BOB "\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct buf faults = BUF_INIT(4096);
		char text[2000];
		struct keys *k;

		snprintf(text, sizeof text,
		         "{\"id\":\"alice\",\"sha256\":\"" ALICE "\"}\n%s\n{\"id\":\"carol\",\"sha256\":\"" BOB "\"}\n",
		         lines[i]);
		k = parse(text, &faults);
		assert_int_equal(keys_count(k), 2);
		assert_non_null(faults.data);
		assert_int_equal(strncmp(faults.data, "line 2: ", 8), 0);
		assert_null(strchr(faults.data + 8, '\"'));
		assert_string_equal(keys_find(k, bytes_of(BOB))->identity->known.key_id, "carol");
		keys_free(k);
		buf_free(&faults);
	}
}

static void bytes_of_any_kind_are_no_key(void **state)
{
	static const char nul[] = "{\"id\":\"x\",\0\"sha256\":\"" BOB "\"}\n\0\0\n";
	struct buf faults = BUF_INIT(4096);
	struct err e = ERR_INIT;
	struct keys *k = keys_parse(nul, sizeof nul - 1, &faults, &e);

	(void)state;
	assert_non_null(k);
	assert_int_equal(keys_count(k), 0);
	keys_free(k);
	k = keys_parse("", 0, &faults, &e);
	assert_int_equal(keys_count(k), 0);
	assert_null(keys_find(k, bytes_of(ALICE)));
	keys_free(k);
	assert_null(keys_find(NULL, bytes_of(ALICE)));
	buf_free(&faults);
}

static void ten_thousand_keys_are_each_found(void **state)
{
	struct buf text = BUF_INIT(KEYS_FILE_MAX), faults = BUF_INIT(4096);
	struct err e = ERR_INIT;
	struct keys *k;

	(void)state;
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(buf_addf(&text, "{\"id\":\"k%u\",\"sha256\":\"%08x%056x\"}\n", i, i * 2654435761u, i),
		                 0);
	k = keys_parse(text.data, text.len, &faults, &e);
	assert_int_equal(keys_count(k), 10000);
	for (unsigned i = 0; i < 10000; i++) {
		char hex[2 * DIGEST_LEN + 1], id[20];

		snprintf(hex, sizeof hex, "%08x%056x", i * 2654435761u, i);
		snprintf(id, sizeof id, "k%u", i);
		assert_string_equal(keys_find(k, bytes_of(hex))->identity->known.key_id, id);
	}
	keys_free(k);
	buf_free(&text);
	buf_free(&faults);
}

/* ---- changing the file ---------------------------------------------------------------------------- */

static void path_of(void **state, char path[100])
{
	snprintf(path, 100, "%s/keys.jsonl", (char *)*state);
}

static int append(void *arg, json_t *records, struct err *e)
{
	(void)e;
	return json_array_append_new(records, json_pack("{s:s,s:s}", "id", arg, "sha256", ALICE));
}

static int refuse(void *arg, json_t *records, struct err *e)
{
	(void)arg;
	json_array_clear(records);
	return err_set(e, "no");
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void an_edit_leaves_the_other_lines_as_they_are(void **state)
{
	static const char before[] =
		"# a comment\n"
		"nonsense { \"x\" }\n"
		"{\"id\":\"b\",\"unknown\":1.50}\n";
	struct buf text = BUF_INIT(KEYS_FILE_MAX);
	struct err e = ERR_INIT;
	struct stat st;
	char path[100];

	path_of(state, path);
	write_file(path, before, 0600);
	assert_int_equal(keys_edit(path, (gid_t)-1, append, name_a, &e), 0);
	assert_int_equal(keys_read(path, &text, &e), 0);
	assert_string_equal(text.data,
	                    "# a comment\nnonsense { \"x\" }\n{\"id\":\"b\",\"unknown\":1.5}\n"
	                    "{\"id\":\"a\",\"sha256\":\"" ALICE "\"}\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	buf_free(&text);
}

static void an_edit_that_fails_changes_nothing(void **state)
{
	struct buf text = BUF_INIT(KEYS_FILE_MAX);
	struct err e = ERR_INIT, none = ERR_INIT;
	char path[100];

	path_of(state, path);
	write_file(path, "# mine\n", 0640);
	assert_int_equal(keys_edit(path, (gid_t)-1, refuse, NULL, &e), -1);
	assert_string_equal(e.text, "no");
	assert_int_equal(keys_read(path, &text, &none), 0);
	assert_string_equal(text.data, "# mine\n");
	err_clear(&e);
	assert_int_equal(keys_edit("/nonexistent/keys.jsonl", (gid_t)-1, append, name_a, &e), -1);
	assert_non_null(strstr(e.text, "/nonexistent"));
	buf_free(&text);
}

static void a_new_file_is_only_for_its_owner_and_group(void **state)
{
	struct err e = ERR_INIT;
	struct stat st;
	char path[100];

	path_of(state, path);
	unlink(path);
	assert_int_equal(keys_edit(path, geteuid() == 0 ? 12345 : (gid_t)-1, append, name_a, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(st.st_gid, geteuid() == 0 ? 12345 : getegid());
}

static void a_file_that_others_may_write_or_read_is_refused(void **state)
{
	static const mode_t modes[] = {0644, 0660, 0642, 0641, 0620};
	char path[100];

	path_of(state, path);
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		struct buf text = BUF_INIT(KEYS_FILE_MAX);
		struct err e = ERR_INIT;

		write_file(path, "", modes[i]);
		assert_int_equal(keys_read(path, &text, &e), -1);
		assert_non_null(strstr(e.text, "chmod 640"));
		buf_free(&text);
	}
	if (geteuid() == 0) {
		struct buf text = BUF_INIT(KEYS_FILE_MAX);
		struct err e = ERR_INIT;

		write_file(path, "", 0640);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(keys_read(path, &text, &e), -1);
		assert_non_null(strstr(e.text, "12345"));
		buf_free(&text);
	}
	unlink(path);
}

static void a_missing_file_has_no_keys(void **state)
{
	struct buf text = BUF_INIT(KEYS_FILE_MAX);
	struct err e = ERR_INIT;
	char path[100];

	path_of(state, path);
	unlink(path);
	assert_int_equal(keys_read(path, &text, &e), 0);
	assert_int_equal(text.len, 0);
	buf_free(&text);
}

/* Two programs that change the file at once: no change is lost. */
static void edits_at_the_same_time_are_all_kept(void **state)
{
	struct buf text = BUF_INIT(KEYS_FILE_MAX), faults = BUF_INIT(4096);
	struct err e = ERR_INIT;
	char path[100];
	unsigned lines = 0;
	int status;

	path_of(state, path);
	unlink(path);
	for (unsigned p = 0; p < 4; p++)
		if (fork() == 0) {
			for (unsigned i = 0; i < 25; i++) {
				char id[20];

				snprintf(id, sizeof id, "k%u-%u", p, i);
				if (keys_edit(path, (gid_t)-1, append, id, &e) < 0)
					_exit(1);
			}
			_exit(0);
		}
	while (wait(&status) > 0)
		assert_int_equal(status, 0);
	assert_int_equal(keys_read(path, &text, &e), 0);
	for (const char *p = text.data; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	assert_int_equal(lines, 100);
	buf_free(&text);
	buf_free(&faults);
}

static void a_new_key_is_random_and_its_digest_is_that_of_its_text(void **state)
{
	char a[KEY_TEXT_MAX], b[KEY_TEXT_MAX], hex[2 * DIGEST_LEN + 1];
	uint8_t sum[DIGEST_LEN];
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(key_make(b, hex, &e), 0);
	assert_int_equal(key_make(a, hex, &e), 0);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 4 + 43);
	assert_int_equal(strspn(a, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 4 + 43);
	assert_int_equal(digest_once(a, strlen(a), sum), 0);
	assert_memory_equal(sum, bytes_of(hex), DIGEST_LEN);
}

static void base64url_takes_nothing_but_its_letters(void **state)
{
	static const char *const wrong[] = {"a", "ab=", "ab==", "a+b/", "ab c", "abcde", "ab\n", "\xc3\xa4"};
	uint8_t out[64];

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(base64url_decode(wrong[i], strlen(wrong[i]), out), -1);
	assert_int_equal(base64url_decode("ab\0d", 4, out), -1);
	assert_int_equal(base64url_decode("", 0, out), 0);
	for (size_t len = 0; len < 40; len++) {
		uint8_t bytes[40], back[60];
		char text[60];

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)(251 * (i + 1) + len);
		base64url_encode(bytes, len, text);
		assert_int_equal(base64url_decode(text, strlen(text), back), len);
		assert_memory_equal(back, bytes, len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_says_what_its_key_may_do),
		cmocka_unit_test(a_line_that_is_not_understood_costs_its_own_key),
		cmocka_unit_test(bytes_of_any_kind_are_no_key),
		cmocka_unit_test(ten_thousand_keys_are_each_found),
		cmocka_unit_test(an_edit_leaves_the_other_lines_as_they_are),
		cmocka_unit_test(an_edit_that_fails_changes_nothing),
		cmocka_unit_test(a_new_file_is_only_for_its_owner_and_group),
		cmocka_unit_test(a_file_that_others_may_write_or_read_is_refused),
		cmocka_unit_test(a_missing_file_has_no_keys),
		cmocka_unit_test(edits_at_the_same_time_are_all_kept),
		cmocka_unit_test(a_new_key_is_random_and_its_digest_is_that_of_its_text),
		cmocka_unit_test(base64url_takes_nothing_but_its_letters),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
