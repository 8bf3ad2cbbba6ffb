/* SPDX-License-Identifier: Apache-2.0 */
/* The store on SQLite: the loop's side of it. */
#include "core/store/db_thread.h"
#include "core/store/store_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct request {
	struct store_request base;
	struct db_job job;       /* the archivist's until it is done */
	store_loaded_fn *loaded; /* both NULL: cancelled, or nobody wants to know */
	store_saved_fn *saved;
	void *arg;
};

struct sqlite {
	struct store base;
	struct db_thread *archivist;
	int fd; /* an eventfd: jobs are done */
	struct event *ready;
	struct db_jobs given; /* in this iteration of the loop, at whose end all go at once */
	struct event *hand_over;
};

static struct request *request_of(struct db_job *job)
{
	return (struct request *)(void *)((char *)job - offsetof(struct request, job));
}

static void request_free(struct request *r)
{
	free(r->job.subject);
	free(r->job.thread_id);
	free(r->job.text);
	json_decref(r->job.turns);
	free(r);
}

static void answer(struct request *r)
{
	const struct err *e = err_is_set(&r->job.err) ? &r->job.err : NULL;

	if (r->loaded != NULL)
		r->loaded(r->arg, r->job.turns, e);
	else if (r->saved != NULL)
		r->saved(r->arg, e);
	request_free(r);
}

static void free_all(struct db_jobs *jobs)
{
	struct db_job *job;

	while ((job = STAILQ_FIRST(jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(jobs, next);
		request_free(request_of(job));
	}
}

/* From the archivist's thread. */
static void on_done(void *arg)
{
	const struct sqlite *s = arg;
	const uint64_t one = 1;

	/* A full counter is one that the loop has yet to read: it is woken anyway. */
	while (write(s->fd, &one, sizeof one) < 0 && errno == EINTR)
		continue;
}

static void answer_all(struct db_jobs *done)
{
	struct db_job *job;

	while ((job = STAILQ_FIRST(done)) != NULL) {
		STAILQ_REMOVE_HEAD(done, next);
		answer(request_of(job));
	}
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct sqlite *s = arg;
	struct db_jobs done = STAILQ_HEAD_INITIALIZER(done);
	uint64_t count;

	(void)what;
	while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
		continue;
	db_thread_take(s->archivist, &done);
	answer_all(&done);
}

static void on_hand_over(evutil_socket_t fd, short what, void *arg)
{
	struct sqlite *s = arg;
	struct db_jobs refused = STAILQ_HEAD_INITIALIZER(refused);
	struct db_job *job;

	(void)fd;
	(void)what;
	db_thread_give(s->archivist, &s->given);
	STAILQ_CONCAT(&refused, &s->given);
	STAILQ_FOREACH(job, &refused, next)
	err_set(&job->err, "too many turns wait for the conversations' database");
	answer_all(&refused);
}

static struct request *request_new(struct sqlite *s, const struct store_key *k, void *arg)
{
	struct request *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->base.ops = s->base.ops;
	r->arg = arg;
	r->job.subject = strdup(k->subject);
	r->job.thread_id = strdup(k->thread_id);
	if (r->job.subject != NULL && r->job.thread_id != NULL)
		return r;
	request_free(r);
	return NULL;
}

static struct store_request *give(struct sqlite *s, struct request *r)
{
	if (STAILQ_EMPTY(&s->given))
		event_active(s->hand_over, EV_TIMEOUT, 0);
	STAILQ_INSERT_TAIL(&s->given, &r->job, next);
	return &r->base;
}

static struct store_request *sqlite_load(struct store *store, const struct store_key *k, store_loaded_fn *done,
                                         void *arg)
{
	struct sqlite *s = (struct sqlite *)store;
	struct request *r = request_new(s, k, arg);

	if (r == NULL)
		return NULL;
	r->loaded = done;
	return give(s, r);
}

static struct store_request *sqlite_append(struct store *store, const struct store_key *k, json_t *messages,
                                           store_saved_fn *done, void *arg)
{
	struct sqlite *s = (struct sqlite *)store;
	struct request *r = request_new(s, k, arg);

	if (r != NULL) {
		r->saved = done;
		/* Here, as the caller may still change what it gave us a reference to. */
		r->job.text = json_dumps(messages, JSON_COMPACT);
	}
	json_decref(messages);
	if (r == NULL || r->job.text == NULL) {
		if (r != NULL)
			request_free(r);
		return NULL;
	}
	r->job.text_len = strlen(r->job.text);
	return give(s, r);
}

static void sqlite_cancel(struct store_request *request)
{
	struct request *r = (struct request *)request;

	r->loaded = NULL;
	r->saved = NULL;
}

static void sqlite_set_limits(struct store *store, const struct store_limits *limits)
{
	db_thread_set_limits(((struct sqlite *)store)->archivist, limits);
}

static void sqlite_free(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	struct db_jobs left = STAILQ_HEAD_INITIALIZER(left);

	if (s->archivist != NULL) {
		db_thread_give(s->archivist, &s->given);
		db_thread_free(s->archivist, &left);
	}
	free_all(&left);
	free_all(&s->given);
	if (s->ready != NULL)
		event_free(s->ready);
	if (s->hand_over != NULL)
		event_free(s->hand_over);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

static const struct store_ops sqlite_ops = {
	.free = sqlite_free,
	.load = sqlite_load,
	.append = sqlite_append,
	.cancel = sqlite_cancel,
	.set_limits = sqlite_set_limits,
};

struct store *store_sqlite_new(struct event_base *base, const char *file, const char *run,
                               const struct store_limits *limits, struct err *e)
{
	struct sqlite *s = calloc(1, sizeof *s);

	if (s == NULL) {
		err_set(e, "no memory for the conversations");
		return NULL;
	}
	s->base.ops = &sqlite_ops;
	STAILQ_INIT(&s->given);
	s->hand_over = event_new(base, -1, 0, on_hand_over, s);
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0)
		err_set_errno(e, errno, "eventfd");
	else
		s->ready = event_new(base, s->fd, EV_READ | EV_PERSIST, on_ready, s);
	if (s->hand_over != NULL && s->ready != NULL && event_add(s->ready, NULL) == 0)
		s->archivist = db_thread_new(file, run, limits, on_done, s, e);
	if (s->archivist != NULL)
		return &s->base;
	err_set(e, "no memory for the conversations");
	sqlite_free(&s->base);
	return NULL;
}
