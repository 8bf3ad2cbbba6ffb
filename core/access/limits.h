/* SPDX-License-Identifier: Apache-2.0 */
/* How much each client takes, counted over all workers of this host: requests and tokens per minute
 * (GCRA: one number for each, the time at which the client has paid for all that it took), and turns
 * at once.
 *
 * The counts are in a file of the run directory, which all workers map (core/status/shared_file.h). A decision
 * changes up to five numbers, all or none. A client whose counts are as if it had never come makes room for another
 * one; nothing is forgotten by that. One thread. */
#ifndef TT_ACCESS_LIMITS_H
#define TT_ACCESS_LIMITS_H

#include "core/access/access.h"
#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define LIMITS_FILE        "limits.v2"
#define LIMITS_CLIENTS_MAX 16384u /* that are counted at once; a power of two */

struct limits;

/* After the fork, like counters_open. now_ns: clock_boot_ns, or the clock of a test; it is read under the lock, so that
 * decisions have their times in the order in which they are made. NULL with e: the file cannot be made, or used. */
struct limits *limits_open(const char *run_dir, int64_t (*now_ns)(void), struct err *e);
void limits_close(struct limits *l); /* NULL is fine */

/* Once a second: what dead workers held is given back, and a file that is gone is made again. */
void limits_tick(struct limits *l);

enum limits_verdict {
	LIMITS_GRANTED,
	LIMITS_REQUESTS,     /* of the client */
	LIMITS_TOKENS,       /* of the client */
	LIMITS_TURNS,        /* of the client */
	LIMITS_ALL_REQUESTS, /* of all clients together */
	LIMITS_ALL_TOKENS,
	LIMITS_NO_ROOM, /* too many different clients at once */
};

struct limits_request {
	uint64_t client;          /* not 0 */
	struct access_limits own; /* of the client; 0: none */
	int64_t all_requests, all_tokens;
	int64_t tokens; /* that the turn is expected to take */
	bool forced;    /* counted, never refused */
};

/* What was taken, for limits_give. */
struct limits_share {
	uint64_t client, file; /* file 0: nothing */
	uint32_t slot;
	int64_t tokens, all_tokens; /* reserved */
	struct access_limits own;
	int64_t all_tokens_limit;
};

struct limits_answer {
	struct limits_share share;           /* if it is granted */
	struct access_rate requests, tokens; /* of the client; where it has no limit, of all */
	int64_t retry_ns;                    /* if it is not: when it could be */
};

/* A limit of which so much is taken that all is paid after owed_ns. */
struct access_rate limits_rate(int64_t owed_ns, int64_t limit);

/* A file that cannot be used refuses nobody. */
enum limits_verdict limits_take(struct limits *l, const struct limits_request *r, struct limits_answer *out);

/* The turn has ended and took so many tokens (-1: as many as reserved). */
void limits_give(struct limits *l, const struct limits_share *s, int64_t tokens);

#endif
