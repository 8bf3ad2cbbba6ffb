/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/peer_watch.h"

#include "config.h"

#include "core/access/crypto.h"
#include "core/access/shared_settings.h"
#include "core/access/shared_usage.h"
#include "core/access/usage_log.h"
#include "core/balance/balance.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/process.h"
#include "core/base/text.h"
#include "core/peers/peers.h"
#include "core/redis/redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOSTS_MAX     1000u
#define LLMS_MAX      256u /* that a host speaks of */
#define IN_FLIGHT_MAX 1000000
#define TWINS         3     /* times in a row that another host used our name */
#define TWIN_MS       10000 /* for which that is shown */

/* KEYS: the hash of all hosts. ARGV: our name and message, and how long a message counts. Returns what was there of our
 * name, and of each host that is there its name and message. */
static const char exchange_text[] =
	"local t = redis.call('TIME') "
	"local now = t[1] * 1000 + math.floor(t[2] / 1000) "
	"local reply = {redis.call('HGET', KEYS[1], ARGV[1]) or ''} "
	"redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2]) "
	"redis.call('PEXPIRE', KEYS[1], ARGV[3]) "
	"local all = redis.call('HGETALL', KEYS[1]) "
	"for i = 1, #all, 2 do "
	"  local at = tonumber(string.match(all[i + 1], '^%d+')) "
	"  if at and now - at < tonumber(ARGV[3]) then "
	"    reply[#reply + 1] = all[i] "
	"    reply[#reply + 1] = all[i + 1] "
	"  else "
	"    redis.call('HDEL', KEYS[1], all[i]) "
	"  end "
	"end "
	"return reply";

struct peer_watch {
	struct services *s;
	void (*changed)(void *arg);
	void *arg;
	const char *run_dir;
	char *path;              /* PEERS_FILE */
	struct balance *balance; /* NULL: nothing is counted */
	char *url;               /* NULL: this host works alone */
	char *settings;          /* by which .redis is there */
	struct redis *redis;     /* NULL: likewise, or the URL cannot be used */
	struct redis_request *request;
	struct shared_usage *usage; /* NULL: none is stored */
	char *usage_file;
	struct redis_script exchange;
	char name[PEERS_NAME_MAX + 1], id[24];
	unsigned twins;
	int64_t twin_ms; /* CLOCK_MONOTONIC: when it used our name; 0: not lately */
	/* What must be the same on all hosts, and of what it was made. */
	json_t *shared;
	struct config *shared_of;
	struct stat keys;
	int64_t answered_ms; /* CLOCK_MONOTONIC: the last exchange */
	bool away;           /* logged */
	json_t *hosts;       /* an object: name -> {"version", "since"} */
	json_t *in_flight;   /* id of an LLM -> what others have there; NULL: nothing */
	json_t *doubted;     /* ids of LLMs that others ejected, as members; NULL: none */
	json_t *state;
};

/* ---- what is known, for people and for workers ---------------------------------------------------- */

static void save_names(const struct peer_watch *w)
{
	char temporary[4300];
	json_t *names = json_array(), *host;
	const char *name;

	json_object_foreach(w->hosts, name, host) json_array_append_new(names, json_string(name));
	snprintf(temporary, sizeof temporary, "%s.part", w->path);
	if (names != NULL && (json_dump_file(names, temporary, JSON_COMPACT) != 0 || rename(temporary, w->path) != 0))
		unlink(temporary); /* workers go on with what was there */
	json_decref(names);
}

static void make_state(struct peer_watch *w, const char *error)
{
	json_t *list = json_array(), *host, *state;
	struct redis_state redis = {.url = ""};
	const char *name;

	if (w->redis != NULL)
		redis_state(w->redis, &redis);
	json_object_foreach(w->hosts, name, host)
	{
		json_t *entry = json_pack("{s:s}", "name", name);

		json_object_update(entry, host);
		json_array_append_new(list, entry);
	}
	state = w->url == NULL ? NULL
	                       : json_pack("{s:s, s:s, s:s, s:s*, s:O}", "name", w->name, "redis", redis.url, "state",
	                                   error == NULL ? "connected" : "away", "error", error, "hosts", list);
	json_decref(list);
	if (state != NULL && w->twin_ms != 0)
		json_object_set_new(state, "name_taken", json_true());
	if ((state == NULL && w->state == NULL) || (state != NULL && json_equal(state, w->state))) {
		json_decref(state);
		return;
	}
	json_decref(w->state);
	w->state = state;
	w->changed(w->arg);
}

