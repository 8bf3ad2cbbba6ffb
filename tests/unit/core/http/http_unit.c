/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP transfers against a server that misbehaves in every way we know of: all by libcurl, and all that can be without
 * it. */
#include "config.h"

#include "core/http/http_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "tests/unit/support/bad_server.h"
#include "tests/unit/support/fake_names.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct rig {
	struct event_base *base;
	struct resolver *resolver;
	struct http *http;
	struct bad_server server;
	int descriptors;
	bool plain;
};

/* What one transfer met. */
struct met {
	struct rig *r;
	struct http_transfer *t;
	int done, responses;
	bool collect_error;
	struct http_result result;
	char *body; /* collected, or of the data */
	size_t len;
	size_t ended; /* of these bytes, the end of their read was told */
	int pieces, reads;
	long status;
	char type[64];
	void (*on_data)(struct met *m);
	struct met *other;
};

static bool on_response(void *arg, long status, const char *content_type)
{
	struct met *m = arg;

	m->responses++;
	m->status = status;
	assert_int_equal(m->len, 0);
	snprintf(m->type, sizeof m->type, "%s", content_type != NULL ? content_type : "");
	return !m->collect_error;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	struct met *m = arg;

	assert_int_equal(m->responses, 1);
	assert_int_equal(m->done, 0);
	assert_true(len > 0);
	m->body = realloc(m->body, m->len + len + 1);
	memcpy(m->body + m->len, bytes, len);
	m->len += len;
	m->body[m->len] = '\0';
	m->pieces++;
	if (m->on_data != NULL)
		m->on_data(m);
}

static void on_read_end(void *arg)
{
	struct met *m = arg;

	assert_int_equal(m->done, 0);
	m->reads += m->ended < m->len;
	m->ended = m->len;
}

static void on_done(void *arg, const struct http_result *r)
{
	struct met *m = arg;

	assert_int_equal(m->ended, m->len);
	m->done++;
	m->result = *r;
	m->result.body = NULL;
	if (m->body == NULL) {
		m->body = malloc(r->body_len + 1);
		memcpy(m->body, r->body, r->body_len + 1);
		m->len = r->body_len;
	}
}

static const struct http_handlers collecting = {.done = on_done};
static const struct http_handlers streaming = {
	.response = on_response, .data = on_data, .read_end = on_read_end, .done = on_done};

static int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count;
}

static int setup(void **state, bool plain)
{
	struct rig *r = calloc(1, sizeof *r);
	struct err e = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	fake_names_reset();
	r->descriptors = open_descriptors();
	r->base = event_base_new();
	r->resolver = resolver_new(r->base, &e);
	r->http = http_new(r->base, r->resolver, &e);
	assert_string_equal(e.text, "");
	r->plain = plain;
	r->http->plain_always = plain;
	r->http->plain_idle_ms = plain ? 1000 : 0;
	bad_server_start(&r->server, r->base);
	*state = r;
	return 0;
}

static int setup_curl(void **state)
{
	return setup(state, false);
}

static int setup_plain(void **state)
{
	return setup(state, true);
}

static void spin(struct rig *r, int ms)
{
	int64_t until = clock_mono_ms() + ms, left;

	/* An exit that run_until left behind may come first. */
	while ((left = until - clock_mono_ms()) > 0) {
		const struct timeval tv = {left / 1000, left % 1000 * 1000};

		event_base_loopexit(r->base, &tv);
		event_base_dispatch(r->base);
	}
}

static int teardown(void **state)
{
	struct rig *r = *state;

	http_free(r->http);
	bad_server_stop(&r->server);
	for (int i = 0; i < 200 && r->server.open > 0; i++)
		spin(r, 5);
	assert_int_equal(r->server.open, 0);
	fake_names_release();
	resolver_free(r->resolver);
	event_base_free(r->base);
	assert_int_equal(open_descriptors(), r->descriptors);
	free(r);
	return 0;
}

static void run_until(struct rig *r, const int *flag, int value)
{
	int64_t until = clock_mono_ms() + 30000;

	while (*flag < value) {
		const struct timeval step = {0, 20000};

		assert_true(clock_mono_ms() < until);
		event_base_loopexit(r->base, &step);
		event_base_loop(r->base, EVLOOP_ONCE);
	}
}

static struct http_request request(struct rig *r, const char *method, const char *path)
{
	static char urls[8][200];
	static int next;
	char *url = urls[next++ % 8];

	snprintf(url, sizeof urls[0], "http://127.0.0.1:%u%s", r->server.port, path);
	return (struct http_request){.method = method, .url = url, .connect_ms = 2000};
}

static void start(struct rig *r, struct met *m, const struct http_request *q, const struct http_handlers *h)
{
	m->r = r;
	m->t = http_start(r->http, q, h, m);
	assert_non_null(m->t);
	assert_int_equal(m->done, 0);
}

/* One GET, collected. */
static struct met get(struct rig *r, const char *path)
{
	struct met m = {.done = 0};
	struct http_request q = request(r, "GET", path);

	q.total_ms = 5000;
	start(r, &m, &q, &collecting);
	run_until(r, &m.done, 1);
	m.r = NULL;
	return m;
}

static void assert_text(const struct met *m, struct rig *r, const char *what)
{
	char expected[300];

	snprintf(expected, sizeof expected, "%s (http://127.0.0.1:%u)", what, r->server.port);
	assert_string_equal(m->result.text, expected);
}

/* The text of libcurl from 8.8 on where it has it, else the older one. */
static const char *wording(const char *text, const char *older, const char *newer)
{
	return newer != NULL && strncmp(text, newer, strlen(newer)) == 0 ? newer : older;
}

/* --- whole answers ------------------------------------------------------------------ */

static void collects_an_answer_on_a_reused_connection(void **state)
{
	struct rig *r = *state;

	for (int i = 0; i < 20; i++) {
		struct met m = get(r, "/ok");

		assert_int_equal(m.result.outcome, HTTP_DONE);
		assert_int_equal(m.result.status, 200);
		assert_string_equal(m.body, "hello");
		assert_string_equal(m.result.text, "");
		assert_int_equal(m.result.retry_after_s, -1);
		free(m.body);
	}
	assert_int_equal(r->server.connections, 1);
	assert_int_equal(http_active(r->http), 0);
}

