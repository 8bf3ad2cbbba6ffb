/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/top/view.h"

#include "core/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

/* Columns of a row besides the model's name, its id and its history. */
#define FIXED_WIDTH   47
#define NAME_MIN      8
#define ID_FROM_WIDTH 120 /* a page that is so wide shows deploy_ids */
#define ID_WIDTH      16
#define HEAD_LINES    6 /* above the models */

/* --- writing a line ------------------------------------------------------------------------------ */

struct pen {
	struct top_line *line;
	int left; /* columns */
};

static struct pen pen_on(struct top_line *line, int width)
{
	line->len = line->span_count = 0;
	line->text[0] = '\0';
	line->inverse = false;
	return (struct pen){.line = line, .left = width < TOP_WIDTH_MAX ? width : TOP_WIDTH_MAX};
}

/* The bytes of the next character and its columns; what is left of text is not empty. */
static size_t next_char(const char *text, int *columns)
{
	mbstate_t state = {0};
	wchar_t wide;
	size_t len = mbrtowc(&wide, text, strlen(text), &state);

	if (len == 0 || len >= (size_t)-2) {
		*columns = 1;
		return 1;
	}
	*columns = wcwidth(wide);
	if (*columns < 0)
		*columns = 1;
	return len;
}

/* At most width columns of text, then spaces (before it: to_right) up to that width. width < 0: as wide as it is. */
static void put_cell(struct pen *p, enum colour colour, int width, bool to_right, const char *text)
{
	struct top_line *line = p->line;
	char safe[4 * TOP_WIDTH_MAX + 1];
	int used = 0, columns, limit = width >= 0 && width < p->left ? width : p->left;
	size_t len = 0, begin = line->len;

	snprintf(safe, sizeof safe, "%.*s", (int)utf8_cut(text, sizeof safe - 1), text);
	utf8_disarm(safe);
	while (safe[len] != '\0') {
		size_t bytes = next_char(safe + len, &columns);

		if (used + columns > limit)
			break;
		used += columns;
		len += bytes;
	}
	if (safe[len] != '\0' && width > 1 && len > 0) { /* cut: the last character says so */
		while (len > 0 && ((unsigned char)safe[len - 1] & 0xC0) == 0x80)
			len--;
		next_char(safe + len - (len > 0), &columns);
		len -= len > 0;
		used -= columns;
		safe[len++] = '~';
		used++;
	}
	for (int i = used; to_right && i < limit; i++)
		line->text[line->len++] = ' ';
	memcpy(line->text + line->len, safe, len);
	line->len += len;
	for (int i = used; !to_right && width >= 0 && i < limit; i++)
		line->text[line->len++] = ' ';
	line->text[line->len] = '\0';
	p->left -= width >= 0 ? limit : used;
	if (colour != COLOUR_NONE && line->len > begin && line->span_count < TOP_SPANS_MAX)
		line->spans[line->span_count++] =
			(struct top_span){.at = begin, .len = line->len - begin, .colour = colour};
}

