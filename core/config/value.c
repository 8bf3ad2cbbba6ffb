/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/value.h"

#include "core/base/text.h"
#include "core/config/mcp_servers.h"
#include "core/config/value_check.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WHITESPACE     " \t\r\n"
#define LIST_ITEMS_MAX 1024

static int out_of_memory(struct err *e)
{
	return err_set(e, "out of memory");
}

/* --- numbers --------------------------------------------------------------------- */

static bool in_range(const struct key_row *row, double x)
{
	return (row->min == 0 && row->max == 0) || (x >= row->min && x <= row->max);
}

static int set_number(const struct key_row *row, double x, const char *shown, struct value *out, struct err *e)
{
	if (!isfinite(x) || !in_range(row, x))
		return value_refuse(row, shown, "is out of range", e);
	if (row->type == TYPE_REAL)
		out->real = x;
	else if (row->type == TYPE_TIME)
		out->num = llround(x * 1000);
	else
		out->num = (int64_t)x;
	return 0;
}

/* INT and SIZE never pass through a double, which would round large values. */
static int set_whole(const struct key_row *row, int64_t n, const char *shown, struct value *out, struct err *e)
{
	if (!in_range(row, (double)n))
		return value_refuse(row, shown, "is out of range", e);
	out->num = n;
	return 0;
}

void value_number_advice(const struct key_row *row, const char *text, char *out, size_t size)
{
	static const struct {
		const char *unit;
		enum key_type type;
		double factor;
	} units[] = {
		{"ms", TYPE_TIME, 0.001},     {"s", TYPE_TIME, 1},           {"sec", TYPE_TIME, 1},
		{"secs", TYPE_TIME, 1},       {"second", TYPE_TIME, 1},      {"seconds", TYPE_TIME, 1},
		{"m", TYPE_TIME, 60},         {"min", TYPE_TIME, 60},        {"mins", TYPE_TIME, 60},
		{"minute", TYPE_TIME, 60},    {"minutes", TYPE_TIME, 60},    {"h", TYPE_TIME, 3600},
		{"hour", TYPE_TIME, 3600},    {"hours", TYPE_TIME, 3600},    {"d", TYPE_TIME, 86400},
		{"day", TYPE_TIME, 86400},    {"days", TYPE_TIME, 86400},    {"B", TYPE_SIZE, 1},
		{"k", TYPE_SIZE, 1024},       {"kb", TYPE_SIZE, 1024},       {"KiB", TYPE_SIZE, 1024},
		{"m", TYPE_SIZE, 1048576},    {"mb", TYPE_SIZE, 1048576},    {"MiB", TYPE_SIZE, 1048576},
		{"g", TYPE_SIZE, 1073741824}, {"gb", TYPE_SIZE, 1073741824}, {"GiB", TYPE_SIZE, 1073741824},
	};
	size_t digits = strspn(text, ".0123456789");
	const char *unit = text + digits + strspn(text + digits, WHITESPACE);
	char *end;
	double x = strtod(text, &end);

	*out = '\0';
	if (digits == 0 || end != text + digits)
		return;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (units[i].type == row->type && strcasecmp(units[i].unit, unit) == 0)
			snprintf(out, size, "write %.15g", x * units[i].factor);
}

static int not_a_number(const struct key_row *row, const char *text, struct err *e)
{
	bool whole = row->type == TYPE_INT || row->type == TYPE_SIZE;
	char advice[60], why[100];

	value_number_advice(row, text, advice, sizeof advice);
	snprintf(why, sizeof why, "is not a %snumber%s%s", whole ? "whole " : "", *advice != '\0' ? ": " : "", advice);
	return value_refuse(row, text, why, e);
}

static int number_from_text(const struct key_row *row, const char *text, struct value *out, struct err *e)
{
	bool whole = row->type == TYPE_INT || row->type == TYPE_SIZE;
	char *end;

	/* strtod alone would take "inf", "nan" and "0x1p3". */
	if (*text == '\0' || strspn(text, whole ? "+-0123456789" : "+-.0123456789eE") != strlen(text))
		return not_a_number(row, text, e);
	errno = 0;
	if (whole) {
		long long n = strtoll(text, &end, 10);

		if (*end != '\0' || end == text)
			return not_a_number(row, text, e);
		if (errno == ERANGE)
			return value_refuse(row, text, "is out of range", e);
		return set_whole(row, n, text, out, e);
	}
	double x = strtod(text, &end);

	if (*end != '\0' || end == text)
		return not_a_number(row, text, e);
	return set_number(row, x, text, out, e);
}

