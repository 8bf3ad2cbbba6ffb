/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/agent.h"

#include "config.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/systemd.h"
#include "agentd/restore.h"
#include "agentd/commands.h"
#include "agentd/passive_health.h"
#include "agentd/release_memory.h"
#include "core/status/layout.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_FACTOR 9 /* of the loop's time, publications take a tenth at most */

const char *agent_current_name(const struct agent *a)
{
	long i = selector_current(&a->selector);

	return i >= 0 ? llm_name(&registry_llms(a->s.registry)[i]) : "Unknown";
}

/* With very many LLMs a publication takes long: then it waits for more changes. */
void agent_touch(struct agent *a, int64_t within_ms)
{
	int64_t now = clock_mono_ms(), at = now + within_ms, pause = a->publish_end_ms + PAUSE_FACTOR * a->publish_ms;

	a->changed |= within_ms < AGENT_LATER_MS;
	if (within_ms > 0 && at < pause)
		at = pause;
	if (a->settle_at_ms != 0 && a->settle_at_ms <= at)
		return;
	a->settle_at_ms = at;
	timer_arm_ms(a->settle, at - now);
}

/* When the configuration cannot be written, the state is published with the previous one.
 * -1: all is tried again within a second. */
static int publish_all(struct agent *a, struct err *e)
{
	int result = 0;

	if (a->config_changed)
		result = publisher_config(a->publisher, sandbox_check_problem(a->sandbox_check),
		                          document_check_problem(a->document_check), mcp_watch_tools(a->mcp_watch), e);
	a->config_changed = result != 0;
	load_watch_configure(a->load_watch);
	if (publisher_publish(a->publisher, &a->selector, &a->polling, e) != 0)
		result = -1;
	return result;
}

static void publish(struct agent *a)
{
	int64_t began_ms = clock_mono_ms();
	struct err e = ERR_INIT;
	int result = publish_all(a, &e);

	a->publish_end_ms = clock_mono_ms();
	a->publish_ms = a->publish_end_ms - began_ms;
	if (result == 0) {
		log_event(LOG_PUBLISHED, L_INT("generation", publisher_generation(a->publisher)),
		          L_INT("duration_ms", a->publish_ms));
		if (err_is_set(&a->publish_error))
			log_event(LOG_PUBLISH, L_STR("again", "what could not be written is written"));
		err_clear(&a->publish_error);
		return;
	}
	if (strcmp(e.text, a->publish_error.text) != 0)
		log_event(LOG_PUBLISH_ERROR, L_STR("error", e.text));
	a->publish_error = e;
}

static void follow_polling(struct agent *a)
{
	int64_t now = clock_mono_ms();

	if (a->selector.failed)
		return; /* it is tried again within a second */
	if (a->selector.usable > 0)
		polling_found(&a->polling);
	else if (!a->polling.waiting)
		polling_lost(&a->polling, a->s.config, now);
	monitor_watch(a->monitor, a->selector.usable > 0 || polling_active(&a->polling), a->selector.usable == 0);
	if (polling_active(&a->polling) && !scan_running(a->scan))
		timer_arm_ms(a->poll, a->polling.next_ms - now);
	else
		evtimer_del(a->poll);
}

void agent_settle(struct agent *a)
{
	evtimer_del(a->settle);
	a->settle_at_ms = 0;
	a->changed = false;
	selector_update(&a->selector, &a->s, clock_wall_ms());
	follow_polling(a);
	publish(a);
	if (selector_current(&a->selector) >= 0)
		capabilities_want(a->capabilities, (size_t)selector_current(&a->selector), false);
}

void agent_settle_if_touched(struct agent *a)
{
	if (a->settle_at_ms != 0)
		agent_settle(a);
}

void agent_settle_if_changed(struct agent *a)
{
	if (a->changed || selector_update(&a->selector, &a->s, clock_wall_ms()))
		agent_settle(a);
	else
		follow_polling(a);
}

static void settle_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	agent_settle(arg);
}

/* ---- events of the parts --------------------------------------------------------- */

void agent_verdict(struct agent *a, size_t index, enum llm_health before)
{
	struct llm *l = registry_llm(a->s.registry, index);
	struct track *t = registry_track(a->s.registry, index);
	bool is_current = l->instance == a->selector.current;

	if (before == LLM_UNHEALTHY && llm_health_is_up(l->health))
		capabilities_came_back(a->capabilities, index);
	/* During a full scan, only requests that the readiness gate waits for are made. */
	if (llm_health_is_up(l->health) && (capabilities_need_gate(l, t) || !scan_running(a->scan)))
		capabilities_want(a->capabilities, index, !llm_health_is_up(before));
	passive_health_verdict(a, index, before);
	if (l->health != before)
		events_verdict(a->s.events, l, before);
	if (l->health == before)
		agent_touch(a, AGENT_LATER_MS);
	else
		agent_touch(a, is_current ? 0 : AGENT_SOON_MS);
	scan_settled(a->scan, index);
	commands_progress(a->commands);
}

