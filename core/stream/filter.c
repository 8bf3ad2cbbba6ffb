/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/filter.h"

#include "core/base/buf.h"
#include "core/stream/call_name.h"
#include "core/stream/prose.h"
#include "core/stream/sse.h"
#include "core/stream/text_call.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A call that is longer is shown as text. */
#define CALL_MAX 65536
/* A call that is read for the first time at each feed; a longer one only when an eighth more has come, so that
 * the time stays linear. */
#define CALL_SMALL 256
/* Whitespace before the first word that is held back. */
#define WHITESPACE_MAX 256
/* A header of gpt-oss, up to <|message|>. */
#define HEADER_MAX 256
#define HEADER_END "<|message|>"

/* A longer run of backticks means nothing. */
#define RUN_MAX 64

#define TAG_WORD "python_tag"

/* What must follow a call for it to count. */
enum need {
	NOTHING,
	LINE_END, /* the end of its line, or more of its kind: it is not within prose */
	TEXT_END, /* it is in a fence that is the whole answer */
};

struct filter {
	/* What was fed and not sorted yet: the caller's bytes, or held. */
	const char *in;
	size_t in_len, at;
	struct buf held; /* what waits for more */
	bool ended, broken, no_memory;
	struct filter_piece *piece; /* where the next one goes */
	bool has_piece;
	char *arguments; /* of the call that was given out last */

	const char *const *tools;
	bool all_reasoning;
	const struct wrapper *thinking; /* whose reasoning is open; NULL: this is the answer */
	const struct wrapper *wrapped;  /* whose answer is open */
	const struct wrapper *words;    /* with which the answer began, and which may turn out to be reasoning */
	bool at_start;                  /* no word of the answer yet: whitespace is held, and dropped before a marker */
	bool shown;                     /* a word of the answer was shown */
	bool reasoned;                  /* reasoning was recognised */
	bool quotes_opening;            /* an opening of reasoning was shown as text */
	struct prose answer, reasoning;
	size_t tag_rest; /* what was shown ends with this many bytes of python_tag */

	/* A call that is being read. All of it is kept until that is decided. */
	bool trying;
	struct text_call_body body;
	enum need need;
	size_t try_from; /* where it begins after its opening */
	size_t tried;    /* how much there was when it was read last */
	bool in_body;    /* calls were found: more may follow */
	size_t calm;     /* bytes from here that failed as a call: none begins in them */
};

/* What begins at one place. */
enum action { DROP, OPEN, CLOSE, UNOPENED, CALL, HEADER };

struct marker {
	enum action action;
	const struct wrapper *wrapper;
	size_t len;
};

static const struct wrapper field = {.kind = WRAPPER_THINK, .opening = "", .closing = ""};

struct filter *filter_new(void)
{
	struct filter *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	buf_init(&f->held, 2 * SSE_LINE_MAX);
	filter_begin(f, NULL);
	return f;
}

/* Another text, with the same tools. */
static void restart(struct filter *f)
{
	buf_reset(&f->held);
	f->in_len = f->at = 0;
	f->thinking = f->all_reasoning ? &field : NULL;
	f->wrapped = f->words = NULL;
	f->at_start = true;
	f->ended = f->broken = f->shown = f->reasoned = f->quotes_opening = f->trying = f->in_body = false;
	f->tag_rest = f->calm = 0;
	prose_begin(&f->answer);
	prose_begin(&f->reasoning);
}

static void begin(struct filter *f, const char *const *tools, bool all_reasoning)
{
	f->tools = tools;
	f->all_reasoning = all_reasoning;
	f->no_memory = false;
	restart(f);
}

void filter_begin(struct filter *f, const char *const *tools)
{
	begin(f, tools, false);
}

void filter_begin_reasoning(struct filter *f, const char *const *tools)
{
	begin(f, tools, true);
}

void filter_free(struct filter *f)
{
	if (f == NULL)
		return;
	free(f->arguments);
	buf_free(&f->held);
	free(f);
}

/* ---- pieces ---- */

static struct prose *prose(struct filter *f)
{
	return f->thinking != NULL ? &f->reasoning : &f->answer;
}