static void put(struct pen *p, enum colour colour, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put(struct pen *p, enum colour colour, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	put_cell(p, colour, -1, false, text);
}

/* --- order ------------------------------------------------------------------------------------------ */

static int compare_numbers(double a, double b)
{
	return a < b ? -1 : a > b;
}

static int by_rank(const struct top_model *a, const struct top_model *b)
{
	return compare_numbers((double)a->rank, (double)b->rank);
}

static int by_name(const struct top_model *a, const struct top_model *b)
{
	return strverscmp(a->name, b->name);
}

/* The worst, the busiest, the slowest come first. */
static int by_health(const struct top_model *a, const struct top_model *b)
{
	return b->history[TOP_HISTORY - 1] - a->history[TOP_HISTORY - 1];
}

static int by_running(const struct top_model *a, const struct top_model *b)
{
	return compare_numbers((double)b->running, (double)a->running);
}

static int by_tokens(const struct top_model *a, const struct top_model *b)
{
	return compare_numbers(b->tokens_per_s, a->tokens_per_s);
}

static int by_ttft(const struct top_model *a, const struct top_model *b)
{
	return compare_numbers(b->ttft_p99_ms, a->ttft_p99_ms);
}

static int by_errors(const struct top_model *a, const struct top_model *b)
{
	return compare_numbers((double)b->errors, (double)a->errors);
}

static const struct {
	char key;
	const char *name;
	int (*compare)(const struct top_model *a, const struct top_model *b);
} sorts[TOP_SORTS] = {
	[TOP_BY_RANK] = {'O', "order", by_rank},        [TOP_BY_NAME] = {'M', "model", by_name},
	[TOP_BY_HEALTH] = {'H', "health", by_health},   [TOP_BY_RUNNING] = {'R', "running", by_running},
	[TOP_BY_TOKENS] = {'T', "tokens/s", by_tokens}, [TOP_BY_TTFT] = {'F', "first token", by_ttft},
	[TOP_BY_ERRORS] = {'E', "errors", by_errors},
};

char top_sort_key(enum top_sort s)
{
	return sorts[s].key;
}

const char *top_sort_name(enum top_sort s)
{
	return sorts[s].name;
}

static int compare(const void *a, const void *b, void *arg)
{
	const struct top_layout *layout = arg;
	int order = sorts[layout->sort].compare(a, b);

	if (order == 0)
		return by_rank(a, b);
	return layout->reversed ? -order : order;
}

/* --- numbers and times ------------------------------------------------------------------------------- */

static const char *rate_text(double rate, char out[16])
{
	if (rate < 0)
		return "-";
	snprintf(out, 16, rate < 99.95 ? "%.1f" : "%.0f", rate);
	return out;
}

/* "120/480ms", "1.2/4.8s" */
static const char *ttft_text(const struct top_model *m, char out[32])
{
	if (m->ttft_p50_ms < 0)
		return "-";
	if (m->ttft_p99_ms < 999.5)
		snprintf(out, 32, "%.0f/%.0fms", m->ttft_p50_ms, m->ttft_p99_ms);
	else
		snprintf(out, 32, "%.1f/%.1fs", m->ttft_p50_ms / 1000, m->ttft_p99_ms / 1000);
	return out;
}

static void clock_text(int64_t ms, char out[16])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(out, 16, "%H:%M:%S", &tm);
}

/* --- the head ------------------------------------------------------------------------------------------ */

static void show_title(const struct top_state *s, struct pen *p)
{
	const struct top_model *current = NULL;
	char now[16], since[64];

	for (size_t i = 0; i < s->count; i++)
		if (s->models[i].current)
			current = &s->models[i];
	clock_text(s->now_ms, now);
	put(p, COLOUR_BOLD, "tt-agent %s  ", now);
	if (!s->published) {
		put(p, COLOUR_YELLOW, "tt-agentd has not published anything yet");
		return;
	}
	if (s->stale) {
		text_duration((double)(s->now_ms - s->stale_since_ms) / 1000, since, sizeof since);
		put(p, COLOUR_RED, "STALE for %s: %s  ", since, s->problem);
	}
	if (current != NULL)
		put(p, s->stale ? COLOUR_NONE : COLOUR_GREEN, "ready: %s", current->name);
	else
		put(p, COLOUR_YELLOW, "no model can be used");
}

static void show_turns(const struct top_state *s, struct pen *p)
{
	const int64_t *n = s->sums;

	put(p, COLOUR_NONE, "turns   ");
	put(p, COLOUR_BOLD, "%lld running", (long long)n[COUNTER_ACTIVE_TURNS]);
	put(p, COLOUR_NONE, ", %lld begun, %lld complete, ", (long long)n[COUNTER_TURNS],
	    (long long)n[COUNTER_TURNS_COMPLETE]);
	put(p, n[COUNTER_TURNS_BROKEN] > 0 ? COLOUR_RED : COLOUR_NONE, "%lld broken",
	    (long long)n[COUNTER_TURNS_BROKEN]);
	put(p, COLOUR_NONE, ", %lld cancelled, %lld refused", (long long)n[COUNTER_TURNS_CANCELLED],
	    (long long)n[COUNTER_TURNS_REFUSED]);
}

