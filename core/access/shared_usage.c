/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/shared_usage.h"

#include "core/base/background.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/peers/peers.h"
#include "core/redis/redis.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HOSTS_KEY   "tt:usage:hosts"
#define KEY_MAX     (PEERS_NAME_MAX + 40)
#define PASS_MS     2000
#define DAY_MS      INT64_C(86400000)
#define FIELDS_EACH 10 /* in one command */
#define DAYS_MAX    400
#define WAIT_MS     10000
enum { ATTEMPTS, PROMPT, COMPLETION, TOOK_MS, NUMBERS };

/* KEYS: a host's day. ARGV: seconds to keep it; fields and values. Sums only grow: what a host has forgotten of its
 * rows stays counted. */
static const char put_text[] =
	"for i = 2, #ARGV, 2 do "
	"  local old = redis.call('HGET', KEYS[1], ARGV[i]) "
	"  if not old or cjson.decode(old)[1] <= cjson.decode(ARGV[i + 1])[1] then "
	"    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) "
	"  end "
	"end "
	"redis.call('EXPIRE', KEYS[1], ARGV[1]) "
	"return 0";

struct shared_usage {
	struct redis *redis;
	struct redis_script put;
	struct background *background; /* of its own: a slow disk must hold up nothing else */
	struct background_job *job;
	char host[PEERS_NAME_MAX + 1], *file;
	int64_t retain_ms;
	int64_t passed_ms; /* CLOCK_MONOTONIC: the last pass */
	int64_t cursor;    /* rows up to this id are in totals */
	json_t *totals;    /* day -> field -> numbers */
	json_t *changed;   /* day -> field -> true: to be sent */
	json_t *sending;   /* likewise, on their way; NULL: nothing is */
	unsigned requests; /* that are not answered */
	bool lost;         /* one of them failed */
	bool failed;       /* logged */
};

static void key_of(const char *host, const char *day, char out[KEY_MAX])
{
	snprintf(out, KEY_MAX, "tt:usage:%s:%s", host, day);
}

/* ---- rows, on the thread --------------------------------------------------------------------------- */

struct pass {
	struct shared_usage *usage;
	char *file;
	int64_t cursor, since_ms;
	json_t *sums; /* [DAY, KEY, MODEL, OUTCOME, numbers...] */
	struct err e;
};

static void read_sums(sqlite3 *db, struct pass *p)
{
	static const char sql[] =
		"SELECT date(at_ms / 1000, 'unixepoch'), key_id, model, outcome, count(*),"
		" CAST(total(prompt_tokens) AS INTEGER), CAST(total(completion_tokens) AS INTEGER),"
		" CAST(total(took_ms) AS INTEGER), max(id) FROM usage WHERE id > ?1 AND at_ms >= ?2 GROUP BY 1, 2, 3, 4";
	int64_t cursor = p->cursor;
	sqlite3_stmt *s = NULL;
	int code;

	p->sums = json_array();
	code = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	sqlite3_bind_int64(s, 1, cursor);
	sqlite3_bind_int64(s, 2, p->since_ms);
	while (code == SQLITE_OK || code == SQLITE_ROW) {
		code = sqlite3_step(s);
		if (code != SQLITE_ROW)
			break;
		json_t *row = json_array();

		for (int i = 0; i < 4; i++)
			json_array_append_new(row, json_string((const char *)sqlite3_column_text(s, i)));
		for (int i = 4; i < 4 + NUMBERS; i++)
			json_array_append_new(row, json_integer(sqlite3_column_int64(s, i)));
		json_array_append_new(p->sums, row);
		if (sqlite3_column_int64(s, 4 + NUMBERS) > p->cursor)
			p->cursor = sqlite3_column_int64(s, 4 + NUMBERS);
	}
	if (code != SQLITE_DONE) {
		err_set(&p->e, "%s: %s", p->file, sqlite3_errmsg(db));
		p->cursor = cursor;
	}
	sqlite3_finalize(s);
}

