/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/chat_services.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/turn/candidates.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORTS_KEPT       32u
#define REPORT_INTERVAL_MS 100
#define SERVED_INTERVAL_MS 5000

/* What was last reported of an LLM. A failure that began before boot_ms tells nothing new. */
struct reported {
	uint64_t instance;
	int64_t boot_ms;   /* its last failure; 0 = none */
	int64_t served_ms; /* when it was last said that it serves, since that failure */
	bool whole;        /* a whole answer was among that */
};

struct turns {
	struct chat_services host;
	struct published *published;
	struct command_client *daemon;
	struct resolver *resolver;
	const struct config *configured; /* what the store was configured with; only compared */
	char run[64];
	struct cooldown bench;
	struct prompt_cache prompts;
	struct reported reported[REPORTS_KEPT];
	size_t next_reported;
};

/* The conversations' store, opened with the first configuration: a turn asks for the
 * configuration before it needs the store. */
static bool have_store(struct turns *t, const struct config *c)
{
	struct err e = ERR_INIT;

	if (t->host.store != NULL) {
		if (c != t->configured)
			store_configure(t->host.store, c);
		t->configured = c;
		return true;
	}
	t->host.store = store_open(t->host.base, c, t->run, &e);
	if (t->host.store == NULL)
		log_error("threads_not_opened", L_STR("error", e.text));
	return t->host.store != NULL;
}

bool chat_services_outdated(const struct turns *t, const struct config *c)
{
	return t->host.store != NULL && store_moved(t->host.store, c);
}

static struct config *current_config(void *arg)
{
	struct turns *t = arg;
	struct config *c = published_config(t->published);

	return c == NULL || !have_store(t, c) ? NULL : config_ref(c);
}

static struct status_snapshot *current_snapshot(void *arg)
{
	struct turns *t = arg;

	return published_acquire(t->published);
}

/* That an LLM serves is said once in a while, and after a failure at once. */
static bool is_news(struct reported *entry, const struct turn_report *r, int64_t now)
{
	bool whole = r->status != TURN_REPORT_SERVING;

	if (r->began_boot_ms <= entry->boot_ms)
		return false;
	if (entry->served_ms != 0 && now - entry->served_ms < SERVED_INTERVAL_MS && (entry->whole || !whole))
		return false;
	entry->served_ms = now;
	entry->whole |= whole;
	return true;
}

/* One outage that many turns meet is one report: a failure whose attempt began before
 * the last report belongs to it, and so does one that follows within moments. */
static bool is_new(struct turns *t, const struct turn_report *r)
{
	int64_t now = clock_boot_ms();
	bool served = r->outcome == HTTP_DONE && (r->status == 200 || r->status == TURN_REPORT_SERVING);
	struct reported *entry = NULL;

	for (size_t i = 0; i < REPORTS_KEPT; i++)
		if (t->reported[i].instance == r->instance)
			entry = &t->reported[i];
	if (entry != NULL && served)
		return is_news(entry, r, now);
	if (entry != NULL && (r->began_boot_ms < entry->boot_ms || now - entry->boot_ms < REPORT_INTERVAL_MS))
		return false;
	if (entry == NULL)
		entry = &t->reported[t->next_reported++ % REPORTS_KEPT];
	*entry = (struct reported){.instance = r->instance, .boot_ms = served ? 0 : now};
	return !served || is_news(entry, r, now);
}

static void on_reported(void *arg, const json_t *result, bool unreachable, const struct err *e)
{
	(void)arg, (void)unreachable;
	if (result == NULL)
		log_debug("report_not_taken", L_STR("error", e->text));
}

static void report(void *arg, const struct turn_report *r)
{
	struct turns *t = arg;
	json_t *j;

	if (!is_new(t, r))
		return;
	j = json_pack("{s:{s:I, s:I, s:I, s:I, s:s, s:I, s:s}}", "report", "instance", (json_int_t)r->instance, "epoch",
	              (json_int_t)r->epoch, "generation", (json_int_t)r->generation, "began_boot_ms",
	              (json_int_t)r->began_boot_ms, "outcome", http_outcome_text(r->outcome), "status",
	              (json_int_t)r->status, "text", r->text != NULL ? r->text : "");
	if (j != NULL)
		command_send(t->daemon, CMD_REPORT, j, command_info(CMD_REPORT)->deadline_ms, on_reported, NULL);
}

static bool has_llm(void *arg)
{
	const struct turns *t = arg;

	return chat_services_has_llm(&t->host);
}

struct turns *chat_services_new(struct event_base *base, struct published *p, struct command_client *daemon,
                                struct counters *counters, struct err *e)
{
	struct turns *t = calloc(1, sizeof *t);

	if (t == NULL) {
		err_set(e, "no memory for chat turns");
		return NULL;
	}
	t->published = p;
	t->daemon = daemon;
	t->host = (struct chat_services){.base = base,
	                                 .config = current_config,
	                                 .snapshot = current_snapshot,
	                                 .bench = &t->bench,
	                                 .prompts = &t->prompts,
	                                 .run = t->run,
	                                 .counters = counters,
	                                 .report = report,
	                                 .arg = t};
	/* The parent outlives workers and reloads: with it ends what short ids remember. */
	store_run_name((long)getppid(), t->run);
	t->host.waiting = wait_queue_new(base, has_llm, t, e);
	if (t->host.waiting != NULL)
		t->resolver = resolver_new(base, e);
	if (t->resolver != NULL)
		t->host.http = http_new(base, t->resolver, e);
	if (t->host.http != NULL)
		t->host.toolbox = toolbox_new(base, published_run_dir(p), e);
	if (t->host.toolbox == NULL) {
		chat_services_free(t);
		return NULL;
	}
	return t;
}

void chat_services_prepare(struct turns *t)
{
	const struct config *c = published_config(t->published);

	if (c != NULL)
		have_store(t, c);
}

void chat_services_free(struct turns *t)
{
	if (t == NULL)
		return;
	if (t->host.toolbox != NULL)
		toolbox_free(t->host.toolbox); /* ends what it asks */
	http_free(t->host.http);
	if (t->host.store != NULL)
		store_free(t->host.store);
	if (t->resolver != NULL)
		resolver_free(t->resolver);
	wait_queue_free(t->host.waiting);
	prompt_cache_clear(&t->prompts);
	free(t);
}

const struct chat_services *chat_services_host(const struct turns *t)
{
	return &t->host;
}
