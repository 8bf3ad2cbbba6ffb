/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/bad_server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
	TAILQ_ENTRY(client) link;
	struct bad_server *server;
	struct bufferevent *bev;
	struct event *tick;
	const char *drip; /* what is still to be sent byte by byte */
	bool close_when_written, reset;
	size_t flood, flooded, chunk;
	int requests;
};

char bad_server_pattern(size_t i)
{
	return (char)('a' + i * 7 % 26 + (i >> 12) % 3);
}

static void client_free(struct client *c)
{
	if (c->reset) {
		struct linger l = {.l_onoff = 1, .l_linger = 0};

		setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &l, sizeof l);
	}
	if (c->tick != NULL)
		event_free(c->tick);
	c->server->open--;
	TAILQ_REMOVE(&c->server->clients, c, link);
	bufferevent_free(c->bev);
	free(c);
}

static void put(struct client *c, const char *text)
{
	evbuffer_add(bufferevent_get_output(c->bev), text, strlen(text));
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	(void)what;
	if (*c->drip == '\0') {
		event_del(c->tick);
		return;
	}
	evbuffer_add(bufferevent_get_output(c->bev), c->drip++, 1);
}

static void drip(struct client *c, const char *text, int usec)
{
	const struct timeval tv = {0, usec};

	c->drip = text;
	c->tick = event_new(c->server->base, -1, EV_PERSIST, on_tick, c);
	event_add(c->tick, &tv);
}

static void flood_chunk(struct client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	char chunk[8192];
	size_t n = c->flood - c->flooded;

	if (n > c->chunk)
		n = c->chunk;
	for (size_t i = 0; i < n; i++)
		chunk[i] = bad_server_pattern(c->flooded + i);
	evbuffer_add_printf(out, "%zx\r\n", n);
	evbuffer_add(out, chunk, n);
	put(c, "\r\n");
	c->flooded += n;
}

static void flood_more(struct client *c)
{
	const size_t at_once = c->chunk < 8192 ? 131072 : 8192; /* small ones fill more than one read */

	for (size_t n = 0; n < at_once && c->flooded < c->flood; n += c->chunk)
		flood_chunk(c);
	if (c->flooded == c->flood) {
		put(c, "0\r\n\r\n");
		c->flood = 0;
	}
}

#define OK_HEAD      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define CHUNKED_HEAD OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"

static void answer_status(struct client *c, int status)
{
	char text[200];

	snprintf(text, sizeof text,
	         "HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\n"
	         "{\"e\":\"x\"}",
	         status);
	put(c, text);
}

static void answer_date(struct client *c)
{
	char text[100];
	time_t at = time(NULL) + 60;
	struct tm tm;

	strftime(text, sizeof text, "retry-after:  %a, %d %b %Y %H:%M:%S GMT \r\n", gmtime_r(&at, &tm));
	put(c, "HTTP/1.1 429 Slow down\r\nContent-Length: 0\r\n");
	put(c, text);
	put(c, "\r\n");
}

static void answer_headers(struct client *c, int count, size_t len)
{
	char *value = calloc(1, len + 1);

	memset(value, 'x', len);
	put(c, OK_HEAD "Content-Length: 0\r\n");
	for (int i = 0; i < count; i++) {
		put(c, "X-Header: ");
		put(c, value);
		put(c, "\r\n");
	}
	put(c, "\r\n");
	free(value);
}

static void answer_echo(struct client *c, const char *head, const char *body, size_t body_len)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	evbuffer_add_printf(out, OK_HEAD "Content-Length: %zu\r\n\r\n%s", strlen(head) + body_len, head);
	evbuffer_add(out, body, body_len);
}

