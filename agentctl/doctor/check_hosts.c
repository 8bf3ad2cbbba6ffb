/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of Redis that settings name, and the other hosts that use them. */
#include "agentctl/doctor/doctor.h"
#include "agentctl/text.h"
#include "core/access/shared_settings.h"
#include "core/base/clock.h"
#include "core/peers/peers.h"
#include "core/redis/redis.h"

#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SKEW_MAX_MS  5000
#define FULL_PERCENT 90

/* --- commands that are waited for ------------------------------------------------------------------- */

struct waiting {
	struct event_base *base;
	struct redis_reply *reply; /* NULL: it failed */
	struct err err;
};

static void on_answered(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct waiting *w = arg;

	if (e != NULL)
		err_set(&w->err, "%s", e->text);
	else
		w->reply = redis_reply_ref(reply);
	event_base_loopbreak(w->base);
}

/* server: which of a cluster's, where key is NULL. NULL with e; redis_reply_free(). */
static struct redis_reply *call(struct doctor *d, struct redis *r, const struct redis_command *c, struct err *e)
{
	struct waiting w = {.base = d->base, .err = ERR_INIT};

	if (redis_send(r, c, on_answered, &w) == NULL)
		err_set(&w.err, "no memory");
	else
		event_base_dispatch(d->base);
	if (w.reply == NULL)
		err_set(e, "%s", w.err.text);
	return w.reply;
}

/* --- a server of Redis --------------------------------------------------------------------------------- */

/* The value of "name:" in an answer to INFO; "" where there is none. */
static const char *info_of(const char *info, const char *name, char *out, size_t size)
{
	const char *line = info;
	const size_t len = strlen(name);

	*out = '\0';
	while (line != NULL && (strncmp(line, name, len) != 0 || line[len] != ':')) {
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}
	if (line != NULL)
		snprintf(out, size, "%.*s", (int)strcspn(line + len + 1, "\r\n"), line + len + 1);
	return out;
}

static void check_info(struct doctor *d, const char *shown, const char *info)
{
	char role[32], policy[32], used[32], max[32];
	const int64_t used_bytes = strtoll(info_of(info, "used_memory", used, sizeof used), NULL, 10);
	const int64_t max_bytes = strtoll(info_of(info, "maxmemory", max, sizeof max), NULL, 10);

	if (strcmp(info_of(info, "role", role, sizeof role), "slave") == 0)
		doctor_find(d, FINDING_REDIS_READ_ONLY, shown, "%s is a replica", shown);
	info_of(info, "maxmemory_policy", policy, sizeof policy);
	if (*policy != '\0' && strcmp(policy, "noeviction") != 0)
		doctor_find(d, FINDING_REDIS_EVICTS, shown, "maxmemory-policy of %s is %s", shown, policy);
	if (max_bytes > 0 && used_bytes / FULL_PERCENT >= max_bytes / 100)
		doctor_find(d, FINDING_REDIS_FULL, shown, "%s uses %" PRId64 " of %" PRId64 " bytes (maxmemory)", shown,
		            used_bytes, max_bytes);
}

/* What CONFIG GET says of it; NULL: it is not allowed. free(). */
static char *configured(struct doctor *d, struct redis *r, size_t server, const char *name)
{
	const struct redis_command c = {
		.args = (const char *[]){"CONFIG", "GET", name}, .count = 3, .server = server, .repeatable = true};
	struct err e = ERR_INIT;
	struct redis_reply *reply = call(d, r, &c, &e);
	char *value = NULL;

	if (reply != NULL && reply->type == REDIS_LIST && reply->count == 2 && reply->items[1]->type == REDIS_TEXT)
		value = strdup(reply->items[1]->text);
	redis_reply_free(reply);
	return value;
}