static void pass_run(void *arg)
{
	struct pass *p = arg;
	sqlite3 *db = NULL;

	if (access(p->file, F_OK) < 0)
		return; /* no row was written yet */
	if (sqlite3_open_v2(p->file, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		err_set(&p->e, "%s: %s", p->file, sqlite3_errmsg(db));
	else
		read_sums(db, p);
	sqlite3_close(db);
}

static void pass_free(void *arg)
{
	struct pass *p = arg;

	json_decref(p->sums);
	free(p->file);
	free(p);
}

/* ---- what is sent ---------------------------------------------------------------------------------------- */

static json_t *member(json_t *object, const char *name)
{
	json_t *m = json_object_get(object, name);

	if (m == NULL && json_object_set_new(object, name, json_object()) == 0)
		m = json_object_get(object, name);
	return m;
}

static void add_sum(struct shared_usage *u, const json_t *row)
{
	const char *day = json_string_value(json_array_get(row, 0));
	json_t *field = json_pack("[O, O, O]", json_array_get(row, 1), json_array_get(row, 2), json_array_get(row, 3));
	char *name = json_dumps(field, JSON_COMPACT);
	json_t *total, *sum = json_array();

	if (day != NULL && name != NULL) {
		total = json_object_get(member(u->totals, day), name);
		for (size_t i = 0; i < NUMBERS; i++)
			json_array_append_new(sum, json_integer(json_integer_value(json_array_get(row, 4 + i)) +
			                                        json_integer_value(json_array_get(total, i))));
		json_object_set(member(u->totals, day), name, sum);
		json_object_set_new(member(u->changed, day), name, json_true());
	}
	json_decref(sum);
	json_decref(field);
	free(name);
}

static void end_sending(struct shared_usage *u)
{
	const char *day, *name;
	json_t *fields, *value;

	json_object_foreach(u->sending, day, fields)
	{
		json_object_foreach(fields, name, value)
		{
			if (u->lost)
				json_object_set_new(member(u->changed, day), name, json_true());
		}
	}
	json_decref(u->sending);
	u->sending = NULL;
}

static void on_put(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct shared_usage *u = arg;

	(void)reply;
	u->lost |= e != NULL;
	if (--u->requests == 0)
		end_sending(u);
}

static void put(struct shared_usage *u, const char *day, const char **args, size_t count, char *seconds)
{
	char key[KEY_MAX];
	const struct redis_run run = {.script = &u->put, .keys = 1, .args = args, .count = count, .repeatable = true};

	key_of(u->host, day, key);
	args[0] = key;
	args[1] = seconds;
	if (redis_run(u->redis, &run, on_put, u) != NULL)
		u->requests++;
	else
		u->lost = true;
}

static void send_day(struct shared_usage *u, const char *day, json_t *fields)
{
	const char *args[2 + 2 * FIELDS_EACH], *name;
	char *values[FIELDS_EACH], seconds[24];
	size_t count = 0, sent = 0, all = json_object_size(fields);
	json_t *value;

	snprintf(seconds, sizeof seconds, "%lld", (long long)(u->retain_ms + DAY_MS) / 1000);
	json_object_foreach(fields, name, value)
	{
		values[count] = json_dumps(json_object_get(json_object_get(u->totals, day), name), JSON_COMPACT);
		if (values[count] != NULL) {
			args[2 + 2 * count] = name;
			args[3 + 2 * count] = values[count];
			count++;
		}
		if (++sent < all && count < FIELDS_EACH)
			continue;
		if (count > 0)
			put(u, day, args, 2 + 2 * count, seconds);
		while (count > 0)
			free(values[--count]);
	}
}

static void send_host(struct shared_usage *u)
{
	char now[24], before[24];
	const char *add[] = {"ZADD", HOSTS_KEY, now, u->host},
		   *drop[] = {"ZREMRANGEBYSCORE", HOSTS_KEY, "-inf", before};
	struct redis_command c = {.args = add, .count = 4, .key = HOSTS_KEY, .repeatable = true};

	snprintf(now, sizeof now, "%lld", (long long)clock_wall_ms() / 1000);
	snprintf(before, sizeof before, "%lld", (long long)(clock_wall_ms() - u->retain_ms - DAY_MS) / 1000);
	if (redis_send(u->redis, &c, on_put, u) != NULL)
		u->requests++;
	c.args = drop;
	if (redis_send(u->redis, &c, on_put, u) != NULL)
		u->requests++;
}

/* Days before yesterday change no more. */
static void forget_days(struct shared_usage *u)
{
	time_t yesterday = (time_t)((clock_wall_ms() - DAY_MS) / 1000);
	char first[16];
	const char *day;
	struct tm tm;
	json_t *fields;
	void *next;

	strftime(first, sizeof first, "%Y-%m-%d", gmtime_r(&yesterday, &tm));
	json_object_foreach_safe(u->totals, next, day, fields)
	{
		if (strcmp(day, first) < 0)
			json_object_del(u->totals, day);
	}
}

static void pass_done(void *arg)
{
	struct pass *p = arg;
	struct shared_usage *u = p->usage;
	const char *day;
	json_t *row, *fields;
	size_t i;

	u->job = NULL;
	if (err_is_set(&p->e) && !u->failed)
		log_event(LOG_USAGE_NOT_SHARED, L_STR("error", p->e.text));
	u->failed = err_is_set(&p->e);
	if (!u->failed) {
		u->cursor = p->cursor;
		json_array_foreach(p->sums, i, row) add_sum(u, row);
	}
	pass_free(p);
	if (json_object_size(u->changed) == 0)
		return;
	u->sending = u->changed;
	u->changed = json_object();
	u->lost = false;
	u->requests = 1; /* until all are sent */
	json_object_foreach(u->sending, day, fields) send_day(u, day, fields);
	send_host(u);
	if (--u->requests == 0)
		end_sending(u);
	forget_days(u);
}

void shared_usage_tick(struct shared_usage *u)
{
	static const struct background_work work = {.run = pass_run, .done = pass_done, .drop = pass_free};
	struct pass *p;

	if (u->job != NULL || u->sending != NULL || clock_mono_ms() - u->passed_ms < PASS_MS)
		return;
	u->passed_ms = clock_mono_ms();
	p = calloc(1, sizeof *p);
	if (p == NULL || (p->file = strdup(u->file)) == NULL) {
		free(p);
		return;
	}
	p->usage = u;
	p->cursor = u->cursor;
	p->since_ms = clock_wall_ms() / DAY_MS * DAY_MS - DAY_MS;
	u->job = background_start(u->background, &work, p);
	if (u->job == NULL)
		pass_free(p);
}

struct shared_usage *shared_usage_new(struct event_base *base, struct redis *redis, const char *host, const char *file,
                                      int64_t retain_ms)
{
	struct shared_usage *u = calloc(1, sizeof *u);
	struct err e = ERR_INIT;

	if (u == NULL)
		return NULL;
	u->redis = redis;
	u->put.text = put_text;
	u->retain_ms = retain_ms;
	u->file = strdup(file);
	u->totals = json_object();
	u->changed = json_object();
	u->background = background_new(base, &e);
	snprintf(u->host, sizeof u->host, "%s", host);
	if (u->file != NULL && u->totals != NULL && u->changed != NULL && u->background != NULL)
		return u;
	shared_usage_free(u);
	return NULL;
}

void shared_usage_free(struct shared_usage *u)
{
	if (u == NULL)
		return;
	if (u->background != NULL)
		background_free(u->background);
	json_decref(u->totals);
	json_decref(u->changed);
	json_decref(u->sending);
	free(u->file);
	free(u);
}

/* ---- for administrators ------------------------------------------------------------------------------------ */

struct summing {
	struct event_base *base;
	struct redis *redis;
	const char *by;
	int64_t first_day; /* days since 1970 */
	json_t *groups;    /* text -> numbers */
	struct asked *asked;
	unsigned requests;
	struct err e;
};

/* One host and day. */
struct asked {
	struct asked *next;
	struct summing *s;
	char host[PEERS_NAME_MAX + 1], day[16];
};

static void answered(struct summing *s, const struct err *e)
{
	if (e != NULL && !err_is_set(&s->e))
		s->e = *e;
	if (--s->requests == 0 || err_is_set(&s->e))
		event_base_loopbreak(s->base);
}

/* field: ["KEY ID","MODEL","OUTCOME"]. */
static const char *group_of(const struct asked *a, const json_t *field)
{
	static const char *const parts[] = {"key", "model", "outcome"};

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (strcmp(a->s->by, parts[i]) == 0)
			return json_string_value(json_array_get(field, i));
	return strcmp(a->s->by, "day") == 0 ? a->day : a->host;
}

static void add_field(const struct asked *a, const struct redis_reply *name, const struct redis_reply *value)
{
	json_t *field = json_loadb(name->text, name->len, 0, NULL), *sum = json_loadb(value->text, value->len, 0, NULL);
	const char *group = group_of(a, field), *outcome = json_string_value(json_array_get(field, 2));
	json_t *total = json_array(), *old;
	json_int_t n;

	if (group != NULL && outcome != NULL && json_array_size(sum) == NUMBERS) {
		old = json_object_get(a->s->groups, group);
		for (size_t i = 0; i < NUMBERS; i++)
			json_array_append_new(total, json_integer(json_integer_value(json_array_get(sum, i)) +
			                                          json_integer_value(json_array_get(old, i))));
		n = strcmp(outcome, "complete") == 0 ? 0 : json_integer_value(json_array_get(sum, ATTEMPTS));
		json_array_append_new(total, json_integer(n + json_integer_value(json_array_get(old, NUMBERS))));
		json_object_set(a->s->groups, group, total);
	}
	json_decref(total);
	json_decref(field);
	json_decref(sum);
}

static void on_day(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct asked *a = arg;
	struct summing *s = a->s;

	for (size_t i = 0; reply != NULL && reply->type == REDIS_LIST && i + 1 < reply->count; i += 2)
		if (reply->items[i]->type == REDIS_TEXT && reply->items[i + 1]->type == REDIS_TEXT)
			add_field(a, reply->items[i], reply->items[i + 1]);
	answered(s, e);
}

static void request_day(struct summing *s, const struct redis_reply *host, int64_t day)
{
	struct asked *a = calloc(1, sizeof *a);
	time_t at = (time_t)(day * DAY_MS / 1000);
	char key[KEY_MAX];
	const char *const args[] = {"HGETALL", key};
	const struct redis_command c = {
		.args = args, .count = 2, .key = key, .timeout_ms = WAIT_MS, .repeatable = true};
	struct tm tm;

	if (a != NULL) {
		a->s = s;
		a->next = s->asked;
		s->asked = a;
		snprintf(a->host, sizeof a->host, "%s", host->text);
		strftime(a->day, sizeof a->day, "%Y-%m-%d", gmtime_r(&at, &tm));
		key_of(a->host, a->day, key);
	}
	if (a != NULL && redis_send(s->redis, &c, on_day, a) != NULL) {
		s->requests++;
		return;
	}
	err_set(&s->e, "out of memory");
}

static void on_hosts(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct summing *s = arg;
	int64_t today = clock_wall_ms() / DAY_MS;

	for (size_t i = 0; reply != NULL && reply->type == REDIS_LIST && i < reply->count; i++)
		for (int64_t day = s->first_day; day <= today && reply->items[i]->type == REDIS_TEXT; day++)
			request_day(s, reply->items[i], day);
	answered(s, e);
}

static int compare(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	static const char *const tokens[] = {"prompt_tokens", "completion_tokens"};
	json_int_t n = 0;

	for (size_t i = 0; i < 2; i++)
		n += json_integer_value(json_object_get(y, tokens[i])) -
		     json_integer_value(json_object_get(x, tokens[i]));
	return n < 0 ? -1 : n > 0;
}

/* As usage_log_sums orders them. */
static json_t *sorted(const struct summing *s)
{
	size_t count = json_object_size(s->groups), n = 0;
	json_t **rows = calloc(count + 1, sizeof(json_t *)), *all = json_array(), *numbers;
	const char *group;

	json_object_foreach(s->groups, group, numbers)
	{
		json_t *row = json_pack("{s:s, s:O, s:O, s:O, s:O, s:f}", s->by, group, "attempts",
		                        json_array_get(numbers, ATTEMPTS), "failed", json_array_get(numbers, NUMBERS),
		                        "prompt_tokens", json_array_get(numbers, PROMPT), "completion_tokens",
		                        json_array_get(numbers, COMPLETION), "seconds",
		                        json_number_value(json_array_get(numbers, TOOK_MS)) / 1000);

		if (rows != NULL && row != NULL)
			rows[n++] = row;
	}
	if (rows != NULL && strcmp(s->by, "day") != 0)
		qsort(rows, n, sizeof(json_t *), compare);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(all, rows[i]);
	free(rows);
	return all;
}

bool shared_usage_sums_by(const char *by)
{
	static const char *const known[] = {"key", "model", "outcome", "day", "host"};

	for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
		if (strcmp(by, known[k]) == 0)
			return true;
	return false;
}

json_t *shared_usage_sums(const struct config *c, const char *by, int64_t since_ms, struct err *e)
{
	const char *url = peers_redis(c), *const args[] = {"ZRANGE", HOSTS_KEY, "0", "-1"};
	const struct redis_command hosts = {
		.args = args, .count = 4, .key = HOSTS_KEY, .timeout_ms = WAIT_MS, .repeatable = true};
	int64_t today = clock_wall_ms() / DAY_MS;
	struct summing s = {.by = by, .e = ERR_INIT};
	json_t *all = NULL;

	if (!shared_usage_sums_by(by)) {
		err_set(e, "'%.30s': the usage of all hosts is summed by key, model, outcome, day or host", by);
		return NULL;
	}
	if (url == NULL) {
		err_set(e, "this host works alone (settings hosts.redis and threads.store)");
		return NULL;
	}
	s.first_day = since_ms / DAY_MS > today - DAYS_MAX ? since_ms / DAY_MS : today - DAYS_MAX;
	s.groups = json_object();
	s.base = event_base_new();
	s.redis = s.base != NULL ? redis_open(s.base, url, c, NULL, NULL, e) : NULL;
	if (s.redis != NULL && redis_send(s.redis, &hosts, on_hosts, &s) != NULL) {
		s.requests = 1;
		event_base_dispatch(s.base);
		all = err_is_set(&s.e) ? NULL : sorted(&s);
	}
	if (all == NULL)
		err_set(e, "%s", err_is_set(&s.e) ? s.e.text : "out of memory");
	redis_free(s.redis);
	for (struct asked *a = s.asked, *next; a != NULL; a = next) {
		next = a->next;
		free(a);
	}
	if (s.base != NULL)
		event_base_free(s.base);
	json_decref(s.groups);
	return all;
}
