/* SPDX-License-Identifier: Apache-2.0 */
/* What the run directory still tells when no daemon answers. */
#include "agentctl/admin.h"

#include "core/llm/llm.h"
#include "core/status/counters.h"
#include "core/status/document.h"
#include "core/status/reader.h"

#include <stdlib.h>
#include <string.h>

#define NOBODY "tt-agentd does not answer"

static void mark_stale(json_t *document, const struct status_reader *r, const struct status_snapshot *s)
{
	int64_t since = status_header(s)->published_ms;
	const char *reason = NULL;

	if (!status_is_stale(r, &since, &reason) || reason == NULL)
		reason = NOBODY;
	json_object_set_new(document, "stale", json_true());
	json_object_set_new(document, "stale_since", json_real((double)since / 1000));
	json_object_set_new(document, "stale_reason", json_string(reason));
}

/* make(s) with the mark, or NULL. */
static json_t *from_snapshot(const struct admin *a, json_t *(*make)(const struct status_snapshot *s))
{
	struct err e = ERR_INIT;
	struct status_reader *r = status_reader_new(a->run_dir, &e);
	struct status_snapshot *s = r != NULL ? status_acquire(r) : NULL;
	json_t *document = s != NULL ? make(s) : NULL;

	if (document != NULL)
		mark_stale(document, r, s);
	status_release(s);
	status_reader_free(r);
	return document;
}

static json_t *status_of(const struct status_snapshot *s)
{
	struct status_text text = status_header(s)->status_document;
	const char *document = status_text(s, text);

	return document != NULL ? json_loadb(document, text.length, 0, NULL) : NULL;
}

/* As the command `models` shows it. NULL: out of memory. */
static json_t *models_of(const struct status_snapshot *s)
{
	const struct status_header *h = status_header(s);
	struct llm *llms = calloc(h->llm_count + 1, sizeof *llms);
	size_t *order = calloc(h->candidate_count + 1, sizeof *order);
	struct status_view view = {
		.llms = llms,
		.order = order,
		.order_count = h->candidate_count,
		.usable_count = h->usable_count,
		.pinned = status_text(s, h->pinned),
		.generation = h->generation,
	};
	json_t *document = NULL;

	if (llms == NULL || order == NULL)
		goto out;
	for (size_t rank = 0; rank < view.order_count; rank++)
		order[rank] = (size_t)(status_candidate(s, rank) - status_llm(s, 0));
	for (; view.llm_count < h->llm_count; view.llm_count++)
		if (status_copy_llm(s, view.llm_count, &llms[view.llm_count]) < 0)
			goto out;
	document = document_models(&view);
out:
	for (size_t i = 0; i < view.llm_count; i++)
		llm_clear(&llms[i]);
	free(order);
	free(llms);
	return document;
}

json_t *admin_stale_status(const struct admin *a)
{
	json_t *document = from_snapshot(a, status_of);

	if (document != NULL)
		admin_add_counters(a, document);
	return document;
}

json_t *admin_stale_models(const struct admin *a)
{
	return from_snapshot(a, models_of);
}

void admin_add_counters(const struct admin *a, json_t *status)
{
	int64_t sums[COUNTERS];
	json_t *counters;

	if (counters_sum(a->run_dir, sums, NULL) < 0)
		return;
	counters = json_object();
	for (unsigned i = 0; i < COUNTERS; i++)
		json_object_set_new(counters, counter_name((enum counter)i), json_integer(sums[i]));
	json_object_set_new(status, "counters", counters);
}
