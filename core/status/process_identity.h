/* SPDX-License-Identifier: Apache-2.0 */
/* Who wrote a file, and in which life of the machine. */
#ifndef TT_STATUS_PROCESS_IDENTITY_H
#define TT_STATUS_PROCESS_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

/* The kernel's boot id; all 0 where /proc/sys is hidden. */
void process_boot_id(uint8_t id[16]);

/* Both known and different: written before this boot. */
bool process_is_other_boot(const uint8_t a[16], const uint8_t b[16]);

/* Start time of this process as in /proc/self/stat (clock ticks since boot), so that
 * a number that was given out again is not taken for the same process; 0: not known. */
uint64_t process_birth(void);
uint64_t process_birth_of(long pid); /* of any process; 0: not known, or none */

uint64_t process_random(void);

#endif
