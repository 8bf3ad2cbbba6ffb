/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/recorded_http.h"

#include <stdlib.h>
#include <string.h>

struct http_transfer {
	const struct http_handlers *handlers;
	void *arg;
	struct event *step;
	const char *body;
	long status;
	size_t len, split, given;
	bool answered, paused;
};

static struct recorded_http *used;

void recorded_http_use(struct recorded_http *r)
{
	used = r;
}

static void transfer_free(struct http_transfer *t)
{
	used->running--;
	event_free(t->step);
	free(t);
}

void *__real_malloc(size_t size); /* the test's own memory does not run out */

/* The bytes from a copy that ends where they do: a look beyond them is seen. */
static void give(struct http_transfer *t, size_t len)
{
	char *piece = __real_malloc(len + (len == 0));

	if (piece == NULL)
		abort();
	memcpy(piece, t->body + t->given, len);
	t->given += len;
	t->handlers->data(t->arg, piece, len);
	free(piece);
}

static void finish(struct http_transfer *t, bool collected)
{
	const struct http_result result = {
		.outcome = HTTP_DONE,
		.status = t->status,
		.retry_after_s = -1,
		.body = collected ? t->body : "",
		.body_len = collected ? t->len : 0,
	};

	t->handlers->done(t->arg, &result);
	transfer_free(t);
}

/* Status, first piece, second piece, end: each from the loop. */
static void on_step(evutil_socket_t fd, short what, void *arg)
{
	struct http_transfer *t = arg;
	bool wanted = t->handlers->data != NULL;

	(void)fd;
	(void)what;
	if (t->paused)
		return;
	if (!t->answered && wanted && t->handlers->response != NULL)
		wanted = t->handlers->response(t->arg, t->status, "text/plain");
	t->answered = true;
	if (!wanted || t->given == t->len) {
		finish(t, !wanted);
		return;
	}
	event_active(t->step, EV_TIMEOUT, 0);
	give(t, t->given < t->split ? t->split - t->given : t->len - t->given);
}

static bool ends_with(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void answer(struct http_transfer *t, const struct http_request *req)
{
	t->status = 500;
	t->body = "";
	if (ends_with(req->url, "/v1/chat/completions")) {
		size_t n = used->attempts++;

		(void)(buf_add(&used->bodies, req->body, req->body_len) < 0 || buf_adds(&used->bodies, "\n") < 0);
		if (used->llm[n] != NULL) {
			t->status = 200;
			t->body = used->llm[n];
		}
		t->split = n == used->split_attempt ? used->split_at : 0;
	}
	for (size_t i = 0; i < used->other_count; i++) {
		if (!ends_with(req->url, used->others[i].path))
			continue;
		t->status = used->others[i].status;
		t->body = used->others[i].body;
	}
	t->len = strlen(t->body);
}

/* clang-format off */
struct http_transfer *__wrap_http_start(struct http *h, const struct http_request *req,
                                        const struct http_handlers *handlers, void *arg);
void __wrap_http_cancel(struct http_transfer *t);
void __wrap_http_drain(struct http_transfer *t);
void __wrap_http_pause(struct http_transfer *t);
void __wrap_http_resume(struct http_transfer *t);
void __wrap_http_progress(struct http_transfer *t, int64_t silence_ms);
/* clang-format on */

struct http_transfer *__wrap_http_start(struct http *h, const struct http_request *req,
                                        const struct http_handlers *handlers, void *arg)
{
	struct http_transfer *t = calloc(1, sizeof *t);

	(void)h;
	if (t == NULL)
		return NULL;
	*t = (struct http_transfer){.handlers = handlers, .arg = arg};
	t->step = event_new(used->base, -1, 0, on_step, t);
	if (t->step == NULL) {
		free(t);
		return NULL;
	}
	answer(t, req);
	if (++used->running > used->most)
		used->most = used->running;
	event_active(t->step, EV_TIMEOUT, 0);
	return t;
}

void __wrap_http_drain(struct http_transfer *t)
{
	(void)t;
}

void __wrap_http_cancel(struct http_transfer *t)
{
	transfer_free(t);
}

void __wrap_http_progress(struct http_transfer *t, int64_t silence_ms)
{
	(void)t, (void)silence_ms;
}

void __wrap_http_pause(struct http_transfer *t)
{
	t->paused = true;
}

void __wrap_http_resume(struct http_transfer *t)
{
	if (t->paused)
		event_active(t->step, EV_TIMEOUT, 0);
	t->paused = false;
}
