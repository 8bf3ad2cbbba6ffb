/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/responses: the answer as the events of a stream, or as one object.
 *
 * An answer is a list of items: reasoning, messages, calls. Each has events from its beginning to its end, and one
 * event ends the stream: response.completed, or incomplete where a limit or a filter ended the text, or failed. Where
 * the program has died, error. Nothing is sent until there is something to tell, so that a failure before that has its
 * own status. What one read of the LLM's stream brought is one event. */
#include "core/protocol/responses_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM_MAX (3u << 20) /* of a stream, whose text comes four times more at its end */

/* Where another program goes on, nobody knows how many events there were. */
#define RESUMED_SEQUENCE (1u << 30)

/* ---- ids ---- */

/* In the thread that the request goes on with, or in one of its own. */
static void new_key(struct responses_reply *c, const struct chat_request *request)
{
	char random[OPENAI_KEY + 1];

	openai_new_key(random);
	if (request->previous != NULL && responses_is_id(request->previous))
		memcpy(c->key, request->previous + sizeof RESPONSES_ID - 1, RESPONSES_THREAD);
	else
		memcpy(c->key, random, RESPONSES_THREAD);
	openai_new_key(random);
	memcpy(c->key + RESPONSES_THREAD, random, RESPONSES_KEY - RESPONSES_THREAD);
}

/* ---- its life ---- */

static void responses_free(struct reply *r)
{
	struct responses_reply *c = responses_of(r);

	if (c == NULL)
		return;
	buf_free(&c->frame);
	buf_free(&c->waiting);
	buf_free(&c->prefix);
	buf_free(&c->text);
	for (size_t i = 0; i < c->done_room; i++)
		free(c->done[i].text);
	free(c->done);
	for (size_t i = 0; i < CALLS_MAX; i++)
		json_decref(c->running[i].item);
	json_decref(c->ran);
	json_decref(c->annotations);
	json_decref(c->error);
	json_decref(c->echo);
	free(c->echo_text);
	free(c);
}

static struct reply *responses_open(const struct protocol *p, struct output *o, const struct chat_request *request)
{
	struct responses_reply *c = calloc(1, sizeof *c);
	size_t max = request == NULL || request->streams ? STREAM_MAX : WHOLE_MAX;
	char memo[OUTPUT_MEMO_MAX];

	if (c == NULL)
		return NULL;
	c->reply = (struct reply){.protocol = p, .output = o};
	buf_init(&c->frame, WHOLE_MAX);
	buf_init(&c->waiting, max);
	buf_init(&c->prefix, 1024);
	buf_init(&c->text, max);
	c->max = max;
	if (request == NULL) /* only a failure will be told */
		return &c->reply;
	c->streams = request->streams;
	c->forgets = request->forgets;
	c->created = (int64_t)time(NULL);
	new_key(c, request);
	c->echo = json_incref(request->echo);
	c->echo_text = json_dumps(request->echo, JSON_COMPACT | JSON_REAL_PRECISION(15));
	if (c->echo_text == NULL) {
		responses_free(&c->reply);
		return NULL;
	}
	snprintf(memo, sizeof memo, "%" PRIx32 " %s", (uint32_t)c->created, c->key);
	output_remember(o, memo);
	if (!c->streams)
		output_set_state(o, PHASE_OBJECT, false);
	return &c->reply;
}

/* ---- lines of their own in the reasoning ---- */

static bool line_is_begun(const struct responses_reply *c)
{
	return c->line_begun && c->open == KIND_REASONING;
}

static void responses_restart(struct reply *r)
{
	protocol_restart(r, line_is_begun(responses_of(r)));
}

/* What a tool tells while it runs: the API has no event for it. */
static void responses_tool(struct reply *r, const char *progress, const char *subject)
{
	responses_flush(r);
	protocol_tool(r, line_is_begun(responses_of(r)), progress, subject);
}

static bool responses_source(struct reply *r, const char *title, const char *url)
{
	struct responses_reply *c = responses_of(r);

	if (!protocol_source(&title, url))
		return false;
	if (c->annotations == NULL)
		c->annotations = json_array();
	return json_array_append_new(c->annotations,
	                             json_pack("{s:s, s:s, s:s, s:i, s:i}", "type", "url_citation", "url", url, "title",
	                                       title, "start_index", 0, "end_index", 0)) == 0;
}

