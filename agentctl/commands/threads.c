/* SPDX-License-Identifier: Apache-2.0 */
/* threads ...: conversations. They need no daemon: the store that the published
 * configuration names is opened here. */
#include "agentctl/commands/threads_text.h"

#include "agentctl/table.h"
#include "agentctl/text.h"
#include "core/config/config.h"
#include "core/store/store_admin.h"

#include <inttypes.h>
#include <string.h>

/* --- which store ---------------------------------------------------------------------- */

static enum ctl_exit problem(const struct ctl *a, const struct err *e)
{
	a->output->problem(a, e->text);
	return CTL_REFUSED;
}

struct threads {
	struct config *config;
	char url[512]; /* without a password */
	struct store_admin *store;
};

/* On failure, the error was shown and the result is not CTL_OK. */
static enum ctl_exit open_threads(const struct ctl *a, struct threads *t)
{
	struct err e = ERR_INIT;

	*t = (struct threads){.config = ctl_published_config(a, &e)};
	if (t->config == NULL) {
		err_prefix(&e, "the published configuration, which names the store, can't be read");
		a->output->problem(a, e.text);
		return CTL_UNREACHABLE;
	}
	config_mask_url(cfg_str(t->config, CFG_THREADS_STORE), t->url, sizeof t->url);
	t->store = store_admin_open(cfg_str(t->config, CFG_THREADS_STORE), t->config, &e);
	if (t->store != NULL)
		return CTL_OK;
	config_unref(t->config);
	return problem(a, &e);
}

/* Shows the document, which it steals, or, where there is none, the error. */
static enum ctl_exit finish(const struct ctl *a, const struct ctl_command *c, struct threads *t, json_t *document,
                            const struct err *e)
{
	enum ctl_exit result = CTL_OK;

	if (document != NULL)
		a->output->show(a, c, document);
	else
		result = problem(a, e);
	json_decref(document);
	store_admin_close(t->store);
	config_unref(t->config);
	return result;
}

/* --- the commands ------------------------------------------------------------------------ */

#define ROWS_AT_ONCE 1000 /* of a table; its columns are as wide as they need */

/* However many there are, few are in memory. */
struct listing {
	const struct ctl *a;
	const char *store;
	struct table *table; /* NULL: as JSON */
	size_t count;
	bool failed;
};

/* As JSON the list is one document, of which each thread is a line. */
static void begin_list(const struct listing *l)
{
	json_t *store = json_string(l->store);

	fputs("{\n  \"store\": ", l->a->out);
	text_json_value(l->a->out, store, 0);
	fputs(",\n  \"threads\": [", l->a->out);
	json_decref(store);
}

static bool list_thread(void *arg, const struct store_thread *t)
{
	struct listing *l = arg;
	json_t *thread =
		json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:b}", "thread_id", t->thread_id, "subject", t->subject,
	                  "turns", (json_int_t)t->turns, "bytes", (json_int_t)t->bytes, "created",
	                  (double)t->created_ms / 1000, "used", (double)t->used_ms / 1000, "short_id", t->short_id);

	l->failed = thread == NULL;
	if (thread == NULL)
		return false;
	if (l->table == NULL && l->count == 0)
		begin_list(l);
	if (l->table == NULL) {
		fputs(l->count == 0 ? "\n    " : ",\n    ", l->a->out);
		text_json_value(l->a->out, thread, 0);
	} else {
		threads_text_row(l->table, thread);
	}
	json_decref(thread);
	if (++l->count % ROWS_AT_ONCE == 0 && l->table != NULL) {
		table_print(l->table);
		table_go_on(l->table);
	}
	return !l->failed && ferror(l->a->out) == 0;
}

static void end_list(const struct listing *l)
{
	if (l->table == NULL && l->count == 0)
		begin_list(l);
	if (l->table == NULL)
		fputs(l->count > 0 ? "\n  ]\n}\n" : "]\n}\n", l->a->out);
	else if (l->count == 0)
		fputs("no conversation is stored\n", l->a->out);
	else if (l->count % ROWS_AT_ONCE != 0)
		table_print(l->table);
}

