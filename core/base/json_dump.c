/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/json_dump.h"

#include "core/base/json_text.h"
#include "core/base/utf8.h"

#include <stdint.h>
#include <string.h>

static bool is_utf8(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	size_t n;

	while ((p = json_text_span(p, end)) < end) {
		n = *p < 0x80 ? 1 : utf8_sequence(p, end);
		if (n == 0)
			return false;
		p += n;
	}
	return true;
}

static int add_string(struct buf *out, const char *text, size_t len)
{
	return !is_utf8(text, len) || buf_add(out, "\"", 1) < 0 || json_text_add(out, text, len) < 0 ||
	                       buf_add(out, "\"", 1) < 0
	               ? -1
	               : 0;
}

static int add_object(struct buf *out, const json_t *value)
{
	json_t *object = (json_t *)(uintptr_t)value; /* which iterators do not change */
	const char *before = "{";

	for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i)) {
		const char *key = json_object_iter_key(i);

		if (buf_add(out, before, 1) < 0 || add_string(out, key, strlen(key)) < 0 || buf_add(out, ":", 1) < 0 ||
		    json_dump(out, json_object_iter_value(i)) < 0)
			return -1;
		before = ",";
	}
	return buf_add(out, "{}", *before == '{' ? 2 : 0) < 0 || (*before == ',' && buf_add(out, "}", 1) < 0) ? -1 : 0;
}

static int add_array(struct buf *out, const json_t *value)
{
	const size_t count = json_array_size(value);

	if (buf_add(out, "[", 1) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if ((i > 0 && buf_add(out, ",", 1) < 0) || json_dump(out, json_array_get(value, i)) < 0)
			return -1;
	return buf_add(out, "]", 1);
}

static int add_bytes(const char *bytes, size_t len, void *out)
{
	return buf_add(out, bytes, len);
}

int json_dump(struct buf *out, const json_t *value)
{
	if (json_is_string(value))
		return add_string(out, json_string_value(value), json_string_length(value));
	if (json_is_object(value))
		return add_object(out, value);
	if (json_is_array(value))
		return add_array(out, value);
	return json_dump_callback(value, add_bytes, out, JSON_COMPACT | JSON_ENCODE_ANY);
}
