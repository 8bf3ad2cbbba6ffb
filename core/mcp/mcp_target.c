/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_target.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 60000

static const char *text_of(const json_t *j, const char *name)
{
	return json_string_value(json_object_get(j, name));
}

/* A group of headers as lines. -1: no memory. */
static int make_headers(struct mcp_target *t)
{
	json_t *map = json_object_get(t->json, "headers"), *value;
	const char *name;
	size_t count = 0;

	t->headers = calloc(json_object_size(map) + 1, sizeof *t->headers);
	if (t->headers == NULL)
		return -1;
	json_object_foreach(map, name, value)
	{
		if (asprintf(&t->headers[count], "%s: %s", name, json_string_value(value)) < 0) {
			t->headers[count] = NULL;
			return -1;
		}
		count++;
	}
	return 0;
}

int mcp_target_init(struct mcp_target *t, json_t *server, struct err *e)
{
	const json_t *timeout = json_object_get(server, "timeout");

	*t = (struct mcp_target){
		.json = json_incref(server),
		.name = text_of(server, "name"),
		.url = text_of(server, "url"),
		.socket = text_of(server, "socket"),
		.bearer = text_of(server, MCP_TARGET_BEARER),
		.token_file = text_of(server, "token_file"),
		.ca_file = text_of(server, "ca_file"),
		.era = text_of(server, MCP_TARGET_ERA),
		.timeout_ms = json_is_number(timeout) ? (int64_t)(json_number_value(timeout) * 1000) : TIMEOUT_MS,
	};
	if (t->socket != NULL && t->name != NULL && asprintf(&t->made_url, "http://localhost/%s", t->name) < 0)
		t->made_url = NULL;
	if (t->socket != NULL)
		t->url = t->made_url;
	if (t->name != NULL && t->url != NULL && make_headers(t) == 0)
		return 0;
	mcp_target_clear(t);
	return err_set(e, "out of memory");
}

void mcp_target_clear(struct mcp_target *t)
{
	for (char **h = t->headers; h != NULL && *h != NULL; h++)
		free(*h);
	free(t->headers);
	free(t->made_url);
	json_decref(t->json);
	*t = (struct mcp_target){.json = NULL};
}

bool mcp_target_offers(const struct mcp_target *t, const char *tool)
{
	json_t *patterns = json_object_get(t->json, "tools"), *pattern;
	size_t i;

	json_array_foreach(patterns, i, pattern) if (fnmatch(json_string_value(pattern), tool, 0) == 0) return true;
	return json_array_size(patterns) == 0;
}

json_t *mcp_target_settings(const struct config *c)
{
	const char *text = cfg_str(c, CFG_MCP_SERVERS);

	return text != NULL ? json_loads(text, 0, NULL) : json_array();
}

void mcp_target_place(const struct mcp_target *t, char *out, size_t size)
{
	if (t->socket != NULL)
		snprintf(out, size, "unix:%s", t->socket);
	else
		snprintf(out, size, "%.*s", (int)strcspn(t->url, "?"), t->url);
}
