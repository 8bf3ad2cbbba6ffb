/* SPDX-License-Identifier: Apache-2.0 */
#include "core/probe/chat.h"

#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/stream/error_report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_LIMIT  (4u << 20)
#define REPEATS_MAX 8  /* each leaves out something more */
#define TOKENS      16 /* servers refuse fewer */

/* ---- the questions ---------------------------------------------------------------------------- */

/* A white PNG of one pixel. */
#define IMAGE                                                                                                            \
	"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5C" \
	"YII="

static const struct {
	int max_tokens;
	const char *text;
	const char *image;
	const char *begun; /* of the answer */
	bool tools;
	unsigned about; /* bits of what the question is about: an answer without it would be no answer to it */
} questions[] = {
	[CHAT_WORDS] = {.max_tokens = TOKENS, .text = "Hi"},
	[CHAT_TOOLS] = {.max_tokens = TOKENS, .text = "Hi", .tools = true, .about = QUIRK_BIT(QUIRK_TOOLS)},
	[CHAT_CALL] = {.max_tokens = 512,
                       .text = "Call the tool noop now, and say nothing.",
                       .tools = true,
                       .about = QUIRK_BIT(QUIRK_TOOLS)},
	[CHAT_VISION] = {.max_tokens = TOKENS,
                         .text = "Which colour is this?",
                         .image = IMAGE,
                         .about = QUIRK_BIT(QUIRK_IMAGES)},
	[CHAT_CONTINUE] = {.max_tokens = TOKENS,
                           .text = "Count from one to ten, in words.",
                           .begun = "one, two, three,",
                           .about = QUIRK_BIT(QUIRK_CONTINUATION)},
};

static json_t *messages_of(enum chat_question q)
{
	const char *image = questions[q].image;
	json_t *all, *content = json_string(questions[q].text);

	if (image != NULL)
		content = json_pack("[{s:s,s:o},{s:s,s:{s:s}}]", "type", "text", "text", content, "type", "image_url",
		                    "image_url", "url", image);
	all = json_pack("[{s:s,s:o}]", "role", "user", "content", content);
	if (questions[q].begun != NULL)
		json_array_append_new(all, json_pack("{s:s,s:s}", "role", "assistant", "content", questions[q].begun));
	return all;
}

/* ---- one probe ---------------------------------------------------------------------------------- */

struct chat_probe {
	struct http *http;
	struct http_transfer *transfer;
	chat_probe_done_fn *done;
	void *arg;
	char *url, *model, *bearer, *ca_file, *proxy;
	enum chat_question question;
	bool uses_completions;
	bool streams; /* it answers nothing but streams */
	struct quirks known, learned;
	int64_t began_ms, connect_ms, total_ms;
	unsigned repeats;
	char refusal[512]; /* the last one */
};

static void probe_free(struct chat_probe *p)
{
	free(p->url);
	free(p->model);
	free(p->bearer);
	free(p->ca_file);
	free(p->proxy);
	free(p);
}

static bool lacks(const struct chat_probe *p, enum quirk q)
{
	return ((p->known.set | p->learned.set) & QUIRK_BIT(q)) != 0;
}

static int64_t max_tokens(const struct chat_probe *p)
{
	struct quirks q = p->known;
	int64_t tokens = questions[p->question].max_tokens;

	quirks_add(&q, &p->learned);
	return lacks(p, QUIRK_MAX_TOKENS) ? 0 : q.max_tokens > 0 && q.max_tokens < tokens ? q.max_tokens : tokens;
}

/* Bits of what the request has. */
static unsigned sent(const struct chat_probe *p)
{
	unsigned bits =
		questions[p->question].about | QUIRK_BIT(QUIRK_MAX_TOKENS) | QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS);

	if (questions[p->question].tools)
		bits |= QUIRK_BIT(QUIRK_TOOL_CHOICE);
	return bits & ~(p->known.set | p->learned.set);
}

static json_t *request_of(const struct chat_probe *p)
{
	const char *limit = lacks(p, QUIRK_RENAMED_MAX_TOKENS) ? "max_completion_tokens" : "max_tokens";
	json_t *j = json_pack("{s:b}", "stream", p->streams);

	if (p->model != NULL)
		json_object_set_new(j, "model", json_string(p->model));
	if (max_tokens(p) > 0)
		json_object_set_new(j, limit, json_integer(max_tokens(p)));
	if (p->uses_completions)
		json_object_set_new(j, "prompt", json_string(questions[p->question].text));
	else
		json_object_set_new(j, "messages", messages_of(p->question));
	if (questions[p->question].tools) {
		json_object_set_new(j, "tools",
		                    json_pack("[{s:s,s:{s:s,s:s,s:{s:s,s:{}}}}]", "type", "function", "function",
		                              "name", "noop", "description", "Does nothing.", "parameters", "type",
		                              "object", "properties"));
		if (!lacks(p, QUIRK_TOOL_CHOICE))
			json_object_set_new(j, "tool_choice", json_string("auto"));
	}
	if (questions[p->question].begun != NULL) {
		json_object_set_new(j, "continue_final_message", json_true());
		json_object_set_new(j, "add_generation_prompt", json_false());
	}
	return j;
}

static void on_answer(void *arg, const struct http_result *r);

