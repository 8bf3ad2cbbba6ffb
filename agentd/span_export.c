/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/span_export.h"

#include "config.h"
#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/http/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAITING_MAX 4096u /* spans */
#define BATCH_MAX   256u
#define SOON_MS     500 /* from the first span to its request */
#define RETRY_MS    1000
#define RETRY_MAX   60000 /* it doubles up to that */
#define ATTEMPTS    8     /* for one batch */
#define DEADLINE_MS 10000
#define ANSWER_MAX  (64u << 10)
#define HEADERS_MAX 32

struct span_export {
	const struct services *s;
	json_t *waiting;
	struct event *timer;
	struct http_transfer *transfer;
	json_t *batch; /* that is sent, or is to be sent again; NULL: none */
	unsigned attempts;
	int64_t retry_ms; /* 0: the last request succeeded */
	bool failing;     /* which the log says */
	int64_t lost;     /* since it was last logged */
};

static void lose(struct span_export *x, size_t count)
{
	x->lost += (int64_t)count;
}

/* ---- a request ------------------------------------------------------------------------------- */

static json_t *attribute(const char *key, const char *value)
{
	return json_pack("{s:s, s:{s:s}}", "key", key, "value", "stringValue", value);
}

/* ExportTraceServiceRequest; NULL: no memory. */
static char *body_of(const struct span_export *x)
{
	char host[256] = "", instance[300];
	json_t *j;
	char *text;

	gethostname(host, sizeof host - 1);
	snprintf(instance, sizeof instance, "%s:%d", host, (int)getpid());
	j = json_pack("{s:[{s:{s:[o, o, o, o]}, s:[{s:{s:s, s:s}, s:O}]}]}", "resourceSpans", "resource", "attributes",
	              attribute("service.name", cfg_str(x->s->config, CFG_TRACE_SERVICE)),
	              attribute("service.version", PACKAGE_VERSION), attribute("service.instance.id", instance),
	              attribute("host.name", host), "scopeSpans", "scope", "name", "tt-agent", "version",
	              PACKAGE_VERSION, "spans", x->batch);
	text = j != NULL ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
	json_decref(j);
	return text;
}

static int url_of(const struct config *c, struct buf *out)
{
	static const char path[] = "/v1/traces";
	const char *base = cfg_str(c, CFG_TRACE_ENDPOINT);
	size_t len = strlen(base);

	while (len > 0 && base[len - 1] == '/')
		len--;
	if (len >= strlen(path) && memcmp(base + len - strlen(path), path, strlen(path)) == 0)
		return buf_add(out, base, len);
	return buf_addf(out, "%.*s%s", (int)len, base, path);
}

/* "name=value,..." as header lines, ended by NULL; free each. */
static void headers_of(const struct config *c, char *lines[HEADERS_MAX + 1])
{
	const char *list = cfg_str(c, CFG_TRACE_HEADERS), *equals;
	unsigned n = 0;

	for (; list != NULL && *list != '\0' && n < HEADERS_MAX; list += *list == ',') {
		size_t len = strcspn(list, ",");
		char *value;

		equals = memchr(list, '=', len);
		value = equals != NULL ? url_decode(equals + 1, len - (size_t)(equals + 1 - list)) : NULL;
		if (value != NULL &&
		    asprintf(&lines[n], "%.*s: %s", (int)(equals - list), list + strspn(list, " "), value) >= 0)
			n++;
		free(value);
		list += len;
	}
	lines[n] = NULL;
}

/* ---- its answer -------------------------------------------------------------------------------- */

static bool is_worth_a_retry(const struct http_result *r)
{
	return r->outcome != HTTP_DONE || r->status == 429 || r->status == 502 || r->status == 503 || r->status == 504;
}

static void batch_ended(struct span_export *x)
{
	json_decref(x->batch);
	x->batch = NULL;
	x->attempts = 0;
}

static void log_failure(struct span_export *x, const char *error)
{
	if (!x->failing)
		log_event(LOG_SPANS_NOT_SENT, L_STR("error", error), L_INT("waiting", json_array_size(x->waiting)));
	x->failing = true;
}

/* A collector that took only a part says so with status 200. */
static void note_rejected(struct span_export *x, const struct http_result *r)
{
	json_t *j = json_loadb(r->body, r->body_len, 0, NULL), *partial = json_object_get(j, "partialSuccess");
	json_t *count = json_object_get(partial, "rejectedSpans");
	const char *text = json_string_value(count);
	long long rejected = text != NULL ? strtoll(text, NULL, 10) : json_integer_value(count);

	if (rejected > 0) {
		lose(x, (size_t)(rejected < (long long)BATCH_MAX ? rejected : (long long)BATCH_MAX));
		log_failure(x, json_string_value(json_object_get(partial, "errorMessage")));
	}
	json_decref(j);
}

