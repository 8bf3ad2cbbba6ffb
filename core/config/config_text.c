/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/config_text.h"

#include "core/config/sources.h"
#include "core/config/readfile.h"
#include "core/config/syntax.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX_BYTES  (1u << 20)
#define TEXT_MAX_BYTES  (8u << 20) /* names and integers grow a little */
#define FILES_MAX       64
#define DEPTH_MAX       8
#define NAMES_MAX       4096 /* libconfig looks for each name among all its siblings */
#define DEPTH_OF_BRACES 32

struct place {
	unsigned file, line;
};

struct file {
	char *path;
	bool public;
};

struct config_text {
	struct buf text;
	struct place *lines;
	size_t line_count, line_room;
	struct file files[FILES_MAX];
	unsigned file_count;
	unsigned names;
	unsigned braces;
	bool broken;
	struct syntax syntax;
	struct buf *errors;
};

/* One file while it is being rewritten. */
struct scan {
	struct config_text *out;
	unsigned file, line, depth;
	const char *at, *end;
};

static bool add_file(struct config_text *t, const char *path, struct scan *from, unsigned depth);

static void complain(struct config_text *t, unsigned file, unsigned line, const char *what)
{
	struct buf where = BUF_INIT(8192);

	(void)buf_addf(&where, "%s:%u", t->files[file].path, line);
	report_line(t->errors, where.data != NULL ? where.data : t->files[file].path, what);
	buf_free(&where);
}

/* For an error that makes the rest unreadable; it is reported once. */
static void give_up(struct scan *in, unsigned line, const char *what)
{
	if (!in->out->broken)
		complain(in->out, in->file, line, what);
	in->out->broken = true;
	in->at = in->end;
}

/* --- the result, and where its lines came from -------------------------------------------- */

static bool begin_line(struct config_text *t, unsigned file, unsigned line)
{
	if (t->line_count == t->line_room) {
		size_t room = t->line_room == 0 ? 256 : t->line_room * 2;
		struct place *lines = realloc(t->lines, room * sizeof *lines);

		if (lines == NULL)
			return false;
		t->lines = lines;
		t->line_room = room;
	}
	t->lines[t->line_count++] = (struct place){.file = file, .line = line};
	return true;
}

static void emit(struct scan *in, const char *bytes, size_t len)
{
	if (buf_add(&in->out->text, bytes, len) < 0)
		give_up(in, in->line, "the files are too long together, or out of memory");
}

/* Copies len bytes of the input. */
static void copy(struct scan *in, size_t len)
{
	const char *from = in->at;

	in->at += len;
	emit(in, from, len);
	for (size_t i = 0; i < len; i++) {
		if (from[i] != '\n')
			continue;
		in->line++;
		if (!begin_line(in->out, in->file, in->line))
			give_up(in, in->line, "out of memory");
	}
}

/* The next len bytes are a token. */
static void note(struct scan *in, enum syntax_token token, size_t len)
{
	syntax_add(&in->out->syntax, token, in->at, len, in->end, (unsigned)in->out->line_count);
}

/* --- tokens ---------------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}
static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c)
{
	return is_letter(c) || is_digit(c) || c == '*' || c == '_' || c == '-';
}

static size_t left(const struct scan *in)
{
	return (size_t)(in->end - in->at);
}

static bool ahead(const struct scan *in, const char *text)
{
	return left(in) >= strlen(text) && memcmp(in->at, text, strlen(text)) == 0;
}

static void scan_line_comment(struct scan *in)
{
	const char *stop = memchr(in->at, '\n', left(in));

	in->at = stop != NULL ? stop : in->end;
}

static void scan_comment(struct scan *in)
{
	unsigned began = in->line;
	const char *stop = memmem(in->at + 2, left(in) - 2, "*/", 2);

	if (stop == NULL) {
		give_up(in, began, "this comment never ends; */ is missing");
		return;
	}
	copy(in, (size_t)(stop - in->at) + 2);
}

static void scan_string(struct scan *in)
{
	unsigned began = in->line;

	for (const char *p = in->at + 1; p < in->end; p++) {
		if (*p == '"') {
			note(in, SYNTAX_STRING, (size_t)(p - in->at) + 1);
			copy(in, (size_t)(p - in->at) + 1);
			return;
		}
		if (*p != '\\' || p + 1 == in->end)
			continue;
		if (in->end - p >= 4 && strncasecmp(p, "\\x00", 4) == 0)
			complain(in->out, in->file, began, "\\x00 is not allowed in a string");
		p++;
	}
	give_up(in, began, "this string never ends; a quote is missing");
}

