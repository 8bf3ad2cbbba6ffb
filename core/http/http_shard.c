/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/clock.h"

#include <stdlib.h>
#include <unistd.h>

static int run(struct shard *l, curl_socket_t fd, int bits)
{
	struct http *h = l->http;
	int running;
	CURLMcode rc;

	http_enter(h);
	h->in_curl++;
	rc = curl_multi_socket_action(l->multi, fd, bits, &running);
	h->in_curl--;
	return rc == CURLM_OK ? 0 : -1;
}

/* --- sockets ------------------------------------------------------------------------ */

static void on_socket(evutil_socket_t fd, short what, void *arg);

static void arm(struct sock *s, curl_socket_t fd, short what)
{
	if (s->armed != 0)
		event_del(&s->event);
	s->armed = what;
	if (what == 0)
		return;
	event_assign(&s->event, s->lane->http->base, fd, (short)(what | EV_PERSIST), on_socket, s);
	event_add(&s->event, NULL);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct sock *s = arg;
	struct shard *l = s->lane;
	int bits = 0;

	what &= s->wanted;
	if (what == 0) {
		/* Had its share, and goes on in this iteration: not worth two system calls. */
		if (!TAILQ_EMPTY(&l->http->resuming))
			return;
		/* A kept connection that the server closed, or a paused one with news. */
		arm(s, fd, s->wanted);
		return;
	}
	if (what & EV_READ)
		bits |= CURL_CSELECT_IN;
	if (what & EV_WRITE)
		bits |= CURL_CSELECT_OUT;
	run(l, fd, bits);
	http_settle(l->http, l);
}

static struct sock *sock_of(struct http *h, curl_socket_t fd)
{
	if ((size_t)fd >= h->sock_count) {
		size_t count = h->sock_count == 0 ? 64 : h->sock_count;
		struct sock **socks;

		while (count <= (size_t)fd)
			count *= 2;
		socks = realloc(h->socks, count * sizeof *socks);
		if (socks == NULL)
			return NULL;
		for (size_t i = h->sock_count; i < count; i++)
			socks[i] = NULL;
		h->socks = socks;
		h->sock_count = count;
	}
	if (h->socks[fd] == NULL)
		h->socks[fd] = calloc(1, sizeof *h->socks[fd]);
	return h->socks[fd];
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socketp)
{
	struct shard *l = arg;
	struct sock *s = sock_of(l->http, fd);
	short wanted = 0;

	(void)easy;
	(void)socketp;
	if (s == NULL)
		return -1;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		wanted |= EV_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		wanted |= EV_WRITE;
	s->lane = l;
	s->wanted = wanted;
	/* A connection that is done with one request is most often used for the next: its
	 * registration stays until something comes that nobody waits for. */
	if ((wanted & ~s->armed) != 0 || (s->armed & ~wanted & EV_WRITE) != 0)
		arm(s, fd, wanted);
	return 0;
}

int http_shard_close_socket(void *arg, curl_socket_t fd)
{
	struct http *h = arg;

	if ((size_t)fd < h->sock_count && h->socks[fd] != NULL) {
		h->socks[fd]->wanted = 0;
		if (h->socks[fd]->armed != 0)
			arm(h->socks[fd], fd, 0);
	}
	return close(fd);
}

/* --- timers ------------------------------------------------------------------------- */

static void set_timer(struct shard *l)
{
	int64_t wait = l->curl_due_ms - clock_mono_ms();
	struct timeval tv;

	if (wait < 0)
		wait = 0;
	tv.tv_sec = wait / 1000;
	tv.tv_usec = wait % 1000 * 1000;
	l->timer_due_ms = l->curl_due_ms;
	event_add(&l->timer, &tv);
}

