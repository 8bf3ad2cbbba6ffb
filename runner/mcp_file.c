/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/mcp_file.h"

#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/config/readfile.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX    (1u << 20)
#define SERVERS_MAX 32
#define NAME_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

static bool is_text(const json_t *j)
{
	return json_is_string(j) && strlen(json_string_value(j)) == json_string_length(j);
}

static int check_server(const json_t *settings, struct err *e)
{
	const char *command = json_string_value(json_object_get(settings, "command")), *name;
	json_t *member, *item;
	size_t i;

	if (!json_is_object(settings))
		return err_set(e, "it is no object");
	json_object_foreach((json_t *)(uintptr_t)settings, name, member)
	{
		if (strcmp(name, "command") == 0 || strcmp(name, "cwd") == 0) {
			if (!is_text(member))
				return err_set(e, "%s is no text", name);
		} else if (strcmp(name, "args") == 0) {
			if (!json_is_array(member))
				return err_set(e, "args is no list");
			json_array_foreach(member, i, item) if (!is_text(item)) return err_set(
				e, "argument %zu is no text", i + 1);
		} else if (strcmp(name, "env") == 0) {
			const char *variable;

			if (!json_is_object(member))
				return err_set(e, "env is no object");
			json_object_foreach(member, variable, item) if (
				*variable == '\0' || strchr(variable, '=') != NULL ||
				!is_text(item)) return err_set(e, "env: %.60s is no variable, or its value is no text",
			                                       variable);
		} else if (strcmp(name, "type") != 0 || !json_is_string(member) ||
		           strcmp(json_string_value(member), "stdio") != 0) {
			return err_set(e, "%.60s: no such field; allowed: command, args, env, cwd, and type \"stdio\"",
			               name);
		}
	}
	if (command == NULL || *command == '\0')
		return err_set(e, "command is missing");
	member = json_object_get(settings, "cwd");
	return member != NULL && *json_string_value(member) != '/' ? err_set(e, "cwd does not begin with /") : 0;
}

static int check_servers(const json_t *all, struct err *e)
{
	const json_t *settings;
	const char *name;

	if (!json_is_object(all) || json_object_size(all) == 0 || json_object_size(all) > SERVERS_MAX)
		return err_set(e, "it has no object mcpServers of 1 to %d servers", SERVERS_MAX);
	json_object_foreach((json_t *)(uintptr_t)all, name, settings)
	{
		if (*name == '\0' || name[strspn(name, NAME_CHARS)] != '\0' || strlen(name) > 24)
			return err_set(e, "%.60s: a server's name has up to 24 letters, digits, - and _", name);
		if (check_server(settings, e) < 0) {
			err_prefix(e, "%s", name);
			return -1;
		}
	}
	return 0;
}

json_t *mcp_file_read(const char *path, struct err *e)
{
	struct buf text = BUF_INIT(FILE_MAX);
	json_t *all = NULL, *servers = NULL;
	json_error_t at;
	struct stat st;

	if (readfile(path, &text, &st, e) < 0)
		goto out;
	if ((st.st_mode & S_IWOTH) != 0) {
		err_set(e, "%s: everybody may write to it, and it has commands: chmod o-w", path);
		goto out;
	}
	all = json_loadb(text.data != NULL ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &at);
	servers = json_object_get(all, "mcpServers");
	/* The parser's message may quote the text, which has secrets. */
	if (all == NULL)
		err_set(e, "%s is not valid JSON (line %d, column %d)", path, at.line, at.column);
	else if (check_servers(servers, e) < 0)
		err_prefix(e, "%s", path);
	servers = err_is_set(e) ? NULL : json_incref(servers);
out:
	json_decref(all);
	buf_free(&text);
	return servers;
}

/* ---- while the program runs ---------------------------------------------------------------------- */

struct mcp_file {
	char *path;
	struct event *timer;
	struct stat seen; /* what was read last */
	mcp_file_changed_fn *changed;
	void *arg;
};

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid;
}

void mcp_file_reread(struct mcp_file *f)
{
	struct err e = ERR_INIT;
	json_t *servers;

	if (stat(f->path, &f->seen) < 0)
		f->seen = (struct stat){.st_ino = 0};
	servers = mcp_file_read(f->path, &e);
	if (servers != NULL)
		f->changed(f->arg, servers);
	else
		log_event(LOG_MCP_FILE_ERROR, L_STR("error", e.text));
	json_decref(servers);
}

/* An editor may replace the file: it need not be there at every moment. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct mcp_file *f = arg;
	struct stat now;

	(void)fd;
	(void)what;
	if (stat(f->path, &now) == 0 && !is_same(&now, &f->seen))
		mcp_file_reread(f);
}

struct mcp_file *mcp_file_watch(struct event_base *base, const char *path, mcp_file_changed_fn *changed, void *arg)
{
	static const struct timeval second = {.tv_sec = 1};
	struct mcp_file *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	*f = (struct mcp_file){.path = strdup(path), .changed = changed, .arg = arg};
	f->timer = event_new(base, -1, EV_PERSIST, on_timer, f);
	if (f->path == NULL || f->timer == NULL || event_add(f->timer, &second) < 0) {
		mcp_file_free(f);
		return NULL;
	}
	return f;
}

void mcp_file_free(struct mcp_file *f)
{
	if (f == NULL)
		return;
	if (f->timer != NULL)
		event_free(f->timer);
	free(f->path);
	free(f);
}
