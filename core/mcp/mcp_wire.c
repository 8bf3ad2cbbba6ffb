/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_wire.h"

#include "config.h"

#include "core/base/json_text.h"
#include "core/base/utf8.h"
#include "core/mcp/mcp.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX   32
#define INTEGER_MAX ((INT64_C(1) << 53) - 1)
#define TOKEN                                                                                                          \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"                                             \
	"!#$%&'*+.^`|~"

/* ---- headers ----------------------------------------------------------------------------------- */

static bool is_plain(const char *value)
{
	size_t len = strlen(value), end = strlen(MCP_SENTINEL_END);

	if (len == 0 || value[0] == ' ' || value[0] == '\t' || value[len - 1] == ' ' || value[len - 1] == '\t')
		return false;
	for (const char *p = value; *p != '\0'; p++)
		if ((*p < ' ' || *p > '~') && *p != '\t')
			return false;
	return strncmp(value, MCP_SENTINEL_BEGIN, strlen(MCP_SENTINEL_BEGIN)) != 0 || len < end ||
	       strcmp(value + len - end, MCP_SENTINEL_END) != 0;
}

int mcp_wire_header_value(const char *value, struct buf *out)
{
	size_t len = strlen(value), room = (len + 2) / 3 * 4;
	char *at;

	if (is_plain(value))
		return buf_add(out, value, len);
	if (buf_adds(out, MCP_SENTINEL_BEGIN) < 0 || (at = buf_reserve(out, room + 1)) == NULL)
		return -1;
	EVP_EncodeBlock((unsigned char *)at, (const unsigned char *)value, (int)len);
	buf_commit(out, room);
	return buf_adds(out, MCP_SENTINEL_END);
}

static bool is_known(const json_t *map, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(map, i,
	                   entry) if (strcasecmp(json_string_value(json_array_get(entry, 0)), name) == 0) return true;
	return false;
}

static const char *check_annotation(const json_t *map, const json_t *property, const json_t *annotation)
{
	const char *name = json_string_value(annotation), *type = json_string_value(json_object_get(property, "type"));

	if (name == NULL || *name == '\0' || name[strspn(name, TOKEN)] != '\0')
		return "an x-mcp-header is not the name of a header";
	if (type == NULL ||
	    (strcmp(type, "string") != 0 && strcmp(type, "integer") != 0 && strcmp(type, "boolean") != 0))
		return "an x-mcp-header is at a parameter that is neither string, integer nor boolean";
	return is_known(map, name) ? "two parameters have the same x-mcp-header" : NULL;
}

/* Adds the annotations of a schema, and of the properties below it. found counts all that are reached so. */
static const char *add_annotations(json_t *map, const json_t *schema, json_t *path, size_t *found)
{
	const char *name, *why = NULL;
	json_t *property;

	if (json_array_size(path) > DEPTH_MAX)
		return "its schema is nested too deeply";
	json_object_foreach(json_object_get(schema, "properties"), name, property)
	{
		json_t *annotation = json_object_get(property, "x-mcp-header");

		json_array_append_new(path, json_string(name));
		if (annotation != NULL && (why = check_annotation(map, property, annotation)) == NULL) {
			json_t *entry = json_array();

			json_array_append(entry, annotation);
			json_array_extend(entry, path);
			json_array_append_new(map, entry);
			(*found)++;
		}
		if (why == NULL)
			why = add_annotations(map, property, path, found);
		if (why != NULL)
			return why;
		json_array_remove(path, json_array_size(path) - 1);
	}
	return NULL;
}

/* How many there are anywhere in a schema. A property may be called x-mcp-header: what is below properties are names.
 */
static size_t count_annotations(const json_t *value, bool names, unsigned depth)
{
	size_t count = 0, i;
	const char *name;
	json_t *member;

	if (depth > 4 * DEPTH_MAX)
		return 0;
	if (json_is_object(value)) {
		json_object_foreach((json_t *)(uintptr_t)value, name, member)
		{
			if (!names && strcmp(name, "x-mcp-header") == 0)
				count++;
			else
				count +=
					count_annotations(member, !names && strcmp(name, "properties") == 0, depth + 1);
		}
	}
	json_array_foreach(value, i, member) count += count_annotations(member, false, depth + 1);
	return count;
}

