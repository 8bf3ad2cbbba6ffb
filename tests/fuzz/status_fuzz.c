/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a status file: what is accepted must be safe to walk through. */
#include "core/llm/llm.h"
#include "core/status/decode.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t text(const char *file, struct status_text t)
{
	return t.offset != 0 ? strlen(file + t.offset) + (size_t)file[t.offset + t.length] : 0;
}

static size_t walk_llm(const char *file, const struct status_llm *l)
{
	const struct status_text texts[] = {
#define LLM_TEXT(name, shown) l->name,
#include "core/llm/llm_fields.def"
		l->token,
	};
	size_t sum =
		strlen(llm_kind_text((enum llm_kind)l->kind)) + strlen(llm_health_text((enum llm_health)l->health));

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		sum += text(file, texts[i]);
	return sum;
}

/* volatile: the reads must not be optimised away */
static volatile size_t sink;

static void walk(const char *file)
{
	const struct status_header *h = (const void *)file;
	const struct status_llm *llms = (const void *)(file + h->llms_offset);
	const uint32_t *candidates = (const void *)(file + h->candidates_offset);

	sink += text(file, h->config_name) + text(file, h->pinned) + text(file, h->root_document) +
	        text(file, h->status_document);
	for (uint32_t i = 0; i < h->llm_count; i++)
		sink += walk_llm(file, &llms[i]);
	for (uint32_t i = 0; i < h->candidate_count; i++)
		sink += walk_llm(file, &llms[candidates[i]]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *file = malloc(size > 0 ? size : 1);
	struct err e = ERR_INIT;

	memcpy(file, data, size);
	if (decode_check(file, size, &e) == 0)
		walk(file);
	if (size >= sizeof(struct status_header)) {
		/* Past the words that no mutation finds by itself. */
		struct status_header *h = (void *)file;

		h->magic = STATUS_MAGIC;
		h->version = STATUS_VERSION;
		h->size = (uint32_t)size;
		h->waiting = h->usable_count == 0;
		if (decode_check(file, size, &e) == 0)
			walk(file);
	}
	free(file);
	return 0;
}
