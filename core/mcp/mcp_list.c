/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_list.h"

#include <stdlib.h>
#include <string.h>

struct mcp_list {
	struct mcp_client *client;
	mcp_list_done_fn *done;
	void *arg;
	struct mcp_call *call;
	json_t *tools, *cursor;
	int64_t ttl_ms;
	unsigned pages;
};

static void on_page(void *arg, const struct mcp_outcome *o);

static int request_page(struct mcp_list *l)
{
	json_t *params = l->cursor != NULL ? json_pack("{s:O}", "cursor", l->cursor) : json_object();
	const struct mcp_request request = {.method = "tools/list", .params = params, .repeatable = true};

	l->call = params != NULL ? mcp_client_call(l->client, &request, on_page, l) : NULL;
	json_decref(params);
	return l->call != NULL ? 0 : -1;
}

static void list_free(struct mcp_list *l)
{
	json_decref(l->tools);
	json_decref(l->cursor);
	free(l);
}

static void end(struct mcp_list *l, const char *why)
{
	l->done(l->arg, why == NULL ? l->tools : NULL, l->ttl_ms, why);
	list_free(l);
}

static void take_ttl(struct mcp_list *l, const json_t *result)
{
	const json_t *ttl = json_object_get(result, "ttlMs");
	double ms = json_number_value(ttl);

	if (json_is_number(ttl) && ms >= 0 && ms < 1e15 && (l->ttl_ms < 0 || (int64_t)ms < l->ttl_ms))
		l->ttl_ms = (int64_t)ms;
}

static void on_page(void *arg, const struct mcp_outcome *o)
{
	struct mcp_list *l = arg;
	json_t *tools = json_object_get(o->result, "tools"), *next = json_object_get(o->result, "nextCursor");

	l->call = NULL;
	if (o->result == NULL) {
		end(l, o->text);
	} else if (!json_is_array(tools)) {
		end(l, "its answer to tools/list has no tools");
	} else if (json_array_extend(l->tools, tools) < 0) {
		end(l, "out of memory");
	} else {
		take_ttl(l, o->result);
		/* A cursor that leads to itself would never end. */
		if (!json_is_string(next) || (l->cursor != NULL && json_equal(next, l->cursor)) ||
		    ++l->pages == MCP_LIST_PAGES_MAX || json_array_size(l->tools) >= MCP_LIST_TOOLS_MAX) {
			end(l, NULL);
			return;
		}
		json_decref(l->cursor);
		l->cursor = json_incref(next);
		if (request_page(l) < 0)
			end(l, "out of memory");
	}
}

struct mcp_list *mcp_list_start(struct mcp_client *c, mcp_list_done_fn *done, void *arg)
{
	struct mcp_list *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	*l = (struct mcp_list){.client = c, .done = done, .arg = arg, .tools = json_array(), .ttl_ms = -1};
	if (l->tools != NULL && request_page(l) == 0)
		return l;
	list_free(l);
	return NULL;
}

void mcp_list_cancel(struct mcp_list *l)
{
	mcp_call_cancel(l->call);
	list_free(l);
}
