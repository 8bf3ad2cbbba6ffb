/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "agentd/answers.h"
#include "agentd/passive_health.h"
#include "agentd/pending.h"
#include "core/status/document.h"

#include <stdlib.h>
#include <string.h>

#define TEST_BODY_LIMIT   (4u << 20)
#define SHUTDOWN_DELAY_MS 50 /* the answer leaves first */

struct commands {
	struct agent *agent;
	struct command_server *server;
	struct pending *pending;
};

typedef void handler_fn(struct commands *c, struct command_call *call, const json_t *args);

/* ---- what is known ---------------------------------------------------------------- */

static void ping(struct commands *c, struct command_call *call, const json_t *args)
{
	(void)args;
	command_reply(call, answer_ping(c->agent));
}

static void status(struct commands *c, struct command_call *call, const json_t *args)
{
	struct status_view v;
	size_t len;
	char *doc;

	(void)args;
	agent_settle_if_touched(c->agent);
	publisher_view(c->agent->publisher, &c->agent->selector, &c->agent->polling, &v);
	doc = document_status(&v, &len);
	command_reply(call, doc != NULL ? json_loadb(doc, len, 0, NULL) : NULL);
	free(doc);
}

static void models(struct commands *c, struct command_call *call, const json_t *args)
{
	(void)args;
	agent_settle_if_touched(c->agent);
	command_reply(call, answer_models(c->agent));
}

static void config(struct commands *c, struct command_call *call, const json_t *args)
{
	(void)args;
	command_reply(call, config_to_json(c->agent->s.config, false));
}

static void events(struct commands *c, struct command_call *call, const json_t *args)
{
	(void)args;
	events_subscribe(c->agent->s.events, call);
}

/* ---- refresh ------------------------------------------------------------------------ */

/* The end of a refresh, of its own or as a part of reload. */
static void refreshed(struct pending *p)
{
	json_t *answer = answer_refresh(p->agent, p->old_name);

	pending_reply(p, p->command == CMD_RELOAD ? answer_reloaded(p->agent, answer) : answer);
}

/* With what has answered by then. */
static void refresh_late(struct pending *p)
{
	passive_health_end_warmup(p->agent);
	agent_settle_if_changed(p->agent);
	refreshed(p);
}

/* What was held against an LLM, and what it did not tell. */
static bool forget(struct agent *a)
{
	bool held = false;

	for (size_t i = 0; i < registry_count(a->s.registry); i++)
		held |= passive_health_clear_ejection(a, i);
	return held;
}

/* One survey serves all that came before it began. */
static void begin_refresh(struct commands *c)
{
	bool any = false, pinned = c->agent->selector.pinned != NULL, held;

	for (struct pending *p = c->pending; p != NULL; p = p->next) {
		if (p->late == refresh_late && p->begun)
			return;
		any |= p->late == refresh_late;
	}
	if (!any)
		return;
	for (struct pending *p = c->pending; p != NULL; p = p->next)
		p->begun |= p->late == refresh_late;
	selector_unpin(&c->agent->selector);
	held = forget(c->agent);
	polling_restart(&c->agent->polling, c->agent->s.config, clock_mono_ms());
	if (c->agent->polling.waiting || pinned || held)
		agent_touch(c->agent, AGENT_SOON_MS);
	scan_start(c->agent->survey);
}

void commands_surveyed(struct commands *c)
{
	struct pending *next;

	for (struct pending *p = c->pending; p != NULL; p = next) {
		next = p->next;
		if (p->late == refresh_late && p->begun)
			refreshed(p);
	}
	begin_refresh(c);
}

static void refresh(struct commands *c, struct command_call *call, const json_t *args)
{
	(void)args;
	if (pending_new(&c->pending, c->agent, call, CMD_REFRESH, refresh_late) != NULL)
		begin_refresh(c);
}

static void reload(struct commands *c, struct command_call *call, const json_t *args)
{
	struct agent *a = c->agent;
	struct err e = ERR_INIT;
	enum reload_outcome outcome;

	(void)args;
	a->refresh_follows = true;
	outcome = reload_now(a->reload, "command", &e);
	a->refresh_follows = false;
	if (outcome == RELOAD_REFUSED) {
		command_reply(call, answer_error("%s", e.text));
	} else if (cfg_bool(a->s.config, CFG_CONFIG_REFRESH_LLM)) {
		if (pending_new(&c->pending, a, call, CMD_RELOAD, refresh_late) != NULL)
			begin_refresh(c);
	} else {
		agent_settle_if_touched(a);
		command_reply(call, answer_reloaded(a, NULL));
	}
}