static void scan_name(struct scan *in)
{
	char number[24];
	size_t len = 1;

	while (in->at + len < in->end && is_name(in->at[len]))
		len++;
	if ((len == 4 && strncasecmp(in->at, "true", 4) == 0) || (len == 5 && strncasecmp(in->at, "false", 5) == 0)) {
		note(in, SYNTAX_BOOLEAN, len);
		copy(in, len);
		return;
	}
	if (++in->out->names > NAMES_MAX) {
		give_up(in, in->line, "too many settings");
		return;
	}
	note(in, SYNTAX_NAME, len);
	snprintf(number, sizeof number, "*%u*", in->out->names);
	emit(in, number, strlen(number));
	copy(in, len);
}

static size_t number_length(const struct scan *in)
{
	bool hex = left(in) > 2 && in->at[0] == '0' && (in->at[1] == 'x' || in->at[1] == 'X');
	size_t len = 1;

	for (; in->at + len < in->end; len++) {
		char c = in->at[len], before = in->at[len - 1];

		if (is_digit(c) || is_letter(c) || c == '.')
			continue;
		if (!hex && (c == '+' || c == '-') && (before == 'e' || before == 'E'))
			continue;
		break;
	}
	return len;
}

/* True if the token is an integer of libconfig's syntax; *n then is its value, or the
 * nearest one that fits into 64 bits. */
static bool parse_integer(const char *token, size_t len, int64_t *n)
{
	char digits[64];
	char *end;

	for (int i = 0; i < 2 && len > 1 && token[len - 1] == 'L'; i++)
		len--;
	if (len >= sizeof digits) { /* far out of range, if it is a number */
		*n = *token == '-' ? INT64_MIN : INT64_MAX;
		return strspn(token + 1, "0123456789abcdefABCDEFxX") >= len - 1;
	}
	snprintf(digits, sizeof digits, "%.*s", (int)len, token);
	*n = strtoll(digits, &end, len > 2 && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10);
	return *end == '\0' && end != digits;
}

static void scan_number(struct scan *in)
{
	size_t len = number_length(in);
	char text[32];
	int64_t n;

	note(in, SYNTAX_NUMBER, len);
	if (!parse_integer(in->at, len, &n)) {
		copy(in, len);
		return;
	}
	snprintf(text, sizeof text, "%lldL", (long long)n);
	emit(in, text, strlen(text));
	in->at += len;
}

static bool at_number(const struct scan *in)
{
	char c = *in->at, next = left(in) > 1 ? in->at[1] : '\0';

	return is_digit(c) || ((c == '+' || c == '-') && (is_digit(next) || next == '.')) ||
	       (c == '.' && is_digit(next));
}

/* --- @include ---------------------------------------------------------------------------- */

static char *include_path(const struct scan *in, const char *name, size_t len)
{
	const char *base = in->out->files[in->file].path;
	const char *slash = strrchr(base, '/');
	struct buf path = BUF_INIT(PATH_MAX);

	if (*name != '/' && slash != NULL && buf_add(&path, base, (size_t)(slash - base) + 1) < 0)
		return NULL;
	if (buf_add(&path, name, len) < 0) {
		buf_free(&path);
		return NULL;
	}
	return buf_steal(&path, NULL);
}

static void scan_include(struct scan *in)
{
	const char *name = in->at + strlen("@include"), *stop;
	char *path;

	while (name < in->end && (*name == ' ' || *name == '\t'))
		name++;
	stop = name < in->end && *name == '"' ? memchr(name + 1, '"', (size_t)(in->end - name) - 1) : NULL;
	if (stop == NULL || memchr(name, '\n', (size_t)(stop - name)) != NULL || stop == name + 1) {
		complain(in->out, in->file, in->line, "@include needs a file name: @include \"FILE\"");
		scan_line_comment(in);
		return;
	}
	in->at = stop + 1;
	path = include_path(in, name + 1, (size_t)(stop - name) - 1);
	if (path == NULL)
		complain(in->out, in->file, in->line, "the path of the included file is too long");
	else if (in->depth == DEPTH_MAX)
		complain(in->out, in->file, in->line, "@include goes too deep; does a file include itself?");
	else if (!add_file(in->out, path, in, in->depth + 1))
		in->at = in->end;
	free(path);
}

/* --- one file ---------------------------------------------------------------------------- */

static void scan_byte(struct scan *in)
{
	struct config_text *t = in->out;
	char c = *in->at;

	if (c == '\0') {
		give_up(in, in->line, "a NUL byte; this is not a text file");
		return;
	}
	if ((c == '{' || c == '(' || c == '[') && ++t->braces > DEPTH_OF_BRACES) {
		give_up(in, in->line, "groups and lists are nested too deeply");
		return;
	}
	if ((c == '}' || c == ')' || c == ']') && t->braces > 0)
		t->braces--;
	note(in, SYNTAX_OTHER, 1);
	copy(in, 1);
}

