/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/worker_services.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/turn/candidates.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORTS_KEPT       32u
#define REPORT_INTERVAL_MS 100
#define SERVED_INTERVAL_MS 5000
#define SPANS_EACH         16u /* in one command: fewer than COMMAND_REQUEST_MAX bytes */
#define SPANS_SENDING_MAX  64u /* commands that are not answered yet */

/* What was last reported of an LLM. A failure that began before boot_ms tells nothing new. */
struct reported {
	uint64_t instance;
	int64_t boot_ms;   /* its last failure; 0 = none */
	int64_t served_ms; /* when it was last reported as working, since that failure */
	bool whole;        /* a whole answer was among that */
};

struct worker_services {
	struct chat_services chat;
	struct published *published;
	struct command_client *daemon;
	struct notes *notes;
	struct resolver *resolver;
	const struct config *configured; /* what the store was configured with; only compared */
	char run[64];
	struct cooldown cooldown;
	struct quirk_memory quirks;
	struct prompt_cache prompts;
	struct reported reported[REPORTS_KEPT];
	size_t next_reported;
	unsigned spans_sending;           /* commands */
	unsigned long long spans_dropped; /* not reported yet */
};

/* The conversations' store, opened with the first configuration: a turn asks for the
 * configuration before it needs the store. */
static bool have_store(struct worker_services *s, const struct config *c)
{
	struct err e = ERR_INIT;

	if (s->chat.store != NULL) {
		if (c != s->configured)
			store_configure(s->chat.store, c);
		s->configured = c;
		return true;
	}
	s->chat.store = store_open(s->chat.base, c, s->run, s->chat.counters, &e);
	if (s->chat.store == NULL)
		log_event(LOG_THREADS_NOT_OPENED, L_STR("error", e.text));
	return s->chat.store != NULL;
}

bool worker_services_outdated(const struct worker_services *s, const struct config *c)
{
	return s->chat.store != NULL && store_moved(s->chat.store, c);
}

static struct config *current_config(void *arg)
{
	struct worker_services *s = arg;
	struct config *c = published_config(s->published);

	return c == NULL || !have_store(s, c) ? NULL : config_ref(c);
}

static struct status_snapshot *current_snapshot(void *arg)
{
	struct worker_services *s = arg;

	return published_acquire(s->published);
}

/* A working LLM is reported once in a while, and at once after a failure. */
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
static bool is_new(struct worker_services *s, const struct turn_report *r)
{
	int64_t now = clock_boot_ms();
	bool served = r->outcome == HTTP_DONE && (r->status == 200 || r->status == TURN_REPORT_SERVING);
	struct reported *entry = NULL;

	for (size_t i = 0; i < REPORTS_KEPT; i++)
		if (s->reported[i].instance == r->instance)
			entry = &s->reported[i];
	if (entry != NULL && served)
		return is_news(entry, r, now);
	if (entry != NULL && (r->began_boot_ms < entry->boot_ms || now - entry->boot_ms < REPORT_INTERVAL_MS))
		return false;
	if (entry == NULL)
		entry = &s->reported[s->next_reported++ % REPORTS_KEPT];
	*entry = (struct reported){.instance = r->instance, .boot_ms = served ? 0 : now};
	return !served || is_news(entry, r, now);
}

static void on_reported(void *arg, const json_t *result, bool unreachable, const struct err *e)
{
	(void)arg, (void)unreachable;
	if (result == NULL)
		log_event(LOG_REPORT_NOT_TAKEN, L_STR("error", e->text));
}

static void report(void *arg, const struct turn_report *r)
{
	struct worker_services *s = arg;
	json_t *j;

	if (!is_new(s, r) && r->quirks == NULL)
		return;
	j = json_pack("{s:{s:I, s:I, s:I, s:I, s:s, s:I, s:s}}", "report", "instance", (json_int_t)r->instance, "epoch",
	              (json_int_t)r->epoch, "generation", (json_int_t)r->generation, "began_boot_ms",
	              (json_int_t)r->began_boot_ms, "outcome", http_outcome_text(r->outcome), "status",
	              (json_int_t)r->status, "text", r->text != NULL ? r->text : "");
	if (j != NULL && r->quirks != NULL)
		json_object_set_new(json_object_get(j, "report"), "quirks", quirks_to_json(r->quirks));
	if (j != NULL)
		command_send(s->daemon, CMD_REPORT, j, command_info(CMD_REPORT)->deadline_ms, on_reported, NULL);
}

