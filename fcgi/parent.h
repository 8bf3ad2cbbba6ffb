/* SPDX-License-Identifier: Apache-2.0 */
/* The parent: holds the listener, keeps the workers alive, handles no request.
 *
 *   SIGTERM, SIGINT   workers finish running responses, for at most --drain seconds; a second
 *                     signal ends them at once
 *   SIGHUP            re-executes the program in place (same pid, same listener): the new
 *                     workers accept connections before the old ones drain */
#ifndef TT_FCGI_PARENT_H
#define TT_FCGI_PARENT_H

#include "fcgi/options.h"

/* Returns the exit status of the process; a worker process returns through it, too. */
int parent_run(const struct fcgi_options *o, char **argv);

#endif
