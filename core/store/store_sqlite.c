/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations in an SQLite file, which other processes may share: the loop's side of it.
 * A thread of its own (db_thread) opens the file and does all that may block. What is known without reading the file,
 * because nobody has written to the thread, or not since (versions.h), is answered without that thread; and a turn is
 * told as stored as soon as it is where nobody misses it (write_behind.h). */
#include "core/store/database.h"
#include "core/store/db_thread.h"
#include "core/store/write_behind.h"
#include "core/store/recent.h"
#include "core/store/turn_cache.h"
#include "core/store/versions.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/json_dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RECENT_BYTES (4u << 20)
#define UNSAVED      1024
#define EARLY_BYTES  32768 /* a longer turn is told when it is stored: encoding it would hold the loop */

struct request {
	struct store_request base;
	struct db_job job;       /* the database thread's until it is done */
	store_loaded_fn *loaded; /* all NULL: cancelled, or the caller gave none */
	store_saved_fn *saved;
	store_deleted_fn *deleted;
	void *arg;
	struct sqlite *store;
	int64_t hash;    /* of the key */
	uint64_t ticket; /* of a turn that is told before it is stored; 0: the job is to be run */
	bool again;      /* a turn that was told, and is to be stored in another file */
};

struct sqlite {
	struct store base;
	struct db_thread *thread;
	int fd; /* an eventfd: jobs are done */
	struct event *ready;
	struct db_jobs new_jobs; /* of this iteration of the loop, at whose end all are handed over */
	struct event *hand_over;
	struct db_jobs known;      /* loads that need no thread */
	struct db_jobs to_confirm; /* appends that are to be told; */
	struct db_jobs confirmed;  /* that were, in the order of their tickets, until it is known what became of them */
	bool filling;              /* there is little room for more */
	struct buf text;           /* of a turn that is to be told */
	struct store_limits limits;
	char *run;
	struct versions *versions; /* the database thread's, as is */
	struct write_behind *pending;
	struct recent *recent;
	unsigned unsaved[UNSAVED]; /* by the hash: jobs that write and are not done */
	unsigned again;            /* of them, for the second time */
};

static struct request *request_of(struct db_job *job)
{
	return (struct request *)(void *)((char *)job - offsetof(struct request, job));
}

static void request_free(struct request *r)
{
	free(r->job.subject);
	free(r->job.thread_id);
	free(r->job.response);
	free(r->job.text);
	json_decref(r->job.messages);
	json_decref(r->job.turns);
	free(r);
}

static bool writes(const struct request *r)
{
	return r->job.messages != NULL || r->ticket > 0 || r->job.deletes;
}

static unsigned *unsaved(struct sqlite *s, int64_t hash)
{
	return &s->unsaved[((uint64_t)hash >> 32) % UNSAVED];
}

/* ---- what is known ---- */

/* What the database thread found, or stored. */
static void remember(const struct request *r)
{
	struct recent *recent = r->store->recent;
	const struct db_job *job = &r->job;
	const struct store_key k = {.subject = job->subject, .thread_id = job->thread_id};
	const struct recent_thread *before = recent_find(recent, r->hash, &k);
	const struct recent_thread t = {.turns = job->thread.turns, .at_ms = job->thread.at_ms, .number = job->number};
	const size_t len = job->text != NULL ? strlen(job->text) : 0;

	if (err_is_set(&job->err) || job->number == 0 || job->is_cut || job->deletes)
		recent_drop(recent, r->hash, &k);
	else if (!writes(r))
		recent_put(recent, r->hash, &k, &t, job->turns, job->weight);
	else if (t.turns == 1 && job->text != NULL && len <= RECENT_TEXT_MAX)
		recent_put_text(recent, r->hash, &k, &t, job->text, len);
	else if (before != NULL && job->messages != NULL && job->thread.before <= before->number &&
	         before->turns + 1 == t.turns)
		recent_add(recent, r->hash, &k, &t, job->messages, turn_cache_weight(job->messages));
	else
		recent_drop(recent, r->hash, &k);
}

/* Whether a turn of a thread with this hash is yet to be stored, by whatever process. Before versions_find, which knows
 * of it from then on. */
static bool waits(struct sqlite *s, int64_t hash)
{
	return *unsaved(s, hash) > 0 || write_behind_has(s->pending, hash);
}

