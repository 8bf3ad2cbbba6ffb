/* SPDX-License-Identifier: Apache-2.0 */
/* What counts in a text: which of the table's rows begins at a place, and what it does there. */
#include "core/stream/filter_private.h"

#include <ctype.h>
#include <string.h>

/* A longer run of backticks means nothing. */
#define RUN_MAX 64

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
		m->action = filter_may_call(f, place.at) ? CALL : DROP;
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

enum match filter_mark_row(struct filter *f, const struct place *place, const struct cursor *c, struct marker *found)
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
		one = counts(f, t->wrapper, t->opening, *place, &after, &m);
		if (one == MATCH_NO && is_remembered(f, t, *place)) {
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
	enum match m = prose_in_code(filter_prose(f)) ? MATCH_NO : cursor_token(&token);

	if (m == MATCH_YES && is_cut(c))
		token.at = c->end;
	*found = (struct marker){DROP, &wrapper_token, (size_t)(token.at - c->at)};
	return m;
}

/* A call without a wrapper may begin here. */
static bool begins_bare_call(const struct filter *f, struct place place)
{
	if (!filter_may_call(f, place.at) || prose_in_code(place.prose))
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
	if (*skip == 3 && *c->at == '`' && f->at_start && !f->shown && f->thinking == NULL &&
	    filter_may_call(f, place.at)) {
		*found = (struct marker){CALL, &wrapper_fence, 3};
		return MATCH_YES;
	}
	prose_run(filter_prose(f), place, *skip, end < c->end ? *end : '\n');
	return MATCH_NO;
}

enum match filter_mark(struct filter *f, const struct place *place, const struct cursor *c, struct marker *found,
                       size_t *skip)
{
	enum match m;

	*skip = 1;
	if (*c->at == '`' || *c->at == '~')
		return find_run(f, *place, c, found, skip);
	if (*c->at == '>' && prose_begins_line(*place)) {
		m = filter_mark_row(f, place, c, found);
		if (m == MATCH_NO)
			filter_prose(f)->quote = true;
		return m;
	}
	m = filter_mark_row(f, place, c, found);
	if (m == MATCH_NO && *c->at == '<')
		m = find_token(f, c, found);
	if (m == MATCH_NO && (*c->at == '{' || *c->at == '[') && begins_bare_call(f, *place)) {
		*found = (struct marker){CALL, &wrapper_json, 0};
		m = MATCH_YES;
	}
	return m;
}
