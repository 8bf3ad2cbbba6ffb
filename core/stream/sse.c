/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/sse.h"

#include <string.h>

void sse_init(struct sse *s)
{
	memset(s, 0, sizeof *s);
	s->retry_ms = -1;
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

/* The end of the line that begins at s->at; s->end where it did not come yet. */
static const char *line_end(struct sse *s)
{
	if (s->lf == NULL || s->lf < s->at)
		s->lf = find(s->at, s->end, '\n');
	if (s->cr == NULL || s->cr < s->at)
		/* Up to the LF is enough, as that ends the line anyway. */
		s->cr = find(s->at, s->lf, '\r');
	return s->cr < s->lf ? s->cr : s->lf;
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

/* An empty line: the event is whole. Its data stay until the next one begins. */
static bool dispatch(struct sse *s, struct sse_event *event)
{
	if (!s->has_data) {
		s->error = false;
		return false;
	}
	*event = (struct sse_event){.data = s->data.data, .len = s->data.len, .error = s->error};
	s->has_data = s->error = false;
	s->depth = 0;
	return true;
}

static bool add(struct sse *s, struct buf *to, const char *bytes, size_t len)
{
	if (buf_add(to, bytes, len) == 0)
		return true;
	*(len <= to->max - to->len ? &s->no_memory : &s->too_large) = true;
	return false;
}

static void add_data(struct sse *s, const char *value, const char *end)
{
	if (!s->has_data)
		buf_reset(&s->data);
	else if (!add(s, &s->data, "\n", 1))
		return;
	if (add(s, &s->data, value, (size_t)(end - value)))
		s->has_data = true;
}

static const char *after_bom(struct sse *s, const char *line, const char *end)
{
	if (s->bom_checked)
		return line;
	s->bom_checked = true;
	return end - line >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0 ? line + 3 : line;
}

static const char *skip_blanks(const char *line, const char *end)
{
	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	return line;
}

static bool begins_json(const char *line, const char *end)
{
	line = skip_blanks(line, end);
	return line < end && (*line == '{' || *line == '[');
}

/* A line of JSON without "data:". Returns whether it ends there. */
static bool take_json(struct sse *s, const char *line, const char *end, struct sse_event *event)
{
	if (s->depth == 0) {
		s->in_string = s->escaped = false;
		line = skip_blanks(line, end);
	}
	for (const char *p = line; p < end; p++) {
		if (s->in_string) {
			s->in_string = *p != '"' || s->escaped;
			s->escaped = *p == '\\' && !s->escaped;
		} else if (*p == '"') {
			s->in_string = true;
		} else if (*p == '{' || *p == '[') {
			s->depth++;
		} else if ((*p == '}' || *p == ']') && s->depth > 0) {
			s->depth--;
		}
	}
	add_data(s, line, end);
	return s->depth == 0 && dispatch(s, event);
}

/* The value of a line that begins with the name and a colon; NULL: it does not. */
static const char *field_value(const char *line, const char *end, const char *name)
{
	size_t len = strlen(name);

	if ((size_t)(end - line) <= len || memcmp(line, name, len) != 0 || line[len] != ':')
		return NULL;
	line += len + 1;
	return line < end && *line == ' ' ? line + 1 : line;
}

/* What is needed to take a stream up again. */
static void take_position(struct sse *s, const char *line, const char *end)
{
	const char *value = field_value(line, end, "id");
	int64_t ms = 0;

	if (value != NULL && (size_t)(end - value) <= SSE_ID_MAX && memchr(value, 0, (size_t)(end - value)) == NULL) {
		memcpy(s->id, value, (size_t)(end - value));
		s->id[end - value] = '\0';
	}
	value = field_value(line, end, "retry");
	if (value == NULL || value == end || end - value > 9)
		return;
	for (; value < end && *value >= '0' && *value <= '9'; value++)
		ms = ms * 10 + *value - '0';
	if (value == end)
		s->retry_ms = ms;
}

/* One line without its end. Returns whether an event is whole with it. */
static bool take_line(struct sse *s, const char *line, const char *end, struct sse_event *event)
{
	static const char error_line[] = "event:error";
	const char *value;

	line = after_bom(s, line, end);
	if (line == end && s->depth == 0)
		return dispatch(s, event);
	value = data_value(line, end);
	if (value != NULL) {
		if (s->depth > 0) /* what was taken for JSON was none */
			s->has_data = false;
		s->depth = 0;
		add_data(s, value, end);
		return false;
	}
	if (s->depth > 0 || (!s->has_data && begins_json(line, end)))
		return take_json(s, line, end, event);
	if (end - line >= 11 && memcmp(line, error_line, 6) == 0)
		s->error = (size_t)(end - line) == 11 + (line[6] == ' ') && memcmp(end - 5, error_line + 6, 5) == 0;
	take_position(s, line, end);
	return false;
}

/* After the line end at p; where that is a CR, a LF after it belongs to it. */
static const char *step_over(struct sse *s, const char *p)
{
	bool cr = *p++ == '\r';

	if (!cr)
		return p;
	if (p == s->end) {
		s->skip_lf = true;
		return p;
	}
	return *p == '\n' ? p + 1 : p;
}

/* Holds bytes of a line that is not whole, from s->at to stop. */
static void hold(struct sse *s, const char *stop)
{
	if (s->too_long || add(s, &s->line, s->at, (size_t)(stop - s->at)))
		return;
	s->too_long = true;
	buf_free(&s->line);
}

/* The line that was held is whole. */
static bool take_held(struct sse *s, struct sse_event *event)
{
	bool whole = !s->too_long && s->line.len > 0 && take_line(s, s->line.data, s->line.data + s->line.len, event);

	s->too_long = false;
	buf_reset(&s->line);
	return whole;
}

void sse_feed(struct sse *s, const char *bytes, size_t len)
{
	s->at = bytes;
	s->end = bytes + len;
	s->lf = s->cr = NULL;
	if (s->skip_lf && len > 0) {
		s->skip_lf = false;
		s->at += *bytes == '\n';
	}
}

void sse_end(struct sse *s)
{
	s->at = s->end = NULL;
	s->ended = true;
}

bool sse_next(struct sse *s, struct sse_event *event)
{
	const char *line, *stop, *value;
	bool whole;

	while (s->at < s->end) {
		line = s->at;
		stop = line_end(s);
		if (stop == s->end) {
			hold(s, stop);
			s->at = s->end;
			return false;
		}
		if (s->line.len > 0 || s->too_long) {
			hold(s, stop);
			whole = take_held(s, event);
			s->at = step_over(s, stop);
		} else if (stop - line > (ptrdiff_t)SSE_LINE_MAX) {
			s->too_large = true;
			whole = false;
			s->at = step_over(s, stop);
		} else {
			s->at = step_over(s, stop);
			/* The usual event is one line, followed by an empty one. */
			if (!s->has_data && !s->error && s->bom_checked && s->at < s->end &&
			    (*s->at == '\n' || *s->at == '\r') && (value = data_value(line, stop)) != NULL) {
				*event = (struct sse_event){.data = value, .len = (size_t)(stop - value)};
				s->at = step_over(s, s->at);
				return true;
			}
			whole = take_line(s, line, stop, event);
		}
		if (whole)
			return true;
	}
	if (!s->ended)
		return false;
	s->ended = false;
	return take_held(s, event) || dispatch(s, event);
}
