/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint a request is for, what other requests get, and the query. */
#include "fcgi/endpoint.h"
#include "fcgi/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct route find(const char *method, const char *uri, const char *script_name)
{
	char prefix[] = "/agent";
	char *const prefixes[] = {prefix};
	const struct route_request r = {.method = method, .uri = uri, .script_name = script_name, .admin = true};

	return route_find(&r, prefixes, 1);
}

static void expect(const char *uri, const char *script_name, const struct endpoint *endpoint)
{
	struct route r = find("GET", uri, script_name);

	assert_int_equal(r.status, 200);
	assert_ptr_equal(r.endpoint, endpoint);
}

static void expect_status(const char *uri, const char *script_name, int status)
{
	assert_int_equal(find("GET", uri, script_name).status, status);
}

static void test_paths(void **state)
{
	(void)state;
	expect("/", NULL, &endpoint_root);
	expect("/status", NULL, &endpoint_status);
	expect("/status/", NULL, &endpoint_status);
	expect("/status?x=/refresh", NULL, &endpoint_status);
	expect("//status", NULL, &endpoint_status);
	expect("/./status/.", NULL, &endpoint_status);
	expect("/a/../status", NULL, &endpoint_status);
	expect("/%73tatus", NULL, &endpoint_status);
	expect("/test_llm", NULL, &endpoint_test_llm);
	expect_status("/nope", NULL, 404);
	expect_status("/Status", NULL, 404);
	expect_status("/status/x", NULL, 404);
	expect_status("/statusx", NULL, 404);
	expect_status("/%2573tatus", NULL, 404); /* decoded once only */
}

static void test_prefixes(void **state)
{
	(void)state;
	expect("/agent", NULL, &endpoint_root);
	expect("/agent/", NULL, &endpoint_root);
	expect("/agent/status", NULL, &endpoint_status);
	expect("/agent/status/", NULL, &endpoint_status);
	expect_status("/agentx/status", NULL, 404);
	expect_status("/agent/agent/status", NULL, 404);
	expect_status("/agent/x/status", NULL, 404);
	expect_status("/other/status", NULL, 404);
}

static void test_script_name(void **state)
{
	(void)state;
	expect("/chat/status", "/chat", &endpoint_status);
	expect("/chat/status", "/chat/", &endpoint_status);
	expect("/chat/", "/chat", &endpoint_root);
	expect("/agent/status", "/agent", &endpoint_status);
	/* nginx without fastcgi_split_path_info passes the whole path */
	expect("/status", "/status", &endpoint_status);
	expect("/agent/status", "/agent/status", &endpoint_status);
	expect("/status/", "/status/", &endpoint_status);
	expect_status("/nope", "/nope", 404);
	expect_status("/nope/", "/nope/", 404);
	expect_status("/chatty/status", "/chat", 404);
	expect("/status", "", &endpoint_status);
	expect("/status", "/", &endpoint_status);
}

/* SCRIPT_NAME is the whole path if the prefix itself is requested, and also if a web
 * server doesn't split paths; only the former sends PATH_INFO. */
static void test_prefix_alone(void **state)
{
	static const struct {
		const char *uri, *script_name, *path_info, *prefix;
		const struct endpoint *endpoint; /* NULL: 404 */
	} cases[] = {
		{"/my/chat", "/my/chat", "", NULL, &endpoint_root},
		{"/my/chat?x", "/my/chat", "", NULL, &endpoint_root},
		{"/my/chat/", "/my/chat/", "", NULL, &endpoint_root},
		{"/my/chat", "/my/chat", NULL, NULL, NULL},
		{"/my/chat/x", "/my/chat", "", NULL, NULL},
		{"/status", "/status", "", NULL, &endpoint_status},
		{NULL, "/my/chat", "", NULL, &endpoint_root},
		{NULL, "/my/chat", NULL, NULL, NULL},
		{NULL, "/x", "/x", NULL, NULL},
		{"/my/chat", "/my/chat", NULL, "/my/chat", &endpoint_root},
		{"/my/chat/status", "/my/chat", "/status", "/my/chat", &endpoint_status},
		{"/my/chat/status", NULL, NULL, "/my/chat", &endpoint_status},
		{"/my/chatty", "/my/chatty", NULL, "/my/chat", NULL},
		{"/agent/status", NULL, NULL, "/my/chat", &endpoint_status},
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

		assert_int_equal(found.status, cases[i].endpoint != NULL ? 200 : 404);
		assert_ptr_equal(found.endpoint, cases[i].endpoint);
	}
}

static void test_without_request_uri(void **state)
{
	struct route_request r = {.method = "GET", .script_name = "/chat", .path_info = "/status"};

	(void)state;
	assert_ptr_equal(route_find(&r, NULL, 0).endpoint, &endpoint_status);
	r.path_info = "/100%25";
	assert_int_equal(route_find(&r, NULL, 0).status, 404);
	r.path_info = NULL;
	r.script_name = "/status";
	assert_ptr_equal(route_find(&r, NULL, 0).endpoint, &endpoint_status);
	r.script_name = NULL;
	assert_ptr_equal(route_find(&r, NULL, 0).endpoint, &endpoint_root);
}

