/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a status file: what is accepted must be safe to walk through. */
#include "core/llm/llm.h"
#include "core/status/reader.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t text(const char *image, struct status_text t)
{
	return t.offset != 0 ? strlen(image + t.offset) + (size_t)image[t.offset + t.length] : 0;
}

static size_t walk_llm(const char *image, const struct status_llm *l)
{
	const struct status_text texts[] = {
#define LLM_TEXT(name, shown) l->name,
#include "core/llm/llm_fields.def"
		l->token,
	};
	size_t sum =
		strlen(llm_kind_text((enum llm_kind)l->kind)) + strlen(llm_health_text((enum llm_health)l->health));

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		sum += text(image, texts[i]);
	return sum;
}

/* volatile: the reads must not be optimised away */
static volatile size_t sink;

static void walk(const char *image)
{
	const struct status_header *h = (const void *)image;
	const struct status_llm *llms = (const void *)(image + h->llms_offset);
	const uint32_t *candidates = (const void *)(image + h->candidates_offset);

	sink += text(image, h->config_name) + text(image, h->pinned) + text(image, h->root_document) +
	        text(image, h->status_document);
	for (uint32_t i = 0; i < h->llm_count; i++)
		sink += walk_llm(image, &llms[i]);
	for (uint32_t i = 0; i < h->candidate_count; i++)
		sink += walk_llm(image, &llms[candidates[i]]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *image = malloc(size > 0 ? size : 1);
	struct err e = ERR_INIT;

	memcpy(image, data, size);
	if (status_validate(image, size, &e) == 0)
		walk(image);
	if (size >= sizeof(struct status_header)) {
		/* Past the three words that no mutation finds by itself. */
		struct status_header *h = (void *)image;

		h->magic = STATUS_MAGIC;
		h->version = STATUS_VERSION;
		h->size = (uint32_t)size;
		h->waiting = h->usable_count == 0;
		if (status_validate(image, size, &e) == 0)
			walk(image);
	}
	free(image);
	return 0;
}
