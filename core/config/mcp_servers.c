/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/mcp_servers.h"

#include "core/base/buf.h"
#include "core/base/similar.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HIDDEN     "(secret)"
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
#define TOKEN      NAME_CHARS "!#$%&'*+.^`|~"
#define ITEMS_MAX  256

/* A field: checked as a setting is, or (map) a group of strings with names of their own. */
struct field {
	struct key_row row;
	bool map, path;
};

#define FIELD(name_, type_, min_, max_, flags_)                                                                        \
	.row = {.info = {.path = name_, .secret = ((flags_)&KEY_SECRET) != 0},                                         \
	        .key = CFG_MCP_SERVERS,                                                                                \
	        .name = name_,                                                                                         \
	        .type = TYPE_##type_,                                                                                  \
	        .min = min_,                                                                                           \
	        .max = max_,                                                                                           \
	        .flags = flags_}

static const struct field fields[] = {
	{FIELD("name", STRING, 0, MCP_SERVER_NAME_MAX, 0)},
	{FIELD("url", URL, 0, 2048, 0)},
	{FIELD("socket", STRING, 0, 100, 0), .path = true},
	{FIELD("bearer", STRING, 0, 8192, KEY_SECRET)},
	{FIELD("token_file", STRING, 0, 1024, 0), .path = true},
	{FIELD("headers", STRING, 0, 8192, KEY_SECRET), .map = true},
	{FIELD("ca_file", STRING, 0, 1024, 0), .path = true},
	{FIELD("timeout", TIME, 0.05, 3600, 0)},
	{FIELD("tools", LIST, 0, 128, 0)},
};
#define FIELDS (sizeof fields / sizeof fields[0])

static const struct field *find_field(const char *name)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (strcmp(fields[i].row.name, name) == 0)
			return &fields[i];
	return NULL;
}

static int unknown_field(const char *name, struct err *e)
{
	struct similar similar = SIMILAR_TO(name);
	struct buf all = BUF_INIT(400);
	int result;

	if (strcmp(name, "command") == 0 || strcmp(name, "args") == 0)
		return err_set(e,
		               "%s: commands are in the file of tt-agent-runner --mcp, whose socket is set here "
		               "(doc/mcp-servers.md)",
		               name);
	for (size_t i = 0; i < FIELDS; i++) {
		similar_consider(&similar, fields[i].row.name);
		(void)buf_addf(&all, "%s%s", i == 0 ? "" : ", ", fields[i].row.name);
	}
	result = err_set(e, "%.60s: no such field%s%s%s; allowed: %s", name,
	                 similar.best != NULL ? "; did you mean " : "", similar.best != NULL ? similar.best : "",
	                 similar.best != NULL ? "?" : "", all.data != NULL ? all.data : "");
	buf_free(&all);
	return result;
}

/* Headers that a request has anyway. */
static bool is_ours(const char *header)
{
	static const char *const ours[] = {"Accept", "Content-Type",      "Content-Length", "Connection",
	                                   "Host",   "Transfer-Encoding", "Last-Event-ID"};

	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (strcasecmp(header, ours[i]) == 0)
			return true;
	return strncasecmp(header, "Mcp-", 4) == 0;
}

static int check_map(const struct field *f, const json_t *map, mcp_servers_check_fn *check, struct err *e)
{
	const char *name;
	json_t *member;

	if (!json_is_object(map) || json_object_size(map) > ITEMS_MAX)
		return err_set(e, "%s is no group; allowed: { NAME = \"VALUE\"; ... }", f->row.name);
	json_object_foreach((json_t *)(uintptr_t)map, name, member)
	{
		if (*name == '\0' || name[strspn(name, TOKEN)] != '\0' || strlen(name) > 128 ||
		    strchr(name, '=') != NULL)
			return err_set(e, "%s: a name has characters that none can have", f->row.name);
		if (is_ours(name))
			return err_set(e, "%s: %.60s is set by each request itself", f->row.name, name);
		if (!json_is_string(member))
			return err_set(e, "%s: the value of %.60s is no string", f->row.name, name);
		if (check(&f->row, member, e) < 0) {
			err_prefix(e, "%s: %.60s", f->row.name, name);
			return -1;
		}
	}
	return 0;
}

static int check_field(const struct field *f, const json_t *j, mcp_servers_check_fn *check, struct err *e)
{
	const char *text = json_string_value(j);

	if (f->map)
		return check_map(f, j, check, e);
	if (check(&f->row, j, e) < 0) {
		err_prefix(e, "%s", f->row.name);
		return -1;
	}
	return f->path && text != NULL && *text != '/' ? err_set(e, "%s does not begin with /", f->row.name) : 0;
}