static void show(struct filter *f, const char *bytes, size_t len)
{
	const bool answer = f->thinking == NULL;

	if (len == 0)
		return;
	prose_add(answer ? &f->answer : &f->reasoning, bytes, len);
	f->shown |= answer;
	f->piece->kind = answer ? PIECE_TEXT : PIECE_REASONING;
	f->piece->bytes = bytes;
	f->piece->len = len;
	f->piece->reasoned = false;
	f->has_piece = true;
}

/* Something was dropped: what follows must not complete a python_tag with what was shown
 * before it. */
static void guard_join(struct filter *f)
{
	const struct prose *s = prose(f);

	f->tag_rest = 0;
	for (size_t k = s->len < sizeof TAG_WORD - 1 ? s->len : sizeof TAG_WORD - 2; k > 0 && f->tag_rest == 0; k--)
		if (memcmp(s->last + s->len - k, TAG_WORD, k) == 0)
			f->tag_rest = k;
}

static void think(struct filter *f, const struct wrapper *w)
{
	f->at_start = w == NULL;
	if (f->all_reasoning)
		return;
	f->thinking = w;
	f->reasoned |= w != NULL;
}

static void close_unopened(struct filter *f)
{
	f->at_start = f->reasoned = true;
	f->shown = f->quotes_opening = false;
	f->words = NULL;
	f->answer.fence = f->answer.ticks = 0;
	*f->piece = (struct filter_piece){.kind = PIECE_UNOPENED};
	f->has_piece = true;
}

/* ---- markers ---- */

static bool may_call(const struct filter *f, size_t ahead)
{
	return f->tools != NULL && ahead >= f->calm;
}

static bool is_quote(char c)
{
	return c == '`' || c == '"' || c == '\'';
}

/* Whether a tag with this end is quoted on both sides; MAYBE: what follows decides. */
static enum match is_quoted(struct place place, const struct cursor *after)
{
	const char before = prose_before(place);

	if (!is_quote(before))
		return MATCH_NO;
	if (after->at == after->end)
		return cursor_short(after);
	return *after->at == before ? MATCH_YES : MATCH_NO;
}

/* Whether a tag that nothing explains is one: a closing that nothing opened, any in a text that is reasoning as
 * a whole. In prose, whitespace or quotes stand around what is only mentioned. */
static enum match is_tag(const struct filter *f, struct place place, const struct cursor *after)
{
	const char before = prose_before(place);
	char next;

	if (f->quotes_opening)
		return MATCH_NO;
	if (f->at_start || prose_begins_line(place))
		return MATCH_YES;
	if (before != ' ' && before != '\t' && before != '(' && before != '[' && !is_quote(before))
		return MATCH_YES;
	if (after->at == after->end && (!after->ended || f->all_reasoning))
		return after->ended ? MATCH_YES : MATCH_MAYBE;
	next = after->at == after->end ? '\n' : *after->at;
	if (next == '\n' || next == '\r')
		return prose_sentence_ended(place) ? MATCH_YES : MATCH_NO;
	return (next & 0x80) != 0 || isalnum((unsigned char)next) ? MATCH_YES : MATCH_NO;
}

/* The opening of reasoning: whether it counts. */
static enum match opens(const struct filter *f, const struct wrapper *w, struct place place, const struct cursor *after)
{
	enum match quoted;

	if (f->thinking == NULL)
		return f->at_start || (w->flags & WRAPPER_TOKEN) != 0 ? MATCH_YES : MATCH_NO;
	if (f->all_reasoning)
		return prose_in_code(place.prose) ? MATCH_NO : is_tag(f, place, after);
	if (w != f->thinking)
		return (w->flags & WRAPPER_TOKEN) != 0 ? MATCH_YES : MATCH_NO;
	quoted = is_quoted(place, after);
	return quoted == MATCH_MAYBE ? quoted : quoted == MATCH_YES ? MATCH_NO : MATCH_YES;
}

static enum match closes(const struct filter *f, const struct wrapper *w, struct place place,
                         const struct cursor *after)
{
	enum match quoted;

	if (f->thinking != NULL && !f->all_reasoning) {
		if (w != f->thinking)
			return (w->flags & WRAPPER_TOKEN) != 0 ? MATCH_YES : MATCH_NO;
		quoted = is_quoted(place, after);
		return quoted == MATCH_MAYBE ? quoted : quoted == MATCH_YES ? MATCH_NO : MATCH_YES;
	}
	if (prose_in_code(place.prose))
		return MATCH_NO;
	return (w->flags & WRAPPER_TOKEN) != 0 ? MATCH_YES : is_tag(f, place, after);
}

