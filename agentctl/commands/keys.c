/* SPDX-License-Identifier: Apache-2.0 */
/* keys ...: API keys. They need no daemon: the file that the published configuration names, or else
 * the default one, is changed here, and the workers see that by themselves. */
#include "agentctl/ctl.h"
#include "agentctl/table.h"
#include "agentctl/text.h"
#include "core/access/keys.h"
#include "core/base/clock.h"
#include "core/config/config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

/* --- the fields of a key --------------------------------------------------------------------- */

static bool set_text(json_t *record, const char *name, const char *value, int64_t now_s)
{
	(void)now_s;
	return json_object_set_new(record, name, json_string(value)) == 0;
}

/* "a,b" */
static bool set_list(json_t *record, const char *name, const char *value, int64_t now_s)
{
	json_t *list = json_array();

	(void)now_s;
	for (size_t len; *value != '\0'; value += len + (value[len] == ',')) {
		len = strcspn(value, ",");
		if (len > 0)
			json_array_append_new(list, json_stringn(value, len));
	}
	return json_object_set_new(record, name, list) == 0;
}

static bool set_number(json_t *record, const char *name, const char *value, int64_t now_s)
{
	char *end;
	long long n;

	(void)now_s;
	errno = 0;
	n = strtoll(value, &end, 10);
	return errno == 0 && end != value && *end == '\0' && json_object_set_new(record, name, json_integer(n)) == 0;
}

static bool set_bool(json_t *record, const char *name, const char *value, int64_t now_s)
{
	bool truth = strcmp(value, "true") == 0;

	(void)now_s;
	return (truth || strcmp(value, "false") == 0) && json_object_set_new(record, name, json_boolean(truth)) == 0;
}

static bool set_time(json_t *record, const char *name, const char *value, int64_t now_s)
{
	int64_t at_s;

	return text_parse_time(value, now_s, &at_s) && json_object_set_new(record, name, json_integer(at_s)) == 0;
}

static const struct field {
	const char *name, *member;
	bool (*set)(json_t *record, const char *member, const char *value, int64_t now_s);
	const char *wanted;
} fields[] = {
	{"subject", "subject", set_text, "the user to whom its conversations belong"},
	{"models", "models", set_list, "patterns such as llama-*,qwen*"},
	{"tools", "tools", set_list, "patterns such as web_search; tools= allows none"},
	{"requests", "requests_per_minute", set_number, "a number per minute"},
	{"tokens", "tokens_per_minute", set_number, "a number per minute"},
	{"turns", "turns", set_number, "a number at once"},
	{"priority", "priority", set_text, "low, normal or high"},
	{"expires", "expires", set_time, "a time such as 90d or 12h, or a date such as 2027-01-31"},
	{"admin", "admin", set_bool, "true or false"},
};
#define FIELDS (sizeof fields / sizeof fields[0])

/* "models=llama-*" into the record. */
static int set_field(json_t *record, const char *word, struct err *e)
{
	size_t len = strcspn(word, "=");
	int64_t now_s = clock_wall_ms() / 1000;
	char known[200] = "";

	for (size_t i = 0; i < FIELDS; i++) {
		if (strncmp(fields[i].name, word, len) == 0 && fields[i].name[len] == '\0' && word[len] == '=')
			return fields[i].set(record, fields[i].member, word + len + 1, now_s)
			               ? 0
			               : err_set(e, "%s is %s", fields[i].name, fields[i].wanted);
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s=", i > 0 ? ", " : "",
		         fields[i].name);
	}
	return err_set(e, "'%.60s' sets nothing; a key has %s", word, known);
}

/* --- the file -------------------------------------------------------------------------------------- */

/* free(); NULL: no memory. */
static char *file_of(const struct ctl *a)
{
	struct err e = ERR_INIT;
	struct config *c = ctl_published_config(a, &e);
	char *file = strdup(c != NULL ? cfg_str(c, CFG_ACCESS_KEYS_FILE) : cfg_key_info(CFG_ACCESS_KEYS_FILE)->def);

	config_unref(c);
	return file;
}

