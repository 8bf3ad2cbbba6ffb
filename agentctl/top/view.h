/* SPDX-License-Identifier: Apache-2.0 */
/* The page that `top` shows, as lines of text. Pure: nothing here knows a terminal. */
#ifndef TT_AGENTCTL_TOP_VIEW_H
#define TT_AGENTCTL_TOP_VIEW_H

#include "agentctl/text.h"
#include "agentctl/top/state.h"

#define TOP_WIDTH_MAX 400
#define TOP_SPANS_MAX (TOP_HISTORY + 16)

/* Safe to show on a terminal, and never wider than was asked for. */
struct top_line {
	char text[4 * TOP_WIDTH_MAX + 1];
	size_t len;
	bool inverse;
	struct top_span {
		size_t at, len; /* bytes */
		enum colour colour;
	} spans[TOP_SPANS_MAX];
	size_t span_count;
};

enum top_sort {
	TOP_BY_RANK,
	TOP_BY_NAME,
	TOP_BY_HEALTH,
	TOP_BY_RUNNING,
	TOP_BY_TOKENS,
	TOP_BY_TTFT,
	TOP_BY_ERRORS,
	TOP_SORTS
};

struct top_layout {
	int width, height; /* of the page */
	enum top_sort sort;
	bool reversed;
	bool ascii;   /* letters instead of pictures */
	bool help;    /* the keys instead of the models */
	size_t first; /* row that is shown first; corrected to what there is */
};

char top_sort_key(enum top_sort s);         /* the key that chooses it */
const char *top_sort_name(enum top_sort s); /* "running" */

/* How many rows of models fit. */
int top_view_rows(const struct top_state *s, const struct top_layout *layout);

/* The height at which all models and some events fit. */
int top_view_whole(const struct top_state *s);

/* Sorts s->models, and fills layout->height lines. */
void top_view(struct top_state *s, struct top_layout *layout, struct top_line *lines);

#endif
