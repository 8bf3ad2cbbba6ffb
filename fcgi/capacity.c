/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/capacity.h"

#include "core/base/exhaustion.h"

#define OWN    48u /* a worker's own files, sockets and timers, and what is reserved */
#define LEAST  16u
#define OTHERS 64u /* connections on which no turn runs: who is refused, who asks for the status */

static size_t for_streams(void)
{
	size_t all = exhaustion_descriptors();

	return all < OWN + LEAST ? LEAST : all - OWN;
}

static size_t for_others(void)
{
	size_t part = for_streams() / 8;

	return part < OTHERS ? part : OTHERS;
}

size_t capacity_turns(void)
{
	return (for_streams() - for_others()) / 2;
}

size_t capacity_connections(void)
{
	return capacity_turns() + for_others();
}
