/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, each with its unit in the name. Any thread; none of them fails. */
#ifndef TT_BASE_CLOCK_H
#define TT_BASE_CLOCK_H

#include <stdint.h>
#include <sys/time.h>

/* CLOCK_MONOTONIC: for durations and deadlines within one process. */
int64_t clock_mono_ns(void);
int64_t clock_mono_ms(void);

/* CLOCK_BOOTTIME: comparable between processes of one boot, counts suspended time. */
int64_t clock_boot_ns(void);
int64_t clock_boot_ms(void);

/* CLOCK_REALTIME, milliseconds since the epoch: for people and documents only. */
int64_t clock_wall_ms(void);

/* A timer's argument; a negative time counts as none. */
static inline struct timeval clock_timeval_ms(int64_t ms)
{
	if (ms < 0)
		ms = 0;
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

#endif
