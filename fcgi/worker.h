/* One worker: one event loop that serves requests until it is told to drain. */
#ifndef TT_FCGI_WORKER_H
#define TT_FCGI_WORKER_H

#include "core/net/command.h"
#include "core/status/counters.h"
#include "fcgi/connection.h"
#include "fcgi/options.h"
#include "fcgi/published.h"

#include <signal.h>

struct worker;

/* SIGTERM: accept no more, finish what runs, end.
 * WORKER_LEAVE: the same, but others serve on: kept connections on which nothing runs stay
 * until the web server uses or closes them, for who closes them first may lose a request. */
#define WORKER_LEAVE SIGUSR2

/* Runs until one of these signals and the end of the last response, at most o->drain_ms
 * after it. The listener is the worker's to close. Writes one byte to ready_fd (and closes it) when
 * connections are accepted. Returns the process's exit status. */
int worker_run(const struct options *o, int listener, int ready_fd);

/* --- what endpoints use ------------------------------------------------------------- */
struct published *worker_published(struct worker *w);
struct command_client *worker_daemon(struct worker *w);
struct counters *worker_counters(struct worker *w); /* NULL where they could not be opened */
struct request_ids *worker_request_ids(struct worker *w);
const struct turn_host *worker_turn_host(struct worker *w); /* NULL: no memory, told in the log */

/* Chat turns that run; the endpoint counts. */
size_t *worker_turn_count(struct worker *w);

#endif