/* The service's, which must be able to read a new file. */
static gid_t group_of(const struct ctl *a)
{
	const struct group *g;
	const struct passwd *p;
	struct stat st;

	if (stat(a->run_dir, &st) == 0 && (p = getpwuid(st.st_uid)) != NULL)
		return p->pw_gid;
	g = getgrnam("tt-agent");
	return g != NULL ? g->gr_gid : (gid_t)-1;
}

/* An edit of the file, and what it found. */
struct edit {
	const char *id;
	char *const *words;
	size_t count;
	bool now;                /* revoke: ends answers as well */
	int64_t grace_s;         /* rotate */
	json_t *result;          /* what is shown */
	char text[KEY_TEXT_MAX]; /* of the new key */
	char sha256[2 * DIGEST_LEN + 1];
};

static json_t *record_of(const json_t *records, const char *id)
{
	json_t *record;
	size_t i;

	json_array_foreach(records, i, record)
	{
		const char *found = text_of(record, "id");

		if (found != NULL && strcmp(found, id) == 0)
			return record;
	}
	return NULL;
}

static json_t *existing(const json_t *records, const char *id, struct err *e)
{
	json_t *record = record_of(records, id);

	if (record == NULL)
		err_set(e, "there is no key '%.70s'; tt-agentctl keys list shows them", id);
	return record;
}

static enum ctl_exit change(const struct ctl *a, const struct ctl_command *c, keys_edit_fn *edit, struct edit *what)
{
	struct err e = ERR_INIT;
	char *file = file_of(a);
	enum ctl_exit result = CTL_OK;

	if (file == NULL || keys_edit(file, group_of(a), edit, what, &e) < 0) {
		err_set(&e, "no memory");
		a->output->problem(a, e.text);
		result = CTL_REFUSED;
	} else {
		json_object_set_new(what->result, "file", json_string(file));
		a->output->show(a, c, what->result);
	}
	json_decref(what->result);
	free(file);
	return result;
}

/* --- the commands ----------------------------------------------------------------------------------- */

static int create(void *arg, json_t *records, struct err *e)
{
	struct edit *what = arg;
	json_t *record;

	if (!key_id_is_valid(what->id))
		return err_set(e, "'%.70s' is no name: letters, digits and -_.@, at most %d", what->id, KEY_ID_MAX);
	if (record_of(records, what->id) != NULL)
		return err_set(e, "there is a key %s already", what->id);
	if (key_make(what->text, what->sha256, e) < 0)
		return -1;
	record = json_pack("{s:s, s:s, s:I}", "id", what->id, "sha256", what->sha256, "created",
	                   (json_int_t)(clock_wall_ms() / 1000));
	for (size_t i = 0; record != NULL && i < what->count; i++)
		if (set_field(record, what->words[i], e) < 0)
			goto out;
	if (record == NULL || key_check(record, e) < 0 || json_array_append(records, record) < 0)
		goto out;
	what->result = json_pack("{s:s, s:s, s:s}", "status", "success", "id", what->id, "key", what->text);
out:
	json_decref(record);
	return what->result != NULL ? 0 : err_set(e, "no memory");
}

static enum ctl_exit run_create(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct edit what = {.id = args[0], .words = args + 1, .count = count - 1};

	return change(a, c, create, &what);
}

static void show_new(const struct ctl *a, const json_t *document)
{
	text_field(a, "id", COLOUR_BOLD, "%s", text_of(document, "id"));
	text_field(a, "key", COLOUR_BOLD, "%s", text_of(document, "key"));
	text_field(a, "file", COLOUR_NONE, "%s", text_of(document, "file"));
	fputs("The key is shown this once: only its SHA-256 is stored.\n", a->out);
}

static int rotate(void *arg, json_t *records, struct err *e)
{
	struct edit *what = arg;
	json_t *record = existing(records, what->id, e), *former = NULL;

	if (record == NULL || key_make(what->text, what->sha256, e) < 0)
		return -1;
	if (json_object_get(record, "revoked") != NULL)
		return err_set(e, "the key %s was revoked", what->id);
	json_object_del(record, "former");
	if (what->grace_s > 0)
		former = json_pack("{s:O, s:I}", "sha256", json_object_get(record, "sha256"), "expires",
		                   (json_int_t)(clock_wall_ms() / 1000 + what->grace_s));
	if (former != NULL)
		json_object_set_new(record, "former", former);
	json_object_set_new(record, "sha256", json_string(what->sha256));
	what->result = json_pack("{s:s, s:s, s:s}", "status", "success", "id", what->id, "key", what->text);
	return key_check(record, e);
}