static void check_disk(struct doctor *d, struct redis *r, size_t server, const char *shown)
{
	char *append = configured(d, r, server, "appendonly"), *save = configured(d, r, server, "save");

	if (append == NULL || save == NULL)
		doctor_skip(d, "whether Redis writes to its disk", "%s does not let its user read its settings", shown);
	else if (strcmp(append, "no") == 0 && *save == '\0')
		doctor_find(d, FINDING_REDIS_FORGETS, shown, "%s has appendonly no, and no save", shown);
	free(append);
	free(save);
}

/* stores: conversations are there. -1: it cannot be used, which was found. */
static int check_servers(struct doctor *d, struct redis *r, const char *url, bool stores)
{
	struct err e = ERR_INIT;
	const struct redis_command ping = {
		.args = (const char *[]){"PING"}, .count = 1, .key = PEERS_KEY, .repeatable = true};
	struct redis_reply *reply = call(d, r, &ping, &e);
	char shown[512];

	if (reply == NULL) {
		if (!stores ||
		    (!doctor_found(d, FINDING_STORE_UNREACHABLE) && !doctor_found(d, FINDING_REDIS_PASSWORD)))
			doctor_find_redis(d, FINDING_HOSTS_UNREACHABLE, url, e.text);
		return -1;
	}
	redis_reply_free(reply);
	config_mask_url(url, shown, sizeof shown);
	for (size_t i = 0; i < redis_servers(r); i++) {
		const struct redis_command info = {
			.args = (const char *[]){"INFO"}, .count = 1, .server = i, .repeatable = true};

		err_clear(&e);
		reply = call(d, r, &info, &e);
		if (reply == NULL)
			doctor_skip(d, "how Redis is configured", "%s", e.text);
		else if (reply->type == REDIS_TEXT)
			check_info(d, shown, reply->text);
		redis_reply_free(reply);
		if (stores)
			check_disk(d, r, i, shown);
	}
	return 0;
}

/* --- the other hosts ------------------------------------------------------------------------------------ */

/* How far that host's clock is ahead of Redis', as it said; at_ms is Redis' time then. */
static int64_t skew_of(const json_t *message, int64_t at_ms)
{
	return json_integer_value(json_object_get(message, "clock")) - at_ms;
}

static void check_settings(struct doctor *d, const char *name, const json_t *own, const json_t *theirs)
{
	const char *path;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)own, path, value)
	{
		const json_t *other = json_object_get(theirs, path);

		if (!json_is_string(other) || json_equal(value, (json_t *)(uintptr_t)other))
			continue;
		if (strcmp(path, SHARED_SETTINGS_KEYS) == 0)
			doctor_find(d, FINDING_HOST_KEYS_DIFFER, name,
			            "the file of keys of %s is not that of this host", name);
		else
			doctor_find(d, FINDING_HOSTS_DIFFER, path, "%s is %s here, and %s on %s", path,
			            *json_string_value(value) != '\0' ? json_string_value(value) : "unset",
			            *json_string_value(other) != '\0' ? json_string_value(other) : "unset", name);
	}
}

static void check_host(struct doctor *d, const char *name, const json_t *own, int64_t own_skew_ms,
                       const json_t *message, int64_t at_ms)
{
	const char *version = text_of(message, "version");
	const int64_t ahead_ms = skew_of(message, at_ms) - own_skew_ms;

	if (version != NULL && strcmp(version, PACKAGE_VERSION) != 0)
		doctor_find(d, FINDING_HOST_VERSION, name, "%s runs %s, this host " PACKAGE_VERSION, name, version);
	if (own == NULL)
		return; /* this host does not take part */
	if (json_is_integer(json_object_get(message, "clock")) && llabs(ahead_ms) > SKEW_MAX_MS)
		doctor_find(d, FINDING_HOST_CLOCK, name, "the clock of %s is %lld s %s that of this host", name,
		            llabs((long long)ahead_ms) / 1000, ahead_ms > 0 ? "ahead of" : "behind");
	check_settings(d, name, json_object_get(own, "settings"), json_object_get(message, "settings"));
}