static void monitor_verdict(void *arg, size_t index, enum llm_health before)
{
	struct agent *a = arg;
	struct track *t = registry_track(a->s.registry, index);

	if (t->unreached)
		hosts_unreached(a->hosts, index);
	else
		t->unreached_ms = 0;
	agent_verdict(arg, index, before);
}

static void canary_done(void *arg, size_t index, const struct probe_result *r)
{
	passive_health_canary(arg, index, r);
}

static void capabilities_changed(void *arg, size_t index)
{
	struct agent *a = arg;

	scan_settled(a->scan, index);
	agent_touch(a, AGENT_SOON_MS);
	commands_progress(a->commands);
}

/* What a tool needs is there, or not any more. */
static void tools_changed(void *arg)
{
	struct agent *a = arg;

	a->config_changed = true;
	agent_touch(a, 0);
}

static void mcp_changed(void *arg, bool tools)
{
	struct agent *a = arg;

	a->config_changed |= tools;
	publisher_set_mcp(a->publisher, mcp_watch_state(a->mcp_watch));
	agent_touch(a, tools ? 0 : AGENT_SOON_MS);
}

static void peers_changed(void *arg)
{
	struct agent *a = arg;

	publisher_set_hosts(a->publisher, peer_watch_state(a->peer_watch));
	agent_touch(a, AGENT_SOON_MS);
}

/* What is there now may be a new instance. */
static void addresses_changed(void *arg, size_t index)
{
	struct agent *a = arg;
	struct llm *l = registry_llm(a->s.registry, index);

	agent_touch(a, AGENT_SOON_MS);
	if (registry_track(a->s.registry, index)->unreached_ms == 0)
		return;
	verdict_expect(l, a->s.config);
	monitor_probe(a->monitor, index);
}

static void request_capabilities(struct agent *a)
{
	for (size_t i = 0; i < registry_count(a->s.registry); i++)
		if (llm_health_is_up(registry_llm(a->s.registry, i)->health))
			capabilities_want(a->capabilities, i, false);
}

static void scan_ended(void *arg)
{
	struct agent *a = arg;

	passive_health_end_warmup(a);
	agent_settle_if_changed(a);
	commands_scan_ended(a->commands);
	request_capabilities(a);
}

/* Once for each deployment. */
static void log_completed_urls(struct agent *a)
{
	for (size_t i = 0; i < registry_count(a->s.registry); i++) {
		const struct llm *l = registry_llm(a->s.registry, i);
		struct track *t = registry_track(a->s.registry, i);

		if (l->given_url != NULL && !t->url_logged)
			log_event(LOG_URL_COMPLETED, L_STR("kind", llm_kind_text(l->kind)),
			          L_STR("deploy_id", l->deploy_id), L_STR("given", l->given_url), L_STR("url", l->url));
		t->url_logged = true;
	}
}

/* The registry was merged: its indexes changed. */
static void merged(struct agent *a, const struct registry_change *change)
{
	bool changed = change->added + change->removed + change->redeployed > 0;

	if (changed) {
		events_deployments(a->s.events, change->added, change->removed, change->redeployed);
		a->memory_released = false;
		log_completed_urls(a);
	}
	selector_update(&a->selector, &a->s, clock_wall_ms());
	agent_touch(a, change->removed > 0 ? 0 : changed ? AGENT_SOON_MS : AGENT_LATER_MS);
}

static void discovered(void *arg, enum llm_kind kind, struct llm_list *list)
{
	struct agent *a = arg;
	struct registry_change change = {.added = 0};

	if (list != NULL && registry_merge(a->s.registry, kind, list, &change) != 0) {
		log_event(LOG_DISCOVERY_ERROR, L_STR("error", "out of memory"));
	} else if (list != NULL) {
		tokens_drop_restored(a->s.tokens);
		merged(a, &change);
		monitor_probe_new(a->monitor);
		hosts_update(a->hosts);
	}
	if (discovery_changed(a->discovery))
		agent_touch(a, AGENT_SOON_MS);
	else if (a->polling.waiting)
		agent_touch(a, AGENT_LATER_MS);
	scan_merged(a->scan);
	commands_progress(a->commands);
}

/* ---- the configuration -------------------------------------------------------------- */

