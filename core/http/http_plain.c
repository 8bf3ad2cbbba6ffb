/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/clock.h"
#include "core/base/exhaustion.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Most requests go again and again to the same few LLMs over plain TCP, and what libcurl does for all
 * that could be otherwise costs more than the rest of a chat. So a request goes this way if libcurl got
 * a usual response from the same URL before, at the address that it found. Whatever is unusual after all
 * (no connection, a response that is not for us) becomes libcurl's, from its start. */

#define CONNECT_MS    250 /* then libcurl shall try, where there are several addresses */
#define IDLE_MAX      256u
#define IDLE_EACH_MAX 64u  /* of one server: after a crowd, the next one finds these */
#define CHECK_FROM_MS 1000 /* idle for so long, it is checked once more before it is used */

/* A server with connections. */
struct plain_server {
	TAILQ_ENTRY(plain_server) link;
	struct plain_address address;
	struct plain_list idle; /* the one that was used last comes first */
	size_t idle_count;
	size_t users; /* its connections, and whoever looks for one */
};

/* A connection. */
struct plain {
	TAILQ_ENTRY(plain) link;      /* in http.plain_idle */
	TAILQ_ENTRY(plain) with_same; /* in server->idle */
	struct http *http;
	struct plain_server *server;
	struct http_transfer *t; /* NULL: it is idle */
	struct event event;
	short armed; /* what the loop watches */
	int fd;
	bool connecting;
	bool reused; /* it served another request before */
	size_t sent; /* of the transfer's head and body */
	int64_t idle_since_ms;
	struct response response;
	struct buf held; /* of the body, while the transfer is paused */
};

static void on_event(evutil_socket_t fd, short what, void *arg);

static void server_drop(struct http *h, struct plain_server *s)
{
	if (--s->users > 0)
		return;
	TAILQ_REMOVE(&h->plain_servers, s, link);
	free(s);
}

static void plain_free(struct plain *c)
{
	if (c->armed != 0)
		event_del(&c->event);
	if (c->fd >= 0)
		close(c->fd);
	buf_free(&c->held);
	server_drop(c->http, c->server);
	free(c);
}

static void watch(struct plain *c, short what)
{
	int64_t patience_ms =
		c->connecting && c->t->only_address && c->t->connect_ms > 0 ? c->t->connect_ms : CONNECT_MS;
	const struct timeval connect = {patience_ms / 1000, patience_ms % 1000 * 1000};

	if (c->armed == what)
		return;
	if (c->armed != 0)
		event_del(&c->event);
	c->armed = what;
	if (what == 0)
		return;
	event_assign(&c->event, c->http->base, c->fd, (short)(what | EV_PERSIST), on_event, c);
	event_add(&c->event, c->connecting ? &connect : NULL);
}

/* --- routes ------------------------------------------------------------------------- */

/* addresses: "HOST:PORT:A[,B...]"; NULL: the host is one. Only one IPv4 address is taken: of several, curl has to find
 * one that works. */
static void take_address(struct known_url *u, const char *addresses)
{
	struct sockaddr_in *to = &u->address.at.v4;
	const char *text = addresses != NULL ? addresses : u->host;
	size_t host_len = strlen(u->host);
	char *rest = NULL;

	u->address.len = 0;
	if (addresses != NULL) {
		if (strncmp(addresses, u->host, host_len) != 0 || addresses[host_len] != ':' ||
		    strtoul(addresses + host_len + 1, &rest, 10) != u->port || *rest != ':')
			return;
		text = rest + 1;
	}
	if (evutil_inet_pton(AF_INET, text, &to->sin_addr) != 1)
		return;
	to->sin_family = AF_INET;
	to->sin_port = htons(u->port);
	u->address.len = sizeof *to;
}

/* NULL: it is not known, and curl has to find it. */
static struct known_url *find_url(struct http *h, const struct http_request *req)
{
	struct http_transfer asking = {.http = h};
	struct known_url *u = http_url_known(h, req->url);

	if (u != NULL || !(req->plain || h->plain_always))
		return u;
	return http_url_find(&asking, req->url, false) != NULL ? http_url_known(h, req->url) : NULL;
}

