/* SPDX-License-Identifier: Apache-2.0 */
/* An LLM as a value: where it is, how it is asked, how it fares. Pure data, no I/O.
 *
 * Strings are owned by the value (free'd by llm_clear); NULL = not known. A struct
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

struct llm {
	enum llm_kind kind;

	/* As the backend deployed it (LLM_DISCOVERED only); shown unchanged. */
	char *deploy_id;
	char *container_name;
	char *internal_url; /* as the backend says it, usually without a scheme */
	char *health_url;   /* likewise */
	char *model_name;
	char *model_type; /* "chat", "vlm", ...; NULL: none was given */
	char *hf_model_id;
	char *jwt_secret; /* the deployment's own; never shown, never logged */

	/* How it is asked. */
	char *url;              /* full URL of the chat or completions endpoint */
	char *probe_url;        /* full URL of its /health; NULL: it is not probed (cloud) */
	char *model;            /* id sent as "model"; NULL while nobody told it */
	char *resolve;          /* "host:port:addr[,addr]" for CURLOPT_RESOLVE; NULL: literal or unknown */
	bool continues;         /* goes on with an answer that another one started (vLLM) */
	bool completions;       /* speaks /v1/completions: prompt instead of messages */
	enum llm_tools tools;   /* what was told or probed; llm_uses_tools decides */
	int64_t context_length; /* tokens; 0 = unknown */

	/* How it fares. */
	enum llm_health health;
	unsigned failures;  /* probes or real turns that failed in a row */
	unsigned successes; /* probes that succeeded in a row while it is unhealthy */
	unsigned hangs;     /* real completions that failed in a row */
	bool hung;          /* unhealthy until a real completion succeeds, whatever /health says */
	bool loading;       /* its last probe said so */
	int64_t checked_ms; /* wall clock of the last probe; 0 = never */
	int64_t latency_ms; /* of the last successful probe; -1 = none */
	char *reason;       /* why it is not healthy, one line; NULL when it is */
	int64_t ejected_since_ms, ejected_until_ms; /* wall clock; 0 = not ejected */
	uint64_t instance;                          /* one number per deployment: a redeployed one gets another */
};

void llm_clear(struct llm *l);                        /* frees the strings; the value is as new: unknown, latency -1 */
int llm_copy(struct llm *to, const struct llm *from); /* deep; -1: no memory, to is clear */

/* The name that people see: model_name of a discovered one; CLOUD_MODEL_NAME of the
 * cloud's; the model id that a container or local host is asked for; "Unknown". */
const char *llm_name(const struct llm *l);

/* Its model type; where none was given it counts, and is shown, as "chat". */
const char *llm_type(const struct llm *l);

/* Images can be sent to it (model type vlm, or the cloud's). */
bool llm_sees_images(const struct llm *l);

/* Tools can be offered to it: never to a completions endpoint; to a discovered one
 * where it is known that it can; to the others unless it is known that they can't. */
bool llm_uses_tools(const struct llm *l);
bool llm_tools_apply(enum llm_kind kind, bool completions, enum llm_tools tools); /* the same, of its parts */

/* A discovered one may be selected: type chat, completion, vlm (in any case), or
 * none given. */
bool llm_is_selectable(const struct llm *l);

/* What depends on the kind alone: a row of llm_kinds.def. */
struct llm_kind_info {
	const char *text; /* in logs and documents */

	/* Makes the one that the configuration defines; NULL: they are discovered. Fills out and
	 * returns 0; 1: it defines none; -1: an error. out is clear in the latter two cases. */
	int (*configure)(const struct config *c, struct llm *out, struct err *e);

	/* Settings on which its selection depends; LLM_KIND_NO_KEY: none. */
	enum cfg_key enabled;                 /* false: not a candidate, except as a fallback */
	enum cfg_key required;                /* a text; not a candidate without it */
	enum cfg_key fallback;                /* true: a candidate after all kinds where it is not enabled */
	bool must_answer;                     /* usable only after a probe succeeded */
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

/* It answers: healthy or degraded. */
static inline bool llm_health_is_up(enum llm_health h)
{
	return h == LLM_HEALTHY || h == LLM_DEGRADED;
}

/* The LLMs that the configuration names by itself. Each fills out and returns 0;
 * returns 1 where the configuration names none (cloud: neither enabled nor fallback,
 * or no token; local: switched off), -1 on an error (bad URL, no memory), with out
 * clear in both cases. llm_container understands `name` (port 7000), `host:port` and
 * a full URL; a URL without a path gets /v1/chat/completions. model is set as far as
 * the configuration knows it, health is LLM_UNKNOWN, instance 0 (the caller's to set). */
int llm_cloud(const struct config *c, struct llm *out, struct err *e);
int llm_container(const struct config *c, struct llm *out, struct err *e);
int llm_local(const struct config *c, struct llm *out, struct err *e);

/* Sets l->model: CLOUD_MODEL_NAME for the cloud's; else hf_model_id, else model_name,
 * else HF_MODEL_PATH, else LOCAL_MODEL_NAME where set explicitly, else first_listed
 * (the first id of /v1/models, may be NULL). Where none of them names one, l->model
 * stays as it is. -1: no memory. */
int llm_choose_model(struct llm *l, const struct config *c, const char *first_listed);

/* Splits an http(s) URL; without a scheme it is http. host has no brackets, port is
 * the scheme's where none was given. On an error out is clear. */
struct llm_endpoint {
	char *scheme, *host;
	uint16_t port;
	bool literal; /* host is an IP address */
};
int llm_endpoint_parse(const char *url, struct llm_endpoint *out, struct err *e);
void llm_endpoint_clear(struct llm_endpoint *p);

/* URL of another path on the same server: ("http://h:7000/v1/chat/completions",
 * "/v1/models") -> "http://h:7000/v1/models". What stands before /v1/chat/completions
 * or /v1/completions is kept ("https://h/openai/v1/chat/completions" has its models
 * at /openai/v1/models), the query is not. free(); NULL: bad URL or no memory. */
char *llm_sibling_url(const char *url, const char *path);

/* text as a whole URL: http:// in front where it has no scheme, default_path where
 * it names only a server, no fragment. Only http and https, no user name in it (URLs
 * are shown and logged). free(); NULL with e. */
char *llm_full_url(const char *text, const char *default_path, struct err *e);

/* Sets l->url (default path /v1/chat/completions) and l->completions from text. On
 * an error url is NULL. */
int llm_set_url(struct llm *l, const char *text, struct err *e);

#endif