/* Merges the LLMs that the configuration defines, and drops those of sources that it disables.
 * -1: out of memory; the LLMs of some kinds are unchanged. */
static int merge_configured(struct agent *a, struct registry_change *change)
{
	const struct config *c = a->s.config;
	int result = 0;

	for (enum llm_kind k = 0; k < LLM_KINDS; k++) {
		struct llm l = {.latency_ms = -1};
		struct llm_list list = {.items = &l, .count = 0};
		struct err e = ERR_INIT;

		if (llm_kind_info(k)->configure == NULL) {
			if (discovery_is_disabled(k, c) && registry_merge(a->s.registry, k, &list, change) != 0)
				result = -1;
			continue;
		}
		errno = 0;
		list.count = llm_kind_info(k)->configure(c, &l, &e) == 0;
		if (list.count == 0 && errno == ENOMEM) {
			result = -1;
			continue;
		}
		if (err_is_set(&e))
			log_event(LOG_CONFIG_ERROR, L_STR("error", e.text));
		if (l.kind == LLM_CLOUD && l.tools == LLM_TOOLS_UNKNOWN)
			l.tools = LLM_TOOLS_YES; /* the protocol that it is configured for has them */
		if (registry_merge(a->s.registry, k, &list, change) != 0)
			result = -1;
		llm_clear(&l);
	}
	return result;
}

static void replan_health(struct agent *a, const struct config *old, const struct config *c)
{
	static const enum cfg_key probes[] = {CFG_HEALTH_INTERVAL, CFG_HEALTH_FAST_INTERVAL, CFG_HEALTH_DOWN_INTERVAL};
	bool changed = monitor_enabled(old) != monitor_enabled(c);

	if (changed || cfg_ms(old, CFG_HEALTH_CANARY_INTERVAL) != cfg_ms(c, CFG_HEALTH_CANARY_INTERVAL))
		canary_replan(a->canary);
	for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
		changed |= cfg_ms(old, probes[i]) != cfg_ms(c, probes[i]);
	if (changed)
		monitor_replan(a->monitor);
}

static void reconfigured(void *arg, const struct config *old)
{
	struct agent *a = arg;
	const struct config *c = a->s.config;
	struct registry_change change = {.added = 0};

	log_set_level(config_log_level(c));
	log_set_format(config_log_format(c));
	a->config_changed = true;
	sandbox_check_tick(a->sandbox_check);
	document_check_tick(a->document_check);
	jwks_tick(a->jwks);
	mcp_watch_tick(a->mcp_watch);
	peer_watch_tick(a->peer_watch);
	if (merge_configured(a, &change) != 0)
		log_event(LOG_CONFIG_ERROR, L_STR("error", "out of memory: some of its LLMs stay as they were"));
	merged(a, &change);
	polling_reconfigure(&a->polling, c, clock_mono_ms());
	replan_health(a, old, c);
	passive_health_reconfigured(a, old);
	for (size_t i = 0; i < registry_count(a->s.registry); i++)
		capabilities_forget(a->capabilities, i);
	request_capabilities(a);
	timer_arm_ms(a->discover, cfg_ms(c, CFG_DISCOVERY_INTERVAL));
	monitor_probe_new(a->monitor);
	hosts_update(a->hosts);
	discovery_cancel(a->discovery); /* its answer would be to the previous configuration */
	if (scan_running(a->scan) || (cfg_bool(c, CFG_CONFIG_REFRESH_LLM) && !a->refresh_follows))
		scan_start(a->scan);
	else
		discovery_start(a->discovery);
	agent_touch(a, 0);
}

/* ---- timers and signals ------------------------------------------------------------- */

static void poll_due(evutil_socket_t fd, short what, void *arg)
{
	struct agent *a = arg;
	int64_t now = clock_mono_ms();

	(void)fd;
	(void)what;
	if (!polling_due(&a->polling, now) || scan_running(a->scan)) {
		follow_polling(a);
		return;
	}
	polling_attempt(&a->polling, a->s.config, now);
	events_polling(a->s.events, a->polling.attempts + a->polling.retries - a->polling.retry,
	               polling_active(&a->polling) ? a->polling.next_ms - now : -1);
	agent_touch(a, AGENT_SOON_MS);
	scan_start(a->scan);
}

static void discover_due(evutil_socket_t fd, short what, void *arg)
{
	struct agent *a = arg;

	(void)fd;
	(void)what;
	timer_arm_ms(a->discover, cfg_ms(a->s.config, CFG_DISCOVERY_INTERVAL));
	if (!a->polling.waiting && !scan_running(a->scan))
		discovery_start(a->discovery);
}

