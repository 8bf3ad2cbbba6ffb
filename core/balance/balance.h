/* SPDX-License-Identifier: Apache-2.0 */
/* Which of several replicas of a model a turn is sent to, and how much each of them does now.
 *
 * Replicas are LLMs that serve the same model, and of which none is preferred to the others: a group. A turn takes a
 * place at one of them for each attempt, and gives it back when the attempt has ended. The places are counted over
 * all workers of this host in a file of the run directory (core/status/shared_file.h), so that every worker sees
 * what the others sent; what a dead worker held is given back within a second.
 *
 * A place is taken at the replica with the least load, that is turns in flight by capacity, of those that have room;
 * equal ones in no order. A thread stays with the replica that answered it last, which may have its beginning in its
 * cache, while the load there is no more than 1.25 times the group's mean, and one. The text of a request decides
 * nothing: a system prompt that all share would send all to one.
 *
 * The capacity of a replica is how many turns it can run at once: as configured, and not more than was learned from
 * its refusals (429) and from the queue of its server. What was learned grows again while nothing is refused. A
 * replica that is new in its group, or came back to it, gets its share by degrees.
 *
 * One thread, but processes as many as one likes. */
#ifndef TT_BALANCE_BALANCE_H
#define TT_BALANCE_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BALANCE_FILE         "places.v1"
#define BALANCE_LLMS_MAX     1024u /* that are counted; further ones are without limit */
#define BALANCE_REPLICAS_MAX 64u   /* of a group among which one is chosen */
#define BALANCE_CAPACITY_MAX 60000 /* turns at once; more is no limit worth the name */

struct balance;

/* After the fork, like counters_open. A file that cannot be used is logged, and tried again by balance_tick. NULL: no
 * memory. All functions below take that, and count nothing. */
struct balance *balance_open(const char *run_dir);
void balance_close(struct balance *b);
/* Once a second: what dead workers held is given back, what was learned grows, and a file that is gone is made again.
 */
void balance_tick(struct balance *b, int64_t now_ns);

/* Names a thread, or a group: begin with 0, and continue with each further text. Never 0. */
uint64_t balance_hash(uint64_t begun, const char *text);

/* ---- a place ------------------------------------------------------------------------------------------- */

struct balance_replica {
	uint64_t instance; /* of the LLM */
	bool degraded;     /* it counts as half of another one */
};

struct balance_request {
	uint64_t thread;                        /* balance_hash of the subject and the thread; 0: it has none */
	const struct balance_replica *replicas; /* that can be used now, 1 to BALANCE_REPLICAS_MAX */
	size_t count;
	int64_t warmup_ns; /* how long a new replica's share grows; 0: it has all of it at once */
	bool forced;       /* takes a place even where all replicas are full */
	int64_t now_ns;    /* CLOCK_BOOTTIME */
};

/* What was taken, for balance_give. */
struct balance_place {
	uint64_t file; /* 0: nothing is counted, or nothing was taken */
	uint64_t instance, thread;
	uint32_t row;
	int64_t began_ns;
};

/* Takes a place at one of the replicas and returns its index; -1: all are full. Where nothing can be counted, it is any
 * of them. */
int balance_take(struct balance *b, const struct balance_request *r, struct balance_place *out);

enum balance_end {
	BALANCE_ANSWERED,  /* its thread stays there */
	BALANCE_STOPPED,   /* so it does after a part of an answer, which the client did not wait for */
	BALANCE_BUSY,      /* refused because the server is at its limit (429): its capacity was less */
	BALANCE_WITHDRAWN, /* anything else: failed, cancelled */
};

/* Gives it back, once; the place is nothing then. */
void balance_give(struct balance *b, struct balance_place *p, enum balance_end end, int64_t now_ns);

/* ---- for those who wait for a place ---------------------------------------------------------------------- */

/* Changes whenever a place may have become free, in any group and any process: one load from memory, to be compared
 * with its earlier value. */
uint64_t balance_freed(const struct balance *b);

struct balance_group {
	uint32_t replicas, in_flight;
	uint32_t capacity, free; /* 0 and UINT32_MAX: a replica's is not known, so there is always room */
	int64_t pace_ns;         /* how long a turn takes, about; 0: not known */
};

/* The state of the group of these replicas; r->thread and r->forced do not matter. Takes nothing. */
void balance_group(struct balance *b, const struct balance_request *r, struct balance_group *out);

/* ---- what is known of an LLM ------------------------------------------------------------------------------- */

enum balance_source {
	BALANCE_UNKNOWN,
	BALANCE_CONFIGURED,
	BALANCE_REFUSED, /* learned from 429 */
	BALANCE_QUEUED,  /* learned from requests that waited at its server */
};
const char *balance_source_text(enum balance_source s); /* unknown, configured, refused, queued */

struct balance_llm {
	uint64_t instance;
	uint32_t in_flight;
	uint32_t capacity; /* 0: not known */
	enum balance_source source;
	int64_t pace_ns;           /* of its turns, the last ones counting most; 0: not known */
	uint64_t taken, refused;   /* places ever, and how many of them BALANCE_BUSY ended */
	int64_t reported_ns;       /* when its server said the following, CLOCK_BOOTTIME; 0: never */
	uint32_t running, waiting; /* at the server, of all its clients */
};

/* False: nothing is known of it. */
bool balance_llm(struct balance *b, uint64_t instance, struct balance_llm *out);

/* The same for a process that only reads: of a copy, which is made now. NULL: there is no file, or no memory. */
struct balance_copy;
struct balance_copy *balance_copy(const char *run_dir);
void balance_copy_free(struct balance_copy *c); /* NULL is fine */
bool balance_copy_llm(const struct balance_copy *c, uint64_t instance, struct balance_llm *out);
struct metrics_load;
bool balance_copy_load(const void *copy, uint64_t instance, struct metrics_load *out); /* of metrics_source */

/* tt-agentd: the capacity as configured, 0: not. Again and again, since the file may be made again. */
void balance_configure(struct balance *b, uint64_t instance, uint32_t capacity, int64_t now_ns);

/* What a server says of itself, as tt-agentd reads it. */
struct balance_report {
	uint32_t running, waiting; /* requests of all its clients */
};
void balance_report(struct balance *b, uint64_t instance, const struct balance_report *r, int64_t now_ns);

/* How many turns other hosts have in flight there, as they said a moment ago. It counts for five seconds, among the
 * load of this host, and never makes a replica full. */
void balance_others(struct balance *b, uint64_t instance, uint32_t in_flight, int64_t now_ns);

/* ---- the choice alone: pure -------------------------------------------------------------------------------- */

struct balance_load {
	uint32_t in_flight, capacity; /* 0: not known */
	double weight;                /* beside its capacity: 1, or less where others are better */
	double share;                 /* of the load that is its own, 0 < share <= 1: less while it is new */
};

#define BALANCE_FULL (-1)
#define BALANCE_NONE SIZE_MAX

/* last: the index of the replica that answered this thread last, or BALANCE_NONE. random: any number. The index, or
 * BALANCE_FULL, which forced excludes. */
int balance_choose(const struct balance_load *loads, size_t count, size_t last, uint64_t random, bool forced);

#endif
