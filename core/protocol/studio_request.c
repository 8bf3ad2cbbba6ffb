/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/studio_request.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/protocol/json_body.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What an answer repeats of a wrong body, so that it costs no more than the body: bytes of text, and of
 * a body longer than that, so many items at two levels, with so many bytes of text each. */
#define INPUT_MAX      4096u
#define INPUT_ITEMS    8u
#define INPUT_ITEM_MAX 256u
#define PROBLEMS_MAX   10u

#define ID_MAX 512u

/* ---- strings ---- */

/* A new reference to the string, with U+FFFD in the place of each NUL, where C would end it. */
static json_t *without_nul(json_t *string)
{
	static const char replacement[] = "\xef\xbf\xbd";
	const char *at = json_string_value(string), *end = at + json_string_length(string), *nul;
	struct buf b = BUF_INIT(SIZE_MAX / 4);
	json_t *result = NULL;

	if (memchr(at, '\0', (size_t)(end - at)) == NULL)
		return json_incref(string);
	for (; (nul = memchr(at, '\0', (size_t)(end - at))) != NULL; at = nul + 1)
		if (buf_add(&b, at, (size_t)(nul - at)) < 0 || buf_adds(&b, replacement) < 0)
			goto out;
	if (buf_add(&b, at, (size_t)(end - at)) == 0)
		result = json_stringn(b.data, b.len);
out:
	buf_free(&b);
	return result;
}

static char *text_of(json_t *string)
{
	json_t *plain = without_nul(string);
	char *text = plain != NULL ? strdup(json_string_value(plain)) : NULL;

	json_decref(plain);
	return text;
}

/* ---- answers as FastAPI words them ---- */

enum problem { MISSING, STRING_TYPE, LITERAL, PART_TYPE, NO_OBJECT, NO_TEXT, TOO_LONG };

static const struct {
	const char *type, *message;
} problems[] = {
	[MISSING] = {"missing", "Field required"},
	[STRING_TYPE] = {"string_type", "Input should be a valid string"},
	[LITERAL] = {"literal_error", "Input should be 'text' or 'image_url'"},
	[PART_TYPE] = {"model_attributes_type", "Input should be a valid dictionary or object to extract fields from"},
	[NO_OBJECT] = {"model_attributes_type", "Input should be a valid dictionary or object to extract fields from"},
	[TOO_LONG] = {"string_too_long", "String should have at most 512 characters"},
	[NO_TEXT] = {"too_short", "List should have at least 1 item after validation, not 0"},
};

/* About how long value is as text; beyond room it is not measured. */
static size_t text_size(const json_t *value, size_t room)
{
	size_t size = 8, i;
	const json_t *item;
	const char *key;

	if (json_is_string(value))
		return json_string_length(value);
	json_array_foreach(value, i, item)
	{
		if (size > room)
			return size;
		size += text_size(item, room - size);
	}
	for (void *at = json_object_iter((json_t *)value); at != NULL && size <= room;
	     at = json_object_iter_next((json_t *)value, at)) {
		key = json_object_iter_key(at);
		size += strlen(key);
		if (size <= room)
			size += text_size(json_object_iter_value(at), room - size);
	}
	return size;
}

static json_t *cut_string(const json_t *string, size_t max)
{
	return json_stringn(json_string_value(string), utf8_cut(json_string_value(string), max));
}

static json_t *cut(json_t *value, unsigned levels)
{
	json_t *result, *item;
	size_t i;
	void *at;

	if (json_is_string(value))
		return cut_string(value, INPUT_ITEM_MAX);
	if (json_is_array(value)) {
		result = json_array();
		json_array_foreach(value, i, item)
		{
			if (levels == 0 || i == INPUT_ITEMS)
				break;
			json_array_append_new(result, cut(item, levels - 1));
		}
		return result;
	}
	if (!json_is_object(value))
		return json_incref(value);
	result = json_object();
	for (at = json_object_iter(value), i = 0; levels > 0 && at != NULL && i < INPUT_ITEMS;
	     at = json_object_iter_next(value, at), i++)
		if (strlen(json_object_iter_key(at)) <= INPUT_ITEM_MAX)
			json_object_set_new(result, json_object_iter_key(at),
			                    cut(json_object_iter_value(at), levels - 1));
	return result;
}

/* A new reference to value, or to so much of it as an answer repeats. */
static json_t *input_of(json_t *value)
{
	if (text_size(value, INPUT_MAX) <= INPUT_MAX)
		return json_incref(value);
	return json_is_string(value) ? cut_string(value, INPUT_MAX) : cut(value, 2);
}

/* Adds one problem to an array that FastAPI calls detail, unless that has enough of them; loc is stolen.
 * -1: no memory. */