static enum action closing_action(const struct filter *f, const struct wrapper *w)
{
	if (f->all_reasoning && w->kind == WRAPPER_THINK)
		return CLOSE;
	if (w == f->wrapped || (f->thinking != NULL && w != f->thinking) ||
	    (w->kind != WRAPPER_THINK && f->thinking == NULL))
		return DROP;
	return f->thinking != NULL ? CLOSE : UNOPENED;
}

/* Whether the opening (or else the closing) of a row counts at this place, where its text stands. */
static enum match counts(const struct filter *f, const struct wrapper *w, bool opening, struct place place,
                         const struct cursor *after, struct marker *m)
{
	const bool in_code = prose_in_code(place.prose);
	enum match result;

	*m = (struct marker){DROP, w, opening ? w->opening_len : w->closing_len};
	if (opening && (w->flags & WRAPPER_ALWAYS) != 0 && (w->kind == WRAPPER_DROP || in_code))
		return MATCH_YES;
	if (!opening) {
		m->action = UNOPENED;
		if ((w->flags & WRAPPER_WORDS) != 0)
			return w == f->words && !in_code ? MATCH_YES : MATCH_NO;
		m->action = DROP;
		if (w->kind == WRAPPER_ANSWER)
			return w == f->wrapped ? MATCH_YES : MATCH_NO;
		if (w->kind == WRAPPER_CALL || (w->kind == WRAPPER_HEADER && f->thinking != w))
			return !in_code && (w->flags & WRAPPER_TOKEN) != 0 ? MATCH_YES : MATCH_NO;
		result = closes(f, w, place, after);
		m->action = closing_action(f, w);
		return result;
	}
	if (in_code || ((w->flags & WRAPPER_START) != 0 && !f->at_start))
		return MATCH_NO;
	if ((w->flags & WRAPPER_WORDS) != 0 && (w->kind == WRAPPER_THINK || f->words == NULL))
		return MATCH_NO;
	switch (w->kind) {
	case WRAPPER_CALL:
		m->action = may_call(f, place.at) ? CALL : DROP;
		return m->action == CALL || (w->flags & WRAPPER_TOKEN) != 0 ? MATCH_YES : MATCH_NO;
	case WRAPPER_THINK:
		m->action = f->thinking == NULL || f->all_reasoning ? OPEN : DROP;
		return opens(f, w, place, after);
	case WRAPPER_ANSWER:
		m->action = OPEN;
		return f->at_start && f->reasoned ? MATCH_YES : MATCH_NO;
	case WRAPPER_HEADER:
		m->action = HEADER;
		return MATCH_YES;
	default:
		return MATCH_YES;
	}
}

/* An opening of reasoning that is shown as text changes the meaning of a closing, so it must be seen as a whole. */
static bool is_remembered(const struct filter *f, const struct wrapper_text *t, struct place place)
{
	if (!t->opening || t->wrapper->kind != WRAPPER_THINK || f->thinking != NULL || prose_in_code(place.prose))
		return false;
	return (t->wrapper->flags & WRAPPER_WORDS) == 0 || (f->at_start && !f->shown);
}

/* Which of two rows with the same text counts. */
static int rank(enum action a)
{
	return a == UNOPENED ? 0 : a == DROP ? 1 : 2;
}

/* The row that begins at a place: the longest one. */
static enum match find_row(struct filter *f, struct place place, const struct cursor *c, struct marker *found)
{
	enum match result = MATCH_NO;

	found->len = 0;
	for (const struct wrapper_text *t = wrapper_texts(c->at, (size_t)(c->end - c->at)); t != NULL; t = t->next) {
		struct cursor after = *c;
		enum match taken = cursor_take(&after, t->text), one;
		struct marker m;

		if (taken == MATCH_NO)
			continue;
		if (taken == MATCH_MAYBE)
			after.at = after.end; /* what follows it is not known */
		one = counts(f, t->wrapper, t->opening, place, &after, &m);
		if (one == MATCH_NO && is_remembered(f, t, place)) {
			if (taken == MATCH_MAYBE)
				return taken;
			if ((t->wrapper->flags & WRAPPER_WORDS) != 0)
				f->words = t->wrapper;
			else
				f->quotes_opening = true;
		}
		if (one == MATCH_NO)
			continue;
		if (one == MATCH_MAYBE || taken == MATCH_MAYBE)
			return MATCH_MAYBE;
		if (m.len > found->len || (m.len == found->len && rank(m.action) > rank(found->action))) {
			*found = m;
			result = MATCH_YES;
		}
	}
	return result;
}

