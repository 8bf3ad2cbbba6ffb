/* SPDX-License-Identifier: Apache-2.0 */
/* jansson takes up to 240 bytes for a value, and reads a number again for each digit. So text with more
 * values than its length justifies, or with such a number, is refused before anything is built. */
#include "core/protocol/json_body.h"

#include "core/base/json_text.h"
#include "core/protocol/json_error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#define VALUES_ALWAYS 1000u
#define NUMBER_MAX    4300u /* digits, as in Python */

const struct json_body_limits json_body_short = {10000, 16};
const struct json_body_limits json_body_long = {50000, 8};

/* What is after a string whose opening quote is at p. */
static const unsigned char *pass_string(const unsigned char *p, const unsigned char *end)
{
	for (p++; (p = json_text_span(p, end)) < end && *p != '"';)
		p += *p == '\\' && p + 1 < end ? 2 : 1;
	return p < end ? p + 1 : end;
}

/* Counts commas and brackets, which are as many as there are values. What is no JSON may be miscounted:
 * it is refused anyway. Whether it may be read. */
static bool check_cost(const unsigned char *begin, size_t len, const struct json_body_limits *limits,
                       struct json_body_error *e)
{
	const unsigned char *p = begin, *end = begin + len, *from;
	size_t values_left = VALUES_ALWAYS + len / limits->text;

	if (values_left > limits->values)
		values_left = limits->values;
	while (p < end) {
		from = p;
		if (*p == '"') {
			p = pass_string(p, end);
			continue;
		}
		while (p < end && (*p >= '0' && *p <= '9') && (size_t)(p - from) <= NUMBER_MAX)
			p++;
		if ((size_t)(p - from) > NUMBER_MAX) {
			e->message = "Exceeds the limit of digits of a number";
			e->offset = (size_t)(from - begin);
			return false;
		}
		if (p > from)
			continue;
		if ((*p == ',' || *p == '[' || *p == '{') && values_left-- == 0) {
			e->message = "Too many values";
			e->offset = (size_t)(p - begin);
			return false;
		}
		p++;
	}
	return true;
}

static json_t *load(const char *text, size_t len, json_error_t *error)
{
	const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
	json_t *root = json_loadb(text, len, flags, error);

	if (root == NULL && json_error_code(error) == json_error_numeric_overflow)
		root = json_loadb(text, len, flags | JSON_DECODE_INT_AS_REAL, error);
	return root;
}

static void explain(const char *body, size_t len, const json_error_t *error, struct json_body_error *e)
{
	struct json_error found;

	json_error_find(body, len, &found);
	e->message = found.message;
	e->offset = found.offset;
	if (found.message != NULL)
		return;
	/* Python takes what jansson does not: halves of surrogate pairs, NaN, 1e999. */
	e->message = json_error_code(error) == json_error_invalid_utf8 ? "Invalid UTF-8"
	                                                               : "Number or character out of range";
	e->offset = found.half != SIZE_MAX ? found.half : error->position > 0 ? (size_t)error->position : 0;
}

json_t *json_body_parse(const char *body, size_t len, const struct json_body_limits *limits, struct json_body_error *e)
{
	json_error_t error = {.text = ""};
	json_t *root;

	*e = (struct json_body_error){.message = NULL};
	if (!check_cost((const unsigned char *)body, len, limits, e))
		return NULL;
	errno = 0;
	root = load(body, len, &error);
	if (root == NULL && errno != ENOMEM)
		explain(body, len, &error, e);
	return root;
}
