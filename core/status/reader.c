/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/reader.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/llm/llm.h"
#include "core/status/safe_read.h"
#include "core/status/decode.h"
#include "core/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SILENT_MS 5000 /* without a heartbeat */
#define RETRY_MS  20   /* between two tries to read a file that can't be used */
#define CHASES    4    /* publications in a row that one reload follows */

struct status_snapshot {
	unsigned refs; /* one thread */
	char *bytes;
};

struct status_reader {
	char *path;
	uint8_t boot_id[16];
	struct status_snapshot *current;  /* NULL: none was ever readable */
	const struct status_header *live; /* the current file's header as it is now; NULL: not mapped */
	dev_t dev;
	ino_t ino;
	off_t size;
	uint64_t loads, loads_seen; /* snapshots taken into use, now and at the last check */
	int64_t next_try_ms;        /* monotonic */
	struct err problem;         /* with the file at the path */
	int64_t problem_since_ms;   /* wall clock */
	struct err silence;         /* of the writer */
	int64_t silent_since_ms;    /* wall clock */
	struct err logged;
	bool quiet;
};

/* --- snapshots ------------------------------------------------------------------------ */

void status_release(struct status_snapshot *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	free(s->bytes);
	free(s);
}

const struct status_header *status_header(const struct status_snapshot *s)
{
	return (const void *)s->bytes;
}

const struct status_llm *status_llm(const struct status_snapshot *s, size_t i)
{
	const struct status_header *h = status_header(s);

	if (i >= h->llm_count)
		return NULL;
	return (const struct status_llm *)(const void *)(s->bytes + h->llms_offset) + i;
}

const struct status_llm *status_candidate(const struct status_snapshot *s, size_t rank)
{
	const struct status_header *h = status_header(s);

	if (rank >= h->candidate_count)
		return NULL;
	return status_llm(s, ((const uint32_t *)(const void *)(s->bytes + h->candidates_offset))[rank]);
}

const char *status_text(const struct status_snapshot *s, struct status_text t)
{
	return t.offset != 0 ? s->bytes + t.offset : NULL;
}

const char *status_llm_name(const struct status_snapshot *s, const struct status_llm *l)
{
	const char *name = status_text(s, l->kind == LLM_DISCOVERED ? l->model_name : l->model);

	return name != NULL ? name : "Unknown";
}

int status_copy_llm(const struct status_snapshot *s, size_t i, struct llm *out)
{
	const struct status_llm *l = status_llm(s, i);
	/* The casts drop const; the copy only reads. */
	const struct llm borrowed = {
#define LLM_NUMBER(type, name, shown) .name = l->name,
#define LLM_ENUM(name, last, shown)   .name = (enum llm_##name)l->name,
#define LLM_COUNT(name, shown)        .name = l->name,
#define LLM_FLAG(name, shown)         .name = l->name != 0,
#define LLM_TEXT(name, shown)         .name = (char *)status_text(s, l->name),
#include "core/llm/llm_fields.def"
	};

	return llm_copy(out, &borrowed);
}

/* --- the file --------------------------------------------------------------------------- */

static void unmap_live(struct status_reader *r)
{
	if (r->live != NULL)
		munmap((void *)(uintptr_t)r->live, sizeof *r->live);
	r->live = NULL;
}

/* Puts the file that fd refers to into use. */
static int take(struct status_reader *r, int fd, const struct stat *st, struct err *e)
{
	char *bytes = decode_status(fd, st, e);
	struct status_snapshot *s = NULL;
	void *map;

	if (bytes == NULL)
		return -1;
	s = malloc(sizeof *s);
	map = mmap(NULL, sizeof *r->live, PROT_READ, MAP_SHARED, fd, 0);
	if (s == NULL || map == MAP_FAILED) {
		err_set(e, "out of memory");
		if (map != MAP_FAILED)
			munmap(map, sizeof *r->live);
		free(bytes);
		free(s);
		return -1;
	}
	*s = (struct status_snapshot){.refs = 1, .bytes = bytes};
	status_release(r->current);
	unmap_live(r);
	r->current = s;
	r->live = map;
	r->dev = st->st_dev;
	r->ino = st->st_ino;
	r->size = st->st_size;
	r->loads++;
	return 0;
}

static int load(struct status_reader *r, struct err *e)
{
	struct stat st;
	int result = -1;
	/* O_NONBLOCK: it may be a FIFO. */
	int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		return err_set(e, "open %s: it is missing (tt-agentd writes it: is it running?)", r->path);
	if (fd < 0)
		return err_set_errno(e, errno, "open %s", r->path);
	if (fstat(fd, &st) < 0)
		err_set_errno(e, errno, "stat %s", r->path);
	else if ((result = take(r, fd, &st, e)) < 0)
		err_prefix(e, "%s", r->path);
	close(fd);
	return result;
}

