/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint a request is for, and what the others get. */
#include "fcgi/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct route ask(const char *method, const char *uri, const char *script_name)
{
	char prefix[] = "/agent";
	char *const prefixes[] = {prefix};
	const struct route_request r = {.method = method, .uri = uri, .script_name = script_name, .admin = true};

	return route_find(&r, prefixes, 1);
}

static void expect(const char *uri, const char *script_name, int endpoint)
{
	struct route r = ask("GET", uri, script_name);

	if (endpoint < 0) {
		assert_int_equal(r.status, -endpoint);
		return;
	}
	assert_int_equal(r.status, 200);
	assert_int_equal(r.endpoint, endpoint);
}

static void test_paths(void **state)
{
	(void)state;
	expect("/", NULL, ENDPOINT_ROOT);
	expect("/status", NULL, ENDPOINT_STATUS);
	expect("/status/", NULL, ENDPOINT_STATUS);
	expect("/status?x=/refresh", NULL, ENDPOINT_STATUS);
	expect("//status", NULL, ENDPOINT_STATUS);
	expect("/./status/.", NULL, ENDPOINT_STATUS);
	expect("/a/../status", NULL, ENDPOINT_STATUS);
	expect("/%73tatus", NULL, ENDPOINT_STATUS);
	expect("/test_llm", NULL, ENDPOINT_TEST_LLM);
	expect("/nope", NULL, -404);
	expect("/Status", NULL, -404);
	expect("/status/x", NULL, -404);
	expect("/statusx", NULL, -404);
	expect("/%2573tatus", NULL, -404); /* decoded once only */
}

static void test_prefixes(void **state)
{
	(void)state;
	expect("/agent", NULL, ENDPOINT_ROOT);
	expect("/agent/", NULL, ENDPOINT_ROOT);
	expect("/agent/status", NULL, ENDPOINT_STATUS);
	expect("/agent/status/", NULL, ENDPOINT_STATUS);
	expect("/agentx/status", NULL, -404);
	expect("/agent/agent/status", NULL, -404);
	expect("/agent/x/status", NULL, -404);
	expect("/other/status", NULL, -404);
}

static void test_script_name(void **state)
{
	(void)state;
	expect("/chat/status", "/chat", ENDPOINT_STATUS);
	expect("/chat/status", "/chat/", ENDPOINT_STATUS);
	expect("/chat/", "/chat", ENDPOINT_ROOT);
	expect("/agent/status", "/agent", ENDPOINT_STATUS);
	/* nginx without fastcgi_split_path_info passes the whole path */
	expect("/status", "/status", ENDPOINT_STATUS);
	expect("/agent/status", "/agent/status", ENDPOINT_STATUS);
	expect("/status/", "/status/", ENDPOINT_STATUS);
	expect("/nope", "/nope", -404);
	expect("/nope/", "/nope/", -404);
	expect("/chatty/status", "/chat", -404);
	expect("/status", "", ENDPOINT_STATUS);
	expect("/status", "/", ENDPOINT_STATUS);
}

/* SCRIPT_NAME is the whole path where the prefix itself is asked for, and also where a web
 * server doesn't split paths; only the former sends PATH_INFO. */