static void note(void *arg, const struct event_record *r)
{
	notes_add(((struct worker_services *)arg)->notes, r);
}

static void on_spans_taken(void *arg, const json_t *result, bool unreachable, const struct err *e)
{
	struct worker_services *s = arg;

	(void)unreachable;
	s->spans_sending--;
	if (result == NULL)
		log_event(LOG_REPORT_NOT_TAKEN, L_STR("error", e->text));
}

/* The daemon exports them; what it does not take in time is lost and counted, and no turn waits for it. */
static void send_spans(void *arg, json_t *spans, unsigned dropped)
{
	struct worker_services *s = arg;
	size_t count = json_array_size(spans);

	s->spans_dropped += dropped;
	for (size_t from = 0; from < count; from += SPANS_EACH) {
		json_t *some = json_array(), *args;

		for (size_t i = from; i < count && i < from + SPANS_EACH; i++)
			json_array_append(some, json_array_get(spans, i));
		args = s->spans_sending < SPANS_SENDING_MAX
		               ? json_pack("{s:O, s:I}", "spans", some, "dropped", (json_int_t)s->spans_dropped)
		               : NULL;
		if (args != NULL && command_send(s->daemon, CMD_SPANS, args, 0, on_spans_taken, s) != NULL) {
			s->spans_sending++;
			s->spans_dropped = 0;
		} else {
			s->spans_dropped += json_array_size(some);
		}
		json_decref(some);
	}
	json_decref(spans);
}

static bool has_llm(void *arg)
{
	const struct worker_services *s = arg;

	return chat_services_has_llm(&s->chat);
}

struct worker_services *worker_services_new(struct event_base *base, struct published *p, struct command_client *daemon,
                                            struct notes *notes, struct counters *counters,
                                            struct background *background, struct err *e)
{
	struct worker_services *s = calloc(1, sizeof *s);

	if (s == NULL) {
		err_set(e, "no memory for chat turns");
		return NULL;
	}
	s->published = p;
	s->daemon = daemon;
	s->notes = notes;
	s->chat = (struct chat_services){.base = base,
	                                 .config = current_config,
	                                 .snapshot = current_snapshot,
	                                 .cooldown = &s->cooldown,
	                                 .quirks = &s->quirks,
	                                 .prompts = &s->prompts,
	                                 .run = s->run,
	                                 .counters = counters,
	                                 .background = background,
	                                 .report = report,
	                                 .spans = send_spans,
	                                 .note = note,
	                                 .arg = s};
	/* The parent outlives workers and reloads: with it ends what short ids remember. */
	store_run_name((long)getppid(), s->run);
	s->chat.balance = balance_open(published_run_dir(p)); /* without it turns go on */
	s->chat.waiting = wait_queue_new(base, has_llm, s, e);
	if (s->chat.waiting != NULL)
		s->chat.places = place_queue_new(base, published_run_dir(p), e);
	if (s->chat.places != NULL)
		s->resolver = resolver_new(base, e);
	if (s->resolver != NULL)
		s->chat.http = http_new(base, s->resolver, e);
	if (s->chat.http != NULL)
		s->chat.toolbox = toolbox_new(base, published_run_dir(p), e);
	if (s->chat.toolbox == NULL) {
		worker_services_free(s);
		return NULL;
	}
	return s;
}

void worker_services_prepare(struct worker_services *s)
{
	const struct config *c = published_config(s->published);

	if (c == NULL)
		return;
	http_set_idle(s->chat.http, cfg_ms(c, CFG_LLM_IDLE_TIMEOUT));
	have_store(s, c);
}

void worker_services_tick(struct worker_services *s)
{
	balance_tick(s->chat.balance, clock_boot_ns());
	place_queue_tick(s->chat.places);
}

void worker_services_free(struct worker_services *s)
{
	if (s == NULL)
		return;
	balance_close(s->chat.balance);
	if (s->chat.toolbox != NULL)
		toolbox_free(s->chat.toolbox); /* ends what it asks */
	http_free(s->chat.http);
	if (s->chat.store != NULL)
		store_free(s->chat.store);
	if (s->resolver != NULL)
		resolver_free(s->resolver);
	place_queue_free(s->chat.places);
	wait_queue_free(s->chat.waiting);
	prompt_cache_clear(&s->prompts);
	free(s);
}

const struct chat_services *worker_services_chat(const struct worker_services *s)
{
	return &s->chat;
}
