/* SPDX-License-Identifier: Apache-2.0 */
/* probe: asks a server that is not configured yet for all that a turn may need, in the way in which
 * the daemon and a turn ask, and says what to configure. It needs no daemon. */
#include "agentctl/text.h"
#include "core/base/clock.h"
#include "core/config/config.h"
#include "core/http/http_proxy.h"
#include "core/probe/chat.h"
#include "core/probe/health.h"
#include "core/probe/models.h"
#include "core/stream/error_report.h"
#include "core/stream/stream.h"
#include "core/turn/prompt.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS  60000 /* a model may have to be loaded first */
#define LIST_MS    10000
#define BODY_LIMIT (4u << 20)
#define NAMES      8 /* models that are shown */
#define REFUSALS   8 /* requests that leave out something more, one after the other */

struct probe {
	const struct ctl *a;
	struct event_base *base;
	struct resolver *resolver;
	struct http *http;
	struct config *config; /* the defaults and the options: only the daemon reads files and the environment */
	struct llm llm;
	const char *token;
	json_t *document;
	enum ctl_exit result;
	bool waiting; /* for the running request */

	/* What the last request brought. */
	struct http_result answer;
	char *body;
	struct stream *stream; /* NULL: the answer is collected */
	int64_t began_ms, first_ms;
	bool text, reasoning;

	int64_t context;
	bool continues;
	struct quirks refused; /* of the last chat request */
};

/* ---- what is found out ---------------------------------------------------------------------- */