const struct known_url *http_plain_route(struct http *h, const struct http_request *req)
{
	struct known_url *u;
	const char *addresses;
	uint64_t hash;

	if (h->plain_idle_ms == 0 || req->once || req->proxy != NULL || req->socket != NULL ||
	    strncmp(req->url, "http:", 5) != 0 || (req->headers != NULL && req->headers[0] != NULL) ||
	    req->body_len >= EXPECT_FROM)
		return NULL;
	u = find_url(h, req);
	if (u == NULL || u->odd || u->target == NULL)
		return NULL;
	addresses = req->resolve;
	if (addresses == NULL && !u->literal)
		addresses = resolver_cached(h->resolver, u->host, u->port);
	if (addresses == NULL && !u->literal)
		return NULL;
	hash = addresses != NULL ? http_url_hash(addresses) : 0;
	u->only_address = addresses == NULL || strchr(addresses, ',') == NULL;
	if ((req->plain || h->plain_always) && (u->addresses != hash || (u->address.len == 0 && !u->doubted))) {
		take_address(u, addresses);
		u->addresses = hash;
		u->doubted = false;
	}
	return u->address.len != 0 && u->addresses == hash ? u : NULL;
}

bool http_plain_learn(struct http_transfer *t)
{
	struct plain_address a = {.len = 0};
	struct known_url *u;
	char *ip = NULL;
	long port = 0, version = 0;

	if (t->http->plain_idle_ms == 0 || t->proxy != NULL || t->socket != NULL || strncmp(t->url, "http:", 5) != 0 ||
	    http_url_find(t, t->url, false) == NULL)
		return false;
	u = http_url_known(t->http, t->url);
	curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &version);
	if (t->odd || version != CURL_HTTP_VERSION_1_1)
		u->odd = true;
	if (u->odd || curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &ip) != CURLE_OK || ip == NULL ||
	    curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_PORT, &port) != CURLE_OK)
		return false;
	if (evutil_inet_pton(AF_INET, ip, &a.at.v4.sin_addr) == 1) {
		a.at.v4.sin_family = AF_INET;
		a.at.v4.sin_port = htons((uint16_t)port);
		a.len = sizeof a.at.v4;
	} else if (evutil_inet_pton(AF_INET6, ip, &a.at.v6.sin6_addr) == 1 &&
	           !IN6_IS_ADDR_LINKLOCAL(&a.at.v6.sin6_addr)) {
		a.at.v6.sin6_family = AF_INET6;
		a.at.v6.sin6_port = htons((uint16_t)port);
		a.len = sizeof a.at.v6;
	}
	u->address = a;
	u->addresses = t->addresses;
	u->doubted = false;
	return true;
}

/* --- connections -------------------------------------------------------------------- */

static bool is_same(const struct plain_address *a, const struct plain_address *b)
{
	if (a->len != b->len || a->at.any.sa_family != b->at.any.sa_family)
		return false;
	if (a->at.any.sa_family == AF_INET)
		return a->at.v4.sin_port == b->at.v4.sin_port && a->at.v4.sin_addr.s_addr == b->at.v4.sin_addr.s_addr;
	return a->at.v6.sin6_port == b->at.v6.sin6_port &&
	       memcmp(&a->at.v6.sin6_addr, &b->at.v6.sin6_addr, sizeof a->at.v6.sin6_addr) == 0;
}

/* Until server_drop. NULL: no memory. */
static struct plain_server *server_take(struct http *h, const struct plain_address *a)
{
	struct plain_server *s;

	TAILQ_FOREACH(s, &h->plain_servers, link)
	if (is_same(&s->address, a))
		break;
	if (s == NULL && (s = calloc(1, sizeof *s)) != NULL) {
		s->address = *a;
		TAILQ_INIT(&s->idle);
		TAILQ_INSERT_HEAD(&h->plain_servers, s, link);
	}
	if (s != NULL)
		s->users++;
	return s;
}

static void leave_idle(struct plain *c)
{
	TAILQ_REMOVE(&c->http->plain_idle, c, link);
	c->http->plain_idle_count--;
	TAILQ_REMOVE(&c->server->idle, c, with_same);
	c->server->idle_count--;
}

static void drop_idle(struct plain *c)
{
	leave_idle(c);
	plain_free(c);
}

