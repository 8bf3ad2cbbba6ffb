/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/background.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

struct background_job {
	STAILQ_ENTRY(background_job) next;
	struct background *owner;
	const struct background_work *work;
	void *arg;
	bool cancelled; /* the loop's */
};
STAILQ_HEAD(jobs, background_job);

struct background {
	struct event *ended;
	int fd; /* an eventfd: jobs have ended */
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	/* under the lock */
	struct jobs queued, finished;
	bool stopping;
};

/* --- the thread ------------------------------------------------------------------------------ */

static void wake_loop(const struct background *b)
{
	const uint64_t one = 1;

	/* A full counter is one that the loop has yet to read: it wakes anyway. */
	while (write(b->fd, &one, sizeof one) < 0 && errno == EINTR)
		continue;
}

static struct background_job *next_job(struct background *b)
{
	struct background_job *j = NULL;

	pthread_mutex_lock(&b->lock);
	while (STAILQ_EMPTY(&b->queued) && !b->stopping)
		pthread_cond_wait(&b->more, &b->lock);
	if (!b->stopping) {
		j = STAILQ_FIRST(&b->queued);
		STAILQ_REMOVE_HEAD(&b->queued, next);
	}
	pthread_mutex_unlock(&b->lock);
	return j;
}

static void finish(struct background *b, struct background_job *j)
{
	pthread_mutex_lock(&b->lock);
	STAILQ_INSERT_TAIL(&b->finished, j, next);
	pthread_mutex_unlock(&b->lock);
	wake_loop(b);
}

static void *run(void *arg)
{
	struct background *b = arg;
	struct background_job *j;

	pthread_setname_np(pthread_self(), "background");
	while ((j = next_job(b)) != NULL) {
		j->work->run(j->arg);
		finish(b, j);
	}
	return NULL;
}

/* --- the loop -------------------------------------------------------------------------------- */

static void end(struct background_job *j)
{
	(j->cancelled ? j->work->drop : j->work->done)(j->arg);
	free(j);
}

/* One job in each iteration: what follows from it may take as long as is bearable. */
static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct background *b = arg;
	struct background_job *j;
	uint64_t count;
	bool more;

	(void)what;
	while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
		continue;
	pthread_mutex_lock(&b->lock);
	j = STAILQ_FIRST(&b->finished);
	if (j != NULL)
		STAILQ_REMOVE_HEAD(&b->finished, next);
	more = !STAILQ_EMPTY(&b->finished);
	pthread_mutex_unlock(&b->lock);
	if (more)
		wake_loop(b);
	if (j != NULL)
		end(j);
}

struct background *background_new(struct event_base *base, struct err *e)
{
	struct background *b = calloc(1, sizeof *b);

	if (b == NULL) {
		err_set(e, "no memory for the background thread");
		return NULL;
	}
	STAILQ_INIT(&b->queued);
	STAILQ_INIT(&b->finished);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->more, NULL);
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->fd < 0)
		err_set_errno(e, errno, "eventfd");
	else
		b->ended = event_new(base, b->fd, EV_READ | EV_PERSIST, on_ended, b);
	if (b->ended != NULL && event_add(b->ended, NULL) == 0)
		return b;
	err_set(e, "no memory for the background thread");
	background_free(b);
	return NULL;
}

static void drop_all(struct jobs *list)
{
	struct background_job *j;

	while ((j = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, next);
		j->cancelled = true;
		end(j);
	}
}

void background_free(struct background *b)
{
	if (b == NULL)
		return;
	if (b->has_thread) {
		pthread_mutex_lock(&b->lock);
		b->stopping = true;
		pthread_cond_signal(&b->more);
		pthread_mutex_unlock(&b->lock);
		pthread_join(b->thread, NULL);
	}
	drop_all(&b->finished);
	drop_all(&b->queued);
	pthread_cond_destroy(&b->more);
	pthread_mutex_destroy(&b->lock);
	if (b->ended != NULL)
		event_free(b->ended);
	if (b->fd >= 0)
		close(b->fd);
	free(b);
}

static bool has_thread(struct background *b)
{
	sigset_t all, before;

	if (b->has_thread)
		return true;
	/* Signals belong to the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	b->has_thread = pthread_create(&b->thread, NULL, run, b) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return b->has_thread;
}

struct background_job *background_start(struct background *b, const struct background_work *w, void *arg)
{
	struct background_job *j = calloc(1, sizeof *j);

	if (j == NULL)
		return NULL;
	*j = (struct background_job){.owner = b, .work = w, .arg = arg};
	if (!has_thread(b)) {
		w->run(arg);
		finish(b, j);
		return j;
	}
	pthread_mutex_lock(&b->lock);
	STAILQ_INSERT_TAIL(&b->queued, j, next);
	pthread_cond_signal(&b->more);
	pthread_mutex_unlock(&b->lock);
	return j;
}

/* Whether it was taken out of the list before it began. */
static bool take_out(struct jobs *list, struct background_job *j)
{
	struct background_job *at;

	STAILQ_FOREACH(at, list, next)
	if (at == j) {
		STAILQ_REMOVE(list, j, background_job, next);
		return true;
	}
	return false;
}

void background_cancel(struct background_job *j)
{
	struct background *b = j->owner;
	bool waits;

	j->cancelled = true;
	pthread_mutex_lock(&b->lock);
	waits = take_out(&b->queued, j);
	pthread_mutex_unlock(&b->lock);
	if (waits)
		end(j);
}