/* ---- select -------------------------------------------------------------------------- */

static void finish_select(struct pending *p)
{
	struct agent *a = p->agent;
	long i = registry_find_id(a->s.registry, p->deploy_id);
	const struct llm *l = i >= 0 ? registry_llm(a->s.registry, (size_t)i) : NULL;

	if (l == NULL) {
		pending_reply(p, answer_not_found(a, p->deploy_id));
	} else if (!llm_is_selectable(l)) {
		pending_reply(p, answer_error("Model %s cannot chat (type: %s)", llm_name(l), l->model_type));
	} else if (l->health == LLM_UNHEALTHY || l->health == LLM_UNKNOWN) {
		pending_reply(
			p, answer_error("Model %s is unhealthy (status: %s)", llm_name(l), llm_health_text(l->health)));
	} else if (selector_pin(&a->selector, p->deploy_id) != 0) {
		pending_fail(p, "out of memory");
	} else {
		passive_health_clear_ejection(a, (size_t)i);
		agent_settle(a);
		pending_reply(p, answer_selected(a, p->old_name, registry_llm(a->s.registry, (size_t)i)));
	}
}

/* Waits for the backend's answer, and for the verdict on the model where there is none. */
static void look_at_select(struct pending *p)
{
	struct agent *a = p->agent;
	long i = registry_find_id(a->s.registry, p->deploy_id);
	const struct track *t = i >= 0 ? registry_track(a->s.registry, (size_t)i) : NULL;

	if (discovery_running(a->discovery) && p->begun)
		return;
	if (t != NULL && (t->held || (t->probing && registry_llm(a->s.registry, (size_t)i)->health != LLM_HEALTHY)))
		return;
	finish_select(p);
}

static void select_model(struct commands *c, struct command_call *call, const json_t *args)
{
	const char *id = json_string_value(json_object_get(args, "deploy_id"));
	struct agent *a = c->agent;
	int64_t age = discovery_age_ms(a->discovery);
	struct pending *p;
	long i;

	if (id == NULL) {
		command_fail(call, "deploy_id: a text is needed");
		return;
	}
	p = pending_new(&c->pending, a, call, CMD_SELECT, finish_select);
	if (p == NULL)
		return;
	p->deploy_id = strdup(id);
	if (p->deploy_id == NULL) {
		pending_fail(p, "out of memory");
		return;
	}
	i = registry_find_id(a->s.registry, id);
	if (i < 0 || age < 0 || age > cfg_ms(a->s.config, CFG_DISCOVERY_CACHE_TTL))
		p->begun = discovery_ask(a->discovery) == 0; /* begun: it waits for the backend */
	if (i >= 0 && registry_llm(a->s.registry, (size_t)i)->health == LLM_UNHEALTHY) {
		passive_health_clear_ejection(a, (size_t)i);
		monitor_probe(a->monitor, (size_t)i); /* it may be back since it was judged */
	}
	look_at_select(p);
}

void commands_look(struct commands *c)
{
	struct pending *next;

	for (struct pending *p = c != NULL ? c->pending : NULL; p != NULL; p = next) {
		next = p->next;
		if (p->late == finish_select)
			look_at_select(p);
	}
}

static void unselect(struct commands *c, struct command_call *call, const json_t *args)
{
	char *old_name = strdup(agent_current_name(c->agent));

	(void)args;
	selector_unpin(&c->agent->selector);
	agent_settle(c->agent);
	command_reply(call, json_pack("{s:s,s:s,s:s?,s:s}", "status", "success", "message", "No model is pinned",
	                              "old_model", old_name, "new_model", agent_current_name(c->agent)));
	free(old_name);
}

/* ---- test ------------------------------------------------------------------------------ */

static void test_late(struct pending *p)
{
	pending_fail(p, "the LLM did not answer in time");
}

static void test_answered(void *arg, const struct http_result *r)
{
	struct pending *p = arg;
	struct agent *a = p->agent;
	long i = registry_find(a->s.registry, p->instance, 0);
	char text[320];

	p->transfer = NULL;
	if (i < 0) {
		pending_reply(p, answer_error("The LLM left while it was asked"));
		return;
	}
	if (r->outcome != HTTP_DONE)
		snprintf(text, sizeof text, "%s", r->text[0] != '\0' ? r->text : http_outcome_text(r->outcome));
	else
		snprintf(text, sizeof text, "the LLM answered HTTP %ld", r->status);
	pending_reply(p,
	              answer_test(&registry_llms(a->s.registry)[i],
	                          r->outcome == HTTP_DONE && (r->status == 200 || r->status == 400 || r->status == 422)
	                                  ? NULL
	                                  : text));
}