/* The server may have closed it, and the loop has not told yet. */
static bool is_closed(const struct plain *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

static struct plain *take_idle(struct plain_server *s)
{
	const int64_t now = clock_mono_ms();
	struct plain *c;

	while ((c = TAILQ_FIRST(&s->idle)) != NULL) {
		if (now - c->idle_since_ms < CHECK_FROM_MS || !is_closed(c)) {
			leave_idle(c);
			return c;
		}
		drop_idle(c);
	}
	return NULL;
}

static struct plain *connect_to(struct http *h, struct plain_server *s)
{
	const struct plain_address *to = &s->address;
	struct plain *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->http = h;
	c->server = s;
	s->users++;
	buf_init(&c->held, SIZE_MAX);
	c->fd = socket(to->at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || exhaustion_is_reserved(c->fd)) {
		plain_free(c);
		return NULL;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){RECEIVE_BUFFER}, sizeof(int));
	c->connecting = connect(c->fd, &to->at.any, to->len) < 0;
	if (c->connecting && errno != EINPROGRESS) {
		plain_free(c);
		return NULL;
	}
	return c;
}
static void keep(struct plain *c)
{
	struct http *h = c->http;
	struct plain_server *s = c->server;

	c->t = NULL;
	c->reused = true;
	c->idle_since_ms = clock_mono_ms();
	if (TAILQ_EMPTY(&h->plain_idle))
		http_watch_consider(h, c->idle_since_ms + h->plain_idle_ms);
	TAILQ_INSERT_HEAD(&h->plain_idle, c, link);
	TAILQ_INSERT_HEAD(&s->idle, c, with_same);
	h->plain_idle_count++;
	if (++s->idle_count > IDLE_EACH_MAX)
		drop_idle(TAILQ_LAST(&s->idle, plain_list));
	else if (h->plain_idle_count > IDLE_MAX)
		drop_idle(TAILQ_LAST(&h->plain_idle, plain_list));
}

void http_plain_leave(struct http_transfer *t)
{
	struct plain *c = t->plain;

	t->plain = NULL;
	free(t->head);
	t->head = NULL;
	if (c == NULL)
		return;
	if (c->response.state == RESPONSE_WHOLE && c->response.keep_alive && t->body == NULL && c->held.len == 0 &&
	    c->armed == EV_READ)
		keep(c);
	else
		plain_free(c);
}

int64_t http_plain_prune(struct http *h, int64_t now_ms)
{
	struct plain *c;

	while ((c = TAILQ_LAST(&h->plain_idle, plain_list)) != NULL) {
		if (c->idle_since_ms + h->plain_idle_ms > now_ms)
			return c->idle_since_ms + h->plain_idle_ms;
		drop_idle(c);
	}
	return NEVER;
}

void http_set_idle(struct http *h, int64_t ms)
{
	h->plain_idle_ms = ms;
	http_watch_consider(h, clock_mono_ms()); /* what is idle for longer is closed */
}

void http_plain_forget(struct http *h)
{
	struct plain *c;

	while ((c = TAILQ_FIRST(&h->plain_idle)) != NULL)
		drop_idle(c);
	free(h->plain_buffer);
}

/* --- the request -------------------------------------------------------------------- */

static int add_texts(struct buf *to, const char *const *texts)
{
	for (; *texts != NULL; texts++)
		if (buf_adds(to, *texts) < 0)
			return -1;
	return 0;
}

static int make_head(struct http_transfer *t, const struct known_url *u)
{
	const char *const first[] = {
		t->verb, " ", u->target, " HTTP/1.1\r\nHost: ", u->authority, "\r\nAccept: */*\r\n", NULL};
	struct buf head = BUF_INIT(SIZE_MAX);
	int rc = buf_reserve(&head, 500) == NULL ? -1 : add_texts(&head, first);

	for (const struct curl_slist *l = t->labels; rc == 0 && l != NULL && l != t->headers->list; l = l->next)
		rc = add_texts(&head, (const char *const[]){l->data, "\r\n", NULL});
	if (rc == 0)
		rc = buf_adds(&head, t->headers->text);
	if (rc == 0 && (t->body != NULL || strcmp(t->verb, "POST") == 0))
		rc = buf_addf(&head, "Content-Length: %zu\r\n", t->body_len);
	if (rc == 0)
		rc = buf_adds(&head, "\r\n");
	t->head = buf_steal(&head, &t->head_len);
	if (rc == 0 && t->head != NULL)
		return 0;
	free(t->head);
	t->head = NULL;
	return -1;
}

/* -1: the connection takes no more. */
static int send_more(struct plain *c)
{
	struct http_transfer *t = c->t;
	const size_t all = t->head_len + t->body_len;

	while (c->sent < all) {
		size_t of_head = c->sent < t->head_len ? c->sent : t->head_len, of_body = c->sent - of_head;
		struct iovec parts[] = {{t->head + of_head, t->head_len - of_head}, {NULL, 0}};
		struct msghdr m = {.msg_iov = parts, .msg_iovlen = 1};
		ssize_t n;

		if (t->body != NULL)
			parts[m.msg_iovlen++] = (struct iovec){(char *)t->body + of_body, t->body_len - of_body};
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
			watch(c, EV_READ | EV_WRITE);
			return 0;
		}
		if (n < 0)
			return -1;
		c->sent += (size_t)n;
	}
	watch(c, EV_READ);
	return 0;
}

