/* SPDX-License-Identifier: Apache-2.0 */
/* Asks an LLM for its models (GET /v1/models) and, where that names no context length, for the
 * other documents in which servers of its kind have it. */
#ifndef TT_PROBE_MODELS_H
#define TT_PROBE_MODELS_H

#include "core/http/http.h"
#include "core/llm/llm.h"
#include "core/llm/model_list.h"

struct models_probe;

struct models_handlers {
	/* The answer to GET /v1/models; entry is NULL where it is none of a list, or out of memory
	 * (errno is ENOMEM then). Once. False: the probe ends here, and done follows. */
	bool (*models)(void *arg, const struct http_result *r, const struct model_list_entry *entry);
	/* The end: the context length, 0 where nothing names it, and the path of what did. Once, unless
	 * cancelled. The probe is gone afterwards. */
	void (*done)(void *arg, int64_t context, const char *path);
};

struct models_request {
	const struct llm *llm; /* url, and model: the one that is wanted, or NULL */
	const char *bearer, *ca_file, *proxy;
	int64_t deadline_ms; /* of each document */
	bool only_list;      /* asks for nothing but /v1/models */
};

/* The request is used during the call only; handlers must outlive the probe. Errors are reported by
 * models. NULL: out of memory. Callbacks come from the loop, never from within this call. */
struct models_probe *models_probe_start(struct http *http, const struct models_request *r,
                                        const struct models_handlers *handlers, void *arg);
/* No callback follows. Not from within one. */
void models_probe_cancel(struct models_probe *p);

#endif