/* The text ended within something of several tokens: the rest of it is dropped with its first one. */
static bool is_cut(const struct cursor *c)
{
	const size_t left = (size_t)(c->end - c->at);

	for (const struct wrapper_text *t = wrapper_texts(c->at, left); c->ended && t != NULL; t = t->next)
		if ((t->wrapper->flags & WRAPPER_TOKEN) != 0 && strlen(t->text) > left &&
		    memcmp(t->text, c->at, left) == 0)
			return true;
	return false;
}

static enum match find_token(struct filter *f, const struct cursor *c, struct marker *found)
{
	struct cursor token = *c;
	enum match m = prose_in_code(prose(f)) ? MATCH_NO : cursor_token(&token);

	if (m == MATCH_YES && is_cut(c))
		token.at = c->end;
	*found = (struct marker){DROP, &wrapper_token, (size_t)(token.at - c->at)};
	return m;
}

/* A call without a wrapper may begin here. */
static bool begins_bare_call(const struct filter *f, struct place place)
{
	if (!may_call(f, place.at) || prose_in_code(place.prose))
		return false;
	if (f->at_start)
		return true;
	return prose_begins_line(place) && !prose_is_indented_code(place) && prose_sentence_ended(place);
}

/* Backticks and tildes. Whether a fence begins here that may be the whole answer. */
static enum match find_run(struct filter *f, struct place place, const struct cursor *c, struct marker *found,
                           size_t *skip)
{
	const char *end = c->at;

	while (end < c->end && *end == *c->at && end - c->at < RUN_MAX)
		end++;
	*skip = (size_t)(end - c->at);
	if (*skip == RUN_MAX)
		return MATCH_NO;
	if (end == c->end && !c->ended)
		return MATCH_MAYBE;
	if (*skip == 3 && *c->at == '`' && f->at_start && !f->shown && f->thinking == NULL && may_call(f, place.at)) {
		*found = (struct marker){CALL, &wrapper_fence, 3};
		return MATCH_YES;
	}
	prose_run(prose(f), place, *skip, end < c->end ? *end : '\n');
	return MATCH_NO;
}

/* What begins at p[n]; skip: bytes that are text for sure, at least 1. */
static enum match find(struct filter *f, const char *p, size_t n, size_t len, bool ended, struct marker *found,
                       size_t *skip)
{
	const struct place place = {prose(f), p, n};
	const struct cursor c = {p + n, p + len, ended};
	enum match m;

	*skip = 1;
	if (p[n] == '`' || p[n] == '~')
		return find_run(f, place, &c, found, skip);
	if (p[n] == '>' && prose_begins_line(place)) {
		m = find_row(f, place, &c, found);
		if (m == MATCH_NO)
			prose(f)->quote = true;
		return m;
	}
	m = find_row(f, place, &c, found);
	if (m == MATCH_NO && p[n] == '<')
		m = find_token(f, &c, found);
	if (m == MATCH_NO && (p[n] == '{' || p[n] == '[') && begins_bare_call(f, place)) {
		*found = (struct marker){CALL, &wrapper_json, 0};
		m = MATCH_YES;
	}
	return m;
}

/* ---- the filter's states ---- */

/* Each takes what it can of the len bytes at p, up to the first piece that it finds, and
 * returns how many that are; *wait: more must come first. */

static size_t pass_tag_rest(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	const char *word = &TAG_WORD[f->tag_rest];
	struct cursor c = {p, p + len, ended};

	switch (cursor_take(&c, word)) {
	case MATCH_MAYBE:
		*wait = true;
		return 0;
	case MATCH_YES:
		return strlen(word); /* and the next one, as what was shown is the same */
	default:
		f->tag_rest = 0;
		return 0;
	}
}

/* ---- calls ---- */

