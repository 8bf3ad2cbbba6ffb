/* SPDX-License-Identifier: Apache-2.0 */
/* What makes the rest of the service trust a status file: every offset, count, enum
 * and terminator is looked at once, here. */
#include "core/status/reader.h"

#include "core/llm/llm.h"

#include <assert.h>
#include <stddef.h>

struct checked {
	const char *base;
	size_t size;
	struct err *e;
};

/* count records of record_size bytes at offset lie in the file, aligned. */
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

#define TEXT(field)                                                                                                    \
	{                                                                                                              \
#field, offsetof(struct status_llm, field)                                                             \
	}
#define NUMBER(field, max)                                                                                             \
	{                                                                                                              \
#field, offsetof(struct status_llm, field), max                                                        \
	}

static const struct {
	const char *name;
	size_t offset;
} llm_texts[] = {
	TEXT(deploy_id),  TEXT(container_name), TEXT(internal_url), TEXT(health_url), TEXT(model_name),
	TEXT(model_type), TEXT(hf_model_id),    TEXT(url),          TEXT(probe_url),  TEXT(model),
	TEXT(resolve),    TEXT(reason),         TEXT(token),
};

static const struct {
	const char *name;
	size_t offset;
	uint32_t max;
} llm_numbers[] = {
	NUMBER(kind, LLM_KINDS - 1), NUMBER(health, LLM_UNHEALTHY), NUMBER(tools, LLM_TOOLS_YES),
	NUMBER(completions, 1),      NUMBER(sees_images, 1),        NUMBER(continues, 1),
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
		return err_set(f->e, "it is no status file");
	if (h->version != STATUS_VERSION)
		return err_set(f->e, "its layout has version %u, not %d", h->version, STATUS_VERSION);
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

int status_validate(const void *map, size_t size, struct err *e)
{
	struct checked f = {.base = map, .size = size, .e = e};
	const struct status_header *h = map;
	const struct status_llm *llms;
	const uint32_t *candidates;

	assert((uintptr_t)map % _Alignof(struct status_header) == 0);
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
