/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/cursor.h"

#include <ctype.h>
#include <string.h>

#define NAME_MAX_LEN  128
#define TOKEN_MIN_LEN 2
#define TOKEN_MAX_LEN 64

#define WIDE_BAR "\xef\xbd\x9c"
#define WIDE_GAP "\xe2\x96\x81" /* the underscore of DeepSeek's tokens */

bool cursor_is_whitespace(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

enum match cursor_short(const struct cursor *c)
{
	return c->ended ? MATCH_NO : MATCH_MAYBE;
}

enum match cursor_take(struct cursor *c, const char *literal)
{
	const char *p = c->at;

	/* Most differ in the first bytes. */
	for (; *literal != '\0' && p < c->end && *p == *literal; p++)
		literal++;
	if (*literal != '\0')
		return p == c->end ? cursor_short(c) : MATCH_NO;
	c->at = p;
	return MATCH_YES;
}

enum match cursor_until(struct cursor *c, const char *literal, struct span *before)
{
	const char *found = memmem(c->at, (size_t)(c->end - c->at), literal, strlen(literal));

	if (found == NULL)
		return cursor_short(c);
	*before = (struct span){c->at, (size_t)(found - c->at)};
	c->at = found + strlen(literal);
	return MATCH_YES;
}

void cursor_whitespace(struct cursor *c)
{
	while (c->at < c->end && cursor_is_whitespace(*c->at))
		c->at++;
}

static enum match bar(struct cursor *c)
{
	enum match narrow = cursor_take(c, "|");

	return narrow == MATCH_NO ? cursor_take(c, WIDE_BAR) : narrow;
}

enum match cursor_token(struct cursor *c)
{
	struct cursor in = *c;
	enum match m = cursor_take(&in, "<");
	const char *name;

	if (m != MATCH_YES || (m = bar(&in)) != MATCH_YES)
		return m;
	for (name = in.at; in.at < in.end; in.at++) {
		const unsigned char byte = (unsigned char)*in.at;
		const size_t len = (size_t)(in.at - name);
		struct cursor gap = in;

		if (len > TOKEN_MAX_LEN)
			return MATCH_NO;
		if (byte < 0x80 && (isalnum(byte) || (byte != '\0' && strchr("_:.-/\\", byte) != NULL)))
			continue;
		if (len >= TOKEN_MIN_LEN && (m = bar(&in)) != MATCH_NO) {
			if (m == MATCH_YES)
				m = cursor_take(&in, ">");
			if (m == MATCH_YES)
				c->at = in.at;
			return m;
		}
		m = cursor_take(&gap, byte == ' ' && len > 0 ? " " : WIDE_GAP);
		if (m != MATCH_YES)
			return m;
		in.at = gap.at - 1;
	}
	return cursor_short(&in);
}

static bool is_name(unsigned char c)
{
	return c != 0 && c < 0x80 && (isalnum(c) || strchr("_-.:/", c) != NULL);
}

enum match cursor_name(struct cursor *c, struct span *name)
{
	struct cursor in = *c;

	while (in.at < in.end && is_name((unsigned char)*in.at))
		in.at++;
	*name = (struct span){c->at, (size_t)(in.at - c->at)};
	if (name->len > NAME_MAX_LEN)
		return MATCH_NO;
	if (in.at == in.end && !in.ended)
		return MATCH_MAYBE;
	if (name->len == 0)
		return MATCH_NO;
	c->at = in.at;
	return MATCH_YES;
}

bool span_is(const struct span *s, const char *text)
{
	return s->len == strlen(text) && memcmp(s->text, text, s->len) == 0;
}

bool span_starts(const struct span *s, const char *text)
{
	return s->len >= strlen(text) && memcmp(s->text, text, strlen(text)) == 0;
}

void span_strip(struct span *s)
{
	for (; s->len > 0 && cursor_is_whitespace(*s->text); s->len--)
		s->text++;
	while (s->len > 0 && cursor_is_whitespace(s->text[s->len - 1]))
		s->len--;
}