static void tell(struct probe *p, const char *key, enum colour colour, json_t *value, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* A member of the document, and its line. */
static void tell(struct probe *p, const char *key, enum colour colour, json_t *value, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	json_object_set_new(p->document, key, value);
	if (p->a->output == &ctl_text) {
		text_field(p->a, key, colour, "%s", text);
		fflush(p->a->out);
	}
}

static void tell_yes_or_no(struct probe *p, const char *key, bool yes, const char *text)
{
	tell(p, key, yes ? COLOUR_GREEN : COLOUR_YELLOW, json_boolean(yes), "%s%s%s", yes ? "yes" : "no",
	     *text != '\0' ? ": " : "", text);
}

/* What is asked now, while it takes time. */
static void progress(const struct probe *p, const char *what)
{
	if (p->a->output == &ctl_text && p->a->terminal)
		fprintf(p->a->err, "... %s\r", what);
}

static void fail(struct probe *p, enum ctl_exit result, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void fail(struct probe *p, enum ctl_exit result, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	p->result = result;
	json_object_set_new(p->document, "error", json_string(text));
	if (p->a->output == &ctl_text)
		p->a->output->problem(p->a, text);
}

/* ---- requests, one after the other ------------------------------------------------------------ */

static void wait_for_it(struct probe *p)
{
	while (p->waiting && event_base_loop(p->base, EVLOOP_ONCE) >= 0)
		continue;
}

static bool on_response(void *arg, long status, const char *content_type)
{
	(void)arg, (void)content_type;
	return status == 200;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	struct probe *p = arg;
	struct piece piece;

	stream_feed(p->stream, bytes, len);
	while (stream_next(p->stream, &piece)) {
		p->text |= piece.kind == PIECE_TEXT;
		p->reasoning |= piece.kind == PIECE_REASONING;
		if (p->first_ms == 0)
			p->first_ms = clock_mono_ms();
	}
}

static void on_done(void *arg, const struct http_result *r)
{
	struct probe *p = arg;

	free(p->body);
	p->answer = *r;
	p->body = strndup(r->body, r->body_len);
	p->answer.body = p->body != NULL ? p->body : "";
	p->answer.body_len = p->body != NULL ? strlen(p->body) : 0;
	p->waiting = false;
}

static int64_t deadline_ms(const struct probe *p)
{
	return p->a->deadline_ms > 0 ? p->a->deadline_ms : ANSWER_MS;
}

static const char *proxy_for(const struct probe *p)
{
	return http_proxy_for(p->config, p->llm.url);
}

static void begin(struct probe *p)
{
	p->began_ms = clock_mono_ms();
	p->first_ms = 0;
	p->text = p->reasoning = false;
	p->answer = (struct http_result){.outcome = HTTP_NO_RESOURCES, .body = "", .text = "out of memory"};
}

static void post(struct probe *p, const char *body, size_t len)
{
	static const struct http_handlers handlers = {.response = on_response, .data = on_data, .done = on_done};
	const struct http_request req = {
		.method = "POST",
		.url = p->llm.url,
		.bearer = p->token,
		.ca_file = cfg_str(p->config, CFG_CLOUD_CA_FILE),
		.proxy = proxy_for(p),
		.body = body,
		.body_len = len,
		.connect_ms = LIST_MS,
		.total_ms = deadline_ms(p),
		.collect_limit = BODY_LIMIT,
	};

	begin(p);
	p->waiting = body != NULL && http_start(p->http, &req, &handlers, p) != NULL;
	wait_for_it(p);
}

static void on_chat(void *arg, const struct http_result *r, const struct quirks *learned)
{
	struct probe *p = arg;

	p->refused = *learned;
	on_done(arg, r);
}

static void request_chat(struct probe *p, enum chat_question q)
{
	const struct chat_probe_request r = {
		.llm = &p->llm,
		.question = q,
		.bearer = p->token,
		.ca_file = cfg_str(p->config, CFG_CLOUD_CA_FILE),
		.proxy = proxy_for(p),
		.connect_ms = LIST_MS,
		.total_ms = deadline_ms(p),
	};

	begin(p);
	p->waiting = chat_probe_start(p->http, &r, on_chat, p) != NULL;
	wait_for_it(p);
}

/* Why the last request failed, in one line. */
static const char *reason(const struct probe *p, char *out, size_t size)
{
	struct error_report report;

	if (p->answer.outcome != HTTP_DONE) {
		snprintf(out, size, "%s", p->answer.text);
		return out;
	}
	error_report_of_body(&report, p->answer.status, p->answer.body, p->answer.body_len);
	snprintf(out, size, "HTTP %ld%s%s", p->answer.status, report.text[0] != '\0' ? ": " : "", report.text);
	return out;
}

/* ---- the questions ------------------------------------------------------------------------------ */

/* What an answer means that is of no LLM server; false: it may be of one. */
static bool is_no_llm(struct probe *p, const struct http_result *r)
{
	static const struct {
		enum http_outcome outcome;
		const char *advice;
	} advices[] = {
		{HTTP_NO_HOST, "check the name, and whether it is known on this host"},
		{HTTP_REFUSED, "nothing listens there: check the port, and whether the server runs"},
		{HTTP_CONNECT_TIMEOUT, "no answer: check the address and firewalls"},
		{HTTP_TLS, "check the certificate, or whether the server speaks plain http"},
		{HTTP_RESET, "the server closed the connection: does it speak https?"},
		{HTTP_FAILED, "does a web server listen there?"},
	};
	const char *start = r->body + strspn(r->body, " \t\r\n");

	for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++)
		if (advices[i].outcome == r->outcome) {
			fail(p, CTL_UNREACHABLE, "%s; %s", r->text, advices[i].advice);
			return true;
		}
	if (r->outcome != HTTP_DONE)
		fail(p, CTL_UNREACHABLE, "%s", r->text);
	else if (r->status == 401 || r->status == 403)
		fail(p, CTL_REFUSED, "HTTP %ld: %s", r->status,
		     p->token != NULL ? "the server does not accept this token"
		                      : "the server wants a token; name its environment variable with --token-env");
	else if (strncasecmp(start, "<!doctype", 9) == 0 || strncasecmp(start, "<html", 5) == 0)
		fail(p, CTL_REFUSED, "HTTP %ld: a web page, not an LLM server; give the URL of its API", r->status);
	else
		return false;
	return true;
}

static bool on_models(void *arg, const struct http_result *r, const struct model_list_entry *entry)
{
	struct probe *p = arg;
	json_t *doc = entry != NULL ? json_loadb(r->body, r->body_len, 0, NULL) : NULL;
	const json_t *data = json_object_get(doc, "data"), *item;
	json_t *names = json_array();
	char list[512];
	size_t i;

	if (is_no_llm(p, r)) {
		json_decref(names);
		json_decref(doc);
		return false;
	}
	json_array_foreach(data, i, item)
	{
		if (i < NAMES && json_is_string(json_object_get(item, "id")))
			json_array_append(names, json_object_get(item, "id"));
	}
	text_joined(names, list, sizeof list);
	if (entry != NULL && entry->id != NULL) {
		p->continues = entry->continues;
		tell(p, "models", COLOUR_NONE, names, "%zu: %s%s", entry->count, list,
		     entry->count > json_array_size(names) ? ", ..." : "");
		if (p->llm.model == NULL)
			p->llm.model = strdup(entry->id);
	} else {
		tell(p, "models", COLOUR_YELLOW, names, "none are listed (HTTP %ld)", r->status);
	}
	json_decref(doc);
	return true;
}

static void on_context(void *arg, int64_t context, const char *path)
{
	struct probe *p = arg;

	p->waiting = false;
	p->context = context;
	if (p->result != CTL_OK)
		return;
	tell(p, "model", COLOUR_NONE, p->llm.model != NULL ? json_string(p->llm.model) : json_null(), "%s",
	     p->llm.model != NULL ? p->llm.model : "unknown; name it with --model");
	if (context > 0)
		tell(p, "context", COLOUR_NONE, json_integer(context), "%lld tokens (%s)", (long long)context, path);
	else
		tell(p, "context", COLOUR_YELLOW, json_null(), "not told; llm.context is assumed");
}

static bool probe_models(struct probe *p)
{
	static const struct models_handlers handlers = {.models = on_models, .done = on_context};
	const struct models_request r = {.llm = &p->llm,
	                                 .bearer = p->token,
	                                 .ca_file = cfg_str(p->config, CFG_CLOUD_CA_FILE),
	                                 .proxy = proxy_for(p),
	                                 .deadline_ms = LIST_MS};

	progress(p, "the list of models");
	p->waiting = models_probe_start(p->http, &r, &handlers, p) != NULL;
	if (!p->waiting)
		fail(p, CTL_REFUSED, "out of memory");
	wait_for_it(p);
	return p->result == CTL_OK;
}

static void on_health(void *arg, uint64_t instance, size_t hint, const struct probe_result *r)
{
	struct probe *p = arg;

	(void)instance, (void)hint;
	p->waiting = false;
	tell(p, "health", r->outcome == PROBE_OK ? COLOUR_GREEN : COLOUR_YELLOW, json_boolean(r->outcome == PROBE_OK),
	     "%s%s%s, %lld ms", probe_outcome_text(r->outcome), r->text[0] != '\0' ? ": " : "", r->text,
	     (long long)r->latency_ms);
}

static void probe_health(struct probe *p)
{
	struct prober *prober = prober_new(p->http, on_health, p);

	progress(p, "its health");
	p->waiting = prober != NULL &&
	             prober_start(prober, &p->llm, 0, p->token, cfg_str(p->config, CFG_CLOUD_CA_FILE), LIST_MS) == 0;
	wait_for_it(p);
	prober_free(prober);
}

/* As a turn asks, without what the server refuses of it. Returns how the answer ended. */
static enum stream_end read_stream(struct probe *p, const struct prompt *prompt)
{
	struct prompt_cache cache = {.config = NULL};
	struct piece piece = {.end = STREAM_CUT};
	size_t len;
	char *body = prompt_body(prompt, &cache, &len);

	stream_begin(p->stream, NULL);
	post(p, body, len);
	stream_close(p->stream);
	while (stream_next(p->stream, &piece)) {
		p->text |= piece.kind == PIECE_TEXT;
		p->reasoning |= piece.kind == PIECE_REASONING;
	}
	free(body);
	prompt_cache_clear(&cache);
	return piece.end;
}

static bool probe_answer(struct probe *p)
{
	json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "Say hello.");
	json_t *refused = json_array();
	struct quirks learned = {.set = 0};
	struct prompt prompt = {
		.config = p->config,
		.model = p->llm.model != NULL ? p->llm.model : "",
		.cloud = p->llm.kind == LLM_CLOUD,
		.uses_completions = p->llm.uses_completions,
		.messages = messages,
	};
	enum stream_end end = STREAM_CUT;
	const struct stream_progress *got;
	char why[700], list[256];

	progress(p, "an answer, as a turn asks for it");
	for (unsigned i = 0; i < REFUSALS; i++) {
		prompt.quirks = learned;
		end = read_stream(p, &prompt);
		if (!chat_probe_learn(&p->answer, prompt_sent(&prompt), prompt_max_tokens(&prompt), &learned))
			break;
	}
	for (unsigned q = 0; q < QUIRKS; q++)
		if ((learned.set & QUIRK_BIT(q)) != 0)
			json_array_append_new(refused, json_string(quirk_field((enum quirk)q) != NULL
			                                                   ? quirk_field((enum quirk)q)
			                                                   : quirk_name((enum quirk)q)));
	if (learned.max_tokens > 0)
		json_array_append_new(refused, json_sprintf("max_tokens above %lld", (long long)learned.max_tokens));
	json_decref(messages);
	if (p->answer.outcome != HTTP_DONE || p->answer.status != 200) {
		json_decref(refused);
		if (p->answer.outcome != HTTP_DONE || !is_no_llm(p, &p->answer))
			fail(p, p->answer.outcome == HTTP_DONE ? CTL_REFUSED : CTL_UNREACHABLE,
			     "no answer to a chat request: %s", reason(p, why, sizeof why));
		return false;
	}
	p->llm.quirks = learned.set;
	p->llm.max_tokens = learned.max_tokens;
	got = stream_progress(p->stream);
	text_joined(refused, list, sizeof list);
	tell(p, "refused", json_array_size(refused) > 0 ? COLOUR_YELLOW : COLOUR_NONE, refused, "%s",
	     *list != '\0' ? list : "none of our fields");
	if (end != STREAM_COMPLETE && end != STREAM_LIMIT) {
		fail(p, CTL_REFUSED, "the answer is not the stream of a chat model; is this its chat endpoint?");
		return false;
	}
	tell_yes_or_no(p, "streaming", got->chunks > 1, got->chunks > 1 ? "" : "the answer came in one piece");
	tell_yes_or_no(p, "usage", got->completion_tokens >= 0,
	               got->completion_tokens >= 0 ? "" : "tokens are counted here");
	tell_yes_or_no(p, "reasoning", p->reasoning, "");
	if (p->first_ms > 0)
		tell(p, "ttft", COLOUR_NONE, json_real((double)(p->first_ms - p->began_ms) / 1000), "%lld ms",
		     (long long)(p->first_ms - p->began_ms));
	return true;
}