static int request(struct chat_probe *p)
{
	static const struct http_handlers handlers = {.done = on_answer};
	int64_t left = p->total_ms - (clock_mono_ms() - p->began_ms);
	json_t *j = request_of(p);
	char *body = j != NULL ? json_dumps(j, JSON_COMPACT) : NULL;
	struct http_request req = {
		.method = "POST",
		.url = p->url,
		.bearer = p->bearer,
		.ca_file = p->ca_file,
		.proxy = p->proxy,
		.body = body,
		.body_len = body != NULL ? strlen(body) : 0,
		.connect_ms = p->connect_ms,
		.total_ms = left > 1 ? left : 1,
		.collect_limit = BODY_LIMIT,
	};

	if (body != NULL)
		p->transfer = http_start(p->http, &req, &handlers, p);
	free(body);
	json_decref(j);
	return p->transfer != NULL ? 0 : -1;
}

bool chat_probe_learn(const struct http_result *r, unsigned sent, int64_t max_tokens, struct quirks *learned)
{
	struct error_report e;
	struct refusal refusal = {.sent = sent, .max_tokens = max_tokens};
	struct quirks news = {.set = 0};

	if (r->outcome != HTTP_DONE || r->status < 400)
		return false;
	error_report_of_body(&e, r->status, r->body, r->body_len);
	if (e.meaning != ERROR_REFUSED && e.meaning != ERROR_UNAVAILABLE && e.meaning != ERROR_NO_MODEL)
		return false;
	refusal.param = e.param;
	refusal.text = e.text;
	if (!quirks_learn(&news, &refusal))
		return false;
	quirks_add(learned, &news);
	return true;
}

/* Whether it may answer another request. What it says again whatever is left out teaches nothing. */
static bool change(struct chat_probe *p, const struct http_result *r)
{
	struct error_report e;

	if (p->repeats++ == REPEATS_MAX || r->outcome != HTTP_DONE || r->status < 400)
		return false;
	error_report_of_body(&e, r->status, r->body, r->body_len);
	if (p->repeats > 1 && strcmp(e.text, p->refusal) == 0)
		return false;
	snprintf(p->refusal, sizeof p->refusal, "%s", e.text);
	if (!p->streams && r->status < 500 &&
	    (strcasestr(e.text, "stream") != NULL || strcasestr(e.param, "stream") != NULL))
		return p->streams = true; /* some models answer nothing but streams */
	return chat_probe_learn(r, sent(p), max_tokens(p), &p->learned) &&
	       (p->learned.set & questions[p->question].about) == 0;
}

static void on_answer(void *arg, const struct http_result *r)
{
	struct chat_probe *p = arg;
	chat_probe_done_fn *done = p->done;
	struct quirks learned;

	p->transfer = NULL;
	if (change(p, r) && request(p) == 0)
		return;
	learned = p->learned;
	arg = p->arg;
	probe_free(p);
	done(arg, r, &learned);
}

struct chat_probe *chat_probe_start(struct http *http, const struct chat_probe_request *r, chat_probe_done_fn *done,
                                    void *arg)
{
	struct chat_probe *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	*p = (struct chat_probe){
		.http = http,
		.done = done,
		.arg = arg,
		.question = r->question,
		.uses_completions = r->llm->uses_completions,
		.known = {.set = r->llm->quirks, .max_tokens = r->llm->max_tokens},
		.began_ms = clock_mono_ms(),
		.connect_ms = r->connect_ms,
		.total_ms = r->total_ms,
	};
	if (text_copy(&p->url, r->llm->url) && text_copy(&p->model, r->llm->model) &&
	    text_copy(&p->bearer, r->bearer) && text_copy(&p->ca_file, r->ca_file) && text_copy(&p->proxy, r->proxy) &&
	    p->url != NULL && request(p) == 0)
		return p;
	probe_free(p);
	return NULL;
}

void chat_probe_cancel(struct chat_probe *p)
{
	if (p->transfer != NULL)
		http_cancel(p->transfer);
	probe_free(p);
}

/* ---- what an answer means ------------------------------------------------------------------------- */

bool chat_probe_called(const struct http_result *r)
{
	json_t *j = r->status == 200 ? json_loadb(r->body, r->body_len, 0, NULL) : NULL;
	const json_t *choice = json_array_get(json_object_get(j, "choices"), 0);
	bool called = json_array_size(json_object_get(json_object_get(choice, "message"), "tool_calls")) > 0;

	json_decref(j);
	return called;
}

enum llm_tools chat_probe_tools(const struct http_result *r, const struct quirks *learned)
{
	static const char *const words[] = {"tool", "function call", "function_call", "functions"};
	struct error_report e;

	if (r->outcome != HTTP_DONE)
		return LLM_TOOLS_UNKNOWN;
	if (r->status == 200)
		return LLM_TOOLS_YES;
	if ((learned->set & QUIRK_BIT(QUIRK_TOOLS)) != 0)
		return LLM_TOOLS_NO;
	/* What else is said of tools, and by no server that failed, or refused something else. */
	error_report_of_body(&e, r->status, r->body, r->body_len);
	if (e.meaning != ERROR_REFUSED || quirks_any(learned))
		return LLM_TOOLS_UNKNOWN;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcasestr(e.text, words[i]) != NULL)
			return LLM_TOOLS_NO;
	return LLM_TOOLS_UNKNOWN;
}
