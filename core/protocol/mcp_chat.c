/* SPDX-License-Identifier: Apache-2.0 */
/* The tool `chat` of the MCP server: the answer is collected, and told whole. What a client that wants progress
 * hears before is the text as it grows, and what tools do. An answer that is not whole is an error of the tool
 * (isError) that begins with the reason. */
#include "core/protocol/mcp_reply.h"
#include "core/protocol/protocol.h"

#include "core/base/buf.h"
#include "core/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (4u << 20)
#define NEWS_MS    200 /* between two pieces of text */

struct mcp_chat {
	struct reply reply;
	struct mcp_reply wire;
	struct buf text, news; /* of it, what the client has not heard yet */
	int64_t reported_ms;   /* when it last did */
	bool thinks;           /* it heard of that */
	bool used_tools;
	bool lost;     /* a part had no room */
	char *failure; /* NULL: none */
	json_t *sources;
};

static struct mcp_chat *chat_of(struct reply *r)
{
	return (struct mcp_chat *)r;
}

/* ---- its life ---- */

static void chat_free(struct reply *r)
{
	struct mcp_chat *c = chat_of(r);

	if (c == NULL)
		return;
	mcp_reply_clear(&c->wire);
	buf_free(&c->text);
	buf_free(&c->news);
	free(c->failure);
	json_decref(c->sources);
	free(c);
}

static struct reply *chat_open(const struct protocol *p, struct output *o, const struct chat_request *request)
{
	struct mcp_chat *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->reply = (struct reply){.protocol = p, .output = o};
	buf_init(&c->text, ANSWER_MAX);
	buf_init(&c->news, ANSWER_MAX);
	c->sources = json_array();
	if (c->sources != NULL && mcp_reply_restore(&c->wire, o, request != NULL ? request->envelope : NULL) == 0)
		return &c->reply;
	chat_free(&c->reply);
	return NULL;
}

/* ---- before the answer ---- */

static void tell_news(struct mcp_chat *c)
{
	if (c->news.len == 0)
		return;
	mcp_reply_progress(&c->wire, c->news.data);
	buf_reset(&c->news);
	c->reported_ms = clock_mono_ms();
}

static void chat_text(struct reply *r, const char *bytes, size_t len)
{
	struct mcp_chat *c = chat_of(r);

	c->lost |= buf_add(&c->text, bytes, len) < 0;
	if (mcp_reply_wants_progress(&c->wire))
		c->lost |= buf_add(&c->news, bytes, len) < 0;
}

static void chat_flush(struct reply *r)
{
	struct mcp_chat *c = chat_of(r);

	if (c->news.len > 0 && clock_mono_ms() - c->reported_ms >= NEWS_MS)
		tell_news(c);
}

static void chat_reasoning(struct reply *r, const char *bytes, size_t len)
{
	struct mcp_chat *c = chat_of(r);

	(void)bytes, (void)len;
	if (!c->thinks)
		mcp_reply_progress(&c->wire, "Thinking");
	c->thinks = true;
}

static void chat_restart(struct reply *r)
{
	(void)r;
}

static void chat_sentence(struct reply *r, const char *sentence)
{
	chat_text(r, sentence, strlen(sentence));
}

static void chat_tool(struct reply *r, const char *progress, const char *subject)
{
	struct mcp_chat *c = chat_of(r);
	struct buf line = BUF_INIT(16384);

	if (!c->used_tools)
		output_set_state(r->output, MCP_REPLY_ONCE, false);
	c->used_tools = true;
	tell_news(c);
	if (buf_addf(&line, subject != NULL ? "%s: %s" : "%s", progress, subject) == 0)
		mcp_reply_progress(&c->wire, line.data);
	buf_free(&line);
}

static bool chat_source(struct reply *r, const char *title, const char *url)
{
	if (!protocol_source(&title, url))
		return false;
	return json_array_append_new(chat_of(r)->sources, json_pack("{s:s, s:s}", "title", title, "url", url)) == 0;
}

static void chat_tool_done(struct reply *r)
{
	(void)r;
}

static void chat_beat(struct reply *r)
{
	mcp_reply_beat(&chat_of(r)->wire);
}

/* Nobody offered the model any. */
static void chat_calls(struct reply *r, const struct call *const *calls, size_t count)
{
	struct mcp_chat *c = chat_of(r);

	(void)calls, (void)count;
	if (c->failure == NULL)
		c->failure = strdup(
			"The language model called a tool, but it has none here. Ask the agent instead, whose name "
			"ends in :agent.");
	c->lost |= c->failure == NULL;
}

