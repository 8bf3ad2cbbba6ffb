/* SPDX-License-Identifier: Apache-2.0 */
/* What tt-agentctl does for each command of commands.def. */
#include "agentctl/admin.h"

#include "core/config/config.h"

#include <ctype.h>
#include <string.h>

static enum admin_exit run_plain(const struct admin *a, enum command c, char *const *args, size_t count);
static enum admin_exit run_config(const struct admin *a, enum command c, char *const *args, size_t count);
static enum admin_exit run_events(const struct admin *a, enum command c, char *const *args, size_t count);

static const struct admin_action actions[COMMANDS] = {
	[CMD_PING] = {SHOW_PING, run_plain, NULL, NULL},
	[CMD_STATUS] = {SHOW_STATUS, run_plain, admin_stale_status, NULL},
	[CMD_MODELS] = {SHOW_MODELS, run_plain, admin_stale_models, NULL},
	[CMD_CONFIG] = {SHOW_CONFIG, run_config, NULL, "[GROUP|SETTING]..."},
	[CMD_EVENTS] = {SHOW_EVENT, run_events, NULL, NULL},
	[CMD_TEST] = {SHOW_ANSWER, run_plain, NULL, NULL},
	[CMD_REFRESH] = {SHOW_ANSWER, run_plain, NULL, NULL},
	[CMD_SELECT] = {SHOW_ANSWER, run_plain, NULL, NULL},
	[CMD_UNSELECT] = {SHOW_ANSWER, run_plain, NULL, NULL},
	[CMD_RELOAD] = {SHOW_ANSWER, run_plain, NULL, NULL},
	[CMD_LOG_LEVEL] = {SHOW_ANSWER, run_plain, NULL, NULL},
	[CMD_SHUTDOWN] = {SHOW_ANSWER, run_plain, NULL, NULL},
};

const struct admin_action *admin_action(enum command c)
{
	return actions[c].run != NULL ? &actions[c] : NULL;
}

