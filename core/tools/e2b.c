/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox belongs to a conversation. Its runs follow one another, because they share the
 * state of its interpreter: the first run of the queue is active, the others wait. The
 * creation of a sandbox continues when the run that needed it is cancelled; the next run
 * uses it. */
#include "core/tools/e2b.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/tools/e2b_api.h"
#include "core/tools/e2b_shared.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define SANDBOXES_MAX 256
#define USED_SLACK_MS 50 /* between the clocks of a file and of the loop */

struct sandbox {
	struct e2b *owner;
	char *thread; /* NULL: the slot is free */
	struct e2b_handle handle;
	struct http_transfer *creating;
	TAILQ_HEAD(, e2b_run) queue; /* the first one is active, or waits for the creation */
	int64_t used_ms;             /* CLOCK_MONOTONIC, at the end of the last run */
	int64_t idle_ms;             /* it is used until this long after that */
};

struct e2b {
	struct event *sweep;
	struct e2b_shared *shared;
	/* Those of the last run, to end idle sandboxes with. They live as long as the worker. */
	struct http *http;
	struct config *config;
	struct sandbox items[SANDBOXES_MAX];
};

struct e2b_run {
	struct e2b *owner;
	const struct tool_context *ctx;
	char *thread, *code;
	execution_done_fn *done;
	void *arg;
	struct event *step;      /* takes the next step from the loop */
	struct sandbox *sandbox; /* in whose queue it is; NULL: not yet */
	TAILQ_ENTRY(e2b_run) link;
	struct http_transfer *transfer;
	bool recreated;
	struct execution execution;
	struct err failure;
};

static void advance(struct sandbox *s);

/* ---- sandboxes -------------------------------------------------------------------- */

static bool is_idle(const struct sandbox *s)
{
	return s->thread != NULL && TAILQ_EMPTY(&s->queue) && s->creating == NULL;
}

static void sandbox_clear(struct sandbox *s)
{
	e2b_handle_clear(&s->handle);
	free(s->thread);
	s->thread = NULL;
}

/* Ends E2B's sandbox, unless another worker has used it since. */
static void sandbox_end(struct sandbox *s)
{
	struct e2b *b = s->owner;
	struct e2b_handle shared;
	int64_t age_ms;
	bool is_shared = e2b_shared_read(b->shared, s->thread, &shared, &age_ms) == 0 && s->handle.id != NULL &&
	                 strcmp(shared.id, s->handle.id) == 0;

	if (s->handle.id != NULL && !(is_shared && age_ms < clock_mono_ms() - s->used_ms - USED_SLACK_MS)) {
		e2b_api_kill(b->http, b->config, s->handle.id);
		if (is_shared)
			e2b_shared_remove(b->shared, s->thread);
	}
	e2b_handle_clear(&shared);
	e2b_handle_clear(&s->handle);
}

/* Frees the slot. */
static void sandbox_retire(struct sandbox *s)
{
	sandbox_end(s);
	sandbox_clear(s);
}

/* Takes the sandbox that the workers share; forgets one that has idled for too long. */
static void sandbox_refresh(struct sandbox *s)
{
	struct e2b_handle shared;
	int64_t age_ms;

	if (e2b_shared_read(s->owner->shared, s->thread, &shared, &age_ms) == 0 && age_ms < s->idle_ms) {
		e2b_handle_clear(&s->handle);
		s->handle = shared;
		return;
	}
	e2b_handle_clear(&shared);
	if (s->handle.id != NULL && clock_mono_ms() - s->used_ms >= s->idle_ms)
		sandbox_end(s);
}

/* code.idle, or less where the conversation is forgotten sooner. */
static int64_t idle_ms_of(const struct tool_context *ctx)
{
	int64_t ms = cfg_ms(ctx->config, CFG_CODE_IDLE);

	return ctx->idle_ms > 0 && ctx->idle_ms < ms ? ctx->idle_ms : ms;
}

/* Ends sandboxes that have idled for too long; runs again when the next one will have. */
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct e2b *b = arg;
	int64_t now = clock_mono_ms(), next = -1;

	(void)fd;
	(void)what;
	for (struct sandbox *s = b->items; s < b->items + SANDBOXES_MAX; s++) {
		if (!is_idle(s))
			continue;
		if (now - s->used_ms >= s->idle_ms)
			sandbox_retire(s);
		else if (next < 0 || s->used_ms + s->idle_ms - now < next)
			next = s->used_ms + s->idle_ms - now;
	}
	if (next >= 0)
		event_add(b->sweep, &(struct timeval){.tv_sec = next / 1000, .tv_usec = next % 1000 * 1000 + 1000});
}

/* The conversation's sandbox, or a free slot for it, if need be that of the least recently
 * used one. NULL: all are running code, or no memory. */