/* ---- the ends ---- */

static void chat_fail(struct reply *r, enum failure why, const char *sentence)
{
	struct mcp_chat *c = chat_of(r);

	(void)why;
	if (c->failure == NULL)
		c->failure = strdup(sentence);
	c->lost |= c->failure == NULL;
}

#define LOST "The answer is too long for the memory of this service."

/* What came before it failed is for the model to see, after the reason. */
static void tell_failure(struct mcp_chat *c)
{
	struct buf text = BUF_INIT(2 * ANSWER_MAX);
	const char *why = c->failure != NULL ? c->failure : LOST;
	int failed = buf_adds(&text, why);

	if (c->text.len > 0)
		failed |= buf_adds(&text, "\n\nThe answer up to there:\n") | buf_add(&text, c->text.data, c->text.len);
	mcp_reply_result(&c->wire, mcp_reply_text(failed ? why : text.data, true, NULL));
	buf_free(&text);
}

static void chat_waiting(struct reply *r, const struct config *c)
{
	(void)c;
	chat_fail(r, FAILURE_UNAVAILABLE, "No language model is available yet. Please try again in a moment.");
	tell_failure(chat_of(r));
}

static void chat_close(struct reply *r)
{
	(void)r;
}

static json_t *structured(struct mcp_chat *c, const struct usage *u)
{
	json_t *json = json_pack("{s:s%, s:s, s:O}", "text", c->text.len > 0 ? c->text.data : "", c->text.len,
	                         "finish_reason", u->limited ? "length" : "stop", "sources", c->sources);

	if (u->prompt_tokens >= 0)
		json_object_set_new(json, "usage",
		                    json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)u->prompt_tokens,
		                              "completion_tokens", (json_int_t)u->tokens));
	return json;
}

#define CUT_OFF "[The answer ends here because it reached the limit of tokens.]"

static void chat_end(struct reply *r, const struct usage *u)
{
	struct mcp_chat *c = chat_of(r);
	json_t *result;

	if (c->failure != NULL || c->lost) {
		tell_failure(c);
		return;
	}
	tell_news(c);
	result = mcp_reply_text(c->text.len > 0 ? c->text.data : "", false, structured(c, u));
	if (u->limited)
		json_array_append_new(json_object_get(result, "content"),
		                      json_pack("{s:s, s:s}", "type", "text", "text", CUT_OFF));
	mcp_reply_result(&c->wire, result);
}

static void chat_refuse(struct output *o, const struct chat_request *request, int status, const char *headers,
                        const char *sentence)
{
	struct mcp_reply wire;

	if (mcp_reply_restore(&wire, o, request != NULL ? request->envelope : NULL) < 0)
		wire = (struct mcp_reply){.output = o};
	mcp_reply_error(&wire, status, headers, status, sentence, NULL);
	mcp_reply_clear(&wire);
}

/* ---- the program has died ---- */

/* Nothing of the answer was told as such, so another program gives it from the beginning. */
static bool chat_can_resume(unsigned char state)
{
	return state == MCP_REPLY_AGAIN;
}

static void chat_resume(struct reply *r, const struct resumed_reply *from)
{
	struct mcp_chat *c = chat_of(r);

	mcp_reply_resume(&c->wire, from->memo);
	output_set_state(r->output, from->state, false);
}

/* A stream without its last event is an error for every client. */
static size_t chat_broken(struct broken_reply *b, char *out, size_t size, bool *last)
{
	(void)b, (void)out, (void)size;
	*last = true;
	return 0;
}

const struct protocol protocol_mcp_chat = {
	.name = "mcp_chat",
	.tells_ends = true,
	.collects = true,
	.refuse = chat_refuse,
	.open = chat_open,
	.free = chat_free,
	.text = chat_text,
	.reasoning = chat_reasoning,
	.restart = chat_restart,
	.paragraph = protocol_paragraph,
	.tool = chat_tool,
	.source = chat_source,
	.tool_done = chat_tool_done,
	.keep_alive = chat_beat,
	.sentence = chat_sentence,
	.calls = chat_calls,
	.flush = chat_flush,
	.heartbeat = chat_beat,
	.fail = chat_fail,
	.waiting = chat_waiting,
	.close = chat_close,
	.end = chat_end,
	.can_resume = chat_can_resume,
	.resume = chat_resume,
	.broken = chat_broken,
};

const struct protocol protocol_mcp_tool = {
	.name = "mcp_tool",
	.can_resume = chat_can_resume,
	.broken = chat_broken,
};
