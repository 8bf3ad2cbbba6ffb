/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/clock.h"
#include "core/base/exhaustion.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- sockets ------------------------------------------------------------------------ */

void http_shard_arm(struct sock *s, curl_socket_t fd, short what)
{
	if (s->armed != 0)
		event_del(&s->event);
	s->armed = what;
	if (what == 0)
		return;
	event_assign(&s->event, s->shard->http->base, fd, (short)(what | EV_PERSIST), s->shard->http->on_socket, s);
	event_add(&s->event, NULL);
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
	struct shard *shard = arg;
	struct sock *s = sock_of(shard->http, fd);
	short wanted = 0;

	(void)easy;
	(void)socketp;
	if (s == NULL)
		return -1;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		wanted |= EV_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		wanted |= EV_WRITE;
	s->shard = shard;
	s->wanted = wanted;
	/* A connection is usually reused by the next request, so its registration stays until
	 * an event arrives that nobody waits for. */
	if ((wanted & ~s->armed) != 0 || (s->armed & ~wanted & EV_WRITE) != 0)
		http_shard_arm(s, fd, wanted);
	return 0;
}

/* Otherwise curl would report a refused connection where we cannot open a socket. */
curl_socket_t http_shard_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct http_transfer *t = arg;
	int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);

	(void)purpose;
	if (fd < 0 && exhaustion_is(errno))
		http_outcome_exhausted(t, errno);
	if (fd >= 0 && exhaustion_is_reserved(fd)) {
		http_outcome_exhausted(t, EMFILE);
		close(fd);
		fd = -1;
	}
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){RECEIVE_BUFFER}, sizeof(int));
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

int http_shard_close_socket(void *arg, curl_socket_t fd)
{
	struct http *h = arg;

	if ((size_t)fd < h->sock_count && h->socks[fd] != NULL) {
		h->socks[fd]->wanted = 0;
		if (h->socks[fd]->armed != 0)
			http_shard_arm(h->socks[fd], fd, 0);
	}
	return close(fd);
}

/* --- timers ------------------------------------------------------------------------- */

void http_shard_set_timer(struct shard *shard)
{
	int64_t wait = shard->curl_due_ms - clock_mono_ms();
	struct timeval tv;

	if (wait < 0)
		wait = 0;
	tv.tv_sec = wait / 1000;
	tv.tv_usec = wait % 1000 * 1000;
	shard->timer_due_ms = shard->curl_due_ms;
	event_add(&shard->timer, &tv);
}

/* A timer that fires too early costs less than setting it again each time. */
static int want_timer(CURLM *multi, long wait_ms, void *arg)
{
	struct shard *shard = arg;

	(void)multi;
	shard->curl_due_ms = wait_ms < 0 ? NEVER : clock_mono_ms() + wait_ms;
	if (shard->curl_due_ms < shard->timer_due_ms && !shard->adding)
		http_shard_set_timer(shard);
	return 0;
}

/* --- shards ------------------------------------------------------------------------- */

static void shard_free(struct shard *shard)
{
	if (shard->multi != NULL) {
		shard->http->in_curl++;
		curl_multi_cleanup(shard->multi);
		shard->http->in_curl--;
	}
	event_del(&shard->timer);
	free(shard);
}

static struct shard *shard_new(struct http *h)
{
	struct shard *shard = calloc(1, sizeof *shard);

	if (shard == NULL)
		return NULL;
	shard->http = h;
	shard->timer_due_ms = shard->curl_due_ms = NEVER;
	evtimer_assign(&shard->timer, h->base, h->on_timer, shard);
	shard->multi = curl_multi_init();
	if (shard->multi == NULL) {
		shard_free(shard);
		return NULL;
	}
	curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
	curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
	curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	/* The limit counts connections in use too. */
	curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, 2L * SHARD_TRANSFERS);
	return shard;
}

struct shard *http_shard_for(struct http *h)
{
	struct shard *shard;

	for (size_t i = 0; i < h->shard_count; i++)
		if (h->shards[i]->active < SHARD_TRANSFERS)
			return h->shards[i];
	if (h->shard_count == h->shard_room) {
		size_t room = h->shard_room == 0 ? 8 : h->shard_room * 2;
		struct shard **shards = realloc(h->shards, room * sizeof(struct shard *));

		if (shards == NULL)
			return NULL;
		h->shards = shards;
		h->shard_room = room;
	}
	shard = shard_new(h);
	if (shard != NULL)
		h->shards[h->shard_count++] = shard;
	return shard;
}

int http_shard_add(struct shard *shard, struct http_transfer *t)
{
	CURLMcode rc;

	shard->adding = true; /* http_shard_run_due follows */
	rc = curl_multi_add_handle(shard->multi, t->easy);
	shard->adding = false;
	if (rc != CURLM_OK)
		return -1;
	t->shard = shard;
	shard->active++;
	return 0;
}

void http_shard_remove(struct http_transfer *t)
{
	struct shard *shard = t->shard;

	shard->http->in_curl++;
	curl_multi_remove_handle(shard->multi, t->easy);
	shard->http->in_curl--;
	t->shard = NULL;
	if (--shard->active == 0) {
		shard->idle_since_ms = clock_mono_ms();
		http_watch_consider(shard->http, shard->idle_since_ms + CONNECTION_IDLE_S * 1000);
	}
}

int64_t http_shard_prune(struct http *h, int64_t now_ms)
{
	int64_t next = NEVER;
	size_t count = 0;

	for (size_t i = 0; i < h->shard_count; i++) {
		struct shard *shard = h->shards[i];
		int64_t due = shard->active > 0 ? NEVER : shard->idle_since_ms + CONNECTION_IDLE_S * 1000;

		if (due <= now_ms) {
			shard_free(shard); /* and with it its idle connections */
			continue;
		}
		if (due < next)
			next = due;
		h->shards[count++] = shard;
	}
	h->shard_count = count;
	return next;
}

void http_shard_free_all(struct http *h)
{
	for (size_t i = 0; i < h->shard_count; i++)
		shard_free(h->shards[i]);
	free(h->shards);
	for (size_t i = 0; i < h->sock_count; i++)
		free(h->socks[i]);
	free(h->socks);
}
