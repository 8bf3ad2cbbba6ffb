/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "core/http/http_proxy.h"
#include "core/probe/chat.h"
#include "core/status/document.h"

#include <stdio.h>
#include <stdlib.h>

struct test {
	struct chat_probe *probe; /* NULL: ended */
	uint64_t instance;        /* of the LLM that is tested */
};

static void timeout(struct pending *p)
{
	pending_fail(p, "the LLM did not answer in time");
}

static void clear(struct pending *p)
{
	struct test *t = p->state;

	if (t != NULL && t->probe != NULL)
		chat_probe_cancel(t->probe);
	free(t);
}

/* As /test_llm shows it; error NULL: the LLM answered. */
static json_t *result(const struct llm *l, const char *error)
{
	json_t *info = l->kind == LLM_DISCOVERED ? document_llm_info(l) : json_null();
	json_t *j = json_pack("{s:s,s:s,s:o,s:b}", "status", error == NULL ? "success" : "error", "llm_url", l->url,
	                      "llm_info", info, "connection_test", error == NULL);

	if (error != NULL)
		json_object_set_new(j, "message", json_string(error));
	return j;
}

static void on_answer(void *arg, const struct http_result *r, const struct quirks *learned)
{
	struct pending *p = arg;
	struct test *t = p->state;
	const struct registry *registry = p->agent->s.registry;
	long i = registry_find(registry, t->instance, 0);
	char error[320];

	(void)learned;
	t->probe = NULL;
	if (i < 0) {
		pending_reply(p, command_error("The LLM was removed during the test"));
		return;
	}
	if (r->outcome != HTTP_DONE)
		snprintf(error, sizeof error, "%s", r->text[0] != '\0' ? r->text : http_outcome_text(r->outcome));
	else if (r->status != 200 && r->status != 400 && r->status != 422)
		snprintf(error, sizeof error, "the LLM answered HTTP %ld", r->status);
	else
		error[0] = '\0';
	pending_reply(p, result(&registry_llms(registry)[i], error[0] != '\0' ? error : NULL));
}

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	struct chat_probe_request req = {
		.question = CHAT_WORDS,
		.connect_ms = cfg_ms(a->s.config, CFG_LLM_CONNECT_TIMEOUT),
		.total_ms = command_info(CMD_TEST)->deadline_ms - 2 * PENDING_MARGIN_MS,
		.ca_file = cfg_str(a->s.config, CFG_CLOUD_CA_FILE),
	};
	const struct llm *l;
	struct pending *p;
	struct test *t;

	(void)args;
	agent_settle_if_touched(a);
	if (selector_current(&a->selector) < 0) {
		command_reply(call, command_error("No LLM configured"));
		return;
	}
	p = pending_new(a, call, CMD_TEST);
	if (p == NULL)
		return;
	p->state = t = calloc(1, sizeof *t);
	l = registry_llm(a->s.registry, (size_t)selector_current(&a->selector));
	req.llm = l;
	req.proxy = l->kind == LLM_CLOUD ? http_proxy_for(a->s.config, l->url) : NULL;
	req.bearer = tokens_for(a->s.tokens, l, a->s.config);
	if (t != NULL) {
		t->instance = l->instance;
		t->probe = chat_probe_start(a->s.http, &req, on_answer, p);
	}
	if (t == NULL || t->probe == NULL)
		pending_fail(p, "out of memory");
	else
		command_on_cancel(call, pending_drop, p);
}

const struct command_entry command_TEST = {.run = run, .timeout = timeout, .clear = clear};
