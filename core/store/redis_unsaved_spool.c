/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/redis_unsaved_internal.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdlib.h>
#include <string.h>

#define PUT_AT_ONCE 256
#define READ_BYTES  (1u << 20)
/* What a process has that is ending is free soon, or after its last chat. */
#define SCAN_MS       1000
#define SCANS         60
#define SCAN_LATER_MS 60000

/* The jobs run one after the other on the background thread, which alone uses the spool. */
struct spooling {
	struct unsaved *unsaved;
	struct spool *spool;
	bool puts, takes;
	bool put_failed, take_failed; /* as logged */
	/* The turns that were taken last: how many are still here, and which are to be removed there. */
	size_t here;
	int64_t first, last; /* their rows */
	int64_t settled[UNSAVED_SENT_AT_ONCE];
	size_t settled_count;
	bool stuck;    /* Redis did not take one of them */
	int64_t after; /* the row after which the next are taken: others may be for a server that works */
	struct event *scan;
	int scans;
};

/* Of all jobs. */
struct outcome {
	bool ran;
	int result;
	struct spool_size size;
	struct err err;
};

static void end_job(struct outcome *o, const struct spooling *s, int result)
{
	o->ran = true;
	o->result = result;
	o->size = spool_size(s->spool);
}

/* Logged once, until it works again. */
static void note_outcome(const struct spooling *s, bool *failed, const struct outcome *o, const char *effect)
{
	if (o->result < 0 && !*failed)
		log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", o->err.text), L_STR("effect", effect));
	if (o->result < 0)
		unsaved_retry_later(s->unsaved);
	*failed = o->result < 0;
}

/* ---- to the spool ---- */

struct put_job {
	struct spooling *spooling;
	struct append *appends[PUT_AT_ONCE];
	size_t count;
	int64_t first, last; /* rows that are kept: they are being sent */
	int64_t max_bytes, dropped;
	struct outcome outcome;
};

static struct spool_turn turn_of(const struct append *a)
{
	const struct store_key *key = a->thread->key;

	return (struct spool_turn){.subject = key->subject,
	                           .thread_id = key->thread_id,
	                           .run = store_id_is_short(key->thread_id) ? a->thread->unsaved->options.run : "",
	                           .id = a->id,
	                           .answer = a->answer,
	                           .at_ms = a->at_ms,
	                           .messages = a->text,
	                           .len = a->len};
}

static void put(void *arg)
{
	struct spool_turn turns[PUT_AT_ONCE];
	struct put_job *j = arg;
	struct spooling *s = j->spooling;
	int result;

	for (size_t i = 0; i < j->count; i++)
		turns[i] = turn_of(j->appends[i]);
	result = spool_put(s->spool, turns, j->count, &j->outcome.err);
	if (result == 0)
		j->dropped = spool_drop_surplus(s->spool, j->first, j->last, j->max_bytes, &j->outcome.err);
	end_job(&j->outcome, s, result);
}

static void put_ended(struct put_job *j)
{
	struct spooling *s = j->spooling;
	const bool is_there = j->outcome.ran && j->outcome.result == 0;

	s->puts = false;
	for (size_t i = 0; i < j->count; i++) {
		struct append *a = j->appends[i];

		a->state = APPEND_WAITING;
		if (is_there)
			thread_put(a->thread, &s->unsaved->ready);
		if (is_there || a->deleted)
			append_free(a);
	}
	if (j->outcome.ran)
		s->unsaved->spooled = j->outcome.size.turns;
	if (j->dropped > 0)
		unsaved_count_lost(s->unsaved, j->dropped);
	unsaved_count(s->unsaved);
	free(j);
}

static void on_put(void *arg)
{
	struct put_job *j = arg;
	struct spooling *s = j->spooling;

	note_outcome(s, &s->put_failed, &j->outcome, "turns that wait for Redis are in memory only");
	put_ended(j);
	event_active(s->unsaved->pump, EV_TIMEOUT, 0);
}

/* What did not run is in memory. */
static void on_put_dropped(void *arg)
{
	put_ended(arg);
}

static bool waits_long(const struct unsaved *u, const struct append *a)
{
	return a->state == APPEND_WAITING && a->row == 0 && a->late && a->deletion == NULL && !a->deleted &&
	       a->thread->list == &u->blocked;
}