/* "hello", as it is, but compressed from that request on. */
static void answer_gzip(struct client *c, int from)
{
	static const unsigned char packed[] = {0x1f, 0x8b, 0x08, 0,    0,    0,    0,    0, 0,
	                                       0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0, 0x86,
	                                       0xa6, 0x10, 0x36, 0x05, 0,    0,    0};

	if (c->server->requests < from) {
		put(c, OK_HEAD "Content-Length: 5\r\n\r\nhello");
		return;
	}
	put(c, OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 25\r\n\r\n");
	evbuffer_add(bufferevent_get_output(c->bev), packed, sizeof packed);
}

/* The first request of a connection is answered; c->requests counts this one. */
static void answer_second(struct client *c, const char *how)
{
	const bool cut = strncmp(how, "cut", 3) == 0;

	if (c->requests == 1) {
		put(c, OK_HEAD "Content-Length: 5\r\n\r\nhello");
	} else if (strcmp(how, "half-close") == 0) {
		shutdown(bufferevent_getfd(c->bev), SHUT_WR);
	} else {
		put(c, cut ? OK_HEAD "Content-Length: 100\r\n\r\nhello" : "");
		c->close_when_written = true;
		c->reset = strstr(how, "reset") != NULL;
	}
}

static void answer(struct client *c, const char *path, const char *head, const char *body, size_t body_len)
{
	static const struct {
		const char *path, *text;
		bool close, reset;
	} fixed[] = {
		{"/ok", OK_HEAD "Content-Length: 5\r\n\r\nhello", false, false},
		{"/once", OK_HEAD "Content-Length: 5\r\n\r\nhello", true, false},
		{"/close", "", true, false},
		{"/reset", "", true, true},
		{"/stall", "", false, false},
		{"/stall-body", CHUNKED_HEAD "5\r\nhello\r\n", false, false},
		{"/cut", OK_HEAD "Content-Length: 100\r\n\r\nhello", true, false},
		{"/cut-chunked", CHUNKED_HEAD "5\r\nhello\r\n", true, false},
		{"/reset-chunked", CHUNKED_HEAD "5\r\nhello\r\n", true, true},
		{"/until-close", OK_HEAD "\r\nhello", true, false},
		{"/garbage", "this is not HTTP\n\n", true, false},
		{"/interim",
	         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\n" OK_HEAD
	         "Content-Length: 5\r\n\r\nhello",
	         false, false},
	};

	for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
		if (strcmp(path, fixed[i].path) != 0)
			continue;
		put(c, fixed[i].text);
		c->close_when_written = fixed[i].close;
		c->reset = fixed[i].reset;
		return;
	}
	if (strncmp(path, "/gzip/", 6) == 0) {
		answer_gzip(c, (int)strtol(path + 6, NULL, 10));
	} else if (strncmp(path, "/second/", 8) == 0) {
		answer_second(c, path + 8);
	} else if (strcmp(path, "/echo") == 0 || strncmp(path, "/echo/", 6) == 0) {
		answer_echo(c, head, body, body_len);
	} else if (strncmp(path, "/status/", 8) == 0) {
		answer_status(c, (int)strtol(path + 8, NULL, 10));
	} else if (strcmp(path, "/date") == 0) {
		answer_date(c);
	} else if (strcmp(path, "/bytes") == 0) {
		drip(c, CHUNKED_HEAD "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", 100);
	} else if (strcmp(path, "/trickle") == 0) {
		put(c, OK_HEAD "Content-Length: 10\r\n\r\n");
		drip(c, "0123456789", 20000);
	} else if (strcmp(path, "/huge-header") == 0) {
		answer_headers(c, 1, 200u << 10);
	} else if (strcmp(path, "/many-headers") == 0) {
		answer_headers(c, 20000, 10);
	} else if (strcmp(path, "/large-error") == 0) {
		put(c, "HTTP/1.1 500 No\r\nContent-Length: 102400\r\n\r\n");
		for (int i = 0; i < 1024; i++)
			put(c,
			    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789");
	} else if (strncmp(path, "/flood/", 7) == 0) {
		char *end;

		put(c, CHUNKED_HEAD);
		c->flood = strtoul(path + 7, &end, 10);
		c->chunk = *end == '/' ? strtoul(end + 1, NULL, 10) : 8192;
		c->flooded = 0;
		flood_more(c);
	}
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	size_t body_len = 0, head_len;
	char *head, *path, *length;

	if (end.pos < 0)
		return;
	head_len = (size_t)end.pos + 4;
	head = calloc(1, head_len + 1);
	evbuffer_copyout(in, head, head_len);
	length = strcasestr(head, "\r\nContent-Length: ");
	if (length != NULL)
		body_len = strtoul(length + 18, NULL, 10);
	if (c->requests == 1 && strstr(head, "/second/early-") != NULL) {
		c->reset = strstr(head, "/second/early-reset") != NULL;
		free(head);
		client_free(c);
		return;
	}
	if (evbuffer_get_length(in) < head_len + body_len) {
		free(head);
		return;
	}
	path = strdup(strchr(head, ' ') + 1);
	path[strcspn(path, " ?")] = '\0';
	c->server->requests++;
	c->requests++;
	answer(c, path, head, (const char *)evbuffer_pullup(in, (ssize_t)(head_len + body_len)) + head_len, body_len);
	evbuffer_drain(in, head_len + body_len);
	free(path);
	free(head);
	if (c->close_when_written && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client_free(c);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	(void)bev;
	if (c->flood > c->flooded)
		flood_more(c);
	else if (c->close_when_written)
		client_free(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	(void)bev;
	(void)what;
	c->server->lost++;
	client_free(c);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct bad_server *s = arg;
	struct client *c = calloc(1, sizeof *c);

	(void)l;
	(void)sa;
	(void)len;
	s->connections++;
	s->open++;
	c->server = s;
	TAILQ_INSERT_TAIL(&s->clients, c, link);
	c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	bufferevent_set_max_single_write(c->bev, 1 << 20);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

static void listen_at(struct bad_server *s, struct event_base *base, struct sockaddr *address, socklen_t len)
{
	*s = (struct bad_server){.base = base};
	TAILQ_INIT(&s->clients);
	s->listener = evconnlistener_new_bind(base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 1024,
	                                      address, (int)len);
	if (s->listener != NULL)
		getsockname(evconnlistener_get_fd(s->listener), address, &len);
}

void bad_server_start(struct bad_server *s, struct event_base *base)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

	listen_at(s, base, (struct sockaddr *)&sa, sizeof sa);
	s->port = ntohs(sa.sin_port);
}

bool bad_server_start_ipv6(struct bad_server *s, struct event_base *base)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	listen_at(s, base, (struct sockaddr *)&sa, sizeof sa);
	s->port = ntohs(sa.sin6_port);
	return s->listener != NULL;
}

void bad_server_stop(struct bad_server *s)
{
	if (s->listener != NULL)
		evconnlistener_free(s->listener);
	s->listener = NULL;
}

void bad_server_leave(struct bad_server *s, enum bad_server_leaves how)
{
	struct client *c, *next;

	for (c = TAILQ_FIRST(&s->clients); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		c->reset = how == LEAVES_RESETTING;
		if (how == LEAVES_HALF_CLOSED)
			shutdown(bufferevent_getfd(c->bev), SHUT_WR);
		else
			client_free(c);
	}
}
