/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and what runs them. */
#include "agentctl/ctl.h"
#include "core/config/config.h"
#include "core/status/reader.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

/* One row for each entry in commands/. */
static const struct ctl_command *const entries[] = {
	&ctl_ping,
	&ctl_status,
	&ctl_models,
	&ctl_metrics,
	&ctl_config,
	&ctl_config_explain,
	&ctl_events,
	&ctl_refresh,
	&ctl_select,
	&ctl_drain,
	&ctl_undrain,
	&ctl_reload,
	&ctl_keys_list,
	&ctl_keys_create,
	&ctl_keys_rotate,
	&ctl_keys_revoke,
	&ctl_keys_delete,
	&ctl_usage_sums,
	&ctl_mcp_list,
	&ctl_mcp_tools,
	&ctl_mcp_call,
	&ctl_threads_list,
	&ctl_threads_show,
	&ctl_threads_stat,
	&ctl_threads_size,
	&ctl_threads_delete,
	&ctl_threads_delete_user,
	&ctl_threads_delete_all,
	&ctl_threads_export,
	&ctl_threads_copy,
	&ctl_probe,
	&ctl_doctor,
	&ctl_top,
	&ctl_chat,
};
#define ENTRIES (sizeof entries / sizeof entries[0])

static size_t count_words(const char *text)
{
	size_t count = 0;

	for (; *text != '\0'; text += strspn(text, " "), count++)
		text += strcspn(text, " ");
	return count;
}

/* `report` and `cancel` are for responders: neither makes sense on a command line. */
static bool is_for_people(enum command id)
{
	return id != CMD_CANCEL && command_info(id)->right != RIGHT_SERVICE;
}

static void fill_in(enum command id, struct ctl_command *out)
{
	const struct command_info *info = command_info(id);

	*out = (struct ctl_command){.name = info->name};
	for (size_t i = 0; i < ENTRIES; i++)
		if (strcmp(entries[i]->name, info->name) == 0)
			*out = *entries[i];
	if (out->arguments == NULL) {
		out->arguments = info->args;
		out->min = out->max = count_words(info->args);
	}
	if (out->help == NULL)
		out->help = info->help;
}

bool ctl_command_at(size_t i, struct ctl_command *out)
{
	enum command id;

	for (unsigned c = 0; c < COMMANDS; c++)
		if (is_for_people((enum command)c) && i-- == 0) {
			fill_in((enum command)c, out);
			return true;
		}
	for (size_t e = 0; e < ENTRIES; e++)
		if (command_find(entries[e]->name, &id) < 0 && i-- == 0) {
			*out = *entries[e];
			return true;
		}
	return false;
}