static bool on_head(void *arg)
{
	struct http_transfer *t = arg;
	struct plain *c = t->plain;

	if (c->sent == t->head_len + t->body_len) {
		free(t->head);
		free(t->body);
		t->head = NULL;
		t->body = NULL;
		c->sent = t->head_len = t->body_len = 0;
	}
	return http_receive_plain_head(t, &c->response);
}

static bool on_body(void *arg, const char *bytes, size_t len)
{
	struct http_transfer *t = arg;

	if (!t->paused && t->plain->held.len == 0)
		return http_receive_plain_body(t, bytes, len);
	t->held = true;
	if (buf_add(&t->plain->held, bytes, len) == 0)
		return true;
	http_outcome_exhausted(t, ENOMEM);
	t->has_outcome = true;
	t->outcome = HTTP_NO_RESOURCES;
	return false;
}

static const struct response_events response_events = {.head = on_head, .body = on_body};

/* -1: there is no connection. */
static int begin(struct http_transfer *t, struct plain *c)
{
	t->plain = c;
	c->t = t;
	c->sent = 0;
	response_init(&c->response, &response_events, t);
	if (!c->connecting && send_more(c) == 0)
		return 0;
	if (c->connecting)
		watch(c, EV_READ | EV_WRITE);
	else if (c->reused)
		watch(c, EV_READ); /* what happened to it is read there */
	else
		return -1;
	return 0;
}

int http_plain_start(struct http_transfer *t, const struct known_url *u)
{
	struct http *h = t->http;
	struct plain_server *s = server_take(h, &u->address);
	struct plain *c = s != NULL ? take_idle(s) : NULL;

	t->only_address = u->only_address;
	if (h->plain_buffer == NULL)
		h->plain_buffer = malloc(HTTP_SLICE);
	if (s != NULL && c == NULL)
		c = connect_to(h, s);
	if (s != NULL)
		server_drop(h, s);
	if (c == NULL || h->plain_buffer == NULL || make_head(t, u) < 0 || begin(t, c) < 0) {
		if (c != NULL)
			plain_free(c);
		free(t->head);
		t->head = NULL;
		t->plain = NULL;
		return -1;
	}
	t->state = TRANSFER_PLAIN;
	return 0;
}

/* --- the response ------------------------------------------------------------------- */

/* The end, for this module: t is gone, or curl's. */
static void end(struct http_transfer *t, enum http_outcome o)
{
	t->http->on_plain_end(t, o);
}

static void give_up(struct http_transfer *t)
{
	struct known_url *u = http_url_known(t->http, t->url);

	if (u != NULL && t->plain->response.state == RESPONSE_ODD) {
		u->odd = true;
	} else if (u != NULL && !t->http->plain_always) {
		u->address.len = 0; /* until curl finds it again */
		u->doubted = true;
	}
	t->http->on_plain_odd(t);
}

/* As a rule the server closed a connection that was idle before it saw the request. What was sent is still there, and
 * a new connection is not sent on twice. */
static void again(struct plain *c)
{
	struct http *h = c->http;
	struct http_transfer *t = c->t;
	struct plain_server *s = c->server;
	struct plain *fresh;

	s->users++;
	plain_free(c);
	fresh = connect_to(h, s);
	server_drop(h, s);
	t->plain = NULL;
	if (fresh == NULL || begin(t, fresh) < 0) {
		t->plain = fresh;
		t->http->on_plain_odd(t);
	}
}

/* The server closed the connection, or it broke (error is not 0). */
static void closed(struct plain *c, int error)
{
	struct http_transfer *t = c->t;

	if (!t->answered && c->reused) {
		again(c);
		return;
	}
	if (error == 0 && response_end(&c->response) == RESPONSE_WHOLE) {
		end(t, HTTP_DONE);
		return;
	}
	if (error != 0)
		http_outcome_error(t, "Recv failure: %s", strerror(error));
	else if (!t->answered)
		http_outcome_error(t, "Empty reply from server");
	else if (response_missing(&c->response) < 0)
		http_outcome_error(t, "transfer closed with outstanding read data remaining");
	else
		http_outcome_error(t, "transfer closed with %lld bytes remaining to read",
		                   (long long)response_missing(&c->response));
	end(t, t->status == 0 ? HTTP_RESET : HTTP_CUT);
}