static void probe_tools(struct probe *p)
{
	enum llm_tools tools;
	char why[700];

	progress(p, "tools");
	request_chat(p, CHAT_TOOLS);
	tools = chat_probe_tools(&p->answer, &p->refused);
	if (tools != LLM_TOOLS_YES) {
		tell(p, "tools", COLOUR_YELLOW, tools == LLM_TOOLS_NO ? json_false() : json_null(), "%s: %s",
		     tools == LLM_TOOLS_NO ? "no" : "unknown", reason(p, why, sizeof why));
		return;
	}
	request_chat(p, CHAT_CALL);
	tell(p, "tools", COLOUR_GREEN, json_true(), "offered; %s",
	     chat_probe_called(&p->answer) ? "it called one" : "it did not call one when told to");
	json_object_set_new(p->document, "tool_called", json_boolean(chat_probe_called(&p->answer)));
}

static void probe_more(struct probe *p)
{
	char why[700];

	progress(p, "images");
	request_chat(p, CHAT_VISION);
	tell_yes_or_no(p, "vision", p->answer.status == 200, p->answer.status == 200 ? "" : reason(p, why, sizeof why));
	progress(p, "continuing an answer");
	request_chat(p, CHAT_CONTINUE);
	tell_yes_or_no(p, "continuing", p->continues && p->answer.status == 200,
	               p->continues || p->answer.status != 200 ? "" : "vLLM, SGLang and llama.cpp are known to do it");
}

