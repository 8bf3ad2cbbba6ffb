/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/mock/player.h"

#include "core/base/clock.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* A token of this text is sent as '@' and the CLOCK_MONOTONIC of its write, in nanoseconds: the
 * reader knows how long it took. */
#define PLAYER_STAMP     "@0000000000000000000"
#define PLAYER_STAMP_MAX 4096 /* bytes of a step that may hold one */

#define PLAYER_STAMPED_MOST 8192
#define PLAYER_BURST        16 /* steps without a pause that one stream may write in a row */

struct play {
	struct event_base *base;
	struct evhttp_request *req;
	struct evhttp_connection *connection;
	struct bufferevent *bev;
	struct plan *plan;
	struct event *timer;
	size_t next;     /* step */
	uint64_t before; /* bytes of the connection before this answer */
	int64_t due_ns;  /* of the step */
	bool direct;
	player_done_fn *done;
	void *arg;
	uint64_t id;
};

/* The bytes of the connection that the other side's kernel has. */
static uint64_t player_acknowledged(const struct play *p)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof info;

	if (getsockopt(bufferevent_getfd(p->bev), IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return 0;
	return info.tcpi_bytes_acked;
}

/* The steps that the other side has: what is sent after it has closed is refused. */
static size_t player_delivered(const struct play *p)
{
	uint64_t bytes = player_acknowledged(p) - p->before;
	size_t count = 0;

	while (count < p->next && p->plan->steps[count].len <= bytes)
		bytes -= p->plan->steps[count++].len;
	return count;
}

static void player_finish(struct play *p, bool left)
{
	p->done(p->arg, p->id, left ? player_delivered(p) : p->next, left, clock_mono_ns());
	event_free(p->timer);
	plan_unref(p->plan);
	free(p);
}

static void player_reset(struct play *p)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};
	int fd = bufferevent_getfd(p->bev);

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

/* Everything was written. */
static void player_end(struct play *p)
{
	struct evhttp_request *req = p->req;
	struct evhttp_connection *connection = p->connection;
	enum plan_end end = p->plan->end;

	if (end == PLAN_STALL)
		return;
	if (end == PLAN_RESET)
		player_reset(p);
	bufferevent_setwatermark(p->bev, EV_READ, 0, 0);
	player_finish(p, false);
	if (end == PLAN_KEEP)
		evhttp_send_reply_end(req); /* hands the connection back to evhttp */
	else
		evhttp_connection_free(connection);
}

/* The step with the time in its stamps, in copy; bytes itself where it has none. */
static const char *player_stamp(const char *bytes, size_t len, char *copy)
{
	const size_t size = sizeof PLAYER_STAMP - 1;
	char stamp[32], *at;

	if (len > PLAYER_STAMP_MAX || memmem(bytes, len, PLAYER_STAMP, size) == NULL)
		return bytes;
	memcpy(copy, bytes, len);
	snprintf(stamp, sizeof stamp, "@%019lld", (long long)clock_mono_ns());
	while ((at = memmem(copy, len, PLAYER_STAMP, size)) != NULL)
		memcpy(at, stamp, size);
	return copy;
}

/* Writes one step; false when the rest has to wait for the client. */
static bool player_write(struct play *p, const char *bytes, size_t len)
{
	char stamped[PLAYER_STAMP_MAX];
	size_t sent = 0;

	bytes = player_stamp(bytes, len, stamped);
	if (p->direct) {
		ssize_t n = send(bufferevent_getfd(p->bev), bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			sent = (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false; /* the event callback tells that the client has gone */
	}
	if (sent == len)
		return true;
	bufferevent_write(p->bev, bytes + sent, len - sent);
	return false;
}

/* As player_write, with the time filled in. */
static bool player_write_stamped(struct play *p, const char *bytes, size_t len)
{
	const size_t digits = strlen(PLAN_STAMP) - 1;
	char copy[PLAYER_STAMPED_MOST], now[32];
	char *at = copy;

	if (len > sizeof copy)
		return player_write(p, bytes, len);
	memcpy(copy, bytes, len);
	snprintf(now, sizeof now, "%0*lld", (int)digits, (long long)clock_mono_ns());
	while ((at = memmem(at, len - (size_t)(at - copy), PLAN_STAMP, strlen(PLAN_STAMP))) != NULL)
		memcpy(at + 1, now, digits);
	return player_write(p, copy, len);
}

static void player_wait(struct play *p, int64_t ns)
{
	struct timeval tv = {.tv_sec = ns / 1000000000, .tv_usec = (ns % 1000000000 + 999) / 1000};

	evtimer_add(p->timer, &tv);
}

static void player_run(struct play *p)
{
	int64_t now = clock_mono_ns();

	for (unsigned burst = 0; p->next < p->plan->step_count; burst++) {
		const struct plan_step *step = &p->plan->steps[p->next];
		int64_t due = p->due_ns + step->delay_us * 1000;

		if (due > now || burst == PLAYER_BURST) {
			player_wait(p, due > now ? due - now : 0);
			return;
		}
		p->due_ns = due;
		p->next++;
		if (!(step->stamped ? player_write_stamped : player_write)(p, p->plan->bytes + step->offset, step->len))
			return; /* player_drained goes on */
	}
	player_end(p);
}

static void player_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	player_run(arg);
}

static void player_drained(struct bufferevent *bev, void *arg)
{
	struct play *p = arg;

	if (evbuffer_get_length(bufferevent_get_output(bev)) > 0 || evtimer_pending(p->timer, NULL))
		return;
	if (p->next == p->plan->step_count && p->plan->end == PLAN_STALL)
		return;
	player_run(p);
}

static void player_event(struct bufferevent *bev, short what, void *arg)
{
	struct play *p = arg;
	struct evhttp_connection *connection = p->connection;

	(void)bev;
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	player_finish(p, true);
	evhttp_connection_free(connection);
}

void player_start(struct event_base *base, struct evhttp_request *req, struct plan *plan, bool direct,
                  player_done_fn *done, void *arg, uint64_t id)
{
	struct play *p = malloc(sizeof *p);
	int unread = 0; /* that is not acknowledged yet */

	if (!p)
		exit(1);
	*p = (struct play){.base = base,
	                   .req = req,
	                   .plan = plan_ref(plan),
	                   .direct = direct,
	                   .due_ns = clock_mono_ns(),
	                   .done = done,
	                   .arg = arg,
	                   .id = id};
	p->connection = evhttp_request_get_connection(req);
	p->bev = evhttp_connection_get_bufferevent(p->connection);
	ioctl(bufferevent_getfd(p->bev), SIOCOUTQ, &unread);
	p->before = player_acknowledged(p) + (uint64_t)unread;
	p->timer = evtimer_new(base, player_timer, p);
	bufferevent_setcb(p->bev, NULL, player_drained, player_event, p);
	bufferevent_setwatermark(p->bev, EV_READ, 0, 4096);
	bufferevent_enable(p->bev, EV_READ | EV_WRITE);
	/* Runs from the loop: evhttp is still busy with the request here. */
	player_wait(p, 0);
}
