/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void http_enter(struct http *h)
{
	h->now_ms = clock_mono_ms();
	h->calls++;
}

int http_say(struct http_transfer *t, const char *fmt, ...)
{
	va_list ap;

	if (t->said != NULL)
		return -1;
	t->said = t->why;
	va_start(ap, fmt);
	vsnprintf(t->why, sizeof t->why, fmt, ap);
	va_end(ap);
	return -1;
}

/* --- transfers as memory -------------------------------------------------------------- */

static void transfer_free(struct http_transfer *t)
{
	curl_easy_cleanup(t->easy);
	http_setup_forget(t);
	buf_free(&t->collected);
	free(t->body);
	free(t->url);
	free(t);
}

static struct http_transfer *transfer_new(struct http *h)
{
	struct http_transfer *t = TAILQ_FIRST(&h->spare);

	if (t != NULL) {
		TAILQ_REMOVE(&h->spare, t, link);
		h->spares--;
		return t;
	}
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return NULL;
	t->http = h;
	t->easy = curl_easy_init();
	if (t->easy == NULL || http_setup_handle(t) < 0) {
		transfer_free(t);
		return NULL;
	}
	return t;
}

/* The handle stays for the next request, with all that does not change. */
static void recycle(struct http_transfer *t)
{
	struct http *h = t->http;

	TAILQ_REMOVE(&h->all, t, link);
	h->active--;
	if (h->spares >= SPARE_TRANSFERS) {
		transfer_free(t);
		return;
	}
	http_setup_unresolve(t);
	buf_free(&t->collected);
	free(t->body);
	free(t->url);
	t->body = NULL;
	t->url = NULL;
	t->state = TRANSFER_SPARE;
	TAILQ_INSERT_HEAD(&h->spare, t, link);
	h->spares++;
}

static void prepare(struct http_transfer *t, const struct http_request *req, const struct http_handlers *handlers,
                    void *arg)
{
	t->handlers = handlers;
	t->arg = arg;
	t->started_ms = t->last_ms = clock_mono_ms();
	t->total_ms = req->total_ms;
	t->deadline_ms = req->total_ms > 0 ? t->started_ms + req->total_ms : NEVER;
	t->silence_ms = req->silence_ms;
	t->heard = t->paused = t->sliced = t->held = t->resuming = false;
	t->status = 0;
	t->retry_after_s = -1;
	t->header_bytes = 0;
	t->answered = t->responded = t->has_outcome = false;
	t->shortage = 0;
	t->collecting = handlers->data == NULL;
	t->collect_max = req->collect_limit > 0 ? req->collect_limit : COLLECT_DEFAULT;
	buf_init(&t->collected, t->collect_max);
	t->literal = false;
	t->why[0] = '\0';
	t->said = NULL;
	t->again = false;
}

static int copy_request(struct http_transfer *t, const struct http_request *req)
{
	t->url = strdup(req->url);
	if (t->url == NULL)
		return http_exhaustion(t, ENOMEM);
	if (req->body == NULL)
		return 0;
	t->body = malloc(req->body_len + 1);
	if (t->body == NULL)
		return http_exhaustion(t, ENOMEM);
	memcpy(t->body, req->body, req->body_len);
	t->body_len = req->body_len;
	return 0;
}

/* --- the way in ----------------------------------------------------------------------- */

static void queue(struct http_transfer *t)
{
	t->state = TRANSFER_QUEUED;
	TAILQ_INSERT_TAIL(&t->http->queued, t, todo_link);
	event_active(t->http->kick, EV_TIMEOUT, 0);
}

static void looked_up(void *arg, const char *resolve, bool ours, const struct err *e)
{
	struct http_transfer *t = arg;

	t->query = NULL;
	if (resolve == NULL) {
		http_say(t, "%s", e->text);
		http_end(t, ours ? HTTP_NO_RESOURCES : HTTP_NO_HOST);
	} else if (http_setup_resolve(t, resolve) < 0) {
		http_end(t, HTTP_FAILED);
	} else {
		t->last_ms = clock_mono_ms();
		queue(t);
		http_watch_transfer(t);
	}
}

/* HTTP_DONE: on its way. */
static enum http_outcome find_host(struct http_transfer *t)
{
	const struct known_url *u = http_url_find(t);
	const char *known;

	if (u == NULL)
		return HTTP_BAD_URL;
	t->literal = u->literal;
	if (u->literal) {
		queue(t);
		return HTTP_DONE;
	}
	known = resolver_cached(t->http->resolver, u->host, u->port);
	if (known != NULL) {
		if (http_setup_resolve(t, known) < 0)
			return HTTP_FAILED;
		queue(t);
		return HTTP_DONE;
	}
	t->query = resolver_lookup(t->http->resolver, u->host, u->port, looked_up, t);
	if (t->query == NULL) {
		http_exhaustion(t, ENOMEM);
		return HTTP_FAILED;
	}
	t->state = TRANSFER_LOOKING_UP;
	return HTTP_DONE;
}