static int bool_from_text(const struct key_row *row, const char *text, struct value *out, struct err *e)
{
	static const char *const words[2][4] = {{"false", "0", "no", "off"}, {"true", "1", "yes", "on"}};

	for (int truth = 0; truth < 2; truth++) {
		for (size_t i = 0; i < 4; i++) {
			if (strcasecmp(text, words[truth][i]) == 0) {
				out->num = truth;
				return 0;
			}
		}
	}
	return value_refuse(row, text, "is neither true nor false (1, 0, yes, no, on, off)", e);
}

/* --- strings --------------------------------------------------------------------- */

static int enum_from_text(const struct key_row *row, const char *text, struct value *out, struct err *e)
{
	size_t len;
	const char *choice = value_choice(row, text, &len);

	if (choice == NULL)
		return value_no_choice(row, text, e);
	out->str = strndup(choice, len);
	return out->str != NULL ? 0 : out_of_memory(e);
}

/* For mcp_servers_check. */
static int check_json_value(const struct key_row *row, const json_t *j, struct err *e)
{
	struct value v;
	int result = value_from_json(row, j, &v, e);

	if (result == 0)
		value_free(&v);
	return result;
}

/* An empty string means unset, if the setting can be unset. */
static int string_from_text(const struct key_row *row, const char *text, struct value *out, struct err *e)
{
	if (*text == '\0') {
		if (row->info.def == NULL || (row->flags & KEY_TEXT) != 0)
			return 0;
		return value_refuse(row, NULL, "is empty", e);
	}
	if ((row->flags & KEY_SERVERS) != 0) {
		if (strlen(text) > (size_t)row->max)
			return value_refuse(row, NULL, "is too long", e);
		if (mcp_servers_check(text, check_json_value, e) < 0)
			return -1;
		if (strcmp(text, "[]") == 0)
			return 0;
	} else if (value_check_string(row, text, e) < 0) {
		return -1;
	}
	if ((row->flags & KEY_PROXY) != 0 && strstr(text, "://") == NULL) {
		if (asprintf(&out->str, "http://%s", text) < 0)
			out->str = NULL;
	} else {
		out->str = strdup(text);
	}
	if (out->str == NULL)
		return out_of_memory(e);
	return (row->flags & KEY_PROXY) != 0 ? value_check_proxy(row, out->str, e) : 0;
}

/* --- lists ----------------------------------------------------------------------- */

static char **list_items(struct cfg_list *list)
{
	return (char **)(uintptr_t)list->items;
}

static int list_add(const struct key_row *row, struct cfg_list *list, const char *item, size_t len, struct err *e)
{
	char **items;

	if (list->count == LIST_ITEMS_MAX)
		return value_refuse(row, NULL, "has too many entries", e);
	items = realloc(list_items(list), (list->count + 1) * sizeof *items);
	if (items == NULL)
		return out_of_memory(e);
	list->items = items;
	items[list->count] = strndup(item, len);
	if (items[list->count] == NULL)
		return out_of_memory(e);
	list->count++;
	return value_check_item(row, items[list->count - 1], e);
}

static int list_done(const struct key_row *row, const struct value *v, struct err *e)
{
	if (v->list.count == 0 && (row->flags & KEY_NO_EMPTY_LIST) != 0)
		return value_refuse(row, NULL, "is empty", e);
	for (size_t i = 0; (row->flags & KEY_HOSTS) != 0 && i < v->list.count; i++) {
		const char *item = v->list.items[i];

		for (size_t k = 0; k < i; k++)
			if (strncasecmp(item, v->list.items[k], strcspn(item, "=") + 1) == 0)
				return value_refuse(row, item, "is the second entry for this host", e);
	}
	return 0;
}

static int list_from_text(const struct key_row *row, const char *text, struct value *out, struct err *e)
{
	while (*text != '\0') {
		size_t len = strcspn(text, ",");
		const char *next = text + len + (text[len] == ',');

		while (len > 0 && strchr(WHITESPACE, *text) != NULL)
			text++, len--;
		while (len > 0 && strchr(WHITESPACE, text[len - 1]) != NULL)
			len--;
		if (len > 0 && list_add(row, &out->list, text, len, e) < 0)
			return -1;
		text = next;
	}
	return list_done(row, out, e);
}