/* ---- the ends ---- */

/* Comments keep the connection open, and are no events. An object cannot begin before its status is known. */
static void responses_heartbeat(struct reply *r)
{
	static const char comment[] = ": the answer is still coming\n\n";
	struct responses_reply *c = responses_of(r);

	if (!c->streams || c->failed)
		return;
	responses_begin(c);
	output_write_frame(r->output, comment, sizeof comment - 1, "", 0);
}

/* Its parameters have other names here. */
static json_t *error_of(enum failure why, const char *sentence)
{
	const struct openai_failure *f = openai_failure(why);

	return openai_error(sentence, f->type,
	                    f->param != NULL && strcmp(f->param, "messages") == 0 ? "input" : f->param, f->code);
}

static const char *status_of(const struct responses_reply *c)
{
	return c->error != NULL ? "failed" : c->cut != NULL ? "incomplete" : "completed";
}

static void end_stream(struct responses_reply *c, const struct usage *u)
{
	static const char *const types[] = {"response.completed", "response.incomplete", "response.failed"};
	const char *type = types[c->error != NULL ? 2 : c->cut != NULL ? 1 : 0];
	int failed;

	responses_flush(&c->reply);
	responses_start_stream(c);
	responses_close_item(c, strcmp(type, types[0]) == 0 ? "completed" : "incomplete");
	responses_end_runs(c);
	if (c->lost && c->error == NULL)
		return;
	if (c->lost) { /* what it has is more than it can tell */
		buf_reset(&c->frame);
		for (size_t i = 0; i < c->done_room; i++) {
			free(c->done[i].text);
			c->done[i].text = NULL;
		}
		c->done_len = 0;
		c->lost = false;
	}
	failed = responses_put_state(c, type, status_of(c), u);
	c->ended = failed == 0;
	responses_send(c, failed);
}

static void responses_fail(struct reply *r, enum failure why, const char *sentence)
{
	struct responses_reply *c = responses_of(r);
	const struct openai_failure *f = openai_failure(why);
	char retry[OPENAI_RETRY_MAX];

	if (c->failed)
		return;
	if (why == FAILURE_FILTERED && c->echo != NULL) { /* the API has a word for that end */
		c->cut = "content_filter";
		return;
	}
	c->failed = true;
	c->error = json_pack("{s:s, s:s}", "code",
	                     f->code != NULL   ? f->code
	                     : f->status < 500 ? "invalid_prompt"
	                                       : "server_error",
	                     "message", sentence);
	if (!c->begun && (c->waiting.len == 0 || c->lost)) {
		c->begun = true;
		openai_send_object(r->output, f->status, openai_retry_header(r, f->headers, retry),
		                   error_of(why, sentence));
		return;
	}
	end_stream(c, NULL);
}

#define NO_LLM "No language model is available yet. Please try again in a moment."

static void responses_waiting(struct reply *r, const struct config *c)
{
	(void)c;
	responses_fail(r, FAILURE_UNAVAILABLE, NO_LLM);
}

static void responses_close(struct reply *r)
{
	responses_flush(r);
}

static void end_object(struct responses_reply *c, const struct usage *u)
{
	struct buf body = BUF_INIT(WHOLE_MAX);
	char length[60];

	responses_close_item(c, c->cut != NULL ? "incomplete" : "completed");
	responses_end_runs(c);
	if (!c->lost && responses_put(c, &body, status_of(c), u) == 0) {
		c->begun = true;
		snprintf(length, sizeof length, "Content-Length: %zu\r\n", body.len);
		output_head(c->reply.output, 200, "application/json", length);
		output_write_frame(c->reply.output, body.data, body.len, "", 0);
	} else {
		c->lost = true;
	}
	buf_free(&body);
}

#define LOST "The answer is too long for the memory of this service."

static void responses_end(struct reply *r, const struct usage *u)
{
	struct responses_reply *c = responses_of(r);

	if (c->failed)
		return;
	if (u->limited)
		c->cut = "max_output_tokens";
	if (c->streams)
		end_stream(c, u);
	else
		end_object(c, u);
	if (c->lost)
		responses_fail(r, FAILURE_UNAVAILABLE, LOST);
}

/* ---- what is stored ---- */