json_t *mcp_wire_header_map(const json_t *schema, const char **why)
{
	json_t *map = json_array(), *path = json_array();
	size_t found = 0;

	*why = map == NULL || path == NULL ? "out of memory" : add_annotations(map, schema, path, &found);
	if (*why == NULL && count_annotations(schema, false, 0) != found)
		*why = "an x-mcp-header is at something else than a property";
	json_decref(path);
	if (*why == NULL)
		return map;
	json_decref(map);
	return NULL;
}

/* The argument of an entry as text, in out; NULL: there is none that can be sent. */
static const char *argument_text(const json_t *entry, const json_t *arguments, char out[32])
{
	const json_t *value = arguments;

	for (size_t i = 1; i < json_array_size(entry); i++)
		value = json_object_get(value, json_string_value(json_array_get(entry, i)));
	if (json_is_boolean(value))
		return json_is_true(value) ? "true" : "false";
	if (json_is_real(value) && json_real_value(value) >= -(double)INTEGER_MAX &&
	    json_real_value(value) <= (double)INTEGER_MAX) {
		snprintf(out, 32, "%lld", (long long)json_real_value(value)); /* 42.0 */
		return out;
	}
	if (!json_is_integer(value))
		return json_string_value(value);
	snprintf(out, 32, "%lld", (long long)json_integer_value(value));
	return out;
}

char **mcp_wire_header_lines(const json_t *map, const json_t *arguments)
{
	char **lines = calloc(json_array_size(map) + 1, sizeof *lines), number[32];
	size_t count = 0, i;
	json_t *entry;

	json_array_foreach(lines != NULL ? map : NULL, i, entry)
	{
		const char *text = argument_text(entry, arguments, number);
		struct buf line = BUF_INIT(60u << 10);

		/* What is too long for a header is not sent, and the server says so. */
		if (text != NULL &&
		    buf_addf(&line, MCP_HEADER_PARAM "%s: ", json_string_value(json_array_get(entry, 0))) == 0 &&
		    mcp_wire_header_value(text, &line) == 0)
			lines[count] = buf_steal(&line, NULL);
		count += lines[count] != NULL;
		buf_free(&line);
	}
	return lines;
}

/* ---- messages ------------------------------------------------------------------------------------ */

json_t *mcp_wire_parse(const char *bytes, size_t len)
{
	json_t *message = json_loadb(bytes, len, JSON_ALLOW_NUL, NULL);
	struct buf repaired = BUF_INIT(4 * len + 16);

	if (message == NULL && json_text_repair(bytes, len, "?", &repaired) == 0)
		message = json_loadb(repaired.data, repaired.len, JSON_ALLOW_NUL, NULL);
	buf_free(&repaired);
	return message;
}

/* Some servers give a number back as a string, and those that cannot read a request, null. */
static bool is_id(const json_t *id, json_int_t ours, bool is_error)
{
	char text[24];

	snprintf(text, sizeof text, "%lld", (long long)ours);
	if (json_is_string(id))
		return strcmp(json_string_value(id), text) == 0;
	return json_is_integer(id) ? json_integer_value(id) == ours : is_error && (id == NULL || json_is_null(id));
}

enum mcp_kind mcp_wire_kind(const json_t *message, json_int_t id)
{
	const json_t *error = json_object_get(message, "error");

	if (json_is_string(json_object_get(message, "method")))
		return json_object_get(message, "id") != NULL ? MCP_REQUEST : MCP_NOTIFICATION;
	if (json_object_get(message, "result") == NULL && !json_is_object(error))
		return MCP_OTHER;
	return is_id(json_object_get(message, "id"), id, json_is_object(error)) ? MCP_ANSWER : MCP_OTHER;
}

void mcp_wire_error_text(const json_t *error, char *out, size_t size)
{
	const json_t *code = json_object_get(error, "code");
	const char *message = json_string_value(json_object_get(error, "message"));
	char number[32] = "";

	if (json_is_integer(code))
		snprintf(number, sizeof number, " (%lld)", (long long)json_integer_value(code));
	message = message != NULL && *message != '\0' ? message : "an error without a message";
	snprintf(out, size, "%.*s%s", (int)utf8_cut(message, size > 40 ? size - 40 : 0), message, number);
	utf8_disarm(out);
}

