/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of struct access share; nobody else includes this.
 *
 * access.c           its life, and the configuration
 * access_files.c     the files of keys, read whenever they change
 * access_identify.c  who calls
 * access_turn.c      how much they may use
 * access_refusal.c   what a client is told of limits and refusals
 *
 * Each calls only functions of those below it. */
#ifndef TT_ACCESS_ACCESS_PRIVATE_H
#define TT_ACCESS_ACCESS_PRIVATE_H

#include "core/access/access.h"
#include "core/access/crypto.h"
#include "core/access/identity.h"
#include "core/access/jwt.h"
#include "core/access/keys.h"
#include "core/access/limits.h"
#include "core/access/shared_limits.h"
#include "core/base/clock.h"

#include <sys/queue.h>
#include <sys/types.h>

#define ACCESS_CHECK_MS 250  /* how often files are checked; a change is in force within a second */
#define ACCESS_RETRY_MS 1000 /* after a file could not be used */

enum level { REQUIRE_NONE, REQUIRE_API, REQUIRE_ALL };

/* A file as it was when it was last read. */
struct seen {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed, modified;
};

/* A file that is read in the background when it changes. */
struct watched {
	char *path; /* NULL: none */
	struct seen seen;
	struct background_job *job; /* NULL: it is not being read */
	int64_t retry_ms;           /* CLOCK_MONOTONIC: not before; 0: at once */
	char error[300];            /* that was logged */
};

struct access {
	struct event_base *base;
	struct background *background;
	char *run_dir;
	struct event *timer;
	struct digester *digester;
	struct identity *nobody; /* of all requests without a user */

	enum level level;
	struct access_limits defaults; /* of who has none of his own */
	int64_t all_requests, all_tokens;

	/* access_files.c */
	struct watched keys_file, jwks_file;
	struct keys *keys; /* NULL: not read yet */

	/* access_identify.c */
	char *issuer, *audience, *secret;
	int64_t leeway_ms;
	struct jwt_keys *jwt_keys; /* NULL: no token is accepted */
	struct verified *verified; /* tokens; made for the first one */
	void (*unknown_key)(void *arg);
	void *unknown_key_arg;

	/* access_turn.c */
	struct limits *limits; /* opened when there is one */
	int64_t limits_due_ms;
	bool limits_failed;  /* logged */
	char *redis_url;     /* of the Redis that hosts share; NULL: none */
	struct redis *redis; /* NULL: this host counts alone */
	struct shared_limits *shared;
	unsigned hosts_configured; /* 0: as tt-agentd sees them */
	unsigned hosts;            /* among whom limits are divided while Redis is away */
	bool is_configured;
	bool is_shared, is_alone; /* Redis can be reached; it cannot */
	void (*alone)(void *arg, bool is_alone);
	void *alone_arg;
	TAILQ_HEAD(, access_turn) turns;
};

struct access_turn {
	TAILQ_ENTRY(access_turn) next; /* unless it is pending */
	struct access *access;
	struct access_identity *identity;
	bool pending;
	struct limits_request wanted;
	struct limits_share share;
	struct shared_share *shared; /* in its place, where hosts count together; NULL: none */
	struct access_rate requests, tokens;
	void (*revoked)(void *arg);
	void (*decided)(void *arg, const struct access_refusal *r);
	void *arg;
	bool ends; /* its key was revoked: to be told */
};

/* Arms the timer that checks the files and the counted limits. */
static inline void access_wake(struct access *a)
{
	const struct timeval tv = clock_timeval_ms(ACCESS_CHECK_MS);

	event_add(a->timer, &tv);
}

/* ---- access_files.c ---- */

/* path NULL: none. */
void access_files_watch_keys(struct access *a, const char *path);
void access_files_watch_jwks(struct access *a, const char *path);
void access_files_check(struct access *a); /* reads those that have changed, in the background */
void access_files_forget(struct watched *w);

/* ---- access_identify.c ---- */

void access_identify_forget(struct access *a); /* the tokens that were verified */

/* ---- access_turn.c ---- */

void access_turn_configure(struct access *a);
void access_turn_tick(struct access *a); /* what dead workers held is given back */
/* Turns whose key was revoked end, if the administrator wants that. */
void access_turn_end_revoked(struct access *a);

/* ---- access_refusal.c ---- */

/* Always NULL. */
struct access_identity *access_refuse_credentials(struct access_refusal *r, const char *message);
struct access_identity *access_refuse_memory(struct access_refusal *r);
void access_refuse_limit(struct access_refusal *r, const struct limits_request *wanted, enum limits_verdict v,
                         const struct limits_answer *answer);

#endif