/* A timer that is due too early costs less than setting it anew each time. */
static int want_timer(CURLM *multi, long wait_ms, void *arg)
{
	struct shard *l = arg;

	(void)multi;
	l->curl_due_ms = wait_ms < 0 ? NEVER : clock_mono_ms() + wait_ms;
	if (l->curl_due_ms < l->timer_due_ms && !l->adding)
		set_timer(l);
	return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct shard *l = arg;

	(void)fd;
	(void)what;
	l->timer_due_ms = NEVER;
	if (l->curl_due_ms == NEVER)
		return;
	if (l->curl_due_ms > clock_mono_ms()) {
		set_timer(l);
		return;
	}
	l->curl_due_ms = NEVER;
	run(l, CURL_SOCKET_TIMEOUT, 0);
	http_settle(l->http, l);
}

/* --- lanes -------------------------------------------------------------------------- */

static void shard_free(struct shard *l)
{
	if (l->multi != NULL) {
		l->http->in_curl++;
		curl_multi_cleanup(l->multi);
		l->http->in_curl--;
	}
	event_del(&l->timer);
	free(l);
}

static struct shard *shard_new(struct http *h)
{
	struct shard *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->http = h;
	l->timer_due_ms = l->curl_due_ms = NEVER;
	evtimer_assign(&l->timer, h->base, on_timer, l);
	l->multi = curl_multi_init();
	if (l->multi == NULL) {
		shard_free(l);
		return NULL;
	}
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	/* The limit counts connections in use too. */
	curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, 2L * LANE_TRANSFERS);
	return l;
}

struct shard *http_shard_for(struct http *h)
{
	struct shard *l;

	for (size_t i = 0; i < h->lane_count; i++)
		if (h->lanes[i]->active < LANE_TRANSFERS)
			return h->lanes[i];
	if (h->lane_count == h->lane_room) {
		size_t room = h->lane_room == 0 ? 8 : h->lane_room * 2;
		struct shard **lanes = realloc(h->lanes, room * sizeof(struct shard *));

		if (lanes == NULL)
			return NULL;
		h->lanes = lanes;
		h->lane_room = room;
	}
	l = shard_new(h);
	if (l != NULL)
		h->lanes[h->lane_count++] = l;
	return l;
}

int http_shard_add(struct shard *l, struct http_transfer *t)
{
	CURLMcode rc;

	l->adding = true; /* http_shard_run_due follows */
	rc = curl_multi_add_handle(l->multi, t->easy);
	l->adding = false;
	if (rc != CURLM_OK)
		return -1;
	t->lane = l;
	l->active++;
	return 0;
}

void http_shard_remove(struct http_transfer *t)
{
	struct shard *l = t->lane;

	l->http->in_curl++;
	curl_multi_remove_handle(l->multi, t->easy);
	l->http->in_curl--;
	t->lane = NULL;
	if (--l->active == 0) {
		l->idle_since_ms = clock_mono_ms();
		http_watch_consider(l->http, l->idle_since_ms + KEPT_IDLE_S * 1000);
	}
}

void http_shard_run_due(struct http *h)
{
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < h->lane_count; i++) {
		struct shard *l = h->lanes[i];

		if (l->curl_due_ms > now)
			continue;
		l->curl_due_ms = NEVER;
		run(l, CURL_SOCKET_TIMEOUT, 0);
		http_settle(h, l);
	}
}

int64_t http_shard_prune(struct http *h, int64_t now_ms)
{
	int64_t next = NEVER;
	size_t kept = 0;

	for (size_t i = 0; i < h->lane_count; i++) {
		struct shard *l = h->lanes[i];
		int64_t due = l->active > 0 ? NEVER : l->idle_since_ms + KEPT_IDLE_S * 1000;

		if (due <= now_ms) {
			shard_free(l); /* and with it the connections that nobody used for so long */
			continue;
		}
		if (due < next)
			next = due;
		h->lanes[kept++] = l;
	}
	h->lane_count = kept;
	return next;
}

void http_shard_free_all(struct http *h)
{
	for (size_t i = 0; i < h->lane_count; i++)
		shard_free(h->lanes[i]);
	free(h->lanes);
	for (size_t i = 0; i < h->sock_count; i++)
		free(h->socks[i]);
	free(h->socks);
}
