/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/capabilities.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/http/http_proxy.h"
#include "core/probe/chat.h"
#include "core/probe/models.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE            64
#define AGAIN_FIRST_MS     5000
#define AGAIN_LONGEST_MS   600000
#define MODELS_DEADLINE_MS 5000
#define TOOLS_DEADLINE_MS  30000

struct job {
	struct job *next;
	struct capabilities *owner;
	uint64_t instance;
	size_t hint;
	struct models_probe *models; /* NULL: done */
	struct chat_probe *tools;    /* NULL: done, or not requested */
	bool has_models;             /* the model ids are known, or will not be */
	struct event *gate_timer;
	bool failed;
};

struct capabilities {
	struct services *s;
	capabilities_learned_fn *learned;
	void *arg;
	struct job *jobs;
	size_t running, wanted;
	size_t next; /* index from which on those that wait are searched */
};

struct capabilities *capabilities_new(struct services *s, capabilities_learned_fn *learned, void *arg)
{
	struct capabilities *c = calloc(1, sizeof *c);

	if (c != NULL)
		*c = (struct capabilities){.s = s, .learned = learned, .arg = arg};
	return c;
}

static void job_free(struct job *j)
{
	if (j->models != NULL)
		models_probe_cancel(j->models);
	if (j->tools != NULL)
		chat_probe_cancel(j->tools);
	if (j->gate_timer != NULL)
		event_free(j->gate_timer);
	free(j);
}

void capabilities_free(struct capabilities *c)
{
	if (c == NULL)
		return;
	while (c->jobs != NULL) {
		struct job *j = c->jobs;

		c->jobs = j->next;
		job_free(j);
	}
	free(c);
}

static struct llm *job_llm(const struct job *j, size_t *index)
{
	long i = registry_find(j->owner->s->registry, j->instance, j->hint);

	*index = i >= 0 ? (size_t)i : 0;
	return i >= 0 ? registry_llm(j->owner->s->registry, (size_t)i) : NULL;
}

static void start_wanted(struct capabilities *c);

static void open_gate(struct job *j)
{
	size_t i;

	if (job_llm(j, &i) != NULL && registry_track(j->owner->s->registry, i)->gated) {
		registry_track(j->owner->s->registry, i)->gated = false;
		j->owner->learned(j->owner->arg, i);
	}
}

/* Requested again after a later probe, with exponential backoff. */
static void back_off(struct track *t)
{
	int64_t wait = AGAIN_FIRST_MS << (t->caps_tries < 7 ? t->caps_tries : 7);

	t->caps_tries++;
	t->caps_retry_ms = clock_mono_ms() + (wait < AGAIN_LONGEST_MS ? wait : AGAIN_LONGEST_MS);
}

static void job_end_if_done(struct job *j)
{
	struct capabilities *c = j->owner;
	struct llm *l;
	size_t i;

	if (j->models != NULL || j->tools != NULL)
		return;
	l = job_llm(j, &i);
	if (l != NULL) {
		struct track *t = registry_track(c->s->registry, i);

		t->gated = false;
		t->caps = j->failed ? CAPS_NONE : CAPS_DONE;
		if (j->failed)
			back_off(t);
		log_event(LOG_CAPABILITIES, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
		          L_STR("model_id", l->model), L_INT("context", l->context_length),
		          L_STR("tools", l->tools == LLM_TOOLS_YES  ? "yes"
		                         : l->tools == LLM_TOOLS_NO ? "no"
		                                                    : "unknown"));
	}
	for (struct job **p = &c->jobs; *p != NULL; p = &(*p)->next) {
		if (*p == j) {
			*p = j->next;
			break;
		}
	}
	c->running--;
	job_free(j);
	if (l != NULL)
		c->learned(c->arg, i);
	start_wanted(c);
}

/* The context length may take further requests, which turns do not wait for. */
static void open_gate_if_known(struct job *j)
{
	if (j->has_models && j->tools == NULL)
		open_gate(j);
	job_end_if_done(j);
}