/* ---- what to configure ---------------------------------------------------------------------------- */

static char *quoted(const char *text)
{
	json_t *j = json_string(text);
	char *out = j != NULL ? json_dumps(j, JSON_ENCODE_ANY) : NULL;

	json_decref(j);
	return out;
}

/* As a shell reads it: the name of a model comes from the server. */
static int add_variable(struct buf *to, const char *name, const char *value)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:@%+,";

	if (buf_addf(to, "%s%s=", to->len > 0 ? "\n" : "", name) < 0)
		return -1;
	if (value[strspn(value, plain)] == '\0')
		return buf_adds(to, value);
	if (buf_adds(to, "'") < 0)
		return -1;
	for (; *value != '\0'; value++)
		if (*value == '\'' ? buf_adds(to, "'\\''") : buf_add(to, value, 1))
			return -1;
	return buf_adds(to, "'");
}

/* What is refused, as a setting: then not even the first turn sends it. */
static void add_omit(const struct probe *p, struct buf *to)
{
	const char *before = " omit = [";

	for (unsigned q = 0; q < QUIRKS; q++) {
		if ((p->llm.quirks & QUIRK_BIT(q)) == 0 || quirk_field((enum quirk)q) == NULL)
			continue;
		(void)buf_addf(to, "%s\"%s\"", before, quirk_field((enum quirk)q));
		before = ", ";
	}
	if (*before == ',')
		(void)buf_adds(to, "];");
}

