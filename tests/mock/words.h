/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an answer of numbered words lost one, has one twice, or one of another answer,
 * and whether it says so where it broke off. Pure. */
#ifndef TT_TESTS_MOCK_WORDS_H
#define TT_TESTS_MOCK_WORDS_H

#include <stdbool.h>

enum words_verdict {
	WORDS_WHOLE,      /* all of them, and the statistics */
	WORDS_REPORTED,   /* the first of them, a sentence, the statistics */
	WORDS_UNANSWERED, /* a sentence and the statistics, no words */
	WORDS_WAITING,    /* the reply of a service without an LLM */
	WORDS_CUT,        /* the first of them and nothing that says more */
	WORDS_SILENT_END, /* the first of them and statistics, as if that were all */
	WORDS_WRONG,      /* anything else */
	WORDS_VERDICTS
};

const char *words_verdict_text(enum words_verdict v);

/* text: the answer without its statistics, which were there or not. word: with a # for the
 * word's number, from 0 to count - 1. */
enum words_verdict words_judge(const char *text, bool statistics, const char *word, long count);

#endif
