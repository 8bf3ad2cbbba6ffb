/* SPDX-License-Identifier: Apache-2.0 */
/* Writes responses: the backlog, records, and the room that the socket has for them. */
#include "fcgi/connection_internal.h"
#include "fcgi/response.h"

#include "core/base/clock.h"
#include "fcgi/request_log.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BACKLOG_MAX     CONNECTION_BODY_MAX
#define BACKLOG_HIGH    (32u << 10) /* from here on the writer should wait */
#define BACKLOG_LOW     (8u << 10)  /* ... and below this it may resume */
#define TCP_SEND_BUFFER (256 << 10)
#define FRAME           32 /* bytes of a record besides its content, and of the end of the request */
#define ON_WIRE_UNKNOWN (SIZE_MAX / 2)

static void on_writable(evutil_socket_t fd, short what, void *arg);

/* How many bytes a writable socket takes without blocking. AF_UNIX is writable while at most a
 * quarter of the buffer is used, TCP while at least a third is free. */
static int64_t window_of(int fd, bool local)
{
	int size = 0;
	socklen_t len = sizeof size;

	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) < 0 || size < 4)
		return 1;
	return local ? size / 4 * 3 : size / 4;
}

static bool is_local(int fd)
{
	int family = AF_UNSPEC;
	socklen_t len = sizeof family;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 && family == AF_UNIX;
}

/* All connections come from one listener, so what is true for the first is true for all. */
void output_prepare(struct connection *c)
{
	struct connections *s = c->set;
	bool first = s->window == 0;

	if (first)
		s->local = is_local(c->fd);
	if (!s->local) {
		setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &(int){TCP_SEND_BUFFER}, sizeof(int));
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	}
	if (first)
		s->window = window_of(c->fd, s->local);
	c->credit = s->window;
	/* libevent requires that both events of a file descriptor are edge-triggered, or none. */
	event_assign(&c->writable, s->base, c->fd, EV_WRITE | EV_ET | EV_PERSIST, on_writable, c);
	output_reset(c);
}

static void frames_free(struct output *o)
{
	free(o->frames);
	o->frames = NULL;
	o->frame_count = o->frame_cap = 0;
	buf_free(&o->frame_texts);
}

void output_reset(struct connection *c)
{
	struct output *o = &c->out;

	if (o->dirty)
		TAILQ_REMOVE(&c->set->dirty, c, dirty);
	if (o->waits_writable)
		event_del(&c->writable);
	flush_boundary_clear(c);
	kept_free(o->kept);
	buf_free(&o->backlog);
	frames_free(o);
	free(c->headers);
	free(c->rest);
	c->headers = c->rest = NULL;
	connection_set_identity(c, NULL);
	*o = (struct output){.connection = c, .backlog = BUF_INIT(BACKLOG_MAX), .frame_texts = BUF_INIT(BACKLOG_MAX)};
}

void output_free(struct connection *c)
{
	buf_free(&c->out.backlog);
	frames_free(&c->out);
	free(c->headers);
	free(c->rest);
	connection_set_identity(c, NULL);
	flush_boundary_clear(c);
}

/* --- what endpoints write --------------------------------------------------------------- */

void output_mark(struct connection *c)
{
	if (!c->out.dirty)
		TAILQ_INSERT_TAIL(&c->set->dirty, c, dirty);
	c->out.dirty = true;
}

static size_t room_in_record(const struct connection *c)
{
	return FCGI_REQUEST_RECORD_MAX - fcgi_request_pending(c->request);
}

static void put_in_record(struct connection *c, const char *bytes, size_t len)
{
	if (fcgi_request_put(c->request, bytes, len) < 0)
		c->out.failed = true;
}

/* To the state of the reply after what is in records. */
static void pass_state_changes(struct output *o)
{
	while (o->change_count > 0 && o->changes[0].at <= o->in_records) {
		o->state = o->changes[0].state;
		o->is_text = o->changes[0].is_text;
		o->change_count--;
		memmove(o->changes, o->changes + 1, o->change_count * sizeof o->changes[0]);
	}
}

/* The text of frames that are in records as a whole is known to the keeper. */
static void pass_frames(struct output *o)
{
	size_t count = 0, text_len = 0;

	for (; count < o->frame_count && o->frames[count].end <= o->in_records; count++)
		text_len += o->frames[count].text_len;
	if (count == 0)
		return;
	kept_text(o->kept, o->frame_texts.data, text_len);
	buf_consume(&o->frame_texts, text_len);
	o->frame_count -= count;
	memmove(o->frames, o->frames + count, o->frame_count * sizeof *o->frames);
}