static void show_traffic(const struct top_state *s, struct pen *p)
{
	char rate[16];

	put(p, COLOUR_NONE, "traffic ");
	put(p, COLOUR_BOLD, "%s tokens/s", rate_text(s->tokens_per_s, rate));
	put(p, COLOUR_NONE, ", %lld waiting, %lld failovers, %lld continued, %lld connections",
	    (long long)(s->sums[COUNTER_TURNS_QUEUED] + s->sums[COUNTER_TURNS_FOR_PLACE]),
	    (long long)s->sums[COUNTER_FAILOVERS], (long long)s->sums[COUNTER_ANSWERS_CONTINUED],
	    (long long)s->sums[COUNTER_CONNECTIONS]);
}

static void show_health(const struct top_state *s, struct pen *p)
{
	size_t count[LLM_UNHEALTHY + 1] = {0}, ejected = 0;

	for (size_t i = 0; i < s->count; i++) {
		count[s->models[i].health]++;
		ejected += s->models[i].ejected;
	}
	put(p, COLOUR_NONE, "models  %zu: ", s->count);
	put(p, COLOUR_GREEN, "%zu healthy", count[LLM_HEALTHY]);
	put(p, COLOUR_NONE, ", ");
	put(p, count[LLM_DEGRADED] > 0 ? COLOUR_YELLOW : COLOUR_NONE, "%zu degraded", count[LLM_DEGRADED]);
	put(p, COLOUR_NONE, ", ");
	put(p, count[LLM_UNHEALTHY] > 0 ? COLOUR_RED : COLOUR_NONE, "%zu unhealthy", count[LLM_UNHEALTHY]);
	put(p, COLOUR_NONE, ", %zu unknown, ", count[LLM_UNKNOWN]);
	put(p, ejected > 0 ? COLOUR_RED : COLOUR_NONE, "%zu ejected", ejected);
}

/* --- models --------------------------------------------------------------------------------------------- */

static const struct {
	const char *picture, *letter, *meaning;
	enum colour colour;
} marks[TOP_MARKS] = {
	[TOP_NONE] = {" ", " ", "not known", COLOUR_NONE},
	[TOP_UP] = {"▇", "H", "healthy", COLOUR_GREEN},
	[TOP_UNKNOWN] = {"·", "?", "not probed yet", COLOUR_DIM},
	[TOP_DEGRADED] = {"▅", "D", "degraded", COLOUR_YELLOW},
	[TOP_EJECTED] = {"▂", "E", "ejected", COLOUR_RED},
	[TOP_DOWN] = {"▁", "U", "unhealthy", COLOUR_RED},
};

struct widths {
	int name, id, history;
};

/* A narrow page has less history, and then none. */
static struct widths widths_of(int width)
{
	struct widths w = {.id = width >= ID_FROM_WIDTH ? ID_WIDTH + 1 : 0};
	int rest = width - FIXED_WIDTH - w.id;

	w.history = rest * 2 / 5 < TOP_HISTORY ? rest * 2 / 5 : TOP_HISTORY;
	if (w.history < 0 || rest - w.history - 1 < NAME_MIN)
		w.history = 0;
	w.name = rest - w.history - (w.history > 0);
	if (w.name < NAME_MIN)
		w.name = NAME_MIN;
	return w;
}

static void show_heading(struct pen *p, const struct widths *w)
{
	p->line->inverse = true;
	put_cell(p, COLOUR_NONE, w->name + 2, false, "  MODEL");
	if (w->id > 0)
		put_cell(p, COLOUR_NONE, w->id, false, " ID");
	put_cell(p, COLOUR_NONE, 11, false, " HEALTH");
	put_cell(p, COLOUR_NONE, 5, true, "RUN");
	put_cell(p, COLOUR_NONE, 8, true, "TOK/S");
	put_cell(p, COLOUR_NONE, 14, true, "TTFT 50/99%");
	put_cell(p, COLOUR_NONE, 7, true, "ERRORS");
	if (w->history > 0)
		put_cell(p, COLOUR_NONE, w->history + 1, false, " HISTORY");
	if (p->left > 0)
		put_cell(p, COLOUR_NONE, p->left, false, "");
}

static const char *health_text(const struct top_model *m)
{
	return m->ejected ? "ejected" : llm_health_text(m->health);
}

