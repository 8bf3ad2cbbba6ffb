/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/filter.h"

#include "core/stream/call_name.h"
#include "core/stream/filter_private.h"
#include "core/stream/sse.h"

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

#define TAG_WORD "python_tag"

static const struct wrapper field = {.kind = WRAPPER_THINK, .opening = "", .closing = ""};

struct filter *filter_new(void)
{
	struct filter *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	wrappers_prepare();
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
	const struct prose *s = filter_prose(f);

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
	f->need = w->kind == WRAPPER_FENCE ? TEXT_CALL_TEXT_END : TEXT_CALL_ANYWHERE;
	if (prose_needed && !f->at_start && !prose_begins_line(place) && !prose_sentence_ended(place))
		f->need = TEXT_CALL_LINE_END;
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
	m = f->try_from > window ? MATCH_NO : text_call_read_as(&body, &c, f->need, &call);
	if (m == MATCH_NO)
		return give_up(f, f->try_from > window ? window : (size_t)(c.at - p));
	if (m == MATCH_MAYBE && f->broken && len <= CALL_MAX) {
		f->trying = f->in_body = false;
		return len;
	}
	if (m == MATCH_MAYBE && whole) {
		c = (struct cursor){p + f->try_from, p + window, true};
		body = f->body;
		m = text_call_read_as(&body, &c, f->need, &call);
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
	f->need = TEXT_CALL_ANYWHERE;
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
	if (to != NULL && filter_may_call(f, 0)) {
		struct cursor after = {to + sizeof recipient - 1, p + len, ended};

		if (cursor_name(&after, &name) == MATCH_YES &&
		    call_name_resolve(name.text, name.len, f->tools) != NULL) {
			begin_call(f, m, (struct place){filter_prose(f), p, 0}, 0);
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

enum { LETTER, WHITESPACE, NEWLINE, ROW, SPECIAL }; /* ROW: begins nothing but rows of the table */

static const unsigned char classes[256] = {
	[' '] = WHITESPACE, ['\t'] = WHITESPACE, ['\r'] = WHITESPACE, ['\n'] = NEWLINE, [';'] = WHITESPACE,
	['<'] = SPECIAL,    ['['] = SPECIAL,     ['{'] = SPECIAL,     ['`'] = SPECIAL,  ['>'] = SPECIAL,
	['~'] = SPECIAL,    ['p'] = ROW,         [']'] = ROW,         [0xe2] = ROW,
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
			prose_newline(filter_prose(f));
			continue;
		case WHITESPACE:
			continue;
		case SPECIAL:
			result = filter_mark(f, &(struct place){filter_prose(f), p, *n},
			                     &(struct cursor){p + *n, p + len, ended}, found, &skip);
			if (result != MATCH_NO)
				return result;
			break;
		case LETTER:
			if (!f->at_start && f->words == NULL)
				continue;
			__attribute__((fallthrough));
		default:
			if (wrapper_texts(p + *n, len - *n) == NULL)
				break;
			result = filter_mark_row(f, &(struct place){filter_prose(f), p, *n},
			                         &(struct cursor){p + *n, p + len, ended}, found);
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
		begin_call(f, &found, (struct place){filter_prose(f), p, n}, before);
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
