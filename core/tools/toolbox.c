/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/mcp_tool.h"
#include "core/tools/tool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROW(name) &tool_##name,
static const struct tool *const tool_table[TOOLS_MAX] = {TOOLS(ROW)};
#undef ROW

struct toolbox {
	void *states[TOOLS_MAX]; /* in the table's order */
	struct mcp_box *mcp;
	struct config *config; /* of the definitions */
	json_t *definitions;
};

struct toolbox *toolbox_new(struct event_base *base, const char *dir, struct err *e)
{
	struct toolbox *b = calloc(1, sizeof *b);

	if (b == NULL || (b->mcp = mcp_box_new()) == NULL) {
		free(b);
		err_set(e, "no memory for the tools");
		return NULL;
	}
	for (size_t i = 0; i < TOOLS_MAX; i++)
		if (tool_table[i]->open != NULL)
			b->states[i] = tool_table[i]->open(base, dir);
	return b;
}

void toolbox_free(struct toolbox *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < TOOLS_MAX; i++)
		if (tool_table[i]->close != NULL)
			tool_table[i]->close(b->states[i]);
	mcp_box_free(b->mcp);
	config_unref(b->config);
	json_decref(b->definitions);
	free(b);
}

const struct tool *toolbox_find(struct toolbox *b, const struct config *c, const char *name, size_t len)
{
	for (const struct tool *const *t = tool_table; t < tool_table + TOOLS_MAX; t++)
		if (strlen((*t)->name) == len && memcmp((*t)->name, name, len) == 0 && (*t)->available(c))
			return *t;
	return b != NULL ? mcp_box_find(b->mcp, c, name, len) : NULL;
}

const char **toolbox_names(const struct config *c, size_t *count)
{
	size_t of_servers = 0;
	const char **names;

	while (mcp_box_name(c, of_servers) != NULL)
		of_servers++;
	names = calloc(TOOLS_MAX + of_servers + 1, sizeof *names);
	*count = 0;
	if (names == NULL)
		return NULL;
	for (const struct tool *const *t = tool_table; t < tool_table + TOOLS_MAX; t++)
		if ((*t)->available(c))
			names[(*count)++] = (*t)->name;
	for (size_t i = 0; i < of_servers; i++)
		names[(*count)++] = mcp_box_name(c, i);
	return names;
}

/* A client may define another tool of that name. */
static bool is_among(const json_t *definitions, const struct tool *t)
{
	const json_t *definition;
	size_t i;

	json_array_foreach(definitions, i, definition)
	{
		const json_t *function = json_object_get(definition, "function");
		const char *name = json_string_value(json_object_get(function, "name"));
		const char *description = json_string_value(json_object_get(function, "description"));

		if (name != NULL && strcmp(name, t->name) == 0)
			return description != NULL && strcmp(description, t->description) == 0;
	}
	return false;
}

int toolbox_hints(const json_t *definitions, struct buf *out)
{
	for (const struct tool *const *t = tool_table; t < tool_table + TOOLS_MAX; t++)
		if ((*t)->hint != NULL && is_among(definitions, *t) && buf_addf(out, "%s ", (*t)->hint) < 0)
			return -1;
	return 0;
}

static json_t *definition(const struct tool *t)
{
	json_t *parameters = json_loads(t->parameters, 0, NULL);

	if (parameters == NULL)
		return NULL;
	return json_pack("{s:s, s:{s:s, s:s, s:o}}", "type", "function", "function", "name", t->name, "description",
	                 t->description, "parameters", parameters);
}

static json_t *make_definitions(const struct config *c)
{
	json_t *all = json_array();
	int failed = all == NULL;

	for (const struct tool *const *t = tool_table; t < tool_table + TOOLS_MAX; t++)
		if (!failed && (*t)->available(c))
			failed = json_array_append_new(all, definition(*t)) < 0;
	if (!failed && mcp_box_define(c, all) == 0)
		return all;
	json_decref(all);
	return NULL;
}

json_t *toolbox_definitions(struct toolbox *b, const struct config *c)
{
	if (b->config != c || b->definitions == NULL) {
		config_unref(b->config);
		json_decref(b->definitions);
		b->config = config_ref((struct config *)(uintptr_t)c);
		b->definitions = make_definitions(c);
	}
	return json_array_size(b->definitions) > 0 ? json_incref(b->definitions) : NULL;
}

struct tool_run *toolbox_start(struct toolbox *b, const struct tool *tool, const struct tool_context *ctx,
                               const json_t *args, tool_done_fn *done, void *arg)
{
	size_t i = 0;

	if (mcp_box_has(tool))
		return tool->start((void *)(uintptr_t)tool, ctx, args, done, arg);
	while (tool_table[i] != tool)
		i++;
	return tool->start(b->states[i], ctx, args, done, arg);
}

void toolbox_forget(struct toolbox *b, const char *thread)
{
	for (size_t i = 0; i < TOOLS_MAX; i++)
		if (tool_table[i]->forget != NULL && b->states[i] != NULL)
			tool_table[i]->forget(b->states[i], thread);
}

void tool_result_clear(struct tool_result *r)
{
	for (size_t i = 0; i < r->source_count; i++) {
		free(r->sources[i].title);
		free(r->sources[i].url);
	}
	free(r->sources);
	free(r->text);
	memset(r, 0, sizeof *r);
}