static void streams_whatever_the_pieces(void **state)
{
	struct rig *r = *state;
	static const char *const paths[] = {"/bytes", "/interim", "/ok", "/until-close", "/trickle"};
	static const char *const bodies[] = {"hello world", "hello", "hello", "hello", "0123456789"};

	for (size_t i = 0; i < 5; i++) {
		struct met m = {.done = 0};
		struct http_request q = request(r, "GET", paths[i]);

		start(r, &m, &q, &streaming);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_DONE);
		assert_string_equal(m.body, bodies[i]);
		assert_int_equal(m.responses, 1);
		assert_int_equal(m.status, 200);
		assert_string_equal(m.type, "text/plain");
		free(m.body);
	}
}

static void sends_what_the_request_says(void **state)
{
	struct rig *r = *state;
	static const char *const extra[] = {"X-Request-Id: abc", "content-type: text/xml", NULL};
	struct http_request q = request(r, "POST", "/echo?a=b");
	char expected[500];

	q.body = "{\"a\":1}";
	q.body_len = 7;
	q.bearer = "secret";
	for (int i = 0; i < 6; i++) {
		struct met m = {.done = 0};
		const char *method = i % 3 == 0 ? "POST" : i % 3 == 1 ? "GET" : "DELETE";

		q.method = method;
		q.body = i % 3 == 0 ? "{\"a\":1}" : NULL;
		q.bearer = i < 4 ? "secret" : NULL;
		q.headers = i == 3 ? extra : NULL;
		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		snprintf(expected, sizeof expected,
		         "%s /echo?a=b HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAccept: */*\r\n%s%s%s%s%s", method,
		         r->server.port, i == 3 ? "X-Request-Id: abc\r\ncontent-type: text/xml\r\n" : "",
		         i < 4 ? "Authorization: Bearer secret\r\n" : "",
		         i == 0 ? "Content-Type: application/json\r\nUser-Agent: tt-agent/" PACKAGE_VERSION "\r\n"
		                : "User-Agent: tt-agent/" PACKAGE_VERSION "\r\n",
		         i % 3 == 0 ? "Content-Length: 7\r\n\r\n" : "\r\n", i % 3 == 0 ? "{\"a\":1}" : "");
		assert_string_equal(m.body, expected);
		free(m.body);
	}
	assert_int_equal(r->server.connections, r->plain ? 2 : 1); /* with headers of its own, it is curl's */
}

/* The same first line and Host, whoever sends it. */
static void writes_a_url_as_curl_does(void **state)
{
	static const struct {
		const char *path, *line, *newer;
	} cases[] = {
		{"/echo/a/../b/./c", "GET /echo/b/c HTTP/1.1", NULL},
		{"/echo/\xc3\xa4%20%2f?\xc3\xb6=%zz&b#c", "GET /echo/%c3%a4%20%2f?\xc3\xb6=%zz&b HTTP/1.1", NULL},
		{"/echo?", "GET /echo? HTTP/1.1", "GET /echo HTTP/1.1"},
		{"/echo//x", "GET /echo//x HTTP/1.1", NULL},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct met m = get(r, cases[i].path);

		assert_int_equal(m.result.outcome, HTTP_DONE);
		m.body[strcspn(m.body, "\r")] = '\0';
		assert_string_equal(m.body, wording(m.body, cases[i].line, cases[i].newer));
		free(m.body);
	}
}

static void sends_a_body_of_a_megabyte(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "POST", "/echo");
	struct met m = {.done = 0};
	char *body = malloc(1500000);

	for (size_t i = 0; i < 1500000; i++)
		body[i] = bad_server_pattern(i);
	q.body = body;
	q.body_len = 1500000;
	q.collect_limit = 2000000;
	start(r, &m, &q, &collecting);
	memset(body, 0, 1500000); /* it was copied */
	free(body);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_DONE);
	for (size_t i = 0; i < 1500000; i++)
		assert_int_equal(m.body[m.len - 1500000 + i], bad_server_pattern(i));
	assert_null(strstr(m.body, "Expect"));
	free(m.body);
}

static void reports_status_and_when_to_retry(void **state)
{
	struct rig *r = *state;
	struct met m = get(r, "/status/503?key=hidden");

	assert_int_equal(m.result.outcome, HTTP_DONE);
	assert_int_equal(m.result.status, 503);
	assert_int_equal(m.result.retry_after_s, 7);
	assert_string_equal(m.body, "{\"e\":\"x\"}");
	assert_text(&m, r, "HTTP 503");
	free(m.body);
	m = get(r, "/date");
	assert_int_equal(m.result.status, 429);
	assert_in_range(m.result.retry_after_s, 57, 60);
	free(m.body);
}

static void collects_the_start_of_an_error(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/large-error");
	struct met m = {.collect_error = true};

	start(r, &m, &q, &streaming);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_DONE);
	assert_int_equal(m.status, 500);
	assert_int_equal(m.len, 16384);
	free(m.body);
}

static void limits_what_it_collects(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/flood/100000");
	struct met m = {.done = 0};

	q.collect_limit = 50000;
	start(r, &m, &q, &collecting);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_TOO_LARGE);
	assert_text(&m, r, "the response is larger than 50000 bytes");
	free(m.body);
}

/* --- everything that goes wrong ------------------------------------------------------- */

static void names_each_failure(void **state)
{
	static const struct {
		const char *path;
		enum http_outcome outcome;
		long status;
		const char *text, *newer;
	} cases[] = {
		{"/close", HTTP_RESET, 0, "Empty reply from server", NULL},
		{"/reset", HTTP_RESET, 0, "Recv failure: Connection reset by peer", NULL},
		{"/cut", HTTP_CUT, 200, "transfer closed with 95 bytes remaining to read",
	         "end of response with 95 bytes missing"},
		{"/cut-chunked", HTTP_CUT, 200, "transfer closed with outstanding read data remaining", NULL},
		{"/reset-chunked", HTTP_CUT, 200, "Recv failure: Connection reset by peer", NULL},
		{"/garbage", HTTP_FAILED, 0, "Received HTTP/0.9 when not allowed", NULL},
		{"/many-headers", HTTP_FAILED, 0, "the response's headers are larger than 64 KiB", NULL},
		{"/huge-header", HTTP_FAILED, 0, NULL, NULL},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct met m = get(r, cases[i].path);

		assert_int_equal(m.result.outcome, cases[i].outcome);
		assert_int_equal(m.result.status, cases[i].status);
		assert_false(m.result.reused);
		if (cases[i].text != NULL)
			assert_text(&m, r, wording(m.result.text, cases[i].text, cases[i].newer));
		free(m.body);
	}
}

