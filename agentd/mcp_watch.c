/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/mcp_watch.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/config/readfile.h"
#include "core/http/http_proxy.h"
#include "core/mcp/mcp_client.h"
#include "core/mcp/mcp_list.h"
#include "core/mcp/mcp_tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_MS         60000 /* where the server does not say how long its list is good for */
#define SHORTEST_MS         1000
#define LONGEST_MS          3600000
#define AGAIN_FIRST_MS      1000
#define AGAIN_LONGEST_MS    60000
#define FAILURES_TO_BE_GONE 2 /* one may be a restart of the server */
#define TOKEN_MAX           8192

struct server {
	struct mcp_watch *watch;
	struct mcp_target target; /* its entry of mcp.servers */
	json_t *entry;            /* the same with its token; NULL: not known */
	struct mcp_client *client;
	struct mcp_list *list; /* that is requested; NULL: none */
	json_t *tools;         /* as it listed them last; NULL: they are not offered */
	json_t *restored;      /* until then: what was published before; NULL: nothing */
	int64_t due_ms;        /* CLOCK_MONOTONIC */
	unsigned failures;     /* in a row */
	char error[600];       /* the last one; "": none */
	char version[16];
	int64_t since_ms; /* wall clock: it is in this state */
	size_t offered;
	bool logs_left_out; /* the list is new: what is left out of it is logged */
	size_t left_out;
	char left_out_why[200]; /* the first of them and the reason; "": none */
};

struct mcp_watch {
	struct services *s;
	void (*changed)(void *arg, bool tools);
	void *arg;
	struct config *config; /* that the servers are of; NULL: none yet */
	struct server **servers;
	size_t count;
	json_t *tools, *state;
};

/* ---- what is published ---------------------------------------------------------------------------------- */

static void on_left_out(void *arg, const char *name, const char *why)
{
	struct server *v = arg;

	if (v->left_out++ == 0)
		snprintf(v->left_out_why, sizeof v->left_out_why, "%s: %s", name, why);
	if (v->logs_left_out)
		log_event(LOG_MCP_TOOL_LEFT_OUT, L_STR("server", v->target.name), L_STR("tool", name),
		          L_STR("reason", why));
}

static json_t *server_state(const struct server *v)
{
	const char *state = v->error[0] != '\0' ? "failing" : v->tools != NULL ? "answers" : "pending";
	char place[300];

	mcp_target_place(&v->target, place, sizeof place);
	return json_pack("{s:s, s:s, s:s, s:s?, s:I, s:I, s:s?, s:s?, s:f}", "name", v->target.name, "url", place,
	                 "state", state, "version", v->version[0] != '\0' ? v->version : NULL, "tools",
	                 (json_int_t)v->offered, "left_out", (json_int_t)v->left_out, "left_out_reason",
	                 v->left_out > 0 ? v->left_out_why : NULL, "error", v->error[0] != '\0' ? v->error : NULL,
	                 "since", (double)v->since_ms / 1000);
}

/* Makes both documents again. */
static void make_documents(struct mcp_watch *w, bool *tools_differ, bool *state_differs)
{
	json_t *tools = json_array(), *servers = json_array(), *state = json_array(), *all = NULL;

	for (size_t i = 0; i < w->count; i++) {
		struct server *v = w->servers[i];
		json_t *published = v->tools != NULL || v->restored != NULL ? json_copy(v->entry) : NULL;

		v->left_out = 0;
		v->offered = published == NULL  ? 0
		             : v->tools != NULL ? mcp_tools_add(tools, &v->target, v->tools, on_left_out, v)
		                                : mcp_tools_restore(tools, v->target.name, v->restored);
		v->logs_left_out = false;
		if (v->offered > 0) {
			json_object_set_new(published, MCP_TARGET_ERA, json_string(v->version));
			json_array_append(servers, published);
		}
		json_decref(published);
		json_array_append_new(state, server_state(v));
	}
	if (json_array_size(tools) > 0)
		all = json_pack("{s:O, s:O}", "servers", servers, "tools", tools);
	*tools_differ = all != w->tools && !json_equal(all, w->tools);
	*state_differs = !json_equal(state, w->state);
	json_decref(tools);
	json_decref(servers);
	json_decref(w->tools);
	json_decref(w->state);
	w->tools = all;
	w->state = state;
}

/* The same, and reports what has changed. */
static void update(struct mcp_watch *w)
{
	bool tools_differ, state_differs;

	make_documents(w, &tools_differ, &state_differs);
	if (tools_differ || state_differs)
		w->changed(w->arg, tools_differ);
}

/* ---- listing ---------------------------------------------------------------------------------------------- */

static void set_state(struct server *v, const char *error)
{
	if (strcmp(v->error, error) == 0)
		return;
	if ((*error == '\0') != (v->error[0] == '\0'))
		v->since_ms = clock_wall_ms();
	snprintf(v->error, sizeof v->error, "%s", error);
	if (*error != '\0')
		log_event(LOG_MCP_SERVER_WARNING, L_STR("server", v->target.name), L_STR("reason", error));
}

