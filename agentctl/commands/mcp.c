/* SPDX-License-Identifier: Apache-2.0 */
/* mcp: the MCP servers as tt-agentd sees them, and requests of our own to them. */
#include "agentctl/ctl.h"
#include "agentctl/table.h"
#include "agentctl/text.h"
#include "core/base/utf8.h"
#include "core/config/config.h"
#include "core/http/http_proxy.h"
#include "core/mcp/mcp_client.h"
#include "core/mcp/mcp_list.h"
#include "core/mcp/mcp_wire.h"

#include <stdlib.h>
#include <string.h>

#define REPLY_LIMIT (64u << 20)
#define RESULT_MAX  (8u << 20)

/* ---- mcp list ------------------------------------------------------------------------------------ */

static enum ctl_exit run_list(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	json_t *status = ctl_request(a, CMD_STATUS, NULL), *servers, *document;

	(void)args, (void)count;
	if (status == NULL) {
		a->output->problem(a, "tt-agentd does not answer");
		return CTL_UNREACHABLE;
	}
	servers = json_object_get(status, "mcp");
	document = json_pack("{s:o}", "servers", servers != NULL ? json_incref(servers) : json_array());
	json_decref(status);
	a->output->show(a, c, document);
	json_decref(document);
	return CTL_OK;
}

static void show_list(const struct ctl *a, const json_t *document)
{
	const struct table_column columns[] = {{.heading = "SERVER"},
	                                       {.heading = "STATE"},
	                                       {.heading = "TOOLS"},
	                                       {.heading = "VERSION"},
	                                       {.heading = "URL", .limit = 60},
	                                       {.heading = "ERROR", .limit = 80}};
	const json_t *servers = json_object_get(document, "servers"), *row;
	struct table *t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	size_t i;

	json_array_foreach(servers, i, row)
	{
		const char *state = text_of(row, "state"), *error = text_of(row, "error"),
			   *version = text_of(row, "version");

		table_add(t, COLOUR_NONE, text_of(row, "name"));
		table_add(t, strcmp(state, "failing") == 0 ? COLOUR_RED : COLOUR_NONE, state);
		table_addf(t, COLOUR_NONE, "%lld", number_of(row, "tools"));
		table_add(t, COLOUR_NONE, version != NULL ? version : "");
		table_add(t, COLOUR_NONE, text_of(row, "url"));
		if (error == NULL && number_of(row, "left_out") > 0)
			table_addf(t, COLOUR_NONE, "%lld left out: %s", number_of(row, "left_out"),
			           text_of(row, "left_out_reason"));
		else
			table_add(t, COLOUR_NONE, error != NULL ? error : "");
	}
	if (json_array_size(servers) > 0)
		table_print(t);
	else
		fputs("no MCP server is configured (mcp.servers)\n", a->out);
	table_free(t);
}

const struct ctl_command ctl_mcp_list = {
	.name = "mcp list",
	.arguments = "",
	.help = "The MCP servers, and why one fails.",
	.run = run_list,
	.show = show_list,
};

/* ---- requests ---------------------------------------------------------------------------------------- */

struct session {
	const struct ctl *a;
	struct event_base *base;
	struct resolver *resolver;
	struct http *http;
	struct config *config; /* NULL: none is published */
	struct mcp_client *client;
	bool waiting;
	json_t *tools;  /* NULL: not listed */
	json_t *result; /* of the call; NULL: it failed */
	struct err failure;
};