static int list_from_items(const struct key_row *row, const struct literal *lit, struct value *out, struct err *e)
{
	for (size_t i = 0; i < lit->count; i++) {
		if (*lit->items[i] == '\0')
			return value_refuse(row, NULL, "contains an empty string", e);
		if (list_add(row, &out->list, lit->items[i], strlen(lit->items[i]), e) < 0)
			return -1;
	}
	return list_done(row, out, e);
}

/* --- the two ways in --------------------------------------------------------------- */

typedef int from_text_fn(const struct key_row *row, const char *text, struct value *out, struct err *e);

static const struct {
	from_text_fn *from_text;
	bool trimmed;
} types[] = {
	[TYPE_BOOL] = {bool_from_text, true},   [TYPE_INT] = {number_from_text, true},
	[TYPE_REAL] = {number_from_text, true}, [TYPE_TIME] = {number_from_text, true},
	[TYPE_SIZE] = {number_from_text, true}, [TYPE_STRING] = {string_from_text, false},
	[TYPE_URL] = {string_from_text, true},  [TYPE_ENUM] = {enum_from_text, true},
	[TYPE_LIST] = {list_from_text, false},
};

int value_from_text(const struct key_row *row, const char *text, struct value *out, struct err *e)
{
	char *copy = NULL;
	int result;

	*out = value_unset();
	if (types[row->type].trimmed) {
		size_t len;

		text += strspn(text, WHITESPACE);
		len = strlen(text);
		while (len > 0 && strchr(WHITESPACE, text[len - 1]) != NULL)
			len--;
		copy = strndup(text, len);
		if (copy == NULL)
			return out_of_memory(e);
		text = copy;
	}
	result = types[row->type].from_text(row, text, out, e);
	free(copy);
	if (result < 0)
		value_free(out);
	return result;
}

/* A literal of another type than the setting's: what it is, and what to write instead. */
static int wrong_type(const struct key_row *row, const struct literal *lit, const char *advice, struct err *e)
{
	static const char *const kinds[] = {
		[LITERAL_BOOL] = "a boolean",
		[LITERAL_INT] = "a number",
		[LITERAL_REAL] = "a number",
		[LITERAL_STRING] = "a string",
		[LITERAL_LIST] = "a list",
		[LITERAL_GROUP] = "a group",
		[LITERAL_MIXED] = "a list with other things than strings in it",
	};
	char shown[100] = "", why[200];

	if (lit->kind == LITERAL_BOOL)
		snprintf(shown, sizeof shown, "%s", lit->truth ? "true" : "false");
	else if (lit->kind == LITERAL_INT)
		snprintf(shown, sizeof shown, "%lld", (long long)lit->num);
	else if (lit->kind == LITERAL_REAL)
		snprintf(shown, sizeof shown, "%.15g", lit->real);
	else if (lit->kind == LITERAL_STRING)
		snprintf(shown, sizeof shown, "\"%.60s%s\"", lit->str, strlen(lit->str) > 60 ? "..." : "");
	snprintf(why, sizeof why, "is %s%s%s", kinds[lit->kind], *advice != '\0' ? ": " : "", advice);
	return value_refuse(row, shown[0] != '\0' ? shown : NULL, why, e);
}

/* A string where no string is expected: without its quotes, would it be a value? */
static int unexpected_string(const struct key_row *row, const struct literal *lit, struct err *e)
{
	struct value v = value_unset();
	char advice[100] = "";
	size_t length = strlen(lit->str);

	if (value_from_text(row, lit->str, &v, NULL) < 0) {
		if (row->type != TYPE_BOOL)
			value_number_advice(row, lit->str, advice, sizeof advice);
	} else if (row->type == TYPE_BOOL) {
		snprintf(advice, sizeof advice, "write %s, without quotes", v.num != 0 ? "true" : "false");
	} else if (row->type == TYPE_LIST) {
		if (v.list.count == 1 && length < 60 && !row->info.secret)
			snprintf(advice, sizeof advice, "write [ \"%s\" ]", v.list.items[0]);
		else
			snprintf(advice, sizeof advice, "write [ \"ONE\", \"ANOTHER\" ]");
	} else {
		snprintf(advice, sizeof advice, "remove the quotes");
	}
	value_free(&v);
	return wrong_type(row, lit, advice, e);
}