void admin_usage(enum command c, char *out, size_t size)
{
	const char *args = actions[c].usage != NULL ? actions[c].usage : command_info(c)->args;
	size_t len;

	snprintf(out, size, "%s%s%s", command_info(c)->name, *args != '\0' ? " " : "", args);
	len = strlen(command_info(c)->name);
	for (char *p = out + (len < size ? len : 0); *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
}

/* --- one question, one answer -------------------------------------------------------- */

static enum admin_exit wrong_usage(const struct admin *a, enum command c)
{
	char usage[128], text[192];

	admin_usage(c, usage, sizeof usage);
	snprintf(text, sizeof text, "usage: tt-agentctl %s", usage);
	a->output->problem(a, text);
	return ADMIN_USAGE;
}

/* The table names the arguments, split by blanks; all of them are needed. NULL where
 * there are more or fewer words, or memory is out. */
static json_t *named_arguments(enum command c, char *const *args, size_t count)
{
	const char *names = command_info(c)->args;
	json_t *j = json_object();

	for (size_t i = 0; i < count || *names != '\0'; i++) {
		size_t len = strcspn(names, " ");

		if (i == count || len == 0 || json_object_setn_new(j, names, len, json_string(args[i])) < 0) {
			json_decref(j);
			return NULL;
		}
		names += len;
		names += strspn(names, " ");
	}
	return j;
}

static char *socket_path(const struct admin *a, char *out, size_t size)
{
	snprintf(out, size, "%s/" COMMAND_SOCKET, a->run_dir);
	return out;
}

static bool answers_no(const json_t *document)
{
	const char *status = json_string_value(json_object_get(document, "status"));

	return status != NULL && strcmp(status, "error") == 0;
}

static enum admin_exit no_answer(const struct admin *a, enum command c, bool unreachable, const char *text)
{
	json_t *last = unreachable && actions[c].fallback != NULL ? actions[c].fallback(a) : NULL;
	char where[1024];

	snprintf(where, sizeof where, "%s%s%s%s", text, unreachable ? " (asked in " : "", unreachable ? a->run_dir : "",
	         unreachable ? ")" : "");
	if (last != NULL)
		a->output->show[actions[c].shows](a, last);
	else
		a->output->problem(a, where);
	json_decref(last);
	return unreachable ? ADMIN_UNREACHABLE : ADMIN_REFUSED;
}

/* Asks; NULL with *result set when there is nothing more to do. Steals args. */
static json_t *ask(const struct admin *a, enum command c, json_t *args, enum admin_exit *result)
{
	int64_t deadline = a->deadline_ms > 0 ? a->deadline_ms : command_info(c)->deadline_ms;
	struct err e = ERR_INIT;
	bool unreachable = false;
	char path[4096];
	json_t *document = command_call(socket_path(a, path, sizeof path), c, args, deadline, &unreachable, &e);

	if (document == NULL)
		*result = no_answer(a, c, unreachable, e.text);
	return document;
}

static enum admin_exit run_plain(const struct admin *a, enum command c, char *const *args, size_t count)
{
	json_t *named = named_arguments(c, args, count);
	enum admin_exit result = ADMIN_OK;
	json_t *document;

	if (named == NULL)
		return wrong_usage(a, c);
	document = ask(a, c, named, &result);
	if (document == NULL)
		return result;
	if (c == CMD_STATUS)
		admin_add_counters(a, document);
	a->output->show[actions[c].shows](a, document);
	if (actions[c].shows == SHOW_ANSWER && answers_no(document))
		result = ADMIN_REFUSED;
	json_decref(document);
	return result;
}

/* --- config: all, a group, or single settings ------------------------------------------ */

static bool path_matches(const char *path, const char *wanted)
{
	size_t len = strlen(wanted);

	return strncmp(path, wanted, len) == 0 && (path[len] == '\0' || path[len] == '.');
}

static json_t *matching_settings(const struct admin *a, const json_t *all, char *const *wanted, size_t count)
{
	json_t *some = json_object(), *value;
	const char *path;

	for (size_t i = 0; i < count; i++) {
		bool found = false;

		json_object_foreach((json_t *)(uintptr_t)all, path, value)
		{
			if (!path_matches(path, wanted[i]))
				continue;
			found = true;
			json_object_set(some, path, value);
		}
		if (!found) {
			char text[256];

			snprintf(text, sizeof text, "no such setting or group: %.200s", wanted[i]);
			a->output->problem(a, text);
			json_decref(some);
			return NULL;
		}
	}
	return some;
}

static enum admin_exit run_config(const struct admin *a, enum command c, char *const *args, size_t count)
{
	struct admin whole = *a;
	enum admin_exit result = ADMIN_OK;
	json_t *all = ask(a, c, json_object(), &result);
	json_t *some;

	if (all == NULL)
		return result;
	some = count > 0 ? matching_settings(a, all, args, count) : json_incref(all);
	whole.whole = count > 0;
	if (some != NULL)
		a->output->show[SHOW_CONFIG](&whole, some);
	else
		result = ADMIN_USAGE;
	json_decref(some);
	json_decref(all);
	return result;
}

/* --- events ------------------------------------------------------------------------------ */

static bool show_event(void *arg, const json_t *event)
{
	const struct admin *a = arg;

	a->output->show[SHOW_EVENT](a, event);
	return fflush(a->out) == 0; /* nobody reads on: `tt-agentctl events | head -1` */
}

static enum admin_exit run_events(const struct admin *a, enum command c, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	char path[4096];

	(void)args;
	if (count > 0)
		return wrong_usage(a, c);
	if (command_watch(socket_path(a, path, sizeof path), c, show_event, (void *)(uintptr_t)a, &e) == 0)
		return ADMIN_OK;
	return no_answer(a, c, true, e.text);
}

enum admin_exit admin_run(const struct admin *a, char *const *words, size_t count)
{
	enum command c;
	char text[256];

	if (count > 0 && strcmp(words[0], ADMIN_THREADS) == 0)
		return admin_threads(a, words + 1, count - 1);
	if (count == 0 || command_find(words[0], &c) < 0 || admin_action(c) == NULL) {
		snprintf(text, sizeof text, "%s%.100s; tt-agentctl --help lists the commands",
		         count == 0 ? "no command" : "no such command: ", count == 0 ? "" : words[0]);
		a->output->problem(a, text);
		return ADMIN_USAGE;
	}
	return actions[c].run(a, c, words + 1, count - 1);
}