void spooling_put(struct unsaved *u, bool again)
{
	static const struct background_work work = {.run = put, .done = on_put, .drop = on_put_dropped};
	struct spooling *s = u->spooling;
	struct put_job *j;
	struct append *a;

	if (s == NULL || s->puts || (s->put_failed && !again) || TAILQ_EMPTY(&u->blocked) ||
	    (j = calloc(1, sizeof *j)) == NULL)
		return;
	*j = (struct put_job){
		.spooling = s, .first = s->first, .last = s->last, .max_bytes = (int64_t)unsaved_max_bytes(u)};
	TAILQ_FOREACH(a, &u->queue, next)
	{
		if (j->count == PUT_AT_ONCE)
			break;
		if (waits_long(u, a))
			j->appends[j->count++] = a;
	}
	if (j->count == 0 || background_start(u->options.background, &work, j) == NULL) {
		free(j);
		return;
	}
	s->puts = true;
	for (size_t i = 0; i < j->count; i++)
		j->appends[i]->state = APPEND_SPOOLING;
}

/* ---- and back ---- */

struct taken {
	struct store_key *key;
	struct spool_turn turn; /* but its key */
	char *messages;
	char texts[]; /* its id and answer */
};

struct take_job {
	struct spooling *spooling;
	int64_t settled[UNSAVED_SENT_AT_ONCE];
	size_t settled_count;
	bool reads;
	int64_t after;
	struct taken *taken[UNSAVED_SENT_AT_ONCE];
	size_t count;
	struct outcome outcome;
};

static void taken_free(struct taken *t)
{
	if (t == NULL)
		return;
	free(t->key);
	free(t->messages);
	free(t);
}

static struct taken *copy_of(const struct spool_turn *turn)
{
	const size_t id = strlen(turn->id) + 1, answer = strlen(turn->answer) + 1;
	struct taken *t = malloc(sizeof *t + id + answer);

	if (t == NULL)
		return NULL;
	t->turn = *turn;
	t->turn.id = t->texts;
	t->turn.answer = t->texts + id;
	memcpy(t->texts, turn->id, id);
	memcpy(t->texts + id, turn->answer, answer);
	t->key = store_key_copy(&(struct store_key){.subject = turn->subject, .thread_id = turn->thread_id});
	t->messages = strndup(turn->messages, turn->len);
	if (t->key != NULL && t->messages != NULL)
		return t;
	taken_free(t);
	return NULL;
}

static void take_turn(void *arg, const struct spool_turn *turn)
{
	struct take_job *j = arg;
	struct taken *t = copy_of(turn);

	if (t != NULL)
		j->taken[j->count++] = t;
}

static void take(void *arg)
{
	struct take_job *j = arg;
	struct spool *spool = j->spooling->spool;
	int result = spool_remove(spool, j->settled, j->settled_count, &j->outcome.err);

	if (result == 0 && j->reads)
		result = spool_read(spool, j->after, UNSAVED_SENT_AT_ONCE, READ_BYTES, take_turn, j, &j->outcome.err);
	end_job(&j->outcome, j->spooling, result);
}

static const struct unsaved_deletion *deletion_of(const struct unsaved *u, const struct taken *t)
{
	const struct unsaved_deletion *d;

	LIST_FOREACH(d, &u->deletions, next)
	if (strcmp(d->key->thread_id, t->key->thread_id) == 0 && strcmp(d->key->subject, t->key->subject) == 0 &&
	    (d->response == NULL || strcmp(d->response, t->turn.answer) == 0))
		return d;
	return NULL;
}

static void send_taken(struct spooling *s, struct taken *t)
{
	struct append *a = append_new(s->unsaved, t->key, t->turn.answer);

	if (a == NULL) {
		s->stuck = true;
		unsaved_retry_later(s->unsaved);
		return;
	}
	a->row = t->turn.row;
	a->at_ms = t->turn.at_ms;
	a->late = true;
	a->deletion = deletion_of(s->unsaved, t);
	snprintf(a->id, sizeof a->id, "%s", t->turn.id);
	s->unsaved->waiting--; /* it is counted in the spool */
	if (s->here++ == 0)
		s->first = a->row;
	s->last = s->after = a->row;
	append_set_text(a, t->messages, t->turn.len);
	t->messages = NULL;
}

static void take_ended(struct take_job *j)
{
	for (size_t i = 0; i < j->count; i++)
		taken_free(j->taken[i]);
	free(j);
}

