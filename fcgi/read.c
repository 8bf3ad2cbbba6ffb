/* SPDX-License-Identifier: Apache-2.0 */
/* Reads requests: at once from the socket's buffer, or collected piece by piece. */
#include "fcgi/connection_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/exhaustion.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_ROUNDS         16
#define READ_OVERHEAD       (128u << 10) /* parameters and record headers besides the body */
#define REFUSAL_INTERVAL_MS 10000

/* Logs one line every ten seconds at most, so that a peer cannot fill the log. */
void read_refuse(struct connection *c, const char *reason)
{
	struct connections *s = c->set;
	int64_t now = clock_mono_ms();

	s->refused++;
	if (s->refusal_logged_ms == 0 || now - s->refusal_logged_ms >= REFUSAL_INTERVAL_MS) {
		log_event(LOG_REQUEST_REFUSED, L_STR("reason", reason), L_INT("times", s->refused));
		s->refusal_logged_ms = now;
		s->refused = 0;
	}
	connection_close(c);
}

/* One record's header. */
static char *put_record(char *to, unsigned type, unsigned id, size_t len)
{
	const char header[PRECHECK_HEADER_LEN] = {1,        (char)type,       (char)(id >> 8),
	                                          (char)id, (char)(len >> 8), (char)len};

	memcpy(to, header, sizeof header);
	return to + sizeof header;
}

/* The request that libfcgi must not read is answered without it. The web server would ask another worker, and
 * say 502, if nothing came. What it still sends is read first, as far as it is there: an answer that meets
 * unread bytes may be lost. */
