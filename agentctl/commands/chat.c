/* SPDX-License-Identifier: Apache-2.0 */
/* chat: talks to the service as its users do, through the URL of the web server. What is seen is therefore what they
 * get: the socket of tt-agent-fcgi would leave out the web server, and is reserved for it. */
#include "agentctl/chat/chat_answer.h"
#include "agentctl/chat/line_editor.h"
#include "agentctl/text.h"
#include "agentctl/web.h"
#include "core/base/process.h"
#include "core/base/utf8.h"
#include "core/stream/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_URL "http://localhost/agent"
#define MESSAGE_MAX (8u << 20)
#define ANSWER_MAX  (64u << 20)
#define PASTE_MS    30 /* lines of a paste follow one another within it */
#define CHAT_PATH   "poll_requests"
#define MODELS_PATH "v1/chat/completions"

static volatile sig_atomic_t interrupted;

struct chat {
	const struct ctl *a;
	const char *url, *token, *model; /* model NULL: the service chooses */
	char thread[64];
	const char *thread_id;
	struct stream *stream; /* of answers of a model that was named; NULL: none is */
	struct chat_answer answer;
	struct buf text, reasoning; /* for --json */
	bool shows_reasoning;       /* the last byte that was shown is of it */
	bool line_begins;
	int64_t tokens;
};

/* --- what comes ------------------------------------------------------------------------------------- */

/* What a terminal shows must not control it; anything else gets the bytes. */
static void put(const struct chat *c, const char *bytes, size_t len)
{
	const char *at = bytes, *end = bytes + len;

	if (!c->a->terminal) {
		fwrite(bytes, 1, len, c->a->out);
		return;
	}
	while (at < end) {
		const char *began = at;
		uint32_t code;

		if (utf8_next(&at, end, &code) || code == '\n' || code == '\t')
			fwrite(began, 1, (size_t)(at - began), c->a->out);
		else if (code != '\r')
			fputc('?', c->a->out);
	}
}

static void end_line(struct chat *c)
{
	if (!c->line_begins)
		fputc('\n', c->a->out);
	c->line_begins = true;
}

static void turn_to(struct chat *c, bool reasoning)
{
	if (c->shows_reasoning == reasoning)
		return;
	if (c->a->colour)
		fputs(reasoning ? text_colour_sequence(COLOUR_DIM) : "\033[0m", c->a->out);
	if (!reasoning || !c->line_begins)
		end_line(c);
	if (reasoning && !c->a->colour)
		fputs("(reasoning)\n", c->a->out);
	c->shows_reasoning = reasoning;
}

/* People see reasoning and tools dimmed; what reads a pipe gets only the answer. */
static void on_piece(void *arg, bool reasoning, const char *bytes, size_t len)
{
	struct chat *c = arg;

	if (c->a->output == &ctl_json) {
		(void)buf_add(reasoning ? &c->reasoning : &c->text, bytes, len);
		return;
	}
	if (reasoning && !c->a->terminal)
		return;
	if (c->a->terminal)
		turn_to(c, reasoning);
	put(c, bytes, len);
	c->line_begins = bytes[len - 1] == '\n';
	fflush(c->a->out);
}

static bool on_studio(void *arg, const char *bytes, size_t len)
{
	struct chat *c = arg;

	return !interrupted && chat_answer_feed(&c->answer, bytes, len) == 0;
}

static void take_pieces(struct chat *c, enum stream_end *end)
{
	struct piece piece;

	while (stream_next(c->stream, &piece)) {
		if (piece.kind == PIECE_TEXT || piece.kind == PIECE_REASONING)
			on_piece(c, piece.kind == PIECE_REASONING, piece.bytes, piece.len);
		else if (piece.kind == PIECE_END)
			*end = piece.end;
	}
}

static bool on_events(void *arg, const char *bytes, size_t len)
{
	struct chat *c = arg;
	enum stream_end end;

	stream_feed(c->stream, bytes, len);
	take_pieces(c, &end);
	return !interrupted;
}

static bool on_wait(void *arg)
{
	(void)arg;
	return !interrupted;
}

/* --- one turn --------------------------------------------------------------------------------------------- */

static json_t *body_of(const struct chat *c, const char *message)
{
	if (c->model == NULL)
		return json_pack("{s:s, s:s}", "message", message, "thread_id", c->thread_id);
	return json_pack("{s:s, s:b, s:{s:b}, s:[{s:s, s:s}], s:{s:s}}", "model", c->model, "stream", 1,
	                 "stream_options", "include_usage", 1, "messages", "role", "user", "content", message,
	                 "metadata", "thread_id", c->thread_id);
}

/* The end of an answer of /v1/chat/completions, as the other kind has it. */
static json_t *end_of_stream(struct chat *c, const struct web_answer *w)
{
	enum stream_end end = STREAM_CUT;
	const struct stream_progress *got;
	int64_t tokens;

	stream_close(c->stream);
	take_pieces(c, &end);
	got = stream_progress(c->stream);
	tokens = got->completion_tokens >= 0 ? got->completion_tokens : (int64_t)got->tokens;
	if (end != STREAM_COMPLETE && end != STREAM_LIMIT)
		return NULL;
	return json_pack("{s:I, s:f, s:f}", "tokens_decoded", (json_int_t)tokens, "ttft", w->first_s, "total_time",
	                 w->total_s);
}