/* all: names and what they say, in turn. */
static void check_all(struct doctor *d, const struct redis_reply *all, int64_t now_ms)
{
	char name[PEERS_NAME_MAX + 1];
	json_t *own = NULL;
	int64_t own_skew_ms = 0, at_ms;
	size_t count = 0;
	const int64_t expected = cfg_int(d->config, CFG_HOSTS_COUNT);

	peers_name(d->config, name);
	for (size_t i = 0; i + 1 < all->count; i += 2) {
		if (all->items[i]->type != REDIS_TEXT || all->items[i + 1]->type != REDIS_TEXT ||
		    strcmp(all->items[i]->text, name) != 0)
			continue;
		own = peers_message(all->items[i + 1]->text, all->items[i + 1]->len, &at_ms);
		own_skew_ms = skew_of(own, at_ms);
	}
	for (size_t i = 0; i + 1 < all->count; i += 2) {
		json_t *message;

		if (all->items[i]->type != REDIS_TEXT || all->items[i + 1]->type != REDIS_TEXT ||
		    all->items[i]->len > PEERS_NAME_MAX)
			continue;
		message = peers_message(all->items[i + 1]->text, all->items[i + 1]->len, &at_ms);
		if (message != NULL && now_ms - at_ms < PEERS_FRESH_MS) {
			count++;
			if (strcmp(all->items[i]->text, name) != 0)
				check_host(d, all->items[i]->text, own, own_skew_ms, message, at_ms);
		}
		json_decref(message);
	}
	json_decref(own);
	if (expected > 0 && count > (size_t)expected)
		doctor_find(d, FINDING_HOSTS_MORE, "hosts.count", "hosts.count is %lld, and %zu hosts are there",
		            (long long)expected, count);
}

static void check_others(struct doctor *d, struct redis *r)
{
	const struct redis_command time = {
		.args = (const char *[]){"TIME"}, .count = 1, .key = PEERS_KEY, .repeatable = true};
	const struct redis_command all = {
		.args = (const char *[]){"HGETALL", PEERS_KEY}, .count = 2, .key = PEERS_KEY, .repeatable = true};
	struct err e = ERR_INIT;
	struct redis_reply *now = call(d, r, &time, &e), *hosts = now != NULL ? call(d, r, &all, &e) : NULL;

	if (hosts == NULL || hosts->type != REDIS_LIST || now->type != REDIS_LIST || now->count != 2)
		doctor_skip(d, "the other hosts", "%s", hosts == NULL ? e.text : "Redis gives an unknown answer");
	else
		check_all(d, hosts, strtoll(now->items[0]->text, NULL, 10) * 1000);
	redis_reply_free(hosts);
	redis_reply_free(now);
}

/* --- the check -------------------------------------------------------------------------------------------- */

void check_hosts(struct doctor *d)
{
	const char *hosts = d->config != NULL ? peers_redis(d->config) : NULL;
	const char *store = d->config != NULL ? cfg_str(d->config, CFG_THREADS_STORE) : NULL;
	const char *const urls[] = {hosts, store};
	const json_t *state = json_object_get(d->status, "hosts");
	struct err e = ERR_INIT;

	if (json_is_true(json_object_get(state, "name_taken")))
		doctor_find(d, FINDING_HOST_NAME_TAKEN, text_of(state, "name"), "another host has the name %s, too",
		            text_of(state, "name"));
	for (size_t i = 0; i < 2 && d->base != NULL; i++) {
		const char *url = urls[i];
		struct redis *r;

		if (url == NULL || strncmp(url, "redis", 5) != 0 ||
		    (i == 1 && hosts != NULL && strcmp(url, hosts) == 0))
			continue;
		r = redis_open(d->base, url, d->config, NULL, NULL, &e);
		if (r == NULL)
			doctor_find_redis(d, FINDING_HOSTS_UNREACHABLE, url, e.text);
		else if (check_servers(d, r, url, strcmp(url, store) == 0) == 0 && i == 0)
			check_others(d, r);
		redis_free(r);
	}
}
