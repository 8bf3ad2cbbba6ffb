/* SPDX-License-Identifier: Apache-2.0 */
/* How much each may use: the turns that run, and what they take of limits, on this host or with others. */
#include "core/access/access_private.h"

#include "core/base/log.h"

#include <stdlib.h>

/* ---- limits ---- */

static bool needs_limits(const struct access *a)
{
	return a->all_requests != 0 || a->all_tokens != 0;
}

static void open_limits(struct access *a)
{
	struct err e = ERR_INIT;

	if (clock_mono_ms() < a->limits_due_ms)
		return;
	a->limits_due_ms = clock_mono_ms() + ACCESS_RETRY_MS;
	a->limits = limits_open(a->run_dir, clock_boot_ns, &e);
	if (a->limits == NULL && !a->limits_failed)
		log_event(LOG_LIMITS_NOT_COUNTED, L_STR("error", e.text));
	a->limits_failed = a->limits == NULL;
	if (a->limits != NULL)
		access_wake(a);
}

void access_turn_configure(struct access *a)
{
	if (a->limits == NULL && needs_limits(a))
		open_limits(a);
}

void access_turn_tick(struct access *a)
{
	if (a->limits == NULL || clock_mono_ms() < a->limits_due_ms)
		return;
	a->limits_due_ms = clock_mono_ms() + ACCESS_RETRY_MS;
	limits_tick(a->limits);
}

static struct access_limits limits_of(const struct access *a, const struct access_identity *i)
{
	struct access_limits l = i->limits;

	if (*i->subject == '\0')
		return l; /* everybody whom nobody knows is not one client */
	if (l.requests == 0)
		l.requests = a->defaults.requests;
	if (l.tokens == 0)
		l.tokens = a->defaults.tokens;
	if (l.turns == 0)
		l.turns = a->defaults.turns;
	return l;
}

/* A host's part of a limit that it cannot count with the others. */
static int64_t part_of(int64_t limit, unsigned hosts)
{
	return limit == 0 || hosts <= 1 ? limit : limit / hosts > 0 ? limit / hosts : 1;
}

/* On this host alone; false: refused. */
static bool take_here(struct access_turn *t, struct access_refusal *r)
{
	struct access *a = t->access;
	struct limits_request wanted = t->wanted;
	struct limits_answer answer;
	enum limits_verdict v;

	wanted.own.requests = part_of(wanted.own.requests, a->hosts);
	wanted.own.tokens = part_of(wanted.own.tokens, a->hosts);
	wanted.own.turns = part_of(wanted.own.turns, a->hosts);
	wanted.all_requests = part_of(wanted.all_requests, a->hosts);
	wanted.all_tokens = part_of(wanted.all_tokens, a->hosts);
	if (a->limits == NULL)
		open_limits(a);
	if (a->limits == NULL)
		return true;
	v = limits_take(a->limits, &wanted, &answer);
	if (v != LIMITS_GRANTED) {
		access_refuse_limit(r, &wanted, v, &answer);
		return false;
	}
	t->share = answer.share;
	t->requests = answer.requests;
	t->tokens = answer.tokens;
	return true;
}

/* ---- turns ---- */

static void turn_free(struct access_turn *t)
{
	access_identity_unref(t->identity);
	free(t);
}

/* Redis has decided, or did not. */
static void on_taken(void *arg, enum limits_verdict v, const struct limits_answer *answer)
{
	struct access_turn *t = arg;
	struct access_refusal refusal;
	bool granted = v == LIMITS_GRANTED;

	if (answer == NULL) {
		t->shared = NULL;
		granted = take_here(t, &refusal);
	} else if (granted) {
		t->requests = answer->requests;
		t->tokens = answer->tokens;
	} else {
		t->shared = NULL;
		access_refuse_limit(&refusal, &t->wanted, v, answer);
	}
	if (!t->pending)
		return;
	t->pending = false;
	if (granted) {
		TAILQ_INSERT_TAIL(&t->access->turns, t, next);
		t->decided(t->arg, NULL);
		return;
	}
	t->decided(t->arg, &refusal);
	turn_free(t);
}

/* False: refused. Where nothing is limited, nothing is counted. */
static bool take(struct access_turn *t, const struct access_turn_request *request, struct access_refusal *r)
{
	struct access *a = t->access;
	const struct access_limits own = limits_of(a, request->identity);

	if (own.requests == 0 && own.tokens == 0 && own.turns == 0 && !needs_limits(a))
		return true;
	t->wanted = (struct limits_request){.client = identity_of(request->identity)->counted_as,
	                                    .own = own,
	                                    .all_requests = a->all_requests,
	                                    .all_tokens = a->all_tokens,
	                                    .tokens = request->tokens > 0 ? request->tokens : 0,
	                                    .forced = request->resumed};
	if (a->shared != NULL)
		t->shared = shared_limits_take(a->shared, &t->wanted, on_taken, t);
	t->pending = t->shared != NULL && !request->resumed;
	return t->shared != NULL || take_here(t, r);
}

struct access_turn *access_turn_begin(struct access *a, const struct access_turn_request *request,
                                      struct access_refusal *r)
{
	struct access_turn *t = calloc(1, sizeof *t);

	if (t == NULL) {
		access_refuse_memory(r);
		return NULL;
	}
	t->access = a;
	if (!take(t, request, r)) {
		free(t);
		return NULL;
	}
	t->identity = access_identity_ref(request->identity);
	t->revoked = request->revoked;
	t->decided = request->decided;
	t->arg = request->arg;
	if (!t->pending)
		TAILQ_INSERT_TAIL(&a->turns, t, next);
	return t;
}

bool access_turn_is_pending(const struct access_turn *t)
{
	return t->pending;
}

void access_turn_end(struct access_turn *t, int64_t tokens)
{
	if (t == NULL)
		return;
	shared_limits_give(t->shared, tokens);
	if (t->access->limits != NULL)
		limits_give(t->access->limits, &t->share, tokens);
	if (!t->pending)
		TAILQ_REMOVE(&t->access->turns, t, next);
	turn_free(t);
}

void access_turn_end_revoked(struct access *a)
{
	struct access_turn *t;

	TAILQ_FOREACH(t, &a->turns, next)
	{
		const struct key *k = *t->identity->key_id == '\0' ? NULL : keys_find_id(a->keys, t->identity->key_id);

		t->ends = t->revoked != NULL && k != NULL && k->revoked && k->ends_answers;
	}
	/* Each call may end any of them. */
	for (t = TAILQ_FIRST(&a->turns); t != NULL; t = TAILQ_FIRST(&a->turns)) {
		void (*revoked)(void *arg);

		while (t != NULL && !t->ends)
			t = TAILQ_NEXT(t, next);
		if (t == NULL)
			break;
		revoked = t->revoked;
		t->ends = false;
		t->revoked = NULL;
		revoked(t->arg);
	}
}