static enum ctl_exit run_list(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct threads t;
	enum ctl_exit result = open_threads(a, &t);
	struct listing l = {.a = a, .store = t.url};

	(void)c, (void)args, (void)count;
	if (result != CTL_OK)
		return result;
	if (a->output != &ctl_json)
		l.table = threads_text_table(a);
	if (store_admin_list(t.store, list_thread, &l, &e) == 0 && l.failed)
		err_set(&e, "a thread cannot be listed: no memory, or its id is not UTF-8");
	if (!err_is_set(&e))
		end_list(&l);
	else if (l.count == 0 || l.table != NULL)
		result = problem(a, &e);
	else /* the document has begun, and stays without its end */
		result = (ctl_text.problem(a, e.text), CTL_REFUSED);
	table_free(l.table);
	store_admin_close(t.store);
	config_unref(t.config);
	return result;
}

static struct store_key key_of(char *const *args, size_t count)
{
	return (struct store_key){.thread_id = args[0], .subject = count > 1 ? args[1] : ""};
}

static enum ctl_exit run_show(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	const struct store_key key = key_of(args, count);
	struct err e = ERR_INIT;
	struct threads t;
	enum ctl_exit result = open_threads(a, &t);

	if (result != CTL_OK)
		return result;
	return finish(a, c, &t, store_admin_show(t.store, &key, &e), &e);
}

static json_t *stat_document(const struct threads *t, const struct store_size *size)
{
	return json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "store", t->url, "threads",
		(json_int_t)size->threads, "turns", (json_int_t)size->turns, "bytes", (json_int_t)size->bytes,
		"disk_bytes", (json_int_t)size->disk_bytes, "oldest_used", (double)size->oldest_ms / 1000,
		"max_threads", (json_int_t)cfg_int(t->config, CFG_THREADS_MAX_THREADS), "max_bytes",
		(json_int_t)cfg_int(t->config, CFG_THREADS_MAX_BYTES), "max_turn_bytes",
		(json_int_t)cfg_int(t->config, CFG_THREADS_MAX_TURN_BYTES), "evicted_threads",
		(json_int_t)size->evicted_threads, "evicted_turns", (json_int_t)size->evicted_turns, "evicted_bytes",
		(json_int_t)size->evicted_bytes, "evicted_at", (double)size->evicted_ms / 1000);
}

static enum ctl_exit run_stat(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct threads t;
	enum ctl_exit result = open_threads(a, &t);
	json_t *document = NULL;
	struct store_size size;

	(void)args, (void)count;
	if (result != CTL_OK)
		return result;
	if (store_admin_size(t.store, &size, &e) == 0)
		document = stat_document(&t, &size);
	return finish(a, c, &t, document, &e);
}

/* key as of store_admin_delete. */
static enum ctl_exit delete_threads(const struct ctl *a, const struct ctl_command *c, const struct store_key *key)
{
	struct err e = ERR_INIT;
	struct threads t;
	enum ctl_exit result = open_threads(a, &t);
	json_t *document = NULL;
	int64_t deleted;
	char text[64];

	if (result != CTL_OK)
		return result;
	deleted = store_admin_delete(t.store, key, &e);
	if (deleted >= 0) {
		snprintf(text, sizeof text, "%" PRId64 " thread%s deleted", deleted, deleted == 1 ? "" : "s");
		document = json_pack("{s:s, s:s}", "status", "success", "message", text);
	}
	return finish(a, c, &t, document, &e);
}

static enum ctl_exit run_delete(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	const struct store_key key = key_of(args, count);

	return delete_threads(a, c, &key);
}

static enum ctl_exit run_delete_user(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	const struct store_key all_of_one = {.subject = args[0]};

	(void)count;
	return delete_threads(a, c, &all_of_one);
}

static enum ctl_exit run_delete_all(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	(void)args, (void)count;
	return delete_threads(a, c, NULL);
}

static bool export_thread(void *arg, const json_t *thread)
{
	FILE *out = arg;

	text_json(out, thread, JSON_COMPACT);
	return ferror(out) == 0;
}