/* A call may begin `before` bytes from here, after its opening. */
static void begin_call(struct filter *f, const struct marker *m, struct place place, size_t before)
{
	const struct wrapper *w = m->wrapper;
	const bool prose_needed = w->kind == WRAPPER_CALL && (w->flags & WRAPPER_TOKEN) == 0;

	f->trying = true;
	f->body = (struct text_call_body){.wrapper = w, .tools = f->tools};
	f->try_from = before + ((w->flags & WRAPPER_HEAD) != 0 ? 0 : m->len);
	f->tried = 0;
	f->need = w->kind == WRAPPER_FENCE ? TEXT_END : NOTHING;
	if (prose_needed && !f->at_start && !prose_begins_line(place) && !prose_sentence_ended(place))
		f->need = LINE_END;
}

/* The name of a fence that may be a call, and the line end after it. */
static enum match read_fence(struct cursor *c)
{
	static const char *const names[] = {"\n", "json\n", "tool_code\n", "tool_call\n", "tool_calls\n", "xml\n"};
	enum match result = MATCH_NO;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		enum match m = cursor_take(c, names[i]);

		if (m == MATCH_YES)
			return m;
		if (m == MATCH_MAYBE)
			result = m;
	}
	return result;
}

/* A token of a chat template, with a row or without. */
static enum match read_token(struct cursor *c)
{
	enum match result = cursor_token(c);

	for (const struct wrapper_text *t = wrapper_texts(c->at, (size_t)(c->end - c->at));
	     t != NULL && result != MATCH_YES; t = t->next) {
		enum match m = (t->wrapper->flags & (WRAPPER_TOKEN | WRAPPER_ALWAYS)) != 0 ? cursor_take(c, t->text)
		                                                                           : MATCH_NO;

		result = m != MATCH_NO ? m : result;
	}
	return result;
}

/* After a fence that may be the whole answer: only whitespace and tokens until the end. */
static enum match read_text_end(struct cursor *c)
{
	enum match m;

	for (;;) {
		cursor_whitespace(c);
		if (c->at == c->end)
			return c->ended ? MATCH_YES : MATCH_MAYBE;
		if ((m = read_token(c)) != MATCH_YES)
			return m;
	}
}

/* What follows a call that counts only with its surroundings. */
static enum match read_surroundings(struct text_call_body *b, struct cursor *c, enum need need)
{
	struct text_call call;
	enum match m;

	for (;;) {
		while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
			c->at++;
		if (c->at == c->end)
			return c->ended ? MATCH_YES : MATCH_MAYBE;
		if (need == LINE_END && (*c->at == '\n' || *c->at == '\r'))
			return MATCH_YES;
		if (need == LINE_END && (*c->at == ',' || *c->at == ';'))
			return MATCH_NO;
		if (need == TEXT_END && *c->at == '`') {
			m = cursor_take(c, "```");
			return m == MATCH_YES ? read_text_end(c) : m;
		}
		m = text_call_separator(b, c);
		if (m == MATCH_NO && need == LINE_END && (m = read_token(c)) == MATCH_YES)
			return m;
		if (m == MATCH_NO) {
			m = text_call_read(b, c, &call);
			if (m == MATCH_YES)
				free(call.arguments);
		}
		if (m != MATCH_YES)
			return m;
	}
}

static enum match read_call(struct filter *f, struct cursor *c, struct text_call_body *b, struct text_call *call)
{
	struct cursor after;
	struct text_call_body around;
	enum match m = f->need == TEXT_END ? read_fence(c) : MATCH_YES;

	if (m == MATCH_YES)
		m = text_call_read(b, c, call);
	if (m != MATCH_YES || f->need == NOTHING)
		return m;
	after = *c;
	around = *b;
	m = read_surroundings(&around, &after, f->need);
	if (m != MATCH_YES) {
		free(call->arguments);
		c->at = after.at;
	}
	return m;
}

static void take_call(struct filter *f, const struct text_call_body *b, const struct text_call *call, struct span text)
{
	free(f->arguments);
	f->arguments = call->arguments;
	*f->piece = (struct filter_piece){.kind = PIECE_CALL,
	                                  .name = call->tool,
	                                  .arguments = call->arguments,
	                                  .bytes = text.text,
	                                  .len = text.len,
	                                  .reasoned = f->thinking != NULL};
	f->has_piece = true;
	f->body = *b;
	f->in_body = true;
	f->at_start = f->thinking == NULL || f->all_reasoning;
	f->tag_rest = 0;
}

/* It is none: its text is shown, and no call begins in what was read of it. */
static size_t give_up(struct filter *f, size_t calm)
{
	f->trying = false;
	f->calm = calm > 0 ? calm : 1;
	if (f->in_body) {
		f->in_body = false;
		guard_join(f);
	}
	return 0;
}