static enum http_outcome set_off(struct http_transfer *t, const struct http_request *req)
{
	if (copy_request(t, req) < 0 || http_setup_request(t, req) < 0)
		return HTTP_FAILED;
	if (req->resolve == NULL)
		return find_host(t);
	if (http_setup_resolve(t, req->resolve) < 0)
		return HTTP_FAILED;
	queue(t);
	return HTTP_DONE;
}

struct http_transfer *http_start(struct http *h, const struct http_request *req, const struct http_handlers *handlers,
                                 void *arg)
{
	struct http_transfer *t = transfer_new(h);
	enum http_outcome o;

	if (t == NULL)
		return NULL;
	prepare(t, req, handlers, arg);
	TAILQ_INSERT_TAIL(&h->all, t, link);
	h->active++;
	o = set_off(t, req);
	if (o != HTTP_DONE)
		http_end(t, o);
	else
		http_watch_transfer(t);
	return t;
}

/* --- the way out ---------------------------------------------------------------------- */

/* Takes it from wherever it is; nothing of it is left but its memory. */
static void detach(struct http_transfer *t)
{
	struct http *h = t->http;

	assert(h->in_curl == 0 || t->state != TRANSFER_RUNNING);
	if (t->state == TRANSFER_LOOKING_UP && t->query != NULL)
		resolver_cancel(t->query);
	t->query = NULL;
	if (t->state == TRANSFER_QUEUED)
		TAILQ_REMOVE(&h->queued, t, todo_link);
	if (t->state == TRANSFER_RUNNING)
		http_shard_remove(t);
	if (t->resuming)
		TAILQ_REMOVE(&h->resuming, t, resume_link);
	t->resuming = false;
}

static void tell_and_recycle(struct http_transfer *t, CURLcode code, enum http_outcome o)
{
	struct http_result r = {.outcome = o, .status = t->status, .retry_after_s = t->retry_after_s};
	long connects = 1;

	if (t->handlers != NULL) {
		r.elapsed_ms = clock_mono_ms() - t->started_ms;
		r.body = t->collected.data != NULL ? t->collected.data : "";
		r.body_len = t->collected.len;
		if (o == HTTP_RESET && !t->answered)
			curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
		r.reused = connects == 0;
		http_outcome_tell(t, code, &r);
		if (o == HTTP_NO_RESOURCES)
			http_exhaustion_tell(t->http, r.text);
		t->handlers->done(t->arg, &r);
	}
	recycle(t);
}

/* From outside curl: what ends here is told soon, but not from within the caller. */
void http_end(struct http_transfer *t, enum http_outcome outcome)
{
	detach(t);
	t->state = TRANSFER_ENDED;
	t->outcome = outcome == HTTP_FAILED && t->shortage != 0 ? HTTP_NO_RESOURCES : outcome;
	t->has_outcome = true;
	TAILQ_INSERT_TAIL(&t->http->ended, t, todo_link);
	event_active(t->http->kick, EV_TIMEOUT, 0);
}

static void finish(struct http_transfer *t, CURLcode code)
{
	enum http_outcome o = t->outcome;

	if (!t->has_outcome)
		o = http_exhaustion_judge(t, code, http_outcome_of(code, t->status));
	detach(t);
	if (o == HTTP_CONNECT_TIMEOUT && !t->again && http_watch_stood_still(t->http, t->last_ms)) {
		/* Not the server was late but we: it gets its time once more. */
		t->again = true;
		t->why[0] = '\0';
		queue(t);
		return;
	}
	t->state = TRANSFER_ENDED;
	tell_and_recycle(t, code, o);
}

static void drop_cancelled(struct http *h)
{
	struct http_transfer *t;

	while ((t = TAILQ_FIRST(&h->cancelled)) != NULL) {
		TAILQ_REMOVE(&h->cancelled, t, todo_link);
		detach(t);
		recycle(t);
	}
}

void http_settle(struct http *h, struct shard *lane)
{
	CURLMsg *m;
	int left;

	if (h->in_curl > 0)
		return;
	drop_cancelled(h);
	while ((m = curl_multi_info_read(lane->multi, &left)) != NULL) {
		struct http_transfer *t;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		finish(t, m->data.result);
	}
}

static void add_queued(struct http *h)
{
	struct http_transfer *t;

	while ((t = TAILQ_FIRST(&h->queued)) != NULL) {
		struct shard *l = http_shard_for(h);

		TAILQ_REMOVE(&h->queued, t, todo_link);
		t->last_ms = clock_mono_ms();
		t->state = TRANSFER_RUNNING;
		if (l == NULL || http_shard_add(l, t) < 0) {
			t->state = TRANSFER_ENDED;
			http_exhaustion(t, ENOMEM);
			tell_and_recycle(t, CURLE_FAILED_INIT, HTTP_NO_RESOURCES);
		} else {
			http_setup_resolved(t);
		}
	}
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	struct http_transfer *t;

	(void)fd;
	(void)what;
	drop_cancelled(h);
	add_queued(h);
	http_shard_run_due(h);
	while ((t = TAILQ_FIRST(&h->ended)) != NULL) {
		TAILQ_REMOVE(&h->ended, t, todo_link);
		tell_and_recycle(t, CURLE_OK, t->outcome);
	}
}

