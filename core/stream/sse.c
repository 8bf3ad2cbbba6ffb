/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/sse.h"

#include <string.h>

/* Where the next line ends lie in the bytes at hand. Remembered between lines, so
 * that a stream of CRs alone is not searched for LFs again and again. */
struct ends {
	const char *end;
	const char *lf; /* the next LF, end where there is none; NULL: not looked for */
	const char *cr;
};

void sse_init(struct sse *s)
{
	memset(s, 0, sizeof *s);
	buf_init(&s->line, SSE_LINE_MAX);
	buf_init(&s->data, SSE_LINE_MAX);
}

void sse_free(struct sse *s)
{
	buf_free(&s->line);
	buf_free(&s->data);
}

static const char *find(const char *p, const char *end, int byte)
{
	const char *found = memchr(p, byte, (size_t)(end - p));

	return found != NULL ? found : end;
}

/* The end of the line that begins at p; e->end where it is not there yet. */
static const char *line_end(struct ends *e, const char *p)
{
	if (e->lf == NULL || e->lf < p)
		e->lf = find(p, e->end, '\n');
	if (e->cr == NULL || e->cr < p)
		/* Up to the LF is enough, as that ends the line in any case. */
		e->cr = find(p, e->lf, '\r');
	return e->cr < e->lf ? e->cr : e->lf;
}

/* The value of a data line, or NULL where it is any other line. */
static const char *data_value(const char *line, const char *end)
{
	if (end - line < 4 || memcmp(line, "data", 4) != 0)
		return NULL;
	line += 4;
	if (line == end)
		return line;
	if (*line++ != ':')
		return NULL;
	return line < end && *line == ' ' ? line + 1 : line;
}

static bool dispatch(struct sse *s, sse_event_fn *event, void *arg)
{
	bool more = true;

	if (s->has_data)
		more = event(arg, s->data.data != NULL ? s->data.data : "", s->data.len);
	s->has_data = false;
	buf_reset(&s->data);
	return more;
}

static int add(struct sse *s, struct buf *to, const char *bytes, size_t len)
{
	if (buf_add(to, bytes, len) == 0)
		return 0;
	s->no_memory |= len <= to->max - to->len;
	return -1;
}

static int add_data(struct sse *s, const char *value, const char *end)
{
	if (s->has_data && add(s, &s->data, "\n", 1) < 0)
		return -1;
	if (add(s, &s->data, value, (size_t)(end - value)) < 0)
		return -1;
	s->has_data = true;
	return 0;
}

static const char *after_bom(struct sse *s, const char *line, const char *end)
{
	if (s->bom_checked)
		return line;
	s->bom_checked = true;
	return end - line >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0 ? line + 3 : line;
}

/* One line without its end. Returns whether the reader wants more. */
static bool take_line(struct sse *s, const char *line, const char *end, int *result, sse_event_fn *event, void *arg)
{
	const char *value;

	line = after_bom(s, line, end);
	if (line == end)
		return dispatch(s, event, arg);
	value = data_value(line, end);
	if (value != NULL && add_data(s, value, end) < 0)
		*result = -1;
	return true;
}

/* Behind a line end; where that is a CR, a LF after it belongs to it. */
static const char *step_over(struct sse *s, const char *p, const char *end)
{
	bool cr = *p++ == '\r';

	if (!cr)
		return p;
	if (p == end) {
		s->skip_lf = true;
		return p;
	}
	return *p == '\n' ? p + 1 : p;
}

/* Keeps bytes of a line that is not whole. */
static void keep(struct sse *s, const char *p, const char *end, int *result)
{
	if (s->too_long || add(s, &s->line, p, (size_t)(end - p)) == 0)
		return;
	s->too_long = true;
	buf_free(&s->line);
	*result = -1;
}

/* The rest of a line whose beginning was kept, up to its end. */
static bool take_kept(struct sse *s, const char *p, const char *stop, int *result, sse_event_fn *event, void *arg)
{
	bool more = true;

	keep(s, p, stop, result);
	if (!s->too_long)
		more = take_line(s, s->line.data, s->line.data + s->line.len, result, event, arg);
	s->too_long = false;
	buf_reset(&s->line);
	return more;
}

int sse_feed(struct sse *s, const char *bytes, size_t len, sse_event_fn *event, void *arg)
{
	const char *p = bytes, *stop, *next, *value;
	struct ends ends = {.end = bytes + len};
	int result = 0;
	bool more = true;

	if (s->skip_lf && len > 0) {
		s->skip_lf = false;
		if (*p == '\n')
			p++;
	}
	while (more && p < ends.end) {
		stop = line_end(&ends, p);
		if (stop == ends.end) {
			keep(s, p, stop, &result);
			break;
		}
		next = step_over(s, stop, ends.end);
		if (s->line.len > 0 || s->too_long) {
			more = take_kept(s, p, stop, &result, event, arg);
		} else if (stop - p > (ptrdiff_t)SSE_LINE_MAX) {
			result = -1;
		} else if (!s->has_data && s->bom_checked && next < ends.end && (*next == '\n' || *next == '\r') &&
		           (value = data_value(p, stop)) != NULL) {
			more = event(arg, value, (size_t)(stop - value));
			next = step_over(s, next, ends.end);
		} else {
			more = take_line(s, p, stop, &result, event, arg);
		}
		p = next;
	}
	return result;
}

int sse_end(struct sse *s, sse_event_fn *event, void *arg)
{
	int result = 0;
	bool more = true;

	if (s->line.len > 0 && !s->too_long)
		more = take_line(s, s->line.data, s->line.data + s->line.len, &result, event, arg);
	s->too_long = false;
	buf_reset(&s->line);
	if (more)
		dispatch(s, event, arg);
	return result;
}