/* What the response has become. */
static void follow(struct plain *c, enum response_state state)
{
	struct http_transfer *t = c->t;

	switch (state) {
	case RESPONSE_MORE:
		break;
	case RESPONSE_WHOLE:
		if (c->held.len == 0)
			end(t, HTTP_DONE);
		break;
	case RESPONSE_STOPPED:
		end(t, HTTP_DONE);
		break;
	case RESPONSE_ODD:
		give_up(t);
		break;
	case RESPONSE_TOO_LARGE:
		http_outcome_error(t, "the response's headers are larger than 64 KiB");
		end(t, HTTP_FAILED);
		break;
	case RESPONSE_BAD:
		http_outcome_error(t, "the response's body is not as HTTP/1.1 says");
		end(t, HTTP_CUT);
		break;
	}
}

static void on_readable(struct plain *c)
{
	struct http *h = c->http;
	struct http_transfer *t = c->t;
	enum response_state state;
	ssize_t n;

	if (t->paused || c->held.len > 0) { /* what is held comes first, in http_plain_resume */
		t->held = true;
		watch(c, (short)(c->armed & ~EV_READ));
		return;
	}
	n = recv(c->fd, h->plain_buffer, HTTP_SLICE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		closed(c, n < 0 ? errno : 0);
		return;
	}
	t->answered = true;
	h->now_ms = clock_mono_ms();
	if (!t->progress_only)
		t->last_ms = h->now_ms;
	state = response_feed(&c->response, h->plain_buffer, (size_t)n);
	follow(c, http_receive_plain_read_end(t) ? state : RESPONSE_STOPPED);
}

/* The kernel takes nothing more once the connection is shut down, so that nothing is acknowledged to the server and
 * not read here. A response that is whole leaves a connection for others. */
void http_plain_drain(struct http_transfer *t)
{
	struct plain *c = t->plain;
	struct buf held;
	bool goes_on = c != NULL && !c->connecting;
	ssize_t n;

	if (!goes_on)
		return;
	held = c->held;
	buf_init(&c->held, SIZE_MAX);
	t->paused = false;
	if (held.len > 0)
		goes_on = http_receive_plain_body(t, held.data, held.len);
	buf_free(&held);
	/* Once before, as this may be the end of the response, and then until there is nothing: a server may be faster
	 * than this loop. */
	for (int reads = 0; goes_on && c->response.state == RESPONSE_MORE; reads++) {
		if (reads == 1)
			shutdown(c->fd, SHUT_RDWR);
		n = recv(c->fd, t->http->plain_buffer, HTTP_SLICE, 0);
		if (n > 0)
			response_feed(&c->response, t->http->plain_buffer, (size_t)n);
		else if (reads > 0)
			break;
	}
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct plain *c = arg;

	(void)fd;
	if (c->t == NULL) { /* idle: the server closes it, or says something unasked */
		drop_idle(c);
		return;
	}
	if (c->connecting) {
		int error = 0;
		socklen_t len = sizeof error;

		if ((what & EV_TIMEOUT) != 0 && c->t->only_address) {
			end(c->t, HTTP_CONNECT_TIMEOUT);
			return;
		}
		if ((what & EV_TIMEOUT) != 0 || getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ||
		    error != 0) {
			give_up(c->t);
			return;
		}
		c->connecting = false;
		watch(c, 0); /* without the timeout */
		what = EV_WRITE;
	}
	if ((what & EV_WRITE) != 0 && send_more(c) < 0)
		watch(c, EV_READ); /* there may be a response, which says why */
	if ((what & EV_READ) != 0)
		on_readable(c);
}

void http_plain_resume(struct http_transfer *t)
{
	struct plain *c = t->plain;
	bool goes_on = true;

	t->held = false;
	if (c->held.len > 0) {
		struct buf held = c->held;

		buf_init(&c->held, SIZE_MAX);
		t->http->now_ms = clock_mono_ms();
		goes_on = http_receive_plain_body(t, held.data, held.len) && http_receive_plain_read_end(t);
		buf_free(&held);
	}
	if (!goes_on)
		end(t, HTTP_DONE);
	else if (c->response.state == RESPONSE_WHOLE)
		end(t, HTTP_DONE);
	else
		watch(c, (short)(c->armed | EV_READ));
}