static void learn_models(struct job *j, struct llm *l, const struct model_list_entry *entry)
{
	if (entry->id == NULL)
		log_event(LOG_CAPABILITIES_WARNING, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
		          L_STR("error", "GET /v1/models lists no model id"));
	llm_choose_model(l, j->owner->s->config, entry->id);
	l->continues = entry->continues && l->kind != LLM_CLOUD;
}

static void probe_tools(struct job *j, const struct llm *l);

static bool on_models(void *arg, const struct http_result *r, const struct model_list_entry *entry)
{
	struct job *j = arg;
	size_t i;
	struct llm *l = job_llm(j, &i);

	j->has_models = true;
	if (l == NULL)
		return false;
	if (entry != NULL) {
		learn_models(j, l, entry);
	} else {
		log_event(LOG_CAPABILITIES_DEBUG, L_STR("model", llm_name(l)),
		          L_STR("models", http_outcome_text(r->outcome)), L_INT("status", r->status));
		/* A definite answer is final. */
		j->failed |= r->outcome != HTTP_DONE || r->status >= 500 || errno == ENOMEM;
		if (l->model == NULL)
			llm_choose_model(l, j->owner->s->config, NULL);
	}
	probe_tools(j, l);
	return true;
}

static void on_context(void *arg, int64_t context, const char *path)
{
	struct job *j = arg;
	size_t i;
	struct llm *l = job_llm(j, &i);

	(void)path;
	j->models = NULL;
	if (l != NULL && context > 0)
		l->context_length = context;
	open_gate_if_known(j);
}

static void on_tools(void *arg, const struct http_result *r, const struct quirks *learned)
{
	struct job *j = arg;
	size_t i;
	struct llm *l = job_llm(j, &i);

	j->tools = NULL;
	if (l != NULL && l->tools == LLM_TOOLS_UNKNOWN) {
		l->tools = chat_probe_tools(r, learned);
		j->failed |= l->tools == LLM_TOOLS_UNKNOWN;
	}
	if (l != NULL && r->outcome == HTTP_DONE && r->status == 200)
		capabilities_learn_probed(j->owner->s, l, learned);
	open_gate_if_known(j);
}

static void probe_tools(struct job *j, const struct llm *l)
{
	struct services *s = j->owner->s;
	const struct chat_probe_request r = {
		.llm = l,
		.question = CHAT_TOOLS,
		.bearer = tokens_for(s->tokens, l, s->config),
		.ca_file = cfg_str(s->config, CFG_CLOUD_CA_FILE),
		.connect_ms = MODELS_DEADLINE_MS,
		.total_ms = TOOLS_DEADLINE_MS,
	};

	if (l->tools != LLM_TOOLS_UNKNOWN || l->uses_completions)
		return;
	j->tools = chat_probe_start(s->http, &r, on_tools, j);
	j->failed |= j->tools == NULL;
}

static void fetch_models(struct job *j, const struct llm *l)
{
	static const struct models_handlers handlers = {.models = on_models, .done = on_context};
	struct services *s = j->owner->s;
	const struct models_request r = {
		.llm = l,
		.bearer = tokens_for(s->tokens, l, s->config),
		.ca_file = cfg_str(s->config, CFG_CLOUD_CA_FILE),
		.proxy = l->kind == LLM_CLOUD ? http_proxy_for(s->config, l->url) : NULL,
		.deadline_ms = MODELS_DEADLINE_MS,
		.only_list = l->kind == LLM_CLOUD,
	};

	if (l->url != NULL)
		j->models = models_probe_start(s->http, &r, &handlers, j);
	j->failed |= j->models == NULL;
}

static void gate_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	open_gate(arg);
}