json_t *mcp_wire_client_info(void)
{
	return json_pack("{s:s, s:s}", "name", "tt-agent", "version", PACKAGE_VERSION);
}

json_t *mcp_wire_params(const json_t *params, bool modern, const char *traceparent, json_int_t progress)
{
	json_t *all = params != NULL ? json_copy((json_t *)(uintptr_t)params) : json_object(), *meta = json_object();
	int failed = all == NULL || meta == NULL;

	if (!failed && modern)
		failed = json_object_set_new(meta, MCP_META_VERSION, json_string(MCP_VERSION)) < 0 ||
		         json_object_set_new(meta, MCP_META_CAPABILITIES, json_object()) < 0 ||
		         json_object_set_new(meta, MCP_META_CLIENT, mcp_wire_client_info()) < 0;
	if (!failed && traceparent != NULL)
		failed = json_object_set_new(meta, MCP_META_TRACE, json_string(traceparent)) < 0;
	if (!failed && progress != 0)
		failed = json_object_set_new(meta, MCP_META_PROGRESS, json_integer(progress)) < 0;
	if (!failed && json_object_size(meta) > 0)
		failed = json_object_set(all, "_meta", meta) < 0;
	json_decref(meta);
	if (!failed)
		return all;
	json_decref(all);
	return NULL;
}

bool mcp_wire_progress(const json_t *message, json_int_t token, char *out, size_t size)
{
	const char *method = json_string_value(json_object_get(message, "method")), *text;
	const json_t *params = json_object_get(message, "params");
	double done = json_number_value(json_object_get(params, "progress"));
	double total = json_number_value(json_object_get(params, "total"));

	if (method == NULL || strcmp(method, "notifications/progress") != 0 ||
	    json_integer_value(json_object_get(params, MCP_META_PROGRESS)) != token)
		return false;
	text = json_string_value(json_object_get(params, "message"));
	if (text != NULL && !utf8_is_blank(text))
		snprintf(out, size, "%.*s", (int)utf8_cut(text, size - 1), text);
	else if (total > 0 && done >= 0 && done <= total)
		snprintf(out, size, "%.0f%%", 100 * done / total);
	else
		return false;
	utf8_disarm(out);
	for (char *p = out; (p = strpbrk(p, "<>")) != NULL; p++) /* nothing that ends the reasoning */
		*p = *p == '<' ? '(' : ')';
	return true;
}

/* ---- results of tools -------------------------------------------------------------------------------- */

/* Text that is cut at a limit: what is beyond it is counted, not stored. */
struct limited {
	struct buf text;
	size_t limit, head; /* head: what stands before the first paragraph */
	bool cut, failed;
};

static void add(struct limited *l, const char *text, size_t len)
{
	size_t room = l->limit > l->text.len ? l->limit - l->text.len : 0;

	if (l->cut)
		return;
	if (len > room) {
		l->cut = true;
		for (len = room; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
			len--;
	}
	if (buf_add(&l->text, text, len) < 0)
		l->failed = true;
	else if (len > 0) /* a C string ends at a NUL */
		for (char *p = l->text.data + l->text.len - len; len > 0 && (p = memchr(p, 0, len)) != NULL;)
			*p = '?', len = (size_t)(l->text.data + l->text.len - p);
}

static void add_paragraph(struct limited *l, const char *text, size_t len)
{
	if (l->text.len > l->head)
		add(l, "\n", 1);
	add(l, text, len);
}

static const char *member(const json_t *j, const char *name)
{
	const char *text = json_string_value(json_object_get(j, name));

	return text != NULL ? text : "";
}

/* What is told of data that a model cannot read as text. */
static void add_data(struct limited *l, const char *what, const char *mime, size_t base64_len)
{
	char note[300];
	int len = snprintf(note, sizeof note, "[%s was returned (%.100s, about %zu KiB); it is left out]", what,
	                   *mime != '\0' ? mime : "of unknown type", (base64_len * 3 / 4 + 1023) / 1024);

	add_paragraph(l, note, (size_t)len);
}

static void add_resource(struct limited *l, const json_t *resource)
{
	const json_t *text = json_object_get(resource, "text");
	const char *uri = member(resource, "uri");

	if (!json_is_string(text)) {
		add_data(l, "a resource", member(resource, "mimeType"),
		         json_string_length(json_object_get(resource, "blob")));
		return;
	}
	if (*uri != '\0') {
		add_paragraph(l, uri, strlen(uri));
		add(l, ":", 1);
	}
	add_paragraph(l, json_string_value(text), json_string_length(text));
}

static void add_link(struct limited *l, const json_t *link)
{
	static const char *const members[] = {"name", "uri", "mimeType", "description"};

	add_paragraph(l, "[a resource:", strlen("[a resource:"));
	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		const char *text = member(link, members[i]);

		if (*text != '\0') {
			add(l, " ", 1);
			add(l, text, strlen(text));
		}
	}
	add(l, "]", 1);
}

