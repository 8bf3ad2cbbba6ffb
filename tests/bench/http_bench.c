/* SPDX-License-Identifier: Apache-2.0 */
/* What an HTTP transfer costs, against a server of its own that does next to nothing.
 *
 *   http_bench [posts|streams|idle] [COUNT]
 *
 * posts    small POSTs on kept connections, 32 at a time
 * streams  256 streams of SSE events at full speed, one and 20 events a write
 * idle     memory of COUNT streams that say something once a second */
#include "core/http/http.h"

#include "core/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE 32
#define STREAMS 256
#define EVENTS  2000 /* of a stream */
#define FDS_MAX 65536

static const char event_text[] =
	"data: {\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":"
	"1795370000,\"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	"\" world\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":42,\"total_tokens\":49,"
	"\"completion_tokens\":7}}\n\n";

/* --- the server: a process of its own -------------------------------------------------- */

struct peer {
	size_t left;   /* events still to be sent */
	size_t offset; /* of the piece that is being sent */
	int batch;
};

static char piece[32768];
static size_t piece_len[21];

static void make_pieces(void)
{
	char one[600];
	int len = snprintf(one, sizeof one, "%zx\r\n%s\r\n", sizeof event_text - 1, event_text);

	for (int i = 0; i < 20; i++)
		memcpy(piece + i * len, one, (size_t)len);
	for (int i = 0; i <= 20; i++)
		piece_len[i] = (size_t)(i * len);
}

static void send_events(int ep, int fd, struct peer *p)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	while (p->left > 0) {
		ssize_t n = send(fd, piece + p->offset, piece_len[p->batch] - p->offset, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			ev.events = EPOLLIN | EPOLLOUT;
			epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
			return;
		}
		if (n < 0)
			return;
		p->offset += (size_t)n;
		if (p->offset == piece_len[p->batch]) {
			p->offset = 0;
			p->left -= (size_t)p->batch;
		}
		if (p->batch == 1 && p->left % 16 == 0)
			break; /* others shall have their turn */
	}
	ev.events = p->left > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN;
	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
	if (p->left == 0 && send(fd, "0\r\n\r\n", 5, MSG_NOSIGNAL) < 0)
		return;
}

static void answer(int ep, int fd, struct peer *p)
{
	static const char small[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
		"14\r\ndata: {\"a\":\"hello\"}\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
	static const char head[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
	char in[4096];
	ssize_t n = recv(fd, in, sizeof in - 1, 0);

	if (n <= 0) {
		close(fd);
		return;
	}
	in[n] = '\0';
	if (strncmp(in, "POST /small", 11) == 0) {
		if (send(fd, small, sizeof small - 1, MSG_NOSIGNAL) < 0)
			close(fd);
		return;
	}
	if (send(fd, head, sizeof head - 1, MSG_NOSIGNAL) < 0)
		return;
	if (strncmp(in, "POST /idle", 10) == 0) {
		if (send(fd, piece, piece_len[1], MSG_NOSIGNAL) < 0)
			close(fd);
		return;
	}
	*p = (struct peer){.left = EVENTS, .batch = strncmp(in, "POST /one", 9) == 0 ? 1 : 20};
	send_events(ep, fd, p);
}

static void serve(int listener)
{
	static struct peer peers[FDS_MAX];
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = listener}, events[512];
	int ep = epoll_create1(0), ready;

	make_pieces();
	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
	while ((ready = epoll_wait(ep, events, 512, -1)) >= 0 || errno == EINTR) {
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.fd;

			if (fd == listener) {
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0 && fd < FDS_MAX) {
					ev.data.fd = fd;
					epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
				}
			} else if (events[i].events & EPOLLIN) {
				answer(ep, fd, &peers[fd]);
			} else if (events[i].events & EPOLLOUT) {
				send_events(ep, fd, &peers[fd]);
			}
		}
	}
}

static uint16_t start_server(pid_t *pid)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof sa;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (bind(listener, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(listener, 4096) < 0)
		exit(1);
	getsockname(listener, (struct sockaddr *)&sa, &len);
	*pid = fork();
	if (*pid == 0) {
		serve(listener);
		_exit(0);
	}
	close(listener);
	return ntohs(sa.sin_port);
}