static void test_bad_paths(void **state)
{
	char longer[2000];

	(void)state;
	expect_status("/agent%2fstatus", NULL, 400);
	expect_status("/status%00", NULL, 400);
	expect_status("/status%", NULL, 400);
	expect_status("/status%4", NULL, 400);
	expect_status("/%zz", NULL, 400);
	expect_status("/../status", NULL, 400);
	expect_status("/a/../../status", NULL, 400);
	expect_status("status", NULL, 400);
	memset(longer, 'a', sizeof longer);
	longer[0] = '/';
	longer[sizeof longer - 1] = '\0';
	expect_status(longer, NULL, 400);
}

static void test_methods(void **state)
{
	struct route r = find("POST", "/status", NULL);

	(void)state;
	assert_int_equal(r.status, 405);
	assert_string_equal(r.endpoint->methods, "GET, HEAD");
	r = find("GET", "/poll_requests", NULL);
	assert_int_equal(r.status, 405);
	assert_string_equal(r.endpoint->methods, "POST");
	assert_int_equal(find("HEAD", "/poll_requests", NULL).status, 405);
	assert_int_equal(find("DELETE", "/nope", NULL).status, 404);
	r = find("HEAD", "/status", NULL);
	assert_int_equal(r.status, 200);
	assert_int_equal(find("OPTIONS", "/status", NULL).status, 405);
	assert_int_equal(find("HEA", "/status", NULL).status, 405);
	assert_int_equal(find("", "/status", NULL).status, 405);
	assert_int_equal(find("GET, HEAD", "/status", NULL).status, 405);
	assert_ptr_equal(find("POST", "/refresh/", NULL).endpoint, &endpoint_refresh);
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

/* Who may read metrics may do nothing else. */
static void test_right_to_read_metrics(void **state)
{
	const struct route_request nobody = {.method = "GET", .uri = "/metrics"};
	const struct route_request monitor = {.method = "GET", .uri = "/metrics", .monitor = true};
	const struct route_request admin = {.method = "GET", .uri = "/metrics", .admin = true};
	const struct route_request refresh = {.method = "POST", .uri = "/refresh", .monitor = true};

	(void)state;
	assert_int_equal(route_find(&nobody, NULL, 0).status, 403);
	assert_int_equal(route_find(&monitor, NULL, 0).status, 200);
	assert_int_equal(route_find(&admin, NULL, 0).status, 200);
	assert_int_equal(route_find(&refresh, NULL, 0).status, 403);
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

static void expect_deploy_id(const char *query, const char *want)
{
	char *value = route_query_value(query, "deploy_id");

	if (want == NULL)
		assert_null(value);
	else
		assert_string_equal(value, want);
	free(value);
}

static void test_query_value_is_decoded(void **state)
{
	(void)state;
	expect_deploy_id("deploy_id=abc", "abc");
	expect_deploy_id("x=1&deploy_id=abc&y=2", "abc");
	expect_deploy_id("deploy_id=a+b%2Bc%26%3D", "a b+c&=");
	expect_deploy_id("deploy_id=Gr%C3%BC%C3%9Fe", "Gr\xc3\xbc\xc3\x9f\x65");
	expect_deploy_id("deploy_id=a=b", "a=b");
	expect_deploy_id("deploy_id=first&deploy_id=second", "second");
	expect_deploy_id("deploy_id=", "");
}

static void test_query_without_the_parameter(void **state)
{
	(void)state;
	expect_deploy_id(NULL, NULL);
	expect_deploy_id("", NULL);
	expect_deploy_id("x=deploy_id", NULL);
	expect_deploy_id("deploy_id2=abc&my_deploy_id=abc", NULL);
}

/* Malformed parameters do not affect others. */
static void test_query_with_odd_parameters(void **state)
{
	(void)state;
	expect_deploy_id("flag&deploy_id=abc", "abc");
	expect_deploy_id("&deploy_id=abc&", "abc");
	expect_deploy_id("=x&deploy_id=abc", "abc");
	expect_deploy_id("deploy_id&deploy_id=abc", "abc");
	expect_deploy_id("DEPLOY_ID=x&deploy_id=abc", "abc");
}

/* A value is always text, and a NUL does not truncate it. */
static void test_query_value_that_is_not_text(void **state)
{
	(void)state;
	expect_deploy_id("deploy_id=good%00bad", "good?bad");
	expect_deploy_id("deploy_id=a%ffb%c3", "a?b?");
	expect_deploy_id("deploy_id=\xff", "?");
	expect_deploy_id("deploy_id=%ed%a0%80", "???");
	expect_deploy_id("deploy_id=%zz%4", "%zz%4");
}

/* Complete enough to print the manual from it. */
static void test_table(void **state)
{
	size_t count = 0;

	(void)state;
	for (const struct endpoint *const *e = endpoints; *e != NULL; e++, count++) {
		assert_int_equal((*e)->path[0], '/');
		assert_non_null((*e)->answer);
		assert_int_equal((*e)->help[strlen((*e)->help) - 1], '.');
		for (const struct endpoint *const *other = endpoints; other != e; other++)
			assert_string_not_equal((*e)->path, (*other)->path);
	}
	assert_true(count > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_script_name),
		cmocka_unit_test(test_prefix_alone),
		cmocka_unit_test(test_bad_paths),
		cmocka_unit_test(test_without_request_uri),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_right_to_read_metrics),
		cmocka_unit_test(test_normalise),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_query_value_is_decoded),
		cmocka_unit_test(test_query_without_the_parameter),
		cmocka_unit_test(test_query_with_odd_parameters),
		cmocka_unit_test(test_query_value_that_is_not_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