static void advise(struct probe *p)
{
	char *url = quoted(p->llm.url), *model = p->llm.model != NULL ? quoted(p->llm.model) : NULL;
	struct buf conf = BUF_INIT(16384), env = BUF_INIT(16384);

	if (url != NULL && p->token != NULL) {
		(void)buf_addf(&conf, "cloud: { enabled = true; url = %s;%s%s%s", url, model != NULL ? " model = " : "",
		               model != NULL ? model : "", model != NULL ? ";" : "");
		add_omit(p, &conf);
		(void)buf_adds(&conf, " };");
		(void)add_variable(&env, "USE_CLOUD_LLM", "true");
		(void)add_variable(&env, "CLOUD_CHAT_UI_URL", p->llm.url);
		if (model != NULL)
			(void)add_variable(&env, "CLOUD_MODEL_NAME", p->llm.model);
		(void)buf_addf(&env, "\nCLOUD_CHAT_UI_AUTH_TOKEN=\"$%s\"", p->a->token_env);
	} else if (url != NULL) {
		(void)buf_addf(&conf, "container: { name = %s;", url);
		add_omit(p, &conf);
		(void)buf_adds(&conf, " };");
		(void)add_variable(&env, "LLM_CONTAINER_NAME", p->llm.url);
		if (p->a->model != NULL && model != NULL) {
			(void)buf_addf(&conf, "\nllm: { model = %s; };", model);
			(void)add_variable(&env, "HF_MODEL_PATH", p->llm.model);
		}
	}
	json_object_set_new(p->document, "settings", json_string(conf.len > 0 ? conf.data : ""));
	json_object_set_new(p->document, "environment", json_string(env.len > 0 ? env.data : ""));
	if (p->a->output == &ctl_text && conf.len > 0 && env.len > 0) {
		const char *parts[] = {"\n# in tt-agent.conf", conf.data,
		                       p->token != NULL ? "# and cloud.token; or all in the environment:"
		                                        : "# or in the environment:",
		                       env.data};

		for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
			for (const char *line = parts[i]; line != NULL; line = *line != '\0' ? line : NULL) {
				size_t len = strcspn(line, "\n");
				char *one = strndup(line, len);

				if (one != NULL)
					text_put(p->a->out, false, COLOUR_NONE, one);
				fputc('\n', p->a->out);
				free(one);
				line += len + (line[len] == '\n');
			}
	}
	buf_free(&conf);
	buf_free(&env);
	free(url);
	free(model);
}

/* ---- the command ------------------------------------------------------------------------------------ */

