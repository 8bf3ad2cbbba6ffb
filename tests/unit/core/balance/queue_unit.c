/* SPDX-License-Identifier: Apache-2.0 */
/* Who is granted a place, and that none is lost between several processes, of which some are killed. */
#include "core/balance/queue.h"
#include "core/base/clock.h"
#include "tests/unit/support/scratch.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define T0     (1000 * SECOND) /* the clock of these tests */
#define GROUP  77
#define LOW    0
#define NORMAL 1
#define HIGH   2

static void count_grant(void *arg)
{
	++*(unsigned *)arg;
}

static unsigned own_grants;

static struct queue *open_in(void **state)
{
	struct err e = ERR_INIT;
	struct queue *q = queue_open(*state, count_grant, &own_grants, &e);

	if (q == NULL)
		fail_msg("%s", e.text);
	own_grants = 0;
	return q;
}

static const struct queue_request usual = {
	.group = GROUP, .key = 1, .priority = NORMAL, .length = 1000, .now_ns = T0, .deadline_ns = T0 + 30 * SECOND};

static struct queue_ticket enter(struct queue *q, struct queue_request r)
{
	struct queue_ticket t;
	int64_t retry_ns;

	assert_int_equal(queue_enter(q, &r, &t, &retry_ns), QUEUE_WAITS);
	assert_int_equal(queue_state(q, &t), QUEUE_WAITING);
	return t;
}

static struct queue_ticket enter_for(struct queue *q, uint64_t key, unsigned priority, int64_t now_ns)
{
	struct queue_request r = usual;

	r.key = key;
	r.priority = priority;
	r.now_ns = now_ns;
	r.deadline_ns = now_ns + 30 * SECOND;
	return enter(q, r);
}

/* Grants one place; the index of the ticket that got it, which then leaves. */
static int next_of(struct queue *q, struct queue_ticket *tickets, int count, int64_t now_ns)
{
	int found = -1;

	queue_grant(q, GROUP, 1, now_ns);
	for (int i = 0; i < count; i++)
		if (tickets[i].serial != 0 && queue_state(q, &tickets[i]) == QUEUE_GRANTED) {
			assert_int_equal(found, -1);
			found = i;
		}
	if (found >= 0)
		queue_leave(q, &tickets[found]);
	return found;
}

static void a_place_goes_to_one_that_waits(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket a, b;

	assert_false(queue_is_used(q));
	assert_false(queue_has_group(q, GROUP));
	assert_int_equal(queue_grant(q, GROUP, 1, T0), 0);
	a = enter(q, usual);
	b = enter(q, usual);
	assert_true(queue_is_used(q));
	assert_true(queue_has_group(q, GROUP));
	assert_false(queue_has_group(q, GROUP + 1));
	assert_int_equal(queue_grant(q, GROUP + 1, 5, T0), 0); /* others' places */
	assert_int_equal(queue_grant(q, GROUP, 1, T0), 1);
	assert_int_equal(own_grants, 1);
	assert_int_equal(queue_state(q, &a), QUEUE_GRANTED);
	assert_int_equal(queue_state(q, &b), QUEUE_WAITING);
	assert_int_equal(queue_grant(q, GROUP, 1, T0), 0); /* it is granted already */
	queue_leave(q, &a);
	assert_int_equal(queue_grant(q, GROUP, 1, T0), 1);
	assert_int_equal(queue_state(q, &b), QUEUE_GRANTED);
	queue_leave(q, &b);
	queue_leave(q, &b); /* nothing */
	assert_false(queue_is_used(q));
	queue_close(q);
}

static void keys_alternate(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket tickets[20];

	for (int i = 0; i < 16; i++) /* the greedy one comes first, with all that it has */
		tickets[i] = enter_for(q, 1, NORMAL, T0);
	for (int i = 16; i < 20; i++)
		tickets[i] = enter_for(q, 2, NORMAL, T0 + 1);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(next_of(q, tickets, 20, T0 + 2), i);
		assert_int_equal(next_of(q, tickets, 20, T0 + 2), 16 + i);
	}
	for (int i = 4; i < 16; i++)
		assert_int_equal(next_of(q, tickets, 20, T0 + 2), i);
	queue_close(q);
}

