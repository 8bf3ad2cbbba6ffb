/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON documents of the wire contract, made from a view: compact, keys in the
 * recorded order. Each returns a new string (free()) and its length (len may be NULL),
 * or NULL when out of memory. A view without a configuration shows the defaults. */
#ifndef TT_STATUS_DOCUMENT_H
#define TT_STATUS_DOCUMENT_H

#include "core/status/view.h"

#include <jansson.h>

/* Both end with the generation of the publication (left out before the first one), so that
 * documents of the same generation are known to agree. */
char *document_root(const struct status_view *v, size_t *len); /* GET / */
/* GET /status. The entry of an ejected model ends with ejected_since, ejected_until and
 * ejected_reason, and the document then has a list of all ejected models. */
char *document_status(const struct status_view *v, size_t *len);

/* The same without any snapshot: "initializing". */
char *document_root_initializing(size_t *len);
char *document_status_initializing(size_t *len);

/* doc (an object as made above) with `"stale":true,"stale_since":SECONDS,
 * "stale_reason":TEXT` at its end. */
char *document_stale(const char *doc, size_t doc_len, int64_t since_wall_ms, const char *reason, size_t *len);

/* The same with these members, at least one; the object is stolen. NULL: no memory. */
char *document_with(const char *doc, size_t doc_len, json_t *members, size_t *len);

/* Answer of the command `models`: all LLMs, candidates first, best first. New reference; NULL:
 * out of memory. */
json_t *document_models(const struct status_view *v);

/* How discovery goes, one object for each source; the same in all documents and answers. */
json_t *document_sources(const struct status_view *v);

/* Parts of answers to commands. New references; NULL: out of memory. */
json_t *document_llm_info(const struct llm *l);          /* current_llm.llm_info of /status */
json_t *document_model_brief(const struct llm *l);       /* /refresh: available_models[] */
json_t *document_model_id(const struct llm *l);          /* /select_model, unknown id: available_models[] */
json_t *document_model_info(const struct llm *l);        /* /select_model: model_info */
json_t *document_current_config(const struct config *c); /* /refresh_config: current_config */

/* "Will retry every 3 minutes", "LLM polling is disabled", "Stopped after N attempts". */
void document_next_poll(const struct status_view *v, char *out, size_t size);

/* A document as it is sent: compact, keys in order. free(); NULL: out of memory. */
char *document_text(const json_t *doc, size_t *len);

#endif