static enum ctl_exit run_export(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct threads t;
	enum ctl_exit result = open_threads(a, &t);

	(void)c, (void)args, (void)count;
	if (result != CTL_OK)
		return result;
	if (store_admin_export(t.store, export_thread, a->out, &e) < 0)
		result = problem(a, &e);
	store_admin_close(t.store);
	config_unref(t.config);
	return result;
}

#define PROGRESS_EACH 1000 /* threads */

static void show_progress(void *arg, const struct store_copied *copied)
{
	const struct ctl *a = arg;

	if (copied->threads % PROGRESS_EACH == 0)
		fprintf(a->err, "%" PRId64 " threads read, %" PRId64 " turns copied\n", copied->threads, copied->turns);
}

static enum ctl_exit run_copy(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct threads t = {.config = ctl_published_config(a, &e)};
	struct store_admin *to = NULL;
	struct store_copied copied;
	json_t *document = NULL;
	char text[256];

	(void)count;
	if (t.config == NULL) {
		err_prefix(&e, "the published configuration, which says how stores are reached, can't be read");
		a->output->problem(a, e.text);
		return CTL_UNREACHABLE;
	}
	t.store = store_admin_open(args[0], t.config, &e);
	if (t.store != NULL)
		to = store_admin_open(args[1], t.config, &e);
	if (to != NULL && store_admin_copy(t.store, to, &copied, show_progress, (void *)(uintptr_t)a, &e) == 0) {
		snprintf(text, sizeof text,
		         "%" PRId64 " threads read, %" PRId64 " turns copied; left out: %" PRId64
		         " of short ids, %" PRId64 " that differ there",
		         copied.threads, copied.turns, copied.short_ids, copied.differ);
		document = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "status", "success", "message", text, "threads",
		                     (json_int_t)copied.threads, "turns", (json_int_t)copied.turns, "short_ids",
		                     (json_int_t)copied.short_ids, "differ", (json_int_t)copied.differ);
	}
	store_admin_close(to);
	return finish(a, c, &t, document, &e);
}

const struct ctl_command ctl_threads_list = {
	.name = "threads list",
	.arguments = "",
	.help = "Stored conversations, the last used first.",
	.run = run_list,
};
const struct ctl_command ctl_threads_show = {
	.name = "threads show",
	.arguments = "THREAD [SUBJECT]",
	.min = 1,
	.max = 2,
	.help = "The turns of one; SUBJECT is the user that the web server authenticated.",
	.run = run_show,
	.show = threads_text_show,
};
const struct ctl_command ctl_threads_stat = {
	.name = "threads stat",
	.arguments = "",
	.help = "How many are stored, the space that they take, the limits, and what was deleted because of these.",
	.run = run_stat,
	.show = threads_text_stat,
};
const struct ctl_command ctl_threads_size = {
	.name = "threads size",
	.arguments = "",
	.help = "The former name of threads stat.",
	.run = run_stat,
	.show = threads_text_stat,
};
const struct ctl_command ctl_threads_delete = {
	.name = "threads delete",
	.arguments = "THREAD [SUBJECT]",
	.min = 1,
	.max = 2,
	.help = "Deletes one for good.",
	.run = run_delete,
};
const struct ctl_command ctl_threads_delete_user = {
	.name = "threads delete-user",
	.arguments = "SUBJECT",
	.min = 1,
	.max = 1,
	.help = "Deletes all of one user.",
	.run = run_delete_user,
};
const struct ctl_command ctl_threads_delete_all = {
	.name = "threads delete-all",
	.arguments = "",
	.help = "Deletes all of them.",
	.run = run_delete_all,
};
const struct ctl_command ctl_threads_export = {
	.name = "threads export",
	.arguments = "",
	.help = "All of them as JSON, one per line.",
	.run = run_export,
};
const struct ctl_command ctl_threads_copy = {
	.name = "threads copy",
	.arguments = "FROM TO",
	.min = 2,
	.max = 2,
	.help = "Copies all of them from one store to another, both as threads.store has them.",
	.manual =
		"What is there already is left as it is, so a copy that was interrupted can be made again, and again after "
		"threads.store was changed, for what was stored meanwhile. Threads of short ids are left out, because they "
		"end with the run of the service, and so are threads that went on in the other store.",
	.run = run_copy,
};