static void refuse_headers(struct connection *c)
{
	static const char answer[] =
		"Status: 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\n\r\n"
		"{\"detail\":\"The request has too many headers, or they are too long together.\"}";
	char bytes[sizeof answer + 3 * PRECHECK_HEADER_LEN], *to;
	unsigned id = c->precheck.request_id;

	for (int round = 0; round < READ_ROUNDS; round++)
		if (recv(c->fd, c->set->input, CONNECTION_READ_MAX, MSG_DONTWAIT) <= 0)
			break;
	to = put_record(bytes, 6, id, sizeof answer - 1);
	memcpy(to, answer, sizeof answer - 1);
	to = put_record(to + sizeof answer - 1, 3, id, 8);
	memset(to, 0, 8);
	if (send(c->fd, bytes, (size_t)(to + 8 - bytes), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return; /* the connection is closed anyway */
}

static void refuse_malformed(struct connection *c, const char *reason)
{
	if (c->precheck.too_many)
		refuse_headers(c);
	read_refuse(c, reason);
}

static void begin_request(struct connection *c, int from)
{
	struct connections *s = c->set;
	const char *method;

	connection_stop_waiting(c);
	if (fcgi_request_begin(c->request, from, c->fd, c->precheck.params_end,
	                       c->too_large ? 0 : c->precheck.body_len) < 0) {
		if (from == c->fd)
			c->fd = -1;
		read_refuse(c, "no memory for a request");
		return;
	}
	if (from != c->fd)
		close(from);
	c->keep = c->precheck.keep;
	c->state = CONNECTION_ACTIVE;
	method = connection_params(c)->method;
	c->distrusted = false;
	c->is_head = method != NULL && strcmp(method, "HEAD") == 0;
	s->active++;
	s->host.request(s->host.arg, c);
	c->orphan = NULL;
	buf_free(&c->received);
	if (c->state == CONNECTION_ACTIVE && c->out.ended)
		output_flush(c);
	else if (c->state == CONNECTION_ACTIVE)
		fcgi_request_forget_input(c->request);
	/* The event of its bytes told that the peer has closed it, too, and no other event will. */
	if (c->state == CONNECTION_ACTIVE && c->peer_left)
		connection_watch(c);
}

static int write_all(int fd, const char *bytes, size_t len)
{
	ssize_t n;

	for (; len > 0; bytes += n, len -= (size_t)n)
		if ((n = write(fd, bytes, len)) < 0)
			return -1;
	return 0;
}

/* libfcgi reads from a file descriptor, so what was collected becomes a file. A body over the limit
 * is left out: the request then ends after its parameters. */
static void begin_received_request(struct connection *c)
{
	const char end[PRECHECK_HEADER_LEN] = {1, 5, (char)(c->precheck.request_id >> 8), (char)c->precheck.request_id};
	int file = memfd_create("request", MFD_CLOEXEC);
	char why[160];

	if (file >= 0 && write_all(file, c->received.data, c->received.len) == 0 &&
	    (!c->too_large || write_all(file, end, sizeof end) == 0) && lseek(file, 0, SEEK_SET) == 0) {
		c->raw.bytes = c->too_large || c->orphan != NULL ? NULL : c->received.data;
		c->raw.len = c->received.len;
		begin_request(c, file);
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
	c->received.len = c->precheck.params_end;
}

/* Keeps len bytes that were read from the socket and checked by c->precheck. */
static int collect(struct connection *c, const char *bytes, size_t len)
{
	bool added;

	if (c->too_large)
		return 0;
	added = buf_add(&c->received, bytes, len) == 0;
	if (!added && (c->precheck.params_end == 0 || c->received.len < c->precheck.params_end))
		return -1;
	if (!added || c->precheck.body_len > c->set->body_limit)
		cut_body(c);
	return 0;
}

static const char *refusal_reason(const struct connection *c, enum precheck_verdict v)
{
	return v == PRECHECK_BAD     ? c->precheck.error
	       : v == PRECHECK_ABORT ? "aborted before it was complete"
	                             : "more bytes after the request";
}

/* After READ_ROUNDS other connections get their turn. */
void read_continue(struct connection *c)
{
	char *bytes = c->set->input;
	enum precheck_verdict v;
	size_t before;
	ssize_t n;

	for (int round = 0; round < READ_ROUNDS; round++) {
		n = recv(c->fd, bytes, CONNECTION_READ_MAX, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			connection_close(c);
			return;
		}
		before = c->precheck.consumed;
		v = precheck_feed(&c->precheck, bytes, (size_t)n);
		if (collect(c, bytes, c->precheck.consumed - before) < 0) {
			read_refuse(c, "no memory for a request");
			return;
		}
		if (v == PRECHECK_WHOLE && c->precheck.consumed - before == (size_t)n)
			begin_received_request(c);
		else if (v != PRECHECK_MORE)
			refuse_malformed(c, refusal_reason(c, v));
		if (v != PRECHECK_MORE)
			return;
	}
	event_active(&c->readable, EV_READ, 0);
}

static void start_reading(struct connection *c, size_t len, enum precheck_verdict v)
{
	if (recv(c->fd, c->set->input, len, MSG_DONTWAIT) != (ssize_t)len) {
		connection_close(c);
		return;
	}
	c->state = CONNECTION_READING;
	buf_init(&c->received, READ_OVERHEAD + 2 * c->set->body_limit);
	connection_await_request(c);
	if (collect(c, c->set->input, len) < 0)
		read_refuse(c, "no memory for a request");
	else if (v == PRECHECK_WHOLE)
		begin_received_request(c);
	else
		read_continue(c);
}

/* The request of an orphan, as it came to the worker that died. */
void read_orphan(struct connection *c, const char *request, size_t len)
{
	c->too_large = false;
	c->state = CONNECTION_READING;
	buf_init(&c->received, READ_OVERHEAD + 2 * c->set->body_limit);
	if (precheck_feed(&c->precheck, request, len) == PRECHECK_WHOLE && buf_add(&c->received, request, len) == 0)
		begin_received_request(c);
	else
		read_refuse(c, "the request of another worker's answer is damaged");
}

void read_check(struct connection *c)
{
	ssize_t n = recv(c->fd, c->set->input, CONNECTION_READ_MAX, MSG_PEEK | MSG_DONTWAIT);
	enum precheck_verdict v;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_close(c);
		return;
	}
	c->too_large = false;
	v = precheck_feed(&c->precheck, c->set->input, (size_t)n);
	if (v > PRECHECK_WHOLE || c->precheck.consumed < (size_t)n)
		refuse_malformed(c, refusal_reason(c, v));
	else if (v == PRECHECK_WHOLE && c->precheck.body_len <= c->set->body_limit) {
		c->raw.bytes = c->set->input;
		c->raw.len = (size_t)n;
		begin_request(c, c->fd);
	} else
		start_reading(c, (size_t)n, v);
}