static void reports_invalid_urls(void **state)
{
	static const struct {
		const char *url;
		enum http_outcome outcome;
		const char *text, *newer;
	} cases[] = {
		{"", HTTP_BAD_URL, "the URL is not usable: Bad scheme ()",
	         "the URL is not usable: Malformed input to a URL function ()"},
		{"http://", HTTP_BAD_URL, "the URL is not usable: No host part in the URL (http://)", NULL},
		{"ftp://x/", HTTP_BAD_URL, "the URL is not usable: Unsupported URL scheme (ftp://x)", NULL},
		{"file:///etc/passwd", HTTP_BAD_URL, "the URL is not usable: Unsupported URL scheme (file://)", NULL},
		{"http://user:pass@gone.test/a?b", HTTP_NO_HOST,
	         "the name 'gone.test' cannot be looked up: Name or service not known (http://gone.test)", NULL},
		{"http://127.0.0.1:1/", HTTP_REFUSED, "Connection refused (http://127.0.0.1:1)", NULL},
		{"http://[::1]:1/", HTTP_REFUSED, "Connection refused (http://[::1]:1)", NULL},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct met m = {.done = 0};
		struct http_request q = {.method = "GET", .url = cases[i].url, .connect_ms = 1000};

		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, cases[i].outcome);
		assert_string_equal(m.result.text, wording(m.result.text, cases[i].text, cases[i].newer));
		free(m.body);
	}
}

/* No further file descriptor can be opened; returns the previous limit. */
static struct rlimit take_descriptors(void)
{
	struct rlimit was, none;
	int fd = dup(0);

	getrlimit(RLIMIT_NOFILE, &was);
	none = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = was.rlim_max};
	close(fd);
	setrlimit(RLIMIT_NOFILE, &none);
	return was;
}

static void our_own_exhaustion_is_not_a_refusal(void **state)
{
	static const char *const urls[] = {"http://127.0.0.1:1/", "http://one.test:1/", "http://gone.test:1/"};
	struct rig *r = *state;

	log_set_level(LOG_CRITICAL_);
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		struct http_request q = {.method = "GET", .url = urls[i], .connect_ms = 1000};
		struct rlimit was = take_descriptors();
		struct met m = {.done = 0};

		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		setrlimit(RLIMIT_NOFILE, &was);
		assert_int_equal(m.result.outcome, HTTP_NO_RESOURCES);
		assert_non_null(strstr(m.result.text, "raise LimitNOFILE= of its unit, or ulimit -n (http://"));
		free(m.body);
	}
	log_set_level(LOG_INFO_);
	free(get(r, "/ok").body);
}

/* The last ones are for files. */
static void leaves_some_file_descriptors(void **state)
{
	struct rig *r = *state;
	struct rlimit was = take_descriptors(), few = was;
	struct met m = {.done = 0};
	struct http_request q = {.method = "GET", .url = "http://127.0.0.1:1/", .connect_ms = 1000};
	struct rlimit none;

	getrlimit(RLIMIT_NOFILE, &none);
	few.rlim_cur = none.rlim_cur + 1;
	setrlimit(RLIMIT_NOFILE, &few);
	log_set_level(LOG_CRITICAL_);
	start(r, &m, &q, &collecting);
	run_until(r, &m.done, 1);
	log_set_level(LOG_INFO_);
	setrlimit(RLIMIT_NOFILE, &was);
	assert_int_equal(m.result.outcome, HTTP_NO_RESOURCES);
	free(m.body);
}

/* The handles and their headers are reused: with labels, others, none, and others besides headers of its own. */
static void labels_belong_to_one_request(void **state)
{
	static const char *const one[] = {"X-Request-Id: 1", "traceparent: a", NULL},
				 *const two[] = {"X-Request-Id: 2", NULL}, *const own[] = {"X-Own: 3", NULL};
	static const struct {
		const char *const *labels, *const *headers;
	} rounds[] = {{one, NULL}, {two, NULL}, {NULL, NULL}, {NULL, NULL}, {two, own}, {one, NULL}, {NULL, own}};
	struct rig *r = *state;

	for (size_t i = 0; i < 2 * sizeof rounds / sizeof rounds[0]; i++) {
		const size_t n = i % (sizeof rounds / sizeof rounds[0]);
		const char *const *labels = rounds[n].labels;
		struct http_request q = request(r, "GET", "/echo");
		struct met m = {.done = 0};

		q.bearer = "token";
		q.labels = labels;
		q.headers = rounds[n].headers;
		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_DONE);
		assert_non_null(strstr(m.body, "Authorization: Bearer token"));
		assert_int_equal(strstr(m.body, "X-Request-Id: 1") != NULL, labels == one);
		assert_int_equal(strstr(m.body, "traceparent: a") != NULL, labels == one);
		assert_int_equal(strstr(m.body, "X-Request-Id: 2") != NULL, labels == two);
		assert_int_equal(strstr(m.body, "X-Own: 3") != NULL, rounds[n].headers == own);
		free(m.body);
	}
}

static void refuses_header_injection(void **state)
{
	struct rig *r = *state;
	static const char *const evil[] = {"X-A: b\r\nX-C: d", NULL}, *const nothing[] = {"nothing", NULL};
	struct http_request q = request(r, "GET", "/echo");

	for (int i = 0; i < 4; i++) {
		struct met m = {.done = 0};

		q.headers = i == 0 ? evil : i == 1 ? nothing : NULL;
		q.labels = i == 3 ? evil : NULL;
		q.bearer = i == 2 ? "a\r\nX-C: d" : NULL;
		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_FAILED);
		assert_null(strstr(m.result.text, "X-C"));
		free(m.body);
	}
	assert_int_equal(r->server.connections, 0);
}

static void no_tls_where_there_is_none(void **state)
{
	struct rig *r = *state;
	struct met m = {.done = 0};
	char url[100];
	struct http_request q = {.method = "GET", .url = url, .connect_ms = 1000};

	snprintf(url, sizeof url, "https://127.0.0.1:%u/garbage", r->server.port);
	start(r, &m, &q, &collecting);
	run_until(r, &m.done, 1);
	assert_true(m.result.outcome == HTTP_TLS || m.result.outcome == HTTP_CONNECT_TIMEOUT);
	free(m.body);
	m = (struct met){.done = 0};
	q.ca_file = "/nonexistent/ca.pem";
	start(r, &m, &q, &collecting);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_TLS);
	free(m.body);
}

/* --- time ----------------------------------------------------------------------------- */