json_t *peer_watch_state(const struct peer_watch *w)
{
	return w->state;
}

/* ---- LLMs ------------------------------------------------------------------------------------------------ */

/* The same on all hosts, and no address. */
static void id_of(const struct llm *l, char out[33])
{
	uint8_t bytes[DIGEST_LEN];
	char *text;

	*out = '\0';
	if (asprintf(&text, "%s\n%s", l->deploy_id != NULL ? l->deploy_id : l->url, l->model != NULL ? l->model : "") <
	    0)
		return;
	if (digest_once(text, strlen(text), bytes) == 0)
		for (size_t i = 0; i < 16; i++)
			snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	free(text);
}

/* What other hosts say of each LLM. Whether one is ejected there has changed: true. */
static bool mark_doubted(struct peer_watch *w)
{
	bool changed = false;
	char id[33];

	for (size_t i = 0; i < registry_count(w->s->registry); i++) {
		const struct llm *l = registry_llm(w->s->registry, i);
		struct track *t = registry_track(w->s->registry, i);
		bool doubted = false;

		if (json_object_size(w->doubted) + json_object_size(w->in_flight) > 0) {
			id_of(l, id);
			doubted = json_object_get(w->doubted, id) != NULL;
			balance_others(w->balance, l->instance,
			               (uint32_t)json_integer_value(json_object_get(w->in_flight, id)),
			               clock_boot_ns());
		}
		changed |= doubted != t->doubted;
		t->doubted = doubted;
	}
	return changed;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Borrowed. */
static json_t *shared_of(struct peer_watch *w)
{
	struct config *c = w->s->config;
	struct stat keys = {.st_ino = 0};

	if (stat(cfg_str(c, CFG_ACCESS_KEYS_FILE), &keys) < 0)
		keys = (struct stat){.st_ino = 0};
	if (w->shared == NULL || w->shared_of != c || !is_same_file(&keys, &w->keys)) {
		json_decref(w->shared);
		w->shared = shared_settings(c);
		config_unref(w->shared_of);
		w->shared_of = config_ref(c);
		w->keys = keys;
	}
	return w->shared;
}

static char *message(struct peer_watch *w)
{
	int64_t now = clock_wall_ms();
	json_t *ejected = json_array(), *in_flight = json_object(), *all;
	char *text, id[33];

	for (size_t i = 0; i < registry_count(w->s->registry); i++) {
		const struct llm *l = registry_llm(w->s->registry, i);
		struct balance_llm load = {.in_flight = 0};

		balance_llm(w->balance, l->instance, &load);
		if (l->ejected_until_ms <= now && load.in_flight == 0)
			continue;
		id_of(l, id);
		if (l->ejected_until_ms > now && json_array_size(ejected) < LLMS_MAX)
			json_array_append_new(ejected, json_string(id));
		if (load.in_flight > 0 && json_object_size(in_flight) < LLMS_MAX)
			json_object_set_new(in_flight, id, json_integer(load.in_flight));
	}
	all = json_pack("{s:s, s:s, s:I, s:o, s:o, s:O*}", "id", w->id, "version", PACKAGE_VERSION, "clock",
	                (json_int_t)now, "ejected", ejected, "in_flight", in_flight, "settings", shared_of(w));
	text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	return text;
}

/* ---- the exchange ------------------------------------------------------------------------------------------ */

static json_t *message_of(const struct redis_reply *text)
{
	return text->type == REDIS_TEXT ? peers_message(text->text, text->len, NULL) : NULL;
}

static void note_twin(struct peer_watch *w, const struct redis_reply *before)
{
	json_t *m = message_of(before);
	const char *id = json_string_value(json_object_get(m, "id"));

	w->twins = id != NULL && strcmp(id, w->id) != 0 ? w->twins + 1 : 0;
	if (w->twins < TWINS) {
		json_decref(m);
		return;
	}
	if (w->twin_ms == 0)
		log_event(LOG_HOST_NAME_TAKEN, L_STR("name", w->name));
	w->twin_ms = clock_mono_ms();
	json_decref(m);
}

static void take_host(struct peer_watch *w, json_t *hosts, const char *name, const struct redis_reply *text)
{
	json_t *m = message_of(text), *id, *count, *known = json_object_get(w->hosts, name);
	const char *llm;
	const char *version = json_string_value(json_object_get(m, "version"));
	size_t i;

	if (m == NULL)
		return;
	if (known == NULL)
		log_event(LOG_HOST_CAME, L_STR("name", name));
	json_object_set_new(hosts, name,
	                    json_pack("{s:s*, s:o}", "version", version, "since",
	                              known != NULL ? json_incref(json_object_get(known, "since"))
	                                            : json_integer(clock_wall_ms() / 1000)));
	json_array_foreach(json_object_get(m, "ejected"), i, id)
	{
		if (i < LLMS_MAX && json_is_string(id) && strcmp(name, w->name) != 0)
			json_object_set_new(w->doubted, json_string_value(id), json_true());
	}
	json_object_foreach(json_object_get(m, "in_flight"), llm, count)
	{
		json_int_t n = json_integer_value(count) + json_integer_value(json_object_get(w->in_flight, llm));

		if (strcmp(name, w->name) != 0 && n > 0 && n < IN_FLIGHT_MAX)
			json_object_set_new(w->in_flight, llm, json_integer(n));
	}
	json_decref(m);
}

static void take_all(struct peer_watch *w, const struct redis_reply *reply)
{
	json_t *hosts = json_object(), *host;
	size_t before = json_object_size(w->hosts);
	bool other = false;
	const char *name;

	json_decref(w->doubted);
	w->doubted = json_object();
	json_decref(w->in_flight);
	w->in_flight = json_object();
	for (size_t i = 1; i + 1 < reply->count && json_object_size(hosts) < HOSTS_MAX; i += 2)
		if (reply->items[i]->type == REDIS_TEXT && reply->items[i]->len <= PEERS_NAME_MAX)
			take_host(w, hosts, reply->items[i]->text, reply->items[i + 1]);
	json_object_foreach(w->hosts, name, host)
	{
		if (json_object_get(hosts, name) == NULL) {
			log_event(LOG_HOST_GONE, L_STR("name", name));
			other = true;
		}
	}
	other |= json_object_size(hosts) != before;
	json_decref(w->hosts);
	w->hosts = hosts;
	if (other)
		save_names(w);
}

static void set_away(struct peer_watch *w, const char *error)
{
	if ((error != NULL) != w->away && error != NULL)
		log_event(LOG_HOSTS_AWAY, L_STR("error", error));
	else if ((error != NULL) != w->away)
		log_event(LOG_HOSTS_AGAIN, L_INT("hosts", json_object_size(w->hosts)));
	w->away = error != NULL;
	make_state(w, error);
}

static void on_reply(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct peer_watch *w = arg;

	w->request = NULL;
	if (e != NULL || reply == NULL || reply->type != REDIS_LIST || reply->count == 0) {
		set_away(w, e != NULL ? e->text : "an answer of another kind");
		return;
	}
	w->answered_ms = clock_mono_ms();
	if (w->answered_ms - w->twin_ms > TWIN_MS)
		w->twin_ms = 0;
	note_twin(w, reply->items[0]);
	take_all(w, reply);
	if (mark_doubted(w))
		w->changed(w->arg);
	set_away(w, NULL);
}

static void exchange(struct peer_watch *w)
{
	char *text = message(w), ms[16];
	const char *args[] = {PEERS_KEY, w->name, text, ms};
	const struct redis_run run = {.script = &w->exchange, .keys = 1, .args = args, .count = 4, .repeatable = true};

	snprintf(ms, sizeof ms, "%d", PEERS_FRESH_MS);
	if (text != NULL)
		w->request = redis_run(w->redis, &run, on_reply, w);
	free(text);
}

/* ---- its life ------------------------------------------------------------------------------------------------- */

struct peer_watch *peer_watch_new(struct services *s, const char *run_dir, void (*changed)(void *arg), void *arg)
{
	struct peer_watch *w = calloc(1, sizeof *w);

	if (w == NULL || asprintf(&w->path, "%s/" PEERS_FILE, run_dir) < 0) {
		free(w);
		return NULL;
	}
	w->run_dir = run_dir;
	w->s = s;
	w->changed = changed;
	w->arg = arg;
	w->exchange.text = exchange_text;
	snprintf(w->id, sizeof w->id, "%016" PRIx64, process_random());
	return w;
}

static void forget(struct peer_watch *w)
{
	redis_free(w->redis);
	w->redis = NULL;
	w->request = NULL;
	shared_usage_free(w->usage);
	w->usage = NULL;
	free(w->usage_file);
	w->usage_file = NULL;
	free(w->url);
	w->url = NULL;
	free(w->settings);
	w->settings = NULL;
	w->away = false;
	w->twins = 0;
	w->twin_ms = 0;
	json_decref(w->shared);
	w->shared = NULL;
	json_decref(w->hosts);
	w->hosts = NULL;
	json_decref(w->doubted);
	w->doubted = NULL;
	json_decref(w->in_flight);
	w->in_flight = NULL;
	balance_close(w->balance);
	w->balance = NULL;
}

void peer_watch_free(struct peer_watch *w)
{
	if (w == NULL)
		return;
	forget(w);
	config_unref(w->shared_of);
	json_decref(w->state);
	free(w->path);
	free(w);
}

static void follow_config(struct peer_watch *w)
{
	const char *url = peers_redis(w->s->config);
	char name[PEERS_NAME_MAX + 1], *usage_file = url != NULL ? usage_log_file(w->s->config) : NULL;
	char *settings = url != NULL ? redis_settings(url, w->s->config) : NULL;
	struct err e = ERR_INIT;
	bool same = text_same(settings, w->settings) && text_same(usage_file, w->usage_file);

	peers_name(w->s->config, name);
	if (same && (url == NULL || strcmp(name, w->name) == 0)) {
		free(usage_file);
		free(settings);
		return;
	}
	forget(w);
	w->usage_file = usage_file;
	w->settings = settings;
	if (mark_doubted(w))
		w->changed(w->arg);
	memcpy(w->name, name, sizeof w->name);
	w->url = url != NULL ? strdup(url) : NULL;
	if (w->url == NULL) {
		unlink(w->path);
		make_state(w, NULL);
		return;
	}
	w->balance = balance_open(w->run_dir);
	w->redis = redis_open(w->s->base, w->url, w->s->config, NULL, NULL, &e);
	if (w->redis == NULL)
		set_away(w, e.text);
	else if (usage_file != NULL)
		w->usage = shared_usage_new(w->s->base, w->redis, w->name, usage_file,
		                            cfg_ms(w->s->config, CFG_USAGE_RETAIN));
}

void peer_watch_tick(struct peer_watch *w)
{
	follow_config(w);
	if (w->doubted != NULL && clock_mono_ms() - w->answered_ms > PEERS_FRESH_MS) {
		json_decref(w->doubted);
		w->doubted = NULL;
		if (mark_doubted(w))
			w->changed(w->arg);
	}
	if (w->balance != NULL)
		balance_tick(w->balance, clock_boot_ns());
	if (w->redis != NULL && w->request == NULL)
		exchange(w);
	if (w->usage != NULL)
		shared_usage_tick(w->usage);
}