/* A URL, or the name of a configured server. New reference; NULL with e. */
static json_t *find_server(struct session *s, const char *name, struct err *e)
{
	json_t *published, *settings, *server;
	size_t i;

	if (strstr(name, "://") != NULL) {
		const char *token = s->a->token_env != NULL ? getenv(s->a->token_env) : NULL;

		if (s->a->token_env != NULL && token == NULL)
			err_set(e, "--token-env: there is no environment variable with that name");
		return token == NULL && s->a->token_env != NULL
		               ? NULL
		               : json_pack("{s:s, s:s, s:s*}", "name", "server", "url", name, "bearer", token);
	}
	s->config = ctl_published_config(s->a, e);
	if (s->config == NULL)
		return NULL;
	published = json_object_get(config_mcp(s->config), "servers");
	json_array_foreach(published, i,
	                   server) if (strcmp(text_of(server, "name"), name) == 0) return json_incref(server);
	settings = mcp_target_settings(s->config);
	json_array_foreach(settings, i, server) if (strcmp(text_of(server, "name"), name) == 0)
	{
		json_incref(server);
		json_decref(settings);
		return server;
	}
	json_decref(settings);
	err_set(e, "no MCP server is called %.60s; tt-agentctl mcp list shows them", name);
	return NULL;
}

static int session_open(struct session *s, const struct ctl *a, const char *name, struct err *e)
{
	struct mcp_client_place place = {.reply_limit = REPLY_LIMIT};
	struct mcp_target target;
	json_t *server;

	*s = (struct session){.a = a, .failure = ERR_INIT};
	server = find_server(s, name, e);
	if (server == NULL)
		return -1;
	place.base = s->base = event_base_new();
	s->resolver = s->base != NULL ? resolver_new(s->base, e) : NULL;
	place.http = s->http = s->resolver != NULL ? http_new(s->base, s->resolver, e) : NULL;
	if (s->http != NULL && mcp_target_init(&target, server, e) == 0) {
		if (s->config != NULL)
			place.proxy = http_proxy_for(s->config, target.url);
		s->client = mcp_client_new(&place, &target);
		mcp_target_clear(&target);
	}
	json_decref(server);
	return s->client != NULL ? 0 : err_set(e, "out of memory");
}

static void session_close(struct session *s)
{
	mcp_client_free(s->client);
	if (s->http != NULL) {
		/* The end of a legacy session is on its way. */
		while (http_active(s->http) > 0 && event_base_loop(s->base, EVLOOP_ONCE) >= 0)
			continue;
		http_free(s->http);
	}
	if (s->resolver != NULL)
		resolver_free(s->resolver);
	if (s->base != NULL)
		event_base_free(s->base);
	config_unref(s->config);
	json_decref(s->tools);
	json_decref(s->result);
}

static void wait_for_answer(struct session *s)
{
	s->waiting = true;
	while (s->waiting && event_base_loop(s->base, EVLOOP_ONCE) >= 0)
		continue;
}

static void on_tools(void *arg, json_t *tools, int64_t ttl_ms, const char *why)
{
	struct session *s = arg;

	(void)ttl_ms;
	s->waiting = false;
	s->tools = json_incref(tools);
	if (tools == NULL)
		err_set(&s->failure, "%s", why);
}

static void on_result(void *arg, const struct mcp_outcome *o)
{
	struct session *s = arg;

	s->waiting = false;
	s->result = json_incref((json_t *)(uintptr_t)o->result);
	if (o->result == NULL)
		err_set(&s->failure, "%s", o->text);
}

static void list_tools(struct session *s)
{
	if (mcp_list_start(s->client, on_tools, s) == NULL)
		err_set(&s->failure, "out of memory");
	else
		wait_for_answer(s);
}

static enum ctl_exit run_tools(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	json_t *document = NULL;
	struct session s;

	(void)count;
	if (session_open(&s, a, args[0], &s.failure) == 0)
		list_tools(&s);
	if (s.tools != NULL)
		document = json_pack("{s:s, s:s?, s:O}", "server", args[0], "version", mcp_client_version(s.client),
		                     "tools", s.tools);
	if (document != NULL)
		a->output->show(a, c, document);
	else
		a->output->problem(a, s.failure.text);
	json_decref(document);
	session_close(&s);
	return document != NULL ? CTL_OK : CTL_REFUSED;
}

