/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/similar.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define WORD_MAX         64
#define ABBREVIATION_MIN 3

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Optimal string alignment: insertions, deletions, replacements, and swaps of neighbours. */
static size_t edits_between(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][WORD_MAX + 1], *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		above[j] = before[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *oldest = before;

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] =
				least(least(above[j], row[j - 1]) + 1, above[j - 1] + !same_letter(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = oldest;
	}
	return above[b_len];
}

void similar_consider(struct similar *s, const char *candidate)
{
	size_t len = strlen(s->word), other = strlen(candidate), edits;

	if (len == 0 || other == 0 || len > WORD_MAX || other > WORD_MAX)
		return;
	edits = edits_between(s->word, len, candidate, other);
	if (len >= ABBREVIATION_MIN && strncasecmp(candidate, s->word, len) == 0)
		edits = least(edits, 1);
	if (edits > 1 && edits > other / 3)
		return;
	if (edits >= other || (s->best != NULL && edits >= s->edits))
		return;
	s->best = candidate;
	s->edits = edits;
}
