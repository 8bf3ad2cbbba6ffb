/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a sandbox that was killed while bwrap still made it: the process inside
 * binds its life to bwrap's only at the end of its set-up, without a look whether that one
 * still lives, and would then run code that nobody stops. */
#ifndef TT_RUNNER_ORPHANS_H
#define TT_RUNNER_ORPHANS_H

/* Kills them: of the children of this process, which must be a subreaper, each that leads a
 * namespace of processes. A living sandbox's is bwrap's child. */
void orphans_kill(void);

#endif