/* The one who comes back for each of its turns waits for one turn of the other at most. */
static void one_that_comes_again_is_soon_next(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket tickets[17];
	int others = 0;

	for (int i = 0; i < 16; i++)
		tickets[i] = enter_for(q, 1, NORMAL, T0);
	for (int round = 0; round < 50; round++) {
		int got, before = 0;

		tickets[16] = enter_for(q, 2, NORMAL, T0 + round);
		while ((got = next_of(q, tickets, 17, T0 + round)) != 16) {
			before++;
			others++;
			tickets[got] = enter_for(q, 1, NORMAL, T0 + round);
		}
		assert_in_range(before, 0, 1);
		for (int i = 0; i < 3; i++) { /* meanwhile others' places become free */
			got = next_of(q, tickets, 17, T0 + round);
			assert_in_range(got, 0, 15);
			tickets[got] = enter_for(q, 1, NORMAL, T0 + round);
			others++;
		}
	}
	assert_in_range(others, 150, 200);
	queue_close(q);
}

static void priorities_come_first_and_age(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket tickets[4];

	tickets[0] = enter_for(q, 1, LOW, T0);
	tickets[1] = enter_for(q, 2, NORMAL, T0);
	tickets[2] = enter_for(q, 3, HIGH, T0);
	tickets[3] = enter_for(q, 3, HIGH, T0);
	assert_int_equal(next_of(q, tickets, 4, T0), 2);
	assert_int_equal(next_of(q, tickets, 4, T0), 3);
	assert_int_equal(next_of(q, tickets, 4, T0), 1);
	assert_int_equal(next_of(q, tickets, 4, T0), 0);

	/* High ones come all the time. After two thirds of its 30 s the low one is one of them, and of all the first.
	 */
	tickets[0] = enter_for(q, 1, LOW, T0);
	for (int64_t s = 0; s < 20; s++) {
		tickets[1] = enter_for(q, 3, HIGH, T0 + s * SECOND);
		tickets[2] = enter_for(q, 3, HIGH, T0 + s * SECOND);
		assert_int_equal(next_of(q, tickets, 4, T0 + s * SECOND), 1);
		assert_int_equal(next_of(q, tickets, 4, T0 + s * SECOND), 2);
	}
	tickets[1] = enter_for(q, 3, HIGH, T0 + 20 * SECOND);
	assert_int_equal(next_of(q, tickets, 4, T0 + 20 * SECOND), 0);
	queue_close(q);
}

static void it_is_bounded(void **state)
{
	struct queue *q = open_in(state);
	struct queue_request r = usual;
	struct queue_ticket tickets[8], t;
	int64_t retry_ns;

	r.length = 5;
	r.per_key = 3;
	for (int i = 0; i < 3; i++)
		tickets[i] = enter(q, r);
	assert_int_equal(queue_enter(q, &r, &t, &retry_ns), QUEUE_KEY_FULL);
	assert_int_equal(t.serial, 0);
	r.group++; /* a key is bounded, not a key in a group */
	assert_int_equal(queue_enter(q, &r, &t, &retry_ns), QUEUE_KEY_FULL);
	r.key = 2;
	tickets[3] = enter(q, r);
	tickets[4] = enter(q, r);
	assert_int_equal(queue_enter(q, &r, &t, &retry_ns), QUEUE_FULL);
	queue_leave(q, &tickets[4]);
	tickets[4] = enter(q, r);
	for (int i = 0; i < 5; i++)
		queue_leave(q, &tickets[i]);
	assert_false(queue_is_used(q));

	r.length = 1000000;
	r.per_key = 0;
	for (uint32_t i = 0; i < QUEUE_TICKETS_MAX; i++)
		enter(q, r);
	assert_int_equal(queue_enter(q, &r, &t, &retry_ns), QUEUE_FULL);
	queue_close(q);
}

