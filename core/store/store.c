/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/store_impl.h"

#include "core/base/log.h"
#include "core/base/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHORT_DIGITS 8

static const struct {
	const char *scheme;
	const struct store_ops *ops;
} kinds[] = {
#define STORE_ROW(kind) {#kind, &store_##kind},
	STORE_KINDS(STORE_ROW)
#undef STORE_ROW
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* The kind that a URL names, and the rest of the URL in place. NULL with e. */
static const struct store_ops *find_kind(const char *url, const char **place, struct err *e)
{
	size_t len = strcspn(url, ":");
	char known[128] = "";

	for (size_t i = 0; i < KINDS; i++) {
		if (url[len] == ':' && strncmp(url, kinds[i].scheme, len) == 0 && kinds[i].scheme[len] == '\0') {
			*place = url + len + 1;
			return kinds[i].ops;
		}
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s:", i > 0 ? ", " : "",
		         kinds[i].scheme);
	}
	err_set(e, "threads.store: '%.100s' names no store; it begins with one of %s", url, known);
	return NULL;
}

/* ---- keys and limits ---- */

bool store_id_is_short(const char *thread_id)
{
	size_t digits = strspn(thread_id, "0123456789");

	return digits < SHORT_DIGITS && thread_id[digits] == '\0';
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

static struct store *open_kind(const struct store_ops *ops, const char *url, const char *place, struct event_base *base,
                               const char *run, const struct store_limits *limits, struct err *e)
{
	struct store *s = ops->open(base, place, run, limits, e);

	if (s == NULL)
		return NULL;
	s->url = strdup(url);
	if (s->url != NULL)
		return s;
	err_set(e, "no memory for the conversations");
	store_free(s);
	return NULL;
}

struct store *store_new(struct event_base *base, const char *url, const char *run, const struct store_limits *limits,
                        struct err *e)
{
	const char *place;
	const struct store_ops *ops = find_kind(url, &place, e);

	return ops != NULL ? open_kind(ops, url, place, base, run, limits, e) : NULL;
}

struct store *store_open(struct event_base *base, const struct config *c, const char *run, struct counters *counters,
                         struct err *e)
{
	const char *url = cfg_str(c, CFG_THREADS_STORE), *place = "";
	struct err why = ERR_INIT;
	const struct store_ops *ops = find_kind(url, &place, &why);
	struct store_limits limits;
	struct store *s;

	if (ops == NULL || (ops->check != NULL && ops->check(place, &why) < 0)) {
		log_event(LOG_THREADS_IN_MEMORY, L_STR("store", url), L_STR("error", why.text),
		          L_STR("effect", "conversations last as long as this worker does"));
		ops = &store_memory;
	}
	limits = configured_limits(c, ops, counters);
	s = open_kind(ops, url, place, base, run, &limits, e);
	if (s != NULL)
		s->counters = counters;
	return s;
}

bool store_moved(const struct store *s, const struct config *c)
{
	return strcmp(s->url, cfg_str(c, CFG_THREADS_STORE)) != 0;
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
	free(s->url);
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

void store_cancel(struct store_request *r)
{
	if (r != NULL)
		r->ops->cancel(r);
}

/* ---- for administrators ---- */

struct store_admin *store_admin_open(const char *url, struct err *e)
{
	const char *place;
	const struct store_ops *ops = find_kind(url, &place, e);
	struct store_admin *a = ops != NULL ? ops->admin->open(place, e) : NULL;

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
	return a->ops->show(a, k, e);
}

int64_t store_admin_delete(struct store_admin *a, const struct store_key *k, struct err *e)
{
	return a->ops->delete (a, k, e);
}

int store_admin_export(struct store_admin *a, store_export_fn *each, void *arg, struct err *e)
{
	return a->ops->export(a, each, arg, e);
}

int store_admin_size(struct store_admin *a, struct store_size *size, struct err *e)
{
	return a->ops->size(a, size, e);
}