static void test(struct commands *c, struct command_call *call, const json_t *args)
{
	static const struct http_handlers handlers = {.done = test_answered};
	struct agent *a = c->agent;
	long i;
	struct http_request req = {
		.method = "POST",
		.connect_ms = cfg_ms(a->s.config, CFG_LLM_CONNECT_TIMEOUT),
		.total_ms = command_info(CMD_TEST)->deadline_ms - 2 * PENDING_MARGIN_MS,
		.collect_limit = TEST_BODY_LIMIT,
		.ca_file = cfg_str(a->s.config, CFG_CLOUD_CA_FILE),
	};
	const struct llm *l;
	struct pending *p;
	char *body;

	(void)args;
	agent_settle_if_touched(a);
	i = selector_current(&a->selector);
	if (i < 0) {
		command_reply(call, answer_error("No LLM configured"));
		return;
	}
	p = pending_new(&c->pending, a, call, CMD_TEST, test_late);
	if (p == NULL)
		return;
	l = registry_llm(a->s.registry, (size_t)i);
	p->instance = l->instance;
	body = capabilities_tiny_request(l, false, &req.body_len);
	req.body = body;
	req.url = l->url;
	req.bearer = tokens_for(a->s.tokens, l, a->s.config);
	p->transfer = body != NULL ? http_start(a->s.http, &req, &handlers, p) : NULL;
	if (p->transfer == NULL)
		pending_fail(p, "out of memory");
	else
		command_on_cancel(call, pending_drop, p);
	free(body);
}

/* ---- report ------------------------------------------------------------------------------ */

static void report(struct commands *c, struct command_call *call, const json_t *args)
{
	struct report r;
	struct err e = ERR_INIT;
	enum report_verdict verdict;

	if (report_parse(json_object_get(args, "report"), &r, &e) != 0) {
		command_fail(call, e.text);
		return;
	}
	verdict = passive_health_report(c->agent, &r);
	command_reply(call,
	              json_pack("{s:b,s:s}", "counted", verdict == REPORT_COUNTS, "why", report_verdict_text(verdict)));
}

/* ---- the daemon itself ---------------------------------------------------------------------- */

static void set_level(struct commands *c, struct command_call *call, const json_t *args)
{
	const char *text = json_string_value(json_object_get(args, "level"));
	enum log_level level;

	(void)c;
	if (text == NULL || log_level_parse(text, &level) != 0) {
		command_fail(call, "level: one of DEBUG, INFO, WARNING, ERROR, CRITICAL is needed");
		return;
	}
	log_set_level(level);
	command_reply(call, json_pack("{s:s,s:s,s:s}", "status", "success", "message", "Log level changed", "level",
	                              log_level_name(level)));
}

static void shut_down(struct commands *c, struct command_call *call, const json_t *args)
{
	const struct timeval soon = {.tv_usec = SHUTDOWN_DELAY_MS * 1000};

	(void)args;
	log_info("ending", L_STR("reason", "the shutdown command"));
	command_reply(call, json_pack("{s:s,s:s}", "status", "success", "message", "The daemon ends"));
	event_base_loopexit(c->agent->s.base, &soon);
}

static handler_fn *const handlers[COMMANDS] = {
	[CMD_PING] = ping,          [CMD_STATUS] = status, [CMD_MODELS] = models,       [CMD_CONFIG] = config,
	[CMD_EVENTS] = events,      [CMD_TEST] = test,     [CMD_REFRESH] = refresh,     [CMD_SELECT] = select_model,
	[CMD_UNSELECT] = unselect,  [CMD_RELOAD] = reload, [CMD_LOG_LEVEL] = set_level, [CMD_REPORT] = report,
	[CMD_SHUTDOWN] = shut_down,
};

static void dispatch(void *arg, struct command_call *call, enum command c, const json_t *args)
{
	handlers[c](arg, call, args);
}

struct commands *commands_new(struct agent *a, const char *socket_path, struct err *e)
{
	struct commands *c = calloc(1, sizeof *c);

	if (c == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	c->agent = a;
	c->server = command_server_new(a->s.base, socket_path, dispatch, c, e);
	if (c->server == NULL) {
		free(c);
		return NULL;
	}
	return c;
}

void commands_free(struct commands *c)
{
	if (c == NULL)
		return;
	while (c->pending != NULL)
		pending_fail(c->pending, "the daemon ends");
	command_server_free(c->server);
	free(c);
}
