/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's state as one value: what is published, and what documents are made from.
 * It borrows everything that it points to. */
#ifndef TT_STATUS_VIEW_H
#define TT_STATUS_VIEW_H

#include "core/config/config.h"
#include "core/llm/llm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct status_polling {
	uint64_t attempts; /* made since the last LLM was lost */
	bool exhausted;    /* polling.max_attempts is reached */
};

struct status_view {
	const struct config *config; /* NULL: none was published yet */
	const char *config_name;     /* file name in the run directory, "config.17"; NULL */
	const struct llm *llms;      /* all known LLMs, in the backend's order */
	size_t llm_count;
	const size_t *order; /* candidates, best first (select_order) */
	size_t order_count;
	size_t usable_count; /* that many candidates can be used, they come first; 0: waiting */
	const char *pinned;  /* deploy_id or NULL */
	struct status_polling polling;
	const char *const *tools; /* names of those that config provides, ended by NULL; NULL: none */
	bool web_search;          /* one of them searches the web */
	bool document_search;     /* one of them searches documents */
	char *const *tokens;      /* llm_count entries: bearer token to send, or NULL; NULL: none at all */
	uint64_t generation;      /* set by status_publish */
};

/* Index of the current LLM (order[0] when anything is usable), or -1. */
static inline long status_view_current(const struct status_view *v)
{
	return v->usable_count > 0 ? (long)v->order[0] : -1;
}

#endif
