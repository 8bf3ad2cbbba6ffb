/* SPDX-License-Identifier: Apache-2.0 */
/* Python in a bubblewrap sandbox: no network, a read-only system, nothing of this machine's users or processes, few
 * system calls (syscalls.h), and limits that hold for all processes of a run together: on memory, CPU, time, files,
 * processes, output. Control groups hold it to them (group.h), or else the runner, which looks every 50 ms (usage.h).
 *
 * A sandbox is one child process. Its output comes through callbacks on the loop. */
#ifndef TT_RUNNER_SANDBOX_H
#define TT_RUNNER_SANDBOX_H

#include "core/base/err.h"
#include "runner/group.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sandbox_limits {
	int64_t timeout_ms;   /* wall clock */
	int64_t cpu_ms;       /* of all processes together */
	int64_t memory_bytes; /* of all processes together; also the address space of each */
	int64_t file_bytes;   /* largest file, and size of /tmp */
	int64_t processes;    /* and threads */
	int64_t output_bytes; /* of stdout and stderr together */
	bool proc;            /* /proc can be mounted (not under a masked /proc) */
};

enum sandbox_end {
	SANDBOX_EXITED, /* status is its exit status */
	SANDBOX_KILLED, /* status is the signal */
	SANDBOX_TIMED_OUT,
	SANDBOX_CPU,    /* it took more than cpu_ms */
	SANDBOX_MEMORY, /* it took more than memory_bytes */
	SANDBOX_OUTPUT, /* it printed more than output_bytes */
};

/* The number of files that fit into /tmp: the kernel's memory for empty ones would have no limit. */
int64_t sandbox_files(const struct sandbox_limits *l);

struct sandbox_handlers {
	void (*output)(void *arg, bool is_stderr, const char *bytes, size_t len);
	void (*ended)(void *arg, enum sandbox_end end, int status); /* once; the sandbox is gone */
};

/* All sandboxes of this process, which becomes the parent of whatever they leave behind
 * (PR_SET_CHILD_SUBREAPER), ends it and reaps it. One per process. groups must outlive it. */
struct sandboxes;
struct sandboxes *sandboxes_new(struct event_base *base, struct groups *groups, struct err *e);
void sandboxes_free(struct sandboxes *all); /* each has ended or was killed; waits for the killed */

struct sandbox;

/* NULL with e: the child could not be started. handlers must outlive it. */
struct sandbox *sandbox_start(struct sandboxes *all, const struct sandbox_limits *limits, const char *code, size_t len,
                              const struct sandbox_handlers *handlers, void *arg, struct err *e);
void sandbox_kill(struct sandbox *s); /* no further callback */

#endif
