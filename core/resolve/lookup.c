/* SPDX-License-Identifier: Apache-2.0 */
#include "core/resolve/lookup.h"

#include "core/base/buf.h"
#include "core/base/exhaustion.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#define THREAD_STACK  (256u << 10)
#define THREAD_IDLE_S 30
#define ADDRESSES_MAX 8 /* of a name */

struct lookup_job {
	STAILQ_ENTRY(lookup_job) link;
	lookup_done_fn *done;
	void *arg;
	char *addresses;
	enum lookup_failure why;
	struct err err;
	char host[];
};
STAILQ_HEAD(job_list, lookup_job);

struct thread {
	pthread_t id;
	struct shared *shared;
	bool runs;
	bool busy; /* within getaddrinfo: cannot be waited for */
};

/* Owned by the loop and by each thread together: the last one to leave frees it, because
 * nobody can wait for a getaddrinfo that hangs. */
struct shared {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job_list todo, finished;
	size_t waiting; /* jobs in todo */
	size_t idle, owners;
	struct thread threads[LOOKUP_THREADS];
	bool closed;
	int wake; /* eventfd */
};

struct lookup_pool {
	struct shared *shared;
	struct event *woken;
};

static void job_free(struct lookup_job *job)
{
	free(job->addresses);
	free(job);
}

static void free_jobs(struct job_list *list)
{
	struct lookup_job *job;

	while ((job = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, link);
		job_free(job);
	}
}

/* Called with the lock held, which it releases. */
static void leave(struct shared *s)
{
	bool last = --s->owners == 0;

	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	free_jobs(&s->todo);
	free_jobs(&s->finished);
	pthread_cond_destroy(&s->work);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static int add_address(struct buf *out, const struct sockaddr *sa)
{
	char text[INET6_ADDRSTRLEN + 2];
	const char *comma = out->len > 0 ? "," : "";

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

		inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
		return buf_addf(out, "%s%s", comma, text);
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
		return buf_addf(out, "%s[%s]", comma, text);
	}
	return 0;
}

/* Where getaddrinfo could not open a file it returns any error, even "no such name". */
static void set_failure(struct lookup_job *job, int rc, int error)
{
	int exhausted = rc == EAI_MEMORY ? ENOMEM : rc == EAI_SYSTEM && exhaustion_is(error) ? error : exhaustion_now();
	const char *text = rc == EAI_SYSTEM ? strerror(error) : gai_strerror(rc);
	char what[128];

	job->why = rc == EAI_AGAIN || rc == EAI_SYSTEM || rc == EAI_FAIL ? LOOKUP_TEMPORARY : LOOKUP_NO_NAME;
	if (exhaustion_is(exhausted)) {
		job->why = LOOKUP_EXHAUSTED;
		text = exhaustion_text(exhausted, what, sizeof what);
	}
	err_set(&job->err, "the name '%.200s' cannot be looked up: %s", job->host, text);
}

static void look_up(struct lookup_job *job)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	struct buf out = BUF_INIT(2048);
	int rc = getaddrinfo(job->host, NULL, &hints, &list), error = errno, count = 0;

	if (rc != 0) {
		set_failure(job, rc, error);
		return;
	}
	for (const struct addrinfo *ai = list; ai != NULL && count < ADDRESSES_MAX; ai = ai->ai_next, count++)
		add_address(&out, ai->ai_addr);
	freeaddrinfo(list);
	if (out.len > 0)
		job->addresses = buf_steal(&out, NULL);
	if (job->addresses == NULL)
		err_set(&job->err, "the name '%.200s' has no address", job->host);
	buf_free(&out);
}

/* Called with the lock held. NULL: the thread ends. */
static struct lookup_job *next_job(struct shared *s)
{
	struct lookup_job *job;
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += THREAD_IDLE_S;
	while (!s->closed && STAILQ_EMPTY(&s->todo)) {
		int rc;

		s->idle++;
		rc = pthread_cond_timedwait(&s->work, &s->lock, &until);
		s->idle--;
		if (rc == ETIMEDOUT && STAILQ_EMPTY(&s->todo))
			return NULL;
	}
	if (s->closed)
		return NULL;
	job = STAILQ_FIRST(&s->todo);
	STAILQ_REMOVE_HEAD(&s->todo, link);
	s->waiting--;
	return job;
}