static int number_from_literal(const struct key_row *row, const struct literal *lit, struct value *out, struct err *e)
{
	bool whole = row->type == TYPE_INT || row->type == TYPE_SIZE;
	char shown[40];

	if (lit->kind == LITERAL_INT) {
		snprintf(shown, sizeof shown, "%lld", (long long)lit->num);
		if (whole)
			return set_whole(row, lit->num, shown, out, e);
		return set_number(row, (double)lit->num, shown, out, e);
	}
	if (lit->kind == LITERAL_STRING)
		return unexpected_string(row, lit, e);
	if (lit->kind != LITERAL_REAL)
		return wrong_type(row, lit, "", e);
	snprintf(shown, sizeof shown, "%.15g", lit->real);
	if (whole)
		return value_refuse(row, shown, "has a fraction: write a whole number, without a point", e);
	return set_number(row, lit->real, shown, out, e);
}

static int bool_from_literal(const struct key_row *row, const struct literal *lit, struct value *out, struct err *e)
{
	if (lit->kind == LITERAL_STRING)
		return unexpected_string(row, lit, e);
	if (lit->kind == LITERAL_INT && (lit->num == 0 || lit->num == 1))
		return wrong_type(row, lit, lit->num == 1 ? "write true" : "write false", e);
	if (lit->kind != LITERAL_BOOL)
		return wrong_type(row, lit, "", e);
	out->num = lit->truth;
	return 0;
}

static int fill_literal(const struct key_row *row, const struct literal *lit, struct value *out, struct err *e)
{
	switch (row->type) {
	case TYPE_BOOL:
		return bool_from_literal(row, lit, out, e);
	case TYPE_INT:
	case TYPE_REAL:
	case TYPE_TIME:
	case TYPE_SIZE:
		return number_from_literal(row, lit, out, e);
	case TYPE_STRING:
	case TYPE_URL:
	case TYPE_ENUM:
		if (lit->kind == LITERAL_STRING)
			return types[row->type].from_text(row, lit->str, out, e);
		return wrong_type(
			row, lit,
			lit->kind == LITERAL_GROUP || (row->flags & KEY_JSON) != 0 ? "write a string, in quotes"
			: lit->kind == LITERAL_LIST || lit->kind == LITERAL_MIXED ? "write one string, without brackets"
										  : "put it in quotes",
			e);
	case TYPE_LIST:
		if (lit->kind == LITERAL_LIST)
			return list_from_items(row, lit, out, e);
		if (lit->kind == LITERAL_STRING)
			return unexpected_string(row, lit, e);
		return wrong_type(row, lit,
		                  lit->kind == LITERAL_MIXED ? "put each in quotes" : "write [ \"ONE\", \"ANOTHER\" ]",
		                  e);
	}
	return wrong_type(row, lit, "", e);
}

int value_from_literal(const struct key_row *row, const struct literal *lit, struct value *out, struct err *e)
{
	int result;

	*out = value_unset();
	result = fill_literal(row, lit, out, e);
	if (result < 0)
		value_free(out);
	return result;
}

/* --- from JSON ---------------------------------------------------------------------- */

static int list_literal(const json_t *j, struct literal *lit, const char ***items)
{
	size_t count = json_array_size(j);

	*items = calloc(count + 1, sizeof **items);
	if (*items == NULL)
		return -1;
	lit->kind = LITERAL_LIST;
	lit->items = *items;
	lit->count = count;
	for (size_t i = 0; i < count; i++) {
		(*items)[i] = json_string_value(json_array_get(j, i));
		if ((*items)[i] == NULL)
			lit->kind = LITERAL_MIXED;
	}
	return 0;
}

int value_from_json(const struct key_row *row, const json_t *j, struct value *out, struct err *e)
{
	struct literal lit = {.kind = LITERAL_GROUP};
	const char **items = NULL;
	int result;

	if (json_is_boolean(j)) {
		lit.kind = LITERAL_BOOL;
		lit.truth = json_is_true(j);
	} else if (json_is_integer(j)) {
		lit.kind = LITERAL_INT;
		lit.num = json_integer_value(j);
	} else if (json_is_real(j)) {
		lit.kind = LITERAL_REAL;
		lit.real = json_real_value(j);
	} else if (json_is_string(j) || json_is_null(j)) {
		lit.kind = LITERAL_STRING;
		lit.str = json_is_null(j) ? "" : json_string_value(j);
	} else if (json_is_array(j) && list_literal(j, &lit, &items) < 0) {
		return err_set(e, "out of memory");
	}
	result = value_from_literal(row, &lit, out, e);
	free(items);
	return result;
}

