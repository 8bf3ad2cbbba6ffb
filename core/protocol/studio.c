/* SPDX-License-Identifier: Apache-2.0 */
/* TT-Studio's stream: the answer as plain text, reasoning between <think> and </think>, and
 * the statistics, [STATS]{...}, at the very end.
 *
 * <think> is written where reasoning or a tool begins, and </think> before the answer's next
 * word. Between them `[searching]` is shown once, each query once, and sources so that
 * `Source: [title](url)` always parses. </think> and the statistics are chunks of their own.
 *
 * TT-Studio's readers judge a text by its chunks. Chunks of nothing but whitespace are dropped,
 * so whitespace waits for the next word. One that begins with [STATS], or is [DONE], is taken
 * for the end, so neither word is ever in one chunk: a flush boundary is put before its last
 * byte. Workflows strip each chunk and join them. So in an answer to one, where nobody reads
 * along, a chunk begins and ends within a word: its last characters wait for the next token. */
#include "core/protocol/protocol.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/protocol/studio_request.h"

#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Queries that are remembered as shown; those beyond are shown each time. */
#define QUERIES_MAX 64
/* What waits for the next word; more is written as it comes. */
#define WAITING_MAX        4096
#define REASONING_LINE_MAX 16384
#define CODE_LINE_MAX      (256u << 10) /* a longer one is not shown */
#define QUERY_MAX          1000         /* bytes */
#define TITLE_MAX          300

/* The states of output_set_state, for answers whose program dies. */
enum phase { PHASE_NOTHING, PHASE_REASONING, PHASE_REASONED, PHASE_TEXT, PHASE_COMPLETE };
#define PHASE_MASK 7
#define USED_TOOLS 8 /* their results are lost with the program */

struct studio {
	struct reply reply;
	enum phase phase;
	bool used_tools;
	bool in_reasoning;  /* <think> is open */
	bool line_begun;    /* the reasoning's last byte does not end a line */
	bool searching;     /* [searching] was shown */
	bool has_text;      /* any text of the answer was written */
	bool cuts_in_words; /* chunks begin and end within a word */
	bool shows_code;
	size_t newlines;    /* at the end of the answer so far, up to 2 */
	struct buf waiting; /* for the next word: whitespace, or what must not end a chunk */
	char begun[8];      /* what was written last begins one of split_words like this */
	size_t begun_len;
	size_t query_count;
	char **queries; /* QUERIES_MAX; NULL: none so far */
};

static struct studio *studio_of(struct reply *r)
{
	return (struct studio *)r;
}

/* TT-Studio's backend requests for its workflows as it does for its pages, by the same HTTP client, from the same
 * address. But the threads of its chat page are numbers and that of its canvas is "canvas"; those of workflows are
 * what somebody wrote into a node, by default nothing, and the message of a node that has a goal contains this. */
static bool is_for_workflow(const struct chat_request *r)
{
	static const char client[] = "python-httpx/", below_goal[] = "\n\nContext:\n";
	const char *message = json_string_value(r->content);

	if (utf8_is_blank(r->thread_id))
		return true;
	if (r->user_agent == NULL || strncmp(r->user_agent, client, sizeof client - 1) != 0)
		return false;
	if (r->thread_id[strspn(r->thread_id, "0123456789")] != '\0' && strcmp(r->thread_id, "canvas") != 0)
		return true;
	return message != NULL && strstr(message, below_goal) != NULL;
}

static struct reply *studio_open(const struct protocol *p, struct output *o, const struct chat_request *request)
{
	struct studio *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->reply = (struct reply){.protocol = p, .output = o};
	s->cuts_in_words = request != NULL && is_for_workflow(request);
	s->shows_code = request != NULL && request->wants_code;
	buf_init(&s->waiting, WAITING_MAX);
	return &s->reply;
}

static void studio_free(struct reply *r)
{
	struct studio *s = studio_of(r);

	if (s == NULL)
		return;
	for (size_t i = 0; i < s->query_count; i++)
		free(s->queries[i]);
	free(s->queries);
	buf_free(&s->waiting);
	free(s);
}

/* ---- lines of the reasoning that carry foreign text ---------------------------------- */

/* A <think> tag inside foreign text would end the reasoning for the client. */
static bool begins_tag(const char *p)
{
	return strncasecmp(p, "<think>", 7) == 0 || strncasecmp(p, "</think>", 8) == 0;
}

/* Appends text as one line: what must not be shown (utf8_next) and runs of whitespace become one space,
 * brackets of all kinds parentheses where asked, at most max bytes, cut at a code point. */
