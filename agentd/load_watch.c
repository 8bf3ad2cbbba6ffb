/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/load_watch.h"

#include "core/balance/balance.h"
#include "core/base/log.h"
#include "core/probe/load.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_MAX    (4u << 20)
#define RUNNING_MAX 16u /* pages that are read at once */
#define RETRY_MS    3600000

struct reading {
	struct reading *next, **link; /* link: the pointer that points here */
	struct load_watch *owner;
	struct http_transfer *transfer;
	uint64_t instance;
	size_t hint;
};

struct load_watch {
	struct services *s;
	struct balance *balance;
	struct reading *readings;
	size_t running;
	size_t next; /* the index from which on LLMs are looked at */
};

struct load_watch *load_watch_new(struct services *s, const char *run_dir)
{
	struct load_watch *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->s = s;
	w->balance = balance_open(run_dir);
	return w;
}

static void reading_free(struct reading *r)
{
	*r->link = r->next;
	if (r->next != NULL)
		r->next->link = r->link;
	if (r->transfer != NULL)
		http_cancel(r->transfer);
	r->owner->running--;
	free(r);
}

void load_watch_free(struct load_watch *w)
{
	if (w == NULL)
		return;
	while (w->readings != NULL)
		reading_free(w->readings);
	balance_close(w->balance);
	free(w);
}

/* ---- what is configured ---------------------------------------------------------------------------------- */

/* len characters of item name it. */
static bool is_called(const struct llm *l, const char *item, size_t len)
{
	const char *const names[] = {l->deploy_id, l->container_name, l->model_name, l->model, llm_kind_text(l->kind)};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i] != NULL && strlen(names[i]) == len && memcmp(names[i], item, len) == 0)
			return true;
	return false;
}

static uint32_t capacity_of(const struct config *c, const struct llm *l)
{
	const struct cfg_list *list = cfg_list(c, CFG_BALANCE_CAPACITIES);

	for (size_t i = 0; i < list->count; i++) {
		const char *turns = strrchr(list->items[i], '=');

		if (is_called(l, list->items[i], (size_t)(turns - list->items[i])))
			return (uint32_t)strtoul(turns + 1, NULL, 10);
	}
	return (uint32_t)cfg_int(c, CFG_BALANCE_CAPACITY);
}

void load_watch_configure(struct load_watch *w)
{
	const int64_t now_ns = clock_boot_ns();

	for (size_t i = 0; i < registry_count(w->s->registry); i++) {
		const struct llm *l = registry_llm(w->s->registry, i);

		balance_configure(w->balance, l->instance, capacity_of(w->s->config, l), now_ns);
	}
}

/* ---- what servers say ------------------------------------------------------------------------------------- */

static void on_page(void *arg, const struct http_result *h)
{
	struct reading *r = arg;
	struct load_watch *w = r->owner;
	long i = registry_find(w->s->registry, r->instance, r->hint);
	bool known = false;
	struct balance_report report = {.running = 0};

	r->transfer = NULL;
	if (i >= 0 && h->outcome == HTTP_DONE) {
		struct track *t = registry_track(w->s->registry, (size_t)i);

		known = h->status == 200 && load_read(h->body, h->body_len, &report);
		if (!known)
			t->load_due_ms = clock_mono_ms() + RETRY_MS;
	}
	if (known) {
		balance_report(w->balance, r->instance, &report, clock_boot_ns());
		log_event(LOG_LOAD_REPORTED, L_STR("model", llm_name(registry_llm(w->s->registry, (size_t)i))),
		          L_STR("deploy_id", registry_llm(w->s->registry, (size_t)i)->deploy_id),
		          L_INT("running", report.running), L_INT("waiting", report.waiting));
	}
	reading_free(r);
}

static void read_page(struct load_watch *w, size_t i)
{
	static const struct http_handlers handlers = {.done = on_page};
	struct llm *l = registry_llm(w->s->registry, i);
	char *url = llm_sibling_url(l->url, "/metrics");
	const struct http_request request = {
		.method = "GET",
		.url = url,
		.bearer = tokens_for(w->s->tokens, l, w->s->config),
		.ca_file = cfg_str(w->s->config, CFG_CLOUD_CA_FILE),
		.connect_ms = cfg_ms(w->s->config, CFG_HEALTH_TIMEOUT),
		.total_ms = cfg_ms(w->s->config, CFG_HEALTH_TIMEOUT),
		.collect_limit = PAGE_MAX,
	};
	struct reading *r = url != NULL ? calloc(1, sizeof *r) : NULL;

	if (r != NULL) {
		*r = (struct reading){
			.next = w->readings, .link = &w->readings, .owner = w, .instance = l->instance, .hint = i};
		if (r->next != NULL)
			r->next->link = &r->next;
		w->readings = r;
		w->running++;
		r->transfer = http_start(w->s->http, &request, &handlers, r);
		if (r->transfer == NULL)
			reading_free(r);
	}
	free(url);
}

void load_watch_tick(struct load_watch *w)
{
	const int64_t now = clock_mono_ms(), interval_ms = cfg_ms(w->s->config, CFG_BALANCE_METRICS_INTERVAL);
	const size_t count = registry_count(w->s->registry);

	balance_tick(w->balance, clock_boot_ns());
	load_watch_configure(w);
	for (size_t n = 0; n < count && interval_ms > 0 && w->s->http != NULL && w->running < RUNNING_MAX; n++) {
		size_t i = w->next++ % count;
		const struct llm *l = registry_llm(w->s->registry, i);
		struct track *t = registry_track(w->s->registry, i);

		if (l->probe_url == NULL || !llm_health_is_up(l->health) || now < t->load_due_ms)
			continue;
		t->load_due_ms = now + interval_ms;
		read_page(w, i);
	}
}

/* ---- for people --------------------------------------------------------------------------------------------- */

void load_watch_describe(struct load_watch *w, json_t *models)
{
	json_t *model;
	size_t i;

	json_array_foreach(models, i, model)
	{
		struct balance_llm l;

		if (!balance_llm(w->balance, (uint64_t)json_integer_value(json_object_get(model, "instance")), &l))
			continue;
		json_object_set_new(model, "in_flight", json_integer(l.in_flight));
		json_object_set_new(model, "capacity", l.capacity != 0 ? json_integer(l.capacity) : json_null());
		json_object_set_new(model, "capacity_from", json_string(balance_source_text(l.source)));
		json_object_set_new(model, "turn_s", l.pace_ns != 0 ? json_real((double)l.pace_ns / 1e9) : json_null());
		json_object_set_new(model, "refused", json_integer((json_int_t)l.refused));
		if (l.reported_ns != 0)
			json_object_set_new(model, "server",
			                    json_pack("{s:I, s:I}", "running", (json_int_t)l.running, "waiting",
			                              (json_int_t)l.waiting));
	}
}
