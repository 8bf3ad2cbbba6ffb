/* SPDX-License-Identifier: Apache-2.0 */
/* This process: its limits, and its identity among all that ever had its pid. */
#ifndef TT_BASE_PROCESS_H
#define TT_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* From now on no core dump of this process, or of a process that it forks or executes,
 * contains its memory (keys, tokens, prompts). First in main; never fails. */
void process_no_core_dumps(void);

/* Raises the limit of file descriptors as far as the hard limit allows. */
void process_raise_descriptor_limit(void);

/* The kernel's boot id; all 0 where /proc/sys is hidden. */
void process_boot_id(uint8_t id[16]);

/* Both are known and differ: written before this boot. */
bool process_is_other_boot(const uint8_t a[16], const uint8_t b[16]);

/* Start time of this process as in /proc/self/stat (clock ticks since boot), which
 * distinguishes it from a process that got the same pid later; 0: not known. */
uint64_t process_birth(void);
uint64_t process_birth_of(long pid); /* of any process; 0: not known, or no such process */

uint64_t process_random(void);

#endif