/* A place becomes free every 2 seconds. */
static void a_refusal_says_how_long_it_takes(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket tickets[12], refused;
	struct queue_request r = usual;
	int64_t now_ns = T0, retry_ns;

	for (int i = 0; i < 12; i++)
		tickets[i] = enter(q, r);
	for (int i = 0; i < 4; i++) {
		now_ns += 2 * SECOND;
		assert_int_equal(next_of(q, tickets, 12, now_ns), i);
	}
	assert_int_equal(queue_left_ns(q, &tickets[4], now_ns), 2 * SECOND);
	assert_int_equal(queue_left_ns(q, &tickets[11], now_ns), 16 * SECOND);
	r.now_ns = now_ns;
	r.length = 8;
	assert_int_equal(queue_enter(q, &r, &refused, &retry_ns), QUEUE_FULL);
	assert_int_equal(retry_ns, 18 * SECOND);
	r.key = 2; /* another key is sooner served */
	assert_int_equal(queue_enter(q, &r, &refused, &retry_ns), QUEUE_FULL);
	assert_int_equal(retry_ns, 2 * SECOND);
	now_ns += 9 * SECOND; /* it has become slower */
	assert_int_equal(queue_left_ns(q, &tickets[4], now_ns), 9 * SECOND);
	queue_close(q);
}

static void who_leaves_costs_its_key_nothing(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket tickets[40];

	for (int i = 0; i < 20; i++)
		tickets[i] = enter_for(q, 1, NORMAL, T0);
	for (int i = 0; i < 19; i++)
		queue_leave(q, &tickets[i]);
	tickets[20] = enter_for(q, 2, NORMAL, T0);
	tickets[21] = enter_for(q, 2, NORMAL, T0);
	tickets[22] = enter_for(q, 1, NORMAL, T0);
	assert_int_equal(next_of(q, tickets, 23, T0), 19);
	assert_int_equal(next_of(q, tickets, 23, T0), 20);
	assert_int_equal(next_of(q, tickets, 23, T0), 21);
	assert_int_equal(next_of(q, tickets, 23, T0), 22);
	queue_close(q);
}

static void one_that_can_use_no_place_lets_others_go_first(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket tickets[2] = {enter(q, usual), enter(q, usual)};

	assert_int_equal(queue_grant(q, GROUP, 1, T0), 1);
	assert_int_equal(queue_state(q, &tickets[0]), QUEUE_GRANTED);
	queue_return(q, &tickets[0], T0 + SECOND);
	assert_int_equal(queue_state(q, &tickets[0]), QUEUE_WAITING);
	assert_int_equal(next_of(q, tickets, 2, T0), 1);
	assert_int_equal(next_of(q, tickets, 2, T0), -1);
	assert_int_equal(next_of(q, tickets, 2, T0 + SECOND), 0);
	queue_close(q);
}

static void what_is_too_late_is_granted_nothing(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket t = enter(q, usual);

	assert_int_equal(queue_grant(q, GROUP, 1, usual.deadline_ns), 0);
	queue_leave(q, &t);
	queue_close(q);
}

static void a_file_that_is_gone_is_made_again(void **state)
{
	struct queue *q = open_in(state);
	struct queue_ticket t = enter(q, usual);
	struct err e = ERR_INIT;
	char path[300];

	snprintf(path, sizeof path, "%s/" QUEUE_FILE, (char *)*state);
	assert_int_equal(truncate(path, 0), 0);
	assert_false(queue_is_used(q)); /* and nobody crashes */
	queue_grant(q, GROUP, 1, T0);
	assert_int_equal(queue_state(q, &t), QUEUE_LOST);
	queue_tick(q, &e);
	assert_false(err_is_set(&e));
	assert_int_equal(queue_state(q, &t), QUEUE_LOST);
	queue_leave(q, &t);
	t = enter(q, usual);
	assert_int_equal(unlink(path), 0);
	queue_tick(q, &e);
	assert_false(err_is_set(&e));
	assert_int_equal(queue_state(q, &t), QUEUE_LOST);
	queue_close(q);
}