static void ends_at_the_deadline(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/trickle");
	struct met m = {.done = 0};

	q.total_ms = 70;
	start(r, &m, &q, &streaming);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_TIMEOUT);
	assert_in_range(m.result.elapsed_ms, 70, 9000);
	assert_text(&m, r, "no whole response within 70 ms");
	run_until(r, &r->server.lost, 1);
	free(m.body);
}

static void ends_after_silence_only(void **state)
{
	struct rig *r = *state;
	static const char *const paths[] = {"/stall", "/stall-body", "/trickle"};

	for (int i = 0; i < 3; i++) {
		struct http_request q = request(r, "GET", paths[i]);
		struct met m = {.done = 0};

		q.silence_ms = i == 2 ? 500 : 100;
		start(r, &m, &q, &streaming);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, i == 2 ? HTTP_DONE : HTTP_SILENCE);
		assert_in_range(m.result.elapsed_ms, 100, 9000);
		if (i < 2)
			assert_text(&m, r, "nothing came for 100 ms");
		free(m.body);
	}
	run_until(r, &r->server.lost, 2);
}

static void progress_each_time(struct met *m)
{
	http_progress(m->t, 400);
}
static void progress_once(struct met *m)
{
	if (m->len == 1)
		http_progress(m->t, 60);
}
static void progress_and_pause(struct met *m)
{
	progress_once(m);
	http_pause(m->t);
	m->responses = 2;
}

/* The server goes on sending, but makes no progress. */
static void only_progress_counts_after_the_first(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/trickle");
	struct met m = {.on_data = progress_each_time}, n = {.on_data = progress_once};

	q.silence_ms = 5000;
	q.once = true;
	start(r, &m, &q, &streaming);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_DONE);
	start(r, &n, &q, &streaming);
	run_until(r, &n.done, 1);
	assert_int_equal(n.result.outcome, HTTP_SILENCE);
	assert_in_range(n.len, 1, 9);
	assert_text(&n, r, "nothing more came for 60 ms");
	free(m.body);
	free(n.body);
}

static void the_clock_of_progress_stops_in_a_pause(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/trickle");
	struct met m = {.on_data = progress_and_pause};

	start(r, &m, &q, &streaming);
	run_until(r, &m.responses, 2);
	spin(r, 500);
	assert_int_equal(m.done, 0);
	m.on_data = NULL;
	m.responses = 1;
	http_resume(m.t); /* what waits comes at once, all of it */
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_DONE);
	free(m.body);
}

/* A listener whose queue is full lets further connections wait. */
static void ends_when_no_connection_comes(void **state)
{
	struct rig *r = *state;
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof sa;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fill[4];
	struct met m = {.done = 0}, n = {.done = 0};
	char url[100], expected[200];
	struct http_request q = {.method = "GET", .url = url, .connect_ms = 120};
	int before;

	bind(listener, (struct sockaddr *)&sa, sizeof sa);
	listen(listener, 0);
	getsockname(listener, (struct sockaddr *)&sa, &len);
	for (int i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fill[i], (struct sockaddr *)&sa, sizeof sa);
	}
	snprintf(url, sizeof url, "http://127.0.0.1:%u/", ntohs(sa.sin_port));
	start(r, &m, &q, &collecting);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_CONNECT_TIMEOUT);
	snprintf(expected, sizeof expected, "no connection within 120 ms (http://127.0.0.1:%u)", ntohs(sa.sin_port));
	assert_string_equal(m.result.text, expected);
	free(m.body);
	/* cancelled meanwhile */
	before = open_descriptors();
	start(r, &n, &q, &collecting);
	spin(r, 20);
	assert_int_equal(open_descriptors(), before + 1);
	http_cancel(n.t);
	assert_int_equal(open_descriptors(), before);
	spin(r, 150);
	assert_int_equal(n.done, 0);
	for (int i = 0; i < 4; i++)
		close(fill[i]);
	close(listener);
}

static void our_own_stall_is_nobodys_fault(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/trickle");
	struct met m = {.done = 0};

	q.silence_ms = 1000;
	q.total_ms = 2400;
	start(r, &m, &q, &streaming);
	spin(r, 30);
	usleep(2800000);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_DONE);
	assert_string_equal(m.body, "0123456789");
	free(m.body);
}

/* --- names ---------------------------------------------------------------------------- */

static void resolves_names_once(void **state)
{
	struct rig *r = *state;
	char url[100], resolve[100];
	struct http_request q = {.method = "GET", .url = url, .connect_ms = 1000};

	snprintf(url, sizeof url, "http://one.test:%u/ok", r->server.port);
	for (int i = 0; i < 3; i++) {
		struct met m = {.done = 0};

		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_DONE);
		free(m.body);
	}
	assert_int_equal(fake_names_asked("one.test"), 1);
	/* addresses that the caller brings, and that change */
	snprintf(url, sizeof url, "http://model.test:%u/ok", r->server.port);
	q.resolve = resolve;
	for (int i = 0; i < 6; i++) {
		struct met m = {.done = 0};

		snprintf(resolve, sizeof resolve, "model.test:%u:127.0.0.%d", r->server.port, i % 3 == 1 ? 66 : 1);
		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		free(m.body);
	}
	snprintf(resolve, sizeof resolve, "model.test:%u", r->server.port);
	{
		struct met m = {.done = 0};

		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_FAILED);
		free(m.body);
	}
	/* one that does not fit the URL: nothing is looked up behind our back */
	snprintf(url, sizeof url, "http://other.test:%u/ok", r->server.port);
	snprintf(resolve, sizeof resolve, "model.test:%u:127.0.0.1", r->server.port);
	{
		struct met m = {.done = 0};

		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_NO_HOST);
		free(m.body);
	}
}

static void a_cancelled_transfer_leaves_the_cache_alone(void **state)
{
	struct rig *r = *state;
	char url[100], resolve[100];
	struct http_request q = {.method = "GET", .url = url, .resolve = resolve, .connect_ms = 1000};
	struct met m = {.done = 0}, n = {.done = 0};

	snprintf(url, sizeof url, "http://model.test:%u/ok", r->server.port);
	snprintf(resolve, sizeof resolve, "model.test:%u:127.0.0.1", r->server.port);
	start(r, &m, &q, &collecting);
	http_cancel(m.t);
	start(r, &n, &q, &collecting);
	run_until(r, &n.done, 1);
	assert_int_equal(n.result.outcome, HTTP_DONE);
	assert_int_equal(m.done, 0);
	free(n.body);
}