static void show_statistics(struct chat *c, const json_t *statistics)
{
	double tokens = json_number_value(json_object_get(statistics, "tokens_decoded"));
	double ttft = json_number_value(json_object_get(statistics, "ttft"));
	double total = json_number_value(json_object_get(statistics, "total_time"));
	char text[128];

	end_line(c);
	snprintf(text, sizeof text, "%.0f tokens, the first after %.2f s, all after %.2f s, %.1f tokens/s", tokens,
	         ttft, total, total > ttft ? (tokens - 1) / (total - ttft) : 0);
	text_put(c->a->out, c->a->colour, COLOUR_DIM, text);
	fputc('\n', c->a->out);
}

/* What an answer that is no stream says: FastAPI's "detail", OpenAI's "error", or nothing. */
static void refusal(const struct web_answer *w, char *out, size_t size)
{
	json_t *j = w->body.data != NULL ? json_loadb(w->body.data, w->body.len, 0, NULL) : NULL;
	const json_t *error = json_object_get(j, "error"), *detail = json_object_get(j, "detail");
	const char *text = json_is_string(error) ? json_string_value(error) : text_of(error, "message");

	if (text == NULL)
		text = json_is_array(detail) ? text_of(json_array_get(detail, 0), "msg") : json_string_value(detail);
	snprintf(out, size, "HTTP %ld%s%s", w->status, text != NULL ? ": " : "", text != NULL ? text : "");
	json_decref(j);
}

/* Why the turn did not go as it should; "": it did. Sets *statistics, a new reference or NULL. */
static enum ctl_exit finish(struct chat *c, const struct web_answer *w, int rc, char *why, size_t size,
                            json_t **statistics)
{
	json_t *waiting = NULL;

	*statistics = c->model == NULL ? chat_answer_end(&c->answer, &waiting) : end_of_stream(c, w);
	why[0] = '\0';
	if (c->a->terminal)
		turn_to(c, false);
	if (waiting != NULL)
		snprintf(why, size, "%s",
		         text_of(waiting, "message") != NULL ? text_of(waiting, "message") : "no LLM is ready");
	else if (w->cancelled)
		snprintf(why, size, "stopped");
	else if (w->status != 0 && w->status != 200)
		refusal(w, why, size);
	else if (*statistics == NULL && rc == 0)
		snprintf(why, size, "the answer broke off");
	json_decref(waiting);
	return *statistics != NULL ? CTL_OK : CTL_REFUSED;
}

static void show_document(struct chat *c, const json_t *statistics, const char *why)
{
	json_t *document = json_pack("{s:s, s:b, s:s%, s:s%, s:O?}", "thread_id", c->thread_id, "complete",
	                             statistics != NULL, "answer", c->text.data != NULL ? c->text.data : "",
	                             c->text.len, "reasoning", c->reasoning.data != NULL ? c->reasoning.data : "",
	                             c->reasoning.len, "statistics", (json_t *)(uintptr_t)statistics);

	if (*why != '\0')
		json_object_set_new(document, "error", json_string(why));
	text_json(c->a->out, document, JSON_COMPACT);
	json_decref(document);
	buf_reset(&c->text);
	buf_reset(&c->reasoning);
}

static enum ctl_exit run_turn(struct chat *c, const char *message)
{
	char *url = web_url(c->url, c->model != NULL ? MODELS_PATH : CHAT_PATH), why[1024];
	json_t *body = body_of(c, message), *statistics = NULL;
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	const struct web_request request = {.url = url,
	                                    .body = text,
	                                    .bearer = c->token,
	                                    .total_ms = c->a->deadline_ms,
	                                    .collect_limit = 64u << 10,
	                                    .data = c->model != NULL ? on_events : on_studio,
	                                    .wait = on_wait,
	                                    .arg = c};
	struct web_answer w = {.status = 0};
	struct err e = ERR_INIT;
	enum ctl_exit result = CTL_REFUSED;
	int rc = -1;

	interrupted = 0;
	c->shows_reasoning = false;
	c->line_begins = true;
	chat_answer_begin(&c->answer, on_piece, c);
	if (c->stream != NULL)
		stream_begin(c->stream, NULL);
	if (url == NULL || text == NULL)
		err_set(&e, "the message is no text in UTF-8, or out of memory");
	else
		rc = web_request(&request, &w, &e);
	result = finish(c, &w, rc, why, sizeof why, &statistics);
	if (rc < 0) {
		snprintf(why, sizeof why, "%s%s", w.status != 0 ? "the answer broke off: " : "", e.text);
		if (w.status == 0)
			result = CTL_UNREACHABLE;
	}
	if (c->a->output == &ctl_json) {
		show_document(c, statistics, why);
	} else {
		if (statistics != NULL && c->a->terminal)
			show_statistics(c, statistics);
		end_line(c);
		fflush(c->a->out);
		if (*why != '\0')
			c->a->output->problem(c->a, why);
	}
	json_decref(statistics);
	web_answer_clear(&w);
	json_decref(body);
	free(text);
	free(url);
	return result;
}

