/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/answer.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/stream/filter.h"
#include "core/tools/tool.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_MAX  (16u << 20) /* of one ask's text for the history; the client's stream has no limit */
#define TOOLS_MAX 16
#define COUNT_MAX (INT64_C(1) << 40) /* no server has written more tokens than that */

struct answer {
	const struct answer_handlers *handlers;
	void *arg;
	struct filter *filter;            /* for content */
	struct filter *thoughts;          /* for reasoning in a field of its own, which may hold tags as well */
	const char *tools[TOOLS_MAX + 1]; /* that may be called as text */
	struct emitter *emitter;
	struct buf text;
	int64_t began_ns, first_ns, last_ns; /* 0: not yet */
	int64_t tokens;                      /* of the asks that have ended */
	int64_t pieces;                      /* of the one that runs */
	size_t blanks;                       /* that are shown already, or not wanted, before its next word */
	bool thought;                        /* reasoning came with this text */
	bool broke_off; /* an ask before this one failed over its reasoning; nothing was shown since */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void on_text(void *arg, const char *bytes, size_t len)
{
	struct answer *a = arg;

	for (; a->blanks > 0 && len > 0 && is_blank(*bytes); a->blanks--, bytes++, len--)
		continue;
	if (len == 0)
		return;
	a->blanks = 0;
	a->broke_off = false;
	if (len <= KEPT_MAX - a->text.len)
		buf_add(&a->text, bytes, len);
	emitter_text(a->emitter, bytes, len);
}

static void on_reasoning(void *arg, const char *bytes, size_t len)
{
	struct answer *a = arg;

	if (a->broke_off && len > 0) {
		emitter_anew(a->emitter);
		a->broke_off = false;
	}
	a->thought = true;
	emitter_reasoning(a->emitter, bytes, len);
}

/* The model's <think> stood in its prompt: what it wrote so far was reasoning. It is shown,
 * which nothing undoes, but not kept, and the answer begins a paragraph. Behind reasoning
 * that was told apart the tag is only a word about tags. */
static void on_unopened(void *arg)
{
	struct answer *a = arg;

	if (!a->thought && a->text.len > 0) {
		buf_reset(&a->text);
		emitter_paragraph(a->emitter);
		a->blanks = SIZE_MAX;
	}
	a->thought = true;
}

static void take_content(struct answer *a)
{
	struct filter_piece p;

	while (filter_next(a->filter, &p)) {
		switch (p.kind) {
		case PIECE_TEXT:
			on_text(a, p.bytes, p.len);
			break;
		case PIECE_REASONING:
			on_reasoning(a, p.bytes, p.len);
			break;
		case PIECE_UNOPENED:
			on_unopened(a);
			break;
		case PIECE_CALL:
			a->handlers->call(a->arg, p.name, p.arguments);
			break;
		case PIECE_END:
			break;
		}
	}
}

static void take_reasoning(struct answer *a)
{
	struct filter_piece p;

	while (filter_next(a->thoughts, &p))
		if (p.kind != PIECE_UNOPENED)
			on_reasoning(a, p.bytes, p.len);
}

static void end_reasoning(struct answer *a)
{
	filter_end(a->thoughts);
	take_reasoning(a);
}

static void reset_filters(struct answer *a)
{
	size_t n = 0;

	for (const struct tool *const *t = tool_table; *t != NULL && n < TOOLS_MAX; t++)
		if (a->handlers->is_tool(a->arg, (*t)->name, strlen((*t)->name)))
			a->tools[n++] = (*t)->name;
	a->tools[n] = NULL;
	filter_begin(a->filter, a->tools);
	filter_begin(a->thoughts, NULL);
}

struct answer *answer_new(const struct answer_handlers *handlers, void *arg)
{
	struct answer *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->handlers = handlers;
	a->arg = arg;
	a->began_ns = clock_mono_ns();
	buf_init(&a->text, KEPT_MAX);
	a->filter = filter_new();
	a->thoughts = filter_new();
	a->emitter = emitter_new(handlers->write, arg);
	if (a->filter == NULL || a->thoughts == NULL || a->emitter == NULL) {
		answer_free(a);
		return NULL;
	}
	return a;
}

void answer_free(struct answer *a)
{
	if (a == NULL)
		return;
	filter_free(a->filter);
	filter_free(a->thoughts);
	emitter_free(a->emitter);
	buf_free(&a->text);
	free(a);
}

void answer_begin(struct answer *a)
{
	reset_filters(a);
	buf_reset(&a->text);
	a->pieces = 0;
	a->blanks = 0;
	a->thought = false;
}

void answer_go_on(struct answer *a)
{
	size_t len;

	answer_started(a, &len);
	a->blanks = a->text.len - len;
	a->pieces = 0;
	reset_filters(a);
}

static void note_piece(struct answer *a)
{
	a->last_ns = clock_mono_ns();
	if (a->first_ns == 0)
		a->first_ns = a->last_ns;
	a->pieces++;
}

void answer_content(struct answer *a, const char *bytes, size_t len)
{
	note_piece(a);
	end_reasoning(a);
	filter_feed(a->filter, bytes, len);
	take_content(a);
}

void answer_reasoning(struct answer *a, const char *bytes, size_t len)
{
	note_piece(a);
	filter_feed(a->thoughts, bytes, len);
	take_reasoning(a);
}

void answer_end_ask(struct answer *a, int64_t counted, bool whole)
{
	end_reasoning(a);
	if (whole)
		filter_end(a->filter);
	else
		filter_break(a->filter);
	take_content(a);
	a->broke_off = !whole && (a->broke_off || (a->thought && a->text.len == 0));
	a->tokens += counted >= 0 && counted <= COUNT_MAX ? counted : a->pieces;
	a->pieces = 0;
}

const char *answer_text(const struct answer *a, size_t *len)
{
	*len = a->text.len;
	return a->text.len == 0 ? "" : a->text.data;
}

const char *answer_started(const struct answer *a, size_t *len)
{
	const char *text = answer_text(a, len);

	while (*len > 0 && is_blank(text[*len - 1]))
		--*len;
	return text;
}

bool answer_is_shown(const struct answer *a)
{
	return a->text.len > 0;
}

struct emitter *answer_emitter(struct answer *a)
{
	return a->emitter;
}

void answer_figures(const struct answer *a, struct answer_figures *out)
{
	out->tokens = a->tokens + a->pieces;
	out->ttft_ns = a->first_ns == 0 ? -1 : a->first_ns - a->began_ns;
	out->tpot_ns = out->tokens > 1 && a->first_ns != 0 ? (a->last_ns - a->first_ns) / (out->tokens - 1) : -1;
	out->total_ns = clock_mono_ns() - a->began_ns;
}

void answer_close(struct answer *a)
{
	emitter_close(a->emitter);
}

void answer_finish(struct answer *a)
{
	struct answer_figures f;

	answer_figures(a, &f);
	emitter_end(a->emitter,
	            &(struct emitter_stats){
			    .tokens = f.tokens, .ttft_ns = f.ttft_ns, .tpot_ns = f.tpot_ns, .total_ns = f.total_ns});
}