static enum ctl_exit run_rotate(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct edit what = {.id = args[0]};
	int64_t until_s = 0;

	if (count > 1 && !text_parse_time(args[1], 0, &until_s)) {
		a->output->problem(a, "the former key goes on for a time such as 1h or 7d");
		return CTL_USAGE;
	}
	what.grace_s = until_s;
	return change(a, c, rotate, &what);
}

static int revoke(void *arg, json_t *records, struct err *e)
{
	struct edit *what = arg;
	json_t *record = existing(records, what->id, e);
	char text[200];

	if (record == NULL)
		return -1;
	if (json_object_get(record, "revoked") == NULL)
		json_object_set_new(record, "revoked", json_integer((json_int_t)(clock_wall_ms() / 1000)));
	if (what->now)
		json_object_set_new(record, "ends_answers", json_true());
	snprintf(text, sizeof text, "The key %s is refused within a second%s", what->id,
	         what->now ? ", and its answers that run end" : "; answers that run go on");
	what->result = json_pack("{s:s, s:s}", "status", "success", "message", text);
	return 0;
}

static enum ctl_exit run_revoke(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct edit what = {.id = args[0], .now = count > 1};

	if (count > 1 && strcasecmp(args[1], "now") != 0) {
		a->output->problem(a, "usage: tt-agentctl keys revoke NAME [now]");
		return CTL_USAGE;
	}
	return change(a, c, revoke, &what);
}

static int delete_key(void *arg, json_t *records, struct err *e)
{
	struct edit *what = arg;
	json_t *record = existing(records, what->id, e), *found;
	char text[200];
	size_t i;

	if (record == NULL)
		return -1;
	json_array_foreach(records, i, found)
	{
		if (found == record) {
			json_array_remove(records, i);
			break;
		}
	}
	snprintf(text, sizeof text, "The key %s is deleted", what->id);
	what->result = json_pack("{s:s, s:s}", "status", "success", "message", text);
	return 0;
}

static enum ctl_exit run_delete(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct edit what = {.id = args[0]};

	(void)count;
	return change(a, c, delete_key, &what);
}

/* --- the list ------------------------------------------------------------------------------------------ */

static json_t *records_in(const char *text, size_t len)
{
	json_t *list = json_array();
	const char *end = text + len;

	for (const char *line = text, *stop; line < end; line = stop + 1) {
		json_t *record;

		stop = memchr(line, '\n', (size_t)(end - line));
		if (stop == NULL)
			stop = end;
		record = json_loadb(line, (size_t)(stop - line), JSON_REJECT_DUPLICATES, NULL);
		if (json_is_object(record)) {
			struct err e = ERR_INIT;

			if (key_check(record, &e) < 0)
				json_object_set_new(record, "fault", json_string(e.text));
			json_object_del(record, "sha256");
			json_object_del(json_object_get(record, "former"), "sha256");
			json_array_append(list, record);
		}
		json_decref(record);
	}
	return list;
}

static enum ctl_exit run_list(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct buf text = BUF_INIT(KEYS_FILE_MAX);
	struct err e = ERR_INIT;
	char *file = file_of(a);
	json_t *document = NULL;

	(void)args, (void)count;
	if (file != NULL && keys_read(file, &text, &e) == 0)
		document = json_pack("{s:s, s:o}", "file", file, "keys",
		                     records_in(text.len > 0 ? text.data : "", text.len));
	if (document != NULL)
		a->output->show(a, c, document);
	else
		a->output->problem(a, e.text);
	buf_free(&text);
	free(file);
	json_decref(document);
	return document != NULL ? CTL_OK : CTL_REFUSED;
}