static void test_prefix_alone(void **state)
{
	static const struct {
		const char *uri, *script_name, *path_info, *prefix;
		int endpoint;
	} cases[] = {
		{"/my/chat", "/my/chat", "", NULL, ENDPOINT_ROOT},
		{"/my/chat?x", "/my/chat", "", NULL, ENDPOINT_ROOT},
		{"/my/chat/", "/my/chat/", "", NULL, ENDPOINT_ROOT},
		{"/my/chat", "/my/chat", NULL, NULL, -404},
		{"/my/chat/x", "/my/chat", "", NULL, -404},
		{"/status", "/status", "", NULL, ENDPOINT_STATUS},
		{NULL, "/my/chat", "", NULL, ENDPOINT_ROOT},
		{NULL, "/my/chat", NULL, NULL, -404},
		{NULL, "/x", "/x", NULL, -404},
		{"/my/chat", "/my/chat", NULL, "/my/chat", ENDPOINT_ROOT},
		{"/my/chat/status", "/my/chat", "/status", "/my/chat", ENDPOINT_STATUS},
		{"/my/chat/status", NULL, NULL, "/my/chat", ENDPOINT_STATUS},
		{"/my/chatty", "/my/chatty", NULL, "/my/chat", -404},
		{"/agent/status", NULL, NULL, "/my/chat", ENDPOINT_STATUS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char agent[] = "/agent";
		char *const prefixes[] = {agent};
		const struct route_request r = {.uri = cases[i].uri,
		                                .script_name = cases[i].script_name,
		                                .path_info = cases[i].path_info,
		                                .prefix = cases[i].prefix};
		struct route found = route_find(&r, prefixes, 1);

		assert_int_equal(found.status == 200 ? (int)found.endpoint : -found.status, cases[i].endpoint);
	}
}

static void test_without_request_uri(void **state)
{
	struct route_request r = {.method = "GET", .script_name = "/chat", .path_info = "/status"};

	(void)state;
	assert_int_equal(route_find(&r, NULL, 0).endpoint, ENDPOINT_STATUS);
	r.path_info = "/100%25";
	assert_int_equal(route_find(&r, NULL, 0).status, 404);
	r.path_info = NULL;
	r.script_name = "/status";
	assert_int_equal(route_find(&r, NULL, 0).endpoint, ENDPOINT_STATUS);
	r.script_name = NULL;
	assert_int_equal(route_find(&r, NULL, 0).endpoint, ENDPOINT_ROOT);
}

static void test_bad_paths(void **state)
{
	char longer[2000];

	(void)state;
	expect("/agent%2fstatus", NULL, -400);
	expect("/status%00", NULL, -400);
	expect("/status%", NULL, -400);
	expect("/status%4", NULL, -400);
	expect("/%zz", NULL, -400);
	expect("/../status", NULL, -400);
	expect("/a/../../status", NULL, -400);
	expect("status", NULL, -400);
	memset(longer, 'a', sizeof longer);
	longer[0] = '/';
	longer[sizeof longer - 1] = '\0';
	expect(longer, NULL, -400);
}

static void test_methods(void **state)
{
	struct route r = ask("POST", "/status", NULL);

	(void)state;
	assert_int_equal(r.status, 405);
	assert_string_equal(r.allow, "GET, HEAD");
	r = ask("GET", "/poll_requests", NULL);
	assert_int_equal(r.status, 405);
	assert_string_equal(r.allow, "POST");
	assert_int_equal(ask("HEAD", "/poll_requests", NULL).status, 405);
	assert_int_equal(ask("DELETE", "/nope", NULL).status, 404);
	r = ask("HEAD", "/status", NULL);
	assert_int_equal(r.status, 200);
	assert_true(r.head);
	assert_int_equal(ask("POST", "/refresh/", NULL).endpoint, ENDPOINT_REFRESH);
}

static void test_rights(void **state)
{
	static const struct {
		const char *method, *uri;
		int status;
	} cases[] = {
		{"GET", "/", 200},         {"GET", "/status", 200},          {"POST", "/poll_requests", 200},
		{"POST", "/refresh", 403}, {"POST", "/agent/refresh/", 403}, {"POST", "/select_model", 403},
		{"GET", "/test_llm", 403}, {"HEAD", "/test_llm", 403},       {"POST", "/refresh_config", 403},
		{"GET", "/refresh", 405},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char prefix[] = "/agent";
		char *const prefixes[] = {prefix};
		const struct route_request r = {.method = cases[i].method, .uri = cases[i].uri};

		assert_int_equal(route_find(&r, prefixes, 1).status, cases[i].status);
	}
}

static void test_normalise(void **state)
{
	char out[ROUTE_PATH_MAX];

	(void)state;
	assert_int_equal(route_normalise("//a/./b/../c%20d/?q=%zz", true, out), 0);
	assert_string_equal(out, "/a/c d/");
	assert_int_equal(route_normalise("/a/b/..", true, out), 0);
	assert_string_equal(out, "/a/");
	assert_int_equal(route_normalise("/a%2e%2e/b", true, out), 0);
	assert_string_equal(out, "/a../b");
	assert_int_equal(route_normalise("/a/%2e%2e/b", true, out), 0);
	assert_string_equal(out, "/b");
	assert_int_equal(route_normalise("/a?b", false, out), 0);
	assert_string_equal(out, "/a?b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),       cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_script_name), cmocka_unit_test(test_prefix_alone),
		cmocka_unit_test(test_bad_paths),   cmocka_unit_test(test_without_request_uri),
		cmocka_unit_test(test_methods),     cmocka_unit_test(test_rights),
		cmocka_unit_test(test_normalise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
