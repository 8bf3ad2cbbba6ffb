/* SPDX-License-Identifier: Apache-2.0 */
/* How a request comes in: at once from the socket's buffer, or collected piece by piece. */
#include "fcgi/connection_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/exhaustion.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define INTAKE_ROUNDS       16
#define INTAKE_OVERHEAD     (128u << 10) /* parameters and record headers beside the body */
#define REFUSAL_INTERVAL_MS 10000

/* One line each ten seconds at most: who can connect must not fill the log. */
void read_refuse(struct connection *c, const char *why)
{
	struct connections *s = c->set;
	int64_t now = clock_mono_ms();

	s->refused++;
	if (s->refusal_told_ms == 0 || now - s->refusal_told_ms >= REFUSAL_INTERVAL_MS) {
		log_warning("request_refused", L_STR("reason", why), L_INT("times", s->refused));
		s->refusal_told_ms = now;
		s->refused = 0;
	}
	connection_close(c);
}

static void serve(struct connection *c, int from)
{
	struct connections *s = c->set;

	connection_stop_waiting(c);
	if (request_begin(c->exchange, from, c->fd, c->too_large ? 0 : c->peek.body_len) < 0) {
		if (from == c->fd)
			c->fd = -1;
		read_refuse(c, "no memory for a request");
		return;
	}
	if (from != c->fd)
		close(from);
	buf_free(&c->intake);
	c->keep = c->peek.keep;
	c->state = CONNECTION_ACTIVE;
	s->active++;
	s->host.request(s->host.arg, c);
	if (c->state == CONNECTION_ACTIVE && c->out.ended)
		output_flush(c);
	else if (c->state == CONNECTION_ACTIVE)
		request_forget_request(c->exchange);
}

static int write_all(int fd, const char *bytes, size_t len)
{
	ssize_t n;

	for (; len > 0; bytes += n, len -= (size_t)n)
		if ((n = write(fd, bytes, len)) < 0)
			return -1;
	return 0;
}

/* libfcgi reads from a descriptor; what was collected becomes one. A body that is over
 * the limit is left out: the request then ends behind its parameters. */
static void serve_intake(struct connection *c)
{
	const char end[PRECHECK_HEADER_LEN] = {1, 5, (char)(c->peek.request_id >> 8), (char)c->peek.request_id};
	int file = memfd_create("request", MFD_CLOEXEC);
	char why[160];

	if (file >= 0 && write_all(file, c->intake.data, c->intake.len) == 0 &&
	    (!c->too_large || write_all(file, end, sizeof end) == 0) && lseek(file, 0, SEEK_SET) == 0) {
		serve(c, file);
		return;
	}
	exhaustion_text(errno, why, sizeof why);
	if (file >= 0)
		close(file);
	read_refuse(c, why);
}

static void cut_body(struct connection *c)
{
	c->too_large = true;
	c->intake.len = c->peek.params_end;
}

/* Takes len bytes, already checked by c->peek, off the socket. */
static int collect(struct connection *c, const char *bytes, size_t len)
{
	bool added;

	if (c->too_large)
		return 0;
	added = buf_add(&c->intake, bytes, len) == 0;
	if (!added && (c->peek.params_end == 0 || c->intake.len < c->peek.params_end))
		return -1;
	if (!added || c->peek.body_len > c->set->body_limit)
		cut_body(c);
	return 0;
}

static const char *complaint(const struct connection *c, enum precheck_verdict v)
{
	return v == PRECHECK_BAD     ? c->peek.error
	       : v == PRECHECK_ABORT ? "aborted before it was whole"
	                             : "more bytes behind the request";
}

/* Reads on where a request came in pieces; a flood of it shares the loop with others. */
void read_continue(struct connection *c)
{
	char *bytes = c->set->peeked;
	enum precheck_verdict v;
	size_t before;
	ssize_t n;

	for (int round = 0; round < INTAKE_ROUNDS; round++) {
		n = recv(c->fd, bytes, CONNECTION_PEEK_MAX, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			connection_close(c);
			return;
		}
		before = c->peek.consumed;
		v = precheck_feed(&c->peek, bytes, (size_t)n);
		if (collect(c, bytes, c->peek.consumed - before) < 0) {
			read_refuse(c, "no memory for a request");
			return;
		}
		if (v == PRECHECK_WHOLE && c->peek.consumed - before == (size_t)n)
			serve_intake(c);
		else if (v != PRECHECK_MORE)
			read_refuse(c, complaint(c, v));
		if (v != PRECHECK_MORE)
			return;
	}
	event_active(&c->readable, EV_READ, 0);
}

static void begin_intake(struct connection *c, size_t len, enum precheck_verdict v)
{
	if (recv(c->fd, c->set->peeked, len, MSG_DONTWAIT) != (ssize_t)len) {
		connection_close(c);
		return;
	}
	c->state = CONNECTION_INTAKE;
	buf_init(&c->intake, INTAKE_OVERHEAD + 2 * c->set->body_limit);
	connection_await_request(c);
	if (collect(c, c->set->peeked, len) < 0)
		read_refuse(c, "no memory for a request");
	else if (v == PRECHECK_WHOLE)
		serve_intake(c);
	else
		read_continue(c);
}

void read_check(struct connection *c)
{
	ssize_t n = recv(c->fd, c->set->peeked, CONNECTION_PEEK_MAX, MSG_PEEK | MSG_DONTWAIT);
	enum precheck_verdict v;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_close(c);
		return;
	}
	c->too_large = false;
	v = precheck_feed(&c->peek, c->set->peeked, (size_t)n);
	if (v > PRECHECK_WHOLE || c->peek.consumed < (size_t)n)
		read_refuse(c, complaint(c, v));
	else if (v == PRECHECK_WHOLE && c->peek.body_len <= c->set->body_limit)
		serve(c, c->fd);
	else
		begin_intake(c, (size_t)n, v);
}