static void every_second(evutil_socket_t fd, short what, void *arg)
{
	struct agent *a = arg;

	(void)fd;
	(void)what;
	if (systemd_watchdog_ms() != 0)
		systemd_notify_alive();
	if (!publisher_heartbeat(a->publisher)) {
		log_event(LOG_STATUS_FILE_CHANGED, L_STR("run_dir", a->run_dir),
		          L_STR("error", STATUS_FILE " was changed by another program; it is written again"));
		agent_touch(a, 0);
	}
	if (!a->memory_released && !scan_running(a->scan)) {
		release_memory();
		a->memory_released = true;
	}
	passive_health_tick(a);
	reload_check(a->reload);
	sandbox_check_tick(a->sandbox_check);
	document_check_tick(a->document_check);
	jwks_tick(a->jwks);
	mcp_watch_tick(a->mcp_watch);
	peer_watch_tick(a->peer_watch);
	load_watch_tick(a->load_watch);
	if (err_is_set(&a->publish_error))
		agent_touch(a, 0);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct agent *a = arg;
	struct reload_details details;

	(void)what;
	if (signo == SIGHUP) {
		reload_details_init(&details);
		reload_now(a->reload, "SIGHUP", &details);
		reload_details_free(&details);
		return;
	}
	log_event(LOG_STOPPING, L_STR("signal", strsignal((int)signo)));
	events_stopping(a->s.events, strsignal((int)signo));
	event_base_loopbreak(a->s.base);
}

/* ---- life ----------------------------------------------------------------------------- */

static int make_services(struct agent *a, struct err *e)
{
	struct event_config *ec = event_config_new();

	if (ec != NULL) {
		event_config_set_flag(ec, EVENT_BASE_FLAG_NOLOCK);
		a->s.base = event_base_new_with_config(ec);
		event_config_free(ec);
	}
	a->s.registry = registry_new(clock_wall_ms());
	a->s.tokens = tokens_new();
	a->s.events = events_new();
	if (a->s.base == NULL || a->s.registry == NULL || a->s.tokens == NULL || a->s.events == NULL)
		return err_set(e, "out of memory");
	return 0;
}

/* Publishes what is known at start before anything else happens. */
static int publish_first(struct agent *a, struct err *e)
{
	struct registry_change change = {.added = 0};
	json_t *mcp;

	a->publisher = publisher_new(&a->s, a->run_dir, e);
	a->sandbox_check = sandbox_check_new(&a->s, tools_changed, a);
	a->document_check = document_check_new(&a->s, tools_changed, a);
	a->jwks = jwks_new(&a->s, a->run_dir);
	a->mcp_watch = mcp_watch_new(&a->s, mcp_changed, a);
	a->peer_watch = peer_watch_new(&a->s, a->run_dir, peers_changed, a);
	if (a->publisher == NULL)
		return -1;
	a->load_watch = load_watch_new(&a->s, a->run_dir);
	events_record(a->s.events, a->s.base, a->run_dir);
	events_started(a->s.events, PACKAGE_VERSION);
	a->span_export = span_export_new(&a->s);
	if (a->sandbox_check == NULL || a->document_check == NULL || a->jwks == NULL || a->mcp_watch == NULL ||
	    a->peer_watch == NULL || a->span_export == NULL || a->load_watch == NULL)
		return err_set(e, "out of memory");
	sandbox_check_tick(a->sandbox_check);
	document_check_tick(a->document_check);
	mcp = restore_mcp(&a->s, a->run_dir);
	mcp_watch_restore(a->mcp_watch, mcp);
	json_decref(mcp);
	publisher_set_mcp(a->publisher, mcp_watch_state(a->mcp_watch));
	a->config_changed = false;
	if (publisher_config(a->publisher, sandbox_check_problem(a->sandbox_check),
	                     document_check_problem(a->document_check), mcp_watch_tools(a->mcp_watch), e) != 0)
		return -1;
	restore_published(&a->s, &a->selector, a->run_dir);
	if (merge_configured(a, &change) != 0)
		return err_set(e, "out of memory");
	polling_start(&a->polling, clock_mono_ms());
	selector_update(&a->selector, &a->s, clock_wall_ms());
	load_watch_configure(a->load_watch);
	return publisher_publish(a->publisher, &a->selector, &a->polling, e);
}

