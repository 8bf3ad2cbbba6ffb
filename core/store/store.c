/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/store_impl.h"

#include "core/base/log.h"
#include "core/status/process_identity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SHORT_DIGITS 8
#define IN_MEMORY    "memory" /* as threads.file */

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

static struct store_limits configured_limits(const struct config *c)
{
	return (struct store_limits){.expire_ms = cfg_ms(c, CFG_THREADS_EXPIRE),
	                             .short_id_idle_ms = cfg_ms(c, CFG_THREADS_SHORT_ID_IDLE),
	                             .max_threads = (size_t)cfg_int(c, CFG_LIMITS_THREADS)};
}

bool store_is_memory(const char *file)
{
	return strcmp(file, IN_MEMORY) == 0;
}

/* Whether the folder of file is there. */
static bool has_folder(const char *file)
{
	const char *slash = strrchr(file, '/');
	char folder[1024];

	if (slash == NULL || slash == file)
		return true;
	snprintf(folder, sizeof folder, "%.*s", (int)(slash - file), file);
	return access(folder, F_OK) == 0 || errno != ENOENT;
}

struct store *store_open(struct event_base *base, const struct config *c, const char *run, struct err *e)
{
	const char *file = cfg_str(c, CFG_THREADS_FILE);
	const struct store_limits limits = configured_limits(c);

	if (!store_is_memory(file) && has_folder(file))
		return store_sqlite_new(base, file, run, &limits, e);
	if (!store_is_memory(file))
		log_warning(
			"threads_in_memory", L_STR("file", file),
			L_STR("error", "its folder does not exist: conversations last as long as this worker does"));
	return store_memory_new(base, &limits, e);
}

int64_t store_idle_ms(const struct config *c, const char *thread_id)
{
	return cfg_ms(c, store_id_is_short(thread_id) ? CFG_THREADS_SHORT_ID_IDLE : CFG_THREADS_EXPIRE);
}

void store_configure(struct store *s, const struct config *c)
{
	const struct store_limits limits = configured_limits(c);

	s->ops->set_limits(s, &limits);
}

void store_free(struct store *s)
{
	if (s != NULL)
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