static int add_line(struct buf *out, const char *text, size_t max, bool brackets)
{
	const char *at = text, *end = text + strlen(text), *from;
	size_t start = out->len, len;
	bool space = false;
	uint32_t code;
	char c;

	while ((from = at) < end) {
		if (!utf8_next(&at, end, &code) || code == ' ' || code == 0xFEFF || begins_tag(from)) {
			space = out->len > start;
			continue;
		}
		len = (size_t)(at - from);
		if (out->len - start + len + space > max)
			break;
		c = *from;
		if (brackets && strchr("[]<>", c) != NULL)
			c = c == '[' || c == '<' ? '(' : ')';
		if ((space && buf_add(out, " ", 1) < 0) || buf_add(out, &c, 1) < 0 ||
		    buf_add(out, from + 1, len - 1) < 0)
			return -1;
		space = false;
	}
	return 0;
}

/* Appends "Searching: <query>\n". -1: nothing is left of the query. */
static int add_subject_line(struct buf *out, const char *progress, const char *subject)
{
	size_t start;

	if (buf_addf(out, "%s: ", progress) < 0)
		return -1;
	start = out->len;
	if (add_line(out, subject, QUERY_MAX, false) < 0 || out->len == start)
		return -1;
	return buf_adds(out, "\n");
}

/* What would end the link or the line, percent-encoded. */
static int add_url(struct buf *out, const char *url)
{
	static const char hex[] = "0123456789ABCDEF";

	for (const unsigned char *p = (const unsigned char *)url; *p != '\0'; p++) {
		char encoded[3] = {'%', hex[*p >> 4], hex[*p & 15]};
		bool plain = *p > ' ' && *p != 0x7f && strchr("()<>\"\\`", *p) == NULL;

		if (buf_add(out, plain ? (const char *)p : encoded, plain ? 1 : 3) < 0)
			return -1;
	}
	return 0;
}

/* The host of a URL, without www. */
static int add_host(struct buf *out, const char *url)
{
	CURLU *parsed = curl_url();
	char *host = NULL;
	const char *shown = "source";
	int result;

	if (parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK)
		shown = strncasecmp(host, "www.", 4) == 0 && host[4] != '\0' ? host + 4 : host;
	result = add_line(out, shown, TITLE_MAX, true);
	curl_free(host);
	curl_url_cleanup(parsed);
	return result;
}

/* Appends "Source: [title](url)\n" so that `Source:\s*\[([^\]]*)\]\(([^)]+)\)` matches it, whatever title (may
 * be NULL) and url hold. -1: no URL that a browser may follow. */
static int add_source_line(struct buf *out, const char *title, const char *url)
{
	struct buf clean = BUF_INIT(REASONING_LINE_MAX);
	size_t start;
	int result = -1;

	if (!protocol_is_link(url) || add_url(&clean, url) < 0 || buf_adds(out, "Source: [") < 0)
		goto out;
	start = out->len;
	if (title != NULL && add_line(out, title, TITLE_MAX, true) < 0)
		goto out;
	if (out->len == start && add_host(out, clean.data) < 0)
		goto out;
	if (buf_adds(out, "](") == 0 && buf_add(out, clean.data, clean.len) == 0)
		result = buf_adds(out, ")\n");
out:
	buf_free(&clean);
	return result;
}

/* ---- what is written ------------------------------------------------------------------ */

static const char *const split_words[] = {"[STATS]", "[DONE]"};
#define SPLIT_WORDS      (sizeof split_words / sizeof split_words[0])
#define SPLIT_WORD_BEGIN '['

/* Whether c is the last byte of a word that must not be in one chunk. */
static bool completes_split_word(struct studio *s, char c)
{
	size_t n = s->begun_len;

	for (size_t i = 0; n > 0 && i < SPLIT_WORDS; i++) {
		const char *word = split_words[i];

		if (memcmp(word, s->begun, n) != 0 || word[n] != c)
			continue;
		s->begun[n] = c;
		s->begun_len = word[n + 1] == '\0' ? 0 : n + 1;
		return s->begun_len == 0;
	}
	s->begun[0] = c;
	s->begun_len = c == SPLIT_WORD_BEGIN;
	return false;
}

/* Writes bytes that begin one of split_words, or may continue one. */
static void write_split(struct studio *s, const char *bytes, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		if (!completes_split_word(s, bytes[i]))
			continue;
		if (i > from)
			output_write(s->reply.output, bytes + from, i - from);
		output_flush_boundary(s->reply.output);
		from = i;
	}
	output_write(s->reply.output, bytes + from, len - from);
}

