/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/json_dump.h"

#include "core/base/json_text.h"

#include <stdint.h>
#include <string.h>

/* room: of json_text_measure. What follows the string. */
static char *write_string(char *to, const char *text, size_t len, size_t room)
{
	*to++ = '"';
	to = room == len ? mempcpy(to, text, len) : json_text_write(to, text, len);
	*to++ = '"';
	return to;
}

static int add_string(struct buf *out, const char *text, size_t len)
{
	size_t room;
	char *to;

	if (!json_text_measure(text, len, &room) || (to = buf_reserve(out, room + 2)) == NULL)
		return -1;
	write_string(to, text, len, room);
	buf_commit(out, room + 2);
	return 0;
}

/* before: the brace or comma before it. */
static int add_key(struct buf *out, char before, const char *key, size_t len)
{
	size_t room;
	char *to;

	if (!json_text_measure(key, len, &room) || (to = buf_reserve(out, room + 4)) == NULL)
		return -1;
	*to++ = before;
	to = write_string(to, key, len, room);
	*to = ':';
	buf_commit(out, room + 4);
	return 0;
}

static int add_object(struct buf *out, const json_t *value)
{
	json_t *object = (json_t *)(uintptr_t)value; /* which iterators do not change */
	void *i = json_object_iter(object);

	if (i == NULL)
		return buf_add(out, "{}", 2);
	for (char before = '{'; i != NULL; i = json_object_iter_next(object, i), before = ',')
		if (add_key(out, before, json_object_iter_key(i), json_object_iter_key_len(i)) < 0 ||
		    json_dump(out, json_object_iter_value(i)) < 0)
			return -1;
	return buf_add(out, "}", 1);
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
