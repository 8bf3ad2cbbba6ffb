/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/store_impl.h"

#include "core/base/log.h"
#include "core/base/process.h"
#include "core/redis/redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHORT_DIGITS 8

static const struct {
	const char *scheme;
	const struct store_ops *ops;
} kinds[] = {
#define STORE_ROW(scheme, kind) {scheme, &store_##kind},
	STORE_KINDS(STORE_ROW)
#undef STORE_ROW
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* The kind that place->url names, and the rest of the URL in place->path. NULL with e. */
static const struct store_ops *find_kind(struct store_place *place, struct err *e)
{
	const char *url = place->url;
	size_t len = strcspn(url, ":");
	char known[256] = "", shown[128];

	for (size_t i = 0; i < KINDS; i++) {
		if (url[len] == ':' && strncmp(url, kinds[i].scheme, len) == 0 && kinds[i].scheme[len] == '\0') {
			place->path = url + len + 1;
			return kinds[i].ops;
		}
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s:", i > 0 ? ", " : "",
		         kinds[i].scheme);
	}
	config_mask_url(url, shown, sizeof shown);
	err_set(e, "threads.store: '%.100s' names no store; it begins with one of %s", shown, known);
	return NULL;
}

/* ---- keys and limits ---- */

bool store_id_is_short(const char *thread_id)
{
	size_t digits = strspn(thread_id, "0123456789");

	return digits < SHORT_DIGITS && thread_id[digits] == '\0';
}

struct store_key *store_key_copy(const struct store_key *k)
{
	const size_t subject = strlen(k->subject) + 1, thread_id = strlen(k->thread_id) + 1;
	struct store_key *copy = malloc(sizeof *copy + subject + thread_id);
	char *strings;

	if (copy == NULL)
		return NULL;
	strings = (char *)(copy + 1);
	*copy = (struct store_key){.subject = strings, .thread_id = strings + subject};
	memcpy(strings, k->subject, subject);
	memcpy(strings + subject, k->thread_id, thread_id);
	return copy;
}

void store_run_name(long pid, char out[64])
{
	uint8_t boot[16];

	process_boot_id(boot);
	snprintf(out, 64, "%02x%02x%02x%02x%02x%02x%02x%02x-%ld-%" PRIu64, boot[0], boot[1], boot[2], boot[3], boot[4],
	         boot[5], boot[6], boot[7], pid, process_birth_of(pid));
}

static struct store_limits configured_limits(const struct config *c, const struct store_ops *ops,
                                             struct counters *counters)
{
	struct store_limits limits = {.expire_ms = cfg_ms(c, CFG_THREADS_EXPIRE),
	                              .short_id_idle_ms = cfg_ms(c, CFG_THREADS_SHORT_ID_IDLE),
	                              .max_threads = (size_t)cfg_int(c, CFG_THREADS_MAX_THREADS),
	                              .max_bytes = cfg_int(c, CFG_THREADS_MAX_BYTES),
	                              .thread_bytes = (size_t)cfg_int(c, CFG_THREADS_MAX_BYTES) / 4,
	                              .turn_bytes = (size_t)cfg_int(c, CFG_THREADS_MAX_TURN_BYTES),
	                              .unsaved_bytes = (size_t)cfg_int(c, CFG_THREADS_MAX_UNSAVED_BYTES),
	                              .counters = counters};

	if (ops == &store_memory && limits.max_threads > (size_t)cfg_int(c, CFG_LIMITS_THREADS))
		limits.max_threads = (size_t)cfg_int(c, CFG_LIMITS_THREADS);
	if (limits.thread_bytes > STORE_THREAD_BYTES_MAX)
		limits.thread_bytes = STORE_THREAD_BYTES_MAX;
	if (limits.turn_bytes > limits.thread_bytes / 2)
		limits.turn_bytes = limits.thread_bytes / 2;
	return limits;
}

int64_t store_idle_ms(const struct config *c, const char *thread_id)
{
	return cfg_ms(c, store_id_is_short(thread_id) ? CFG_THREADS_SHORT_ID_IDLE : CFG_THREADS_EXPIRE);
}

/* ---- the store ---- */

/* What a store depends on: another identity takes another store. free(); NULL: no memory. */
static char *identity_of(const struct config *c)
{
	const char *url = cfg_str(c, CFG_THREADS_STORE);
	char *identity = NULL, *settings;

	if (strncmp(url, "redis", 5) != 0)
		return strdup(url);
	settings = redis_settings(url, c);
	if (settings != NULL && asprintf(&identity, "%s\n%s", settings, cfg_str(c, CFG_THREADS_UNSAVED_DIR)) < 0)
		identity = NULL;
	free(settings);
	return identity;
}

static struct store *open_kind(const struct store_ops *ops, const struct store_place *place,
                               const struct store_limits *limits, struct err *e)
{
	struct store *s = ops->open(place, limits, e);

	if (s == NULL)
		return NULL;
	s->identity = place->config != NULL ? identity_of(place->config) : strdup(place->url);
	if (s->identity != NULL)
		return s;
	err_set(e, "no memory for the conversations");
	store_free(s);
	return NULL;
}

