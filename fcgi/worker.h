/* SPDX-License-Identifier: Apache-2.0 */
/* One worker: one event loop that answers requests until a signal makes it drain. */
#ifndef TT_FCGI_WORKER_H
#define TT_FCGI_WORKER_H

#include "core/access/access.h"
#include "core/access/usage_log.h"
#include "core/base/background.h"
#include "core/control/command.h"
#include "core/status/counters.h"
#include "fcgi/admission.h"
#include "fcgi/connection.h"
#include "fcgi/handover.h"
#include "fcgi/options.h"
#include "fcgi/published.h"

#include <signal.h>

struct worker;

/* SIGTERM: accept no more connections, finish running responses, end.
 * WORKER_RETIRE: the same, but new workers have taken over: idle kept connections stay until the
 * web server uses or closes them, because closing them here could lose a request. */
#define WORKER_RETIRE SIGUSR2

/* What a worker gets from the parent. */
struct worker_context {
	int listener; /* the worker closes it */
	int ready_fd; /* gets one byte and is closed once connections are accepted; -1: none */
	struct handover handover;
	struct admission *admission, *listeners; /* of chat turns, and of clients of /events */
	unsigned number;                         /* its page there */
	sigset_t signals;                        /* the mask to set once it handles signals */
};

/* Runs until one of these signals and the end of the last response, at most o->drain_ms
 * after it. Returns the process's exit status. */
int worker_run(const struct fcgi_options *o, const struct worker_context *context);

/* --- what endpoints use ------------------------------------------------------------- */
struct published *worker_published(struct worker *w);
struct command_client *worker_daemon(struct worker *w);
struct counters *worker_counters(struct worker *w); /* NULL if they could not be opened */
struct event_feed *worker_event_feed(struct worker *w);
struct notes *worker_notes(struct worker *w);
struct dispatch_ids *worker_ids(struct worker *w);
struct background *worker_background(struct worker *w);
struct access *worker_access(struct worker *w);
struct usage_log *worker_usage(struct worker *w);
const struct chat_services *worker_chat_services(struct worker *w); /* NULL: no memory, which is logged */

/* Asks whether a chat turn may begin, and reports its end: admission_enter and _leave. resumed: it was
 * admitted before, in a worker that died. */
enum admission_verdict worker_admit(struct worker *w, const char *address, bool resumed, unsigned *entry);
void worker_dismiss(struct worker *w, unsigned entry);

/* The same for a client of /events. */
enum admission_verdict worker_admit_listener(struct worker *w, const char *address, unsigned *entry);
void worker_dismiss_listener(struct worker *w, unsigned entry);

#endif
