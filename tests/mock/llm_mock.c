/* SPDX-License-Identifier: Apache-2.0 */
/* An LLM server that speaks the OpenAI protocol as vLLM does, fast, and misbehaves on
 * request: see script.h. */
#include "tests/mock/script.h"
#include "tests/mock/server.h"
#include "tests/mock/stream.h"

#include "core/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LLM_CACHE     512
#define LLM_TEXT_MOST ((size_t)64 << 20)

struct llm_cached {
	char *key;
	struct plan *plan;
};

struct llm_state {
	struct book *book;
	uint64_t generation;
	json_t *standard;     /* the default script; NULL: none */
	struct script script; /* of it alone */
	struct llm_cached cache[LLM_CACHE];
};

/* What the mock looks at in a request. */
struct llm_request {
	json_t *json;
	struct stream_request stream;
	char *message; /* the last user message, or the prompt */
	size_t round;  /* assistant messages after it */
	char *begun;   /* the answer that is to be continued, or NULL */
};

static void llm_cache_clear(struct llm_state *st)
{
	for (size_t i = 0; i < LLM_CACHE; i++) {
		free(st->cache[i].key);
		plan_unref(st->cache[i].plan);
		st->cache[i] = (struct llm_cached){0};
	}
}

static void llm_refresh(struct llm_state *st)
{
	char *text = book_script(st->book, &st->generation), why[128];
	const json_t *layers[1];

	if (!text && st->script.json)
		return;
	json_decref(st->standard);
	st->standard = text ? json_loads(text, 0, NULL) : NULL;
	free(text);
	layers[0] = st->standard;
	if (st->script.json)
		script_clear(&st->script);
	(void)script_make(&st->script, layers, 1, why, sizeof why);
	llm_cache_clear(st);
}

static void *llm_state_new(struct book *book)
{
	struct llm_state *st = calloc(1, sizeof *st);

	if (!st)
		exit(1);
	st->book = book;
	llm_refresh(st);
	return st;
}

static void llm_content(struct buf *out, const json_t *content)
{
	size_t i;
	json_t *part;

	if (json_is_string(content))
		buf_add(out, json_string_value(content), json_string_length(content));
	json_array_foreach(content, i, part)
	{
		const char *text = json_string_value(json_object_get(part, "text"));

		if (text)
			buf_adds(out, text);
	}
}

/* As vLLM does: continue_final_message, and a last message of the assistant. */
static bool llm_begun(struct llm_request *a, const json_t *message, const char *role)
{
	struct buf text = BUF_INIT(LLM_TEXT_MOST);

	if (!role || strcmp(role, "assistant") != 0 ||
	    !json_is_true(json_object_get(a->json, "continue_final_message")))
		return false;
	llm_content(&text, json_object_get(message, "content"));
	buf_add(&text, "", 0);
	a->begun = buf_steal(&text, NULL);
	return true;
}

/* The last user message and the assistant messages after it. */
static void llm_last_message(struct llm_request *a)
{
	const json_t *messages = json_object_get(a->json, "messages");
	struct buf text = BUF_INIT(LLM_TEXT_MOST);

	for (size_t i = json_array_size(messages); i-- > 0;) {
		const json_t *m = json_array_get(messages, i);
		const char *role = json_string_value(json_object_get(m, "role"));

		if (i + 1 == json_array_size(messages) && llm_begun(a, m, role))
			continue;
		if (role && strcmp(role, "assistant") == 0)
			a->round++;
		if (!role || strcmp(role, "user") != 0)
			continue;
		llm_content(&text, json_object_get(m, "content"));
		break;
	}
	if (a->stream.completions)
		llm_content(&text, json_object_get(a->json, "prompt"));
	buf_add(&text, "", 0);
	a->message = buf_steal(&text, NULL);
}