static void put_date(const json_t *record, const char *member, char out[40])
{
	time_t seconds = (time_t)number_of(record, member);
	struct tm tm;

	snprintf(out, 40, "-");
	if (seconds > 0 && gmtime_r(&seconds, &tm) != NULL)
		strftime(out, 40, "%Y-%m-%d", &tm);
}

static void add_limit(struct table *t, const json_t *record, const char *member)
{
	if (number_of(record, member) > 0)
		table_addf(t, COLOUR_NONE, "%lld", number_of(record, member));
	else
		table_add(t, COLOUR_NONE, NULL);
}

static const char *state_of(const json_t *record)
{
	if (json_object_get(record, "fault") != NULL)
		return text_of(record, "fault");
	if (number_of(record, "revoked") > 0)
		return "revoked";
	if (number_of(record, "expires") > 0 && number_of(record, "expires") * 1000 <= clock_wall_ms())
		return "expired";
	return "valid";
}

static void show_list(const struct ctl *a, const json_t *document)
{
	static const struct table_column columns[] = {{.heading = "KEY"},
	                                              {.heading = "STATE"},
	                                              {.heading = "SUBJECT", .limit = 30},
	                                              {.heading = "MODELS", .limit = 30, .wraps = true},
	                                              {.heading = "REQUESTS/MIN"},
	                                              {.heading = "TOKENS/MIN"},
	                                              {.heading = "TURNS"},
	                                              {.heading = "EXPIRES"}};
	const json_t *keys = json_object_get(document, "keys"), *record;
	struct table *t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	size_t i;

	json_array_foreach(keys, i, record)
	{
		const char *state = state_of(record);
		char models[400] = "", expires[40];

		text_joined(json_object_get(record, "models"), models, sizeof models);
		put_date(record, "expires", expires);
		table_add(t, COLOUR_NONE, text_of(record, "id"));
		table_add(t, strcmp(state, "valid") == 0 ? COLOUR_GREEN : COLOUR_RED, state);
		table_add(t, COLOUR_NONE, text_of(record, "subject"));
		table_add(t, COLOUR_NONE, models);
		add_limit(t, record, "requests_per_minute");
		add_limit(t, record, "tokens_per_minute");
		add_limit(t, record, "turns");
		table_add(t, COLOUR_NONE, expires);
	}
	if (json_array_size(keys) > 0)
		table_print(t);
	else
		fprintf(a->out, "no key is in %s\n", text_of(document, "file"));
	table_free(t);
}

const struct ctl_command ctl_keys_list = {
	.name = "keys list",
	.arguments = "",
	.help = "The API keys, without their secrets.",
	.run = run_list,
	.show = show_list,
};
const struct ctl_command ctl_keys_create = {
	.name = "keys create",
	.arguments = "NAME [FIELD=VALUE]...",
	.min = 1,
	.max = 1 + FIELDS,
	.help = "Makes an API key and shows it once.",
	.manual =
		"The fields are subject (the user to whom its conversations belong; by default the key itself), models and "
		"tools (patterns that it may use, separated by commas; by default all), requests and tokens (per minute), "
		"turns (at once), priority (low, normal, high), expires (90d, 12h, 2027-01-31), and admin (true: it may use "
		"the admin endpoints). For example: tt-agentctl keys create alice subject=alice models='llama-*' requests=60.",
	.run = run_create,
	.show = show_new,
};
const struct ctl_command ctl_keys_rotate = {
	.name = "keys rotate",
	.arguments = "NAME [TIME]",
	.min = 1,
	.max = 2,
	.help = "Makes a new API key in place of an old one, which stays valid for TIME (1h, 7d).",
	.run = run_rotate,
	.show = show_new,
};
const struct ctl_command ctl_keys_revoke = {
	.name = "keys revoke",
	.arguments = "NAME [NOW]",
	.min = 1,
	.max = 2,
	.help = "Refuses an API key from now on; with the word now, its answers that run end too.",
	.run = run_revoke,
};
const struct ctl_command ctl_keys_delete = {
	.name = "keys delete",
	.arguments = "NAME",
	.min = 1,
	.max = 1,
	.help = "Forgets an API key.",
	.run = run_delete,
};
