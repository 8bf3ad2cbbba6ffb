/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_tools.h"

#include "core/base/utf8.h"
#include "core/mcp/mcp_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
#define SEPARATOR  "__"
#define HASH_LEN   9 /* "_" and 8 digits */

/* FNV-1a */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

void mcp_tools_name(const char *server, const char *tool, char out[MCP_TOOLS_NAME_MAX + 1])
{
	char whole[MCP_TOOLS_NAME_MAX + 1];
	int len = snprintf(whole, sizeof whole, "%s" SEPARATOR "%s", server, tool);
	bool changed = len >= (int)sizeof whole || tool[strspn(tool, NAME_CHARS)] != '\0' || *tool == '\0';

	for (char *p = whole; *p != '\0'; p++)
		if (strchr(NAME_CHARS, *p) == NULL)
			*p = '_';
	if (changed)
		snprintf(out, MCP_TOOLS_NAME_MAX + 1, "%.*s_%08x", MCP_TOOLS_NAME_MAX - HASH_LEN, whole,
		         (unsigned)hash(tool));
	else
		memcpy(out, whole, sizeof whole);
}

size_t mcp_tools_server_of(const char *name)
{
	const char *separator = strstr(name, SEPARATOR);

	return separator != NULL ? (size_t)(separator - name) : 0;
}

static bool is_offered(const json_t *all, const char *name)
{
	json_t *tool;
	size_t i;

	json_array_foreach(all, i,
	                   tool) if (strcmp(json_string_value(json_object_get(tool, "name")), name) == 0) return true;
	return false;
}

/* The schema of a tool's arguments, a new reference: models are told of an object, whatever came. */
static json_t *parameters_of(const json_t *tool)
{
	const json_t *schema = json_object_get(tool, "inputSchema");
	const char *type = json_string_value(json_object_get(schema, "type"));
	json_t *copy = json_is_object(schema) ? json_copy((json_t *)(uintptr_t)schema) : json_object();

	if (type == NULL || strcmp(type, "object") != 0)
		json_object_set_new(copy, "type", json_string("object"));
	if (!json_is_object(json_object_get(copy, "properties")))
		json_object_set_new(copy, "properties", json_object());
	return copy;
}

/* What a model is told of it: the description, or else the title. */
static json_t *description_of(const json_t *tool)
{
	const char *text = json_string_value(json_object_get(tool, "description"));

	if (text == NULL || *text == '\0')
		text = json_string_value(json_object_get(tool, "title"));
	if (text == NULL)
		text = "";
	return json_sprintf("%.*s", (int)utf8_cut(text, MCP_TOOLS_DESCRIPTION_MAX), text);
}

static size_t json_length(const json_t *json)
{
	return json_dumpb(json, NULL, 0, JSON_COMPACT);
}

/* By the server's own words it does no harm to call it twice. */
static bool is_repeatable(const json_t *tool)
{
	const json_t *annotations = json_object_get(tool, "annotations");

	return json_is_true(json_object_get(annotations, "readOnlyHint")) ||
	       json_is_true(json_object_get(annotations, "idempotentHint"));
}

/* Appends one. The reason why not; NULL: it is there. */
static const char *add_tool(json_t *to, const struct mcp_target *t, const json_t *tool, const char *name)
{
	char offered[MCP_TOOLS_NAME_MAX + 1];
	const char *why = NULL;
	json_t *parameters, *headers, *entry;

	if (strlen(name) > 256)
		return "its name is too long";
	mcp_tools_name(t->name, name, offered);
	if (is_offered(to, offered))
		return "another tool has this name";
	parameters = parameters_of(tool);
	headers = mcp_wire_header_map(parameters, &why);
	if (why == NULL && json_length(parameters) > MCP_TOOLS_SCHEMA_MAX)
		why = "the schema of its arguments is too long";
	entry = why != NULL ? NULL
	                    : json_pack("{s:s, s:s, s:s, s:o, s:O, s:O, s:b}", "name", offered, "server", t->name,
	                                "tool", name, "description", description_of(tool), "parameters", parameters,
	                                "headers", headers, "repeatable", is_repeatable(tool));
	if (why == NULL && (entry == NULL || json_array_append(to, entry) < 0))
		why = "out of memory";
	json_decref(entry);
	json_decref(parameters);
	json_decref(headers);
	return why;
}

size_t mcp_tools_restore(json_t *to, const char *server, const json_t *published)
{
	size_t count = 0, i;
	json_t *entry;

	json_array_foreach(json_object_get(published, "tools"), i, entry)
	{
		const char *of = json_string_value(json_object_get(entry, "server"));
		const char *name = json_string_value(json_object_get(entry, "name"));

		if (of != NULL && strcmp(of, server) == 0 && name != NULL && !is_offered(to, name) &&
		    json_array_size(to) < MCP_TOOLS_MAX && json_array_append(to, entry) == 0)
			count++;
	}
	return count;
}

size_t mcp_tools_add(json_t *to, const struct mcp_target *t, const json_t *tools, mcp_tools_left_out_fn *left_out,
                     void *arg)
{
	size_t count = 0, bytes = json_length(to), i;
	json_t *tool;

	json_array_foreach(tools, i, tool)
	{
		const char *name = json_string_value(json_object_get(tool, "name")), *why;
		char shown[100];

		if (name != NULL && *name != '\0' && !mcp_target_offers(t, name))
			continue;
		if (name == NULL || *name == '\0')
			why = "it has no name";
		else if (count == MCP_TOOLS_OF_SERVER || json_array_size(to) == MCP_TOOLS_MAX)
			why = "there are too many tools; set tools to those that are wanted";
		else if (bytes + 3 * MCP_TOOLS_SCHEMA_MAX > MCP_TOOLS_BYTES_MAX)
			why = "the descriptions of all tools are too long; set tools to those that are wanted";
		else
			why = add_tool(to, t, tool, name);
		if (why == NULL) {
			count++;
			bytes += json_length(json_array_get(to, json_array_size(to) - 1));
			continue;
		}
		name = name != NULL ? name : "";
		snprintf(shown, sizeof shown, "%.*s", (int)utf8_cut(name, sizeof shown - 1), name);
		utf8_disarm(shown);
		left_out(arg, shown, why);
	}
	return count;
}