static void succeeded(struct span_export *x, const struct http_result *r)
{
	x->retry_ms = 0;
	if (x->failing || x->lost > 0)
		log_event(LOG_SPANS_SENT, L_INT("lost", x->lost));
	x->failing = false;
	x->lost = 0;
	note_rejected(x, r);
	batch_ended(x);
	if (json_array_size(x->waiting) > 0)
		timer_arm_ms(x->timer, 0);
}

static void failed(struct span_export *x, const struct http_result *r)
{
	char status[32];

	snprintf(status, sizeof status, "HTTP %ld", r->status);
	log_failure(x, r->outcome == HTTP_DONE ? status : r->text);
	if (!is_worth_a_retry(r) || ++x->attempts == ATTEMPTS) {
		lose(x, json_array_size(x->batch));
		batch_ended(x);
	}
	x->retry_ms = x->retry_ms == 0 ? RETRY_MS : x->retry_ms * 2;
	if (x->retry_ms > RETRY_MAX)
		x->retry_ms = RETRY_MAX;
	timer_arm_ms(x->timer, r->retry_after_s > 0 && r->retry_after_s < RETRY_MAX / 1000 ? r->retry_after_s * 1000
	                                                                                   : x->retry_ms);
}

static void on_done(void *arg, const struct http_result *r)
{
	struct span_export *x = arg;

	x->transfer = NULL;
	if (r->outcome == HTTP_DONE && r->status / 100 == 2)
		succeeded(x, r);
	else
		failed(x, r);
}

static void send_batch(struct span_export *x)
{
	static const struct http_handlers handlers = {.done = on_done};
	struct buf url = BUF_INIT(4096);
	char *lines[HEADERS_MAX + 1], *body = body_of(x);

	headers_of(x->s->config, lines);
	if (body != NULL && url_of(x->s->config, &url) == 0) {
		const struct http_request request = {
			.method = "POST",
			.url = url.data,
			.headers = (const char *const *)lines,
			.body = body,
			.body_len = strlen(body),
			.connect_ms = DEADLINE_MS,
			.total_ms = DEADLINE_MS,
			.collect_limit = ANSWER_MAX,
			.ca_file = cfg_str(x->s->config, CFG_CLOUD_CA_FILE),
		};

		x->transfer = http_start(x->s->http, &request, &handlers, x);
	}
	if (x->transfer == NULL)
		failed(x, &(struct http_result){.outcome = HTTP_NO_RESOURCES,
		                                .retry_after_s = -1,
		                                .text = "no memory for a request"});
	for (size_t i = 0; lines[i] != NULL; i++)
		free(lines[i]);
	free(body);
	buf_free(&url);
}

/* ---- what waits --------------------------------------------------------------------------------- */

static void take_batch(struct span_export *x)
{
	json_t *rest = json_array();

	x->batch = json_array();
	for (size_t i = 0; i < json_array_size(x->waiting); i++)
		json_array_append(i < BATCH_MAX ? x->batch : rest, json_array_get(x->waiting, i));
	json_decref(x->waiting);
	x->waiting = rest;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct span_export *x = arg;

	(void)fd, (void)what;
	if (x->transfer != NULL)
		return;
	if (cfg_str(x->s->config, CFG_TRACE_ENDPOINT) == NULL) { /* it was switched off */
		json_array_clear(x->waiting);
		batch_ended(x);
		return;
	}
	if (x->batch == NULL && json_array_size(x->waiting) > 0)
		take_batch(x);
	if (x->batch != NULL)
		send_batch(x);
}

void span_export_add(struct span_export *x, const json_t *spans, int64_t lost)
{
	const json_t *span;
	size_t i;

	if (cfg_str(x->s->config, CFG_TRACE_ENDPOINT) == NULL)
		return;
	x->lost += lost > 0 ? lost : 0;
	json_array_foreach(spans, i, span)
	{
		if (!json_is_object(span) || json_array_size(x->waiting) >= WAITING_MAX ||
		    json_array_append(x->waiting, (json_t *)(uintptr_t)span) < 0)
			lose(x, 1);
	}
	if (x->transfer == NULL && x->retry_ms == 0 && !evtimer_pending(x->timer, NULL))
		timer_arm_ms(x->timer, SOON_MS);
}

struct span_export *span_export_new(const struct services *s)
{
	struct span_export *x = calloc(1, sizeof *x);

	if (x == NULL)
		return NULL;
	x->s = s;
	x->waiting = json_array();
	x->timer = evtimer_new(s->base, on_timer, x);
	if (x->waiting == NULL || x->timer == NULL) {
		span_export_free(x);
		return NULL;
	}
	return x;
}

void span_export_free(struct span_export *x)
{
	if (x == NULL)
		return;
	if (x->transfer != NULL)
		http_cancel(x->transfer);
	if (x->timer != NULL)
		event_free(x->timer);
	json_decref(x->waiting);
	json_decref(x->batch);
	free(x);
}