/* --- the client ------------------------------------------------------------------------- */

struct cooldown {
	struct event_base *base;
	struct http *http;
	struct http_request request;
	long left, running, failed;
	size_t bytes;
};

static void begin(struct cooldown *b);

static bool on_response(void *arg, long status, const char *type)
{
	(void)arg;
	(void)type;
	return status == 200;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	struct cooldown *b = arg;

	(void)bytes;
	b->bytes += len;
}

static void on_done(void *arg, const struct http_result *r)
{
	struct cooldown *b = arg;

	if (r->outcome != HTTP_DONE)
		b->failed++;
	b->running--;
	if (b->left > 0)
		begin(b);
	else if (b->running == 0)
		event_base_loopbreak(b->base);
}

static void begin(struct cooldown *b)
{
	static const struct http_handlers handlers = {.response = on_response, .data = on_data, .done = on_done};

	b->left--;
	b->running++;
	if (http_start(b->http, &b->request, &handlers, b) == NULL)
		exit(1);
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void run(struct cooldown *b, const char *what, long count, int at_once, double units)
{
	int64_t began = clock_mono_ns();
	double cpu = cpu_seconds(), wall;

	b->left = count;
	b->failed = 0;
	for (int i = 0; i < at_once; i++)
		begin(b);
	event_base_dispatch(b->base);
	cpu = cpu_seconds() - cpu;
	wall = (double)(clock_mono_ns() - began) / 1e9;
	printf("%-28s %9.0f /s  %7.2f us of processor each  %ld failed\n", what, units / wall, cpu * 1e6 / units,
	       b->failed);
}

static long resident_kib(void)
{
	long pages = 0, ignored;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%ld %ld", &ignored, &pages) != 2)
		pages = 0;
	if (f != NULL)
		fclose(f);
	return pages * 4;
}

static void on_enough(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static void run_idle(struct cooldown *b, long count)
{
	const struct timeval enough = {3, 0};
	long before = resident_kib();

	b->left = count;
	for (long i = 0; i < count; i++)
		begin(b);
	event_base_once(b->base, -1, EV_TIMEOUT, on_enough, b->base, &enough);
	event_base_dispatch(b->base);
	printf("%ld streams: %.1f KiB each, %zu bytes came\n", count, (double)(resident_kib() - before) / (double)count,
	       b->bytes);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "posts";
	struct rlimit files = {FDS_MAX, FDS_MAX};
	struct err e = ERR_INIT;
	struct cooldown b = {.left = 0};
	char url[100], body[300];
	pid_t server;
	uint16_t port;
	struct resolver *resolver;

	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &files);
	port = start_server(&server);
	b.base = event_base_new();
	resolver = resolver_new(b.base, &e);
	b.http = http_new(b.base, resolver, &e);
	memset(body, 'x', sizeof body);
	b.request = (struct http_request){.method = "POST", .url = url, .body = body, .body_len = sizeof body};
	b.request.bearer = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0ZWFtX2lkIjoidGVuc3RvcnJlbnQifQ.LZeuFMVFzgxD91sDR7";
	b.request.connect_ms = 10000;
	b.request.silence_ms = 300000;
	if (strcmp(what, "posts") == 0) {
		snprintf(url, sizeof url, "http://127.0.0.1:%u/small", port);
		run(&b, "small POSTs", argc > 2 ? atol(argv[2]) : 100000, AT_ONCE, argc > 2 ? atof(argv[2]) : 100000);
	} else if (strcmp(what, "streams") == 0) {
		snprintf(url, sizeof url, "http://127.0.0.1:%u/one", port);
		run(&b, "events, one a write", STREAMS, STREAMS, (double)STREAMS * EVENTS);
		snprintf(url, sizeof url, "http://127.0.0.1:%u/twenty", port);
		run(&b, "events, twenty a write", 4L * STREAMS, STREAMS, 4.0 * STREAMS * EVENTS);
	} else {
		snprintf(url, sizeof url, "http://127.0.0.1:%u/idle", port);
		run_idle(&b, argc > 2 ? atol(argv[2]) : 5000);
	}
	http_free(b.http);
	resolver_free(resolver);
	event_base_free(b.base);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return b.failed == 0 ? 0 : 1;
}
