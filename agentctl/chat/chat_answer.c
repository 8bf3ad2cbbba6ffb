/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/chat/chat_answer.h"

#include "core/base/utf8.h"

#include <string.h>

#define OPENS      "<think>"
#define CLOSES     "</think>"
#define STATISTICS "[STATS]{\""
#define WAITING    "data: {\"status\":"
#define HELD_MAX   (1u << 20)
#define TAIL_MAX   1000 /* of the statistics */

void chat_answer_begin(struct chat_answer *a, void (*piece)(void *arg, bool reasoning, const char *bytes, size_t len),
                       void *arg)
{
	*a = (struct chat_answer){.piece = piece, .arg = arg, .line_begins = true};
	buf_init(&a->held, HELD_MAX);
}

/* How many bytes at the end of text may be the beginning of mark. */
static size_t partial(const char *text, size_t len, const char *mark)
{
	size_t most = strlen(mark) - 1;

	for (size_t n = len < most ? len : most; n > 0; n--)
		if (memcmp(text + len - n, mark, n) == 0)
			return n;
	return 0;
}

/* How many bytes at the end are of a character that is not whole yet. */
static size_t partial_character(const char *text, size_t len)
{
	for (size_t n = 1; n <= 3 && n <= len; n++) {
		unsigned char c = (unsigned char)text[len - n];

		if (c >= 0xC0)
			return n < (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) ? n : 0;
		if (c < 0x80)
			return 0;
	}
	return 0;
}

static void give(struct chat_answer *a, size_t len)
{
	if (len == 0)
		return;
	a->begun = true;
	a->line_begins = a->held.data[len - 1] == '\n';
	a->piece(a->arg, a->reasoning, a->held.data, len);
	buf_consume(&a->held, len);
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Gives all that is no mark and not the beginning of one. */
static void give_rest(struct chat_answer *a, const char *mark, const char *other)
{
	size_t len = a->held.len, held = larger(partial(a->held.data, len, mark), partial(a->held.data, len, other));

	give(a, len - larger(held, partial_character(a->held.data, len)));
}

/* A mark was found: what is before it is given, and it is taken away. */
static void pass(struct chat_answer *a, const char *at, const char *mark, bool reasoning)
{
	give(a, (size_t)(at - a->held.data));
	buf_consume(&a->held, strlen(mark));
	a->reasoning = reasoning;
	a->line_begins = true;
}

/* Whether the mark, which a model may mention, stands where the service puts it: where a line or a piece begins. */
static bool is_at_beginning(const struct chat_answer *a, const char *at, const char *piece)
{
	return at == piece || (at == a->held.data ? a->line_begins : at[-1] == '\n');
}

/* piece: where the last piece begins in held. Returns whether there is more to do. */
static bool step(struct chat_answer *a, size_t piece)
{
	const char *text = a->held.data, *found;
	const char *statistics = memmem(text, a->held.len, STATISTICS, strlen(STATISTICS));

	if (a->reasoning) {
		found = memmem(text, a->held.len, CLOSES, strlen(CLOSES));
		if (found != NULL)
			pass(a, found, CLOSES, false);
		else
			give_rest(a, CLOSES, CLOSES);
		return found != NULL;
	}
	found = memmem(text, a->held.len, OPENS, strlen(OPENS));
	if (found != NULL && (statistics == NULL || found < statistics)) {
		if (is_at_beginning(a, found, text + piece))
			pass(a, found, OPENS, true);
		else
			give(a, (size_t)(found - text) + 1);
		return true;
	}
	if (statistics == NULL) {
		give_rest(a, OPENS, STATISTICS);
		return false;
	}
	/* The end of the answer, unless more follows than statistics have. */
	give(a, (size_t)(statistics - text));
	if (a->held.len <= TAIL_MAX)
		return false;
	give(a, 1);
	return true;
}

static bool may_be_waiting(const struct chat_answer *a)
{
	size_t len = a->held.len < strlen(WAITING) ? a->held.len : strlen(WAITING);

	return !a->begun && a->held.len <= TAIL_MAX && memcmp(a->held.data, WAITING, len) == 0;
}

int chat_answer_feed(struct chat_answer *a, const char *bytes, size_t len)
{
	size_t piece;

	if (len == 0)
		return 0;
	if (buf_add(&a->held, bytes, len) < 0)
		return -1;
	if (may_be_waiting(a))
		return 0;
	for (;;) {
		size_t had = a->held.len;

		piece = had >= len ? had - len : had; /* what was before is given first */
		if (!step(a, piece))
			break;
	}
	return 0;
}

/* The last mark in what is held that begins a whole object; NULL: there is none. */
static json_t *statistics_of(struct chat_answer *a)
{
	const char *text = a->held.data, *at = text;
	json_t *statistics = NULL;

	while (at != NULL && statistics == NULL && (at = strstr(at, STATISTICS)) != NULL) {
		statistics = json_loads(at + strlen("[STATS]"), 0, NULL);
		at += statistics == NULL;
	}
	if (statistics != NULL) {
		give(a, (size_t)(at - text));
		buf_reset(&a->held);
	}
	return statistics;
}

json_t *chat_answer_end(struct chat_answer *a, json_t **waiting)
{
	const char *text = a->held.data;
	json_t *statistics = NULL;

	*waiting = NULL;
	if (!a->begun && text != NULL && strncmp(text, WAITING, strlen(WAITING)) == 0) {
		*waiting = json_loads(text + strlen("data: "), JSON_DISABLE_EOF_CHECK, NULL);
		buf_reset(&a->held);
	} else if (!a->reasoning && text != NULL) {
		statistics = statistics_of(a);
	}
	give(a, a->held.len);
	buf_free(&a->held);
	return statistics;
}