static inline void write_bytes(struct studio *s, const char *bytes, size_t len)
{
	if (s->begun_len > 0 || memchr(bytes, SPLIT_WORD_BEGIN, len) != NULL)
		write_split(s, bytes, len);
	else
		output_write(s->reply.output, bytes, len);
}

static void write_waiting(struct studio *s)
{
	if (s->waiting.len > 0)
		write_bytes(s, s->waiting.data, s->waiting.len);
	buf_reset(&s->waiting);
}

static bool is_whitespace(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes, *end = p + len;
	size_t step;

	for (; p < end; p += step) {
		if (*p > ' ' && *p < 0x80)
			return false;
		step = *p == ' ' ? 1 : utf8_whitespace(p, end);
		if (step == 0)
			return false;
	}
	return true;
}

/* Where text is cut last so that neither side has whitespace there; 0: nowhere. */
static size_t last_cut(const char *text, size_t len)
{
	const unsigned char *begin = (const unsigned char *)text, *p = begin, *end = p + len;
	bool after_word = false;
	size_t cut = 0, step;

	for (; p < end; p += step) {
		const bool is_space = (step = utf8_whitespace(p, end)) > 0;

		if (after_word && !is_space)
			cut = (size_t)(p - begin);
		after_word = !is_space;
		if (!is_space)
			for (step = 1; p + step < end && (p[step] & 0xC0) == 0x80;)
				step++;
	}
	return cut;
}

/* What follows the last place where the text can be cut within a word waits. */
static void write_cut_in_words(struct studio *s, const char *bytes, size_t len)
{
	size_t cut;

	if (len > WAITING_MAX - s->waiting.len || buf_add(&s->waiting, bytes, len) < 0) {
		write_waiting(s);
		write_bytes(s, bytes, len);
		return;
	}
	cut = last_cut(s->waiting.data, s->waiting.len);
	if (cut == 0)
		return;
	write_bytes(s, s->waiting.data, cut);
	buf_consume(&s->waiting, cut);
}

static void write_words(struct studio *s, const char *bytes, size_t len)
{
	if (s->cuts_in_words) {
		write_cut_in_words(s, bytes, len);
		return;
	}
	if (is_whitespace(bytes, len) && buf_add(&s->waiting, bytes, len) == 0)
		return;
	if (s->waiting.len == 0) {
		write_bytes(s, bytes, len);
		return;
	}
	if (len <= WAITING_MAX - s->waiting.len && buf_add(&s->waiting, bytes, len) == 0)
		len = 0; /* in one write with what waited */
	write_waiting(s);
	if (len > 0)
		write_bytes(s, bytes, len);
}

/* A chunk of its own. */
static void write_chunk(struct studio *s, const char *bytes, size_t len)
{
	output_flush_boundary(s->reply.output);
	output_write(s->reply.output, bytes, len);
	output_flush_boundary(s->reply.output);
	s->begun_len = 0;
}

static void put(struct studio *s, const char *text)
{
	write_waiting(s);
	write_bytes(s, text, strlen(text));
}

static void set_state(struct studio *s, bool is_text)
{
	output_set_state(s->reply.output, (unsigned char)(s->phase | (s->used_tools ? USED_TOOLS : 0)), is_text);
}

static void set_phase(struct studio *s, enum phase phase)
{
	if (s->phase == phase)
		return;
	s->phase = phase;
	set_state(s, phase == PHASE_TEXT);
}

static void open_reasoning(struct studio *s)
{
	if (s->in_reasoning)
		return;
	s->in_reasoning = true;
	s->line_begun = false;
	write_waiting(s);
	set_state(s, false);
	put(s, "<think>");
	set_phase(s, PHASE_REASONING);
}

static void close_reasoning(struct studio *s)
{
	if (!s->in_reasoning)
		return;
	s->in_reasoning = false;
	write_waiting(s);
	write_chunk(s, "</think>", 8);
	set_phase(s, PHASE_REASONED);
}

/* A line of its own in the reasoning. */
static void put_line(struct studio *s, const char *line)
{
	open_reasoning(s);
	if (s->line_begun)
		write_words(s, "\n", 1);
	s->line_begun = false;
	write_words(s, line, strlen(line));
}

static void count_newlines(struct studio *s, const char *bytes, size_t len)
{
	size_t newlines = 0;

	while (newlines < 2 && newlines < len && bytes[len - 1 - newlines] == '\n')
		newlines++;
	if (newlines == len)
		newlines += s->newlines;
	s->newlines = newlines < 2 ? newlines : 2;
}