void http_cancel(struct http_transfer *t)
{
	struct http *h = t->http;

	if (t->handlers == NULL)
		return;
	t->handlers = NULL;
	if (t->state == TRANSFER_ENDED)
		return; /* in its own done, or due to be told: forgotten there */
	if (h->in_curl > 0 && t->state == TRANSFER_RUNNING) {
		TAILQ_INSERT_TAIL(&h->cancelled, t, todo_link);
		return; /* http_settle follows */
	}
	detach(t);
	recycle(t);
}

/* --- pausing -------------------------------------------------------------------------- */

void http_resume_soon(struct http_transfer *t)
{
	const struct timeval now = {0, 0};

	if (t->resuming)
		return;
	t->resuming = true;
	t->resume_round = t->http->resume_round;
	TAILQ_INSERT_TAIL(&t->http->resuming, t, resume_link);
	event_add(t->http->resume, &now);
}

/* curl pauses when its next bytes are refused (http_body_write), so that a pause which
 * ends before they come costs nothing. */
void http_pause(struct http_transfer *t)
{
	t->paused = true;
}

void http_resume(struct http_transfer *t)
{
	if (!t->paused)
		return;
	t->paused = false;
	t->last_ms = clock_mono_ms();
	http_watch_transfer(t);
	if (t->held)
		http_resume_soon(t);
}

static void resume(struct http_transfer *t)
{
	struct http *h = t->http;
	struct shard *l = t->lane;
	CURLcode rc;

	t->sliced = false;
	if (!t->held || t->paused || t->handlers == NULL || t->state != TRANSFER_RUNNING)
		return;
	t->held = false;
	http_enter(h);
	h->in_curl++;
	rc = curl_easy_pause(t->easy, CURLPAUSE_CONT);
	h->in_curl--;
	if (rc != CURLE_OK && t->handlers != NULL)
		finish(t, rc);
	http_settle(h, l);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	struct http_transfer *t;

	(void)fd;
	(void)what;
	/* Whoever has too much again waits for the next iteration. */
	h->resume_round++;
	while ((t = TAILQ_FIRST(&h->resuming)) != NULL && t->resume_round != h->resume_round) {
		TAILQ_REMOVE(&h->resuming, t, resume_link);
		t->resuming = false;
		resume(t);
	}
}

/* --- the whole ------------------------------------------------------------------------ */

struct http *http_new(struct event_base *base, struct resolver *resolver, struct err *e)
{
	struct http *h = calloc(1, sizeof *h);

	if (h == NULL) {
		err_set_errno(e, ENOMEM, "HTTP client");
		return NULL;
	}
	h->base = base;
	h->resolver = resolver;
	h->watch_due_ms = h->judge_due_ms = NEVER;
	h->stood_still_ms = -1;
	TAILQ_INIT(&h->all);
	TAILQ_INIT(&h->spare);
	TAILQ_INIT(&h->queued);
	TAILQ_INIT(&h->ended);
	TAILQ_INIT(&h->cancelled);
	TAILQ_INIT(&h->resuming);
	h->global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	h->share = h->global ? curl_share_init() : NULL;
	h->ca_folder = h->global && http_setup_has_ca_folder();
	h->kick = event_new(base, -1, 0, on_kick, h);
	h->resume = evtimer_new(base, on_resume, h);
	h->watch = evtimer_new(base, http_watch_fire, h);
	if (h->share == NULL || h->kick == NULL || h->resume == NULL || h->watch == NULL) {
		err_set(e, "the HTTP client cannot start: libcurl or libevent has no memory");
		http_free(h);
		return NULL;
	}
	/* One thread, so nothing needs a lock: names and TLS sessions are known to all lanes. */
	curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	return h;
}

void http_free(struct http *h)
{
	struct http_transfer *t;

	if (h == NULL)
		return;
	assert(h->in_curl == 0);
	while ((t = TAILQ_FIRST(&h->all)) != NULL) {
		detach(t);
		recycle(t);
	}
	while ((t = TAILQ_FIRST(&h->spare)) != NULL) {
		TAILQ_REMOVE(&h->spare, t, link);
		transfer_free(t);
	}
	http_shard_free_all(h);
	for (size_t i = 0; i < RESOLVED_SLOTS; i++)
		free(h->resolved[i]);
	http_url_forget(h);
	http_headers_forget(h);
	if (h->share != NULL)
		curl_share_cleanup(h->share);
	if (h->kick != NULL)
		event_free(h->kick);
	if (h->resume != NULL)
		event_free(h->resume);
	if (h->watch != NULL)
		event_free(h->watch);
	if (h->global)
		curl_global_cleanup();
	free(h);
}

size_t http_active(const struct http *h)
{
	return h->active;
}