static bool llm_request_read(struct llm_request *a, const struct server_request *r)
{
	const json_t *options;
	const char *model;

	*a = (struct llm_request){.json = json_loadb(r->body, r->body_len, 0, NULL)};
	if (!json_is_object(a->json))
		return false;
	options = json_object_get(a->json, "stream_options");
	model = json_string_value(json_object_get(a->json, "model"));
	a->stream = (struct stream_request){
		.model = model ? model : "",
		.completions = strcmp(r->path, "/v1/completions") == 0,
		.stream = json_is_true(json_object_get(a->json, "stream")),
		.usage_last = json_is_true(json_object_get(options, "include_usage")),
		.usage_each = json_is_true(json_object_get(options, "continuous_usage_stats")),
		.tools = json_array_size(json_object_get(a->json, "tools")) > 0,
		.max_tokens = json_integer_value(json_object_get(a->json, "max_tokens")),
	};
	llm_last_message(a);
	a->stream.begun = a->begun;
	return true;
}

static void llm_request_clear(struct llm_request *a)
{
	json_decref(a->json);
	free(a->message);
	free(a->begun);
}

/* The text that an echo says: a new string, or NULL. */
static char *llm_echo(const struct llm_request *a, int64_t echo)
{
	struct buf text = BUF_INIT(LLM_TEXT_MOST);
	size_t i;
	json_t *m;

	if (echo == ECHO_NONE)
		return NULL;
	if (echo == ECHO_LAST || a->stream.completions)
		return strdup(a->message ? a->message : "");
	json_array_foreach(json_object_get(a->json, "messages"), i, m)
	{
		const char *role = json_string_value(json_object_get(m, "role"));

		if (echo == ECHO_USERS && (!role || strcmp(role, "user") != 0))
			continue;
		if (text.len > 0)
			buf_adds(&text, " | ");
		if (echo == ECHO_ALL)
			buf_addf(&text, "%s: ", role ? role : "?");
		llm_content(&text, json_object_get(m, "content"));
	}
	buf_add(&text, "", 0);
	return buf_steal(&text, NULL);
}

static struct plan *llm_error(int status, const char *text)
{
	json_t *j = json_pack("{s:{s:s, s:s, s:n, s:i}}", "error", "message", text, "type", "BadRequestError", "param",
	                      "code", status);
	char *dump = json_dumps(j, JSON_COMPACT);
	struct plan *p = plan_response(status, "application/json", NULL, dump ? dump : "", dump ? strlen(dump) : 0, 0);

	free(dump);
	json_decref(j);
	return p;
}

/* The answer to a prompt that the window does not hold, or NULL. */
static struct plan *llm_too_long(const struct script *s, const struct llm_request *a)
{
	struct buf text = BUF_INIT(LLM_TEXT_MOST);
	char why[256];
	long long prompt, total;
	size_t i;
	json_t *m;

	json_array_foreach(json_object_get(a->json, "messages"), i, m)
		llm_content(&text, json_object_get(m, "content"));
	prompt = (long long)text.len;
	total = prompt + a->stream.max_tokens;
	buf_free(&text);
	if (s->window < 0 || total <= s->window)
		return NULL;
	if (s->window_status == 200) {
		struct script error = *s;

		error.error_after = 0;
		return stream_plan(&error, &a->stream);
	}
	if (s->body)
		return plan_response((int)s->window_status, "application/json", NULL, s->body, strlen(s->body), 0);
	snprintf(why, sizeof why,
	         "This model's maximum context length is %lld tokens. However, you requested %lld tokens (%lld in the "
	         "messages, %lld in the completion). Please reduce the length of the messages or completion.",
	         (long long)s->window, total, prompt, (long long)a->stream.max_tokens);
	return llm_error((int)s->window_status, why);
}