static struct sandbox *sandbox_get(struct e2b *b, const char *thread)
{
	struct sandbox *unused = NULL, *oldest = NULL;

	for (struct sandbox *s = b->items; s < b->items + SANDBOXES_MAX; s++) {
		if (s->thread != NULL && strcmp(s->thread, thread) == 0)
			return s;
		if (s->thread == NULL && unused == NULL)
			unused = s;
		if (is_idle(s) && (oldest == NULL || s->used_ms < oldest->used_ms))
			oldest = s;
	}
	if (unused == NULL && oldest != NULL) {
		sandbox_retire(oldest);
		unused = oldest;
	}
	if (unused == NULL || (unused->thread = strdup(thread)) == NULL)
		return NULL;
	unused->owner = b;
	TAILQ_INIT(&unused->queue);
	return unused;
}

bool e2b_is_enabled(const struct config *c)
{
	const char *key = cfg_str(c, CFG_CODE_E2B_KEY);

	return key != NULL && *key != '\0';
}

struct e2b *e2b_new(struct event_base *base, const char *dir)
{
	struct e2b *b = calloc(1, sizeof *b);

	if (b == NULL)
		return NULL;
	b->sweep = evtimer_new(base, on_sweep, b);
	b->shared = e2b_shared_new(dir);
	if (b->sweep == NULL || b->shared == NULL) {
		if (b->sweep != NULL)
			event_free(b->sweep);
		e2b_shared_free(b->shared);
		free(b);
		return NULL;
	}
	return b;
}

void e2b_free(struct e2b *b)
{
	if (b == NULL)
		return;
	for (struct sandbox *s = b->items; s < b->items + SANDBOXES_MAX; s++) {
		if (s->creating != NULL)
			http_cancel(s->creating);
		sandbox_clear(s);
	}
	event_free(b->sweep);
	e2b_shared_free(b->shared);
	config_unref(b->config);
	free(b);
}

/* ---- the queue of a sandbox --------------------------------------------------------- */

static void queue_add(struct sandbox *s, struct e2b_run *r)
{
	TAILQ_INSERT_TAIL(&s->queue, r, link);
	r->sandbox = s;
	s->idle_ms = idle_ms_of(r->ctx);
}

/* If the run was the active one, the next one is, from the loop. */
static void queue_remove(struct e2b_run *r)
{
	struct sandbox *s = r->sandbox;
	bool was_active = TAILQ_FIRST(&s->queue) == r;

	TAILQ_REMOVE(&s->queue, r, link);
	r->sandbox = NULL;
	if (!was_active)
		return;
	s->used_ms = clock_mono_ms();
	if (s->handle.id != NULL)
		e2b_shared_touch(r->owner->shared, s->thread);
	if (!TAILQ_EMPTY(&s->queue))
		event_active(TAILQ_FIRST(&s->queue)->step, EV_TIMEOUT, 0);
	else if (s->handle.id == NULL && s->creating == NULL)
		sandbox_clear(s);
	else if (!evtimer_pending(r->owner->sweep, NULL))
		event_add(r->owner->sweep, &(struct timeval){.tv_sec = s->idle_ms / 1000, .tv_usec = 1000});
}

static void run_free(struct e2b_run *r)
{
	if (r->sandbox != NULL)
		queue_remove(r);
	if (r->step != NULL)
		event_free(r->step);
	execution_clear(&r->execution);
	free(r->thread);
	free(r->code);
	free(r);
}

static void end_run(struct e2b_run *r, const char *failure)
{
	r->done(r->arg, &r->execution, failure);
	run_free(r);
}

/* ---- creating a sandbox --------------------------------------------------------------- */

static void on_created(void *arg, const struct http_result *h)
{
	struct sandbox *s = arg;
	struct e2b_run *first = TAILQ_FIRST(&s->queue);
	const char *why = NULL;

	s->creating = NULL;
	if (h->outcome == HTTP_DONE && h->status == 201) {
		if (e2b_handle_read(&s->handle, h->body, h->body_len) < 0)
			why = "the answer about the new sandbox has no usable sandboxID";
		else
			e2b_shared_write(s->owner->shared, s->thread, &s->handle);
	} else if (first != NULL) {
		e2b_api_failure(h, "the sandbox could not be created", &first->failure);
		why = first->failure.text;
	}
	s->used_ms = clock_mono_ms();
	if (first != NULL && why != NULL)
		end_run(first, why);
	else if (first != NULL)
		advance(s);
	else if (s->handle.id == NULL)
		sandbox_clear(s);
	else
		event_add(s->owner->sweep, &(struct timeval){.tv_sec = 1});
}

/* ---- running code ----------------------------------------------------------------- */

static bool on_response(void *arg, long status, const char *content_type)
{
	(void)arg;
	(void)content_type;
	return status == 200;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	execution_feed(&((struct e2b_run *)arg)->execution, bytes, len);
}