static void studio_text(struct reply *r, const char *bytes, size_t len)
{
	struct studio *s = studio_of(r);

	if (s->in_reasoning)
		close_reasoning(s);
	if (bytes[len - 1] == '\n')
		count_newlines(s, bytes, len);
	else
		s->newlines = 0;
	if (s->phase != PHASE_TEXT)
		set_phase(s, PHASE_TEXT);
	s->has_text = true;
	write_words(s, bytes, len);
}

static void studio_reasoning(struct reply *r, const char *bytes, size_t len)
{
	struct studio *s = studio_of(r);

	open_reasoning(s);
	s->line_begun = bytes[len - 1] != '\n';
	write_words(s, bytes, len);
}

static void studio_restart(struct reply *r)
{
	put_line(studio_of(r), "[interrupted, starting again]\n");
}

static void studio_paragraph(struct reply *r)
{
	const struct studio *s = studio_of(r);

	if (s->has_text && s->newlines < 2)
		studio_text(r, "\n\n", s->newlines == 1 ? 1 : 2);
}

static void studio_sentence(struct reply *r, const char *sentence)
{
	studio_paragraph(r);
	studio_text(r, sentence, strlen(sentence));
}

static void studio_fail(struct reply *r, enum failure why, const char *sentence)
{
	(void)why;
	studio_sentence(r, sentence);
}

/* ---- tools ------------------------------------------------------------------------------ */

/* Whether the line was shown before; remembers it. */
static bool shown_before(struct studio *s, const char *line)
{
	for (size_t i = 0; i < s->query_count; i++)
		if (strcmp(s->queries[i], line) == 0)
			return true;
	if (s->queries == NULL)
		s->queries = calloc(QUERIES_MAX, sizeof *s->queries);
	if (s->queries != NULL && s->query_count < QUERIES_MAX && (s->queries[s->query_count] = strdup(line)) != NULL)
		s->query_count++;
	return false;
}

static void studio_tool(struct reply *r, const char *progress, const char *subject)
{
	struct studio *s = studio_of(r);
	struct buf line = BUF_INIT(REASONING_LINE_MAX);

	if (!s->used_tools) {
		s->used_tools = true;
		set_state(s, false);
	}
	if (subject == NULL) {
		if (buf_addf(&line, "%s\n", progress) == 0)
			put_line(s, line.data);
	} else {
		if (!s->searching)
			put_line(s, "[searching]\n");
		s->searching = true;
		if (add_subject_line(&line, progress, subject) == 0 && !shown_before(s, line.data))
			put_line(s, line.data);
	}
	buf_free(&line);
}

static bool studio_source(struct reply *r, const char *title, const char *url)
{
	struct buf line = BUF_INIT(REASONING_LINE_MAX);
	bool good = add_source_line(&line, title, url) == 0;

	if (good)
		put_line(studio_of(r), line.data);
	buf_free(&line);
	return good;
}

/* As JSON in one line, because both have several, and without "<", which may begin a tag. */
static void studio_code(struct reply *r, const char *code, const char *output)
{
	struct buf line = BUF_INIT(CODE_LINE_MAX);
	char *text = NULL;
	json_t *j;

	if (!studio_of(r)->shows_code)
		return;
	j = json_pack("{s:s?,s:s?}", "code", code, "output", output);
	if (j != NULL && buf_adds(&line, "Code: ") == 0 && (text = json_dumps(j, JSON_COMPACT)) != NULL) {
		const char *at = text;
		int added = 0;

		for (size_t n; added == 0 && *at != '\0'; at += n) {
			n = *at == '<' ? 1 : strcspn(at, "<");
			added = *at == '<' ? buf_adds(&line, "\\u003c") : buf_add(&line, at, n);
		}
		if (added == 0 && buf_adds(&line, "\n") == 0)
			put_line(studio_of(r), line.data);
	}
	free(text);
	json_decref(j);
	buf_free(&line);
}

static void studio_tool_done(struct reply *r)
{
	put_line(studio_of(r), "Done.\n");
}

/* An empty line of reasoning, which the reader drops; nothing outside of it. */
static void studio_keep_alive(struct reply *r)
{
	struct studio *s = studio_of(r);

	if (!s->in_reasoning)
		return;
	if (s->cuts_in_words)
		write_waiting(s);
	write_chunk(s, "\n", 1);
}

/* ---- the ends ----------------------------------------------------------------------------- */

#define WAITING_TEXT "Agent is still initializing, waiting for LLM to become available..."

