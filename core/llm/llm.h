/* SPDX-License-Identifier: Apache-2.0 */
/* An LLM as a value: where it is, what it can do, how healthy it is. Pure data, no I/O.
 *
 * Strings are owned by the value (freed by llm_clear); NULL = not known. A struct
 * llm belongs to one thread. */
#ifndef TT_LLM_LLM_H
#define TT_LLM_LLM_H

#include "core/base/err.h"
#include "core/config/config.h"

#include <stdbool.h>
#include <stdint.h>

enum llm_kind {
#define LLM_KIND(id, ...) LLM_##id,
#include "core/llm/llm_kinds.def"
	LLM_KINDS
};

enum llm_health { LLM_UNKNOWN, LLM_HEALTHY, LLM_DEGRADED, LLM_UNHEALTHY };

enum llm_tools { LLM_TOOLS_UNKNOWN, LLM_TOOLS_NO, LLM_TOOLS_YES };

/* The members and what they mean are the rows of llm_fields.def. */
struct llm {
#define LLM_NUMBER(type, name, shown) type name;
#define LLM_ENUM(name, last, shown)   enum llm_##name name;
#define LLM_COUNT(name, shown)        unsigned name;
#define LLM_FLAG(name, shown)         bool name;
#define LLM_TEXT(name, shown)         char *name;
#define LLM_PRIVATE(type, name)       type name;
#define LLM_PRIVATE_TEXT(name)        char *name;
#include "core/llm/llm_fields.def"
};

void llm_clear(struct llm *l);                        /* frees the strings; leaves a new value: unknown, latency -1 */
int llm_copy(struct llm *to, const struct llm *from); /* deep; -1: out of memory, to is clear */

/* The name that people see: model_name of a discovered LLM, the model id that is sent to any
 * other, or "Unknown". */
const char *llm_name(const struct llm *l);

/* Its model type; "chat" where none was given. */
const char *llm_type(const struct llm *l);

/* Images can be sent to it (model type vlm, or cloud). */
bool llm_has_vision(const struct llm *l);

/* Tools can be offered to it: never to a completions endpoint; to a discovered LLM only when
 * it is known to support them; to the others unless it is known that they do not; and never once it refused them. */
bool llm_uses_tools(const struct llm *l);
bool llm_tools_apply(enum llm_kind kind, bool uses_completions,
                     enum llm_tools tools); /* the same, of its parts, before it refused any */

/* A discovered LLM can be selected: its type is chat, completion or vlm (case-insensitive),
 * or none was given. */
bool llm_is_selectable(const struct llm *l);

/* What depends on the kind alone: a row of llm_kinds.def. */
struct llm_kind_info {
	const char *text;  /* in logs and documents */
	const char *title; /* of the line in GET / that names the current LLM */
	bool shown_by_url; /* that line shows its URL instead of its name */

	/* Makes the configured one; NULL: this kind is discovered. Fills out and returns 0; 1: none
	 * is configured; -1: an error. out is clear in the latter two cases. */
	int (*configure)(const struct config *c, struct llm *out, struct err *e);

	/* Settings on which its selection depends; LLM_KIND_NO_KEY: none. */
	enum cfg_key enabled;                 /* false: not a candidate, except as a fallback */
	enum cfg_key required;                /* a text; not a candidate without it */
	enum cfg_key fallback;                /* true: if not enabled, a candidate after all other kinds */
	bool must_answer;                     /* usable only after a probe succeeded */
	enum cfg_key omit, extra;             /* of its requests, beside llm.omit and llm.extra */
	const char *reason, *fallback_reason; /* for the log, when it is selected */
};
#define LLM_KIND_NO_KEY CFG_KEYS
const struct llm_kind_info *llm_kind_info(enum llm_kind k);
static inline const char *llm_kind_text(enum llm_kind k)
{
	return llm_kind_info(k)->text;
}

const char *llm_health_text(enum llm_health h);             /* unknown, healthy, degraded, unhealthy */
int llm_health_parse(const char *text, enum llm_health *h); /* -1: none of them */

/* Healthy or degraded. */
static inline bool llm_health_is_up(enum llm_health h)
{
	return h == LLM_HEALTHY || h == LLM_DEGRADED;
}

/* The configured LLMs. Each function fills out and returns 0, or 1 where there is none
 * (cloud: neither enabled nor fallback, or no token; local: switched off), or -1 on an
 * error (invalid URL, out of memory); out is clear in both cases. llm_container understands
 * `name` (port 7000), `host:port` and a full URL; a URL without a path gets
 * /v1/chat/completions. model is set where the configuration names it, health is
 * LLM_UNKNOWN, instance is 0 (the caller sets it). */
#define LLM_KIND_CONFIGURED(id, name, ...) int llm_##name(const struct config *c, struct llm *out, struct err *e);
#define LLM_KIND(id, ...)
#include "core/llm/llm_kinds.def"

/* Sets l->model to the first that is there: CLOUD_MODEL_NAME (cloud only), hf_model_id,
 * model_name, HF_MODEL_PATH, LOCAL_MODEL_NAME where it was set explicitly, first_served (the
 * first id of /v1/models, may be NULL). Where none is, l->model stays. -1: out of memory. */
int llm_choose_model(struct llm *l, const struct config *c, const char *first_served);

/* The URL, with its host and port as discovery.hosts maps them; unchanged where it maps none. free(); NULL with
 * e: it is none, or out of memory. */
char *llm_map_host(const char *url, const struct config *c, struct err *e);

/* Splits an http(s) URL; without a scheme it is http. host has no brackets, port is
 * the scheme's default where none was given. On an error out is clear. */
struct llm_endpoint {
	char *scheme, *host;
	uint16_t port;
	bool literal; /* host is an IP address */
};
int llm_endpoint_parse(const char *url, struct llm_endpoint *out, struct err *e);
void llm_endpoint_clear(struct llm_endpoint *p);

/* URL of another path on the same server: ("http://h:7000/v1/chat/completions",
 * "/v1/models") -> "http://h:7000/v1/models". What stands before the version is kept
 * ("https://h/openai/v1/chat/completions" has /openai/health), and paths below /v1 are below what
 * the version really is ("https://h/api/v4/chat/completions" has its models at /api/v4/models).
 * The query is not kept. free(); NULL: invalid URL or out of memory. */
char *llm_sibling_url(const char *url, const char *path);

/* text as a complete URL: with http:// if it has no scheme, with default_path if it names
 * only a server, without a fragment. Only http and https, no user name (URLs are shown
 * and logged). free(); NULL with e. */
char *llm_full_url(const char *text, const char *default_path, struct err *e);

/* Sets l->url and l->uses_completions from text, to which what is missing of a chat endpoint is
 * added: /v1/chat/completions to a server, /chat/completions to the base of an API (".../v1",
 * ".../v1beta/openai", ".../openai/deployments/NAME") or to one of its other endpoints
 * (".../v1/models"). l->given_url is text where it was more than a server. Any other path is used
 * as it is, and the query is kept. On an error url is NULL. */
int llm_set_url(struct llm *l, const char *text, struct err *e);

#endif
