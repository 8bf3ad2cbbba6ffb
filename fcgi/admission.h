/* SPDX-License-Identifier: Apache-2.0 */
/* How many chat turns run, in all and of each client address, over all workers of a parent.
 *
 * The parent makes the book in shared memory before it forks. Each worker writes its own
 * page of it, and all read all pages: no locks. A page outlives a worker that dies, so the
 * parent clears it. Workers that drain after the program was started anew have the book of
 * the image before, and count there. */
#ifndef TT_FCGI_ADMISSION_H
#define TT_FCGI_ADMISSION_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct admission;

struct admission *admission_new(unsigned workers, struct err *e);
void admission_free(struct admission *a);                   /* NULL is fine */
void admission_clear(struct admission *a, unsigned worker); /* which is dead */

struct admission_limits {
	size_t turns, client_turns; /* 0: none */
	size_t worker_turns;        /* that one worker has room for; 0: no limit */
};

enum admission_verdict {
	ADMISSION_GRANTED,
	ADMISSION_FULL,        /* as many turns run as may */
	ADMISSION_WORKER_FULL, /* as many on this worker as it has room for */
	ADMISSION_CLIENT_FULL, /* as many of this client */
};

/* Where it is granted, entry is what admission_leave wants. address is REMOTE_ADDR: of an IPv6
 * client its network (/64) counts, as that is what one client has. NULL, or no address (the
 * web server's client came over a Unix socket): only the limit of all turns applies. The limits
 * are never exceeded; of two that ask at the same time for the last place both may be refused. */
enum admission_verdict admission_enter(struct admission *a, unsigned worker, const char *address,
                                       const struct admission_limits *limits, unsigned *entry);
void admission_leave(struct admission *a, unsigned worker, unsigned entry);

/* Whether worker has no room for one more turn but another one has. */
bool admission_others_have_room(const struct admission *a, unsigned worker, size_t worker_turns);

#endif