/* Whether the rule of `rules` is about this request. */
static bool llm_breaks(const json_t *rule, const json_t *request)
{
	const char *field = json_string_value(json_object_get(rule, "field"));
	const char *role = json_string_value(json_object_get(rule, "role")), *last = "";
	const json_t *above = json_object_get(rule, "above"), *is = json_object_get(rule, "is"), *value = request, *m;
	bool consecutive = json_is_true(json_object_get(rule, "consecutive"));
	size_t i;

	json_array_foreach(json_object_get(request, "messages"), i, m)
	{
		const char *of = json_string_value(json_object_get(m, "role"));

		if (of && ((role && strcmp(of, role) == 0) || (consecutive && strcmp(of, last) == 0)))
			return true;
		last = of ? of : "";
	}
	while (field && value) {
		char name[64];
		size_t len = strcspn(field, ".");

		snprintf(name, sizeof name, "%.*s", (int)len, field);
		value = json_object_get(value, name);
		field = field[len] ? field + len + 1 : NULL;
	}
	return value && value != request && (!is || json_equal(value, is)) &&
	       (!above || json_number_value(value) > json_number_value(above));
}

static struct plan *llm_by_rule(const struct script *s, const struct llm_request *a)
{
	const json_t *rule;
	size_t i;

	json_array_foreach(s->rules, i, rule)
	{
		const char *body = json_string_value(json_object_get(rule, "body"));

		if (body && llm_breaks(rule, a->json))
			return plan_response((int)json_integer_value(json_object_get(rule, "status")),
			                     "application/json", NULL, body, strlen(body), 0);
	}
	return NULL;
}

static struct plan *llm_make(const struct llm_state *st, struct llm_request *a, const char *marker, const char *text,
                             bool *cacheable)
{
	json_t *inline_json = text ? json_loads(text, 0, NULL) : NULL, *marked = script_marker_json(marker);
	const json_t *layers[4] = {st->standard, marked, inline_json, NULL};
	struct plan *plan = NULL;
	struct script s;
	char why[160] = "";
	int made = text && !inline_json ? -1 : script_make(&s, layers, 3, why, sizeof why);

	if (made == 0 && a->round < json_array_size(s.rounds)) {
		json_t *round = json_incref(json_array_get(s.rounds, a->round));

		layers[3] = round;
		script_clear(&s);
		made = script_make(&s, layers, 4, why, sizeof why);
		json_decref(round);
	}
	if (made == 0) {
		char *echo = llm_echo(a, s.echo);

		a->stream.echo = echo;
		plan = llm_by_rule(&s, a);
		if (!plan)
			plan = llm_too_long(&s, a);
		if (!plan)
			plan = stream_plan(&s, &a->stream);
		*cacheable = !echo && !a->begun && s.window < 0 && !s.rules;
		free(echo);
		script_clear(&s);
	} else {
		fprintf(stderr, "llm-mock: bad script in a message: %s\n", why);
		plan = llm_error(400, why);
	}
	json_decref(inline_json);
	json_decref(marked);
	return plan;
}

static size_t llm_hash(const char *key)
{
	size_t h = 14695981039346656037u;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 1099511628211u;
	return h % LLM_CACHE;
}

static struct plan *llm_answer_request(struct llm_state *st, struct llm_request *a)
{
	const char *marker = script_marker(a->message);
	char *text = script_inline(a->message), *key;
	struct buf name = BUF_INIT(LLM_TEXT_MOST);
	struct llm_cached *c;
	struct plan *plan;
	bool cacheable = false;

	buf_addf(&name, "%d%d%d%d%d %zu %lld %s %s %s", a->stream.completions, a->stream.stream, a->stream.usage_last,
	         a->stream.usage_each, a->stream.tools, a->round, (long long)a->stream.max_tokens, a->stream.model,
	         marker ? marker : "", text ? text : "");
	key = buf_steal(&name, NULL);
	if (!key)
		exit(1);
	c = &st->cache[llm_hash(key)];
	if (!a->begun && c->key && strcmp(c->key, key) == 0) {
		plan = plan_ref(c->plan);
	} else {
		plan = llm_make(st, a, marker, text, &cacheable);
		if (cacheable) {
			free(c->key);
			plan_unref(c->plan);
			*c = (struct llm_cached){.key = key, .plan = plan_ref(plan)};
			key = NULL;
		}
	}
	free(key);
	free(text);
	return plan;
}

