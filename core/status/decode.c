/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/decode.h"

#include "core/llm/llm.h"
#include "core/status/safe_read.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* --- the check: every offset, count, enum and terminator, once, so that the rest of the
 * service can trust the file -------------------------------------------------------------- */

struct checked {
	const char *base;
	size_t size;
	struct err *e;
};

/* Whether count records of record_size bytes at offset are within the file, and aligned. */
static int check_table(const struct checked *f, const char *what, uint32_t offset, uint32_t count, size_t record_size,
                       size_t alignment)
{
	uint64_t end = offset + (uint64_t)count * record_size;

	if (offset < sizeof(struct status_header) || offset % alignment != 0 || end > f->size)
		return err_set(f->e, "it is damaged: %s (%u at offset %u)", what, count, offset);
	return 0;
}

static int check_text(const struct checked *f, const char *what, struct status_text t)
{
	uint64_t end = t.offset + (uint64_t)t.length;

	if (t.offset == 0 && t.length == 0)
		return 0;
	if (t.offset < sizeof(struct status_header) || end >= f->size || f->base[end] != '\0')
		return err_set(f->e, "it is damaged: %s (offset %u, length %u)", what, t.offset, t.length);
	return 0;
}

static int check_number(const struct checked *f, const char *what, uint32_t value, uint32_t max)
{
	if (value > max)
		return err_set(f->e, "it is damaged: %s is %u", what, value);
	return 0;
}

static const struct {
	const char *name;
	size_t offset;
} llm_texts[] = {
#define LLM_TEXT(name, shown) {#name, offsetof(struct status_llm, name)},
#include "core/llm/llm_fields.def"
	{"token", offsetof(struct status_llm, token)},
};

static const struct {
	const char *name;
	size_t offset;
	uint32_t max;
} llm_numbers[] = {
#define LLM_ENUM(name, last, shown)      {#name, offsetof(struct status_llm, name), last},
#define LLM_FLAG(name, shown)            {#name, offsetof(struct status_llm, name), 1},
#define LLM_DERIVED_FLAG(name, function) {#name, offsetof(struct status_llm, name), 1},
#include "core/llm/llm_fields.def"
};

static int check_llm(const struct checked *f, const struct status_llm *l)
{
	const char *record = (const char *)l;

	for (size_t i = 0; i < sizeof llm_numbers / sizeof llm_numbers[0]; i++) {
		uint32_t value = *(const uint32_t *)(const void *)(record + llm_numbers[i].offset);

		if (check_number(f, llm_numbers[i].name, value, llm_numbers[i].max) < 0)
			return -1;
	}
	for (size_t i = 0; i < sizeof llm_texts / sizeof llm_texts[0]; i++) {
		const struct status_text *t = (const void *)(record + llm_texts[i].offset);

		if (check_text(f, llm_texts[i].name, *t) < 0)
			return -1;
	}
	if (l->url.offset == 0)
		return err_set(f->e, "it is damaged: an LLM without a URL");
	return 0;
}

static int check_header(const struct checked *f, const struct status_header *h)
{
	if (h->magic != STATUS_MAGIC)
		return err_set(f->e, "it is not a status file");
	if (h->version != STATUS_VERSION)
		return err_set(f->e, "its layout is version %u, not %d", h->version, STATUS_VERSION);
	if (h->size != f->size)
		return err_set(f->e, "it is damaged: %zu bytes instead of %u", f->size, h->size);
	if (check_table(f, "llms", h->llms_offset, h->llm_count, sizeof(struct status_llm), 8) < 0 ||
	    check_table(f, "candidates", h->candidates_offset, h->candidate_count, sizeof(uint32_t), 4) < 0 ||
	    check_number(f, "candidate_count", h->candidate_count, h->llm_count) < 0 ||
	    check_number(f, "usable_count", h->usable_count, h->candidate_count) < 0)
		return -1;
	if (h->waiting != (h->usable_count == 0))
		return err_set(f->e, "it is damaged: waiting is %u with %u usable LLMs", h->waiting, h->usable_count);
	if (check_text(f, "config_name", h->config_name) < 0 || check_text(f, "pinned", h->pinned) < 0 ||
	    check_text(f, "root_document", h->root_document) < 0 ||
	    check_text(f, "status_document", h->status_document) < 0)
		return -1;
	if (h->root_document.offset == 0 || h->status_document.offset == 0)
		return err_set(f->e, "it is damaged: a document is missing");
	return 0;
}

int decode_check(const void *file, size_t size, struct err *e)
{
	struct checked f = {.base = file, .size = size, .e = e};
	const struct status_header *h = file;
	const struct status_llm *llms;
	const uint32_t *candidates;

	assert((uintptr_t)file % _Alignof(struct status_header) == 0);
	if (size < sizeof *h)
		return err_set(e, "it is damaged: only %zu bytes", size);
	if (check_header(&f, h) < 0)
		return -1;
	llms = (const void *)(f.base + h->llms_offset);
	for (uint32_t i = 0; i < h->llm_count; i++)
		if (check_llm(&f, &llms[i]) < 0)
			return -1;
	candidates = (const void *)(f.base + h->candidates_offset);
	for (uint32_t i = 0; i < h->candidate_count; i++)
		if (candidates[i] >= h->llm_count)
			return err_set(e, "it is damaged: candidate %u is %u of %u", i, candidates[i], h->llm_count);
	return 0;
}

/* --- the file ----------------------------------------------------------------------------- */

/* Only root and the reader's own user may decide where chats go; root trusts every user. */
static int check_file(const struct stat *st, struct err *e)
{
	uid_t self = geteuid();

	if (!S_ISREG(st->st_mode))
		return err_set(e, "it is not a regular file");
	if (self != 0 && st->st_uid != self && st->st_uid != 0)
		return err_set(e, "it belongs to user %lu", (unsigned long)st->st_uid);
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(e, "others can write it (mode %04o): chmod go-w", (unsigned)st->st_mode & 07777);
	if (st->st_size < (off_t)sizeof(struct status_header))
		return err_set(e, "it is damaged: only %lld bytes", (long long)st->st_size);
	if (st->st_size > (off_t)STATUS_MAX_SIZE)
		return err_set(e, "it is larger than %u bytes", STATUS_MAX_SIZE);
	return 0;
}

static int read_all(int fd, char *to, size_t size, struct err *e)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(e, errno, "it cannot be read");
		if (n == 0)
			return err_set(e, "it was truncated while being read");
		done += (size_t)n;
	}
	return 0;
}

char *decode_status(int fd, const struct stat *st, struct err *e)
{
	size_t size = (size_t)st->st_size;
	char *bytes;

	if (check_file(st, e) < 0)
		return NULL;
	bytes = malloc(size);
	if (bytes == NULL) {
		err_set(e, "out of memory (%zu bytes)", size);
		return NULL;
	}
	if (read_all(fd, bytes, size, e) == 0 && decode_check(bytes, size, e) == 0)
		return bytes;
	free(bytes);
	return NULL;
}

bool decode_is_same(const struct status_header *live, uint64_t epoch, uint64_t generation)
{
	uint64_t magic_now, epoch_now, generation_now;

	return safe_load(&live->magic, &magic_now) && magic_now == STATUS_MAGIC &&
	       safe_load(&live->epoch, &epoch_now) && epoch_now == epoch &&
	       safe_load(&live->generation, &generation_now) && generation_now == generation;
}