static void on_taken(void *arg)
{
	struct take_job *j = arg;
	struct spooling *s = j->spooling;

	s->takes = false;
	s->unsaved->spooled = j->outcome.size.turns;
	note_outcome(s, &s->take_failed, &j->outcome, "turns that wait for Redis are not stored");
	if (j->outcome.result < 0) {
		s->stuck = true;
	} else {
		s->settled_count = 0;
		s->stuck = s->stuck || (j->reads && j->count == 0 && j->after == 0);
		s->after = 0;
		for (size_t i = 0; i < j->count; i++)
			send_taken(s, j->taken[i]);
	}
	unsaved_count(s->unsaved);
	event_active(s->unsaved->pump, EV_TIMEOUT, 0);
	take_ended(j);
}

/* What the server has is not to be sent again. */
static void on_take_dropped(void *arg)
{
	struct take_job *j = arg;

	if (!j->outcome.ran) {
		j->reads = false;
		take(j);
	}
	take_ended(j);
}

void spooling_take(struct unsaved *u, bool again)
{
	static const struct background_work work = {.run = take, .done = on_taken, .drop = on_take_dropped};
	struct spooling *s = u->spooling;
	struct redis_state state;
	struct take_job *j;
	bool can_send;

	if (s == NULL || s->takes || s->here > 0)
		return;
	if (s->unsaved->spooled == 0) {
		s->settled_count = 0;
		return;
	}
	s->stuck = s->stuck && !again;
	redis_state(u->redis, &state);
	can_send = state.usable || redis_servers(u->redis) > 1; /* of a cluster, some may be */
	if ((s->settled_count == 0 && (s->stuck || !can_send)) || (j = calloc(1, sizeof *j)) == NULL)
		return;
	j->spooling = s;
	j->settled_count = s->settled_count;
	memcpy(j->settled, s->settled, sizeof j->settled);
	j->reads = !s->stuck && can_send;
	j->after = s->after;
	if (background_start(u->options.background, &work, j) != NULL)
		s->takes = true;
	else
		free(j);
}

void spooling_settle(struct unsaved *u, const struct append *a, bool settled)
{
	struct spooling *s = u->spooling;

	s->here--;
	if (settled)
		s->settled[s->settled_count++] = a->row;
	else
		s->stuck = true;
	if (s->here == 0) {
		s->first = s->last = 0;
		event_active(u->pump, EV_TIMEOUT, 0);
	}
}

/* ---- what loads and deletions see ---- */

static void add_turn(void *arg, const struct spool_turn *t)
{
	json_t *messages = json_loadb(t->messages, t->len, JSON_ALLOW_NUL, NULL);

	json_array_append_new(arg, json_pack("[s, o]", t->id, messages != NULL ? messages : json_null()));
}

bool unsaved_has_spooled(const struct unsaved *u)
{
	return u->spooling != NULL && (u->spooled > 0 || u->spooling->puts);
}

json_t *unsaved_read_spooled(const struct unsaved *u, const struct store_key *k)
{
	json_t *turns = json_array();
	struct err ignored = ERR_INIT; /* as where Redis is away: it goes on with what there is */

	if (turns != NULL)
		spool_read_thread(u->spooling->spool, k, add_turn, turns, &ignored);
	return turns;
}

struct delete_job {
	struct spooling *spooling;
	struct unsaved_deletion *deletion;
	spooling_deleted_fn *ended;
	int64_t deleted;
	struct outcome outcome;
};

static void delete_there(void *arg)
{
	struct delete_job *j = arg;

	j->deleted = spool_delete(j->spooling->spool, j->deletion->key, j->deletion->response, &j->outcome.err);
	end_job(&j->outcome, j->spooling, j->deleted < 0 ? -1 : 0);
}

static void on_deleted(void *arg)
{
	struct delete_job *j = arg;
	struct spooling *s = j->spooling;

	s->unsaved->spooled = j->outcome.size.turns;
	unsaved_count(s->unsaved);
	j->deletion->found = j->deletion->found || j->deleted > 0;
	j->ended(s->unsaved, j->deletion, j->outcome.result < 0 ? &j->outcome.err : NULL);
	free(j);
}

static void on_delete_dropped(void *arg)
{
	struct delete_job *j = arg;

	if (!j->outcome.ran)
		delete_there(j);
	free(j);
}

