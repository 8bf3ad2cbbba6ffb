/* SPDX-License-Identifier: Apache-2.0 */
/* A request is answered completely, or its connection is closed and the owner notified; nothing hangs: not
 * where the n-th allocation fails, for every n (libfcgi's own are left out, as it does not check them), nor
 * where the peer leaves with its request. */
#include "fcgi/connection_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "tests/unit/support/short_memory.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define DEADLINE_MS 30000
#define HEAD        "Content-Type: text/plain\r\n\r\n"
#define BODY        100000u /* more than one read returns, so that it is collected */

static struct event_base *base;

struct world {
	struct connections *set;
	int accepted, closed, owned, notified; /* notified: owners whose response has ended */
	bool too_large;                        /* the last request */
	bool stalls;                           /* it gets no answer */
	size_t boundary;                       /* it gets so many bytes and a boundary; the test writes the rest */
	struct output *out;                    /* ... here */
};

struct peer {
	int fd;
	struct buf in;  /* not a whole record yet */
	struct buf out; /* of the answer */
	bool ended, closed;
};

/* --- the responder's side ------------------------------------------------------------------------- */

static void on_resume(void *arg)
{
	(void)arg;
}

static void on_owner_closed(void *arg)
{
	((struct world *)arg)->notified++;
}

static const char long_text[100] = {'x'};

/* The answer is the body, and a chunk of its own at the end. */
static void on_request(void *arg, struct connection *c)
{
	static const struct connection_owner owner = {.resume = on_resume, .closed = on_owner_closed};
	static const char head[] = HEAD;
	struct world *w = arg;
	size_t len;
	const char *body = connection_body(c, &len);
	struct output *o = connection_output(c);

	assert_string_equal(connection_params(c)->method, "POST");
	w->too_large = connection_body_too_large(c);
	connection_own(c, &owner, w);
	w->owned++;
	if (w->stalls)
		return;
	connection_head(c, 200, head, sizeof head - 1);
	if (w->boundary > 0) {
		for (size_t at = 0; at < w->boundary; at += 100)
			output_write(o, long_text, w->boundary - at < 100 ? w->boundary - at : 100);
		output_flush_boundary(o);
		w->out = o;
		return;
	}
	for (size_t at = 0; at < len; at += 5000)
		output_write(o, body + at, len - at < 5000 ? len - at : 5000);
	output_flush_boundary(o);
	output_write(o, "the end", 7);
	output_flush_boundary(o);
	output_end(o);
	w->notified++;
}

static void on_closed(void *arg)
{
	((struct world *)arg)->closed++;
}

static void on_idle(void *arg)
{
	(void)arg;
}

/* --- the web server's side -------------------------------------------------------------- */

static void put_record(struct buf *out, uint8_t type, const void *content, size_t len)
{
	const uint8_t head[8] = {1, type, 0, 1, (uint8_t)(len >> 8), (uint8_t)len, 0, 0};

	buf_add(out, head, sizeof head);
	buf_add(out, content, len);
}

static void fill(char *body, size_t len)
{
	for (size_t i = 0; i < len; i++)
		body[i] = (char)('a' + (i + i / 251) % 26);
}

static struct buf make_request(size_t body_len)
{
	static const uint8_t begin[8] = {0, 1, 1}; /* responder, kept */
	static const char params[] = "\x0e\x04REQUEST_METHODPOST";
	struct buf out = BUF_INIT(1u << 20);
	char *body = calloc(1, body_len + 1);

	fill(body, body_len);
	put_record(&out, 1, begin, sizeof begin);
	put_record(&out, 4, params, sizeof params - 1);
	put_record(&out, 4, "", 0);
	for (size_t at = 0; at < body_len; at += 30000)
		put_record(&out, 5, body + at, body_len - at < 30000 ? body_len - at : 30000);
	put_record(&out, 5, "", 0);
	free(body);
	return out;
}

static void take_records(struct peer *p)
{
	while (p->in.len >= 8) {
		const uint8_t *r = (const uint8_t *)p->in.data;
		size_t content = (size_t)(r[4] << 8 | r[5]), len = 8 + content + r[6];

		if (p->in.len < len)
			return;
		assert_int_equal(len % 8, 0);
		if (r[1] == 6)
			buf_add(&p->out, p->in.data + 8, content);
		p->ended |= r[1] == 3;
		buf_consume(&p->in, len);
	}
}