/* The turns of a thread, a new reference; NULL: only the database knows. */
static json_t *known_turns(struct sqlite *s, int64_t hash, const struct store_key *k)
{
	const struct recent_thread *t;
	struct version version;
	int64_t idle_ms;

	if (waits(s, hash) || !versions_find(s->versions, hash, clock_mono_ms(), &version))
		return NULL;
	if (version.never)
		return json_array();
	t = recent_find(s->recent, hash, k);
	if (t == NULL || t->number < version.since)
		return NULL;
	idle_ms = store_id_is_short(k->thread_id) ? s->limits.short_id_idle_ms : s->limits.expire_ms;
	if (idle_ms > 0 && t->at_ms < clock_wall_ms() - idle_ms)
		return json_array();
	return recent_turns(s->recent, hash, k);
}

/* ---- requests ---- */

static void free_all(struct db_jobs *jobs)
{
	struct db_job *job;

	while ((job = STAILQ_FIRST(jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(jobs, next);
		request_free(request_of(job));
	}
}

/* Called on the database thread. */
static void on_done(void *arg)
{
	const struct sqlite *s = arg;
	const uint64_t one = 1;

	/* A full counter is one that the loop has yet to read: it wakes anyway. */
	while (write(s->fd, &one, sizeof one) < 0 && errno == EINTR)
		continue;
}

static void submit(struct sqlite *s, struct request *r)
{
	if (STAILQ_EMPTY(&s->new_jobs))
		event_active(s->hand_over, EV_TIMEOUT, 0);
	STAILQ_INSERT_TAIL(&s->new_jobs, &r->job, next);
	if (writes(r))
		++*unsaved(s, r->hash);
}

/* A load that may miss a turn that was told, as this one is in a file that went away: it follows that turn into the
 * next file. */
static bool load_again(struct request *r)
{
	const bool has_run = r->job.subject != NULL && !err_is_set(&r->job.err);

	if (!has_run || r->loaded == NULL || r->store->again == 0 || *unsaved(r->store, r->hash) == 0)
		return false;
	json_decref(r->job.turns);
	r->job.turns = NULL;
	r->job.number = 0;
	submit(r->store, r);
	return true;
}

static void answer(struct request *r)
{
	const struct err *e = err_is_set(&r->job.err) ? &r->job.err : NULL;

	if (r->job.subject != NULL)
		remember(r);
	if (writes(r))
		--*unsaved(r->store, r->hash);
	r->store->again -= r->again;
	if (r->loaded != NULL)
		r->loaded(r->arg, r->job.turns, e);
	else if (r->saved != NULL)
		r->saved(r->arg, e);
	else if (r->deleted != NULL)
		r->deleted(r->arg, r->job.found, e);
	request_free(r);
}

static void answer_all(struct db_jobs *done)
{
	struct db_job *job;

	while ((job = STAILQ_FIRST(done)) != NULL) {
		STAILQ_REMOVE_HEAD(done, next);
		if (!load_again(request_of(job)))
			answer(request_of(job));
	}
}

/* As if it had not been told. */
static void store_again(struct sqlite *s, struct request *r)
{
	r->ticket = 0;
	if (r->job.messages == NULL)
		r->job.messages = json_loads(r->job.text, 0, NULL);
	free(r->job.text);
	r->job.text = NULL;
	if (r->job.messages == NULL) {
		request_free(r);
		return;
	}
	r->again = true;
	s->again++;
	submit(s, r);
}

/* What became of the turns that were told. */
static void settle(struct sqlite *s)
{
	struct write_behind_result result;
	enum write_behind_state state;
	struct db_job *job;

	while ((job = STAILQ_FIRST(&s->confirmed)) != NULL) {
		struct request *r = request_of(job);

		state = write_behind_check(s->pending, r->ticket, &result);
		if (state == WRITE_BEHIND_WAITS)
			break;
		STAILQ_REMOVE_HEAD(&s->confirmed, next);
		if (state == WRITE_BEHIND_GONE) {
			store_again(s, r);
			continue;
		}
		job->number = result.number;
		job->thread =
			(struct database_thread){.turns = result.turns, .at_ms = result.at_ms, .before = result.before};
		remember(r);
		request_free(r);
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
	db_thread_take_finished(s->thread, &done);
	settle(s); /* or the loads among them do not know what is to be stored again */
	answer_all(&done);
}

static void confirm_all(struct sqlite *s)
{
	struct db_job *job;

	if (STAILQ_EMPTY(&s->to_confirm))
		return;
	db_thread_write_behind(s->thread, s->filling);
	while ((job = STAILQ_FIRST(&s->to_confirm)) != NULL) {
		struct request *r = request_of(job);
		store_saved_fn *saved = r->saved;

		STAILQ_REMOVE_HEAD(&s->to_confirm, next);
		STAILQ_INSERT_TAIL(&s->confirmed, job, next);
		r->saved = NULL;
		if (saved != NULL)
			saved(r->arg, NULL);
	}
}

static void on_hand_over(evutil_socket_t fd, short what, void *arg)
{
	struct sqlite *s = arg;
	struct db_jobs refused = STAILQ_HEAD_INITIALIZER(refused), known = STAILQ_HEAD_INITIALIZER(known);
	struct db_job *job;

	(void)fd;
	(void)what;
	if (!STAILQ_EMPTY(&s->new_jobs)) /* it would wake the thread */
		db_thread_submit(s->thread, &s->new_jobs);
	STAILQ_CONCAT(&refused, &s->new_jobs);
	STAILQ_FOREACH(job, &refused, next)
	err_set(&job->err, "too many turns wait for the conversations' database");
	answer_all(&refused);
	STAILQ_CONCAT(&known, &s->known);
	answer_all(&known);
	confirm_all(s);
}

static struct request *request_new(struct sqlite *s, const struct store_key *k, void *arg)
{
	struct request *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->base.ops = s->base.ops;
	r->arg = arg;
	r->store = s;
	r->hash = database_key_of(s->run, k);
	r->job.subject = strdup(k->subject);
	r->job.thread_id = strdup(k->thread_id);
	if (r->job.subject != NULL && r->job.thread_id != NULL)
		return r;
	request_free(r);
	return NULL;
}

static struct store_request *sqlite_load(struct store *store, const struct store_key *k, store_loaded_fn *done,
                                         void *arg)
{
	struct sqlite *s = (struct sqlite *)store;
	json_t *turns;
	struct request *r;

	settle(s);
	turns = known_turns(s, database_key_of(s->run, k), k);
	r = turns != NULL ? calloc(1, sizeof *r) : request_new(s, k, arg);

	if (r == NULL) {
		json_decref(turns);
		return NULL;
	}
	r->loaded = done;
	if (turns == NULL) {
		submit(s, r);
		return &r->base;
	}
	r->base.ops = s->base.ops;
	r->arg = arg;
	r->store = s;
	r->job.turns = turns;
	counters_add(s->limits.counters, COUNTER_THREADS_KNOWN, 1);
	if (STAILQ_EMPTY(&s->known))
		event_active(s->hand_over, EV_TIMEOUT, 0);
	STAILQ_INSERT_TAIL(&s->known, &r->job, next);
	return &r->base;
}

/* The text of a turn that is stored as it is, in s->text. */
static bool encode(struct sqlite *s, const json_t *messages)
{
	buf_reset(&s->text);
	return json_dump(&s->text, messages) == 0 && (s->limits.turn_bytes == 0 || s->text.len <= s->limits.turn_bytes);
}

/* Whether it can be told before it is stored: it has a ticket. */
static bool get_ticket(struct sqlite *s, struct request *r, const struct store_key *k)
{
	struct write_behind_turn t = {.key = r->hash,
	                              .at_ms = clock_wall_ms(),
	                              .subject = r->job.subject,
	                              .thread_id = r->job.thread_id,
	                              .run = store_id_is_short(r->job.thread_id) ? s->run : ""};

	/* What is unsaved comes first. */
	if (!db_thread_is_well(s->thread) || *unsaved(s, r->hash) > 0 || !encode(s, r->job.messages))
		return false;
	t.text = s->text.data;
	t.len = s->text.len;
	settle(s);
	r->ticket = write_behind_add(s->pending, &t, &s->filling);
	if (r->ticket > 0 && t.len <= RECENT_TEXT_MAX)
		r->job.text = strdup(t.text);
	/* The values are only of use to a thread whose other turns are known. */
	if (r->job.text != NULL && recent_find(s->recent, r->hash, k) == NULL) {
		json_decref(r->job.messages);
		r->job.messages = NULL;
	}
	return r->ticket > 0;
}

static struct store_request *sqlite_append(struct store *store, const struct store_key *k, json_t *messages,
                                           store_saved_fn *done, void *arg)
{
	struct sqlite *s = (struct sqlite *)store;
	struct request *r = request_new(s, k, arg);

	if (r == NULL) {
		json_decref(messages);
		return NULL;
	}
	r->saved = done;
	r->job.messages = messages;
	if (!get_ticket(s, r, k)) {
		submit(s, r);
		return &r->base;
	}
	if (STAILQ_EMPTY(&s->to_confirm))
		event_active(s->hand_over, EV_TIMEOUT, 0);
	STAILQ_INSERT_TAIL(&s->to_confirm, &r->job, next);
	return &r->base;
}

static struct store_request *sqlite_delete(struct store *store, const struct store_key *k, const char *response,
                                           store_deleted_fn *done, void *arg)
{
	struct sqlite *s = (struct sqlite *)store;
	struct request *r = request_new(s, k, arg);

	if (r == NULL)
		return NULL;
	r->deleted = done;
	r->job.deletes = true;
	r->job.response = response != NULL ? strdup(response) : NULL;
	if (response != NULL && r->job.response == NULL) {
		request_free(r);
		return NULL;
	}
	submit(s, r);
	return &r->base;
}

static void sqlite_cancel(struct store_request *request)
{
	struct request *r = (struct request *)request;

	r->loaded = NULL;
	r->saved = NULL;
	r->deleted = NULL;
}

static void sqlite_configure(struct store *store, const struct store_limits *limits)
{
	struct sqlite *s = (struct sqlite *)store;

	s->limits = *limits;
	db_thread_set_limits(s->thread, limits);
}

static void sqlite_free(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	struct db_jobs left = STAILQ_HEAD_INITIALIZER(left);

	if (s->thread != NULL) {
		settle(s);
		db_thread_submit(s->thread, &s->new_jobs);
		db_thread_free(s->thread, &left);
	}
	free_all(&left);
	free_all(&s->new_jobs);
	free_all(&s->known);
	free_all(&s->to_confirm);
	free_all(&s->confirmed);
	recent_free(s->recent);
	buf_free(&s->text);
	free(s->run);
	if (s->ready != NULL)
		event_free(s->ready);
	if (s->hand_over != NULL)
		event_free(s->hand_over);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

static struct store *sqlite_open(const struct store_place *place, const struct store_limits *limits, struct err *e)
{
	struct sqlite *s = calloc(1, sizeof *s);

	if (s == NULL) {
		err_set(e, "no memory for the conversations");
		return NULL;
	}
	s->base.ops = &store_sqlite;
	STAILQ_INIT(&s->new_jobs);
	STAILQ_INIT(&s->known);
	STAILQ_INIT(&s->to_confirm);
	STAILQ_INIT(&s->confirmed);
	s->text = (struct buf)BUF_INIT(EARLY_BYTES);
	s->limits = *limits;
	s->run = strdup(place->run);
	s->recent = recent_new(RECENT_BYTES);
	s->hand_over = event_new(place->base, -1, 0, on_hand_over, s);
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0)
		err_set_errno(e, errno, "eventfd");
	else
		s->ready = event_new(place->base, s->fd, EV_READ | EV_PERSIST, on_ready, s);
	if (s->hand_over != NULL && s->run != NULL && s->recent != NULL && s->ready != NULL &&
	    event_add(s->ready, NULL) == 0)
		s->thread = db_thread_new(place->path, place->run, limits, on_done, s, e);
	if (s->thread != NULL) {
		s->versions = db_thread_versions(s->thread);
		s->pending = db_thread_pending(s->thread);
		return &s->base;
	}
	err_set(e, "no memory for the conversations");
	sqlite_free(&s->base);
	return NULL;
}

/* The directory is not made: it is missing where the service runs without one of its own. */
static int sqlite_check(const struct store_place *place, struct err *e)
{
	const char *file = place->path, *slash = strrchr(file, '/');
	char directory[1024];

	if (slash == NULL || slash == file)
		return 0;
	snprintf(directory, sizeof directory, "%.*s", (int)(slash - file), file);
	if (access(directory, F_OK) == 0 || errno != ENOENT)
		return 0;
	return err_set(e, "the directory %s does not exist", directory);
}

const struct store_ops store_sqlite = {
	.check = sqlite_check,
	.open = sqlite_open,
	.load = sqlite_load,
	.append = sqlite_append,
	.delete = sqlite_delete,
	.cancel = sqlite_cancel,
	.configure = sqlite_configure,
	.free = sqlite_free,
	.admin = &database_admin_ops,
};
