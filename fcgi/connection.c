/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/connection_internal.h"

#include "core/base/clock.h"
#include "fcgi/request_log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SPARES_MAX 256u

static void on_readable(evutil_socket_t fd, short what, void *arg);

/* --- deadlines: one list in order, one timer for its head -------------------------- */

static int64_t deadline_ms(const struct connection *c)
{
	return c->waiting_since_ms + c->set->request_timeout_ms;
}

static void arm_deadline(struct connections *s)
{
	struct connection *first = TAILQ_FIRST(&s->waiting);
	int64_t left;

	if (first == NULL || s->deadline_armed)
		return;
	left = deadline_ms(first) - clock_mono_ms();
	left = left > 0 ? left : 0;
	s->deadline_armed = true;
	event_add(s->deadline, &(struct timeval){.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000});
}

void connection_await_request(struct connection *c)
{
	if (c->is_waiting)
		return;
	c->is_waiting = true;
	c->waiting_since_ms = clock_mono_ms();
	TAILQ_INSERT_TAIL(&c->set->waiting, c, waiting);
	arm_deadline(c->set);
}

void connection_stop_waiting(struct connection *c)
{
	if (c->is_waiting)
		TAILQ_REMOVE(&c->set->waiting, c, waiting);
	c->is_waiting = false;
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct connections *s = arg;
	struct connection *c;
	int64_t now = clock_mono_ms();

	(void)fd, (void)what;
	s->deadline_armed = false;
	while ((c = TAILQ_FIRST(&s->waiting)) != NULL && deadline_ms(c) <= now) {
		read_refuse(c, "no complete request in time (http.request_timeout)");
	}
	arm_deadline(s);
}

/* --- the set ------------------------------------------------------------------------ */

static void on_flush_timer(evutil_socket_t fd, short what, void *arg)
{
	uint64_t ticks;

	(void)what;
	if (read(fd, &ticks, sizeof ticks) == sizeof ticks)
		flush_boundary_tick(arg);
}

struct connections *connections_new(struct event_base *base, const struct connections_host *host, struct err *e)
{
	struct connections *s = calloc(1, sizeof *s);

	if (s == NULL) {
		err_set(e, "no memory for connections");
		return NULL;
	}
	*s = (struct connections){.base = base, .host = *host, .flush_timer_fd = -1};
	TAILQ_INIT(&s->all);
	TAILQ_INIT(&s->spare);
	TAILQ_INIT(&s->dead);
	TAILQ_INIT(&s->waiting);
	TAILQ_INIT(&s->dirty);
	TAILQ_INIT(&s->delayed);
	TAILQ_INIT(&s->sent);
	connections_limits(s, 60000, 1u << 20);
	s->flush_timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (s->flush_timer_fd < 0) {
		err_set_errno(e, errno, "cannot create a timer");
		goto fail;
	}
	s->deadline = evtimer_new(base, on_deadline, s);
	s->flush_timer = event_new(base, s->flush_timer_fd, EV_READ | EV_PERSIST, on_flush_timer, s);
	if (s->deadline == NULL || s->flush_timer == NULL || event_add(s->flush_timer, NULL) < 0) {
		err_set(e, "cannot add the connections' timers to the event loop");
		goto fail;
	}
	return s;
fail:
	connections_free(s);
	return NULL;
}

static void free_list(struct connection_list *list)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, c, link);
		fcgi_request_free(c->request);
		buf_free(&c->received);
		output_free(c);
		free(c);
	}
}

void connections_free(struct connections *s)
{
	struct connection *c;

	if (s == NULL)
		return;
	while ((c = TAILQ_FIRST(&s->all)) != NULL)
		connection_lost(c);
	free_list(&s->dead);
	free_list(&s->spare);
	fcgi_records_free(&s->records);
	if (s->deadline != NULL)
		event_free(s->deadline);
	if (s->flush_timer != NULL)
		event_free(s->flush_timer);
	if (s->flush_timer_fd >= 0)
		close(s->flush_timer_fd);
	free(s);
}

void connections_limits(struct connections *s, int64_t request_timeout_ms, size_t body_limit)
{
	s->request_timeout_ms = request_timeout_ms;
	s->body_limit = body_limit;
	s->deadline_armed = false; /* it may be due earlier now */
	arm_deadline(s);
}

size_t connections_count(const struct connections *s)
{
	return s->count;
}

size_t connections_active(const struct connections *s)
{
	return s->active;
}

void connections_drain(struct connections *s)
{
	s->draining = true;
}