static void waits_for_a_name_no_longer_than_for_a_connection(void **state)
{
	struct rig *r = *state;
	struct http_request q = {.method = "GET", .url = "http://slow.test:1/", .connect_ms = 60};
	struct met m = {.done = 0}, n = {.done = 0};

	start(r, &n, &q, &collecting);
	http_cancel(n.t); /* during the lookup */
	start(r, &m, &q, &collecting);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_NO_HOST);
	assert_string_equal(m.result.text, "the name was not looked up within 60 ms (http://slow.test:1)");
	assert_int_equal(n.done, 0);
	free(m.body);
}

/* --- idle connections ----------------------------------------------------------------- */

static void meets_no_closed_connection(void **state)
{
	struct rig *r = *state;

	/* Each answer's connection is closed by the server; the next request may find it so
	 * only after it was sent. */
	for (int i = 0; i < 50; i++) {
		struct http_request q = request(r, "POST", "/once");
		struct met m = {.done = 0};

		q.body = "{}";
		q.body_len = 2;
		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_DONE);
		assert_string_equal(m.body, "hello");
		free(m.body);
	}
}

static void closes_idle_connections(void **state)
{
	struct rig *r = *state;
	struct met m = get(r, "/ok");
	int64_t began = clock_mono_ms();

	free(m.body);
	while (r->server.lost == 0 && clock_mono_ms() < began + 6000)
		spin(r, 50);
	assert_int_equal(r->server.lost, 1);
	m = get(r, "/ok");
	assert_int_equal(m.result.outcome, HTTP_DONE);
	free(m.body);
}

/* A request of this length; whether it was answered with "hello". */
static bool posts(struct rig *r, const char *path, size_t len, struct met *m)
{
	struct http_request q = request(r, "POST", path);
	char *body = malloc(len);

	for (size_t i = 0; i < len; i++)
		body[i] = bad_server_pattern(i);
	q.body = body;
	q.body_len = len;
	q.silence_ms = 20000;
	*m = (struct met){.done = 0};
	start(r, m, &q, &streaming);
	free(body);
	run_until(r, &m->done, 1);
	return m->result.outcome == HTTP_DONE && strcmp(m->body, "hello") == 0;
}

static const size_t body_lengths[] = {7, 900000}; /* less and more than a socket takes at once */

/* The server closed it when the next request was on its way: that one is sent again, whole. */
static void sends_again_what_a_reused_connection_lost(void **state)
{
	static const char *const paths[] = {"/second/close", "/second/reset", "/second/half-close",
	                                    "/second/early-close", "/second/early-reset"};
	struct rig *r = *state;
	struct met m;

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		for (size_t j = 0; j < 2; j++) {
			int connections = r->server.connections;

			if (!r->plain && i + j > 0) /* libcurl does so five times in the life of a handle */
				continue;
			for (int n = 0; n < 4; n++) {
				if (!posts(r, paths[i], body_lengths[j], &m))
					fail_msg("%s: %s", paths[i], m.result.text);
				assert_int_equal(m.responses, 1);
				free(m.body);
			}
			assert_true(r->server.connections >= connections + 3);
			bad_server_leave(&r->server, LEAVES_CLOSING);
			spin(r, 10);
		}
}

/* What a server has begun to answer is not sent twice. */
static void sends_nothing_again_that_was_answered(void **state)
{
	static const char *const paths[] = {"/second/cut", "/second/cut-reset"};
	struct rig *r = *state;
	struct met m;

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		int requests = r->server.requests;

		assert_true(posts(r, paths[i], 7, &m));
		free(m.body);
		assert_false(posts(r, paths[i], 7, &m));
		assert_int_equal(m.result.outcome, HTTP_CUT);
		assert_string_equal(m.body, "hello");
		assert_int_equal(r->server.requests, requests + 2);
		free(m.body);
	}
}

/* A new connection that is closed is not tried again. */
static void sends_nothing_again_that_a_new_connection_lost(void **state)
{
	static const char *const paths[] = {"/close", "/reset"};
	struct rig *r = *state;
	struct met m;

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		int requests = r->server.requests;

		assert_false(posts(r, paths[i], 7, &m));
		assert_int_equal(m.result.outcome, HTTP_RESET);
		assert_int_equal(r->server.requests, requests + 1);
		free(m.body);
	}
}

/* The server leaves while nothing is on the connection: just before a request, when the loop has not told of it yet,
 * or after one that it has. */
static void meets_no_connection_that_closed_while_idle(void **state)
{
	struct rig *r = *state;
	struct met m;

	r->http->plain_idle_ms = r->plain ? 60000 : 0;
	for (int round = 0; round < 12; round++) {
		const enum bad_server_leaves how = (enum bad_server_leaves)(round % 3);
		const bool noticed = round >= 6;
		int requests = r->server.requests;

		assert_true(posts(r, "/ok", 7, &m));
		free(m.body);
		bad_server_leave(&r->server, how);
		if (noticed) {
			spin(r, 10);
			assert_int_equal(r->http->plain_idle_count, 0);
		}
		if (!posts(r, "/ok", body_lengths[round / 3 % 2], &m))
			fail_msg("round %d: %s", round, m.result.text);
		assert_int_equal(m.responses, 1);
		free(m.body);
		/* Half-closed, it has still read what was sent. */
		assert_true(r->server.requests == requests + 2 || (!noticed && how == LEAVES_HALF_CLOSED));
		bad_server_leave(&r->server, LEAVES_CLOSING);
		spin(r, 10);
	}
}

/* What was idle for long is checked before it is used, even if the loop has not told of the close yet. */
static void checks_what_was_idle_for_long(void **state)
{
	struct rig *r = *state;
	struct met m;

	if (!r->plain)
		skip();
	r->http->plain_idle_ms = 60000;
	for (int how = LEAVES_CLOSING; how <= LEAVES_HALF_CLOSED; how++) {
		int requests = r->server.requests;

		assert_true(posts(r, "/ok", 7, &m));
		free(m.body);
		spin(r, 1100);
		bad_server_leave(&r->server, (enum bad_server_leaves)how);
		assert_true(posts(r, "/ok", 7, &m));
		free(m.body);
		assert_int_equal(r->server.requests, requests + 2);
		bad_server_leave(&r->server, LEAVES_CLOSING);
		spin(r, 10);
	}
}