void spooling_delete(struct unsaved *u, struct unsaved_deletion *d, spooling_deleted_fn *ended)
{
	static const struct background_work work = {.run = delete_there, .done = on_deleted, .drop = on_delete_dropped};
	struct delete_job *j = unsaved_has_spooled(u) ? calloc(1, sizeof *j) : NULL;
	struct err e = ERR_INIT;

	if (j != NULL) {
		*j = (struct delete_job){.spooling = u->spooling, .deletion = d, .ended = ended};
		if (background_start(u->options.background, &work, j) != NULL)
			return;
		free(j);
	}
	err_set(&e, "no memory to delete what waits for Redis");
	ended(u, d, unsaved_has_spooled(u) ? &e : NULL);
}

/* ---- the beginning and the end ---- */

struct scan_job {
	struct spooling *spooling;
	bool held;
	struct outcome outcome;
};

static void scan(void *arg)
{
	struct scan_job *j = arg;

	end_job(&j->outcome, j->spooling, spool_take_over(j->spooling->spool, &j->held, &j->outcome.err));
}

static void on_scanned(void *arg)
{
	struct scan_job *j = arg;
	struct spooling *s = j->spooling;
	const struct timeval later = clock_timeval_ms(s->scans++ < SCANS ? SCAN_MS : SCAN_LATER_MS);

	s->unsaved->spooled = j->outcome.size.turns;
	unsaved_count(s->unsaved);
	note_outcome(s, &s->take_failed, &j->outcome, "turns that wait for Redis are not stored");
	if (j->held)
		event_add(s->scan, &later);
	spooling_take(s->unsaved, false);
	free(j);
}

static void on_scan(evutil_socket_t fd, short what, void *arg)
{
	static const struct background_work work = {.run = scan, .done = on_scanned, .drop = free};
	struct spooling *s = arg;
	struct scan_job *j = calloc(1, sizeof *j);

	(void)fd, (void)what;
	if (j == NULL)
		return;
	j->spooling = s;
	if (background_start(s->unsaved->options.background, &work, j) == NULL)
		free(j);
}

void spooling_scan(struct unsaved *u)
{
	struct spooling *s = u->spooling;

	if (s == NULL || !spool_exists(s->spool))
		return;
	s->scans = 0;
	event_active(s->scan, EV_TIMEOUT, 0);
}

size_t spooling_put_rest(struct unsaved *u)
{
	struct spooling *s = u->spooling;
	struct err e = ERR_INIT;
	size_t failed = 0;
	int64_t dropped = 0;
	struct append *a;

	TAILQ_FOREACH(a, &u->queue, next)
	{
		struct spool_turn turn = turn_of(a);

		if (a->row != 0 || a->flushed || a->deleted || a->deletion != NULL)
			continue;
		if (s == NULL || a->text == NULL || failed > 0 || spool_put(s->spool, &turn, 1, &e) < 0)
			failed++;
	}
	if (s != NULL)
		dropped = spool_drop_surplus(s->spool, 0, 0, (int64_t)unsaved_max_bytes(u), &e);
	return failed + (dropped > 0 ? (size_t)dropped : 0);
}

bool spooling_works(const struct unsaved *u)
{
	return u->spooling != NULL && !u->spooling->put_failed;
}

void spooling_close(struct unsaved *u)
{
	struct spooling *s = u->spooling;
	struct err ignored = ERR_INIT;
	int64_t turns = 0;

	u->spooling = NULL;
	u->spooled = 0;
	if (s == NULL)
		return;
	if (s->scan != NULL)
		event_free(s->scan);
	if (s->spool != NULL) {
		/* Else they are sent again, and stored once. */
		spool_remove(s->spool, s->settled, s->settled_count, &ignored);
		turns = spool_size(s->spool).turns;
	}
	if (turns > 0)
		log_event(LOG_THREADS_REDIS_ERROR, L_STR("error", "a worker ends while turns wait to be stored"),
		          L_INT("turns_to_store", turns), L_STR("effect", "the next one stores them"));
	spool_free(s->spool);
	free(s);
}

void spooling_open(struct unsaved *u)
{
	const struct unsaved_options *o = &u->options;
	struct spooling *s = o->directory[0] != '\0' ? calloc(1, sizeof *s) : NULL;

	if (s == NULL)
		return;
	u->spooling = s;
	s->unsaved = u;
	s->spool = spool_new(o->directory, o->run);
	s->scan = event_new(o->base, -1, 0, on_scan, s);
	if (s->spool == NULL || s->scan == NULL)
		spooling_close(u);
	else
		spooling_scan(u);
}