void connections_stop(struct connections *s)
{
	struct connection *next;

	for (struct connection *c = TAILQ_FIRST(&s->all); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->owner != NULL && c->owner->stop != NULL)
			c->owner->stop(c->owner_arg);
	}
}

bool connections_hurry(const struct connections *s)
{
	return !TAILQ_EMPTY(&s->sent);
}

void connections_flush(struct connections *s)
{
	struct connection *c;

	flush_boundary_after_iteration(s);
	while ((c = TAILQ_FIRST(&s->dirty)) != NULL) {
		TAILQ_REMOVE(&s->dirty, c, dirty);
		c->out.dirty = false;
		output_flush(c);
	}
	while ((c = TAILQ_FIRST(&s->dead)) != NULL) {
		TAILQ_REMOVE(&s->dead, c, link);
		TAILQ_INSERT_HEAD(&s->spare, c, link);
		s->spares++;
	}
	while (s->spares > SPARES_MAX) {
		struct connection_list one = TAILQ_HEAD_INITIALIZER(one);

		c = TAILQ_FIRST(&s->spare);
		TAILQ_REMOVE(&s->spare, c, link);
		TAILQ_INSERT_HEAD(&one, c, link);
		free_list(&one);
		s->spares--;
	}
}

/* --- one connection's life ---------------------------------------------------------- */

static struct connection *take_spare(struct connections *s)
{
	struct connection *c = TAILQ_FIRST(&s->spare);

	if (c != NULL) {
		TAILQ_REMOVE(&s->spare, c, link);
		s->spares--;
		return c;
	}
	c = calloc(1, sizeof *c);
	if (c != NULL && (c->request = fcgi_request_new(&s->records)) == NULL) {
		free(c);
		c = NULL;
	}
	if (c != NULL)
		c->set = s;
	return c;
}

/* NULL: no memory; fd is closed. */
static struct connection *add(struct connections *s, int fd)
{
	struct connection *c = take_spare(s);

	if (c == NULL) {
		close(fd);
		s->host.closed(s->host.arg);
		return NULL;
	}
	c->fd = fd;
	c->state = CONNECTION_IDLE;
	c->keep = c->too_large = c->is_head = c->is_waiting = c->peer_left = false;
	c->owner = NULL;
	c->orphan = NULL;
	precheck_init(&c->precheck);
	buf_init(&c->received, 0);
	TAILQ_INSERT_TAIL(&s->all, c, link);
	s->count++;
	output_prepare(c);
	event_assign(&c->readable, s->base, fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, on_readable, c);
	if (event_add(&c->readable, NULL) < 0) {
		connection_close(c);
		return NULL;
	}
	return c;
}

void connections_add(struct connections *s, int fd, bool read_now)
{
	struct connection *c = add(s, fd);

	if (c == NULL)
		return;
	connection_await_request(c);
	if (read_now)
		read_check(c);
}

void connections_add_orphan(struct connections *s, int fd, const struct connection_orphan *o, const char *request)
{
	struct connection *c = add(s, fd);

	if (c == NULL)
		return;
	c->orphan = o;
	output_keep_orphan(c);
	read_orphan(c, request, o->known.request_len);
}

const struct connection_orphan *connection_orphan(const struct connection *c)
{
	return c->orphan;
}

static void end_log(struct connection *c, bool whole)
{
	request_log_end(c->log, c->request_id, c->out.in_records, whole);
	c->log = NULL;
}

void connection_close(struct connection *c)
{
	struct connections *s = c->set;

	assert(c->state != CONNECTION_CLOSED);
	if (c->state == CONNECTION_ACTIVE) {
		s->active--;
		end_log(c, false);
		fcgi_request_abandon(c->request);
	}
	c->state = CONNECTION_CLOSED;
	connection_stop_waiting(c);
	output_reset(c);
	event_del(&c->readable);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	buf_free(&c->received);
	TAILQ_REMOVE(&s->all, c, link);
	TAILQ_INSERT_TAIL(&s->dead, c, link);
	s->count--;
	s->host.closed(s->host.arg);
}

void connection_lost(struct connection *c)
{
	const struct connection_owner *owner = c->owner;

	c->owner = NULL;
	if (owner != NULL)
		owner->closed(c->owner_arg);
	connection_close(c);
}

void connection_abort(struct connection *c)
{
	connection_lost(c);
}

/* An idle kept connection is never closed here first: the web server answers a request that meets
 * the close with 502. */
