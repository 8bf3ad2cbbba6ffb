/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/mcp_tool.h"

#include "core/base/log.h"
#include "core/http/http_proxy.h"
#include "core/mcp/mcp_client.h"
#include "core/mcp/mcp_target.h"
#include "core/mcp/mcp_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct mcp_tool {
	struct tool tool;
	struct mcp_box *box;
	const json_t *entry, *server; /* of the configuration */
	char *progress, *metric;
};

/* The tools of a configuration, while anybody else has a reference of it. */
struct set {
	LIST_ENTRY(set) link;
	struct config *config;
	struct mcp_tool *tools;
	size_t count;
};

struct peer {
	LIST_ENTRY(peer) link;
	json_t *settings;
	struct mcp_client *client;
};

struct mcp_box {
	LIST_HEAD(, set) sets;
	LIST_HEAD(, peer) peers;
};

struct tool_run {
	const struct mcp_tool *tool;
	struct mcp_call *call;
	size_t limit;
	tool_done_fn *done;
	tool_progress_fn *progress; /* NULL: nobody wants to know */
	void *arg;
};

static const json_t *list_of(const struct config *c, const char *name)
{
	return json_object_get(config_mcp(c), name);
}

static const char *text_of(const json_t *entry, const char *name)
{
	const char *text = json_string_value(json_object_get(entry, name));

	return text != NULL ? text : "";
}

/* ---- runs ------------------------------------------------------------------------------------------ */

static void on_done(void *arg, const struct mcp_outcome *o)
{
	struct tool_run *r = arg;
	const json_t *entry = r->tool->entry;
	struct tool_result result = {.failed = true};

	if (o->result != NULL) {
		result.text = mcp_wire_result_text(o->result, r->limit, &result.failed);
	} else {
		log_event(LOG_MCP_CALL_FAILED, L_STR("server", text_of(entry, "server")),
		          L_STR("tool", text_of(entry, "tool")), L_STR("error", o->text));
		if (asprintf(&result.text,
		             o->refused
		                     ? "Error: %s: %s. Call the tool again with other arguments, or answer without it."
		                     : "Error: the tool failed (%s: %s). Answer without it.",
		             text_of(entry, "server"), o->text) < 0)
			result.text = NULL;
	}
	r->done(r->arg, &result);
	free(result.text);
	free(r);
}

static void on_progress(void *arg, const char *text)
{
	struct tool_run *r = arg;

	r->progress(r->arg, text);
}

static struct mcp_client *new_client(const struct tool_context *ctx, const json_t *server)
{
	struct mcp_client_place place = {
		.base = ctx->base,
		.http = ctx->http,
		.background = ctx->background,
		.reply_limit = (size_t)cfg_int(ctx->config, CFG_MCP_REPLY_LIMIT),
	};
	struct mcp_client *c = NULL;
	struct mcp_target target;

	if (mcp_target_init(&target, (json_t *)(uintptr_t)server, NULL) < 0)
		return NULL;
	place.proxy = http_proxy_for(ctx->config, target.url);
	c = mcp_client_new(&place, &target);
	mcp_target_clear(&target);
	return c;
}

static struct mcp_client *client_for(struct mcp_box *b, const struct tool_context *ctx, const json_t *server)
{
	struct peer *p;

	LIST_FOREACH(p, &b->peers, link)
	if (json_equal(p->settings, server))
		return p->client;
	p = calloc(1, sizeof *p);
	if (p == NULL || (p->client = new_client(ctx, server)) == NULL) {
		free(p);
		return NULL;
	}
	p->settings = json_incref((json_t *)(uintptr_t)server);
	LIST_INSERT_HEAD(&b->peers, p, link);
	return p->client;
}

static struct tool_run *start(void *state, const struct tool_context *ctx, const json_t *args, tool_done_fn *done,
                              void *arg)
{
	const struct mcp_tool *tool = state;
	struct mcp_client *client = client_for(tool->box, ctx, tool->server);
	struct tool_run *r = calloc(1, sizeof *r);
	json_t *params = json_pack("{s:s, s:O}", "name", text_of(tool->entry, "tool"), "arguments", args);
	char **headers = mcp_wire_header_lines(json_object_get(tool->entry, "headers"), args);
	const struct mcp_request request = {
		.method = "tools/call",
		.params = params,
		.name = text_of(tool->entry, "tool"),
		.headers = headers,
		.labels = ctx->labels,
		.repeatable = json_is_true(json_object_get(tool->entry, "repeatable")),
		.progress = ctx->progress != NULL ? on_progress : NULL,
	};

	if (r != NULL)
		*r = (struct tool_run){.tool = tool,
		                       .limit = (size_t)cfg_int(ctx->config, CFG_MCP_OUTPUT_LIMIT),
		                       .done = done,
		                       .progress = ctx->progress,
		                       .arg = arg};
	if (r != NULL && client != NULL && params != NULL && headers != NULL)
		r->call = mcp_client_call(client, &request, on_done, r);
	if (r != NULL && r->call == NULL) {
		free(r);
		r = NULL;
	}
	for (char **h = headers; h != NULL && *h != NULL; h++)
		free(*h);
	free(headers);
	json_decref(params);
	return r;
}

