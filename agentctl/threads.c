/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentctl threads: conversations, which need no daemon: the store that the published
 * configuration names is read itself. */
#include "agentctl/admin.h"

#include "core/config/config.h"
#include "core/status/reader.h"
#include "core/store/store_admin.h"

#include <inttypes.h>
#include <string.h>

static enum admin_exit run_list(const struct admin *a, const char *url, char *const *args, size_t count);
static enum admin_exit run_show(const struct admin *a, const char *url, char *const *args, size_t count);
static enum admin_exit run_delete(const struct admin *a, const char *url, char *const *args, size_t count);
static enum admin_exit run_delete_user(const struct admin *a, const char *url, char *const *args, size_t count);
static enum admin_exit run_delete_all(const struct admin *a, const char *url, char *const *args, size_t count);
static enum admin_exit run_export(const struct admin *a, const char *url, char *const *args, size_t count);
static enum admin_exit run_size(const struct admin *a, const char *url, char *const *args, size_t count);

static const struct admin_thread_command commands[] = {
	{"list", "", "Stored conversations, the last used first.", 0, 0, run_list},
	{"show", "THREAD [SUBJECT]", "The turns of one; SUBJECT is the user that the web server authenticated.", 1, 2,
         run_show},
	{"size", "", "How many are stored, and the space that they take.", 0, 0, run_size},
	{"delete", "THREAD [SUBJECT]", "Deletes one for good.", 1, 2, run_delete},
	{"delete-user", "SUBJECT", "Deletes all of one user.", 1, 1, run_delete_user},
	{"delete-all", "", "Deletes all of them.", 0, 0, run_delete_all},
	{"export", "", "All of them as JSON, one a line.", 0, 0, run_export},
};
#define COUNT (sizeof commands / sizeof commands[0])

const struct admin_thread_command *admin_thread_commands(size_t *count)
{
	*count = COUNT;
	return commands;
}

/* --- which store ------------------------------------------------------------------- */

static struct config *published(const struct admin *a, struct err *e)
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
	if (c == NULL && err_is_set(e))
		err_prefix(e, "the published configuration, which names the store, can't be read");
	else if (c == NULL)
		err_set(e, "%s holds no published configuration, which would name the store", a->run_dir);
	status_release(s);
	status_reader_free(r);
	return c;
}

static enum admin_exit problem(const struct admin *a, const struct err *e)
{
	a->output->problem(a, e->text);
	return ADMIN_REFUSED;
}

static enum admin_exit answer(const struct admin *a, enum admin_document kind, json_t *document)
{
	a->output->show[kind](a, document);
	json_decref(document);
	return ADMIN_OK;
}

/* --- the commands ------------------------------------------------------------------------ */

static bool add_thread(void *arg, const struct store_thread *t)
{
	return json_array_append_new(arg, json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:b}", "thread_id", t->thread_id,
	                                            "subject", t->subject, "turns", (json_int_t)t->turns, "bytes",
	                                            (json_int_t)t->bytes, "created", (double)t->created_ms / 1000,
	                                            "used", (double)t->used_ms / 1000, "short_id", t->short_id)) == 0;
}

static enum admin_exit run_list(const struct admin *a, const char *url, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct store_admin *s = store_admin_open(url, &e);
	json_t *threads = json_array();
	int result = s != NULL ? store_admin_list(s, add_thread, threads, &e) : -1;

	(void)args, (void)count;
	store_admin_close(s);
	if (result == 0)
		return answer(a, SHOW_THREADS, json_pack("{s:s, s:o}", "store", url, "threads", threads));
	json_decref(threads);
	return problem(a, &e);
}

static struct store_key key_of(char *const *args, size_t count)
{
	return (struct store_key){.thread_id = args[0], .subject = count > 1 ? args[1] : ""};
}

static enum admin_exit run_show(const struct admin *a, const char *url, char *const *args, size_t count)
{
	const struct store_key key = key_of(args, count);
	struct err e = ERR_INIT;
	struct store_admin *s = store_admin_open(url, &e);
	json_t *document = s != NULL ? store_admin_show(s, &key, &e) : NULL;