static int add_problem(json_t *list, enum problem p, json_t *loc, json_t *input)
{
	if (json_array_size(list) >= PROBLEMS_MAX) {
		json_decref(loc);
		return 0;
	}
	return json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:o, s:o*}", "type", problems[p].type, "loc", loc,
	                                             "msg", problems[p].message, "input", input_of(input), "ctx",
	                                             p == TOO_LONG ? json_pack("{s:i}", "max_length", ID_MAX) : NULL));
}

/* The whole answer; list is stolen. 422, or -1. */
static int refuse(json_t *list, json_t **detail)
{
	*detail = json_pack("{s:o}", "detail", list);
	return *detail != NULL ? 422 : -1;
}

static int refuse_one(enum problem p, json_t *loc, json_t *input, json_t **detail)
{
	json_t *list = json_array();

	if (add_problem(list, p, loc, input) < 0) {
		json_decref(list);
		return -1;
	}
	return refuse(list, detail);
}

static int refuse_json(const struct json_body_error *e, json_t **detail)
{
	if (e->message == NULL)
		return -1;
	*detail =
		json_pack("{s:[{s:s, s:[s, I], s:s, s:{}, s:{s:s}}]}", "detail", "type", "json_invalid", "loc", "body",
	                  (json_int_t)e->offset, "msg", "JSON decode error", "input", "ctx", "error", e->message);
	return *detail != NULL ? 422 : -1;
}

void studio_request_not_json(const char *body, size_t len, json_t **detail)
{
	char *text = utf8_text(body, len < INPUT_MAX ? len : INPUT_MAX);
	json_t *input = text != NULL ? json_string(text) : NULL;

	*detail = NULL;
	if (input != NULL)
		refuse_one(NO_OBJECT, json_pack("[s]", "body"), input, detail);
	json_decref(input);
	free(text);
}

/* ---- content arrays ---- */

static bool is_text_part(const char *type)
{
	return strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0;
}

static bool is_image_part(const char *type)
{
	return strcmp(type, "image_url") == 0 || strcmp(type, "input_image") == 0;
}

/* The URL of an image part: {"image_url":{"url":...}} or {"image_url":"..."}. */
static json_t *image_url(const json_t *part)
{
	json_t *image = json_object_get(part, "image_url");

	return json_is_object(image) ? json_object_get(image, "url") : image;
}

/* A part, or one of its members, that is not what it should be. */
static int refuse_part(json_t *list, size_t index, const char *member, json_t *part, json_t *value)
{
	json_t *at = json_pack("[s, s, I]", "body", "message", (json_int_t)index);
	enum problem problem = value == NULL ? MISSING : STRING_TYPE;

	if (member == NULL)
		return add_problem(list, PART_TYPE, at, part);
	if (json_array_append_new(at, json_string(member)) < 0) {
		json_decref(at);
		return -1;
	}
	if (value != NULL && strcmp(member, "type") == 0)
		problem = LITERAL;
	return add_problem(list, problem, at, value == NULL ? part : value);
}

static int take_text(json_t *part, size_t index, struct chat_request *r, json_t *list)
{
	json_t *text = json_object_get(part, "text");

	if (!json_is_string(text))
		return refuse_part(list, index, "text", part, text);
	return json_array_append_new(r->content, json_pack("{s:s, s:o}", "type", "text", "text", without_nul(text)));
}

static int take_image(json_t *part, size_t index, struct chat_request *r, json_t *list)
{
	json_t *url = image_url(part), *detail = json_object_get(json_object_get(part, "image_url"), "detail");

	if (!json_is_string(url))
		return refuse_part(list, index, "image_url", part, url);
	r->has_images = true;
	return json_array_append_new(r->content, json_pack("{s:s, s:{s:o, s:o*}}", "type", "image_url", "image_url",
	                                                   "url", without_nul(url), "detail",
	                                                   json_is_string(detail) ? without_nul(detail) : NULL));
}

/* Adds one part in the form that LLMs take, or what is wrong with it to list. */
static int take_part(json_t *part, size_t index, struct chat_request *r, json_t *list)
{
	json_t *type = json_object_get(part, "type");
	const char *word = json_string_value(type);

	if (!json_is_object(part))
		return refuse_part(list, index, NULL, part, NULL);
	if (word != NULL && is_text_part(word))
		return take_text(part, index, r, list);
	if (word != NULL && is_image_part(word))
		return take_image(part, index, r, list);
	return refuse_part(list, index, "type", part, type);
}

