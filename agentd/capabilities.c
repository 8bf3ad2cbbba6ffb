/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/capabilities.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/llm/model_list.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE            64
#define AGAIN_FIRST_MS     5000
#define AGAIN_LONGEST_MS   600000
#define MODELS_DEADLINE_MS 5000
#define TOOLS_DEADLINE_MS  30000
#define BODY_LIMIT         (4u << 20)

struct job {
	struct job *next;
	struct capabilities *owner;
	uint64_t instance;
	size_t hint;
	struct http_transfer *models, *tools; /* NULL: done, or not requested */
	struct event *gate_timer;
	bool failed;
};

struct capabilities {
	struct services *s;
	capabilities_learned_fn *learned;
	void *arg;
	struct job *jobs;
	size_t running, wanted;
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
		http_cancel(j->models);
	if (j->tools != NULL)
		http_cancel(j->tools);
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

char *capabilities_tiny_request(const struct llm *l, bool tools, size_t *len)
{
	json_t *j = json_pack("{s:s?,s:i,s:b}", "model", l->model, "max_tokens", 1, "stream", 0);
	char *text = NULL;

	if (l->model == NULL)
		json_object_del(j, "model");
	if (l->uses_completions)
		json_object_set_new(j, "prompt", json_string("Hi"));
	else
		json_object_set_new(j, "messages", json_pack("[{s:s,s:s}]", "role", "user", "content", "Hi"));
	if (tools) {
		json_object_set_new(j, "tools",
		                    json_pack("[{s:s,s:{s:s,s:s,s:{s:s,s:{}}}}]", "type", "function", "function",
		                              "name", "noop", "description", "Does nothing.", "parameters", "type",
		                              "object", "properties"));
		json_object_set_new(j, "tool_choice", json_string("auto"));
	}
	if (j != NULL)
		text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	*len = text != NULL ? strlen(text) : 0;
	return text;
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

static void learn_models(struct job *j, struct llm *l, const struct http_result *r)
{
	struct model_list_entry entry;

	if (model_list_read(r->body, r->body_len, l->model, &entry) < 0) {
		j->failed = true;
		return;
	}
	if (entry.id == NULL)
		log_event(LOG_CAPABILITIES_WARNING, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
		          L_STR("error", "GET /v1/models lists no model id"));
	llm_choose_model(l, j->owner->s->config, entry.id);
	if (entry.context > 0)
		l->context_length = entry.context;
	/* vLLM identifies itself there; it supports continue_final_message. */
	l->continues = entry.is_vllm;
	model_list_clear(&entry);
}

static void probe_tools(struct job *j, const struct llm *l);

static void on_models(void *arg, const struct http_result *r)
{
	struct job *j = arg;
	size_t i;
	struct llm *l = job_llm(j, &i);

	j->models = NULL;
	if (l != NULL && r->outcome == HTTP_DONE && r->status == 200) {
		learn_models(j, l, r);
	} else if (l != NULL) {
		log_event(LOG_CAPABILITIES_DEBUG, L_STR("model", llm_name(l)),
		          L_STR("models", http_outcome_text(r->outcome)), L_INT("status", r->status));
		/* A definite answer is final. */
		j->failed |= r->outcome != HTTP_DONE || r->status >= 500;
		if (l->model == NULL)
			llm_choose_model(l, j->owner->s->config, NULL);
	}
	if (l != NULL)
		probe_tools(j, l);
	job_end_if_done(j);
}

static void on_tools(void *arg, const struct http_result *r)
{
	struct job *j = arg;
	size_t i;
	struct llm *l = job_llm(j, &i);

	j->tools = NULL;
	if (l != NULL && l->tools == LLM_TOOLS_UNKNOWN) {
		if (r->outcome == HTTP_DONE && r->status == 200)
			l->tools = LLM_TOOLS_YES;
		else if (r->outcome == HTTP_DONE && (r->status == 400 || r->status == 422))
			l->tools = LLM_TOOLS_NO;
		else
			j->failed = true;
	}
	job_end_if_done(j);
}

static void probe_tools(struct job *j, const struct llm *l)
{
	static const struct http_handlers handlers = {.done = on_tools};
	struct services *s = j->owner->s;
	struct http_request req = {
		.method = "POST",
		.url = l->url,
		.bearer = tokens_for(s->tokens, l, s->config),
		.ca_file = cfg_str(s->config, CFG_CLOUD_CA_FILE),
		.connect_ms = MODELS_DEADLINE_MS,
		.total_ms = TOOLS_DEADLINE_MS,
		.collect_limit = BODY_LIMIT,
	};
	char *body;

	if (l->tools != LLM_TOOLS_UNKNOWN || l->uses_completions)
		return;
	body = capabilities_tiny_request(l, true, &req.body_len);
	req.body = body;
	if (body != NULL)
		j->tools = http_start(s->http, &req, &handlers, j);
	j->failed |= j->tools == NULL;
	free(body);
}

static void fetch_models(struct job *j, const struct llm *l)
{
	static const struct http_handlers handlers = {.done = on_models};
	struct services *s = j->owner->s;
	char *url = l->url != NULL ? llm_sibling_url(l->url, "/v1/models") : NULL;
	struct http_request req = {
		.method = "GET",
		.url = url,
		.bearer = tokens_for(s->tokens, l, s->config),
		.ca_file = cfg_str(s->config, CFG_CLOUD_CA_FILE),
		.connect_ms = MODELS_DEADLINE_MS,
		.total_ms = MODELS_DEADLINE_MS,
		.collect_limit = BODY_LIMIT,
	};

	if (url != NULL)
		j->models = http_start(s->http, &req, &handlers, j);
	j->failed |= j->models == NULL;
	free(url);
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
	size_t count = registry_count(c->s->registry);

	if (c->wanted == 0)
		return;
	c->wanted = 0;
	for (size_t i = 0; i < count; i++) {
		if (registry_track(c->s->registry, i)->caps != CAPS_WANTED)
			continue;
		if (c->running >= AT_ONCE)
			c->wanted++;
		else
			job_start(c, i);
	}
}

bool capabilities_need_gate(const struct llm *l, const struct track *t)
{
	return t->caps == CAPS_NONE && t->caps_tries == 0 && l->kind != LLM_CLOUD && llm_is_selectable(l) &&
	       (l->model == NULL || (l->tools == LLM_TOOLS_UNKNOWN && !l->uses_completions));
}

void capabilities_forget(struct capabilities *c, size_t index)
{
	struct track *t = registry_track(c->s->registry, index);

	t->caps_retry_ms = 0;
	if (t->caps == CAPS_DONE && registry_llm(c->s->registry, index)->kind != LLM_DISCOVERED)
		t->caps = CAPS_NONE;
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

	if (t->caps != CAPS_NONE || l->kind == LLM_CLOUD || !llm_is_selectable(l) || clock_mono_ms() < t->caps_retry_ms)
		return;
	if (c->running < AT_ONCE) {
		t->gated = may_gate && capabilities_need_gate(l, t);
		job_start(c, index);
	} else {
		t->caps = CAPS_WANTED; /* not gated: it may take a while */
		c->wanted++;
	}
}
