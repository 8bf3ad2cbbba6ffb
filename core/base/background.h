/* SPDX-License-Identifier: Apache-2.0 */
/* Work that would hold the event loop for too long: one thread beside it, which does one job after
 * the other, in order. It starts with the first job. All calls are made from the loop. */
#ifndef TT_BASE_BACKGROUND_H
#define TT_BASE_BACKGROUND_H

#include "core/base/err.h"

#include <event2/event.h>

/* Bytes that a loop may well parse or write as JSON itself: 32 KiB of the worst text take a millisecond. */
#define BACKGROUND_MIN (32u << 10)

struct background;
struct background_job;

struct background *background_new(struct event_base *base, struct err *e);
/* Waits for the job that runs. Each job that did not end is dropped. */
void background_free(struct background *b);

struct background_work {
	/* On the thread; arg is its own meanwhile. jansson's counts of references are atomic: it may use
	 * values of which the job has references, as long as nobody changes them. */
	void (*run)(void *arg);
	/* Then, on the loop. */
	void (*done)(void *arg);
	/* In its place, on the loop, after background_cancel: arg is the job's again and is to be freed. Never
	 * while it runs; maybe before background_cancel returns. */
	void (*drop)(void *arg);
};

/* Without a thread, for want of resources, run is called at once; done is never called before this
 * returns. NULL: no memory, and nothing is called. */
struct background_job *background_start(struct background *b, const struct background_work *w, void *arg);
void background_cancel(struct background_job *j);

#endif
