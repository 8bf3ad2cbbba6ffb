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

enum llm_kind { LLM_CLOUD, LLM_CONTAINER, LLM_DISCOVERED, LLM_LOCAL };

enum llm_health { LLM_UNKNOWN, LLM_HEALTHY, LLM_DEGRADED, LLM_UNHEALTHY };

enum llm_tools { LLM_TOOLS_UNKNOWN, LLM_TOOLS_NO, LLM_TOOLS_YES };

struct llm {
	enum llm_kind kind;

	/* As the backend deployed it (LLM_DISCOVERED only); shown unchanged. */
	char *deploy_id;
	char *container_name;
	char *internal_url; /* without a scheme, as the backend says it */
	char *health_url;   /* likewise */
	char *model_name;
	char *model_type; /* "chat", "vlm", ...; NULL: none was given */
	char *hf_model_id;
	char *jwt_secret; /* the deployment's own; never shown, never logged */

	/* How it is asked. */
	char *url;         /* full URL of the chat or completions endpoint */
	char *probe_url;   /* full URL of its /health; NULL: it is not probed (cloud) */
	char *model;       /* id sent as "model"; NULL until /v1/models told it */
	char *resolve;     /* "host:port:addr[,addr]" for CURLOPT_RESOLVE; NULL: literal or unknown */
	bool completions;  /* speaks /v1/completions: prompt instead of messages */
	enum llm_tools tools;
	int64_t context_length; /* tokens; 0 = unknown */

	/* How it fares. */
	enum llm_health health;
	unsigned failures;      /* probes or real turns that failed in a row */
	int64_t checked_ms;     /* wall clock of the last probe; 0 = never */
	int64_t latency_ms;     /* of the last successful probe; -1 = none */
	char *reason;           /* why it is not healthy, one line; NULL when it is */
	int64_t ejected_since_ms, ejected_until_ms; /* wall clock; 0 = not ejected */
	uint64_t instance;      /* one number per deployment: a redeployed one gets another */
};

void llm_clear(struct llm *l); /* frees the strings, zeroes the value */
int llm_copy(struct llm *to, const struct llm *from); /* deep; -1: no memory, to is clear */

/* The name that people see: model_name of a discovered one; CLOUD_MODEL_NAME of the
 * cloud's; the model id that a container or local host is asked for; "Unknown". */
const char *llm_name(const struct llm *l);

/* Images can be sent to it (model type vlm, or the cloud's). */
bool llm_sees_images(const struct llm *l);

/* May be selected by discovery: type chat, completion, vlm, or none given. */
bool llm_is_selectable(const struct llm *l);

const char *llm_kind_text(enum llm_kind k);     /* cloud, container, discovered, local */
const char *llm_health_text(enum llm_health h); /* unknown, healthy, degraded, unhealthy */
int llm_health_parse(const char *text, enum llm_health *h);

/* The LLMs that the configuration names by itself. Each returns 0 with the value
 * made, 1 where the configuration names none, -1 on an error (bad URL, no memory).
 * llm_container understands `name`, `host:port` and a full URL. */
int llm_cloud(const struct config *c, struct llm *out, struct err *e);
int llm_container(const struct config *c, struct llm *out, struct err *e);
int llm_local(const struct config *c, struct llm *out, struct err *e);

/* Sets l->model by the contract: hf_model_id, else model_name, else HF_MODEL_PATH,
 * else LOCAL_MODEL_NAME where set explicitly, else first_listed (the first id of
 * /v1/models, may be NULL). */
int llm_choose_model(struct llm *l, const struct config *c, const char *first_listed);

/* Splits a full http(s) URL; host without brackets. Uses libcurl's URL parser. */
struct llm_endpoint {
	char *scheme, *host;
	uint16_t port;
	bool literal; /* host is an IP address */
};
int llm_endpoint_parse(const char *url, struct llm_endpoint *out, struct err *e);
void llm_endpoint_clear(struct llm_endpoint *p);

/* URL of another path on the same server: ("http://h:7000/v1/chat/completions",
 * "/v1/models") -> "http://h:7000/v1/models". free(); NULL: bad URL or no memory. */
char *llm_sibling_url(const char *url, const char *path);

#endif
