/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/syntax.h"

#include "core/base/utf8.h"
#include "core/config/value.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define GROUP_FORM "GROUP: { NAME = VALUE; ... };"
#define WORD_MAX   60

/* --- what may be shown, and how ----------------------------------------------------------- */

/* The setting, or its variable, that has this name, in any group. */
static const struct key_row *row_of_name(const char *name)
{
	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const struct key_row *row = table_row((enum cfg_key)k);

		if (strcmp(row->name, name) == 0 || (row->info.env != NULL && strcmp(row->info.env, name) == 0))
			return row;
	}
	return NULL;
}

/* A value may be quoted unless its setting is secret in any group, or is not known. */
static bool may_show_value(const char *name)
{
	bool known = false;

	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const struct key_row *row = table_row((enum cfg_key)k);

		if (strcmp(row->name, name) != 0)
			continue;
		if (row->info.secret)
			return false;
		known = true;
	}
	return known;
}

/* A word in the place of a name may be a secret that was pasted there. */
static bool may_show_name(const char *word)
{
	return row_of_name(word) != NULL || table_has_group(word) ||
	       (strlen(word) < SYNTAX_NAME_MAX - 1 && strpbrk(word, "0123456789") == NULL);
}

/* The word at text, up to what ends a value. */
static void word_at(const char *text, const char *end, char out[WORD_MAX])
{
	size_t len = 0;

	while (text < end && len < WORD_MAX - 1 && strchr(" \t\r\n;,{}()[]\"", *text) == NULL)
		out[len++] = *text++;
	out[len] = '\0';
	out[utf8_cut(out, len)] = '\0';
}

static const char *skip_blanks(const char *text, const char *end)
{
	while (text < end && (*text == ' ' || *text == '\t'))
		text++;
	return text;
}

static void problem(struct syntax *s, unsigned line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void problem(struct syntax *s, unsigned line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->problem, sizeof s->problem, fmt, ap);
	va_end(ap);
	s->line = line;
}

/* --- characters that look like others -------------------------------------------------------- */

static const struct lookalike {
	uint32_t from, to;
	const char *what, *instead;
} lookalikes[] = {
	{0x00A0, 0x00A0, "a no-break space, which looks like a space", "a space"},
	{0x2000, 0x200A, "a space of a special width, which looks like a space", "a space"},
	{0x202F, 0x202F, "a narrow no-break space, which looks like a space", "a space"},
	{0x205F, 0x205F, "a mathematical space, which looks like a space", "a space"},
	{0x3000, 0x3000, "an ideographic space, which looks like a space", "a space"},
	{0x200B, 0x200F, "an invisible character", "nothing"},
	{0x2028, 0x2029, "a line separator", "a line break"},
	{0x202A, 0x202E, "an invisible character", "nothing"},
	{0x2060, 0x2069, "an invisible character", "nothing"},
	{0xFEFF, 0xFEFF, "a byte order mark", "nothing"},
	{0x00AB, 0x00AB, "a typographic quote", "\""},
	{0x00BB, 0x00BB, "a typographic quote", "\""},
	{0x2018, 0x201F, "a typographic quote", "\""},
	{0x2039, 0x203A, "a typographic quote", "\""},
	{0x300C, 0x300F, "a typographic quote", "\""},
	{0xFF02, 0xFF02, "a full-width quote", "\""},
	{0x2010, 0x2015, "a typographic dash", "-"},
	{0x2212, 0x2212, "a typographic minus sign", "-"},
	{0xFF01, 0xFF5E, "a full-width character", "the ASCII character"},
};

/* Whether the character is one that only looks right, or is nowhere allowed outside of strings. */
static bool describe_character(struct syntax *s, const char *text, const char *end, unsigned line)
{
	const char *next = text;
	char shown[8] = "", number[12];
	uint32_t code;
	bool visible = utf8_next(&next, end, &code);

	if ((unsigned char)*text < 0x80)
		return false;
	if (utf8_sequence((const unsigned char *)text, (const unsigned char *)end) == 0) {
		problem(s, line, "a byte (0x%02X) that is not UTF-8; save the file as UTF-8", (unsigned char)*text);
		return true;
	}
	snprintf(number, sizeof number, "U+%04X", (unsigned)code);
	if (visible)
		snprintf(shown, sizeof shown, "%.*s ", (int)(next - text), text);
	for (size_t i = 0; i < sizeof lookalikes / sizeof lookalikes[0]; i++) {
		const struct lookalike *l = &lookalikes[i];

		if (code < l->from || code > l->to)
			continue;
		problem(s, line, "%s%s is %s; write %s instead", shown, number, l->what, l->instead);
		return true;
	}
	problem(s, line, "the character %s%s is allowed only in strings, which are written in quotes", shown, number);
	return true;
}