static void job_start(struct capabilities *c, size_t index)
{
	struct llm *l = registry_llm(c->s->registry, index);
	struct track *t = registry_track(c->s->registry, index);
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL) {
		t->gated = false;
		t->caps = CAPS_NONE;
		return;
	}
	*j = (struct job){.next = c->jobs, .owner = c, .instance = l->instance, .hint = index};
	c->jobs = j;
	c->running++;
	t->caps = CAPS_RUNNING;
	if (t->gated) {
		j->gate_timer = evtimer_new(c->s->base, gate_timeout, j);
		if (j->gate_timer != NULL)
			timer_arm_ms(j->gate_timer, READINESS_GATE_MS);
	}
	fetch_models(j, l);
	if (j->models == NULL)
		job_end_if_done(j);
}

static void start_wanted(struct capabilities *c)
{
	size_t count = registry_count(c->s->registry), seen;

	for (seen = 0; seen < count && c->running < AT_ONCE && c->wanted > 0; seen++) {
		size_t i = c->next++ % count;

		if (registry_track(c->s->registry, i)->caps != CAPS_WANTED)
			continue;
		c->wanted--;
		job_start(c, i);
	}
	if (seen == count)
		c->wanted = 0; /* the others are gone */
}

bool capabilities_need_gate(const struct llm *l, const struct track *t)
{
	return t->caps == CAPS_NONE && t->caps_tries == 0 && l->kind != LLM_CLOUD && llm_is_selectable(l) &&
	       (l->model == NULL || (l->tools == LLM_TOOLS_UNKNOWN && !l->uses_completions));
}

bool capabilities_learn_quirks(struct services *s, struct llm *l, const struct quirks *more, const char *refusal)
{
	struct quirks known = {.set = l->quirks, .max_tokens = l->max_tokens};

	quirks_add(&known, more);
	if (known.set == l->quirks && known.max_tokens == l->max_tokens)
		return false;
	l->quirks = known.set;
	l->max_tokens = known.max_tokens;
	l->quirks_ms = clock_wall_ms();
	events_quirks(s->events, l, &known, refusal);
	return true;
}

void capabilities_learn_probed(struct services *s, struct llm *l, const struct quirks *more)
{
	const struct quirks of_turns = {.set = more->set & ~QUIRK_BIT(QUIRK_MAX_TOKENS)};

	capabilities_learn_quirks(s, l, &of_turns, "a probe was refused");
}

void capabilities_forget_quirks(struct llm *l)
{
	if (l->quirks == 0 && l->max_tokens == 0)
		return;
	l->quirks = 0;
	l->max_tokens = 0;
	l->quirks_ms = clock_wall_ms();
}

void capabilities_forget(struct capabilities *c, size_t index)
{
	struct track *t = registry_track(c->s->registry, index);
	struct llm *l = registry_llm(c->s->registry, index);

	t->caps_retry_ms = 0;
	if (l->kind == LLM_DISCOVERED)
		return;
	if (t->caps == CAPS_DONE)
		t->caps = CAPS_NONE;
	capabilities_forget_quirks(l);
}

void capabilities_came_back(struct capabilities *c, size_t index)
{
	struct llm *l = registry_llm(c->s->registry, index);

	capabilities_forget(c, index);
	if (llm_kind_info(l->kind)->configure != NULL && l->kind != LLM_CLOUD)
		l->tools = LLM_TOOLS_UNKNOWN;
}

void capabilities_want(struct capabilities *c, size_t index, bool may_gate)
{
	struct llm *l = registry_llm(c->s->registry, index);
	struct track *t = registry_track(c->s->registry, index);

	if (t->caps != CAPS_NONE || !llm_is_selectable(l) || clock_mono_ms() < t->caps_retry_ms)
		return;
	if (c->running < AT_ONCE) {
		t->gated = may_gate && capabilities_need_gate(l, t);
		job_start(c, index);
	} else {
		t->caps = CAPS_WANTED; /* not gated: it may take a while */
		c->wanted++;
	}
}