static size_t pass_call(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	const size_t window = len < CALL_MAX ? len : CALL_MAX;
	const bool whole = ended && len <= CALL_MAX;
	struct text_call_body body = f->body;
	struct text_call call;
	struct cursor c = {p + f->try_from, p + window, false};
	enum match m;

	if (!ended && window < CALL_MAX && f->tried > CALL_SMALL && len < f->tried + f->tried / 8) {
		*wait = true;
		return 0;
	}
	f->tried = len;
	m = f->try_from > window ? MATCH_NO : read_call(f, &c, &body, &call);
	if (m == MATCH_NO)
		return give_up(f, f->try_from > window ? window : (size_t)(c.at - p));
	if (m == MATCH_MAYBE && f->broken && len <= CALL_MAX) {
		f->trying = f->in_body = false;
		return len;
	}
	if (m == MATCH_MAYBE && whole) {
		c = (struct cursor){p + f->try_from, p + window, true};
		body = f->body;
		m = read_call(f, &c, &body, &call);
	} else if (m == MATCH_MAYBE && window < CALL_MAX) {
		*wait = true;
		return 0;
	}
	if (m != MATCH_YES)
		return give_up(f, window);
	f->trying = false;
	take_call(f, &body, &call, (struct span){p, (size_t)(c.at - p)});
	return (size_t)(c.at - p);
}

static size_t pass_body(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	struct cursor c = {p, p + len, ended};

	switch (text_call_separator(&f->body, &c)) {
	case MATCH_YES:
		if (f->thinking != NULL) {
			*f->piece = (struct filter_piece){
				.kind = PIECE_REASONING, .bytes = p, .len = (size_t)(c.at - p), .reasoned = true};
			f->has_piece = true;
		}
		return (size_t)(c.at - p);
	case MATCH_MAYBE:
		*wait = true;
		return 0;
	default:
		break;
	}
	if (f->calm > 0)
		return give_up(f, f->calm);
	f->trying = true;
	f->need = NOTHING;
	f->try_from = f->tried = 0;
	return 0;
}

/* ---- headers of gpt-oss ---- */

static bool header_says(const struct span *header, const char *word)
{
	return memmem(header->text, header->len, word, strlen(word)) != NULL;
}

/* <|channel|>analysis<|message|>, <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{...} */
static size_t pass_header(struct filter *f, const struct marker *m, const char *p, size_t len, bool ended, bool *wait)
{
	static const char recipient[] = "to=";
	const size_t max = m->len + HEADER_MAX, window = len < max ? len : max;
	struct cursor c = {p + m->len, p + window, ended || window == max};
	struct span header, name;
	const char *to;

	switch (cursor_until(&c, HEADER_END, &header)) {
	case MATCH_MAYBE:
		*wait = true;
		return 0;
	case MATCH_NO:
		guard_join(f);
		return m->len;
	default:
		break;
	}
	to = memmem(header.text, header.len, recipient, sizeof recipient - 1);
	if (to != NULL && may_call(f, 0)) {
		struct cursor after = {to + sizeof recipient - 1, p + len, ended};

		if (cursor_name(&after, &name) == MATCH_YES && call_name_resolve(name.text, name.len, f->tools) != NULL) {
			begin_call(f, m, (struct place){prose(f), p, 0}, 0);
			f->try_from = (size_t)(name.text - p);
			return 0;
		}
	}
	think(f, header_says(&header, "analysis") ? m->wrapper : NULL);
	guard_join(f);
	return (size_t)(c.at - p);
}

/* ---- the text itself ---- */

static size_t apply(struct filter *f, const struct marker *m)
{
	switch (m->action) {
	case OPEN:
		if (m->wrapper->kind == WRAPPER_ANSWER)
			f->wrapped = m->wrapper;
		else
			think(f, m->wrapper);
		break;
	case CLOSE:
		think(f, NULL);
		break;
	case UNOPENED:
		close_unopened(f);
		break;
	default:
		if (m->wrapper == f->wrapped)
			f->wrapped = NULL;
		break;
	}
	guard_join(f);
	return m->len;
}

enum { LETTER, WHITESPACE, NEWLINE, SPECIAL };