/* --- a token in the wrong place --------------------------------------------------------------- */

static void no_name(struct syntax *s, enum syntax_token token, const char *text, const char *end, unsigned line)
{
	const char *close = *text == '[' ? memchr(text, ']', (size_t)(end - text)) : NULL;
	char word[WORD_MAX];

	word_at(text + 1, end, word);
	if (close != NULL && s->depth == 0 && word[0] != '\0' && may_show_name(word))
		problem(s, line, "[%s]: this is not an INI file; a group is written %s: { NAME = VALUE; ... };", word,
		        word);
	else if (token == SYNTAX_STRING || (*text == '{' && s->depth == 0))
		problem(s, line,
		        "%s stands where the name of a setting is expected; names have no quotes, and the file "
		        "no braces around it: " GROUP_FORM,
		        token == SYNTAX_STRING ? "a string" : "{");
	else if (*text == '}' || *text == ')' || *text == ']')
		problem(s, line, "%c closes nothing; is there one too many?", *text);
	else if (*text == '@')
		problem(s, line, "@include \"FILE\" must begin its line");
	else if (*text == '-')
		problem(s, line,
		        "- stands where the name of a setting is expected; a list is written NAME = [ \"ONE\", "
		        "\"ANOTHER\" ];");
	else if (token == SYNTAX_NUMBER && s->after_comma && s->name_line == line)
		problem(s, line,
		        "%s: a number follows the comma after its value; a number is written without commas: 0.7, "
		        "7000",
		        may_show_name(s->name) ? s->name : "the setting");
	else if (token == SYNTAX_OTHER)
		problem(s, line, "%c stands where the name of a setting is expected; allowed: " GROUP_FORM, *text);
	else
		problem(s, line, "a value stands where the name of a setting is expected; allowed: " GROUP_FORM);
}

static void not_assigned(struct syntax *s, const char *text, const char *end)
{
	const struct key_row *row = row_of_name(s->name);
	char word[WORD_MAX];

	word_at(text, end, word);
	if (!may_show_name(s->name))
		problem(s, s->name_line, "a word stands where NAME = VALUE; is expected");
	else if (s->unseparated && !table_has_group(s->name))
		problem(s, s->name_line,
		        "%s follows a value in its line; numbers have no units (times are in seconds), "
		        "strings are written in quotes, and a setting ends with ;",
		        s->name);
	else if (*text == '.' && table_has_group(s->name))
		problem(s, s->name_line, "%s%s is written %s: { NAME = VALUE; };", s->name,
		        may_show_name(word + 1) ? word : ".NAME", s->name);
	else if (*text == '{')
		problem(s, s->name_line, "%s has no : before its {; a group is written %s: { NAME = VALUE; ... };",
		        s->name, s->name);
	else if (strcmp(s->name, "export") == 0)
		problem(s, s->name_line, "export: this is not a shell script; allowed: " GROUP_FORM);
	else if (row != NULL)
		problem(s, s->name_line, "%s is not followed by = or :; allowed: %s = VALUE;", s->name, s->name);
	else
		problem(s, s->name_line, "%s is not followed by = or :; allowed: " GROUP_FORM, s->name);
}

/* A word without quotes where a value is expected. */
static void bare_word(struct syntax *s, const char *text, const char *end, unsigned line)
{
	static const char *const booleans[2][5] = {{"no", "off", "n", "disabled", "disable"},
	                                           {"yes", "on", "y", "enabled", "enable"}};
	const struct key_row *row = row_of_name(s->name);
	const char *shown_name = may_show_name(s->name) ? s->name : "the setting";
	char word[WORD_MAX], name[WORD_MAX];
	const char *after;

	word_at(text, end, word);
	for (size_t i = 0; i < 10; i++) {
		if (strcasecmp(word, booleans[i / 5][i % 5]) == 0) {
			problem(s, line, "%s: %s is not a value; write %s", shown_name, word, i < 5 ? "false" : "true");
			return;
		}
	}
	if (strcasecmp(word, "null") == 0 || strcasecmp(word, "none") == 0 || strcasecmp(word, "nil") == 0) {
		problem(s, line, "%s: %s is not a value; to leave it unset, remove the line", shown_name, word);
		return;
	}
	snprintf(name, sizeof name, "%.*s", (int)strcspn(word, ":="), word);
	after = skip_blanks(text + strlen(name), end);
	if (line > s->name_line && after < end && (*after == ':' || *after == '=') && may_show_name(name)) {
		if (table_has_group(s->name))
			problem(s, line, "%s stands where { is expected; a group is written %s: { %s = VALUE; ... };",
			        name, s->name, name);
		else
			problem(s, line, "%s stands where the value of %s is expected; allowed: NAME = VALUE;", name,
			        shown_name);
		return;
	}
	if (may_show_value(s->name) && row->type == TYPE_LIST)
		problem(s, line, "%s: %s is not in quotes; a list is written [ \"ONE\", \"ANOTHER\" ]", s->name, word);
	else if (may_show_value(s->name) && line == s->name_line && strchr(word, '@') == NULL)
		problem(s, line, "%s: %s is a string; put it in quotes: \"%s\"", s->name, word, word);
	else
		problem(s, line, "%s: its value begins with a word that is not in quotes; a string is written \"TEXT\"",
		        shown_name);
}