static void studio_waiting(struct reply *r, const struct config *c)
{
	static const char json[] = "data: {\"status\": \"waiting\", \"message\": \"" WAITING_TEXT "\"}\n\n";

	if (c != NULL && strcmp(cfg_str(c, CFG_POLLING_WAITING_REPLY), "text") == 0)
		output_write(r->output, WAITING_TEXT, sizeof WAITING_TEXT - 1);
	else
		output_write(r->output, json, sizeof json - 1);
}

static void studio_close(struct reply *r)
{
	close_reasoning(studio_of(r));
	write_waiting(studio_of(r));
	set_phase(studio_of(r), PHASE_COMPLETE);
	output_flush_boundary(r->output);
}

/* In decimal, with zeros before it where it has fewer digits. What follows it. */
static char *write_number(char *to, uint64_t value, size_t digits)
{
	char text[20];
	size_t n = 0;

	do {
		text[sizeof text - ++n] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0 || n < digits);
	return mempcpy(to, text + sizeof text - n, n);
}

/* Seconds with six decimals, whatever the locale; "null" below 0. */
static char *write_seconds(char *to, int64_t ns)
{
	const uint64_t us = (uint64_t)ns / 1000;

	if (ns < 0)
		return stpcpy(to, "null");
	to = write_number(to, us / 1000000, 1);
	*to++ = '.';
	return write_number(to, us % 1000000, 6);
}

#define STATISTICS_MAX 192

static size_t statistics(char out[STATISTICS_MAX], const struct usage *u)
{
	char *to = stpcpy(out, "[STATS]{\"tokens_decoded\": ");

	to = write_number(to, (uint64_t)(u->tokens > 0 ? u->tokens : 0), 1);
	to = write_seconds(stpcpy(to, ", \"ttft\": "), u->ttft_ns);
	to = write_seconds(stpcpy(to, ", \"tpot\": "), u->tpot_ns);
	to = write_seconds(stpcpy(to, ", \"total_time\": "), u->total_ns < 0 ? 0 : u->total_ns);
	to = stpcpy(to, "}");
	return (size_t)(to - out);
}

static void studio_end(struct reply *r, const struct usage *u)
{
	struct studio *s = studio_of(r);
	char line[STATISTICS_MAX];

	close_reasoning(s);
	write_waiting(s);
	write_chunk(s, line, statistics(line, u));
}

#define BROKE_OFF                                                                                                      \
	"The answer broke off here because the part of the service that was writing it ended unexpectedly. "           \
	"Please ask again."

static bool studio_can_resume(unsigned char state)
{
	return (state & USED_TOOLS) == 0 && (state & PHASE_MASK) != PHASE_COMPLETE;
}

static void studio_resume(struct reply *r, const struct resumed_reply *from)
{
	struct studio *s = studio_of(r);

	s->phase = from->state & PHASE_MASK;
	s->in_reasoning = s->line_begun = s->phase == PHASE_REASONING;
	s->has_text = from->len > 0;
	count_newlines(s, from->text, from->len);
	for (size_t i = from->len > WAITING_MAX ? from->len - WAITING_MAX : 0; i < from->len; i++)
		completes_split_word(s, from->text[i]);
	output_set_state(r->output, from->state, s->phase == PHASE_TEXT);
}

static size_t studio_broken(struct broken_reply *b, char *out, size_t size, bool *last)
{
	enum phase phase = b->state & PHASE_MASK;
	char line[STATISTICS_MAX];

	*last = phase == PHASE_COMPLETE;
	if (*last) {
		statistics(line, &b->usage);
		return (size_t)snprintf(out, size, "%s", line);
	}
	b->state = phase == PHASE_REASONING ? PHASE_REASONED : PHASE_COMPLETE;
	if (phase == PHASE_REASONING)
		return (size_t)snprintf(out, size, "</think>");
	return (size_t)snprintf(out, size, "%s" BROKE_OFF, phase == PHASE_TEXT ? "\n\n" : "");
}

const struct protocol protocol_studio = {
	.name = "studio",
	.content_type = "text/plain; charset=utf-8",
	.parse = studio_request_parse,
	.open = studio_open,
	.free = studio_free,
	.text = studio_text,
	.reasoning = studio_reasoning,
	.restart = studio_restart,
	.paragraph = studio_paragraph,
	.tool = studio_tool,
	.source = studio_source,
	.code = studio_code,
	.tool_done = studio_tool_done,
	.keep_alive = studio_keep_alive,
	.sentence = studio_sentence,
	.fail = studio_fail,
	.waiting = studio_waiting,
	.close = studio_close,
	.end = studio_end,
	.can_resume = studio_can_resume,
	.resume = studio_resume,
	.broken = studio_broken,
};
