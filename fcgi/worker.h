/* SPDX-License-Identifier: Apache-2.0 */
/* One worker: one event loop that serves requests until it is told to drain. */
#ifndef TT_FCGI_WORKER_H
#define TT_FCGI_WORKER_H

#include "core/control/command.h"
#include "core/status/counters.h"
#include "fcgi/admission.h"
#include "fcgi/connection.h"
#include "fcgi/options.h"
#include "fcgi/published.h"

#include <signal.h>

struct worker;

/* SIGTERM: accept no more, finish what runs, end.
 * WORKER_LEAVE: the same, but others serve on: kept connections on which nothing runs stay
 * until the web server uses or closes them, for who closes them first may lose a request. */
#define WORKER_LEAVE SIGUSR2

/* What a worker gets from the parent. */
struct worker_place {
	int listener; /* the worker's to close */
	int ready_fd; /* gets one byte, and is closed, when connections are accepted; -1: none */
	struct admission *admission;
	unsigned number;  /* its page there */
	sigset_t signals; /* the mask that it sets once it takes signals */
};

/* Runs until one of these signals and the end of the last response, at most o->drain_ms
 * after it. Returns the process's exit status. */
int worker_run(const struct options *o, const struct worker_place *place);

/* --- what endpoints use ------------------------------------------------------------- */
struct published *worker_published(struct worker *w);
struct command_client *worker_daemon(struct worker *w);
struct counters *worker_counters(struct worker *w); /* NULL where they could not be opened */
struct request_ids *worker_request_ids(struct worker *w);
const struct chat_services *worker_turn_host(struct worker *w); /* NULL: no memory, told in the log */

/* Whether a chat turn may begin, and that it has ended: admission_enter and _leave. */
enum admission_verdict worker_admit(struct worker *w, const char *address, unsigned *entry);
void worker_dismiss(struct worker *w, unsigned entry);

#endif