static void show_tools(const struct ctl *a, const json_t *document)
{
	const struct table_column columns[] = {{.heading = "TOOL"}, {.heading = "DESCRIPTION", .limit = 100}};
	struct table *t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	const json_t *tools = json_object_get(document, "tools"), *tool;
	size_t i;

	json_array_foreach(tools, i, tool)
	{
		const char *description = text_of(tool, "description");

		table_add(t, COLOUR_NONE, text_of(tool, "name"));
		table_add(t, COLOUR_NONE, description != NULL ? description : "");
	}
	table_print(t);
	table_free(t);
}

const struct ctl_command ctl_mcp_tools = {
	.name = "mcp tools",
	.arguments = "SERVER",
	.min = 1,
	.max = 1,
	.help = "All tools of an MCP server, as it lists them.",
	.manual =
		"SERVER is a name of mcp.servers, or a URL, to try a server before it is configured; --token-env then "
		"names the variable that has its token. Which tools models are offered, tt-agentctl status shows.",
	.run = run_tools,
	.show = show_tools,
};

/* The headers that the tool wants beside its arguments; NULL: the tool is not one that may be called. */
static char **headers_for(struct session *s, const char *name, const json_t *arguments)
{
	json_t *tool, *map = NULL;
	const char *why = NULL;
	char **lines = NULL;
	size_t i;

	json_array_foreach(s->tools, i, tool)
	{
		const char *its = text_of(tool, "name");

		if (map == NULL && its != NULL && strcmp(its, name) == 0)
			map = mcp_wire_header_map(json_object_get(tool, "inputSchema"), &why);
	}
	if (why != NULL)
		err_set(&s->failure, "%s: %s", name, why);
	else
		lines = mcp_wire_header_lines(map, arguments);
	json_decref(map);
	return lines;
}

static void call_tool(struct session *s, const char *name, const json_t *arguments)
{
	json_t *params = json_pack("{s:s, s:O}", "name", name, "arguments", arguments);
	char **headers = headers_for(s, name, arguments);
	const struct mcp_request request = {.method = "tools/call", .params = params, .name = name, .headers = headers};

	if (headers != NULL && params != NULL && mcp_client_call(s->client, &request, on_result, s) != NULL)
		wait_for_answer(s);
	else
		err_set(&s->failure, "out of memory");
	for (char **h = headers; h != NULL && *h != NULL; h++)
		free(*h);
	free(headers);
	json_decref(params);
}

static enum ctl_exit run_call(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	json_t *arguments = json_loads(count > 2 ? args[2] : "{}", 0, NULL);
	enum ctl_exit result = CTL_REFUSED;
	struct session s;

	if (!json_is_object(arguments)) {
		a->output->problem(a, "the arguments are no JSON object");
		json_decref(arguments);
		return CTL_USAGE;
	}
	if (session_open(&s, a, args[0], &s.failure) == 0)
		list_tools(&s);
	if (s.tools != NULL)
		call_tool(&s, args[1], arguments);
	if (s.result == NULL)
		a->output->problem(a, s.failure.text);
	else
		a->output->show(a, c, s.result);
	if (s.result != NULL && !json_is_true(json_object_get(s.result, "isError")))
		result = CTL_OK;
	json_decref(arguments);
	session_close(&s);
	return result;
}

/* As a model is told. */
static void show_result(const struct ctl *a, const json_t *document)
{
	bool failed;
	char *text = mcp_wire_result_text(document, RESULT_MAX, &failed);

	for (char *line = text, *next; line != NULL; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		text_put(a->out, a->colour, failed ? COLOUR_RED : COLOUR_NONE, line);
		fputc('\n', a->out);
	}
	free(text);
}

const struct ctl_command ctl_mcp_call = {
	.name = "mcp call",
	.arguments = "SERVER TOOL [JSON]",
	.min = 2,
	.max = 3,
	.help = "Calls a tool of an MCP server, with arguments as a JSON object.",
	.manual =
		"SERVER is as for mcp tools, and TOOL the server's own name of it. The exit status is 1 if the tool fails.",
	.run = run_call,
	.show = show_result,
};
