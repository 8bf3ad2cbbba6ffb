/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/emitter.h"

#include "core/base/buf.h"
#include "core/protocol/emitter_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Queries that are remembered as shown; those beyond are shown each time. */
#define QUERIES_MAX 64
/* Blanks that wait for the next word; more are written as they come. */
#define BLANKS_MAX 4096

struct emitter {
	emitter_write_fn *write;
	void *arg;
	bool panel;      /* <think> is open */
	bool line_begun; /* the panel's last byte ends no line */
	bool searching;  /* [searching] was shown */
	bool has_text;
	size_t newlines;   /* at the end of the answer so far, up to 2 */
	struct buf blanks; /* see write_words */
	size_t query_count;
	char *queries[QUERIES_MAX];
};

struct emitter *emitter_new(emitter_write_fn *write, void *arg)
{
	struct emitter *m = calloc(1, sizeof *m);

	if (m != NULL) {
		m->write = write;
		m->arg = arg;
		buf_init(&m->blanks, BLANKS_MAX);
	}
	return m;
}

void emitter_free(struct emitter *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->query_count; i++)
		free(m->queries[i]);
	buf_free(&m->blanks);
	free(m);
}

static void write_blanks(struct emitter *m)
{
	if (m->blanks.len > 0)
		m->write(m->arg, m->blanks.data, m->blanks.len, false);
	buf_reset(&m->blanks);
}

static bool is_blank(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr(" \t\r\n", bytes[i]) == NULL || bytes[i] == '\0')
			return false;
	return true;
}

/* TT-Studio's reader drops a chunk that holds nothing but blanks, and with it the line
 * breaks of an answer: they wait for the next word and come in one piece with it. */
static void write_words(struct emitter *m, const char *bytes, size_t len)
{
	if (is_blank(bytes, len) && buf_add(&m->blanks, bytes, len) == 0)
		return;
	if (m->blanks.len == 0 || len > BLANKS_MAX - m->blanks.len || buf_add(&m->blanks, bytes, len) < 0) {
		write_blanks(m);
		m->write(m->arg, bytes, len, false);
		return;
	}
	write_blanks(m);
}

static void put(struct emitter *m, const char *text)
{
	write_blanks(m);
	m->write(m->arg, text, strlen(text), false);
}

static void open_panel(struct emitter *m)
{
	if (m->panel)
		return;
	m->panel = true;
	m->line_begun = false;
	put(m, "<think>");
}

static void close_panel(struct emitter *m)
{
	if (!m->panel)
		return;
	m->panel = false;
	write_blanks(m);
	m->write(m->arg, "</think>", 8, true);
}

/* A line of the panel, never glued to reasoning before it. */
static void put_line(struct emitter *m, const char *line)
{
	open_panel(m);
	if (m->line_begun)
		put(m, "\n");
	m->line_begun = false;
	put(m, line);
}

void emitter_text(struct emitter *m, const char *bytes, size_t len)
{
	size_t newlines = 0;

	if (len == 0)
		return;
	close_panel(m);
	while (newlines < 2 && newlines < len && bytes[len - 1 - newlines] == '\n')
		newlines++;
	if (newlines == len)
		newlines += m->newlines;
	m->newlines = newlines < 2 ? newlines : 2;
	m->has_text = true;
	write_words(m, bytes, len);
}

void emitter_reasoning(struct emitter *m, const char *bytes, size_t len)
{
	if (len == 0)
		return;
	open_panel(m);
	m->line_begun = bytes[len - 1] != '\n';
	write_words(m, bytes, len);
}

/* Whether the query was shown before; remembers it. */
static bool shown_before(struct emitter *m, const char *line)
{
	for (size_t i = 0; i < m->query_count; i++)
		if (strcmp(m->queries[i], line) == 0)
			return true;
	if (m->query_count < QUERIES_MAX && (m->queries[m->query_count] = strdup(line)) != NULL)
		m->query_count++;
	return false;
}

void emitter_search(struct emitter *m, const char *query)
{
	struct buf line = BUF_INIT(EMITTER_LINE_MAX);

	if (!m->searching)
		put_line(m, "[searching]\n");
	m->searching = true;
	if (emitter_line_query(&line, query) == 0 && !shown_before(m, line.data))
		put_line(m, line.data);
	buf_free(&line);
}

void emitter_running_code(struct emitter *m)
{
	put_line(m, "Running code\n");
}

bool emitter_source(struct emitter *m, const char *title, const char *url)
{
	struct buf line = BUF_INIT(EMITTER_LINE_MAX);
	bool good = emitter_line_source(&line, title, url) == 0;

	if (good)
		put_line(m, line.data);
	buf_free(&line);
	return good;
}

void emitter_tool_done(struct emitter *m)
{
	put_line(m, "Done.\n");
}

void emitter_anew(struct emitter *m)
{
	put_line(m, "[interrupted, starting anew]\n");
}

void emitter_keep_alive(struct emitter *m)
{
	if (m->panel)
		m->write(m->arg, "\n", 1, true);
}

void emitter_paragraph(struct emitter *m)
{
	if (m->has_text && m->newlines < 2)
		emitter_text(m, "\n\n", m->newlines == 1 ? 1 : 2);
}

void emitter_sentence(struct emitter *m, const char *sentence)
{
	emitter_paragraph(m);
	emitter_text(m, sentence, strlen(sentence));
}

bool emitter_has_text(const struct emitter *m)
{
	return m->has_text;
}

/* Seconds with six decimals, whatever the locale; "null" below 0. */
static void seconds(char out[32], int64_t ns)
{
	int64_t us = ns / 1000;

	if (ns < 0)
		snprintf(out, 32, "null");
	else
		snprintf(out, 32, "%" PRId64 ".%06" PRId64, us / 1000000, us % 1000000);
}

void emitter_close(struct emitter *m)
{
	close_panel(m);
	write_blanks(m);
	m->write(m->arg, "", 0, true);
}

void emitter_end(struct emitter *m, const struct emitter_stats *s)
{
	char ttft[32], tpot[32], total[32], line[192];
	int len;

	close_panel(m);
	write_blanks(m);
	seconds(ttft, s->ttft_ns);
	seconds(tpot, s->tpot_ns);
	seconds(total, s->total_ns < 0 ? 0 : s->total_ns);
	len = snprintf(line, sizeof line,
	               "[STATS]{\"tokens_decoded\": %" PRId64 ", \"ttft\": %s, \"tpot\": %s, \"total_time\": %s}",
	               s->tokens, ttft, tpot, total);
	m->write(m->arg, line, (size_t)len, true);
}