static void cancel(struct tool_run *r)
{
	mcp_call_cancel(r->call);
	free(r);
}

/* ---- the tools of a configuration ---------------------------------------------------------------------- */

static void set_free(struct set *s)
{
	LIST_REMOVE(s, link);
	for (size_t i = 0; i < s->count; i++) {
		free(s->tools[i].progress);
		free(s->tools[i].metric);
	}
	free(s->tools);
	config_unref(s->config);
	free(s);
}

static bool is_in_use(const struct mcp_box *b, const struct peer *p)
{
	const struct set *s;
	json_t *server;
	size_t i;

	LIST_FOREACH(s, &b->sets, link)
	json_array_foreach((json_t *)(uintptr_t)list_of(s->config, "servers"), i,
	                   server) if (json_equal(server, p->settings)) return true;
	return false;
}

static void peer_free(struct peer *p)
{
	LIST_REMOVE(p, link);
	mcp_client_free(p->client);
	json_decref(p->settings);
	free(p);
}

/* What no turn uses any more, and no new one will. */
static void prune(struct mcp_box *b)
{
	struct set *s, *next_set;
	struct peer *p, *next_peer;

	for (s = LIST_FIRST(&b->sets); s != NULL; s = next_set) {
		next_set = LIST_NEXT(s, link);
		if (!config_is_shared(s->config))
			set_free(s);
	}
	for (p = LIST_FIRST(&b->peers); p != NULL; p = next_peer) {
		next_peer = LIST_NEXT(p, link);
		if (!is_in_use(b, p))
			peer_free(p);
	}
}

static const json_t *server_of(const struct config *c, const char *name)
{
	const json_t *servers = list_of(c, "servers");

	for (size_t i = 0; i < json_array_size(servers); i++)
		if (strcmp(text_of(json_array_get(servers, i), "name"), name) == 0)
			return json_array_get(servers, i);
	return NULL;
}

static bool set_tool(struct mcp_tool *t, struct mcp_box *b, const struct config *c, const json_t *entry)
{
	const char *name = text_of(entry, "name"), *server = text_of(entry, "server");

	*t = (struct mcp_tool){.box = b, .entry = entry, .server = server_of(c, server)};
	if (*name == '\0' || t->server == NULL)
		return false;
	if (asprintf(&t->progress, "Using %s", name) < 0)
		t->progress = NULL;
	if (asprintf(&t->metric, "mcp:%s", server) < 0)
		t->metric = NULL;
	t->tool = (struct tool){
		.name = name,
		.progress = t->progress != NULL ? t->progress : "Using a tool",
		.metric = t->metric,
		.server = server,
		.server_tool = text_of(entry, "tool"),
		.start = start,
		.cancel = cancel,
	};
	return true;
}

static struct set *set_for(struct mcp_box *b, const struct config *c)
{
	const json_t *list = list_of(c, "tools");
	struct set *s;

	LIST_FOREACH(s, &b->sets, link)
	if (s->config == c)
		return s;
	prune(b);
	s = calloc(1, sizeof *s);
	if (s == NULL || (s->tools = calloc(json_array_size(list) + 1, sizeof *s->tools)) == NULL) {
		free(s);
		return NULL;
	}
	s->config = config_ref((struct config *)(uintptr_t)c);
	for (size_t i = 0; i < json_array_size(list); i++)
		s->count += set_tool(&s->tools[s->count], b, c, json_array_get(list, i));
	LIST_INSERT_HEAD(&b->sets, s, link);
	return s;
}

struct mcp_box *mcp_box_new(void)
{
	struct mcp_box *b = calloc(1, sizeof *b);

	if (b != NULL) {
		LIST_INIT(&b->sets);
		LIST_INIT(&b->peers);
	}
	return b;
}

void mcp_box_free(struct mcp_box *b)
{
	if (b == NULL)
		return;
	while (!LIST_EMPTY(&b->peers))
		peer_free(LIST_FIRST(&b->peers));
	while (!LIST_EMPTY(&b->sets))
		set_free(LIST_FIRST(&b->sets));
	free(b);
}

const char *mcp_box_name(const struct config *c, size_t i)
{
	return json_string_value(json_object_get(json_array_get(list_of(c, "tools"), i), "name"));
}

const struct tool *mcp_box_find(struct mcp_box *b, const struct config *c, const char *name, size_t len)
{
	const struct set *s = json_array_size(list_of(c, "tools")) > 0 ? set_for(b, c) : NULL;

	for (size_t i = 0; s != NULL && i < s->count; i++)
		if (strlen(s->tools[i].tool.name) == len && memcmp(s->tools[i].tool.name, name, len) == 0)
			return &s->tools[i].tool;
	return NULL;
}

int mcp_box_define(const struct config *c, json_t *all)
{
	const json_t *list = list_of(c, "tools");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);

		if (json_array_append_new(all, json_pack("{s:s, s:{s:s, s:s, s:O}}", "type", "function", "function",
		                                         "name", text_of(entry, "name"), "description",
		                                         text_of(entry, "description"), "parameters",
		                                         json_object_get(entry, "parameters"))) < 0)
			return -1;
	}
	return 0;
}

bool mcp_box_has(const struct tool *tool)
{
	return tool->start == start;
}