static bool is_number(const char *text, size_t len)
{
	size_t i = len > 0 && (*text == '+' || *text == '-');
	bool hex = len > i + 2 && text[i] == '0' && (text[i + 1] == 'x' || text[i + 1] == 'X');

	while (len > 0 && text[len - 1] == 'L')
		len--;
	if (hex)
		for (i += 2; i < len && isxdigit((unsigned char)text[i]);)
			i++;
	else {
		size_t points = 0, exponents = 0;

		for (; i < len; i++) {
			if (text[i] == '.' && points++ == 0 && exponents == 0)
				continue;
			if ((text[i] == 'e' || text[i] == 'E') && exponents++ == 0) {
				i += i + 1 < len && (text[i + 1] == '+' || text[i + 1] == '-');
				continue;
			}
			if (!isdigit((unsigned char)text[i]))
				break;
		}
	}
	return i == len;
}

/* "60s", "10.0.0.1", "1_000" */
static void bad_number(struct syntax *s, const char *text, const char *end, unsigned line)
{
	const struct key_row *row = row_of_name(s->name);
	char word[WORD_MAX], advice[60] = "";

	word_at(text, end, word);
	if (!may_show_value(s->name)) {
		problem(s, line, "%s: its value is no number; a string is written \"TEXT\"",
		        may_show_name(s->name) ? s->name : "the setting");
		return;
	}
	if (row->type == TYPE_TIME || row->type == TYPE_SIZE)
		value_number_advice(row, word, advice, sizeof advice);
	else if (row->type == TYPE_STRING || row->type == TYPE_URL || row->type == TYPE_LIST)
		snprintf(advice, sizeof advice, "a string is written in quotes: \"TEXT\"");
	problem(s, line, "%s: %s is not a number%s%s", s->name, word, advice[0] != '\0' ? "; " : "", advice);
}

static void no_value(struct syntax *s, enum syntax_token token, const char *text, const char *end, unsigned line)
{
	const char *name = may_show_name(s->name) ? s->name : "the setting";

	if (token == SYNTAX_NAME)
		bare_word(s, text, end, line);
	else if (*text == '\'' || *text == '`')
		problem(s, line,
		        "%s: %c stands where its value is expected; a string is written in double quotes: \"TEXT\"",
		        name, *text);
	else if (*text == '=' || *text == ':' || *text == '>')
		problem(s, line, "%s: %c is one too many; allowed: %s = VALUE;", name, *text, name);
	else if (*text == ';' || *text == ',' || *text == '}' || *text == ')' || *text == ']')
		problem(s, s->name_line, "%s has no value; allowed: %s = VALUE;", name, name);
	else
		problem(s, line, "%s: %c stands where its value is expected; a string is written in quotes: \"TEXT\"",
		        name, *text);
}

static void after_value(struct syntax *s, enum syntax_token token, const char *text, unsigned line)
{
	const char *name = may_show_name(s->name) ? s->name : "the setting";
	char open = s->depth > 0 ? s->stack[s->depth - 1].open : '{';

	if (s->after_string && text == s->string_end)
		problem(s, s->string_line,
		        "%s: text follows the end of its string; is a quote missing, or is one within "
		        "the string not written \\\"?",
		        name);
	else if (open != '{' && (token != SYNTAX_OTHER || *text == '{' || *text == '(' || *text == '['))
		problem(s, line, "%s: a comma is missing between two entries of its list", name);
	else if (open != '{')
		problem(s, line, "%s: %c stands where , or %c is expected", name, *text, open == '(' ? ')' : ']');
	else if (token == SYNTAX_OTHER && strchr("})]", *text) != NULL)
		problem(s, line, "%c closes nothing; is there one too many?", *text);
	else if (token == SYNTAX_OTHER)
		problem(s, line, "%s: %c follows its value; a setting ends with ;", name, *text);
	else
		problem(s, line, "%s: another value follows its value; a setting ends with ;", name);
}

/* --- the grammar -------------------------------------------------------------------------------- */

