/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/discovery.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISCOVERY_BODY_LIMIT (16u << 20)
#define SKIPPED_LINES        20 /* of one answer that are logged one by one */

struct discovery {
	struct services *s;
	discovery_done_fn *done;
	void *arg;
	struct http_transfer *transfer; /* NULL: none runs */
	int64_t valid_ms;               /* monotonic time of the last valid answer; 0 = none */
	size_t skipped;
	struct err last; /* the failure that was said last */
	struct {
		char *body; /* the last valid answer; NULL: none */
		size_t len, found, skipped;
		struct config *config; /* it was read with */
	} known;
};

struct discovery *discovery_new(struct services *s, discovery_done_fn *done, void *arg)
{
	struct discovery *d = calloc(1, sizeof *d);

	if (d != NULL)
		*d = (struct discovery){.s = s, .done = done, .arg = arg};
	return d;
}

void discovery_cancel(struct discovery *d)
{
	if (d->transfer != NULL)
		http_cancel(d->transfer);
	d->transfer = NULL;
}

static void forget_known(struct discovery *d)
{
	free(d->known.body);
	config_unref(d->known.config);
	memset(&d->known, 0, sizeof d->known);
}

static void remember(struct discovery *d, const struct http_result *r, size_t found)
{
	forget_known(d);
	d->known.body = malloc(r->body_len + 1);
	if (d->known.body == NULL)
		return; /* the next answer is read again */
	memcpy(d->known.body, r->body, r->body_len);
	d->known.len = r->body_len;
	d->known.found = found;
	d->known.skipped = d->skipped;
	d->known.config = config_ref(d->s->config);
}

static bool is_known(const struct discovery *d, const struct http_result *r)
{
	return d->known.body != NULL && d->known.config == d->s->config && r->outcome == HTTP_DONE &&
	       r->status == 200 && r->body_len == d->known.len && memcmp(r->body, d->known.body, r->body_len) == 0;
}

void discovery_free(struct discovery *d)
{
	if (d == NULL)
		return;
	discovery_cancel(d);
	forget_known(d);
	free(d);
}

bool discovery_running(const struct discovery *d)
{
	return d->transfer != NULL;
}

int64_t discovery_age_ms(const struct discovery *d)
{
	return d->valid_ms != 0 ? clock_mono_ms() - d->valid_ms : -1;
}

static void skipped(void *arg, const char *deploy_id, const char *why)
{
	struct discovery *d = arg;

	if (d->skipped++ < SKIPPED_LINES)
		log_warning("discovery skipped", L_STR("deploy_id", deploy_id), L_STR("why", why));
}

static int judge(struct discovery *d, const struct http_result *r, struct llm_list *list, struct err *e)
{
	if (r->outcome != HTTP_DONE)
		return err_set(e, "%s", r->text[0] != '\0' ? r->text : http_outcome_text(r->outcome));
	if (r->status != 200)
		return err_set(e, "the backend answered HTTP %ld to GET /models/deployed/", r->status);
	if (deployments_parse(r->body, r->body_len, d->s->config, list, skipped, d, e) != 0) {
		err_prefix(e, "the backend's answer to GET /models/deployed/");
		return -1;
	}
	return 0;
}

static void answered(void *arg, const struct http_result *r)
{
	struct discovery *d = arg;
	struct llm_list list = {.items = NULL};
	struct err e = ERR_INIT;

	d->transfer = NULL;
	d->skipped = 0;
	if (is_known(d, r)) {
		events_discovery(d->s->events, d->known.found, d->known.skipped, r->elapsed_ms);
		err_clear(&d->last);
		d->valid_ms = clock_mono_ms();
		d->done(d->arg, NULL);
	} else if (judge(d, r, &list, &e) != 0) {
		events_discovery_failed(d->s->events, e.text, r->elapsed_ms, strcmp(e.text, d->last.text) == 0);
		d->last = e;
		d->done(d->arg, NULL);
	} else {
		events_discovery(d->s->events, list.count, d->skipped, r->elapsed_ms);
		err_clear(&d->last);
		d->valid_ms = clock_mono_ms();
		remember(d, r, list.count);
		d->done(d->arg, &list);
	}
	llm_list_clear(&list);
}

static char *deployed_url(const char *backend)
{
	size_t len = strlen(backend);
	char *url = NULL;

	while (len > 0 && backend[len - 1] == '/')
		len--;
	return asprintf(&url, "%.*s/models/deployed/", (int)len, backend) >= 0 ? url : NULL;
}

int discovery_ask(struct discovery *d)
{
	static const struct http_handlers handlers = {.done = answered};
	const struct config *c = d->s->config;
	struct http_request req = {
		.method = "GET",
		.connect_ms = cfg_ms(c, CFG_DISCOVERY_TIMEOUT),
		.total_ms = cfg_ms(c, CFG_DISCOVERY_TIMEOUT),
		.collect_limit = DISCOVERY_BODY_LIMIT,
		.ca_file = cfg_str(c, CFG_CLOUD_CA_FILE),
	};
	char *url;

	if (!cfg_bool(c, CFG_DISCOVERY_ENABLED) || cfg_str(c, CFG_DISCOVERY_BACKEND_URL) == NULL)
		return -1;
	if (d->transfer != NULL)
		return 0;
	url = deployed_url(cfg_str(c, CFG_DISCOVERY_BACKEND_URL));
	req.url = url;
	if (url != NULL)
		d->transfer = http_start(d->s->http, &req, &handlers, d);
	free(url);
	if (d->transfer == NULL)
		log_error("discovery", L_STR("error", "out of memory"));
	return d->transfer != NULL ? 0 : -1;
}