static void add_content(struct limited *l, const json_t *item)
{
	const json_t *text = json_object_get(item, "text"), *data = json_object_get(item, "data");
	const char *type = member(item, "type");
	char note[120];

	if (strcmp(type, "text") == 0 || (*type == '\0' && json_is_string(text))) {
		if (json_is_string(text))
			add_paragraph(l, json_string_value(text), json_string_length(text));
	} else if (strcmp(type, "image") == 0) {
		add_data(l, "an image", member(item, "mimeType"), json_string_length(data));
	} else if (strcmp(type, "audio") == 0) {
		add_data(l, "a sound", member(item, "mimeType"), json_string_length(data));
	} else if (strcmp(type, "resource") == 0) {
		add_resource(l, json_object_get(item, "resource"));
	} else if (strcmp(type, "resource_link") == 0) {
		add_link(l, item);
	} else {
		snprintf(note, sizeof note, "[something of the unknown type \"%.60s\" was returned; it is left out]",
		         type);
		add_paragraph(l, note, strlen(note));
	}
}

/* Why a result is none of a tool that has done its work; NULL: it is one. */
static const char *not_complete(const json_t *result)
{
	const json_t *type = json_object_get(result, "resultType");

	if (!json_is_object(result))
		return "Error: the tool's server answered with something that is no result.";
	if (type == NULL || (json_is_string(type) && strcmp(json_string_value(type), "complete") == 0))
		return NULL;
	if (json_is_string(type) && strcmp(json_string_value(type), "input_required") == 0)
		return "Error: the tool wants more input from the user, which it cannot get here. Answer without it, or "
		       "ask the user, and call it again with all that it needs.";
	return "Error: the tool's server answered with a kind of result that is not known.";
}

char *mcp_wire_result_text(const json_t *result, size_t limit, bool *failed)
{
	struct limited l = {.text = BUF_INIT(limit + 200), .limit = limit};
	const json_t *structured = json_object_get(result, "structuredContent");
	const char *why = not_complete(result);
	json_t *item;
	size_t i;

	*failed = why != NULL || json_is_true(json_object_get(result, "isError"));
	if (why != NULL)
		return strdup(why);
	if (*failed)
		add(&l, "Error: ", strlen("Error: "));
	l.head = l.text.len;
	json_array_foreach(json_object_get(result, "content"), i, item) add_content(&l, item);
	if (l.text.len == l.head && structured != NULL && !json_is_null(structured)) {
		char *text = json_dumps(structured, JSON_COMPACT | JSON_ENCODE_ANY);

		l.failed |= text == NULL;
		if (text != NULL)
			add(&l, text, strlen(text));
		free(text);
	}
	if (l.text.len == 0 && !l.cut)
		add(&l, "(the tool returned nothing)", strlen("(the tool returned nothing)"));
	else if (l.text.len == l.head && !l.cut)
		add(&l, "the tool failed and did not say why.", strlen("the tool failed and did not say why."));
	if (l.cut)
		l.failed |= buf_adds(&l.text, "\n[The result was longer; the rest was left out.]") < 0;
	if (!l.failed)
		return buf_steal(&l.text, NULL);
	buf_free(&l.text);
	return NULL;
}