static const unsigned char classes[256] = {
	[' '] = WHITESPACE, ['\t'] = WHITESPACE, ['\r'] = WHITESPACE, ['\n'] = NEWLINE, [';'] = WHITESPACE,
	['<'] = SPECIAL,    ['p'] = SPECIAL,     ['['] = SPECIAL,     ['{'] = SPECIAL,  ['`'] = SPECIAL,
	['>'] = SPECIAL,    ['~'] = SPECIAL,     [']'] = SPECIAL,     [0xe2] = SPECIAL,
};

/* Moves n over text up to a marker or its possible beginning. */
static enum match scan(struct filter *f, const char *p, size_t len, size_t *n, bool ended, struct marker *found)
{
	enum match result;
	size_t skip;

	for (; *n < len; *n += skip) {
		skip = 1;
		switch (classes[(unsigned char)p[*n]]) {
		case NEWLINE:
			prose_newline(prose(f));
			continue;
		case WHITESPACE:
			continue;
		case SPECIAL:
			result = find(f, p, *n, len, ended, found, &skip);
			if (result != MATCH_NO)
				return result;
			break;
		default:
			if (!f->at_start && f->words == NULL)
				continue;
			result = find_row(f, (struct place){prose(f), p, *n}, &(struct cursor){p + *n, p + len, ended},
			                  found);
			if (result != MATCH_NO)
				return result;
			break;
		}
		f->at_start = false;
	}
	return MATCH_NO;
}

static size_t pass_text(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	struct marker found = {0};
	size_t n = 0, before;
	enum match result = scan(f, p, len, &n, ended, &found);

	if (n > WHITESPACE_MAX || (ended && result == MATCH_NO && memchr(p, ';', n) != NULL))
		f->at_start = false;  /* a semicolon alone is an answer */
	before = f->at_start ? n : 0; /* whitespace that stays */
	if (result == MATCH_YES && found.action == CALL)
		begin_call(f, &found, (struct place){prose(f), p, n}, before);
	if (!f->at_start)
		show(f, p, n);
	if (result == MATCH_YES && found.action != CALL && !f->has_piece) /* after a piece, the marker is next */
		return n + (found.action == HEADER ? pass_header(f, &found, p + n, len - n, ended, wait)
		                                   : apply(f, &found));
	if (result != MATCH_YES)
		*wait = result == MATCH_MAYBE || f->at_start;
	return n - before;
}

static size_t pass(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	if (f->trying)
		return pass_call(f, p, len, ended, wait);
	if (f->tag_rest > 0)
		return pass_tag_rest(f, p, len, ended, wait);
	if (f->in_body)
		return pass_body(f, p, len, ended, wait);
	return pass_text(f, p, len, ended, wait);
}

void filter_feed(struct filter *f, const char *bytes, size_t len)
{
	assert(f->at == f->in_len);
	f->in = bytes;
	f->in_len = len;
	f->at = 0;
	if (f->held.len == 0)
		return;
	if (buf_add(&f->held, bytes, len) < 0) {
		restart(f);
		f->no_memory = true;
		return;
	}
	f->in = f->held.data;
	f->in_len = f->held.len;
}

void filter_end(struct filter *f)
{
	f->in = f->held.data;
	f->in_len = f->held.len;
	f->at = 0;
	f->ended = true;
}

void filter_break(struct filter *f)
{
	filter_end(f);
	f->broken = true;
}

/* What is left waits for more. */
static void hold(struct filter *f)
{
	size_t left = f->in_len - f->at;

	if (f->ended) {
		restart(f);
	} else if (f->held.len > 0) {
		buf_consume(&f->held, f->at);
	} else if (left > 0 && buf_add(&f->held, f->in + f->at, left) < 0) {
		restart(f);
		f->no_memory = true;
	}
	f->in_len = f->at = 0;
}

bool filter_next(struct filter *f, struct filter_piece *p)
{
	size_t n;
	bool wait = false;

	if (f->at == f->in_len && f->held.len == 0 && !f->ended)
		return false;
	f->piece = p;
	f->has_piece = false;
	while (f->at < f->in_len && !wait) {
		n = pass(f, f->in + f->at, f->in_len - f->at, f->ended, &wait);
		f->calm -= n < f->calm ? n : f->calm;
		f->at += n;
		if (f->has_piece)
			return true;
	}
	hold(f);
	return false;
}

bool filter_lost(const struct filter *f)
{
	return f->no_memory;
}