/* Not superseded; false also if the page is gone. */
static bool is_current(const struct status_reader *r)
{
	uint64_t superseded;

	return r->live != NULL && safe_load(&r->live->superseded, &superseded) && superseded == 0;
}

static void check_heartbeat(struct status_reader *r)
{
	const struct status_header *h = r->current != NULL ? status_header(r->current) : NULL;
	int64_t now = clock_boot_ms();
	uint64_t beat;

	err_clear(&r->silence);
	if (h == NULL)
		return;
	if (process_is_other_boot(h->boot_id, r->boot_id)) {
		err_set(&r->silence, "tt-agentd has not run since the machine was started");
		r->silent_since_ms = h->published_ms;
		return;
	}
	if (r->live == NULL || !safe_load(&r->live->heartbeat_ms, &beat))
		return; /* the file is gone; reload() reports that */
	if (now - (int64_t)beat > SILENT_MS || (int64_t)beat - now > SILENT_MS) {
		err_set(&r->silence, "tt-agentd gives no sign of life");
		r->silent_since_ms = clock_wall_ms() - (now > (int64_t)beat ? now - (int64_t)beat : 0);
	}
}

/* Reads the file at the path, and the next one if that was superseded meanwhile. */
static void reload(struct status_reader *r)
{
	struct err e = ERR_INIT;

	for (int i = 0; i < CHASES; i++)
		if (load(r, &e) < 0 || is_current(r))
			break;
	r->next_try_ms = err_is_set(&e) ? clock_mono_ms() + RETRY_MS : 0;
	if (err_is_set(&e) && !err_is_set(&r->problem))
		r->problem_since_ms = clock_wall_ms();
	r->problem = e;
	check_heartbeat(r);
}

/* --- the reader --------------------------------------------------------------------------- */

struct status_reader *status_reader_new(const char *dir, struct err *e)
{
	struct status_reader *r = calloc(1, sizeof *r);

	if (r == NULL || asprintf(&r->path, "%s/%s", dir, STATUS_FILE) < 0) {
		free(r);
		err_set(e, "out of memory");
		return NULL;
	}
	safe_read_install();
	process_boot_id(r->boot_id);
	reload(r);
	r->loads_seen = r->loads;
	return r;
}

void status_reader_free(struct status_reader *r)
{
	if (r == NULL)
		return;
	status_release(r->current);
	unmap_live(r);
	free(r->path);
	free(r);
}

void status_reader_be_quiet(struct status_reader *r)
{
	r->quiet = true;
}

struct status_snapshot *status_acquire(struct status_reader *r)
{
	if (!is_current(r) && clock_mono_ms() >= r->next_try_ms)
		reload(r);
	if (r->current != NULL)
		r->current->refs++;
	return r->current;
}

/* The file at the path is still the one in use, and its header is unchanged. */
static bool is_untouched(const struct status_reader *r)
{
	const struct status_header *h = r->current != NULL ? status_header(r->current) : NULL;
	struct stat st;

	if (h == NULL || !is_current(r) || stat(r->path, &st) < 0)
		return false;
	if (st.st_dev != r->dev || st.st_ino != r->ino || st.st_size != r->size)
		return false;
	return decode_is_same(r->live, h->epoch, h->generation);
}

static void log_change(struct status_reader *r)
{
	const char *reason = "";

	status_is_stale(r, NULL, &reason);
	if (r->quiet || strcmp(reason, r->logged.text) == 0)
		return;
	if (reason[0] != '\0')
		log_event(LOG_STATUS_STALE, L_STR("error", reason));
	else
		log_event(LOG_STATUS_FRESH, L_STR("file", r->path));
	err_clear(&r->logged);
	err_set(&r->logged, "%s", reason);
}

bool status_reader_check(struct status_reader *r)
{
	bool changed;

	if (is_untouched(r)) {
		err_clear(&r->problem);
		check_heartbeat(r);
	} else {
		reload(r);
	}
	log_change(r);
	changed = r->loads != r->loads_seen;
	r->loads_seen = r->loads;
	return changed;
}

bool status_is_stale(const struct status_reader *r, int64_t *since_wall_ms, const char **reason)
{
	bool broken = err_is_set(&r->problem);

	if (!broken && !err_is_set(&r->silence))
		return false;
	if (since_wall_ms != NULL)
		*since_wall_ms = broken ? r->problem_since_ms : r->silent_since_ms;
	if (reason != NULL)
		*reason = broken ? r->problem.text : r->silence.text;
	return true;
}
