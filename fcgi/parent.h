/* SPDX-License-Identifier: Apache-2.0 */
/* The parent: holds the listener, keeps the workers alive, touches no request.
 *
 *   SIGTERM, SIGINT   workers finish what runs, at most --drain seconds; once more: at once
 *   SIGHUP            starts the program anew in place (same pid, same listener): the new
 *                     workers accept before the old ones drain */
#ifndef TT_FCGI_PARENT_H
#define TT_FCGI_PARENT_H

#include "fcgi/options.h"

/* Returns the exit status of the process; a worker's process returns through it, too. */
int parent_run(const struct options *o, char **argv);

#endif
