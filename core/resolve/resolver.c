/* SPDX-License-Identifier: Apache-2.0 */
#include "core/resolve/resolver.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/resolve/lookup.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define BUCKETS  256u
#define GOOD_MS  30000
#define BAD_MS   1000
#define DOUBT_MS 1000   /* between two lookups of a name whose address does not answer */
#define STALE_MS 600000 /* how long an old answer is used while the name server fails */
#define SWEEP_AT 1024u

struct resolver_query {
	TAILQ_ENTRY(resolver_query) link; /* in its entry, or in resolver.ready */
	struct resolver *resolver;
	struct entry *entry; /* waits for this one; NULL: ready */
	char *resolve;       /* the answer once ready; NULL: err */
	bool exhausted;      /* our own resources were: that is the failure */
	struct err err;
	resolver_done_fn *done;
	void *arg;
};
TAILQ_HEAD(query_list, resolver_query);

struct entry {
	LIST_ENTRY(entry) link; /* in its bucket */
	struct query_list waiting;
	struct lookup_job *job; /* running; NULL: none */
	char *resolve;          /* the last good answer */
	int64_t good_until_ms, stale_until_ms, bad_until_ms;
	int64_t answered_ms; /* the last lookup ended */
	bool exhausted;      /* of the last failure */
	struct err err;
	uint16_t port;
	char host[]; /* lower case */
};
LIST_HEAD(entry_list, entry);

struct resolver {
	struct event_base *base;
	struct lookup_pool *pool;
	struct event *deliver; /* answers the queries that are ready */
	struct query_list ready;
	struct resolver_query *delivering;
	struct entry_list buckets[BUCKETS];
	size_t entries, sweep_at;
};

static unsigned bucket_of(const char *host, uint16_t port)
{
	uint32_t h = 2166136261u ^ port;

	for (; *host != '\0'; host++)
		h = (h ^ (unsigned char)*host) * 16777619u;
	return h % BUCKETS;
}

static struct entry *find(struct resolver *r, const char *host, uint16_t port)
{
	struct entry *en;

	LIST_FOREACH(en, &r->buckets[bucket_of(host, port)], link)
	if (en->port == port && strcmp(en->host, host) == 0)
		return en;
	return NULL;
}

static void entry_drop(struct resolver *r, struct entry *en)
{
	LIST_REMOVE(en, link);
	r->entries--;
	free(en->resolve);
	free(en);
}

/* Drops names that are no longer used; the limit doubles where all are in use. */
static void sweep(struct resolver *r)
{
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < BUCKETS; i++) {
		struct entry *en = LIST_FIRST(&r->buckets[i]);

		while (en != NULL) {
			struct entry *next = LIST_NEXT(en, link);

			if (en->job == NULL && TAILQ_EMPTY(&en->waiting) && en->good_until_ms < now &&
			    en->bad_until_ms < now)
				entry_drop(r, en);
			en = next;
		}
	}
	r->sweep_at = r->entries * 2 > SWEEP_AT ? r->entries * 2 : SWEEP_AT;
}

static struct entry *entry_new(struct resolver *r, const char *host, uint16_t port)
{
	size_t len = strlen(host);
	struct entry *en;

	if (r->entries >= r->sweep_at)
		sweep(r);
	en = calloc(1, sizeof *en + len + 1);
	if (en == NULL)
		return NULL;
	memcpy(en->host, host, len + 1);
	en->port = port;
	TAILQ_INIT(&en->waiting);
	LIST_INSERT_HEAD(&r->buckets[bucket_of(host, port)], en, link);
	r->entries++;
	return en;
}

/* In lower case, without brackets; false where it is not a host name. */
static bool normalise(const char *host, char *out, size_t size)
{
	size_t len = strlen(host);

	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (len == 0 || len >= size)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)host[i];

		if (c <= ' ' || c == 0x7f || strchr("/@[]?#\\,", c) != NULL)
			return false;
		out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	out[len] = '\0';
	return true;
}

static bool is_literal(const char *host, bool *v6)
{
	unsigned char addr[sizeof(struct in6_addr)];

	*v6 = inet_pton(AF_INET6, host, addr) == 1;
	return *v6 || inet_pton(AF_INET, host, addr) == 1;
}

static void make_ready(struct resolver_query *q)
{
	TAILQ_INSERT_TAIL(&q->resolver->ready, q, link);
	q->entry = NULL;
	event_active(q->resolver->deliver, EV_TIMEOUT, 0);
}

static void answer(struct resolver_query *q, const char *resolve, bool exhausted, const struct err *e)
{
	if (resolve != NULL) {
		q->resolve = strdup(resolve);
		q->exhausted = q->resolve == NULL;
		if (q->exhausted)
			err_set_errno(&q->err, ENOMEM, "a name lookup");
	} else {
		q->exhausted = exhausted;
		q->err = *e;
	}
	make_ready(q);
}