static void take_tools(struct server *v, json_t *tools, int64_t ttl_ms)
{
	const char *version = mcp_client_version(v->client);
	bool is_news = v->failures > 0 || !json_equal(tools, v->tools);

	snprintf(v->version, sizeof v->version, "%s", version != NULL ? version : "");
	v->failures = 0;
	v->due_ms = clock_mono_ms() + (ttl_ms <= 0            ? INTERVAL_MS
	                               : ttl_ms < SHORTEST_MS ? SHORTEST_MS
	                               : ttl_ms > LONGEST_MS  ? LONGEST_MS
	                                                      : ttl_ms);
	set_state(v, "");
	if (!is_news)
		return;
	json_decref(v->tools);
	v->tools = json_incref(tools);
	json_decref(v->restored);
	v->restored = NULL;
	v->logs_left_out = true;
	log_event(LOG_MCP_SERVER, L_STR("server", v->target.name), L_STR("version", v->version),
	          L_INT("tools", json_array_size(tools)));
}

static void failed(struct server *v, const char *why)
{
	int64_t wait_ms = AGAIN_FIRST_MS << (v->failures < 6 ? v->failures : 6);

	v->due_ms = clock_mono_ms() + (wait_ms < AGAIN_LONGEST_MS ? wait_ms : AGAIN_LONGEST_MS);
	v->failures++;
	set_state(v, why);
	if (v->failures < FAILURES_TO_BE_GONE)
		return;
	json_decref(v->tools);
	json_decref(v->restored);
	v->tools = v->restored = NULL;
}

static void on_tools(void *arg, json_t *tools, int64_t ttl_ms, const char *why)
{
	struct server *v = arg;

	v->list = NULL;
	if (tools != NULL)
		take_tools(v, tools, ttl_ms);
	else
		failed(v, why);
	update(v->watch);
}

/* The entry with the token that its file has now; a new reference. NULL with e. */
static json_t *with_token(const json_t *settings, struct err *e)
{
	const char *path = json_string_value(json_object_get(settings, "token_file"));
	json_t *entry = json_copy((json_t *)(uintptr_t)settings), *token = NULL;
	struct buf text = BUF_INIT(TOKEN_MAX);

	if (path != NULL && readfile(path, &text, NULL, e) == 0) {
		size_t len = text.len, from = 0;

		while (len > 0 && (unsigned char)text.data[len - 1] <= ' ')
			len--;
		while (from < len && (unsigned char)text.data[from] <= ' ')
			from++;
		token = json_stringn(text.data + from, len - from);
		if (len == from || token == NULL)
			err_set(e, "%s: there is no token in it", path);
		for (size_t i = from; i < len; i++)
			if (text.data[i] <= ' ' || text.data[i] > '~')
				err_set(e, "%s: what is in it is no token", path);
		json_object_set_new(entry, MCP_TARGET_BEARER, token);
	}
	buf_free(&text);
	if (!err_is_set(e))
		return entry;
	json_decref(entry);
	return NULL;
}

/* A client for what the entry is now, if it differs. -1 with e. */
static int follow_token(struct server *v, struct err *e)
{
	json_t *entry = with_token(v->target.json, e);
	struct mcp_watch *w = v->watch;
	struct mcp_client_place place = {
		.base = w->s->base, .http = w->s->http, .reply_limit = (size_t)cfg_int(w->config, CFG_MCP_REPLY_LIMIT)};
	struct mcp_client *client = NULL;
	struct mcp_target target;

	if (entry == NULL)
		return -1;
	if (v->client != NULL && json_equal(v->entry, entry)) {
		json_decref(entry);
		return 0;
	}
	if (mcp_target_init(&target, entry, e) == 0) {
		place.proxy = http_proxy_for(w->config, target.url);
		client = mcp_client_new(&place, &target);
		mcp_target_clear(&target);
	}
	if (client == NULL) {
		json_decref(entry);
		return err_set(e, "out of memory");
	}
	mcp_client_free(v->client);
	json_decref(v->entry);
	v->client = client;
	v->entry = entry;
	return 0;
}

/* Its file has another token now. */
static bool token_changed(const struct server *v)
{
	struct err e = ERR_INIT;
	json_t *entry = v->target.token_file != NULL && v->entry != NULL ? with_token(v->target.json, &e) : NULL;
	bool changed = entry != NULL && !json_equal(entry, v->entry);

	json_decref(entry);
	return changed;
}

static void start(struct server *v)
{
	struct err e = ERR_INIT;

	if (follow_token(v, &e) == 0)
		v->list = mcp_list_start(v->client, on_tools, v);
	if (v->list != NULL)
		return;
	failed(v, err_is_set(&e) ? e.text : "out of memory");
	update(v->watch);
}