/* --- the rest of a value's life ----------------------------------------------------- */

struct value value_unset(void)
{
	return (struct value){.str = NULL, .list = {.count = 0, .items = NULL}, .origin = NULL};
}

void value_free(struct value *v)
{
	for (size_t i = 0; i < v->list.count; i++)
		free(v->list.items[i]);
	free(list_items(&v->list));
	free(v->str);
	free(v->origin);
	*v = value_unset();
}

int value_copy(const struct key_row *row, const struct value *v, struct value *out)
{
	*out = value_unset();
	out->num = v->num;
	out->real = v->real;
	if (v->str != NULL && (out->str = strdup(v->str)) == NULL)
		goto fail;
	if (v->origin != NULL && (out->origin = strdup(v->origin)) == NULL)
		goto fail;
	for (size_t i = 0; i < v->list.count; i++)
		if (list_add(row, &out->list, v->list.items[i], strlen(v->list.items[i]), NULL) < 0)
			goto fail;
	return 0;
fail:
	value_free(out);
	return -1;
}

bool value_equal(const struct key_row *row, const struct value *a, const struct value *b)
{
	switch (row->type) {
	case TYPE_REAL:
		return a->real >= b->real && a->real <= b->real;
	case TYPE_STRING:
	case TYPE_URL:
	case TYPE_ENUM:
		return text_same(a->str, b->str);
	case TYPE_LIST:
		if (a->list.count != b->list.count)
			return false;
		for (size_t i = 0; i < a->list.count; i++)
			if (strcmp(a->list.items[i], b->list.items[i]) != 0)
				return false;
		return true;
	default:
		return a->num == b->num;
	}
}

int value_text(const struct key_row *row, const struct value *v, struct buf *out)
{
	switch (row->type) {
	case TYPE_BOOL:
		return buf_adds(out, v->num != 0 ? "true" : "false");
	case TYPE_INT:
	case TYPE_SIZE:
		return buf_addf(out, "%lld", (long long)v->num);
	case TYPE_TIME:
		return buf_addf(out, "%.15g", (double)v->num / 1000);
	case TYPE_REAL:
		return buf_addf(out, "%.15g", v->real);
	case TYPE_LIST:
		for (size_t i = 0; i < v->list.count; i++)
			if (buf_addf(out, "%s%s", i == 0 ? "" : ", ", v->list.items[i]) < 0)
				return -1;
		return 0;
	default:
		return buf_adds(out, v->str != NULL ? v->str : "");
	}
}

int value_shown(const struct key_row *row, const struct value *v, struct buf *out)
{
	char *shown, masked[2048];
	int result;

	if (row->info.secret)
		return buf_adds(out, v->str != NULL ? "(secret)" : "");
	if ((row->flags & KEY_SCHEME) != 0 && v->str != NULL) {
		config_mask_url(v->str, masked, sizeof masked);
		return buf_adds(out, masked);
	}
	if ((row->flags & KEY_SERVERS) == 0 || v->str == NULL)
		return value_text(row, v, out);
	shown = mcp_servers_shown(v->str);
	result = shown != NULL ? buf_adds(out, shown) : -1;
	free(shown);
	return result;
}

static json_t *list_to_json(const struct cfg_list *list)
{
	json_t *a = json_array();

	for (size_t i = 0; a != NULL && i < list->count; i++) {
		if (json_array_append_new(a, json_string(list->items[i])) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

json_t *value_to_json(const struct key_row *row, const struct value *v)
{
	switch (row->type) {
	case TYPE_BOOL:
		return json_boolean(v->num != 0);
	case TYPE_INT:
	case TYPE_SIZE:
		return json_integer(v->num);
	case TYPE_TIME:
		return v->num % 1000 == 0 ? json_integer(v->num / 1000) : json_real((double)v->num / 1000);
	case TYPE_REAL:
		return json_real(v->real);
	case TYPE_LIST:
		return list_to_json(&v->list);
	default:
		return v->str != NULL ? json_string(v->str) : json_null();
	}
}