static void read_on(struct peer *p)
{
	char bytes[16384];
	ssize_t n;

	short_memory_lift();
	while ((n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
		buf_add(&p->in, bytes, (size_t)n);
		take_records(p);
	}
	short_memory_impose();
	p->closed |= n == 0 || (n < 0 && errno != EAGAIN);
}

static void turn_loop(struct world *w)
{
	const struct timeval step = {0, 1000};

	short_memory_lift(); /* the timer is the test's */
	event_base_loopexit(base, &step);
	short_memory_impose();
	event_base_loop(base, EVLOOP_ONCE);
	connections_flush(w->set);
}

static void check_answer(const struct peer *p, size_t body_len)
{
	const size_t head = strlen(HEAD);
	char *body;

	short_memory_lift();
	body = malloc(body_len + 1);
	short_memory_impose();
	fill(body, body_len);
	assert_int_equal(p->out.len, head + body_len + strlen("the end"));
	assert_memory_equal(p->out.data, HEAD, head);
	assert_memory_equal(p->out.data + head, body, body_len);
	assert_memory_equal(p->out.data + head + body_len, "the end", strlen("the end"));
	free(body);
}

/* Whether there was a whole answer. */
static bool get_answer(struct world *w, struct peer *p, size_t body_len, size_t piece)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	struct buf request;
	size_t sent = 0;

	short_memory_lift();
	request = make_request(body_len);
	short_memory_impose();
	buf_reset(&p->out);
	p->ended = false;
	while (!p->ended && !p->closed) {
		size_t left = request.len - sent;
		ssize_t n = left > 0 ? send(p->fd, request.data + sent, left < piece ? left : piece, MSG_DONTWAIT) : 0;

		sent += n > 0 ? (size_t)n : 0;
		turn_loop(w);
		read_on(p);
		if (clock_mono_ms() > until)
			fail_msg("a request hangs");
	}
	buf_free(&request);
	if (p->ended)
		check_answer(p, w->too_large ? 0 : body_len);
	return p->ended && !p->closed;
}

static void answer_requests(void)
{
	struct world w = {.set = NULL};
	const struct connections_host host = {.request = on_request, .closed = on_closed, .idle = on_idle, .arg = &w};
	struct err e = ERR_INIT;
	struct peer p;
	int fds[2];

	w.set = connections_new(base, &host, &e);
	assert_true(w.set != NULL || err_is_set(&e));
	if (w.set == NULL)
		return;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p = (struct peer){.fd = fds[1], .in = BUF_INIT(1u << 20), .out = BUF_INIT(1u << 20)};
	w.accepted++;
	connections_add(w.set, fds[0], false);
	if (get_answer(&w, &p, 10, SIZE_MAX) && get_answer(&w, &p, 20, 7))
		get_answer(&w, &p, BODY, SIZE_MAX);
	assert_true((!p.closed && !w.too_large) || short_memory_was_short());
	connections_free(w.set);
	assert_int_equal(w.closed, w.accepted);
	assert_int_equal(w.notified, w.owned);
	buf_free(&p.in);
	buf_free(&p.out);
	close(p.fd);
}

static void answers_completely_or_closes(void **state)
{
	(void)state;
	short_memory_sweep(answer_requests);
}

/* Records of each length, in short and in long buffers, one after the other and full. */
static void writes_each_byte_once(void **state)
{
	static const size_t around[] = {450, 8184 - (sizeof HEAD - 1), 8184, 2 * 8184};
	struct world w = {.set = NULL};
	const struct connections_host host = {.request = on_request, .closed = on_closed, .idle = on_idle, .arg = &w};
	struct peer p = {.in = BUF_INIT(1u << 20), .out = BUF_INIT(1u << 20)};
	struct err e = ERR_INIT;
	int fds[2];

	(void)state;
	w.set = connections_new(base, &host, &e);
	assert_non_null(w.set);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p.fd = fds[1];
	connections_add(w.set, fds[0], false);
	for (size_t i = 0; i < sizeof around / sizeof around[0]; i++)
		for (size_t len = around[i] - 40; len < around[i] + 40; len++)
			assert_true(get_answer(&w, &p, len, SIZE_MAX));
	connections_free(w.set);
	buf_free(&p.in);
	buf_free(&p.out);
	close(p.fd);
}

