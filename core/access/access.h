/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls, what they may use, and how much: API keys, signed tokens (JWT), the web server's word,
 * and limits.
 *
 * Each worker has one struct access. It reads the file of keys (access.keys_file) and the issuer's
 * public keys, which tt-agentd publishes, in the background whenever they change: a change is in
 * force within a second. Limits are counted in a file that all workers of the host map, so that they
 * are exact over all of them; or in Redis, where several hosts share one. One thread, on the worker's
 * loop; nothing blocks.
 *
 *   access_identify -> (access_may_use_model) -> access_turn_begin -> access_turn_end
 *
 * No key, token or header value is in any text that these functions return. */
#ifndef TT_ACCESS_ACCESS_H
#define TT_ACCESS_ACCESS_H

#include "core/base/background.h"
#include "core/base/err.h"
#include "core/config/config.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access;

/* background outlives it. NULL with e: no memory. */
struct access *access_new(struct event_base *base, const char *run_dir, struct background *background, struct err *e);
void access_free(struct access *a); /* after the last turn has ended; NULL is fine */

/* The issuer's public keys as tt-agentd fetched them, in the run directory. unknown_key is called for each
 * token that none of them fits: tt-agentd may fetch them again. */
#define ACCESS_JWKS_FILE "jwks.json"
void access_on_unknown_key(struct access *a, void (*unknown_key)(void *arg), void *arg);
/* Reads the files of keys again in the background if they have changed, which it also does once a second. */
void access_check_files(struct access *a);

/* alone is called when the Redis that hosts share cannot be reached, so that limits are counted on this host alone,
 * and when it can be again. */
void access_on_alone(struct access *a, void (*alone)(void *arg, bool is_alone), void *arg);

/* Whether a configuration names another Redis than the one in use, which only a new struct access can use. */
bool access_is_outdated(const struct access *a, const struct config *c);

/* The configuration in force; at start and whenever it changes. */
void access_configure(struct access *a, const struct config *c);

/* ---- refusals ------------------------------------------------------------------------------ */

/* One limit as it stands; limit 0: there is none. */
struct access_rate {
	int64_t limit, remaining, reset_ms; /* reset: until it is full again */
};

/* What a client is told, whatever the protocol: in the OpenAI form
 * {"error":{"message","type","param":null,"code"}}. */
struct access_refusal {
	int status;             /* 401 (send WWW-Authenticate: Bearer), 403, 429, or 503 */
	const char *type;       /* "invalid_request_error", "requests", "tokens"; static */
	const char *code;       /* "invalid_api_key", "rate_limit_exceeded", ...; static */
	char message[200];      /* one sentence, plain ASCII without quotes and backslashes */
	int64_t retry_after_ms; /* 0: none */
	struct access_rate request_rate, token_rate;
};

/* ---- who calls ----------------------------------------------------------------------------- */

enum access_priority { ACCESS_LOW, ACCESS_NORMAL, ACCESS_HIGH };

/* Each per minute, or at once; 0 = no limit. */
struct access_limits {
	int64_t requests, tokens, turns;
};

/* Shared and never changed; lives while somebody has a reference, also after its key was revoked. */
struct access_identity {
	const char *subject; /* the user to whom conversations belong; "" = nobody is known */
	const char *key_id;  /* of the key, for logs and usage rows; "" = not by a key. No secret */
	struct access_limits limits;
	enum access_priority priority;
	bool admin; /* may use the admin endpoints, whatever the web server says */
};

struct access_identity *access_identity_ref(struct access_identity *i);
void access_identity_unref(struct access_identity *i); /* NULL is fine */

/* Names the client among those whose turns are counted, or wait; 0: nobody is known. */
uint64_t access_client_number(const struct access_identity *i);

/* A client's headers and what the web server says; NULL: there is none. Values may be of any length
 * and need not be UTF-8. */
struct access_credentials {
	const char *authorization; /* "Bearer KEY" */
	const char *api_key;       /* x-api-key (Anthropic), or api-key (Azure) */
	const char *user;          /* whom the web server authenticated; only if it is trusted to say so */
	const char *address;       /* REMOTE_ADDR */
	bool is_api;               /* for an endpoint below /v1 */
};

/* Whether a request needs a key or token (access.require); false: access_identify never refuses. */
bool access_is_required(const struct access *a, bool is_api);

/* A reference for the caller. NULL with r: refused, with status 401 (or 503: no memory). Where no
 * credentials are required, the headers are not read and the web server's word counts alone. */
struct access_identity *access_identify(struct access *a, const struct access_credentials *c, struct access_refusal *r);

/* ---- what they may use ----------------------------------------------------------------------- */

/* By the key's patterns, as of fnmatch: "llama-*". Without patterns, everything. */
bool access_may_use_model(const struct access_identity *i, const char *model);
bool access_may_use_tool(const struct access_identity *i, const char *tool);

/* Fills r for a model that the key does not allow: 403, model_not_allowed. */
void access_refuse_model(struct access_refusal *r);

/* ---- how much ---------------------------------------------------------------------------------- */

struct access_turn;

struct access_turn_request {
	struct access_identity *identity; /* the turn takes a reference of its own */
	int64_t tokens;                   /* estimate, prompt and answer; corrected at the end */
	bool resumed;                     /* was admitted before, in a worker that died: never refused */
	/* The key was revoked, and running answers are to end: once, from the loop, never from within
	 * access_turn_begin. May be NULL. */
	void (*revoked)(void *arg);
	/* Of a turn that was pending: once, from the loop. r NULL: it may run. Else it is refused, and gone. */
	void (*decided)(void *arg, const struct access_refusal *r);
	void *arg;
};

/* Takes a request, the estimated tokens and a place among the turns at once, all or none. NULL with
 * r: refused (429 with retry_after_ms, 503: no memory). Where hosts count together, the turn is pending
 * at first: it must not run before it is decided. */
struct access_turn *access_turn_begin(struct access *a, const struct access_turn_request *t, struct access_refusal *r);
bool access_turn_is_pending(const struct access_turn *t);
/* Also of a pending one, which is then not decided any more. tokens: what the turn's attempts really took,
 * prompt and answer; -1: not known, the estimate stands. NULL is fine. */
void access_turn_end(struct access_turn *t, int64_t tokens);

/* Room for the lines below, and for those of a refusal. */
#define ACCESS_HEADERS_MAX 400
/* "x-ratelimit-limit-requests: 60\r\n...", each line ended by \r\n; "" where the client has no
 * limits. As of access_turn_begin. */
void access_turn_headers(const struct access_turn *t, char out[ACCESS_HEADERS_MAX]);
/* The same of a refusal, with "WWW-Authenticate: Bearer\r\n" (401) and "Retry-After: 3\r\n". */
void access_refusal_headers(const struct access_refusal *r, char out[ACCESS_HEADERS_MAX]);

#endif
