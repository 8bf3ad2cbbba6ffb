/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups (cgroup v2): a group of its own for each run, where this machine gives the runner a subtree of its
 * own, as systemd does with Delegate=. The kernel then holds the whole run to its memory and processes, counts its
 * CPU time, and ends all of it at once. */
#ifndef TT_RUNNER_GROUP_H
#define TT_RUNNER_GROUP_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

struct groups {
	bool memory, processes; /* limited by the groups; CPU time always is counted */
	const char *missing;    /* why there are none, or NULL */
	unsigned long number;   /* of the next one */
	char path[512];
	LIST_HEAD(, group) leftover; /* to be removed once they are empty */
};

/* Takes the runner's own group over, if nothing else is in it: the runner moves to a child of it, and the user uid,
 * which the runner is about to become, may create more. Once, before there are other processes. */
void groups_open(struct groups *all, uid_t uid, gid_t gid);

/* Writes to a file of the kernel's, of a group or another one; safe between fork and exec. -1 with errno. */
int group_write_file(int directory, const char *name, const char *text);

struct group;

/* NULL with e. The limits count where the groups have them. */
struct group *group_new(struct groups *all, int64_t memory_bytes, int64_t processes, struct err *e);
/* Puts the calling process into it; safe between fork and exec. -1 with errno. */
int group_join(const struct group *g);
int64_t group_cpu_us(const struct group *g); /* of all that ever was in it; -1: not known */
bool group_ran_out_of_memory(const struct group *g);
void group_kill(const struct group *g);               /* all that is in it */
void group_free(struct groups *all, struct group *g); /* ends what is in it, and removes it */
void groups_tidy(struct groups *all);                 /* removes those that have become empty meanwhile */

#endif