	store_admin_close(s);
	return document != NULL ? answer(a, SHOW_THREAD, document) : problem(a, &e);
}

static enum admin_exit run_size(const struct admin *a, const char *url, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct store_admin *s = store_admin_open(url, &e);
	struct store_size size;
	int result = s != NULL ? store_admin_size(s, &size, &e) : -1;
	char text[128];

	(void)args, (void)count;
	store_admin_close(s);
	if (result < 0)
		return problem(a, &e);
	snprintf(text, sizeof text, "%" PRId64 " threads, %" PRId64 " turns of %.1f MB, %.1f MB on disk", size.threads,
	         size.turns, (double)size.bytes / 1e6, (double)size.disk_bytes / 1e6);
	return answer(a, SHOW_ANSWER,
	              json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "status", "success", "message", text, "store",
	                        url, "threads", (json_int_t)size.threads, "turns", (json_int_t)size.turns, "bytes",
	                        (json_int_t)size.bytes, "disk_bytes", (json_int_t)size.disk_bytes));
}

/* key as of store_admin_delete. */
static enum admin_exit delete (const struct admin *a, const char *url, const struct store_key *key) {
	struct err e = ERR_INIT; struct store_admin *s = store_admin_open(url, &e);
	int64_t deleted = s != NULL ? store_admin_delete(s, key, &e) : -1;
	char text[64];

	store_admin_close(s);
	if (deleted < 0) return problem(a, &e);
	snprintf(text, sizeof text, "%" PRId64 " thread%s deleted", deleted, deleted == 1 ? "" : "s");
	return answer(a, SHOW_ANSWER, json_pack("{s:s, s:s}", "status", "success", "message", text));
}

static enum admin_exit run_delete(const struct admin *a, const char *url, char *const *args, size_t count)
{
	const struct store_key key = key_of(args, count);

	return delete (a, url, &key);
}

static enum admin_exit run_delete_user(const struct admin *a, const char *url, char *const *args, size_t count)
{
	const struct store_key all_of_one = {.subject = args[0]};

	(void)count;
	return delete (a, url, &all_of_one);
}

static enum admin_exit run_delete_all(const struct admin *a, const char *url, char *const *args, size_t count)
{
	(void)args, (void)count;
	return delete (a, url, NULL);
}

static bool export_thread(void *arg, const json_t *thread)
{
	FILE *out = arg;

	json_dumpf(thread, out, JSON_COMPACT);
	fputc('\n', out);
	return ferror(out) == 0;
}

static enum admin_exit run_export(const struct admin *a, const char *url, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct store_admin *s = store_admin_open(url, &e);
	int result = s != NULL ? store_admin_export(s, export_thread, a->out, &e) : -1;

	(void)args, (void)count;
	store_admin_close(s);
	return result == 0 ? ADMIN_OK : problem(a, &e);
}

static enum admin_exit wrong_usage(const struct admin *a, const struct admin_thread_command *c)
{
	char text[256];

	if (c != NULL)
		snprintf(text, sizeof text, "usage: tt-agentctl %s %s%s%s", ADMIN_THREADS, c->name,
		         *c->args != '\0' ? " " : "", c->args);
	else
		snprintf(text, sizeof text, "usage: tt-agentctl %s list|show|size|delete|delete-user|delete-all|export",
		         ADMIN_THREADS);
	a->output->problem(a, text);
	return ADMIN_USAGE;
}

enum admin_exit admin_threads(const struct admin *a, char *const *words, size_t count)
{
	const struct admin_thread_command *found = NULL;
	struct err e = ERR_INIT;
	struct config *c;
	enum admin_exit result;

	for (size_t i = 0; count > 0 && i < COUNT; i++)
		if (strcmp(words[0], commands[i].name) == 0)
			found = &commands[i];
	if (found == NULL || count - 1 < found->min || count - 1 > found->max)
		return wrong_usage(a, found);
	c = published(a, &e);
	if (c == NULL) {
		a->output->problem(a, e.text);
		return ADMIN_UNREACHABLE;
	}
	result = found->run(a, cfg_str(c, CFG_THREADS_STORE), words + 1, count - 1);
	config_unref(c);
	return result;
}