static int make_parts(struct agent *a, const struct config_source *src, struct err *e)
{
	a->s.resolver = resolver_new(a->s.base, e);
	a->s.http = a->s.resolver != NULL ? http_new(a->s.base, a->s.resolver, e) : NULL;
	if (a->s.http == NULL)
		return -1;
	a->discovery = discovery_new(&a->s, discovered, a);
	if (a->discovery != NULL)
		publisher_set_discovery(a->publisher, a->discovery);
	a->monitor = monitor_new(&a->s, monitor_verdict, a);
	a->capabilities = capabilities_new(&a->s, capabilities_changed, a);
	a->canary = canary_new(&a->s, canary_done, a);
	a->hosts = hosts_new(&a->s, addresses_changed, a);
	a->reload = reload_new(&a->s, src, reconfigured, a);
	if (a->discovery != NULL && a->monitor != NULL)
		a->scan = scan_new(&a->s, a->discovery, a->monitor, scan_ended, a);
	if (a->scan == NULL || a->capabilities == NULL || a->canary == NULL || a->hosts == NULL || a->reload == NULL)
		return err_set(e, "out of memory");
	return 0;
}

static int make_timers(struct agent *a, struct err *e)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	const struct timeval second = {.tv_sec = 1};

	a->settle = evtimer_new(a->s.base, settle_due, a);
	a->poll = evtimer_new(a->s.base, poll_due, a);
	a->discover = evtimer_new(a->s.base, discover_due, a);
	a->second = event_new(a->s.base, -1, EV_PERSIST, every_second, a);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		a->signals[i] = evsignal_new(a->s.base, signals[i], on_signal, a);
		if (a->signals[i] == NULL || evsignal_add(a->signals[i], NULL) != 0)
			return err_set(e, "cannot handle signals");
	}
	if (a->settle == NULL || a->poll == NULL || a->discover == NULL || a->second == NULL)
		return err_set(e, "out of memory");
	event_add(a->second, &second);
	return 0;
}

struct agent *agent_new(const struct agentd_options *o, const struct config_source *src, struct config *config,
                        struct err *e)
{
	struct agent *a = calloc(1, sizeof *a);
	char path[4200];

	if (a == NULL) {
		err_set(e, "out of memory");
		config_unref(config);
		return NULL;
	}
	a->s.config = config;
	a->run_dir = o->run_dir;
	a->started_ms = clock_mono_ms();
	snprintf(path, sizeof path, "%s/" COMMAND_SOCKET, o->run_dir);
	if (make_services(a, e) == 0 && make_timers(a, e) == 0 && publish_first(a, e) == 0 &&
	    make_parts(a, src, e) == 0 && (a->commands = commands_new(a, path, e)) != NULL)
		return a;
	if (a->s.events != NULL)
		events_stopping(a->s.events, "it could not start");
	agent_free(a);
	return NULL;
}

void agent_free(struct agent *a)
{
	struct event *timers[] = {a->settle,     a->poll,       a->discover,  a->second,
	                          a->signals[0], a->signals[1], a->signals[2]};

	commands_free(a->commands);
	scan_free(a->scan);
	reload_free(a->reload);
	sandbox_check_free(a->sandbox_check);
	document_check_free(a->document_check);
	jwks_free(a->jwks);
	mcp_watch_free(a->mcp_watch);
	peer_watch_free(a->peer_watch);
	span_export_free(a->span_export);
	hosts_free(a->hosts);
	load_watch_free(a->load_watch);
	canary_free(a->canary);
	capabilities_free(a->capabilities);
	monitor_free(a->monitor);
	discovery_free(a->discovery);
	if (a->s.http != NULL)
		http_free(a->s.http);
	if (a->s.resolver != NULL)
		resolver_free(a->s.resolver);
	publisher_free(a->publisher);
	selector_free(&a->selector);
	for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++)
		if (timers[i] != NULL)
			event_free(timers[i]);
	events_free(a->s.events);
	tokens_free(a->s.tokens);
	registry_free(a->s.registry);
	config_unref(a->s.config);
	if (a->s.base != NULL)
		event_base_free(a->s.base);
	free(a);
}

int agent_run(struct agent *a, struct err *e)
{
	/* With a restored LLM the first scan is not an attempt of polling. */
	timer_arm_ms(a->discover, cfg_ms(a->s.config, CFG_DISCOVERY_INTERVAL));
	if (a->selector.usable > 0)
		scan_start(a->scan);
	else
		poll_due(-1, EV_TIMEOUT, a);
	hosts_update(a->hosts);
	document_check_tick(a->document_check);
	jwks_tick(a->jwks);
	mcp_watch_tick(a->mcp_watch);
	peer_watch_tick(a->peer_watch);
	log_completed_urls(a);
	follow_polling(a);
	return event_base_dispatch(a->s.base) < 0 ? err_set(e, "the event loop failed") : 0;
}
