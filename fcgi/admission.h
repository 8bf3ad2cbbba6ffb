/* SPDX-License-Identifier: Apache-2.0 */
/* Admission control: how many chat turns run, in total and per client address, over all workers
 * of a parent.
 *
 * The parent creates the table in shared memory before it forks. Each worker writes its own
 * page of it, and all read all pages: no locks. A page outlives a worker that dies, so the
 * parent clears it. Workers that drain after a re-execution of the parent still count in the table
 * that they were started with. */
#ifndef TT_FCGI_ADMISSION_H
#define TT_FCGI_ADMISSION_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct admission;

struct admission *admission_new(unsigned workers, struct err *e);
void admission_free(struct admission *a);                   /* NULL: nothing */
void admission_clear(struct admission *a, unsigned worker); /* after its death */

struct admission_limits {
	size_t turns, client_turns; /* 0: none */
	size_t worker_turns;        /* of one worker; 0: no limit */
};

enum admission_verdict {
	ADMISSION_GRANTED,
	ADMISSION_FULL,        /* limits.turns are running */
	ADMISSION_WORKER_FULL, /* worker_turns are running on this worker */
	ADMISSION_CLIENT_FULL, /* client_turns are running for this client */
};

/* If it is granted, entry is to be passed to admission_leave. address is REMOTE_ADDR; an IPv6 client
 * is counted by its network (/64), which is what one client has. NULL, or not an address (the web
 * server's client came over a Unix socket): only the limit of all turns applies. The limits are
 * never exceeded; two turns that ask at the same time for the last place may both be refused. */
enum admission_verdict admission_enter(struct admission *a, unsigned worker, const char *address,
                                       const struct admission_limits *limits, unsigned *entry);
void admission_leave(struct admission *a, unsigned worker, unsigned entry);

/* What a client is counted as, by its address: never 0. All without an address are one client. */
uint64_t admission_client(const char *address);

/* Whether this worker has no room for one more turn but another one has. */
bool admission_others_have_room(const struct admission *a, unsigned worker, size_t worker_turns);

#endif