static int take_parts(json_t *parts, struct chat_request *r, json_t *list)
{
	json_t *part;
	size_t i;

	r->content = json_array();
	if (r->content == NULL)
		return -1;
	json_array_foreach(parts, i, part)
	{
		if (json_array_size(list) == PROBLEMS_MAX)
			break;
		if (take_part(part, i, r, list) < 0)
			return -1;
	}
	if (json_array_size(parts) == 0)
		return add_problem(list, NO_TEXT, json_pack("[s, s]", "body", "message"), parts);
	return 0;
}

/* ---- the requests ---- */

static int check_string(json_t *body, const char *key, json_t *list)
{
	json_t *value = json_object_get(body, key);

	if (json_is_string(value))
		return 0;
	return add_problem(list, value == NULL ? MISSING : STRING_TYPE, json_pack("[s, s]", "body", key),
	                   value == NULL ? body : value);
}

/* As pydantic counts: characters. */
static bool is_too_long(const char *text, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len && count <= ID_MAX; i++)
		count += ((unsigned char)text[i] & 0xC0) != 0x80;
	return count > ID_MAX;
}

static int take_body(json_t *body, struct chat_request *r, json_t *list)
{
	json_t *message = json_object_get(body, "message"), *thread_id;

	if (json_is_array(message)) {
		if (take_parts(message, r, list) < 0)
			return -1;
	} else if (json_is_string(message)) {
		r->content = without_nul(message);
		if (r->content == NULL)
			return -1;
	} else if (check_string(body, "message", list) < 0) {
		return -1;
	}
	if (check_string(body, "thread_id", list) < 0)
		return -1;
	thread_id = json_object_get(body, "thread_id");
	if (json_is_string(thread_id) && is_too_long(json_string_value(thread_id), json_string_length(thread_id)) &&
	    add_problem(list, TOO_LONG, json_pack("[s, s]", "body", "thread_id"), thread_id) < 0)
		return -1;
	if (json_array_size(list) > 0)
		return 422;
	r->thread_id = text_of(thread_id);
	r->wants_code = json_is_true(json_object_get(body, "show_code"));
	return r->thread_id != NULL ? 0 : -1;
}

int studio_request_parse(const char *body, size_t len, struct chat_request *r, json_t **detail)
{
	struct json_body_error error;
	json_t *root, *list = NULL;
	int result;

	memset(r, 0, sizeof *r);
	*detail = NULL;
	if (len == 0)
		return refuse_one(MISSING, json_pack("[s]", "body"), json_null(), detail);
	root = json_body_parse(body, len, &json_body_short, &error);
	if (root == NULL)
		return refuse_json(&error, detail);
	if (json_is_null(root)) {
		result = refuse_one(MISSING, json_pack("[s]", "body"), root, detail);
	} else if (!json_is_object(root)) {
		result = refuse_one(NO_OBJECT, json_pack("[s]", "body"), root, detail);
	} else {
		list = json_array();
		result = list != NULL ? take_body(root, r, list) : -1;
		if (result == 422)
			result = refuse(json_incref(list), detail);
	}
	if (result != 0)
		chat_request_clear(r);
	json_decref(list);
	json_decref(root);
	return result;
}

int studio_request_parse_select(const char *query_deploy_id, const char *body, size_t len, char **deploy_id,
                                json_t **detail)
{
	struct json_body_error error;
	json_t *root = NULL, *id = NULL;
	int result;

	*deploy_id = NULL;
	*detail = NULL;
	if (query_deploy_id == NULL && len > 0) {
		root = json_body_parse(body, len, &json_body_short, &error);
		if (root == NULL && error.message == NULL)
			return -1;
		id = json_object_get(root, "deploy_id");
	}
	if (query_deploy_id != NULL && is_too_long(query_deploy_id, strlen(query_deploy_id))) {
		id = json_string(query_deploy_id);
		result = refuse_one(TOO_LONG, json_pack("[s, s]", "query", "deploy_id"), id, detail);
		json_decref(id);
	} else if (query_deploy_id == NULL && json_is_string(id) &&
	           is_too_long(json_string_value(id), json_string_length(id))) {
		result = refuse_one(TOO_LONG, json_pack("[s, s]", "body", "deploy_id"), id, detail);
	} else if (query_deploy_id != NULL || json_is_string(id)) {
		*deploy_id = query_deploy_id != NULL ? strdup(query_deploy_id) : text_of(id);
		result = *deploy_id != NULL ? 0 : -1;
	} else if (id != NULL) {
		result = refuse_one(STRING_TYPE, json_pack("[s, s]", "body", "deploy_id"), id, detail);
	} else {
		result = refuse_one(MISSING, json_pack("[s, s]", "query", "deploy_id"), json_null(), detail);
	}
	json_decref(root);
	return result;
}