void ctl_usage(const struct ctl_command *c, char *out, size_t size)
{
	size_t len = strlen(c->name);

	snprintf(out, size, "%s%s%s", c->name, *c->arguments != '\0' ? " " : "", c->arguments);
	for (char *p = out + (len < size ? len : 0); *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
}

/* --- the last published state ----------------------------------------------------------------- */

static void mark_stale(json_t *document, const struct status_reader *r, const struct status_snapshot *s)
{
	int64_t since = status_header(s)->published_ms;
	const char *reason = NULL;

	if (!status_is_stale(r, &since, &reason) || reason == NULL)
		reason = "tt-agentd does not answer";
	json_object_set_new(document, "stale", json_true());
	json_object_set_new(document, "stale_since", json_real((double)since / 1000));
	json_object_set_new(document, "stale_reason", json_string(reason));
}

json_t *ctl_last_state(const struct ctl *a, json_t *(*make)(const struct status_snapshot *s))
{
	struct err e = ERR_INIT;
	struct status_reader *r = status_reader_new(a->run_dir, &e);
	struct status_snapshot *s = r != NULL ? status_acquire(r) : NULL;
	json_t *document = s != NULL ? make(s) : NULL;

	if (document != NULL)
		mark_stale(document, r, s);
	status_release(s);
	status_reader_free(r);
	return document;
}

/* --- the published configuration --------------------------------------------------------------- */

struct config *ctl_published_config(const struct ctl *a, struct err *e)
{
	struct status_reader *r = status_reader_new(a->run_dir, e);
	struct status_snapshot *s = r != NULL ? status_acquire(r) : NULL;
	const char *name = s != NULL ? status_text(s, status_header(s)->config_name) : NULL;
	struct config *c = NULL;
	const char *reason = NULL;
	int64_t since;
	char path[4096];

	if (s == NULL && r != NULL && status_is_stale(r, &since, &reason) && reason != NULL)
		err_set(e, "%s", reason);
	if (name != NULL && strchr(name, '/') == NULL) {
		snprintf(path, sizeof path, "%s/%s", a->run_dir, name);
		c = config_read_saved(path, e);
	}
	if (c == NULL)
		err_set(e, "%s holds none", a->run_dir);
	status_release(s);
	status_reader_free(r);
	return c;
}

/* --- asking the daemon ------------------------------------------------------------------- */

static char *socket_path(const struct ctl *a, char *out, size_t size)
{
	snprintf(out, size, "%s/" COMMAND_SOCKET, a->run_dir);
	return out;
}

static enum ctl_exit no_answer(const struct ctl *a, const struct ctl_command *c, bool unreachable, const char *text)
{
	json_t *last = unreachable && c->last_state != NULL ? c->last_state(a) : NULL;
	char where[1024];

	snprintf(where, sizeof where, "%s%s%s%s", text, unreachable ? " (asked in " : "", unreachable ? a->run_dir : "",
	         unreachable ? ")" : "");
	if (last != NULL)
		a->output->show(a, c, last);
	else
		a->output->problem(a, where);
	json_decref(last);
	return unreachable ? CTL_UNREACHABLE : CTL_REFUSED;
}

static enum command daemon_command(const struct ctl_command *c)
{
	enum command id = COMMANDS;

	command_find(c->name, &id);
	return id;
}

json_t *ctl_call(const struct ctl *a, const struct ctl_command *c, json_t *args, enum ctl_exit *result)
{
	enum command id = daemon_command(c);
	int64_t deadline = a->deadline_ms > 0 ? a->deadline_ms : command_info(id)->deadline_ms;
	struct err e = ERR_INIT;
	bool unreachable = false;
	char path[4096];
	json_t *document = command_call(socket_path(a, path, sizeof path), id, args, deadline, &unreachable, &e);

	if (document == NULL)
		*result = no_answer(a, c, unreachable, e.text);
	return document;
}

json_t *ctl_request(const struct ctl *a, enum command id, json_t *args)
{
	struct err e = ERR_INIT;
	bool unreachable;
	char path[4096];

	return command_call(socket_path(a, path, sizeof path), id, args, command_info(id)->deadline_ms, &unreachable,
	                    &e);
}

enum ctl_exit ctl_finish(const struct ctl *a, const struct ctl_command *c, json_t *document)
{
	const char *status = json_string_value(json_object_get(document, "status"));
	enum ctl_exit result = status != NULL && strcmp(status, "error") == 0 ? CTL_REFUSED : CTL_OK;

	a->output->show(a, c, document);
	json_decref(document);
	return result;
}

struct watching {
	const struct ctl *a;
	const struct ctl_command *c;
};

static bool show_event(void *arg, const json_t *event)
{
	const struct watching *w = arg;

	w->a->output->show(w->a, w->c, event);
	return fflush(w->a->out) == 0; /* the reader may be gone: `tt-agentctl events | head -1` */
}

enum ctl_exit ctl_watch(const struct ctl *a, const struct ctl_command *c)
{
	struct watching w = {.a = a, .c = c};
	struct err e = ERR_INIT;
	char path[4096];

	if (command_watch(socket_path(a, path, sizeof path), daemon_command(c), show_event, &w, &e) == 0)
		return CTL_OK;
	return no_answer(a, c, true, e.text);
}

/* In the daemon's table the names of the arguments are separated by spaces. */
static json_t *arguments_object(const struct ctl_command *c, char *const *args, size_t count)
{
	const char *names = command_info(daemon_command(c))->args;
	json_t *j = json_object();

	for (size_t i = 0; i < count; i++) {
		size_t len = strcspn(names, " ");

		json_object_setn_new(j, names, len, json_string(args[i]));
		names += len;
		names += strspn(names, " ");
	}
	return j;
}

static enum ctl_exit run_daemon_command(const struct ctl *a, const struct ctl_command *c, char *const *args,
                                        size_t count)
{
	enum ctl_exit result = CTL_OK;
	json_t *document = ctl_call(a, c, arguments_object(c, args, count), &result);

	return document != NULL ? ctl_finish(a, c, document) : result;
}

/* --- dispatch ---------------------------------------------------------------------------- */

/* How many of the words are the command's name; 0: it is another one. */
static size_t matching_words(const char *name, char *const *words, size_t count)
{
	size_t n = 0;

	while (n < count && *name != '\0') {
		size_t len = strcspn(name, " ");

		if (strlen(words[n]) != len || strncmp(name, words[n], len) != 0)
			return 0;
		name += len;
		name += strspn(name, " ");
		n++;
	}
	return *name == '\0' ? n : 0;
}

/* The command with the longest name that the words begin with, "config explain" before "config", and of how many words
 * that is; 0: there is none. */
static size_t find_command(char *const *words, size_t count, struct ctl_command *out)
{
	struct ctl_command c;
	size_t best = 0;

	for (size_t i = 0; ctl_command_at(i, &c); i++) {
		size_t n = matching_words(c.name, words, count);

		if (n > best) {
			best = n;
			*out = c;
		}
	}
	return best;
}

/* "usage: tt-agentctl threads list|show|..." if word begins the name of a group. */
static bool group_usage(const char *word, char *out, size_t size)
{
	size_t len = strlen(word), used = 0;
	struct ctl_command c;

	for (size_t i = 0; ctl_command_at(i, &c) && used < size; i++)
		if (strncmp(c.name, word, len) == 0 && c.name[len] == ' ')
			used += (size_t)snprintf(out + used, size - used, "%s%s", used == 0 ? "" : "|",
			                         c.name + len + 1);
	return used > 0;
}

static enum ctl_exit wrong_usage(const struct ctl *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static enum ctl_exit wrong_usage(const struct ctl *a, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	a->output->problem(a, text);
	return CTL_USAGE;
}

enum ctl_exit ctl_run(const struct ctl *a, char *const *words, size_t count)
{
	struct ctl_command c;
	char usage[256];
	size_t n;

	if (count == 0)
		return wrong_usage(a, "no command; tt-agentctl --help lists the commands");
	n = find_command(words, count, &c);
	if (n > 0) {
		if (count - n >= c.min && count - n <= c.max)
			return (c.run != NULL ? c.run : run_daemon_command)(a, &c, words + n, count - n);
		ctl_usage(&c, usage, sizeof usage);
		return wrong_usage(a, "usage: tt-agentctl %s", usage);
	}
	if (group_usage(words[0], usage, sizeof usage))
		return wrong_usage(a, "usage: tt-agentctl %s %s", words[0], usage);
	return wrong_usage(a, "no such command: %.100s; tt-agentctl --help lists the commands", words[0]);
}