static void crowd(struct rig *r, struct bad_server *s, int count)
{
	struct met *m = calloc((size_t)count, sizeof *m);
	char url[100];

	snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", s->port);
	for (int i = 0; i < count; i++) {
		struct http_request q = {.method = "GET", .url = url, .connect_ms = 20000};

		start(r, &m[i], &q, &collecting);
	}
	for (int i = 0; i < count; i++) {
		run_until(r, &m[i].done, 1);
		assert_int_equal(m[i].result.outcome, HTTP_DONE);
		free(m[i].body);
	}
	free(m);
}

/* After a crowd, some connections of each server stay for the next one, and of all servers not too many. */
static void keeps_some_connections_of_each_server(void **state)
{
	enum { SERVERS = 6, CROWD = 70, EACH = 64, ALL = 256 };
	struct rig *r = *state;
	struct bad_server servers[SERVERS];
	int connections;

	if (!r->plain)
		skip();
	http_set_idle(r->http, 60000);
	for (int i = 0; i < SERVERS; i++) {
		bad_server_start(&servers[i], r->base);
		crowd(r, &servers[i], CROWD);
		assert_int_equal(r->http->plain_idle_count, (i + 1) * EACH < ALL ? (i + 1) * EACH : ALL);
	}
	connections = servers[SERVERS - 1].connections;
	crowd(r, &servers[SERVERS - 1], EACH);
	assert_int_equal(servers[SERVERS - 1].connections, connections);
	http_set_idle(r->http, 50);
	while (r->http->plain_idle_count > 0)
		spin(r, 20);
	assert_true(TAILQ_EMPTY(&r->http->plain_servers));
	for (int i = 0; i < SERVERS; i++) {
		while (servers[i].open > 0)
			spin(r, 5);
		bad_server_stop(&servers[i]);
	}
}

/* --- with libcurl and without it --------------------------------------------------------- */

/* GETs of one path, each answered with "hello". */
static void get_hello(struct rig *r, const char *path, int count)
{
	for (int i = 0; i < count; i++) {
		struct http_request q = request(r, "GET", path);
		struct met m = {.done = 0};

		start(r, &m, &q, &streaming);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_DONE);
		assert_int_equal(m.responses, 1);
		assert_string_equal(m.body, "hello");
		free(m.body);
	}
}

static void leaves_curl_after_a_usual_response(void **state)
{
	struct rig *r = *state;

	r->http->plain_always = false;
	r->http->plain_idle_ms = 60000;
	get_hello(r, "/ok", 5);
	assert_int_equal(r->server.connections, 2);
	assert_int_equal(r->http->plain_idle_count, 1);
}

/* As the daemon's probes found it. */
static void needs_no_curl_where_the_server_is_known(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/ok");
	struct met m = {.done = 0};

	r->http->plain_always = false;
	r->http->plain_idle_ms = 60000;
	q.plain = true;
	start(r, &m, &q, &streaming);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_DONE);
	assert_true(m.result.plain);
	assert_string_equal(m.body, "hello");
	assert_int_equal(r->http->plain_idle_count, 1);
	free(m.body);
	get_hello(r, "/ok", 3);
	assert_int_equal(r->server.connections, 1);
}

/* What was known no longer holds: nobody is there, or answers otherwise. */
static void needs_curl_where_the_server_is_known_wrongly(void **state)
{
	struct rig *r = *state;
	char url[100];
	struct http_request encoded = request(r, "GET", "/gzip/0"),
			    gone = {.method = "GET", .url = url, .connect_ms = 2000};
	struct met m = {.done = 0};

	r->http->plain_always = false;
	r->http->plain_idle_ms = 60000;
	encoded.plain = gone.plain = true;
	start(r, &m, &encoded, &streaming);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_DONE);
	assert_false(m.result.plain);
	assert_string_equal(m.body, "hello");
	assert_int_equal(r->server.requests, 2);
	free(m.body);
	snprintf(url, sizeof url, "http://127.0.0.2:%u/ok", r->server.port);
	for (int i = 0; i < 2; i++) {
		m = (struct met){.done = 0};
		start(r, &m, &gone, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_REFUSED);
		free(m.body);
	}
}

static void leaves_curl_for_an_ipv6_address_too(void **state)
{
	struct rig *r = *state;
	struct bad_server six;
	char url[100], host[40];

	if (!bad_server_start_ipv6(&six, r->base))
		skip();
	r->http->plain_always = false;
	r->http->plain_idle_ms = 60000;
	snprintf(url, sizeof url, "http://[::1]:%u/echo", six.port);
	snprintf(host, sizeof host, "Host: [::1]:%u\r\n", six.port);
	for (int i = 0; i < 3; i++) {
		struct http_request q = {.method = "GET", .url = url, .connect_ms = 2000};
		struct met m = {.done = 0};

		start(r, &m, &q, &collecting);
		run_until(r, &m.done, 1);
		assert_int_equal(m.result.outcome, HTTP_DONE);
		assert_non_null(strstr(m.body, host));
		free(m.body);
	}
	assert_int_equal(six.connections, 2);
	http_plain_prune(r->http, INT64_MAX);
	r->http->plain_idle_ms = 0;
	http_shard_prune(r->http, INT64_MAX);
	for (int i = 0; i < 200 && six.open > 0; i++)
		spin(r, 5);
	bad_server_stop(&six);
}

static void what_is_encoded_stays_with_curl(void **state)
{
	struct rig *r = *state;

	r->http->plain_always = false;
	r->http->plain_idle_ms = 60000;
	get_hello(r, "/gzip/0", 5);
	assert_int_equal(r->server.connections, 1);
	assert_int_equal(r->server.requests, 5);
}

static void goes_back_to_curl_for_an_encoded_response(void **state)
{
	struct rig *r = *state;

	r->http->plain_always = false;
	r->http->plain_idle_ms = 60000;
	get_hello(r, "/gzip/3", 6);
	assert_int_equal(r->server.requests, 7); /* one of them twice */
	assert_int_equal(r->http->plain_idle_count, 0);
}

static void goes_back_to_curl_where_nobody_listens(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/once");
	struct met m = {.done = 0};

	r->http->plain_always = false;
	r->http->plain_idle_ms = 60000;
	get_hello(r, "/once", 2);
	bad_server_stop(&r->server);
	start(r, &m, &q, &collecting);
	run_until(r, &m.done, 1);
	assert_int_equal(m.result.outcome, HTTP_REFUSED);
	assert_text(&m, r, "Connection refused");
	free(m.body);
}

