/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/mock/words.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const words_texts[WORDS_VERDICTS] = {
	[WORDS_WHOLE] = "whole",     [WORDS_REPORTED] = "reported", [WORDS_UNANSWERED] = "unanswered",
	[WORDS_WAITING] = "waiting", [WORDS_CUT] = "cut",           [WORDS_SILENT_END] = "silent_end",
	[WORDS_WRONG] = "wrong",
};

const char *words_verdict_text(enum words_verdict v)
{
	return words_texts[v];
}

/* "One sentence." or several, on one line. */
static bool words_sentence(const char *text)
{
	size_t len = strlen(text);

	return len > 20 && isupper((unsigned char)text[0]) && text[len - 1] == '.' && !strchr(text, '\n');
}

/* How many words text begins with; *text goes behind them. */
static long words_skip(const char **text, const char *word, long count)
{
	const char *mark = strchr(word, '#');
	char next[256];
	long n;

	for (n = 0; mark && n < count; n++) {
		int len = snprintf(next, sizeof next, "%.*s%ld%s", (int)(mark - word), word, n, mark + 1);

		if (strncmp(*text, next, (size_t)len) != 0)
			break;
		*text += len;
	}
	return n;
}

/* Whether text is the beginning of word n. */
static bool words_partial(const char *text, const char *word, long n)
{
	const char *mark = strchr(word, '#');
	char next[256];

	snprintf(next, sizeof next, "%.*s%ld%s", (int)(mark - word), word, n, mark + 1);
	return strncmp(text, next, strlen(text)) == 0;
}

enum words_verdict words_judge(const char *text, bool statistics, const char *word, long count)
{
	long n = words_skip(&text, word, count);

	if (n == count && *text == '\0')
		return statistics ? WORDS_WHOLE : WORDS_CUT;
	if (n == 0 && strncmp(text, "data: {\"status\": \"waiting\"", 25) == 0)
		return WORDS_WAITING;
	if (!statistics)
		return n < count && words_partial(text, word, n) ? WORDS_CUT : WORDS_WRONG;
	if (*text == '\0')
		return WORDS_SILENT_END;
	if (n == 0)
		return words_sentence(text) ? WORDS_UNANSWERED : WORDS_WRONG;
	while (*text == '\n')
		text++;
	return words_sentence(text) ? WORDS_REPORTED : WORDS_WRONG;
}