/* ---- several processes ---------------------------------------------------------------------------------- */

#define WORKERS  6
#define CAPACITY 3 /* places of the replicas, all together */
#define GUARD_S  60

/* In memory that all share. */
struct world {
	_Atomic int places[CAPACITY]; /* whose each is: the number of a worker, and 1; 0: it is free */
	_Atomic int stop;
	_Atomic long turns[WORKERS], left[WORKERS];
	int pid[WORKERS];
};

struct player {
	struct world *world;
	struct queue *queue;
	int number, place;
	unsigned seed;
};

static uint32_t free_places(const struct world *w)
{
	uint32_t n = 0;

	for (int i = 0; i < CAPACITY; i++)
		n += atomic_load(&w->places[i]) == 0;
	return n;
}

static bool take_place(struct player *p)
{
	for (p->place = 0; p->place < CAPACITY; p->place++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&p->world->places[p->place], &none, p->number + 1))
			return true;
	}
	return false;
}

static void grant_free(struct player *p)
{
	queue_grant(p->queue, GROUP, free_places(p->world), clock_boot_ns());
}

static void give_place(struct player *p)
{
	atomic_store(&p->world->places[p->place], 0);
	grant_free(p);
}

/* One turn: whatever waits, waits without a tick. Where wake is false a grant was lost. */
static bool one_turn(struct player *p, const sigset_t *wake, bool ticks)
{
	struct queue_request r = {.group = GROUP,
	                          .key = (uint64_t)p->number + 1,
	                          .priority = NORMAL,
	                          .length = 100,
	                          .now_ns = clock_boot_ns()};
	const bool leaves = rand_r(&p->seed) % 4 == 0;
	const struct timespec whole = {.tv_sec = GUARD_S / 3}, some = {.tv_nsec = 20000000},
			      moment = {.tv_nsec = 300000};
	struct queue_ticket t;
	struct err e = ERR_INIT;
	int64_t retry_ns, until_ns = clock_boot_ns() + GUARD_S / 3 * SECOND;

	r.deadline_ns = r.now_ns + 1000 * SECOND;
	if (!queue_has_group(p->queue, GROUP) && take_place(p))
		goto run;
	if (queue_enter(p->queue, &r, &t, &retry_ns) != QUEUE_WAITS)
		return false;
	grant_free(p); /* what became free in between */
	for (;;) {
		if (leaves && rand_r(&p->seed) % 2 == 0) {
			queue_leave(p->queue, &t);
			grant_free(p);
			atomic_fetch_add(&p->world->left[p->number], 1);
			return true;
		}
		if (queue_state(p->queue, &t) == QUEUE_GRANTED) {
			if (take_place(p)) {
				queue_leave(p->queue, &t);
				grant_free(p);
				break;
			}
			queue_return(p->queue, &t, 0);
			grant_free(p);
			continue;
		}
		if (sigtimedwait(wake, NULL,
		                 leaves  ? &moment
		                 : ticks ? &some
		                         : &whole) < 0 &&
		    errno == EAGAIN && !leaves) {
			if (clock_boot_ns() > until_ns)
				return false;
			if (ticks) {
				queue_tick(p->queue, &e);
				grant_free(p);
			}
		}
	}
run:
	if (rand_r(&p->seed) % 3 == 0)
		nanosleep(&moment, NULL);
	give_place(p);
	atomic_fetch_add(&p->world->turns[p->number], 1);
	return true;
}

static void granted_itself(void *arg)
{
	kill(*(pid_t *)arg, QUEUE_WAKE);
}

