/* SPDX-License-Identifier: Apache-2.0 */
/* One transfer, in the order in which it happens: it starts, its host is found, it joins a
 * shard of the pool (or needs none: http_plain.c), its response arrives (http_receive.c), and it ends. */
#include "core/http/http_private.h"

#include "core/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The end, to which every step may lead. */
static void finish(struct http_transfer *t, CURLcode code);
static void report(struct http_transfer *t, CURLcode code, enum http_outcome o);
static void end_soon(struct http_transfer *t, enum http_outcome outcome);
static void settle(struct http *h, struct shard *shard);

/* Before each call of curl that may deliver data. */
static void enter(struct http *h)
{
	h->now_ms = clock_mono_ms();
	h->calls++;
}

/* --- memory ---------------------------------------------------------------------------- */

static void transfer_free(struct http_transfer *t)
{
	if (t->easy != NULL)
		curl_easy_cleanup(t->easy);
	http_setup_forget(t);
	buf_free(&t->collected);
	free(t->body);
	free(t->url);
	free(t);
}

static int give_handle(struct http_transfer *t)
{
	t->easy = curl_easy_init();
	return t->easy == NULL ? http_outcome_exhausted(t, ENOMEM) : http_setup_handle(t);
}

static struct http_transfer *transfer_new(struct http *h, bool is_plain)
{
	struct http_transfer *t = is_plain ? NULL : TAILQ_FIRST(&h->spare);

	if (t != NULL) {
		TAILQ_REMOVE(&h->spare, t, link);
		h->spares--;
		return t;
	}
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return NULL;
	t->http = h;
	if (!is_plain && give_handle(t) < 0) {
		transfer_free(t);
		return NULL;
	}
	return t;
}