static void *run(void *arg)
{
	struct thread *me = arg;
	struct shared *s = me->shared;
	struct lookup_job *job;

	pthread_mutex_lock(&s->lock);
	while ((job = next_job(s)) != NULL) {
		const uint64_t one = 1;

		me->busy = true;
		pthread_mutex_unlock(&s->lock);
		look_up(job);
		pthread_mutex_lock(&s->lock);
		me->busy = false;
		STAILQ_INSERT_TAIL(&s->finished, job, link);
		/* Fails only where the counter is full, and then the loop wakes anyway. */
		if (!s->closed && write(s->wake, &one, sizeof one) < 0)
			continue;
	}
	if (!s->closed) {
		me->runs = false; /* idle for long: not joined */
		pthread_detach(me->id);
	}
	leave(s);
	return NULL;
}

/* Called with the lock held. Starts one more where there is room; 0 when at least one runs. */
static int add_thread(struct shared *s)
{
	struct thread *t = NULL;
	pthread_attr_t attr;
	sigset_t all, before;
	bool some = false;
	int rc;

	for (size_t i = 0; i < LOOKUP_THREADS; i++) {
		if (s->threads[i].runs)
			some = true;
		else
			t = &s->threads[i];
	}
	if (t == NULL)
		return 0;
	*t = (struct thread){.shared = s, .runs = true};
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	/* Signals belong to the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&t->id, &attr, run, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		s->owners++;
	else
		t->runs = false;
	return some ? 0 : rc;
}

struct lookup_job *lookup_start(struct lookup_pool *p, const char *host, lookup_done_fn *done, void *arg, struct err *e)
{
	struct shared *s = p->shared;
	size_t len = strlen(host);
	struct lookup_job *job = calloc(1, sizeof *job + len + 1);
	int rc = 0;

	if (job == NULL) {
		err_set_errno(e, ENOMEM, "a name lookup");
		return NULL;
	}
	memcpy(job->host, host, len + 1);
	job->done = done;
	job->arg = arg;
	pthread_mutex_lock(&s->lock);
	if (s->idle <= s->waiting)
		rc = add_thread(s);
	if (rc != 0) {
		pthread_mutex_unlock(&s->lock);
		err_set_errno(e, rc, "a name lookup needs a thread");
		free(job);
		return NULL;
	}
	STAILQ_INSERT_TAIL(&s->todo, job, link);
	s->waiting++;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	return job;
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
	struct lookup_pool *p = arg;
	struct shared *s = p->shared;
	struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct lookup_job *job;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof count) < 0)
		return;
	pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(&finished, &s->finished);
	pthread_mutex_unlock(&s->lock);
	while ((job = STAILQ_FIRST(&finished)) != NULL) {
		STAILQ_REMOVE_HEAD(&finished, link);
		job->done(job->arg, job->addresses, job->why, &job->err);
		job_free(job);
	}
}

static struct shared *shared_new(struct err *e)
{
	struct shared *s = calloc(1, sizeof *s);

	if (s == NULL) {
		err_set_errno(e, ENOMEM, "name lookups");
		return NULL;
	}
	s->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->wake < 0) {
		err_set_errno(e, errno, "name lookups: eventfd");
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	STAILQ_INIT(&s->todo);
	STAILQ_INIT(&s->finished);
	s->owners = 1;
	return s;
}

struct lookup_pool *lookup_pool_new(struct event_base *base, struct err *e)
{
	struct lookup_pool *p = calloc(1, sizeof *p);

	if (p == NULL) {
		err_set_errno(e, ENOMEM, "name lookups");
		return NULL;
	}
	p->shared = shared_new(e);
	if (p->shared == NULL) {
		free(p);
		return NULL;
	}
	p->woken = event_new(base, p->shared->wake, EV_READ | EV_PERSIST, on_woken, p);
	if (p->woken == NULL || event_add(p->woken, NULL) < 0) {
		err_set_errno(e, ENOMEM, "name lookups");
		lookup_pool_free(p);
		return NULL;
	}
	return p;
}

void lookup_pool_free(struct lookup_pool *p)
{
	pthread_t idle[LOOKUP_THREADS];
	size_t count = 0;
	struct shared *s;

	if (p == NULL)
		return;
	s = p->shared;
	if (p->woken != NULL)
		event_free(p->woken);
	pthread_mutex_lock(&s->lock);
	s->closed = true;
	close(s->wake); /* no thread writes to it once closed is set */
	pthread_cond_broadcast(&s->work);
	for (size_t i = 0; i < LOOKUP_THREADS; i++) {
		if (s->threads[i].runs && s->threads[i].busy)
			pthread_detach(s->threads[i].id);
		else if (s->threads[i].runs)
			idle[count++] = s->threads[i].id;
	}
	leave(s);
	for (size_t i = 0; i < count; i++)
		pthread_join(idle[i], NULL);
	free(p);
}
