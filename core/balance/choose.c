/* SPDX-License-Identifier: Apache-2.0 */
#include "core/balance/balance.h"

#define STAYS_FACTOR 1.25 /* a thread stays while the load is at most this times the mean, and one */

struct weights {
	double mean;      /* of the capacities that are known; 1: none is */
	double sum;       /* of all weights, as far as they are theirs now */
	double in_flight; /* of all */
};

/* One whose capacity is not known counts as the mean of the others. */
static double weight(const struct balance_load *l, const struct weights *w)
{
	return (l->capacity != 0 ? (double)l->capacity : w->mean) * l->weight;
}

static struct weights weigh(const struct balance_load *loads, size_t count)
{
	struct weights w = {.mean = 0};
	size_t known = 0;

	for (size_t i = 0; i < count; i++)
		if (loads[i].capacity != 0) {
			w.mean += loads[i].capacity;
			known++;
		}
	w.mean = known > 0 ? w.mean / (double)known : 1;
	for (size_t i = 0; i < count; i++) {
		w.sum += weight(&loads[i], &w) * loads[i].share;
		w.in_flight += loads[i].in_flight;
	}
	return w;
}

static bool has_room(const struct balance_load *l)
{
	return l->capacity == 0 || l->in_flight < l->capacity;
}

static bool stays(const struct balance_load *l, const struct weights *w)
{
	return has_room(l) && l->in_flight <= STAYS_FACTOR * w->in_flight * weight(l, w) * l->share / w->sum + 1;
}

/* Loads are compared as they would be with this turn, so that of idle ones the larger one takes it. A new one that is
 * idle is like any other; what it has counts for more. */
static int least(const struct balance_load *loads, size_t count, const struct weights *w, uint64_t random, bool full)
{
	int best = BALANCE_FULL;
	double least = 0;
	unsigned equal = 0;

	for (size_t i = 0; i < count; i++) {
		double load = (loads[i].in_flight / loads[i].share + 1) / weight(&loads[i], w);

		if (!full && !has_room(&loads[i]))
			continue;
		if (best == BALANCE_FULL || load < least) {
			best = (int)i;
			least = load;
			equal = 1;
		} else if (load <= least && random % ++equal == 0) {
			best = (int)i; /* each of the equal ones with the same probability, nearly */
		}
		random = random >> 7 | random << 57;
	}
	return best;
}

int balance_choose(const struct balance_load *loads, size_t count, size_t last, uint64_t random, bool forced)
{
	struct weights w;
	int best;

	if (count == 1)
		return forced || has_room(&loads[0]) ? 0 : BALANCE_FULL;
	w = weigh(loads, count);
	if (last < count && stays(&loads[last], &w))
		return (int)last;
	best = least(loads, count, &w, random, false);
	return best == BALANCE_FULL && forced ? least(loads, count, &w, random, true) : best;
}