/* How much of the backlog goes into a record with so much room: whole frames, if any fits. */
static size_t frames_limit(struct output *o, size_t len)
{
	size_t begin = o->in_records, fits = 0;

	for (size_t i = 0; i < o->frame_count && o->frames[i].end - begin <= len; i++)
		fits = o->frames[i].end - begin;
	if (fits > 0 || o->frame_count == 0)
		return fits > 0 ? fits : len;
	if (fcgi_request_pending(o->connection->request) > 0)
		return 0; /* the next record has more room */
	kept_not_resumable(o->kept);
	return len;
}

/* Bytes of the body, all before or all after any change of state. */
static void put_body(struct connection *c, const char *bytes, size_t len)
{
	struct output *o = &c->out;

	pass_state_changes(o);
	put_in_record(c, bytes, len);
	o->in_records += len;
	if (o->is_text)
		kept_text(o->kept, bytes, len);
	if (o->frame_count > 0)
		pass_frames(o);
}

/* -1: the peer closed the connection. */
static int flush_record(struct connection *c)
{
	struct output *o = &c->out;
	size_t len = fcgi_request_pending(c->request) + FCGI_REQUEST_OVERHEAD;

	pass_state_changes(o);
	kept_sends(o->kept, o->state, o->writes);
	if (flush_boundary_in_record(c) < 0 && fcgi_request_flush(c->request, kept_sending(o->kept)) < 0)
		return -1;
	o->on_wire += len;
	kept_sent(o->kept);
	return 0;
}

void connection_head(struct connection *c, int status, const char *bytes, size_t len)
{
	assert(c->state == CONNECTION_ACTIVE && c->out.written == 0);
	request_log_status(c->log, status);
	if (c->orphan != NULL)
		return;
	if (c->set->host.answered != NULL)
		c->set->host.answered(c->set->host.arg, c->endpoint, status);
	put_in_record(c, bytes, len);
}

void connection_keep(struct connection *c, const struct protocol *p)
{
	if (c->orphan != NULL) /* kept since it came */
		return;
	c->out.kept = keeper_begin(c->set->host.keeper, c->fd, fcgi_request_id(c->request), p);
	if (c->raw.bytes != NULL)
		kept_request(c->out.kept, c->raw.bytes, c->raw.len);
}

void output_keep_orphan(struct connection *c)
{
	const struct orphan *known = &c->orphan->known;

	c->out.kept = keeper_begin(c->set->host.keeper, c->fd, known->request_id, c->orphan->protocol);
	kept_resumed(c->out.kept, known);
	keeper_took(c->set->host.keeper);
	c->out.state = known->state;
	c->out.writes = known->writes;
	c->out.on_wire = ON_WIRE_UNKNOWN;
}

void connection_end_orphan(struct connection *c)
{
	const struct connection_orphan *o = c->orphan;
	const struct orphan *known = &o->known;
	struct broken_reply broken = {
		.state = known->state,
		.usage = {.tokens = known->writes, .ttft_ns = known->first_ns - known->began_ns, .tpot_ns = -1},
	};
	char piece[1024];
	bool last = false;
	size_t len;

	request_log_broke_off(c->log);
	broken.usage.total_ns = clock_mono_ns() - known->began_ns;
	while (!last) {
		len = o->protocol->broken(&broken, piece, sizeof piece, &last);
		output_flush_boundary(&c->out);
		if (len > 0)
			output_write(&c->out, piece, len);
		output_set_state(&c->out, broken.state, false);
	}
	output_end(&c->out);
}

struct output *connection_output(struct connection *c)
{
	return &c->out;
}

void output_head(struct output *o, int status, const char *content_type, const char *headers)
{
	response_head(o->connection, status, content_type, headers);
}

void output_write(struct output *o, const char *bytes, size_t len)
{
	struct connection *c = o->connection;

	assert(c->state == CONNECTION_ACTIVE && !o->ended);
	if (output_backlog(o) == 0 && !flush_boundary_pending(o) && len <= room_in_record(c)) {
		put_body(c, bytes, len);
	} else {
		buf_consume(&o->backlog, o->taken);
		o->taken = 0;
		if (buf_add(&o->backlog, bytes, len) < 0)
			o->failed = true;
	}
	o->written += len;
	o->writes++;
	output_mark(c);
	if (output_backlog(o) > BACKLOG_HIGH)
		o->full = true;
}

static int add_frame(struct output *o, const char *text, size_t text_len)
{
	size_t cap = o->frame_cap == 0 ? 16 : 2 * o->frame_cap;
	struct frame *more;

	if (buf_add(&o->frame_texts, text, text_len) < 0)
		return -1;
	if (o->frame_count == o->frame_cap) {
		more = realloc(o->frames, cap * sizeof *more);
		if (more == NULL)
			return -1;
		o->frames = more;
		o->frame_cap = cap;
	}
	o->frames[o->frame_count++] = (struct frame){.end = o->written, .text_len = text_len};
	return 0;
}

