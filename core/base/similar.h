/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean ...?": the candidate that a mistyped word resembles most. Pure. */
#ifndef TT_BASE_SIMILAR_H
#define TT_BASE_SIMILAR_H

#include <stddef.h>

struct similar {
	const char *word; /* as it was written; borrowed */
	const char *best; /* the candidate; NULL: none resembles it */
	size_t edits;     /* between the two */
};

#define SIMILAR_TO(word_)                                                                                              \
	{                                                                                                              \
		.word = (word_), .best = NULL, .edits = 0                                                              \
	}

/* Compares the word with one more candidate, case-insensitively. A candidate resembles it if at most
 * a third of its characters (and at least one) were left out, added, replaced or swapped, or if the
 * word is its beginning; of equal ones the first counts. */
void similar_consider(struct similar *s, const char *candidate);

#endif