/* Both may have arrived before the loop sees either. */
static void notices_a_peer_that_left_with_its_request(void **state)
{
	static const struct {
		size_t body_len;
		size_t split; /* where a piece ends that is read alone */
		bool earlier; /* the connection served another request */
		bool unseen;  /* it left before the connection was accepted */
	} cases[] = {
		{10, 0, false, false},     {10, 0, true, false},   {10, 7, false, false},
		{10, 7, true, false},      {BODY, 0, true, false}, {BODY, 7, true, false},
		{BODY, BODY, true, false}, {10, 0, false, true},   {BODY, 0, false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct world w = {.set = NULL};
		const struct connections_host host = {
			.request = on_request, .closed = on_closed, .idle = on_idle, .arg = &w};
		struct buf request = make_request(cases[i].body_len);
		struct peer p = {.in = BUF_INIT(1u << 20), .out = BUF_INIT(1u << 20)};
		int64_t until = clock_mono_ms() + DEADLINE_MS;
		struct err e = ERR_INIT;
		int fds[2];

		w.set = connections_new(base, &host, &e);
		assert_non_null(w.set);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		p.fd = fds[1];
		if (!cases[i].unseen)
			connections_add(w.set, fds[0], false);
		if (cases[i].earlier)
			assert_true(get_answer(&w, &p, 20, SIZE_MAX));
		w.stalls = true;
		assert_int_equal(send(p.fd, request.data, cases[i].split, 0), cases[i].split);
		turn_loop(&w);
		turn_loop(&w);
		assert_int_equal(send(p.fd, request.data + cases[i].split, request.len - cases[i].split, 0),
		                 request.len - cases[i].split);
		close(p.fd);
		if (cases[i].unseen)
			connections_add(w.set, fds[0], true);
		while (w.closed == 0 && clock_mono_ms() < until)
			turn_loop(&w);
		if (w.closed == 0)
			fail_msg("case %zu: its connection stays", i);
		assert_int_equal(w.notified, w.owned);
		connections_free(w.set);
		buf_free(&request);
		buf_free(&p.in);
		buf_free(&p.out);
	}
}

/* --- flush boundaries ------------------------------------------------------------------- */

static size_t unread(const struct peer *p)
{
	int n = 0;

	assert_int_equal(ioctl(p->fd, FIONREAD, &n), 0);
	return (size_t)n;
}

/* Whether it came to a file descriptor, which ends it. */
static void read_once(struct peer *p, bool *ended)
{
	char bytes[65536];
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(p->fd, &message, MSG_DONTWAIT);
	int fd;

	assert_true(n > 0);
	*ended = CMSG_FIRSTHDR(&message) != NULL;
	if (*ended) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
		close(fd);
	}
	buf_add(&p->in, bytes, (size_t)n);
	take_records(p);
}

/* The web server reads before the responder writes what follows the boundary, or only then. */
static void ends_a_read_at_a_boundary(void **state)
{
	static const struct {
		size_t before;
		bool reads_late;
		int sndbuf; /* 0: the system's */
	} cases[] = {
		{10, false, 0},  {10, true, 0},    {2000, false, 0}, {2000, true, 0}, {3900, true, 0},
		{4000, true, 0}, {9000, false, 0}, {9000, true, 0},  {10, false, 1},  {10, true, 1},
		{700, true, 1},  {1000, true, 1},  {1500, true, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct world w = {.boundary = cases[i].before};
		const struct connections_host host = {
			.request = on_request, .closed = on_closed, .idle = on_idle, .arg = &w};
		struct buf request = make_request(10);
		struct peer p = {.in = BUF_INIT(1u << 20), .out = BUF_INIT(1u << 20)};
		int64_t until = clock_mono_ms() + DEADLINE_MS;
		struct err e = ERR_INIT;
		bool ended = false;
		size_t before;
		int fds[2];

		w.set = connections_new(base, &host, &e);
		assert_non_null(w.set);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		if (cases[i].sndbuf != 0)
			setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &cases[i].sndbuf, sizeof cases[i].sndbuf);
		p.fd = fds[1];
		connections_add(w.set, fds[0], false);
		assert_int_equal(send(p.fd, request.data, request.len, 0), request.len);
		while (w.out == NULL || unread(&p) == 0)
			turn_loop(&w);
		for (int n = 0; n < 3; n++)
			turn_loop(&w);
		while (!cases[i].reads_late && unread(&p) > 0)
			read_once(&p, &ended);
		before = unread(&p);
		output_write(w.out, "the end", 7);
		output_end(w.out);
		w.notified++;
		connections_flush(w.set);
		if (cases[i].reads_late)
			assert_int_equal(unread(&p), before);
		else
			assert_true(unread(&p) > 0); /* at once */
		while (!p.ended) {
			while (!ended && unread(&p) > 0)
				read_once(&p, &ended);
			assert_true(ended || p.out.len <= strlen(HEAD) + cases[i].before);
			turn_loop(&w);
			if (ended)
				read_on(&p);
			if (clock_mono_ms() > until)
				fail_msg("case %zu: its answer stays", i);
		}
		assert_int_equal(p.out.len, strlen(HEAD) + cases[i].before + strlen("the end"));
		connections_free(w.set);
		assert_int_equal(w.notified, w.owned);
		buf_free(&request);
		buf_free(&p.in);
		buf_free(&p.out);
		close(p.fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_completely_or_closes),
		cmocka_unit_test(writes_each_byte_once),
		cmocka_unit_test(notices_a_peer_that_left_with_its_request),
		cmocka_unit_test(ends_a_read_at_a_boundary),
	};
	struct err e = ERR_INIT;
	int failed;

	log_open("connection_unit", LOG_TO_STDERR, LOG_CRITICAL_);
	if (fcgi_request_library_init(&e) < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return failed;
}