/* --- pausing and fairness ------------------------------------------------------------- */

static void assert_pattern(const struct met *m, size_t len)
{
	assert_int_equal(m->len, len);
	for (size_t i = 0; i < len; i++)
		if (m->body[i] != bad_server_pattern(i))
			fail_msg("byte %zu is wrong", i);
}

static void pause_each_time(struct met *m)
{
	http_pause(m->t);
	m->responses = 2; /* so that on_data fails when it is called while paused */
}

/* at_once: it goes on before the loop has met that it is paused. */
static void pause_and_resume(struct rig *r, const char *path, bool at_once)
{
	struct http_request q = request(r, "GET", path);
	struct met m = {.on_data = pause_each_time};
	int64_t until = clock_mono_ms() + 30000;

	q.silence_ms = 300;
	start(r, &m, &q, &streaming);
	while (m.done == 0) {
		event_base_loop(r->base, EVLOOP_NONBLOCK);
		if (m.responses == 2) {
			size_t before = m.len;

			if (!at_once)
				event_base_loop(r->base, EVLOOP_NONBLOCK);
			if (m.done > 0)
				break;
			m.responses = 1;
			http_resume(m.t);
			assert_int_equal(m.len, before); /* not from within */
		}
		assert_true(clock_mono_ms() < until);
	}
	assert_int_equal(m.result.outcome, HTTP_DONE);
	assert_pattern(&m, 300000);
	free(m.body);
}

static void loses_nothing_by_pausing(void **state)
{
	static const char *const paths[] = {"/flood/300000", "/flood/300000/500"};

	for (int i = 0; i < 4; i++)
		pause_and_resume(*state, paths[i / 2], i % 2 == 0);
}

static void tells_once_what_one_read_brought(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/flood/300000/500");
	struct met m = {.done = 0};

	start(r, &m, &q, &streaming);
	run_until(r, &m.done, 1);
	assert_pattern(&m, 300000);
	assert_true(m.reads > 0);
	assert_true(r->plain ? m.reads < m.pieces / 10 : m.reads == m.pieces);
	free(m.body);
}

static void the_clock_of_silence_stops_in_a_pause(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/flood/3000000");
	struct met m = {.on_data = pause_each_time};
	size_t before;

	q.silence_ms = 200;
	start(r, &m, &q, &streaming);
	run_until(r, &m.responses, 2);
	before = m.len;
	spin(r, 450);
	assert_int_equal(m.done, 0);
	assert_int_equal(m.len, before);
	assert_true(m.len < 100000);
	m.on_data = NULL;
	m.responses = 1;
	http_resume(m.t);
	run_until(r, &m.done, 1);
	assert_pattern(&m, 3000000);
	free(m.body);
}

static void a_flood_takes_only_its_share(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/flood/20000000");
	struct met m = {.done = 0};
	size_t worst = 0;

	start(r, &m, &q, &streaming);
	while (m.done == 0) {
		size_t before = m.len;

		event_base_loop(r->base, EVLOOP_ONCE);
		if (m.len - before > worst)
			worst = m.len - before;
	}
	assert_true(worst <= HTTP_SLICE + (16u << 10));
	assert_pattern(&m, 20000000);
	free(m.body);
}

/* --- cancelling ----------------------------------------------------------------------- */

static void cancel_self(struct met *m)
{
	http_cancel(m->t);
}

static void cancel_other(struct met *m)
{
	if (m->other != NULL)
		http_cancel(m->other->t);
	m->other = NULL;
}

static void closes_at_once(void **state)
{
	struct rig *r = *state;
	static const char *const paths[] = {"/stall", "/stall-body", "/flood/10000000"};
	int descriptors;

	for (int i = 0; i < 3; i++) {
		struct met m = {.done = 0};
		struct http_request q = request(r, "GET", paths[i]);

		start(r, &m, &q, &streaming);
		run_until(r, &r->server.requests, i + 1);
		spin(r, 5);
		descriptors = open_descriptors();
		http_cancel(m.t);
		assert_int_equal(open_descriptors(), descriptors - 1);
		run_until(r, &r->server.lost, i + 1);
		assert_int_equal(m.done, 0);
		free(m.body);
	}
	assert_int_equal(http_active(r->http), 0);
}

static void drain_self(struct met *m)
{
	http_drain(m->t);
}

static void hands_over_what_has_arrived_before_it_is_cancelled(void **state)
{
	struct rig *r = *state;
	static const char *const paths[] = {"/flood/300000/500", "/flood/10000000", "/stall-body", "/stall"};
	struct http_request whole = request(r, "GET", "/flood/300000");
	struct met all = {.on_data = drain_self}; /* from within it does nothing */

	for (int i = 0; i < 4; i++) {
		struct met m = {.on_data = i < 2 ? pause_each_time : NULL};
		struct http_request q = request(r, "GET", paths[i]);
		size_t before;

		start(r, &m, &q, &streaming);
		run_until(r, &r->server.requests, i + 1);
		spin(r, 5);
		m.on_data = NULL;
		m.responses = m.responses > 0;
		before = m.len;
		http_drain(m.t);
		if (i < 2 && r->plain)
			assert_true(m.len > before);
		else
			assert_int_equal(m.len, before);
		if (i < 2)
			assert_pattern(&m, m.len);
		http_cancel(m.t);
		run_until(r, &r->server.lost, i + 1);
		assert_int_equal(m.done, 0);
		free(m.body);
	}
	start(r, &all, &whole, &streaming);
	run_until(r, &all.done, 1);
	assert_pattern(&all, 300000);
	free(all.body);
}

static void closes_from_within_callbacks(void **state)
{
	struct rig *r = *state;
	struct http_request flood = request(r, "GET", "/flood/10000000"), stall = request(r, "GET", "/stall-body");
	struct met a = {.on_data = cancel_self}, b = {.done = 0}, c = {.on_data = cancel_other, .other = &b};

	start(r, &a, &flood, &streaming);
	run_until(r, &r->server.lost, 1);
	assert_int_equal(a.done, 0);
	assert_true(a.len <= 16384);
	start(r, &b, &stall, &streaming);
	run_until(r, &b.responses, 1);
	start(r, &c, &flood, &streaming);
	run_until(r, &r->server.lost, 2);
	assert_int_equal(b.done, 0);
	http_cancel(c.t);
	assert_int_equal(http_active(r->http), 0);
	free(a.body);
	free(b.body);
	free(c.body);
}

static void on_done_start_again(void *arg, const struct http_result *result);
static const struct http_handlers again = {.done = on_done_start_again};