static void show_marks(const struct top_model *m, struct pen *p, int count, bool ascii)
{
	for (int i = TOP_HISTORY - count; i < TOP_HISTORY; i++)
		put(p, marks[m->history[i]].colour, "%s",
		    ascii ? marks[m->history[i]].letter : marks[m->history[i]].picture);
}

static void show_model(const struct top_model *m, const struct top_layout *layout, struct pen *p,
                       const struct widths *w)
{
	enum top_mark now = (enum top_mark)m->history[TOP_HISTORY - 1];
	char rate[16], ttft[32], number[24];

	put_cell(p, COLOUR_BOLD, 2, false, m->current ? "* " : "  ");
	put_cell(p, m->current ? COLOUR_BOLD : COLOUR_NONE, w->name, false, m->name);
	if (w->id > 0) {
		put_cell(p, COLOUR_NONE, 1, false, "");
		put_cell(p, COLOUR_DIM, w->id - 1, false, m->deploy_id != NULL ? m->deploy_id : "-");
	}
	put_cell(p, COLOUR_NONE, 1, false, "");
	put_cell(p, marks[now].colour, 10, false, health_text(m));
	snprintf(number, sizeof number, "%lld", (long long)m->running);
	put_cell(p, m->running > 0 ? COLOUR_BOLD : COLOUR_NONE, 5, true, number);
	put_cell(p, COLOUR_NONE, 8, true, rate_text(m->tokens_per_s, rate));
	put_cell(p, COLOUR_NONE, 14, true, ttft_text(m, ttft));
	snprintf(number, sizeof number, "%lld", (long long)m->errors);
	put_cell(p, m->errors > 0 ? COLOUR_YELLOW : COLOUR_NONE, 7, true, number);
	if (w->history > 0) {
		put_cell(p, COLOUR_NONE, 1, false, "");
		show_marks(m, p, w->history, layout->ascii);
	}
}

/* --- events ------------------------------------------------------------------------------------------------ */

static enum colour event_colour(uint32_t kind)
{
	static const enum colour colours[EVENT_KINDS] = {
		[EVENT_MODEL_DOWN] = COLOUR_RED,        [EVENT_EJECTED] = COLOUR_RED,
		[EVENT_DISCOVERY_FAILING] = COLOUR_RED, [EVENT_BROKE_OFF] = COLOUR_RED,
		[EVENT_REFUSED] = COLOUR_RED,           [EVENT_WORKER_DIED] = COLOUR_RED,
		[EVENT_CONFIG_REFUSED] = COLOUR_RED,    [EVENT_MODEL_UP] = COLOUR_GREEN,
		[EVENT_RETURNED] = COLOUR_GREEN,        [EVENT_DISCOVERY_RECOVERED] = COLOUR_GREEN,
		[EVENT_MODEL_DEGRADED] = COLOUR_YELLOW, [EVENT_FAILOVER] = COLOUR_YELLOW,
		[EVENT_CONTINUED] = COLOUR_YELLOW,
	};

	return colours[kind];
}

static void show_event(const struct event_record *r, struct pen *p)
{
	char at[16], text[600];

	clock_text(r->at_ms, at);
	text_event(text, sizeof text, r->model, r->was, r->count, r->reason);
	put(p, COLOUR_DIM, "%s ", at);
	put(p, event_colour(r->kind), "%s", event_kind_name((enum event_kind)r->kind));
	put(p, COLOUR_NONE, "%s", text);
}

/* --- the page ------------------------------------------------------------------------------------------------ */

/* How many events a page of that height shows. */
static int events_on(const struct top_state *s, int height)
{
	int room = height >= 40 ? 10 : height >= 20 ? 5 : height >= 14 ? 2 : 0;

	return room < (int)s->event_count ? room : (int)s->event_count;
}

/* What is not for models: the head, the events with their heading, and the last line. */
static int other_lines(const struct top_state *s, int height)
{
	int events = events_on(s, height);

	return HEAD_LINES + (events > 0 ? events + 1 : 0) + 1;
}

int top_view_rows(const struct top_state *s, const struct top_layout *layout)
{
	int rows = layout->height - other_lines(s, layout->height);

	return rows > 0 ? rows : 0;
}

int top_view_whole(const struct top_state *s)
{
	int rows = s->count > 0 ? (int)s->count : 1, height = 20;

	while (height - other_lines(s, height) < rows)
		height += rows - (height - other_lines(s, height));
	return other_lines(s, height) + rows;
}