/* The handle is reused by the next request, with all options that do not change. */
static void recycle(struct http_transfer *t)
{
	struct http *h = t->http;

	TAILQ_REMOVE(&h->all, t, link);
	h->active--;
	if (t->easy == NULL || h->spares >= SPARE_TRANSFERS) {
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
	t->connect_ms = req->connect_ms;
	t->total_ms = req->total_ms;
	t->deadline_ms = req->total_ms > 0 ? t->started_ms + req->total_ms : NEVER;
	t->silence_ms = req->silence_ms;
	t->telling = t->progress_only = t->paused = t->sliced = t->held = t->resuming = false;
	t->status = 0;
	t->length = -1;
	t->retry_after_s = -1;
	t->header_bytes = 0;
	t->answered = t->responded = t->has_outcome = false;
	t->exhausted = 0;
	t->collecting = handlers->data == NULL;
	t->collect_max = req->collect_limit > 0 ? req->collect_limit : COLLECT_DEFAULT;
	buf_init(&t->collected, t->collect_max);
	t->literal = t->odd = false;
	t->addresses = 0;
	t->curl_error[0] = '\0';
	t->last_error = NULL;
	t->restarted = false;
}

static int copy_request(struct http_transfer *t, const struct http_request *req)
{
	t->url = strdup(req->url);
	if (t->url == NULL)
		return http_outcome_exhausted(t, ENOMEM);
	snprintf(t->verb, sizeof t->verb, "%s", req->method);
	t->body_len = 0;
	if (req->body == NULL)
		return 0;
	t->body = malloc(req->body_len + 1);
	if (t->body == NULL)
		return http_outcome_exhausted(t, ENOMEM);
	memcpy(t->body, req->body, req->body_len);
	t->body_len = req->body_len;
	return 0;
}

/* --- start ----------------------------------------------------------------------------- */

static void queue(struct http_transfer *t)
{
	t->state = TRANSFER_QUEUED;
	TAILQ_INSERT_TAIL(&t->http->queued, t, queue_link);
	event_active(t->http->wake, EV_TIMEOUT, 0);
}

static void on_resolved(void *arg, const char *resolve, bool exhausted, const struct err *e)
{
	struct http_transfer *t = arg;

	t->query = NULL;
	if (resolve == NULL) {
		http_outcome_error(t, "%s", e->text);
		end_soon(t, exhausted ? HTTP_NO_RESOURCES : HTTP_NO_HOST);
	} else if (http_setup_resolve(t, resolve) < 0) {
		end_soon(t, HTTP_FAILED);
	} else {
		t->last_ms = clock_mono_ms();
		queue(t);
		http_watch_transfer(t);
	}
}

/* HTTP_DONE: no error so far. resolve: the addresses, as the caller knows them; NULL: it does not. */
static enum http_outcome find_host(struct http_transfer *t, const char *resolve, const char *proxy)
{
	const struct known_url *u;
	const char *known;

	if (t->socket != NULL) {
		queue(t);
		return HTTP_DONE;
	}
	if (resolve != NULL && proxy == NULL) {
		if (http_setup_resolve(t, resolve) < 0)
			return HTTP_FAILED;
		queue(t);
		return HTTP_DONE;
	}
	u = http_url_find(t, proxy != NULL ? proxy : t->url, proxy != NULL);
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
	t->query = resolver_lookup(t->http->resolver, u->host, u->port, on_resolved, t);
	if (t->query == NULL) {
		http_outcome_exhausted(t, ENOMEM);
		return HTTP_FAILED;
	}
	t->state = TRANSFER_LOOKING_UP;
	return HTTP_DONE;
}

static enum http_outcome begin(struct http_transfer *t, const struct http_request *req)
{
	if (copy_request(t, req) < 0 || http_setup_request(t, req) < 0)
		return HTTP_FAILED;
	return find_host(t, req->resolve, req->proxy);
}

/* What could not be done without curl after all. Nothing of a response was told. */
static enum http_outcome begin_again(struct http_transfer *t, const char *resolve)
{
	if (give_handle(t) < 0 || http_setup_handle_for(t, false) < 0)
		return HTTP_FAILED;
	return find_host(t, resolve, NULL);
}

static enum http_outcome begin_plain(struct http_transfer *t, const struct http_request *req, const struct known_url *u)
{
	if (copy_request(t, req) < 0 || http_headers_set(t, req) < 0)
		return HTTP_FAILED;
	return http_plain_start(t, u) == 0 ? HTTP_DONE : begin_again(t, req->resolve);
}

struct http_transfer *http_start(struct http *h, const struct http_request *req, const struct http_handlers *handlers,
                                 void *arg)
{
	/* Whoever wants the head's lines gets libcurl's. */
	const struct known_url *u = handlers->header == NULL ? http_plain_route(h, req) : NULL;
	struct http_transfer *t = transfer_new(h, u != NULL);
	enum http_outcome o;

	if (t == NULL)
		return NULL;
	prepare(t, req, handlers, arg);
	TAILQ_INSERT_TAIL(&h->all, t, link);
	h->active++;
	o = u != NULL ? begin_plain(t, req, u) : begin(t, req);
	if (o != HTTP_DONE)
		end_soon(t, o);
	else
		http_watch_transfer(t);
	return t;
}

static void add_queued(struct http *h)
{
	struct http_transfer *t;

	while ((t = TAILQ_FIRST(&h->queued)) != NULL) {
		struct shard *shard = http_shard_for(h);

		TAILQ_REMOVE(&h->queued, t, queue_link);
		t->last_ms = clock_mono_ms();
		t->state = TRANSFER_RUNNING;
		if (shard == NULL || http_shard_add(shard, t) < 0) {
			t->state = TRANSFER_ENDED;
			http_outcome_exhausted(t, ENOMEM);
			report(t, CURLE_FAILED_INIT, HTTP_NO_RESOURCES);
		} else {
			http_setup_resolved(t);
		}
	}
}

/* --- a pause, or a slice, is over ------------------------------------------------------- */

static void resume(struct http_transfer *t)
{
	struct http *h = t->http;
	struct shard *shard = t->shard;
	CURLcode rc;

	t->sliced = false;
	if (!t->held || t->paused || t->handlers == NULL)
		return;
	if (t->state == TRANSFER_PLAIN) {
		http_plain_resume(t);
		return; /* t may be gone */
	}
	if (t->state != TRANSFER_RUNNING)
		return;
	t->held = false;
	enter(h);
	h->in_curl++;
	rc = curl_easy_pause(t->easy, CURLPAUSE_CONT);
	h->in_curl--;
	if (rc != CURLE_OK && t->handlers != NULL)
		finish(t, rc);
	settle(h, shard);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	struct http_transfer *t;

	(void)fd;
	(void)what;
	/* A transfer that exceeds its slice again waits for the next iteration. */
	h->resume_round++;
	while ((t = TAILQ_FIRST(&h->resuming)) != NULL && t->resume_round != h->resume_round) {
		TAILQ_REMOVE(&h->resuming, t, resume_link);
		t->resuming = false;
		resume(t);
	}
}

/* --- end ------------------------------------------------------------------------------- */

/* Removes it from every list and from its shard; only its memory is left. */
static void detach(struct http_transfer *t)
{
	struct http *h = t->http;

	assert(h->in_curl == 0 || t->state != TRANSFER_RUNNING);
	if (t->state == TRANSFER_LOOKING_UP && t->query != NULL)
		resolver_cancel(t->query);
	t->query = NULL;
	if (t->state == TRANSFER_QUEUED)
		TAILQ_REMOVE(&h->queued, t, queue_link);
	if (t->state == TRANSFER_RUNNING)
		http_shard_remove(t);
	if (t->state == TRANSFER_PLAIN)
		http_plain_leave(t);
	if (t->resuming)
		TAILQ_REMOVE(&h->resuming, t, resume_link);
	t->resuming = false;
}

/* The last callback; then the transfer is gone. */
static void report(struct http_transfer *t, CURLcode code, enum http_outcome o)
{
	struct http_result r = {.outcome = o, .status = t->status, .retry_after_s = t->retry_after_s};
	long connects = 1;

	if (o == HTTP_DONE)
		r.plain = t->easy == NULL || http_plain_learn(t);
	if (t->handlers != NULL) {
		r.elapsed_ms = clock_mono_ms() - t->started_ms;
		r.body = t->collected.data != NULL ? t->collected.data : "";
		r.body_len = t->collected.len;
		if (o == HTTP_RESET && !t->answered && t->easy != NULL)
			curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
		r.reused = connects == 0;
		http_outcome_describe(t, code, &r);
		if (o == HTTP_NO_RESOURCES)
			http_outcome_log_exhaustion(t->http, r.text);
		t->handlers->done(t->arg, &r);
	}
	recycle(t);
}

/* Not from within curl. It is reported soon, but not from within the caller. */
static void end_soon(struct http_transfer *t, enum http_outcome outcome)
{
	detach(t);
	t->state = TRANSFER_ENDED;
	t->outcome = outcome == HTTP_FAILED && t->exhausted != 0 ? HTTP_NO_RESOURCES : outcome;
	t->has_outcome = true;
	TAILQ_INSERT_TAIL(&t->http->ended, t, queue_link);
	event_active(t->http->wake, EV_TIMEOUT, 0);
}

static void finish(struct http_transfer *t, CURLcode code)
{
	enum http_outcome o = t->outcome;

	if (!t->has_outcome)
		o = http_outcome_of_exhaustion(t, code, http_outcome_of(code, t->status));
	detach(t);
	if (o == HTTP_CONNECT_TIMEOUT && !t->restarted && http_watch_stalled_since(t->http, t->last_ms)) {
		/* Our own loop was late, not the server, which gets its time once more. */
		t->restarted = true;
		t->curl_error[0] = '\0';
		queue(t);
		return;
	}
	t->state = TRANSFER_ENDED;
	report(t, code, o);
}

static void on_plain_end(struct http_transfer *t, enum http_outcome o)
{
	detach(t);
	t->state = TRANSFER_ENDED;
	report(t, CURLE_OK, t->has_outcome ? t->outcome : o);
}

static void on_plain_odd(struct http_transfer *t)
{
	enum http_outcome o;

	detach(t);
	t->answered = false;
	o = begin_again(t, NULL);
	if (o != HTTP_DONE)
		end_soon(t, o);
	else
		http_watch_transfer(t);
}

static void drop_cancelled(struct http *h)
{
	struct http_transfer *t;

	while ((t = TAILQ_FIRST(&h->cancelled)) != NULL) {
		TAILQ_REMOVE(&h->cancelled, t, queue_link);
		detach(t);
		recycle(t);
	}
}

/* After each call of curl: reports the transfers that have ended. */
static void settle(struct http *h, struct shard *shard)
{
	CURLMsg *m;
	int left;

	if (h->in_curl > 0)
		return;
	drop_cancelled(h);
	while ((m = curl_multi_info_read(shard->multi, &left)) != NULL) {
		struct http_transfer *t;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		finish(t, m->data.result);
	}
}

void http_drain(struct http_transfer *t)
{
	if (t->handlers != NULL && t->state == TRANSFER_PLAIN && !t->telling)
		http_plain_drain(t);
}

void http_cancel(struct http_transfer *t)
{
	struct http *h = t->http;

	if (t->handlers == NULL)
		return;
	t->handlers = NULL;
	if (t->state == TRANSFER_ENDED || t->telling)
		return; /* within its own done or data, or about to be reported: freed there */
	if (h->in_curl > 0 && t->state == TRANSFER_RUNNING) {
		TAILQ_INSERT_TAIL(&h->cancelled, t, queue_link);
		return; /* http_settle follows */
	}
	detach(t);
	recycle(t);
}

/* --- time: deadlines and silence ------------------------------------------------------- */

static void extend(struct http_transfer *t, int64_t late)
{
	t->last_ms += late;
	t->started_ms += late;
	if (t->deadline_ms != NEVER)
		t->deadline_ms += late;
}

static void expire(struct http_transfer *t, int64_t now)
{
	if (t->deadline_ms <= now) {
		end_soon(t, HTTP_TIMEOUT);
	} else if (t->state == TRANSFER_LOOKING_UP) {
		http_outcome_error(t, "the name was not looked up within %lld ms", (long long)t->connect_ms);
		end_soon(t, HTTP_NO_HOST);
	} else {
		end_soon(t, HTTP_SILENCE);
	}
}

/* Returns when the next transfer may be over. */
static int64_t check_all(struct http *h, int64_t now, int64_t late)
{
	struct http_transfer *t, *following;
	int64_t next = NEVER;

	for (t = TAILQ_FIRST(&h->all); t != NULL; t = following) {
		int64_t due;

		following = TAILQ_NEXT(t, link);
		if (t->state == TRANSFER_ENDED)
			continue;
		if (late >= STALL_MS)
			extend(t, late);
		due = http_watch_due(t);
		if (due <= now)
			expire(t, now);
		else if (due < next)
			next = due;
	}
	return next;
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	int64_t now = clock_mono_ms(), late = now - h->watch_due_ms;

	(void)fd;
	(void)what;
	h->watch_due_ms = NEVER;
	if (late >= STALL_MS)
		h->stalled_ms = now;
	if (now >= h->check_due_ms || late >= STALL_MS || h->active == 0) {
		int64_t next = check_all(h, now, late), shards = http_shard_prune(h, now),
			idle = http_plain_prune(h, now);

		h->check_due_ms = shards < next ? shards : next;
		h->check_due_ms = idle < h->check_due_ms ? idle : h->check_due_ms;
	}
	if (h->check_due_ms != NEVER)
		http_watch_consider(h, h->check_due_ms);
}

/* --- curl at work --------------------------------------------------------------------- */

static int run(struct shard *shard, curl_socket_t fd, int bits)
{
	struct http *h = shard->http;
	int running;
	CURLMcode rc;

	enter(h);
	h->in_curl++;
	rc = curl_multi_socket_action(shard->multi, fd, bits, &running);
	h->in_curl--;
	return rc == CURLM_OK ? 0 : -1;
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct sock *s = arg;
	struct shard *shard = s->shard;
	int bits = 0;

	what &= s->wanted;
	if (what == 0) {
		/* It has used its slice and continues in this iteration: not worth two system calls. */
		if (!TAILQ_EMPTY(&shard->http->resuming))
			return;
		/* An idle connection that the server closed, or data for a paused one. */
		http_shard_arm(s, fd, s->wanted);
		return;
	}
	if (what & EV_READ)
		bits |= CURL_CSELECT_IN;
	if (what & EV_WRITE)
		bits |= CURL_CSELECT_OUT;
	run(shard, fd, bits);
	settle(shard->http, shard);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct shard *shard = arg;

	(void)fd;
	(void)what;
	shard->timer_due_ms = NEVER;
	if (shard->curl_due_ms == NEVER)
		return;
	if (shard->curl_due_ms > clock_mono_ms()) {
		http_shard_set_timer(shard);
		return;
	}
	shard->curl_due_ms = NEVER;
	run(shard, CURL_SOCKET_TIMEOUT, 0);
	settle(shard->http, shard);
}

static void run_due(struct http *h)
{
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < h->shard_count; i++) {
		struct shard *shard = h->shards[i];

		if (shard->curl_due_ms > now)
			continue;
		shard->curl_due_ms = NEVER;
		run(shard, CURL_SOCKET_TIMEOUT, 0);
		settle(h, shard);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	struct http_transfer *t;

	(void)fd;
	(void)what;
	drop_cancelled(h);
	add_queued(h);
	run_due(h);
	while ((t = TAILQ_FIRST(&h->ended)) != NULL) {
		TAILQ_REMOVE(&h->ended, t, queue_link);
		report(t, CURLE_OK, t->outcome);
	}
}

/* --- the client ------------------------------------------------------------------------ */

struct http *http_new(struct event_base *base, struct resolver *resolver, struct err *e)
{
	struct http *h = calloc(1, sizeof *h);

	if (h == NULL) {
		err_set_errno(e, ENOMEM, "HTTP client");
		return NULL;
	}
	h->base = base;
	h->resolver = resolver;
	h->watch_due_ms = h->check_due_ms = NEVER;
	h->stalled_ms = -1;
	h->on_socket = on_socket;
	h->on_timer = on_timer;
	h->on_plain_end = on_plain_end;
	h->on_plain_odd = on_plain_odd;
	h->plain_idle_ms = PLAIN_IDLE_MS;
	TAILQ_INIT(&h->all);
	TAILQ_INIT(&h->spare);
	TAILQ_INIT(&h->queued);
	TAILQ_INIT(&h->ended);
	TAILQ_INIT(&h->cancelled);
	TAILQ_INIT(&h->resuming);
	TAILQ_INIT(&h->plain_idle);
	TAILQ_INIT(&h->plain_servers);
	h->global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	h->share = h->global ? curl_share_init() : NULL;
	h->ca_directory = h->global && http_setup_has_ca_directory();
	h->wake = event_new(base, -1, 0, on_wake, h);
	h->resume = evtimer_new(base, on_resume, h);
	h->watch = evtimer_new(base, on_watch, h);
	if (h->share == NULL || h->wake == NULL || h->resume == NULL || h->watch == NULL) {
		err_set(e, "the HTTP client cannot start: libcurl or libevent is out of memory");
		http_free(h);
		return NULL;
	}
	/* All shards share names and TLS sessions; there is one thread, so nothing needs a lock. */
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
	http_plain_forget(h);
	for (size_t i = 0; i < RESOLVED_SLOTS; i++)
		free(h->resolved[i]);
	http_url_forget(h);
	http_headers_forget(h);
	if (h->share != NULL)
		curl_share_cleanup(h->share);
	if (h->wake != NULL)
		event_free(h->wake);
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