void output_write_frame(struct output *o, const char *bytes, size_t len, const char *text, size_t text_len)
{
	output_write(o, bytes, len);
	if (o->kept == NULL)
		return;
	if (output_backlog(o) == 0)
		kept_text(o->kept, text, text_len);
	else if (add_frame(o, text, text_len) < 0)
		o->failed = true;
}

void output_remember(struct output *o, const char *memo)
{
	kept_memo(o->kept, memo);
}

void output_set_state(struct output *o, unsigned char state, bool is_text)
{
	if (o->kept == NULL)
		return;
	if (o->change_count == STATE_CHANGES_MAX) {
		o->change_count--;
		kept_not_resumable(o->kept);
	}
	o->changes[o->change_count++] = (struct state_change){.at = o->written, .state = state, .is_text = is_text};
	if (o->written > o->in_records || fcgi_request_pending(o->connection->request) > 0)
		return;
	pass_state_changes(o);
	kept_state(o->kept, state);
}

bool output_is_full(const struct output *o)
{
	return o->full;
}

bool output_is_stuck(const struct output *o)
{
	return o->waits_writable || output_backlog(o) > 0;
}

void output_flush_boundary(struct output *o)
{
	assert(o->connection->state == CONNECTION_ACTIVE && !o->ended);
	flush_boundary_add(o);
	output_mark(o->connection);
}

void output_end(struct output *o)
{
	struct connection *c = o->connection;

	assert(c->state == CONNECTION_ACTIVE && !o->ended);
	c->owner = NULL;
	o->ended = true;
	output_mark(c);
}

void output_break(struct output *o)
{
	o->breaks = true;
	output_end(o);
}

/* --- records -------------------------------------------------------------------------- */

/* About what a record takes of the socket's buffer: the kernel counts allocated sizes and its own
 * overhead. */
static int64_t cost(size_t len)
{
	return (int64_t)len * 2 + 1024;
}

bool output_has_room(struct connection *c, size_t len)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};
	int64_t needed = cost(len + FRAME);

	if (c->credit < needed) {
		if (poll(&p, 1, 0) != 1) {
			c->out.waits_writable = true;
			event_add(&c->writable, NULL);
			return false;
		}
		c->credit = c->set->window;
	}
	c->credit -= needed;
	return true;
}

static void refill(struct connection *c)
{
	struct output *o = &c->out;
	size_t n = flush_boundary_limit(o, output_backlog(o)), room = room_in_record(c);

	pass_state_changes(o);
	if (n > room)
		n = room;
	if (o->change_count > 0 && n > o->changes[0].at - o->in_records)
		n = o->changes[0].at - o->in_records;
	if (o->frame_count > 0)
		n = frames_limit(o, n);
	if (n == 0)
		return;
	put_body(c, o->backlog.data + o->taken, n);
	o->taken += n;
	if (output_backlog(o) > 0)
		return;
	buf_free(&o->backlog);
	o->taken = 0;
}

/* Writes one record. false: the socket is full, or the connection is closed or finished. */
static bool write_record(struct connection *c)
{
	static const char no_record[8]; /* of a version that does not exist */
	struct output *o = &c->out;
	size_t pending = fcgi_request_pending(c->request);
	bool last = o->ended && output_backlog(o) == 0 && !(o->breaks && pending > 0);

	if (!output_has_room(c, pending))
		return false;
	if (!last) {
		if (flush_record(c) == 0)
			return true;
		connection_lost(c);
		return false;
	}
	kept_ends(o->kept);
	if (o->breaks)
		(void)send(c->fd, no_record, sizeof no_record, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (!o->breaks && fcgi_request_finish(c->request) == 0)
		connection_finished(c);
	else
		connection_lost(c);
	return false;
}

void output_flush(struct connection *c)
{
	struct output *o = &c->out;

	if (o->failed) {
		connection_lost(c);
		return;
	}
	if (o->flush == FLUSH_SENT || o->flush == FLUSH_UNREAD || o->flush == FLUSH_DELAY || o->waits_writable)
		return;
	o->just_sent = false;
	do {
		if (flush_boundary_holds(c))
			return;
		refill(c);
		if (fcgi_request_pending(c->request) == 0 && !(o->ended && output_backlog(o) == 0))
			break;
	} while (write_record(c));
	if (c->state == CONNECTION_ACTIVE && o->full && output_backlog(o) < BACKLOG_LOW && c->owner != NULL) {
		o->full = false;
		c->owner->resume(c->owner_arg);
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd, (void)what;
	if (c->state != CONNECTION_ACTIVE)
		return;
	if (c->out.waits_writable) {
		event_del(&c->writable);
		c->out.waits_writable = false;
		output_flush(c);
	} else if (c->out.flush == FLUSH_UNREAD) {
		flush_boundary_check(c);
	}
}