static void scan_file(struct scan *in)
{
	bool line_start = true;

	if (ahead(in, "\xEF\xBB\xBF")) /* a byte order mark, as editors of Windows write it */
		in->at += 3;
	if (ahead(in, "\xFF\xFE") || ahead(in, "\xFE\xFF"))
		give_up(in, 1, "the file is UTF-16; save it as UTF-8");
	while (in->at < in->end) {
		char c = *in->at;

		if (line_start && c == '@' && ahead(in, "@include"))
			scan_include(in);
		else if (c == '#' || ahead(in, "//"))
			scan_line_comment(in);
		else if (ahead(in, "/*"))
			scan_comment(in);
		else if (c == '"')
			scan_string(in);
		else if (is_letter(c) || c == '*')
			scan_name(in);
		else if (at_number(in))
			scan_number(in);
		else
			scan_byte(in);
		line_start = c == '\n' || (line_start && (c == ' ' || c == '\t'));
	}
}

/* Appends the file at path, which `from` includes (NULL: the first). False: read no more. */
static bool add_file(struct config_text *t, const char *path, struct scan *from, unsigned depth)
{
	struct buf text = BUF_INIT(FILE_MAX_BYTES);
	struct scan in = {.out = t, .line = 1, .depth = depth};
	struct err e = ERR_INIT;
	struct stat st;
	bool ok = false;

	if (readfile(path, &text, &st, &e) < 0) {
		if (from == NULL)
			report_line(t->errors, "configuration file", e.text);
		else
			complain(t, from->file, from->line, e.text);
		t->broken = t->broken || from == NULL;
		buf_free(&text);
		return from != NULL;
	}
	if (t->file_count == FILES_MAX || (t->files[t->file_count].path = strdup(path)) == NULL) {
		report_line(t->errors, path, "too many files are included, or out of memory");
		t->broken = true;
		goto out;
	}
	in.file = t->file_count++;
	t->files[in.file].public = (st.st_mode & S_IROTH) != 0;
	in.at = text.data != NULL ? text.data : "";
	in.end = in.at + text.len;
	/* An included file begins and ends with a line break, so that each line has one place. */
	ok = (from == NULL || buf_adds(&t->text, "\n") == 0) && begin_line(t, in.file, 1);
	scan_file(&in);
	ok = ok && buf_adds(&t->text, "\n") == 0 &&
	     begin_line(t, from != NULL ? from->file : in.file, from != NULL ? from->line : in.line);
	if (!ok)
		give_up(&in, in.line, "out of memory");
	ok = !t->broken;
out:
	buf_free(&text);
	return ok;
}

struct config_text *config_text_read(const char *path, struct buf *errors)
{
	struct config_text *t = calloc(1, sizeof *t);

	if (t == NULL) {
		report_line(errors, path, "out of memory");
		return NULL;
	}
	buf_init(&t->text, TEXT_MAX_BYTES);
	t->errors = errors;
	(void)add_file(t, path, NULL, 0);
	if (!t->broken)
		syntax_end(&t->syntax);
	if (t->file_count == 0) {
		config_text_free(t);
		return NULL;
	}
	return t;
}

void config_text_free(struct config_text *t)
{
	if (t == NULL)
		return;
	for (unsigned i = 0; i < t->file_count; i++)
		free(t->files[i].path);
	free(t->lines);
	buf_free(&t->text);
	free(t);
}

bool config_text_is_broken(const struct config_text *t)
{
	return t->broken;
}

const char *config_text_string(const struct config_text *t)
{
	return t->text.data != NULL ? t->text.data : "";
}

const char *config_text_problem(const struct config_text *t, unsigned *line)
{
	*line = t->syntax.line;
	return *line != 0 ? t->syntax.problem : NULL;
}

static struct place place_of(const struct config_text *t, unsigned line)
{
	if (line == 0 || line > t->line_count)
		return (struct place){.file = 0, .line = line};
	return t->lines[line - 1];
}

const char *config_text_file(const struct config_text *t, unsigned line)
{
	return t->files[place_of(t, line).file].path;
}

unsigned config_text_line(const struct config_text *t, unsigned line)
{
	return place_of(t, line).line;
}

bool config_text_is_public(const struct config_text *t, unsigned line)
{
	return t->files[place_of(t, line).file].public;
}

const char *config_text_name(const char *unique)
{
	const char *star = *unique == '*' ? strchr(unique + 1, '*') : NULL;

	return star != NULL ? star + 1 : unique;
}