static void show_last(const struct top_state *s, const struct top_layout *layout, struct pen *p, int rows)
{
	put(p, COLOUR_DIM, "q quit  h help  by %s%s", sorts[layout->sort].name, layout->reversed ? " (reversed)" : "");
	if (s->count > 0 && rows > 0 && (int)s->count > rows)
		put(p, COLOUR_DIM, "  %zu-%zu of %zu", layout->first + 1,
		    layout->first + (size_t)rows < s->count ? layout->first + (size_t)rows : s->count, s->count);
}

static void show_help(const struct top_layout *layout, struct top_line *lines, int rows)
{
	static const char *const keys[] = {
		"q quits",
		"h ? shows this, or the models again",
		"arrows, PgUp, PgDn, Home, End, j, k scroll",
		"s sorts by the next of these, r reverses the order, space refreshes now",
		"Models of one name share their figures. The history has a mark for each 15 s.",
	};
	const int texts = sizeof keys / sizeof keys[0];

	for (int n = 0; n < rows && n < texts + 2; n++) {
		struct pen p = pen_on(&lines[n], layout->width);

		put(&p, COLOUR_NONE, "  ");
		for (unsigned i = 0; n == texts && i < TOP_SORTS; i++) {
			put(&p, COLOUR_BOLD, "%c", sorts[i].key);
			put(&p, COLOUR_NONE, " %s  ", sorts[i].name);
		}
		for (unsigned i = TOP_UP; n == texts + 1 && i < TOP_MARKS; i++) {
			put(&p, marks[i].colour, "%s", layout->ascii ? marks[i].letter : marks[i].picture);
			put(&p, COLOUR_NONE, " %s  ", marks[i].meaning);
		}
		if (n < texts)
			put(&p, COLOUR_NONE, "%s", keys[n]);
	}
}

static void show_models(const struct top_state *s, struct top_layout *layout, struct top_line *lines, int rows)
{
	const struct widths w = widths_of(layout->width);
	int n = 0;

	if (layout->first + (size_t)rows > s->count)
		layout->first = s->count > (size_t)rows ? s->count - (size_t)rows : 0;
	for (; n < rows && layout->first + (size_t)n < s->count; n++) {
		struct pen p = pen_on(&lines[n], layout->width);

		show_model(&s->models[layout->first + (size_t)n], layout, &p, &w);
	}
}

void top_view(struct top_state *s, struct top_layout *layout, struct top_line *lines)
{
	static void (*const head[])(const struct top_state *s, struct pen *p) = {show_title, show_turns, show_traffic,
	                                                                         show_health};
	const struct widths w = widths_of(layout->width);
	int rows = top_view_rows(s, layout), events = events_on(s, layout->height), n = 0;
	struct pen p;

	if (s->count > 0)
		qsort_r(s->models, s->count, sizeof *s->models, compare, layout);
	for (int i = 0; i < layout->height; i++)
		pen_on(&lines[i], layout->width);
	for (; n < 4 && n < layout->height; n++) {
		p = pen_on(&lines[n], layout->width);
		head[n](s, &p);
	}
	n++; /* an empty one */
	if (n < layout->height) {
		p = pen_on(&lines[n++], layout->width);
		show_heading(&p, &w);
	}
	if (!s->published && rows > 0) {
		p = pen_on(&lines[n], layout->width);
		put(&p, COLOUR_NONE, "  %s", s->problem);
	} else if (layout->help)
		show_help(layout, lines + n, rows);
	else
		show_models(s, layout, lines + n, rows);
	n += rows;
	if (events > 0) {
		p = pen_on(&lines[n++], layout->width);
		put_cell(&p, COLOUR_NONE, layout->width, false, "  EVENTS");
		p.line->inverse = true;
	}
	for (int i = 0; i < events; i++) {
		p = pen_on(&lines[n++], layout->width);
		show_event(&s->events[s->event_count - (size_t)(events - i)], &p);
	}
	if (layout->height > HEAD_LINES) {
		p = pen_on(&lines[layout->height - 1], layout->width);
		show_last(s, layout, &p, rows);
	}
}
