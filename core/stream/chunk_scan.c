/* SPDX-License-Identifier: Apache-2.0 */
/* The strict scanner: one pass over an event of the usual form, nothing is built. Whatever it
 * does not know exactly it leaves to chunk_parse, so it may refuse, but never read anything
 * differently from jansson. */
#include "core/stream/chunk.h"
#include "core/base/json_text.h"
#include "core/base/utf8.h"

#include <stdint.h>
#include <string.h>

#define DEPTH_MAX  48
#define DIGITS_MAX 18 /* fits int64_t, and no double overflows */

struct scan {
	const unsigned char *p, *end;
	size_t len;
	struct chunk_reader *reader;
	struct chunk *chunk;
	struct chunk_text text; /* choices[0].text */
	struct chunk_text reasoning[CHUNK_REASONING_NAMES];
	unsigned depth;
	bool is_chunk;
};

struct member {
	const char *name;
	size_t len;
	bool (*read)(struct scan *s);
};

#define MEMBER(name, read)                                                                                             \
	{                                                                                                              \
		(name), sizeof(name) - 1, (read)                                                                       \
	}

static inline void skip_whitespace(struct scan *s)
{
	while (s->p < s->end && *s->p <= ' ' && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static inline int peek(const struct scan *s)
{
	return s->p < s->end ? *s->p : -1;
}

static inline bool take(struct scan *s, int c)
{
	if (peek(s) != c)
		return false;
	s->p++;
	return true;
}

static bool take_word(struct scan *s, const char *word, size_t len)
{
	if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0)
		return false;
	s->p += len;
	return true;
}

static bool take_null(struct scan *s)
{
	return take_word(s, "null", 4);
}
static bool not_mine(struct scan *s)
{
	(void)s;
	return false;
}

/* ---- strings ---- */

/* Moves p over bytes that stand for themselves; false where they are not UTF-8. */
static inline bool skip_plain(struct scan *s)
{
	size_t len;

	for (;;) {
		s->p = json_text_span(s->p, s->end);
		if (s->p == s->end)
			return false;
		if (*s->p < 0x80)
			return true;
		len = utf8_sequence(s->p, s->end);
		if (len == 0)
			return false;
		s->p += len;
	}
}

/* Decodes what is left of a string that has escapes, begun at `from`. */
static bool decode_string(struct scan *s, const unsigned char *from, struct chunk_text *out)
{
	struct buf *scratch = &s->reader->scratch;
	char decoded[4], *to;
	size_t len, start = scratch->len;

	/* Room for all strings of the event at once: what is decoded never moves. */
	if (buf_reserve(scratch, s->len - start) == NULL)
		return false;
	while (*s->p == '\\') {
		buf_add(scratch, from, (size_t)(s->p - from));
		len = json_text_escape(&s->p, s->end, decoded);
		if (len == 0)
			return false;
		buf_add(scratch, decoded, len);
		from = s->p;
		if (!skip_plain(s))
			return false;
	}
	if (*s->p != '"')
		return false;
	buf_add(scratch, from, (size_t)(s->p - from));
	to = scratch->data + start;
	s->p++;
	*out = (struct chunk_text){.bytes = to, .len = scratch->len - start};
	return true;
}

/* A string whose opening quote has been read. */
static bool take_string(struct scan *s, struct chunk_text *out)
{
	const unsigned char *from = s->p;

	if (!skip_plain(s))
		return false;
	if (*s->p == '\\')
		return decode_string(s, from, out);
	if (*s->p != '"')
		return false;
	*out = (struct chunk_text){.bytes = (const char *)from, .len = (size_t)(s->p - from)};
	s->p++;
	return true;
}

static bool skip_string(struct scan *s)
{
	char decoded[4];

	for (;;) {
		if (!skip_plain(s))
			return false;
		if (*s->p == '"')
			break;
		if (*s->p != '\\' || json_text_escape(&s->p, s->end, decoded) == 0)
			return false;
	}
	s->p++;
	return true;
}

/* A string without escapes: keys and fixed words. */
static bool take_word_string(struct scan *s, struct chunk_text *out)
{
	const unsigned char *from;

	if (!take(s, '"'))
		return false;
	from = s->p;
	if (!skip_plain(s) || *s->p != '"')
		return false;
	*out = (struct chunk_text){.bytes = (const char *)from, .len = (size_t)(s->p - from)};
	s->p++;
	return true;
}

/* ---- other values ---- */

static size_t skip_digits(struct scan *s)
{
	const unsigned char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return (size_t)(s->p - from);
}

static bool skip_number(struct scan *s)
{
	size_t digits;

	(void)take(s, '-');
	if (take(s, '0'))
		digits = 1;
	else
		digits = skip_digits(s);
	if (digits == 0 || digits > DIGITS_MAX)
		return false;
	if (take(s, '.') && skip_digits(s) == 0)
		return false;
	if (peek(s) != 'e' && peek(s) != 'E')
		return true;
	s->p++;
	if (!take(s, '-'))
		(void)take(s, '+');
	digits = skip_digits(s);
	return digits >= 1 && digits <= 2;
}

static bool skip_value(struct scan *s);
static bool read_object(struct scan *s, const struct member *members, size_t count);

static bool skip_array(struct scan *s)
{
	s->p++;
	skip_whitespace(s);
	if (take(s, ']'))
		return true;
	if (++s->depth > DEPTH_MAX)
		return false;
	do {
		skip_whitespace(s);
		if (!skip_value(s))
			return false;
		skip_whitespace(s);
	} while (take(s, ','));
	s->depth--;
	return take(s, ']');
}

static bool skip_value(struct scan *s)
{
	switch (peek(s)) {
	case '"':
		s->p++;
		return skip_string(s);
	case '{':
		return read_object(s, NULL, 0);
	case '[':
		return skip_array(s);
	case 'n':
		return take_null(s);
	case 't':
		return take_word(s, "true", 4);
	case 'f':
		return take_word(s, "false", 5);
	default:
		return skip_number(s);
	}
}

/* ---- the members that count ---- */

static bool read_member(struct scan *s, const struct member *members, size_t count, uint32_t *seen)
{
	struct chunk_text key;
	size_t i;

	if (!take_word_string(s, &key))
		return false;
	skip_whitespace(s);
	if (!take(s, ':'))
		return false;
	skip_whitespace(s);
	for (i = 0; i < count; i++)
		if (members[i].len == key.len && members[i].name[0] == key.bytes[0] &&
		    memcmp(members[i].name, key.bytes, key.len) == 0)
			break;
	if (i == count)
		return skip_value(s);
	if ((*seen & 1u << i) != 0)
		return false;
	*seen |= 1u << i;
	return members[i].read(s);
}

/* An object; members that are not named are skipped, one named twice is not mine. */
static bool read_object(struct scan *s, const struct member *members, size_t count)
{
	uint32_t seen = 0;

	if (!take(s, '{'))
		return false;
	skip_whitespace(s);
	if (take(s, '}'))
		return true;
	if (++s->depth > DEPTH_MAX)
		return false;
	do {
		skip_whitespace(s);
		if (!read_member(s, members, count, &seen))
			return false;
		skip_whitespace(s);
	} while (take(s, ','));
	s->depth--;
	return take(s, '}');
}

static bool read_text(struct scan *s, struct chunk_text *out)
{
	return take(s, '"') ? take_string(s, out) : take_null(s);
}

static bool read_content(struct scan *s)
{
	if (take_null(s)) {
		s->chunk->content_was = CHUNK_CONTENT_NULL;
		return true;
	}
	s->chunk->content_was = CHUNK_CONTENT_STRING;
	return take(s, '"') && take_string(s, &s->chunk->content);
}
static bool read_choice_text(struct scan *s)
{
	return read_text(s, &s->text);
}
static bool read_reasoning(struct scan *s)
{
	return read_text(s, &s->reasoning[CHUNK_REASONING]);
}
static bool read_reasoning_content(struct scan *s)
{
	return read_text(s, &s->reasoning[CHUNK_REASONING_CONTENT]);
}
static bool read_thinking(struct scan *s)
{
	return read_text(s, &s->reasoning[CHUNK_THINKING]);
}

static bool read_empty_array(struct scan *s)
{
	if (take_null(s))
		return true;
	if (!take(s, '['))
		return false;
	skip_whitespace(s);
	return take(s, ']');
}

static bool read_finish(struct scan *s)
{
	struct chunk_text word;

	if (take_null(s))
		return true;
	if (!take_word_string(s, &word))
		return false;
	chunk_set_finish(s->chunk, word.bytes, word.len);
	return true;
}

static bool read_message(struct scan *s)
{
	static const struct member members[] = {
		MEMBER("content", read_content),
		MEMBER("reasoning_content", read_reasoning_content),
		MEMBER("reasoning", read_reasoning),
		MEMBER("thinking", read_thinking),
		MEMBER("tool_calls", read_empty_array),
		MEMBER("refusal", take_null),
		MEMBER("function_call", take_null),
		MEMBER("reasoning_details", read_empty_array),
		MEMBER("thinking_blocks", read_empty_array),
	};

	return take_null(s) || read_object(s, members, sizeof members / sizeof members[0]);
}

static bool read_choice_index(struct scan *s)
{
	return take(s, '0'); /* read_object refuses what follows, such as a fraction */
}

static bool read_choices(struct scan *s)
{
	static const struct member members[] = {
		MEMBER("delta", read_message), MEMBER("finish_reason", read_finish), MEMBER("text", read_choice_text),
		MEMBER("message", not_mine),   MEMBER("index", read_choice_index),
	};

	s->is_chunk = true;
	if (!take(s, '['))
		return false;
	skip_whitespace(s);
	if (take(s, ']'))
		return true;
	if (!read_object(s, members, sizeof members / sizeof members[0]))
		return false;
	skip_whitespace(s);
	return take(s, ']');
}

static bool read_count(struct scan *s, int64_t *count)
{
	const unsigned char *from = s->p;
	int64_t value = 0;

	if (peek(s) == '-' || !skip_number(s))
		return false;
	for (const unsigned char *c = from; c < s->p; c++) {
		if (*c < '0' || *c > '9')
			return false;
		value = value * 10 + (*c - '0');
	}
	*count = value;
	return true;
}

static bool read_completion_tokens(struct scan *s)
{
	return read_count(s, &s->chunk->completion_tokens);
}

static bool read_prompt_tokens(struct scan *s)
{
	return read_count(s, &s->chunk->prompt_tokens);
}
static bool read_cached_tokens(struct scan *s)
{
	return take_null(s) || read_count(s, &s->chunk->cached_tokens);
}
static bool read_reasoning_tokens(struct scan *s)
{
	return take_null(s) || read_count(s, &s->chunk->reasoning_tokens);
}

static bool read_prompt_details(struct scan *s)
{
	static const struct member members[] = {MEMBER("cached_tokens", read_cached_tokens)};

	return take_null(s) || read_object(s, members, sizeof members / sizeof members[0]);
}

static bool read_completion_details(struct scan *s)
{
	static const struct member members[] = {MEMBER("reasoning_tokens", read_reasoning_tokens)};

	return take_null(s) || read_object(s, members, sizeof members / sizeof members[0]);
}

static bool read_usage(struct scan *s)
{
	static const struct member members[] = {
		MEMBER("completion_tokens", read_completion_tokens),
		MEMBER("prompt_tokens", read_prompt_tokens),
		MEMBER("prompt_tokens_details", read_prompt_details),
		MEMBER("completion_tokens_details", read_completion_details),
	};

	s->is_chunk = true;
	return take_null(s) || read_object(s, members, sizeof members / sizeof members[0]);
}

static bool read_object_name(struct scan *s)
{
	struct chunk_text name;

	return take_word_string(s, &name) && !(name.len == 5 && memcmp(name.bytes, "error", 5) == 0);
}

static bool read_event(struct scan *s)
{
	static const struct member members[] = {
		MEMBER("choices", read_choices), MEMBER("usage", read_usage), MEMBER("object", read_object_name),
		MEMBER("error", take_null),      MEMBER("message", not_mine), MEMBER("detail", not_mine),
	};

	skip_whitespace(s);
	if (!read_object(s, members, sizeof members / sizeof members[0]))
		return false;
	skip_whitespace(s);
	return s->p == s->end && s->is_chunk; /* else it may be an error of any form */
}

static void finish_texts(struct scan *s)
{
	struct chunk *c = s->chunk;

	if (c->content.len == 0)
		c->content = s->text;
	if (c->content.len == 0)
		c->content.bytes = NULL;
	for (int i = 0; i < CHUNK_REASONING_NAMES && c->reasoning.len == 0; i++) {
		c->reasoning = s->reasoning[i];
		c->reasoning_as = (enum chunk_reasoning)i;
	}
	if (c->reasoning.len == 0)
		c->reasoning.bytes = NULL;
}

void chunk_clear(struct chunk *c)
{
	memset(c, 0, sizeof *c);
	c->completion_tokens = c->prompt_tokens = c->cached_tokens = c->reasoning_tokens = -1;
}

void chunk_set_finish(struct chunk *c, const char *word, size_t len)
{
	c->finish = finish_parse(word, len);
	if (c->finish == FINISH_BROKEN)
		c->finish_word = (struct chunk_text){.bytes = word, .len = len};
}

bool chunk_scan(struct chunk_reader *r, const char *data, size_t len, struct chunk *c)
{
	struct scan s;

	memset(&s, 0, sizeof s);
	s.p = (const unsigned char *)data;
	s.end = s.p + len;
	s.len = len;
	s.reader = r;
	s.chunk = c;
	buf_reset(&r->scratch);
	chunk_clear(c);
	if (len == 6 && memcmp(data, "[DONE]", 6) == 0) {
		c->kind = CHUNK_DONE;
		return true;
	}
	if (!read_event(&s))
		return false;
	finish_texts(&s);
	return true;
}