static struct plan *llm_chat(struct llm_state *st, const struct server_request *r)
{
	struct llm_request a;
	struct plan *plan;

	if (strcmp(r->method, "POST") != 0)
		return llm_error(405, "Method Not Allowed");
	if (st->script.slots > 0 && book_active(st->book) > st->script.slots)
		return llm_error(429, "all slots are busy");
	plan = llm_request_read(&a, r) ? llm_answer_request(st, &a) : llm_error(400, "the body is no JSON object");
	llm_request_clear(&a);
	return plan;
}

static struct plan *llm_models(struct llm_state *st, const struct server_request *r)
{
	const struct script *s = &st->script;
	json_t *data = json_array(), *name, *answer;
	struct plan *plan;
	size_t i;
	char *dump;

	(void)r;
	json_array_foreach(s->models, i, name)
	{
		json_t *m = json_pack("{s:O, s:s, s:i, s:s}", "id", name, "object", "model", "created", 1795370000,
		                      "owned_by", s->continues ? "vllm" : "mock");

		if (s->max_model_len > 0)
			json_object_set_new(m, "max_model_len", json_integer(s->max_model_len));
		json_array_append_new(data, m);
	}
	answer = json_pack("{s:s, s:o}", "object", "list", "data", data);
	dump = json_dumps(answer, JSON_COMPACT);
	plan = plan_response((int)s->models_status, "application/json", NULL, dump ? dump : "", dump ? strlen(dump) : 0,
	                     s->models_delay_us);
	free(dump);
	json_decref(answer);
	return plan;
}

static struct plan *llm_health(struct llm_state *st, const struct server_request *r)
{
	const struct script *s = &st->script;
	const char *body = s->health_body ? s->health_body : "";

	(void)r;
	return plan_response((int)s->health_status, "application/json", NULL, body, strlen(body), s->health_delay_us);
}

static struct plan *llm_unauthorized(void)
{
	static const char body[] = "{\"error\":\"Unauthorized\"}";

	return plan_response(401, "application/json", NULL, body, sizeof body - 1, 0);
}

static struct plan *llm_answer(void *state, const struct server_request *r)
{
	static const struct {
		const char *path;
		struct plan *(*answer)(struct llm_state *st, const struct server_request *r);
	} routes[] = {
		{"/v1/chat/completions", llm_chat},
		{"/v1/completions", llm_chat},
		{"/v1/models", llm_models},
		{"/health", llm_health},
	};
	struct llm_state *st = state;
	const json_t *document;
	const char *bearer;

	llm_refresh(st);
	bearer = st->script.bearer;
	if (bearer && strncmp(r->path, "/v1/", 4) == 0 &&
	    (!r->authorization || strncmp(r->authorization, "Bearer ", 7) != 0 ||
	     strcmp(r->authorization + 7, bearer) != 0))
		return llm_unauthorized();
	document = json_object_get(st->script.documents, r->path);
	if (document) {
		bool text = json_is_string(document);
		char *dump = text ? strdup(json_string_value(document))
		                  : json_dumps(document, JSON_COMPACT | JSON_ENCODE_ANY);
		struct plan *plan = plan_response(200, text ? "text/plain" : "application/json", NULL, dump ? dump : "",
		                                  dump ? strlen(dump) : 0, 0);

		free(dump);
		return plan;
	}
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (strcmp(routes[i].path, r->path) == 0)
			return routes[i].answer(st, r);
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct server_app app = {
		.name = "llm-mock",
		.usage = "llm-mock [--port N] [--address IP] [--workers N] [--script FILE] [--record N]\n"
			 "            [--tls-cert FILE --tls-key FILE]\n"
			 "A mock for an LLM server. --port 0 (the default) takes any; the port is printed.\n",
		.check_script = script_check,
		.state_new = llm_state_new,
		.answer = llm_answer,
	};

	return server_main(argc, argv, &app);
}