struct store *store_new(struct event_base *base, const char *url, const char *run, const struct store_limits *limits,
                        struct err *e)
{
	struct store_place place = {.base = base, .url = url, .run = run};
	const struct store_ops *ops = find_kind(&place, e);

	return ops != NULL ? open_kind(ops, &place, limits, e) : NULL;
}

struct store *store_open(struct event_base *base, const struct config *c, const char *run, struct counters *counters,
                         struct err *e)
{
	struct store_place place = {
		.base = base, .url = cfg_str(c, CFG_THREADS_STORE), .path = "", .run = run, .config = c};
	struct err why = ERR_INIT;
	const struct store_ops *ops = find_kind(&place, &why);
	char shown[256];
	struct store_limits limits;
	struct store *s;

	if (ops == NULL || (ops->check != NULL && ops->check(&place, &why) < 0)) {
		config_mask_url(place.url, shown, sizeof shown);
		log_event(LOG_THREADS_IN_MEMORY, L_STR("store", shown), L_STR("error", why.text),
		          L_STR("effect", "conversations last as long as this worker does"));
		ops = &store_memory;
	}
	limits = configured_limits(c, ops, counters);
	s = open_kind(ops, &place, &limits, e);
	if (s != NULL)
		s->counters = counters;
	return s;
}

bool store_moved(const struct store *s, const struct config *c)
{
	char *now = identity_of(c);
	const bool moved = now != NULL && strcmp(s->identity, now) != 0;

	free(now);
	return moved;
}

void store_configure(struct store *s, const struct config *c)
{
	const struct store_limits limits = configured_limits(c, s->ops, s->counters);

	s->ops->configure(s, &limits);
}

void store_free(struct store *s)
{
	if (s == NULL)
		return;
	free(s->identity);
	s->ops->free(s);
}

struct store_request *store_load(struct store *s, const struct store_key *k, store_loaded_fn *done, void *arg)
{
	return s->ops->load(s, k, done, arg);
}

struct store_request *store_append(struct store *s, const struct store_key *k, json_t *messages, store_saved_fn *done,
                                   void *arg)
{
	return s->ops->append(s, k, messages, done, arg);
}

struct store_request *store_delete(struct store *s, const struct store_key *k, const char *response,
                                   store_deleted_fn *done, void *arg)
{
	return s->ops->delete (s, k, response, done, arg);
}

const char *store_answer_of(const json_t *messages)
{
	const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
	const char *id = json_string_value(json_object_get(json_object_get(last, "response"), "id"));

	return id != NULL ? id : "";
}

void store_cancel(struct store_request *r)
{
	if (r != NULL)
		r->ops->cancel(r);
}

/* ---- for administrators ---- */

json_t *store_admin_time(int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return json_null();
	return json_string(text);
}

json_t *store_admin_thread(const struct store_thread *t, json_t *turns, struct err *e)
{
	json_t *thread =
		json_pack("{s:s, s:s, s:o, s:o, s:o}", "subject", t->subject, "thread_id", t->thread_id, "created",
	                  store_admin_time(t->created_ms), "used", store_admin_time(t->used_ms), "turns", turns);

	if (thread == NULL)
		err_set(e, "no memory for the thread");
	return thread;
}

static int no_thread(const struct store_key *k, struct err *e)
{
	if (k->subject[0] == '\0')
		return err_set(e, "there is no thread %s", k->thread_id);
	return err_set(e, "there is no thread %s of %s", k->thread_id, k->subject);
}

struct store_admin *store_admin_open(const char *url, const struct config *c, struct err *e)
{
	struct store_place place = {.url = url, .run = "", .config = c};
	const struct store_ops *ops = find_kind(&place, e);
	struct store_admin *a = ops != NULL ? ops->admin->open(&place, e) : NULL;

	if (a != NULL)
		a->ops = ops->admin;
	return a;
}

void store_admin_close(struct store_admin *a)
{
	if (a != NULL)
		a->ops->close(a);
}

int store_admin_list(struct store_admin *a, store_thread_fn *found, void *arg, struct err *e)
{
	return a->ops->list(a, found, arg, e);
}

json_t *store_admin_show(struct store_admin *a, const struct store_key *k, struct err *e)
{
	json_t *thread = a->ops->show(a, k, e);

	if (thread == NULL && !err_is_set(e))
		no_thread(k, e);
	return thread;
}

int64_t store_admin_delete(struct store_admin *a, const struct store_key *k, struct err *e)
{
	const int64_t deleted = a->ops->delete (a, k, e);

	/* A single thread that does not exist is most likely a typing error. */
	return deleted == 0 && k != NULL && k->thread_id != NULL ? no_thread(k, e) : deleted;
}

int store_admin_export(struct store_admin *a, store_export_fn *each, void *arg, struct err *e)
{
	return a->ops->export(a, each, arg, e);
}

int store_admin_size(struct store_admin *a, struct store_size *size, struct err *e)
{
	return a->ops->size(a, size, e);
}