/* --- messages -------------------------------------------------------------------------------------------- */

static bool more_follows(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, PASTE_MS) > 0;
}

/* The lines of a message: a backslash at the end continues it, as does a paste. false: there is none. */
static bool read_message(struct line_editor *editor, struct buf *out)
{
	const char *line = line_editor_read(editor, "> ");
	bool continues = line != NULL;

	buf_reset(out);
	while (continues && line != NULL) {
		size_t len = strlen(line);
		bool escaped = len > 0 && line[len - 1] == '\\';

		if (buf_add(out, line, len - escaped) < 0)
			break;
		line_editor_remember(editor, line);
		continues = escaped || (len > 0 && more_follows());
		if (continues)
			(void)buf_adds(out, "\n");
		line = continues ? line_editor_read(editor, escaped ? ". " : "") : NULL;
	}
	return out->len > 0 || continues || line != NULL;
}

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

/* Ctrl-C stops an answer, and at the prompt leaves. */
static enum ctl_exit talk(struct chat *c)
{
	struct line_editor *editor = line_editor_new(stdin, stdout);
	const struct sigaction stop = {.sa_handler = on_interrupt};
	struct buf message = BUF_INIT(MESSAGE_MAX);
	enum ctl_exit result = CTL_OK;

	if (editor == NULL)
		return CTL_REFUSED;
	sigaction(SIGINT, &stop, NULL);
	fprintf(c->a->err,
	        "%s, thread %s; \\ at the end of a line continues it, Ctrl-C stops an answer, Ctrl-D leaves\n", c->url,
	        c->thread_id);
	while (result != CTL_UNREACHABLE && read_message(editor, &message))
		if (message.len > 0 && !utf8_is_blank(message.data))
			result = run_turn(c, message.data);
	fputc('\n', c->a->out);
	buf_free(&message);
	line_editor_free(editor);
	return result == CTL_UNREACHABLE ? result : CTL_OK;
}

/* All of standard input is one message. */
static enum ctl_exit say(struct chat *c)
{
	struct buf message = BUF_INIT(MESSAGE_MAX);
	enum ctl_exit result = CTL_USAGE;
	const struct sigaction stop = {.sa_handler = on_interrupt};
	char *room;
	ssize_t n = 0;

	while ((room = buf_reserve(&message, 4096)) != NULL && (n = read(STDIN_FILENO, room, 4096)) > 0)
		buf_commit(&message, (size_t)n);
	sigaction(SIGINT, &stop, NULL);
	if (room == NULL)
		c->a->output->problem(c->a, "the message is too long");
	else if (message.data == NULL || strlen(message.data) != message.len || utf8_is_blank(message.data))
		c->a->output->problem(c->a, "standard input has no message");
	else
		result = run_turn(c, message.data);
	buf_free(&message);
	return result;
}

static enum ctl_exit run_chat(const struct ctl *a, const struct ctl_command *command, char *const *args, size_t count)
{
	const char *configured = getenv("TT_AGENT_URL");
	struct chat c = {.a = a,
	                 .url = a->url != NULL                              ? a->url
	                        : configured != NULL && *configured != '\0' ? configured
	                                                                    : DEFAULT_URL,
	                 .token = a->token_env != NULL ? getenv(a->token_env) : NULL,
	                 .model = a->model,
	                 .thread_id = a->thread};
	enum ctl_exit result;

	(void)command, (void)args, (void)count;
	if (a->token_env != NULL && c.token == NULL) {
		a->output->problem(a, "the variable that --token-env names is not set");
		return CTL_USAGE;
	}
	if (c.thread_id == NULL) {
		snprintf(c.thread, sizeof c.thread, "%016" PRIx64, process_random());
		c.thread_id = c.thread;
	}
	buf_init(&c.text, ANSWER_MAX);
	buf_init(&c.reasoning, ANSWER_MAX);
	c.stream = c.model != NULL ? stream_new() : NULL;
	result = isatty(STDIN_FILENO) && a->terminal && a->output == &ctl_text ? talk(&c) : say(&c);
	stream_free(c.stream);
	buf_free(&c.reasoning);
	buf_free(&c.text);
	return result;
}

const struct ctl_command ctl_chat = {
	.name = "chat",
	.arguments = "",
	.help = "A conversation with the service, through its web server.",
	.manual =
		"Reasoning and what tools do is dimmed. A backslash at the end of a line continues the message, as does a paste; "
		"the arrow keys bring back earlier lines, which are never written to a file. Ctrl-C stops an answer; another "
		"one, or Ctrl-D, leaves. If standard input is no terminal, all of it is one message, and only the answer is "
		"printed; the exit status is then 1 if it is not whole. --url names the service (else $TT_AGENT_URL, else " DEFAULT_URL
		"), --thread continues a conversation, --model asks a model by its name or id, by "
		"/v1/chat/completions, and --token-env names the variable that holds a key.",
	.is_stream = true,
	.run = run_chat,
};