static void play(struct world *w, int number, const char *directory, bool ticks)
{
	struct player p = {.world = w, .number = number, .seed = (unsigned)getpid()};
	pid_t self = getpid();
	struct err e = ERR_INIT;
	sigset_t wake;

	sigemptyset(&wake);
	sigaddset(&wake, QUEUE_WAKE);
	sigprocmask(SIG_BLOCK, &wake, NULL);
	p.queue = queue_open(directory, granted_itself, &self, &e);
	if (p.queue == NULL)
		_exit(2);
	while (!atomic_load(&w->stop))
		if (!one_turn(&p, &wake, ticks)) {
			fprintf(stderr, "worker %d: no place in time\n", number);
			_exit(1);
		}
	queue_close(p.queue);
	_exit(0);
}

static struct world *new_world(void)
{
	struct world *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(w != MAP_FAILED);
	return w;
}

static void start(struct world *w, int number, const char *directory, bool ticks)
{
	pid_t pid = fork();

	if (pid == 0)
		play(w, number, directory, ticks);
	assert_true(pid > 0);
	w->pid[number] = pid;
}

static long all_turns(const struct world *w)
{
	long sum = 0;

	for (int i = 0; i < WORKERS; i++)
		sum += w->turns[i];
	return sum;
}

static void pause_ms(long ms)
{
	const struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

static void check_that_nothing_is_left(struct world *w, void **state)
{
	struct queue *q;

	atomic_store(&w->stop, 1);
	for (int i = 0; i < WORKERS; i++) {
		int status = -1;

		assert_int_equal(waitpid(w->pid[i], &status, 0), w->pid[i]);
		assert_int_equal(status, 0);
		assert_in_range(w->turns[i], 1, LONG_MAX);
	}
	assert_int_equal(free_places(w), CAPACITY);
	q = open_in(state);
	assert_false(queue_is_used(q));
	assert_false(queue_has_group(q, GROUP));
	queue_close(q);
	munmap(w, sizeof *w);
}

/* None of them has a tick: each grant that is lost stops a worker. */
static void no_wake_up_is_lost(void **state)
{
	struct world *w = new_world();

	alarm(GUARD_S);
	for (int i = 0; i < WORKERS; i++)
		start(w, i, *state, false);
	while (all_turns(w) < 3000)
		pause_ms(5);
	check_that_nothing_is_left(w, state);
	alarm(0);
}

/* A worker's places are free after its death, as core/balance/balance.h sees to it; its tickets are the
 * queue's. */
static void others_go_on_when_workers_are_killed(void **state)
{
	struct world *w = new_world();
	unsigned seed = 1;

	alarm(GUARD_S);
	for (int i = 0; i < WORKERS; i++)
		start(w, i, *state, true);
	for (int kills = 0; kills < 40; kills++) {
		int victim = rand_r(&seed) % WORKERS;
		long turns = all_turns(w);

		while (all_turns(w) < turns + 20)
			pause_ms(1);
		kill(w->pid[victim], SIGKILL);
		assert_int_equal(waitpid(w->pid[victim], NULL, 0), w->pid[victim]);
		for (int i = 0; i < CAPACITY; i++)
			atomic_compare_exchange_strong(&w->places[i], &(int){victim + 1}, 0);
		start(w, victim, *state, true);
	}
	for (int i = 0; i < WORKERS; i++) {
		long turns = w->turns[i];

		while (w->turns[i] < turns + 5)
			pause_ms(1);
	}
	check_that_nothing_is_left(w, state);
	alarm(0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_place_goes_to_one_that_waits),
		TEST(keys_alternate),
		TEST(one_that_comes_again_is_soon_next),
		TEST(priorities_come_first_and_age),
		TEST(it_is_bounded),
		TEST(a_refusal_says_how_long_it_takes),
		TEST(who_leaves_costs_its_key_nothing),
		TEST(one_that_can_use_no_place_lets_others_go_first),
		TEST(what_is_too_late_is_granted_nothing),
		TEST(a_file_that_is_gone_is_made_again),
		TEST(no_wake_up_is_lost),
		TEST(others_go_on_when_workers_are_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