static char closing(char open)
{
	return open == '{' ? '}' : open == '(' ? ')' : ']';
}

static bool in_settings(const struct syntax *s)
{
	return s->depth == 0 || s->stack[s->depth - 1].open == '{';
}

static void begin_name(struct syntax *s, const char *text, size_t len, unsigned line)
{
	snprintf(s->name, sizeof s->name, "%.*s", len < sizeof s->name ? (int)len : (int)sizeof s->name - 1, text);
	s->name_line = line;
	s->unseparated = s->state == SYNTAX_AFTER_VALUE && s->value_line == line;
	s->state = SYNTAX_WANT_ASSIGN;
}

static bool opened(struct syntax *s, char c, unsigned line)
{
	if ((c != '{' && c != '(' && c != '[') || s->depth == SYNTAX_DEPTH_MAX)
		return false;
	s->stack[s->depth].open = c;
	s->stack[s->depth].line = line;
	memcpy(s->stack[s->depth].name, s->name, sizeof s->name);
	s->depth++;
	s->state = c == '{' ? SYNTAX_WANT_NAME : SYNTAX_WANT_VALUE;
	return true;
}

static bool closed(struct syntax *s, char c)
{
	if (s->depth == 0 || c != closing(s->stack[s->depth - 1].open))
		return false;
	s->depth--;
	s->state = SYNTAX_AFTER_VALUE;
	return true;
}

static bool is_value(enum syntax_token token, const char *text, size_t len)
{
	return token == SYNTAX_STRING || token == SYNTAX_BOOLEAN || (token == SYNTAX_NUMBER && is_number(text, len));
}

void syntax_add(struct syntax *s, enum syntax_token token, const char *text, size_t len, const char *end, unsigned line)
{
	char c = token == SYNTAX_OTHER ? *text : '\0';

	if (s->line != 0 || strchr(" \t\r\n\f\v", *text) != NULL)
		return;
	if (token == SYNTAX_OTHER && describe_character(s, text, end, line))
		return;
	switch (s->state) {
	case SYNTAX_WANT_NAME:
		if (token == SYNTAX_NAME || token == SYNTAX_BOOLEAN)
			begin_name(s, text, len, line);
		else if (c != ';' && c != ',' && !closed(s, c))
			no_name(s, token, text, end, line);
		break;
	case SYNTAX_WANT_ASSIGN:
		if (c == '=' || c == ':')
			s->state = SYNTAX_WANT_VALUE;
		else
			not_assigned(s, text, end);
		break;
	case SYNTAX_WANT_VALUE:
		if (is_value(token, text, len))
			s->state = SYNTAX_AFTER_VALUE;
		else if (token == SYNTAX_NUMBER)
			bad_number(s, text, end, line);
		else if (!opened(s, c, line) && (in_settings(s) || !closed(s, c)))
			no_value(s, token, text, end, line);
		else if (s->after_comma && s->state == SYNTAX_AFTER_VALUE)
			s->comma_line = line;
		break;
	case SYNTAX_AFTER_VALUE:
		if (s->after_string && token == SYNTAX_NAME && text == s->string_end)
			after_value(s, token, text, line);
		else if (in_settings(s) && token == SYNTAX_NAME)
			begin_name(s, text, len, line);
		else if (in_settings(s) ? c == ';' || c == ',' : c == ',')
			s->state = in_settings(s) ? SYNTAX_WANT_NAME : SYNTAX_WANT_VALUE;
		else if (!(s->after_string && token == SYNTAX_STRING) && !closed(s, c))
			after_value(s, token, text, line);
		break;
	}
	if (token != SYNTAX_NAME && token != SYNTAX_OTHER)
		s->value_line = line;
	s->after_comma = c == ',';
	s->after_string = token == SYNTAX_STRING;
	if (token == SYNTAX_STRING) {
		s->string_end = text + len;
		s->string_line = line;
	}
}

void syntax_end(struct syntax *s)
{
	const char *name = s->depth > 0 ? s->stack[s->depth - 1].name : s->name;

	if (s->line != 0)
		return;
	if (s->state == SYNTAX_WANT_ASSIGN)
		not_assigned(s, "", "");
	else if (s->state == SYNTAX_WANT_VALUE && in_settings(s))
		problem(s, s->name_line, "%s has no value; the file ends",
		        may_show_name(s->name) ? s->name : "the setting");
	else if (s->depth > 0)
		problem(s, s->stack[s->depth - 1].line, "%s: its %c is never closed; %c is missing",
		        may_show_name(name) ? name : "the setting", s->stack[s->depth - 1].open,
		        closing(s->stack[s->depth - 1].open));
	else if (s->comma_line != 0)
		problem(s, s->comma_line, "a comma stands before the end of a list; remove it");
}