void connection_finished(struct connection *c)
{
	end_log(c, true);
	c->state = CONNECTION_IDLE;
	c->set->active--;
	if (!c->keep || c->set->draining) {
		connection_close(c);
		return;
	}
	output_reset(c);
	precheck_init(&c->precheck);
	TAILQ_REMOVE(&c->set->all, c, link); /* those idle for longest are first */
	TAILQ_INSERT_TAIL(&c->set->all, c, link);
	c->set->host.idle(c->set->host.arg);
}

static bool nothing_received(const struct connection *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* ... except when new connections could not be accepted for lack of file descriptors. */
bool connections_close_idle(struct connections *s)
{
	struct connection *c;

	TAILQ_FOREACH(c, &s->all, link)
	if (c->state == CONNECTION_IDLE && !c->is_waiting && nothing_received(c)) {
		connection_close(c);
		return true;
	}
	return false;
}

/* --- while a request is being answered ------------------------------------------------- */

/* While a request is being answered the peer sends nothing unless it closes the connection or sends
 * FCGI_ABORT_REQUEST. Anything else is a second request on a connection that has one already, and
 * ends it as well. */
void connection_watch(struct connection *c)
{
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	connection_lost(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	static void (*const step[])(struct connection *) = {
		[CONNECTION_IDLE] = read_check,
		[CONNECTION_READING] = read_continue,
		[CONNECTION_ACTIVE] = connection_watch,
	};
	struct connection *c = arg;

	(void)fd;
	c->peer_left |= (what & EV_CLOSED) != 0;
	if (c->state != CONNECTION_CLOSED)
		step[c->state](c);
}

/* --- what endpoints use -------------------------------------------------------------- */

const char *connection_header(const struct connection *c, const char *name)
{
	return fcgi_request_header(c->request, name);
}

const char *connection_next_header(const struct connection *c, const char *name, const char *after)
{
	return fcgi_request_next_header(c->request, name, after);
}

void connection_peer(const struct connection *c, char out[INET6_ADDRSTRLEN])
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} peer = {.any.sa_family = AF_UNSPEC};
	socklen_t len = sizeof peer;

	out[0] = '\0';
	if (c->set->local || getpeername(c->fd, &peer.any, &len) < 0)
		return;
	if (peer.any.sa_family == AF_INET)
		inet_ntop(AF_INET, &peer.v4.sin_addr, out, INET6_ADDRSTRLEN);
	else if (peer.any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &peer.v6.sin6_addr, out, INET6_ADDRSTRLEN);
}

void connection_distrust(struct connection *c)
{
	c->distrusted = true;
}

bool connection_is_trusted(const struct connection *c)
{
	return !c->distrusted;
}

const struct fcgi_request_params *connection_params(const struct connection *c)
{
	return fcgi_request_params(c->request);
}

const char *connection_body(const struct connection *c, size_t *len)
{
	return fcgi_request_body(c->request, len);
}

char *connection_take_body(struct connection *c, size_t *len)
{
	c->raw.bytes = NULL; /* valid until the request waits */
	return fcgi_request_take_body(c->request, len);
}

bool connection_body_too_large(const struct connection *c)
{
	const char *too_long = fcgi_request_params(c->request)->body_too_long;

	return c->too_large || (too_long != NULL && strcmp(too_long, "1") == 0);
}

void connection_set_rest(struct connection *c, char *rest)
{
	free(c->rest);
	c->rest = rest;
}

const char *connection_rest(const struct connection *c)
{
	return c->rest;
}

/* Without memory the response goes without them. */
void connection_add_headers(struct connection *c, const char *lines)
{
	char *all = NULL;

	if (asprintf(&all, "%s%s", connection_headers(c), lines) < 0)
		return;
	free(c->headers);
	c->headers = all;
}

const char *connection_headers(const struct connection *c)
{
	return c->headers != NULL ? c->headers : "";
}

void connection_set_identity(struct connection *c, struct access_identity *identity)
{
	access_identity_unref(c->identity);
	c->identity = identity;
}

struct access_identity *connection_identity(const struct connection *c)
{
	return c->identity;
}

bool connection_is_head(const struct connection *c)
{
	return c->is_head;
}

void connection_set_log(struct connection *c, struct request_log *l)
{
	c->log = l;
}

struct request_log *connection_log(const struct connection *c)
{
	return c->log;
}

char *connection_request_id(struct connection *c)
{
	return c->request_id;
}

void connection_set_endpoint(struct connection *c, unsigned endpoint)
{
	c->endpoint = endpoint;
}

void connection_own(struct connection *c, const struct connection_owner *owner, void *arg)
{
	c->owner = owner;
	c->owner_arg = arg;
}