static void looked_up(void *arg, const char *addresses, enum lookup_failure why, const struct err *e)
{
	struct entry *en = arg;
	struct resolver_query *q;
	struct buf text = BUF_INIT(8192);
	int64_t now = clock_mono_ms();

	en->job = NULL;
	en->answered_ms = now;
	if (addresses != NULL && buf_addf(&text, "%s:%u:%s", en->host, en->port, addresses) == 0) {
		free(en->resolve);
		en->resolve = buf_steal(&text, NULL);
		en->good_until_ms = now + GOOD_MS;
		en->stale_until_ms = now + STALE_MS;
	} else if (why != LOOKUP_NO_NAME && en->resolve != NULL && now < en->stale_until_ms) {
		en->good_until_ms = now + BAD_MS;
	} else {
		free(en->resolve);
		en->resolve = NULL;
		en->good_until_ms = 0;
		en->bad_until_ms = now + BAD_MS;
		en->exhausted = addresses != NULL || why == LOOKUP_EXHAUSTED;
		err_clear(&en->err);
		err_set(&en->err, "%s", err_is_set(e) ? e->text : "a name lookup: out of memory");
	}
	buf_free(&text);
	while ((q = TAILQ_FIRST(&en->waiting)) != NULL) {
		TAILQ_REMOVE(&en->waiting, q, link);
		answer(q, en->resolve, en->exhausted, &en->err);
	}
}

static void look_up(struct resolver *r, struct resolver_query *q, const char *host, uint16_t port)
{
	struct entry *en = find(r, host, port);
	int64_t now = clock_mono_ms();

	if (en == NULL)
		en = entry_new(r, host, port);
	if (en != NULL && en->job == NULL && en->resolve != NULL && now < en->good_until_ms) {
		answer(q, en->resolve, false, NULL);
		return;
	}
	if (en != NULL && en->job == NULL && now < en->bad_until_ms) {
		answer(q, NULL, en->exhausted, &en->err);
		return;
	}
	if (en != NULL && en->job == NULL)
		en->job = lookup_start(r->pool, en->host, looked_up, en, &q->err);
	if (en == NULL || en->job == NULL) {
		q->exhausted = true;
		err_set_errno(&q->err, ENOMEM, "a name lookup");
		make_ready(q);
		return;
	}
	q->entry = en;
	TAILQ_INSERT_TAIL(&en->waiting, q, link);
}

struct resolver_query *resolver_lookup(struct resolver *r, const char *host, uint16_t port, resolver_done_fn *done,
                                       void *arg)
{
	struct resolver_query *q = calloc(1, sizeof *q);
	char name[256], literal[320];
	bool v6;

	if (q == NULL)
		return NULL;
	q->resolver = r;
	q->done = done;
	q->arg = arg;
	if (!normalise(host, name, sizeof name)) {
		err_set(&q->err, "'%.200s' is not a host name", host);
		make_ready(q);
	} else if (is_literal(name, &v6)) {
		snprintf(literal, sizeof literal, v6 ? "[%s]:%u:[%s]" : "%s:%u:%s", name, port, name);
		answer(q, literal, false, NULL);
	} else {
		look_up(r, q, name, port);
	}
	return q;
}

static void query_free(struct resolver_query *q)
{
	free(q->resolve);
	free(q);
}

void resolver_cancel(struct resolver_query *q)
{
	struct resolver *r = q->resolver;

	/* on_deliver frees the query that is being answered. */
	if (r->delivering == q)
		return;
	TAILQ_REMOVE(q->entry != NULL ? &q->entry->waiting : &r->ready, q, link);
	query_free(q);
}

static void on_deliver(evutil_socket_t fd, short what, void *arg)
{
	struct resolver *r = arg;
	struct resolver_query *q;

	(void)fd;
	(void)what;
	while ((q = TAILQ_FIRST(&r->ready)) != NULL) {
		TAILQ_REMOVE(&r->ready, q, link);
		r->delivering = q;
		q->done(q->arg, q->resolve, q->exhausted, q->resolve != NULL ? NULL : &q->err);
		r->delivering = NULL;
		query_free(q);
	}
}

const char *resolver_cached(struct resolver *r, const char *host, uint16_t port)
{
	char name[256];
	struct entry *en;

	if (!normalise(host, name, sizeof name))
		return NULL;
	en = find(r, name, port);
	if (en == NULL || en->resolve == NULL || clock_mono_ms() >= en->good_until_ms)
		return NULL;
	return en->resolve;
}

int64_t resolver_doubt(struct resolver *r, const char *host, uint16_t port)
{
	char name[256];
	struct entry *en = normalise(host, name, sizeof name) ? find(r, name, port) : NULL;
	int64_t now = clock_mono_ms();

	if (en == NULL || en->job != NULL)
		return 0;
	if (now - en->answered_ms < DOUBT_MS)
		return DOUBT_MS - (now - en->answered_ms);
	en->good_until_ms = en->bad_until_ms = 0;
	return 0;
}

struct resolver *resolver_new(struct event_base *base, struct err *e)
{
	struct resolver *r = calloc(1, sizeof *r);

	if (r == NULL) {
		err_set_errno(e, ENOMEM, "resolver");
		return NULL;
	}
	r->base = base;
	r->sweep_at = SWEEP_AT;
	TAILQ_INIT(&r->ready);
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_INIT(&r->buckets[i]);
	r->deliver = event_new(base, -1, 0, on_deliver, r);
	r->pool = lookup_pool_new(base, e);
	if (r->deliver == NULL || r->pool == NULL) {
		err_set_errno(e, ENOMEM, "resolver");
		resolver_free(r);
		return NULL;
	}
	return r;
}

static void free_queries(struct query_list *list)
{
	struct resolver_query *q;

	while ((q = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, q, link);
		query_free(q);
	}
}

void resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	assert(r->delivering == NULL);
	lookup_pool_free(r->pool);
	for (size_t i = 0; i < BUCKETS; i++) {
		struct entry *en;

		while ((en = LIST_FIRST(&r->buckets[i])) != NULL) {
			free_queries(&en->waiting);
			entry_drop(r, en);
		}
	}
	free_queries(&r->ready);
	if (r->deliver != NULL)
		event_free(r->deliver);
	free(r);
}
