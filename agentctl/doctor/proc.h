/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of this host, from /proc. */
#ifndef TT_AGENTCTL_PROC_H
#define TT_AGENTCTL_PROC_H

#include "core/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROC_GROUPS 64

struct proc_user {
	uid_t uid;
	gid_t gid, groups[PROC_GROUPS];
	size_t group_count;
};

struct proc {
	pid_t pid, parent; /* pid 0: there is none */
	char name[16];     /* as in /proc/PID/comm */
	char words[4096];  /* its command line, each word with a NUL; cut */
	size_t words_len;
	struct proc_user user;
};

/* Calls found for each process with that name until it returns false. -1: /proc cannot be read. */
int proc_each(const char *name, bool (*found)(void *arg, const struct proc *p), void *arg);

/* The value of "--name VALUE" or "--name=VALUE" (letter: or of "-c VALUE"; 0: none); the last one counts. NULL: it has
 * none. */
const char *proc_option(const struct proc *p, const char *name, char letter);
/* The i-th value of an option that may be repeated. */
const char *proc_option_at(const struct proc *p, const char *name, size_t i);

/* A small file of /proc/PID. -1 with errno. */
int proc_read(pid_t pid, const char *file, struct buf *out);

/* Runs a program and collects what it prints on standard output; PATH is searched. -1: it cannot be run, or its exit
 * status is not 0. */
int proc_output(const char *const *argv, struct buf *out);

/* Connects to a Unix socket, which never waits. -1 with *error, the errno. */
int proc_open_socket(const char *path, int *error);
/* ... and closes it again. */
int proc_connect(const char *path, int *error);

/* What the user of that uid belongs to. */
void proc_user_of(uid_t uid, gid_t gid, struct proc_user *out);

#endif