/* NAME__tool must tell where the name ends. */
static bool is_name(const char *name)
{
	size_t len = name != NULL ? strlen(name) : 0;

	return len > 0 && name[strspn(name, NAME_CHARS)] == '\0' && strstr(name, "__") == NULL && name[len - 1] != '_';
}

static int check_server(const json_t *server, mcp_servers_check_fn *check, struct err *e)
{
	const char *name;
	json_t *member;

	if (!json_is_object(server))
		return err_set(e, "is no group; allowed: { name = \"docs\"; url = \"https://...\"; }");
	json_object_foreach((json_t *)(uintptr_t)server, name, member)
	{
		const struct field *f = find_field(name);

		if (f == NULL)
			return unknown_field(name, e);
		if (check_field(f, member, check, e) < 0)
			return -1;
	}
	if (!is_name(json_string_value(json_object_get(server, "name"))))
		return err_set(
			e,
			"name is missing or not one; allowed: letters, digits, - and _ (no __, and no _ at its end)");
	if (json_object_get(server, "url") == NULL && json_object_get(server, "socket") == NULL)
		return err_set(e, "url is missing; allowed: http:// or https://, or socket in its place");
	if (json_object_get(server, "url") != NULL && json_object_get(server, "socket") != NULL)
		return err_set(e, "it has both url and socket; allowed: either");
	if (json_object_get(server, "bearer") != NULL && json_object_get(server, "token_file") != NULL)
		return err_set(e, "it has both bearer and token_file; allowed: either");
	return 0;
}

int mcp_servers_check(const char *text, mcp_servers_check_fn *check, struct err *e)
{
	json_error_t at;
	json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, &at), *server, *names = json_object();
	int result = 0;
	size_t i;

	/* The parser's message may quote the text, which has secrets. */
	if (all == NULL)
		result = err_set(e, "the value is not valid JSON (line %d, column %d)", at.line, at.column);
	else if (!json_is_array(all))
		result = err_set(e, "the value is no list; allowed: ( { name = \"docs\"; url = \"https://...\"; } )");
	else if (json_array_size(all) > MCP_SERVERS_MAX)
		result = err_set(e, "there are more than %d servers", MCP_SERVERS_MAX);
	json_array_foreach(result == 0 ? all : NULL, i, server)
	{
		const char *name = json_string_value(json_object_get(server, "name"));

		result = check_server(server, check, e);
		if (result == 0 && json_object_get(names, name) != NULL)
			result = err_set(e, "there is another server of this name");
		if (result < 0) {
			err_prefix(e, "server %zu%s%.24s%s", i + 1, name != NULL ? " (" : "", name != NULL ? name : "",
			           name != NULL ? ")" : "");
			break;
		}
		json_object_set_new(names, name, json_true());
	}
	json_decref(names);
	json_decref(all);
	return result;
}

/* ---- without secrets ------------------------------------------------------------------------- */

static void hide_map(json_t *map)
{
	const char *name;
	json_t *member;

	json_object_foreach(map, name, member) json_object_set_new(map, name, json_string(HIDDEN));
}

static void hide(json_t *server)
{
	const char *url = json_string_value(json_object_get(server, "url"));

	for (size_t i = 0; i < FIELDS; i++) {
		json_t *member = json_object_get(server, fields[i].row.name);

		if (member == NULL || !fields[i].row.info.secret)
			continue;
		if (fields[i].map)
			hide_map(member);
		else
			json_object_set_new(server, fields[i].row.name, json_string(HIDDEN));
	}
	if (url != NULL && strchr(url, '?') != NULL)
		json_object_set_new(server, "url", json_sprintf("%.*s?" HIDDEN, (int)strcspn(url, "?"), url));
}

char *mcp_servers_shown(const char *text)
{
	json_t *all = json_loads(text, 0, NULL), *server;
	char *shown = NULL;
	size_t i;

	json_array_foreach(all, i, server) hide(server);
	if (all != NULL)
		shown = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	return shown;
}

bool mcp_servers_have_secrets(const char *text)
{
	json_t *all = json_loads(text, 0, NULL), *server;
	bool found = false;
	size_t i;

	json_array_foreach(all, i, server) for (size_t k = 0; k < FIELDS; k++) found |=
		fields[k].row.info.secret && json_object_get(server, fields[k].row.name) != NULL;
	json_decref(all);
	return found;
}
