/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentctl threads: conversations, read from and deleted in the database itself. */
#include "agentctl/admin.h"

#include "core/config/config.h"
#include "core/status/reader.h"
#include "core/store/database.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static enum admin_exit run_list(const struct admin *a, const char *file, char *const *args, size_t count);
static enum admin_exit run_show(const struct admin *a, const char *file, char *const *args, size_t count);
static enum admin_exit run_delete(const struct admin *a, const char *file, char *const *args, size_t count);
static enum admin_exit run_delete_all(const struct admin *a, const char *file, char *const *args, size_t count);
static enum admin_exit run_export(const struct admin *a, const char *file, char *const *args, size_t count);

static const struct admin_thread_command commands[] = {
	{"list", "", "Conversations that are kept, the last used first.", 0, 0, run_list},
	{"show", "THREAD [SUBJECT]", "What was said in one; SUBJECT is the user that the web server vouched for.", 1, 2,
         run_show},
	{"delete", "THREAD [SUBJECT]", "Deletes one for good.", 1, 2, run_delete},
	{"delete-all", "", "Deletes all of them.", 0, 0, run_delete_all},
	{"export", "", "All of them as JSON, one a line.", 0, 0, run_export},
};
#define COUNT (sizeof commands / sizeof commands[0])

const struct admin_thread_command *admin_thread_commands(size_t *count)
{
	*count = COUNT;
	return commands;
}

/* --- which database ------------------------------------------------------------------- */

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
		err_prefix(e, "the published configuration, which names the database, can't be read");
	else if (c == NULL)
		err_set(e, "%s holds no published configuration, which would name the database", a->run_dir);
	status_release(s);
	status_reader_free(r);
	return c;
}

static enum admin_exit problem(const struct admin *a, const struct err *e)
{
	a->output->problem(a, e->text);
	return ADMIN_REFUSED;
}

/* NULL without an error: nothing was ever remembered. */
static struct database *open_database(const char *file, struct err *e)
{
	if (store_is_memory(file))
		err_set(e, "conversations are kept in the workers' memory alone (threads.file)");
	else if (access(file, F_OK) == 0)
		return database_open(file, "", false, e);
	return NULL;
}

/* --- the commands ------------------------------------------------------------------------ */

static bool add_thread(void *arg, const struct database_thread *t)
{
	return json_array_append_new(arg, json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:b}", "thread_id", t->thread_id,
	                                            "subject", t->subject, "turns", (json_int_t)t->turns, "bytes",
	                                            (json_int_t)t->bytes, "created", (double)t->created_ms / 1000,
	                                            "used", (double)t->used_ms / 1000, "short_id", t->short_id)) == 0;
}

static enum admin_exit run_list(const struct admin *a, const char *file, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct database *db = open_database(file, &e);
	json_t *threads = json_array(), *document;

	(void)args, (void)count;
	if (db != NULL)
		database_list(db, add_thread, threads, &e);
	if (!err_is_set(&e)) {
		document = json_pack("{s:s, s:O}", "file", file, "threads", threads);
		a->output->show[SHOW_THREADS](a, document);
		json_decref(document);
	}
	database_close(db);
	json_decref(threads);
	return err_is_set(&e) ? problem(a, &e) : ADMIN_OK;
}

static struct store_key key_of(char *const *args, size_t count)
{
	return (struct store_key){.thread_id = args[0], .subject = count > 1 ? args[1] : ""};
}

static enum admin_exit run_show(const struct admin *a, const char *file, char *const *args, size_t count)
{
	const struct store_key key = key_of(args, count);
	struct err e = ERR_INIT;
	struct database *db = open_database(file, &e);
	int64_t id = db != NULL ? database_find(db, &key, &e) : -1;
	json_t *document = id >= 0 ? database_show(db, id, &e) : NULL;

	if (document != NULL)
		a->output->show[SHOW_THREAD](a, document);
	json_decref(document);
	database_close(db);
	err_set(&e, "nothing was ever remembered");
	return document != NULL ? ADMIN_OK : problem(a, &e);
}

static enum admin_exit deleted(const struct admin *a, const char *file, const struct store_key *key)
{
	struct err e = ERR_INIT;
	struct database *db = open_database(file, &e);
	int64_t gone = -1;
	json_t *document;
	char text[64];

	/* One that is not there is an error: most likely a slip of the finger. */
	if (db != NULL && (key == NULL || database_find(db, key, &e) >= 0))
		gone = database_delete(db, key, &e);
	else if (db == NULL && key == NULL && !err_is_set(&e))
		gone = 0;
	database_close(db);
	err_set(&e, "nothing was ever remembered");
	if (gone < 0)
		return problem(a, &e);
	snprintf(text, sizeof text, "%" PRId64 " thread%s deleted", gone, gone == 1 ? "" : "s");
	document = json_pack("{s:s, s:s}", "status", "success", "message", text);
	a->output->show[SHOW_ANSWER](a, document);
	json_decref(document);
	return ADMIN_OK;
}

static enum admin_exit run_delete(const struct admin *a, const char *file, char *const *args, size_t count)
{
	const struct store_key key = key_of(args, count);

	return deleted(a, file, &key);
}

static enum admin_exit run_delete_all(const struct admin *a, const char *file, char *const *args, size_t count)
{
	(void)args, (void)count;
	return deleted(a, file, NULL);
}

struct exporting {
	const struct admin *a;
	struct database *db;
	struct err *e;
};

/* From within the list: both read the same state of the database. */
static bool export_thread(void *arg, const struct database_thread *t)
{
	const struct exporting *x = arg;
	json_t *document = database_show(x->db, t->id, x->e);

	if (document == NULL)
		return false;
	json_dumpf(document, x->a->out, JSON_COMPACT);
	fputc('\n', x->a->out);
	json_decref(document);
	return ferror(x->a->out) == 0;
}

static enum admin_exit run_export(const struct admin *a, const char *file, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct exporting x = {.a = a, .db = open_database(file, &e), .e = &e};

	(void)args, (void)count;
	if (x.db != NULL)
		database_list(x.db, export_thread, &x, &e);
	database_close(x.db);
	return err_is_set(&e) ? problem(a, &e) : ADMIN_OK;
}

static enum admin_exit wrong_usage(const struct admin *a, const struct admin_thread_command *c)
{
	char text[256];

	if (c != NULL)
		snprintf(text, sizeof text, "usage: tt-agentctl %s %s%s%s", ADMIN_THREADS, c->name,
		         *c->args != '\0' ? " " : "", c->args);
	else
		snprintf(text, sizeof text, "usage: tt-agentctl %s list|show|delete|delete-all|export", ADMIN_THREADS);
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
	result = found->run(a, cfg_str(c, CFG_THREADS_FILE), words + 1, count - 1);
	config_unref(c);
	return result;
}
