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

/* A service that lists which LLMs are deployed. Times are of the wall clock; 0: none. */
struct status_source {
	const char *name; /* "backend" */
	const char *url;  /* that is asked; NULL: never yet */
	enum { SOURCE_OFF, SOURCE_PENDING, SOURCE_ANSWERS, SOURCE_FAILS } state;
	const char *error;     /* SOURCE_FAILS: why */
	int64_t since_ms;      /* it is in this state */
	int64_t answered_ms;   /* its last valid answer */
	size_t found, skipped; /* LLMs of that, and entries that are none */
	int64_t next_ms;       /* SOURCE_PENDING, SOURCE_FAILS: when it is asked again; 0: only on request */
};

/* An LLM that gets no new turns, because an admin drains it. */
struct status_drain {
	char *name; /* as status_drain_name() gives it */
	char *by;   /* who did it */
	int64_t since_ms;
};

/* The name under which an LLM is drained: its deploy_id, or its kind if it was configured. */
static inline const char *status_drain_name(const struct llm *l)
{
	return l->deploy_id != NULL ? l->deploy_id : llm_kind_text(l->kind);
}

struct status_view {
	const struct config *config; /* NULL: none was published yet */
	const char *config_name;     /* file name in the run directory, "config.17"; NULL */
	const struct llm *llms;      /* all known LLMs, in the backend's order */
	size_t llm_count;
	const size_t *order; /* candidates, best first (select_order) */
	size_t order_count;
	size_t usable_count;               /* that many candidates can be used, they come first; 0: waiting */
	const char *pinned;                /* deploy_id or NULL */
	const struct status_drain *drains; /* those are no candidates; also of LLMs that are not known now */
	size_t drain_count;
	struct status_polling polling;
	const struct status_source *sources; /* NULL: nothing is known of them */
	size_t source_count;
	const char *const *tools; /* names of those that config provides, ended by NULL; NULL: none */
	const json_t *mcp;        /* the state of MCP servers, an array; NULL: there are none */
	const json_t *hosts;      /* those that work together, an object; NULL: this one is alone */
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
