/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/prose.h"

#include "core/stream/cursor.h"

#include <string.h>

#define FENCE_MIN   3
#define CODE_INDENT 4

void prose_begin(struct prose *p)
{
	memset(p, 0, sizeof *p);
}

/* The byte `back` bytes before the place; 0 is the nearest. False: it is not known, or there is none. */
static bool byte_back(struct place place, size_t back, char *c)
{
	if (back >= sizeof place.prose->last)
		return false; /* so that the answer does not depend on how much was shown */
	if (back < place.at) {
		*c = place.text[place.at - 1 - back];
		return true;
	}
	back -= place.at;
	if (back >= place.prose->len)
		return false;
	*c = place.prose->last[place.prose->len - 1 - back];
	return true;
}

static bool begins_text(struct place place, size_t back)
{
	return back < sizeof place.prose->last && back == place.at + place.prose->len;
}

char prose_before(struct place place)
{
	char c;

	return byte_back(place, 0, &c) ? c : '\n';
}

static bool indent(struct place place, size_t *columns)
{
	char c = '\n';

	*columns = 0;
	for (size_t back = 0;; back++) {
		if (!byte_back(place, back, &c))
			return begins_text(place, back);
		if (c == '\n' || c == '\r')
			return true;
		if (c != ' ' && c != '\t')
			return false;
		*columns += c == '\t' ? CODE_INDENT : 1;
	}
}

bool prose_begins_line(struct place place)
{
	size_t columns;

	return indent(place, &columns);
}

bool prose_is_indented_code(struct place place)
{
	size_t columns;

	return indent(place, &columns) && columns >= CODE_INDENT;
}

/* Ends of sentences, and what may stand after them. An emoji ends one as well. */
static const char *const ends[] = {".", "!", "?", "…", "。", "！", "？", "．"};
static const char *const closings[] = {"\"", "'", ")", "]", "*", "_", "”", "’", "»", "」", "）"};

static size_t matching_end(const char *text, size_t len, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const size_t n = strlen(words[i]);

		if (len >= n && memcmp(text + len - n, words[i], n) == 0)
			return n;
	}
	return 0;
}

bool prose_sentence_ended(struct place place)
{
	char tail[sizeof place.prose->last];
	size_t back = 0, len = 0, n;
	char c;

	while (byte_back(place, back, &c) && cursor_is_whitespace(c))
		back++;
	while (len < sizeof tail && byte_back(place, back, &c)) {
		memmove(tail + 1, tail, len);
		tail[0] = c;
		len++;
		back++;
	}
	if (len == 0)
		return begins_text(place, back);
	while ((n = matching_end(tail, len, closings, sizeof closings / sizeof closings[0])) > 0)
		len -= n;
	return matching_end(tail, len, ends, sizeof ends / sizeof ends[0]) > 0 ||
	       (len >= 4 && (unsigned char)tail[len - 4] == 0xf0);
}

void prose_run(struct prose *p, struct place place, size_t run, char after)
{
	const char byte = place.text[place.at];
	const bool begins_line = prose_begins_line(place);

	if (p->fence > 0) {
		if (byte == p->fence_byte && begins_line && run >= p->fence && cursor_is_whitespace(after))
			p->fence = 0;
	} else if (begins_line && run >= FENCE_MIN && !p->quote) {
		p->fence = run;
		p->fence_byte = byte;
	} else if (byte == '`') {
		p->ticks = p->ticks == 0 ? run : p->ticks == run ? 0 : p->ticks;
	}
}