/* E2B no longer has the sandbox, and the code has not run. */
static bool has_vanished(const struct e2b_run *r, const struct http_result *h)
{
	const struct execution *x = &r->execution;

	if (x->out.len > 0 || x->results.len > 0 || x->error.len > 0)
		return false; /* what it did must not be done twice */
	return h->status == 502 || h->status == 404 || h->outcome == HTTP_REFUSED || h->outcome == HTTP_NO_HOST ||
	       h->outcome == HTTP_RESET;
}

/* Spares the other workers the same failure, unless one of them has shared a new sandbox. */
static void sandbox_forget(struct sandbox *s)
{
	struct e2b_handle shared;
	int64_t age_ms;

	if (e2b_shared_read(s->owner->shared, s->thread, &shared, &age_ms) == 0 && strcmp(shared.id, s->handle.id) == 0)
		e2b_shared_remove(s->owner->shared, s->thread);
	e2b_handle_clear(&shared);
	e2b_handle_clear(&s->handle);
}

static void on_executed(void *arg, const struct http_result *h)
{
	struct e2b_run *r = arg;
	struct sandbox *s = r->sandbox;
	bool vanished = has_vanished(r, h);

	r->transfer = NULL;
	if (vanished)
		sandbox_forget(s);
	else
		e2b_api_extend(r->ctx, s->handle.id);
	if (vanished && !r->recreated) {
		r->recreated = true;
		log_event(LOG_SANDBOX_VANISHED, L_STR("next", "create another"));
		advance(s);
	} else if (h->outcome == HTTP_DONE && h->status == 200) {
		end_run(r, r->execution.ended ? NULL : "the sandbox ended before the code did");
	} else if (h->outcome == HTTP_TIMEOUT) {
		end_run(r, "the code ran longer than is allowed and was stopped");
	} else {
		e2b_api_failure(h, "the code could not be run", &r->failure);
		end_run(r, r->failure.text);
	}
}

/* Takes the next step of the first run in the queue. */
static void advance(struct sandbox *s)
{
	static const struct http_handlers create_handlers = {.done = on_created};
	static const struct http_handlers execute_handlers = {
		.response = on_response, .data = on_data, .done = on_executed};
	struct e2b_run *r = TAILQ_FIRST(&s->queue);
	const struct tool_context *ctx = r->ctx;

	if (s->creating != NULL || r->transfer != NULL)
		return;
	sandbox_refresh(s);
	if (s->handle.id == NULL)
		s->creating = e2b_api_create(ctx, &create_handlers, s);
	else
		r->transfer = e2b_api_execute(ctx, &s->handle, r->code, &execute_handlers, r);
	if (s->creating == NULL && r->transfer == NULL)
		end_run(r, "out of memory");
}

/* ---- starting a run --------------------------------------------------------------- */

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	struct e2b_run *r = arg;
	struct sandbox *s = r->sandbox;

	(void)fd;
	(void)what;
	if (s == NULL) {
		s = sandbox_get(r->owner, r->thread);
		if (s == NULL) {
			end_run(r, "too many sandboxes are running code; try again later");
			return;
		}
		queue_add(s, r);
	}
	if (TAILQ_FIRST(&s->queue) == r)
		advance(s);
}

struct e2b_run *e2b_start(struct e2b *b, const struct tool_context *ctx, const char *code, execution_done_fn *done,
                          void *arg)
{
	struct e2b_run *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	*r = (struct e2b_run){.owner = b,
	                      .ctx = ctx,
	                      .thread = strdup(ctx->thread),
	                      .code = strdup(code),
	                      .done = done,
	                      .arg = arg,
	                      .step = event_new(ctx->base, -1, 0, on_step, r)};
	execution_init(&r->execution, (size_t)cfg_int(ctx->config, CFG_CODE_OUTPUT_LIMIT));
	if (r->thread == NULL || r->code == NULL || r->step == NULL) {
		run_free(r);
		return NULL;
	}
	b->http = ctx->http;
	if (b->config != ctx->config) {
		config_unref(b->config);
		b->config = config_ref((struct config *)(uintptr_t)ctx->config);
	}
	event_active(r->step, EV_TIMEOUT, 0);
	return r;
}

void e2b_cancel(struct e2b_run *r)
{
	if (r->transfer != NULL) {
		http_cancel(r->transfer); /* interrupts the code */
		e2b_api_extend(r->ctx, r->sandbox->handle.id);
	}
	run_free(r);
}

/* One that is still being created goes as soon as it is there. */
void e2b_forget(struct e2b *b, const char *thread)
{
	for (struct sandbox *s = b->items; s < b->items + SANDBOXES_MAX; s++) {
		if (s->thread == NULL || strcmp(s->thread, thread) != 0)
			continue;
		s->idle_ms = 0;
		if (is_idle(s))
			sandbox_retire(s);
		return;
	}
}
