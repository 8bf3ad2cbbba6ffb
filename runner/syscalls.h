/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that code in a sandbox may use (seccomp): what Python, its threads, processes, files and local
 * sockets need. Each other call fails with ENOSYS, as on a kernel that lacks it, so that libraries fall back.
 *
 * Not among them is what reaches beyond the sandbox or takes memory that no limit counts: keyrings, namespaces,
 * mounts, io_uring, userfaultfd, bpf, perf, ptrace, SysV IPC, memfd, netlink, inotify, calls of another ABI. */
#ifndef TT_RUNNER_SYSCALLS_H
#define TT_RUNNER_SYSCALLS_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct syscalls;
struct syscalls *syscalls_new(struct err *e); /* NULL with e */
void syscalls_free(struct syscalls *f);

/* A file descriptor (close-on-exec) from which bwrap can read the filter; -1 with errno. */
int syscalls_open(const struct syscalls *f);

/* The name of a system call, or NULL where this machine has none of that number. static; the next call replaces it. */
#define SYSCALLS_END 600 /* numbers are below */
const char *syscalls_name(int number);
/* Whether the filter has a rule for it, be it for some arguments only. */
bool syscalls_knows(int number);

#endif
