/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/wrappers.h"

#include <pthread.h>

#define TOKEN  WRAPPER_TOKEN
#define ALWAYS WRAPPER_ALWAYS
#define START  WRAPPER_START
#define HEAD   WRAPPER_HEAD
#define WORDS  WRAPPER_WORDS
#define WRAPPER(kind, flags, opening, closing)                                                                         \
	{WRAPPER_##kind, (flags), (opening), (closing), sizeof(opening) - 1, sizeof(closing) - 1},

const struct wrapper wrappers[] = {
#include "core/stream/wrappers.def"
};
#define COUNT (sizeof wrappers / sizeof wrappers[0])
const size_t wrappers_count = COUNT;

const struct wrapper wrapper_token = {.kind = WRAPPER_DROP, .flags = TOKEN, .opening = "", .closing = ""};
const struct wrapper wrapper_json = {.kind = WRAPPER_JSON, .opening = "", .closing = ""};
const struct wrapper wrapper_fence = {.kind = WRAPPER_FENCE, .opening = "```", .closing = "```"};

/* ---- look-up ---- */

#define BUCKETS 256

/* Filled once; each text is in two lists: of its first byte, and of its first two. */
static struct {
	struct wrapper_text by_one[2 * COUNT], by_two[2 * COUNT];
	const struct wrapper_text *one[BUCKETS], *two[BUCKETS];
} lists;

static size_t bucket(const char *text)
{
	return ((unsigned char)text[0] * 7u + (unsigned char)text[1]) % BUCKETS;
}

static void add(struct wrapper_text *t, const struct wrapper_text **list, const struct wrapper *w, bool opening)
{
	*t = (struct wrapper_text){opening ? w->opening : w->closing, w, opening, *list};
	*list = t;
}

static void fill(void)
{
	for (size_t i = 0; i < 2 * COUNT; i++) {
		const struct wrapper *w = &wrappers[i / 2];
		const bool opening = i % 2 == 0;
		const char *text = opening ? w->opening : w->closing;

		if (*text == '\0')
			continue;
		add(&lists.by_one[i], &lists.one[(unsigned char)*text], w, opening);
		add(&lists.by_two[i], &lists.two[bucket(text)], w, opening);
	}
}

void wrappers_prepare(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, fill);
}

const struct wrapper_text *wrapper_texts(const char *at, size_t len)
{
	if (len == 0)
		return NULL;
	return len == 1 ? lists.one[(unsigned char)*at] : lists.two[bucket(at)];
}