/* ---- the configuration --------------------------------------------------------------------------------------- */

static void server_free(struct server *v)
{
	if (v == NULL)
		return;
	if (v->list != NULL)
		mcp_list_cancel(v->list);
	mcp_client_free(v->client);
	mcp_target_clear(&v->target);
	json_decref(v->entry);
	json_decref(v->tools);
	json_decref(v->restored);
	free(v);
}

/* The one of these settings, which is no longer in the list then; NULL: there is none. */
static struct server *take(struct mcp_watch *w, const json_t *settings)
{
	for (size_t i = 0; i < w->count; i++) {
		struct server *v = w->servers[i];

		if (v == NULL || !json_equal(v->target.json, settings))
			continue;
		/* Other settings may concern it: it is asked at once. */
		if (v->list != NULL)
			mcp_list_cancel(v->list);
		v->list = NULL;
		mcp_client_free(v->client);
		v->client = NULL;
		v->due_ms = 0;
		w->servers[i] = NULL;
		return v;
	}
	return NULL;
}

static struct server *server_new(struct mcp_watch *w, json_t *settings)
{
	struct server *v = calloc(1, sizeof *v);

	if (v == NULL)
		return NULL;
	*v = (struct server){.watch = w, .since_ms = clock_wall_ms()};
	if (mcp_target_init(&v->target, settings, NULL) == 0)
		return v;
	free(v);
	return NULL;
}

/* What has not changed stays as it is, with its tools. */
static void follow_config(struct mcp_watch *w)
{
	json_t *all, *settings;
	struct server **servers;
	size_t count = 0, i;

	if (w->config == w->s->config)
		return;
	all = mcp_target_settings(w->s->config);
	servers = calloc(json_array_size(all) + 1, sizeof *servers);
	if (all == NULL || servers == NULL) { /* it is tried again within a second */
		json_decref(all);
		free(servers);
		return;
	}
	config_unref(w->config);
	w->config = config_ref(w->s->config);
	json_array_foreach(all, i, settings)
	{
		servers[count] = take(w, settings);
		if (servers[count] == NULL)
			servers[count] = server_new(w, settings);
		count += servers[count] != NULL;
	}
	json_decref(all);
	for (i = 0; i < w->count; i++)
		server_free(w->servers[i]);
	free(w->servers);
	w->servers = servers;
	w->count = count;
	if (w->s->http != NULL)
		update(w);
}

/* The published entry of a server, if it was configured as it is now; NULL: it was not. */
static const json_t *published_entry(const struct server *v, const json_t *published)
{
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(published, "servers"), i, entry)
	{
		json_t *settings = json_copy(entry);
		bool is_same;

		json_object_del(settings, MCP_TARGET_ERA);
		if (v->target.token_file != NULL)
			json_object_del(settings, MCP_TARGET_BEARER);
		is_same = json_equal(settings, v->target.json);
		json_decref(settings);
		if (is_same)
			return entry;
	}
	return NULL;
}

void mcp_watch_restore(struct mcp_watch *w, json_t *published)
{
	bool tools_differ, state_differs;

	follow_config(w);
	for (size_t i = 0; i < w->count; i++) {
		struct server *v = w->servers[i];
		const json_t *entry = published_entry(v, published);
		const char *version = json_string_value(json_object_get(entry, MCP_TARGET_ERA));
		struct err e = ERR_INIT;

		v->entry = entry != NULL ? with_token(v->target.json, &e) : NULL;
		if (v->entry == NULL)
			continue;
		v->restored = json_incref(published);
		snprintf(v->version, sizeof v->version, "%s", version != NULL ? version : "");
	}
	make_documents(w, &tools_differ, &state_differs);
}

void mcp_watch_tick(struct mcp_watch *w)
{
	follow_config(w);
	for (size_t i = 0; i < w->count && w->s->http != NULL; i++) {
		struct server *v = w->servers[i];

		if (v->list == NULL && (clock_mono_ms() >= v->due_ms || token_changed(v)))
			start(v);
	}
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

struct mcp_watch *mcp_watch_new(struct services *s, void (*changed)(void *arg, bool tools), void *arg)
{
	struct mcp_watch *w = calloc(1, sizeof *w);

	if (w != NULL)
		*w = (struct mcp_watch){.s = s, .changed = changed, .arg = arg};
	return w;
}

void mcp_watch_free(struct mcp_watch *w)
{
	if (w == NULL)
		return;
	for (size_t i = 0; i < w->count; i++)
		server_free(w->servers[i]);
	free(w->servers);
	config_unref(w->config);
	json_decref(w->tools);
	json_decref(w->state);
	free(w);
}

json_t *mcp_watch_tools(const struct mcp_watch *w)
{
	return w->tools;
}

json_t *mcp_watch_state(const struct mcp_watch *w)
{
	return w->count > 0 ? w->state : NULL;
}