/* The defaults, and what the options set. */
static int load_config(struct probe *p, struct err *e)
{
	const struct {
		const char *name, *value;
	} given[] = {{"HTTPS_PROXY", p->a->proxy}, {"HTTP_PROXY", p->a->proxy}, {"cloud.ca_file", p->a->ca}};
	char *texts[sizeof given / sizeof given[0] + 1] = {NULL};
	const struct config_source options = {
		.environment = texts, .sets = (const char *const *)&texts[2], .set_count = p->a->ca != NULL ? 1 : 0};
	struct config_report report;

	if (p->a->proxy != NULL && strchr(p->a->proxy, '@') != NULL)
		return err_set(e, "--proxy: a password on the command line shows in the process list");
	for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
		if (asprintf(&texts[i], "%s=%s", given[i].name, given[i].value != NULL ? given[i].value : "") < 0)
			texts[i] = NULL;
	config_report_init(&report);
	p->config = config_load(&options, &report);
	if (p->config == NULL)
		err_set(e, "%.*s", report.errors.len > 0 ? (int)strcspn(report.errors.data, "\n") : 13,
		        report.errors.len > 0 ? report.errors.data : "out of memory");
	config_report_free(&report);
	for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
		free(texts[i]);
	return p->config != NULL ? 0 : -1;
}

static int prepare(struct probe *p, const char *url, struct err *e)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
	const char *name = p->a->token_env;
	if (load_config(p, e) < 0)
		return -1;
	p->base = event_base_new();
	p->stream = stream_new();
	p->resolver = p->base != NULL ? resolver_new(p->base, e) : NULL;
	p->http = p->resolver != NULL ? http_new(p->base, p->resolver, e) : NULL;
	p->document = json_object();
	if (p->stream == NULL || p->http == NULL || p->document == NULL)
		return err_set(e, "out of memory");
	if (name != NULL) {
		/* It may be the token itself, so it is not repeated. */
		if (name[strspn(name, letters)] != '\0' || getenv(name) == NULL || *getenv(name) == '\0')
			return err_set(e,
			               "--token-env: there is no environment variable with that name; export it first, "
			               "and give its name, not the token");
		p->token = getenv(name);
		if (strpbrk(p->token, "\r\n") != NULL)
			return err_set(e, "--token-env: the variable's value has a line break");
	}
	p->llm.kind = p->token != NULL ? LLM_CLOUD : LLM_CONTAINER;
	if (llm_set_url(&p->llm, url, e) < 0)
		return -1;
	p->llm.kind = LLM_CONTAINER;
	p->llm.probe_url = llm_sibling_url(p->llm.url, "/health");
	p->llm.model = p->a->model != NULL ? strdup(p->a->model) : NULL;
	if (p->llm.probe_url == NULL || (p->a->model != NULL && p->llm.model == NULL))
		return err_set(e, "out of memory");
	return 0;
}

static void clear(struct probe *p)
{
	if (p->http != NULL)
		http_free(p->http);
	if (p->resolver != NULL)
		resolver_free(p->resolver);
	if (p->base != NULL)
		event_base_free(p->base);
	stream_free(p->stream);
	config_unref(p->config);
	llm_clear(&p->llm);
	free(p->body);
	json_decref(p->document);
}

static enum ctl_exit run_probe(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct probe p = {.a = a, .result = CTL_OK, .llm = {.latency_ms = -1}};
	struct err e = ERR_INIT;

	(void)count;
	if (prepare(&p, args[0], &e) < 0) {
		a->output->problem(a, e.text);
		clear(&p);
		return CTL_USAGE;
	}
	tell(&p, "url", COLOUR_BOLD, json_string(p.llm.url), "%s%s", p.llm.url,
	     p.llm.given_url != NULL ? " (completed)" : "");
	if (probe_models(&p)) {
		if (proxy_for(&p) == NULL) /* no daemon asks for it through one */
			probe_health(&p);
		if (p.token != NULL)
			p.llm.kind = LLM_CLOUD;
		if (probe_answer(&p)) {
			if (!p.llm.uses_completions) {
				probe_tools(&p);
				probe_more(&p);
			}
			advise(&p);
		}
	}
	json_object_set_new(p.document, "usable", json_boolean(p.result == CTL_OK));
	if (a->output != &ctl_text)
		a->output->show(a, c, p.document);
	clear(&p);
	return p.result;
}

const struct ctl_command ctl_probe = {
	.name = "probe",
	.arguments = "URL",
	.min = 1,
	.max = 1,
	.help = "Finds out what an LLM server that is not configured yet can do, and what to configure.",
	.manual =
		"It is asked for its models, its health, a streamed answer as a turn asks for it, tools, images and "
		"continuing an answer. Needs no daemon, and reads no configuration. The token is read from the "
		"environment variable that --token-env names, and goes to that server only.",
	.run = run_probe,
};