static void on_done_start_again(void *arg, const struct http_result *result)
{
	struct met *m = arg;
	struct http_request q = request(m->r, "GET", "/ok");
	struct http_transfer *own = m->t;

	assert_int_equal(result->outcome, HTTP_DONE);
	if (++m->done < 100)
		m->t = http_start(m->r->http, &q, &again, m);
	http_cancel(own); /* does nothing: it is over */
}

static void start_other(struct met *m)
{
	struct http_request q = request(m->r, "GET", "/ok");

	if (m->other != NULL)
		start(m->r, m->other, &q, &collecting);
	m->other = NULL;
}

static void starts_from_within_callbacks(void **state)
{
	struct rig *r = *state;
	struct http_request q = request(r, "GET", "/ok"), bytes = request(r, "GET", "/bytes");
	struct met m = {.r = r}, b = {.done = 0}, c = {.on_data = start_other, .other = &b};

	start(r, &m, &q, &again);
	run_until(r, &m.done, 100);
	assert_int_equal(r->server.connections, 1);
	start(r, &c, &bytes, &streaming);
	run_until(r, &c.done, 1);
	run_until(r, &b.done, 1);
	assert_string_equal(b.body, "hello");
	free(b.body);
	free(c.body);
}

static void freed_in_every_state(void **state)
{
	struct rig *r = *state;
	static const char *const paths[] = {"/stall", "/stall-body", "/flood/10000000", "/ok", "/bytes"};
	struct met m[50] = {{.done = 0}};
	struct http_request slow = {.method = "GET", .url = "http://slow.test:1/", .connect_ms = 1000};
	struct http_request bad = {.method = "GET", .url = "nothing:", .connect_ms = 1000};
	struct err e = ERR_INIT;

	for (int i = 0; i < 40; i++) {
		struct http_request q = request(r, "GET", paths[i % 5]);

		if (i % 7 == 0)
			m[i].on_data = pause_each_time;
		start(r, &m[i], &q, &streaming);
	}
	start(r, &m[40], &slow, &collecting);
	spin(r, 20);
	start(r, &m[41], &bad, &collecting);
	for (int i = 42; i < 50; i++) {
		struct http_request q = request(r, "GET", "/ok");

		start(r, &m[i], &q, &collecting);
	}
	http_free(r->http);
	for (int i = 42; i < 50; i++)
		assert_int_equal(m[i].done, 0);
	for (int i = 0; i < 50; i++)
		free(m[i].body);
	r->http = http_new(r->base, r->resolver, &e);
}

/* Many at once, more than one multi handle takes, each with its own end. */
static void many_at_once(void **state)
{
	struct rig *r = *state;
	static const char *const paths[] = {"/ok", "/bytes", "/cut", "/reset", "/flood/50000", "/status/404"};
	static const enum http_outcome ends[] = {HTTP_DONE, HTTP_DONE, HTTP_CUT, HTTP_RESET, HTTP_DONE, HTTP_DONE};
	enum { MANY = 700 };
	struct rlimit files;
	struct met *m = calloc(MANY, sizeof *m);
	int64_t until = clock_mono_ms() + 30000;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
	setrlimit(RLIMIT_NOFILE, &files);
	for (int i = 0; i < MANY; i++) {
		struct http_request q = request(r, "GET", paths[i % 6]);

		start(r, &m[i], &q, &streaming);
	}
	assert_int_equal(http_active(r->http), MANY);
	for (int i = 0; i < MANY; i += 10)
		http_cancel(m[i].t);
	while (http_active(r->http) > 0) {
		assert_true(clock_mono_ms() < until);
		spin(r, 5);
	}
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(m[i].done, i % 10 == 0 ? 0 : 1);
		if (i % 10 != 0)
			assert_int_equal(m[i].result.outcome, ends[i % 6]);
		if (i % 10 != 0 && i % 6 == 4)
			assert_pattern(&m[i], 50000);
		free(m[i].body);
	}
	free(m);
}

#define T(f)                                                                                                           \
	{"curl: " #f, f, setup_curl, teardown, NULL},                                                                  \
	{                                                                                                              \
		"plain: " #f, f, setup_plain, teardown, NULL                                                           \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(collects_an_answer_on_a_reused_connection),
		T(streams_whatever_the_pieces),
		T(sends_what_the_request_says),
		T(writes_a_url_as_curl_does),
		T(sends_a_body_of_a_megabyte),
		T(reports_status_and_when_to_retry),
		T(collects_the_start_of_an_error),
		T(limits_what_it_collects),
		T(names_each_failure),
		T(reports_invalid_urls),
		T(our_own_exhaustion_is_not_a_refusal),
		T(leaves_some_file_descriptors),
		T(labels_belong_to_one_request),
		T(refuses_header_injection),
		T(no_tls_where_there_is_none),
		T(ends_at_the_deadline),
		T(ends_after_silence_only),
		T(only_progress_counts_after_the_first),
		T(the_clock_of_progress_stops_in_a_pause),
		T(ends_when_no_connection_comes),
		T(our_own_stall_is_nobodys_fault),
		T(resolves_names_once),
		T(a_cancelled_transfer_leaves_the_cache_alone),
		T(waits_for_a_name_no_longer_than_for_a_connection),
		T(meets_no_closed_connection),
		T(closes_idle_connections),
		T(sends_again_what_a_reused_connection_lost),
		T(sends_nothing_again_that_was_answered),
		T(sends_nothing_again_that_a_new_connection_lost),
		T(meets_no_connection_that_closed_while_idle),
		T(checks_what_was_idle_for_long),
		T(keeps_some_connections_of_each_server),
		T(leaves_curl_after_a_usual_response),
		T(needs_no_curl_where_the_server_is_known),
		T(needs_curl_where_the_server_is_known_wrongly),
		T(leaves_curl_for_an_ipv6_address_too),
		T(what_is_encoded_stays_with_curl),
		T(goes_back_to_curl_for_an_encoded_response),
		T(goes_back_to_curl_where_nobody_listens),
		T(loses_nothing_by_pausing),
		T(tells_once_what_one_read_brought),
		T(the_clock_of_silence_stops_in_a_pause),
		T(a_flood_takes_only_its_share),
		T(closes_at_once),
		T(hands_over_what_has_arrived_before_it_is_cancelled),
		T(closes_from_within_callbacks),
		T(starts_from_within_callbacks),
		T(freed_in_every_state),
		T(many_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
