/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/execution.h"

#include "core/base/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX (8u << 20) /* a picture in base64 is one line */

void execution_init(struct execution *x, size_t limit)
{
	memset(x, 0, sizeof *x);
	buf_init(&x->line, LINE_MAX);
	buf_init(&x->out, limit);
	buf_init(&x->results, limit);
	buf_init(&x->error, limit);
	x->limit = limit;
}

void execution_clear(struct execution *x)
{
	buf_free(&x->line);
	buf_free(&x->out);
	buf_free(&x->results);
	buf_free(&x->error);
}

/* As much of text as fits, cut at a code point. */
static void add(struct execution *x, struct buf *to, const char *text)
{
	size_t len = utf8_cut(text, to->max - to->len);

	if (buf_add(to, text, len) < 0 || text[len] != '\0')
		x->cut = true;
}

static const char *member(const json_t *event, const char *name)
{
	return json_string_value(json_object_get(event, name));
}

static void add_result(struct execution *x, const json_t *event)
{
	static const char *const texts[] = {"text", "markdown", "latex"};
	static const char *const pictures[] = {"png", "jpeg", "svg", "pdf"};
	const char *text = NULL;
	char note[80];

	for (size_t i = 0; text == NULL && i < sizeof texts / sizeof texts[0]; i++)
		text = member(event, texts[i]);
	if (text != NULL) {
		add(x, &x->results, text);
		add(x, &x->results, "\n");
	}
	for (size_t i = 0; i < sizeof pictures / sizeof pictures[0]; i++) {
		const char *data = member(event, pictures[i]);

		if (data == NULL)
			continue;
		snprintf(note, sizeof note, "[a picture was made (%s, about %zu KiB); the user does not see it]\n",
		         pictures[i], strlen(data) * 3 / 4 / 1024 + 1);
		add(x, &x->results, note);
	}
}

static void add_error(struct execution *x, const json_t *event)
{
	const char *name = member(event, "name"), *value = member(event, "value"), *trace = member(event, "traceback");

	add(x, &x->error, name == NULL ? "Error" : name);
	add(x, &x->error, ": ");
	add(x, &x->error, value == NULL ? "" : value);
	add(x, &x->error, "\n");
	if (trace != NULL && *trace != '\0') {
		add(x, &x->error, trace);
		add(x, &x->error, "\n");
	}
}

/* What was printed, a NUL as '?'. */
static void add_output(struct execution *x, const json_t *event)
{
	const json_t *text = json_object_get(event, "text");
	char *plain = json_is_string(text) ? utf8_text(json_string_value(text), json_string_length(text)) : NULL;

	if (plain != NULL)
		add(x, &x->out, plain);
	else if (json_is_string(text))
		x->cut = true;
	free(plain);
}

static void take_line(struct execution *x, const char *line, size_t len)
{
	json_t *event = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
	const char *type = member(event, "type");

	if (type != NULL) {
		if (strcmp(type, "stdout") == 0 || strcmp(type, "stderr") == 0)
			add_output(x, event);
		else if (strcmp(type, "result") == 0)
			add_result(x, event);
		else if (strcmp(type, "error") == 0)
			add_error(x, event);
		else if (strcmp(type, "end_of_execution") == 0)
			x->ended = true;
	}
	json_decref(event);
}

void execution_feed(struct execution *x, const char *bytes, size_t len)
{
	while (len > 0) {
		const char *newline = memchr(bytes, '\n', len);
		size_t part = newline == NULL ? len : (size_t)(newline - bytes);

		if (!x->skipping && buf_add(&x->line, bytes, part) < 0) {
			x->skipping = x->cut = true;
			buf_reset(&x->line);
		}
		if (newline == NULL)
			return;
		if (!x->skipping && x->line.len > 0)
			take_line(x, x->line.data, x->line.len);
		buf_reset(&x->line);
		x->skipping = false;
		bytes = newline + 1;
		len -= part + 1;
	}
}

bool execution_failed(const struct execution *x)
{
	return x->error.len > 0;
}

char *execution_text(const struct execution *x)
{
	const struct {
		const char *title;
		const struct buf *text;
	} parts[] = {{"Output", &x->out}, {"Result", &x->results}, {"Error", &x->error}};
	struct buf all = BUF_INIT(4 * x->limit + 1024);

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (parts[i].text->len > 0 &&
		    buf_addf(&all, "%s%s:\n%s", all.len > 0 ? "\n" : "", parts[i].title, parts[i].text->data) < 0)
			goto fail;
	if (all.len == 0 && buf_adds(&all, "The code ran and printed nothing. Print what you want to see.") < 0)
		goto fail;
	if (x->cut && buf_adds(&all, "\n[The output was longer; the rest was left out.]") < 0)
		goto fail;
	return buf_steal(&all, NULL);
fail:
	buf_free(&all);
	return NULL;
}