static json_t *responses_record(struct reply *r, const struct usage *u, bool left, const char **thread)
{
	struct responses_reply *c = responses_of(r);
	const char *cut = c->cut != NULL ? c->cut : u->limited ? "max_output_tokens" : NULL;
	const char *status = left               ? "cancelled"
	                     : c->error != NULL ? "failed"
	                     : cut != NULL      ? "incomplete"
	                                        : "completed";
	json_t *record = c->forgets ? NULL : json_copy(c->echo);

	if (record == NULL)
		return NULL;
	json_object_set_new(record, "id", json_sprintf(RESPONSES_ID "%s", c->key));
	json_object_set_new(record, "object", json_string("response"));
	json_object_set_new(record, "created_at", json_integer(c->created));
	json_object_set_new(record, "status", json_string(status));
	json_object_set_new(record, "error", c->error != NULL ? json_incref(c->error) : json_null());
	json_object_set_new(record, "incomplete_details",
	                    cut != NULL && c->error == NULL ? json_pack("{s:s}", "reason", cut) : json_null());
	json_object_set_new(record, "usage", responses_usage(u));
	if (c->annotations != NULL)
		json_object_set(record, "annotations", c->annotations);
	if (c->ran != NULL)
		json_object_set(record, "runs", c->ran);
	responses_thread(json_string_value(json_object_get(record, "id")), c->thread);
	*thread = c->thread;
	return record;
}

/* ---- the program has died ---- */

static bool responses_can_resume(unsigned char state)
{
	return (state & PHASE_MASK) <= PHASE_TEXT;
}

static void responses_resume(struct reply *r, const struct resumed_reply *from)
{
	struct responses_reply *c = responses_of(r);
	const enum phase phase = from->state & PHASE_MASK;
	const unsigned index = from->state >> PHASE_BITS;
	char key[RESPONSES_KEY + 1];
	unsigned created;

	if (sscanf(from->memo, "%x %36s", &created, key) == 2) {
		c->created = created;
		memcpy(c->key, key, sizeof key);
		output_remember(r->output, from->memo);
	}
	c->begun = true;
	c->started = phase != PHASE_NOTHING;
	c->sequence = c->started ? RESUMED_SEQUENCE : 0;
	while (c->items < index)
		responses_resume_left(c);
	c->left = phase == PHASE_REASONING;
	if (phase == PHASE_TEXT)
		responses_resume_text(c, from->text, from->len);
	c->state = from->state;
	output_set_state(r->output, from->state, false);
}

#define BROKE_OFF                                                                                                      \
	"The answer broke off because the part of the service that was writing it ended unexpectedly. Please ask again."

/* The stream may have broken off within an event, which an empty line ends. Some clients look only for an object
 * "error", others for the type. */
static size_t responses_broken(struct broken_reply *b, char *out, size_t size, bool *last)
{
	static const char broken_event[] =
		"\n\nevent: error\ndata: {\"type\":\"error\",\"code\":\"upstream_error\",\"message\":\"" BROKE_OFF
		"\",\"param\":null,\"error\":{\"message\":\"" BROKE_OFF
		"\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_error\"},"
		"\"sequence_number\":2147483647}\n\n";
	enum phase phase = b->state & PHASE_MASK;

	b->state = PHASE_COMPLETE;
	*last = true;
	if (phase == PHASE_OBJECT || phase == PHASE_COMPLETE || sizeof broken_event > size)
		return 0;
	memcpy(out, broken_event, sizeof broken_event - 1);
	return sizeof broken_event - 1;
}

const struct protocol protocol_responses = {
	.name = "responses",
	.tells_ends = true,
	.parse = responses_parse,
	.open = responses_open,
	.free = responses_free,
	.text = responses_text,
	.reasoning = responses_reasoning,
	.restart = responses_restart,
	.paragraph = protocol_paragraph,
	.tool = responses_tool,
	.source = responses_source,
	.run_begun = responses_run_begun,
	.run_ended = responses_run_ended,
	.keep_alive = responses_heartbeat,
	.sentence = protocol_sentence,
	.calls = responses_calls,
	.flush = responses_flush,
	.heartbeat = responses_heartbeat,
	.fail = responses_fail,
	.waiting = responses_waiting,
	.close = responses_close,
	.end = responses_end,
	.record = responses_record,
	.can_resume = responses_can_resume,
	.resume = responses_resume,
	.broken = responses_broken,
};
