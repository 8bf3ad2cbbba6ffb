/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests go through a proxy. */
#include "tests/unit/support/settings.h"

#include "core/http/http_proxy.h"

static void only_the_internet_is_behind_the_proxy(void **state)
{
	struct config *c = SETTINGS("proxy.https=http://u:p@proxy:3128", "proxy.http=plain:8080");
	static const struct {
		const char *url, *proxy;
	} cases[] = {
		{"https://api.openai.com/v1/chat/completions", "http://u:p@proxy:3128"},
		{"http://api.example.com/", "http://plain:8080"},
		{"https://8.8.8.8/", "http://u:p@proxy:3128"},
		{"https://[2001:db8::1]/", "http://u:p@proxy:3128"},
		{"http://localhost:7000/", NULL},
		{"http://searxng:8080/search", NULL},
		{"http://127.0.0.1/", NULL},
		{"http://127.9.9.9/", NULL},
		{"http://10.1.2.3/", NULL},
		{"http://172.31.0.1/", NULL},
		{"http://172.32.0.1/", "http://plain:8080"},
		{"https://192.168.0.1/", NULL},
		{"https://[::1]:8000/", NULL},
		{"https://[fe80::1]/", NULL},
		{"https://[fd00::1]/", NULL},
		{"http://host.docker.internal:11434/v1", NULL},
		{"http://box.local/", NULL},
		{"http://a.localhost/", NULL},
		{"http://notlocal.example/", "http://plain:8080"},
		{"not a url", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *proxy = http_proxy_for(c, cases[i].url);

		if (cases[i].proxy == NULL)
			assert_null(proxy);
		else
			assert_string_equal(proxy, cases[i].proxy);
	}
	config_unref(c);
}

static void exceptions_are_direct(void **state)
{
	struct config *c = SETTINGS("proxy.https=proxy:1",
	                            "proxy.exceptions=example.com, .dotted.org ,*.star.net,198.51.100.0/24,"
	                            "203.0.113.7,2001:db8::/32,one.test two.test,x/8");
	static const struct {
		const char *host;
		bool direct;
	} cases[] = {
		{"example.com", true},     {"api.EXAMPLE.com", true},
		{"notexample.com", false}, {"example.com.evil.org", false},
		{"dotted.org", true},      {"a.dotted.org", true},
		{"a.star.net", true},      {"198.51.100.9", true},
		{"198.51.101.9", false},   {"203.0.113.7", true},
		{"203.0.113.8", false},    {"[2001:db8:1::1]", true},
		{"[2001:db9::1]", false},  {"one.test", true},
		{"two.test", true},        {"example.com.", true},
		{"three.test", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char url[100];

		snprintf(url, sizeof url, "https://%s/v1", cases[i].host);
		if (cases[i].direct != (http_proxy_for(c, url) == NULL))
			fail_msg("%s", cases[i].host);
	}
	assert_null(http_proxy_for(c, "http://www.example.org/")); /* no proxy for http */
	config_unref(c);
	c = SETTINGS("proxy.https=proxy:1", "proxy.exceptions=*");
	assert_null(http_proxy_for(c, "https://www.example.org/"));
	config_unref(c);
}

static const char *proxy_of(const char *const *environment, const char *url, char *out, size_t size)
{
	struct config_source source = {.environment = (char *const *)(uintptr_t)environment};
	struct config_report report;
	struct config *c;
	const char *proxy;

	config_report_init(&report);
	c = config_load(&source, &report);
	if (c == NULL) {
		snprintf(out, size, "%s", report.errors.data);
	} else {
		proxy = http_proxy_for(c, url);
		snprintf(out, size, "%s", proxy != NULL ? proxy : "none");
	}
	config_report_free(&report);
	config_unref(c);
	return out;
}

static void the_environment_is_read_as_curl_reads_it(void **state)
{
	static const char *const upper[] = {"HTTPS_PROXY=http://upper:1", "NO_PROXY=direct.example.com", NULL};
	static const char *const both[] = {"HTTPS_PROXY=http://upper:1", "https_proxy=http://lower:1", "NO_PROXY=*",
	                                   "no_proxy=other.org", NULL};
	static const char *const empty[] = {"HTTPS_PROXY=", "https_proxy=", NULL};
	static const char *const wrong[] = {"https_proxy=socks4://user:secret@h:1", NULL};
	char out[512];

	(void)state;
	assert_string_equal(proxy_of(upper, "https://a.example.com/", out, sizeof out), "http://upper:1");
	assert_string_equal(proxy_of(upper, "https://direct.example.com/", out, sizeof out), "none");
	assert_string_equal(proxy_of(both, "https://a.example.com/", out, sizeof out), "http://lower:1");
	assert_string_equal(proxy_of(empty, "https://a.example.com/", out, sizeof out), "none");
	proxy_of(wrong, "https://a.example.com/", out, sizeof out);
	assert_non_null(strstr(out, "https_proxy"));
	assert_null(strstr(out, "secret"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_internet_is_behind_the_proxy),
		cmocka_unit_test(exceptions_are_direct),
		cmocka_unit_test(the_environment_is_read_as_curl_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
