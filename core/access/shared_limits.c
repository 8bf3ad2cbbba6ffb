/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/shared_limits.h"

#include "core/base/clock.h"
#include "core/base/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define DECISION_MS 1000  /* a turn waits no longer for Redis */
#define LEASE_MS    30000 /* of a turn among those at once */
#define RENEW_MS    10000

/* What KEYS are in the scripts. */
enum { KEY_REQUESTS, KEY_TOKENS, KEY_TURNS, KEY_ALL_REQUESTS, KEY_ALL_TOKENS, KEYS };

/* KEYS: as above. ARGV: limits of requests, tokens, turns, all requests and all tokens; tokens that the turn is
 * expected to take; 1 if it may not be refused; its lease's name and duration in ms. Times are in microseconds.
 * Returns the verdict (enum limits_verdict), how long to wait, and how long it takes until all is paid, for requests,
 * tokens, all requests and all tokens. See limits.c, which counts the same way. */
static const char take_text[] =
	"local t = redis.call('TIME') "
	"local now = t[1] * 1000000 + t[2] "
	"local minute = 60000000 "
	"local keys = {KEYS[1], KEYS[2], KEYS[4], KEYS[5]} "
	"local limits = {tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])} "
	"local verdicts = {1, 2, 4, 5} "
	"local turns, tokens = tonumber(ARGV[3]), tonumber(ARGV[6]) "
	"local verdict, wait, paid, cost = 0, 0, {}, {} "
	"if turns > 0 then "
	"  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now) "
	"  if redis.call('ZCARD', KEYS[3]) >= turns then verdict, wait = 3, 1000000 end "
	"end "
	"for i = 1, 4 do "
	"  paid[i], cost[i] = now, 0 "
	"  if limits[i] > 0 then "
	"    local burst = minute "
	"    paid[i] = math.max(tonumber(redis.call('GET', keys[i]) or now), now) "
	"    if i % 2 == 1 then "
	"      cost[i] = math.floor(minute / limits[i]) "
	"      burst = limits[i] * cost[i] "
	"    else "
	"      cost[i] = math.floor(math.min(tokens, limits[i]) * minute / limits[i]) "
	"    end "
	"    if paid[i] + cost[i] - burst - now > wait then "
	"      verdict, wait = verdicts[i], paid[i] + cost[i] - burst - now "
	"    end "
	"  end "
	"end "
	"if ARGV[7] == '1' then verdict = 0 end "
	"if verdict == 0 then "
	"  for i = 1, 4 do "
	"    paid[i] = paid[i] + cost[i] "
	"    if cost[i] > 0 then "
	"      redis.call('SET', keys[i], string.format('%.0f', paid[i]), 'PX', math.ceil((paid[i] - now) / 1000) + 1) "
	"    end "
	"  end "
	"  if turns > 0 then "
	"    redis.call('ZADD', KEYS[3], now + ARGV[9] * 1000, ARGV[8]) "
	"    redis.call('PEXPIRE', KEYS[3], ARGV[9]) "
	"  end "
	"end "
	"return {verdict, wait, paid[1] - now, paid[2] - now, paid[3] - now, paid[4] - now}";

/* ARGV: the lease's name; limits of tokens and all tokens; how many more of each were taken than reserved. */
static const char give_text[] =
	"local t = redis.call('TIME') "
	"local now = t[1] * 1000000 + t[2] "
	"redis.call('ZREM', KEYS[3], ARGV[1]) "
	"for i = 1, 2 do "
	"  local key, limit, more = KEYS[3 * i - 1], tonumber(ARGV[1 + i]), tonumber(ARGV[3 + i]) "
	"  local paid = tonumber(redis.call('GET', key) or now) "
	"  if limit > 0 and more ~= 0 then "
	"    if more > 0 then paid = math.max(paid, now) end "
	"    paid = paid + math.floor(more * 60000000 / limit) "
	"    if paid > now then "
	"      redis.call('SET', key, string.format('%.0f', paid), 'PX', math.ceil((paid - now) / 1000) + 1) "
	"    else "
	"      redis.call('DEL', key) "
	"    end "
	"  end "
	"end "
	"return 0";

/* KEYS: the client's turns. ARGV: the lease's name and duration in ms. */
static const char renew_text[] =
	"local t = redis.call('TIME') "
	"redis.call('ZADD', KEYS[1], t[1] * 1000000 + t[2] + ARGV[2] * 1000, ARGV[1]) "
	"redis.call('PEXPIRE', KEYS[1], ARGV[2]) "
	"return 0";

struct shared_limits {
	struct redis *redis;
	struct event *timer;
	char name[32]; /* of this process, in leases */
	uint64_t taken;
	struct redis_script take, give, renew;
	TAILQ_HEAD(, shared_share) shares;
};

struct shared_share {
	TAILQ_ENTRY(shared_share) next;
	struct shared_limits *owner;
	shared_limits_fn *taken; /* NULL: it was given back before it was decided */
	void *arg;
	bool decided;
	int64_t tokens; /* that the turn took, where it was given back */
	struct limits_request wanted;
	char lease[56]; /* if the client's turns are limited */
};

/* ---- keys ------------------------------------------------------------------------------------------- */

struct keys {
	char text[KEYS][96];
};

static void make_keys(const struct limits_request *r, struct keys *k)
{
	static const char *const names[KEYS] = {
		[KEY_REQUESTS] = "requests", [KEY_TOKENS] = "tokens", [KEY_TURNS] = "turns"};
	const bool together = r->all_requests != 0 || r->all_tokens != 0;
	char tag[24];

	snprintf(tag, sizeof tag, "%016" PRIx64, r->client);
	for (size_t i = KEY_REQUESTS; i <= KEY_TURNS; i++)
		snprintf(k->text[i], sizeof k->text[i], "tt:limits:{%s}:%016" PRIx64 ":%s", together ? "all" : tag,
		         r->client, names[i]);
	snprintf(k->text[KEY_ALL_REQUESTS], sizeof k->text[0], "tt:limits:{%s}:requests", together ? "all" : tag);
	snprintf(k->text[KEY_ALL_TOKENS], sizeof k->text[0], "tt:limits:{%s}:tokens", together ? "all" : tag);
}

static void share_free(struct shared_share *share)
{
	TAILQ_REMOVE(&share->owner->shares, share, next);
	free(share);
}

/* ---- leases -------------------------------------------------------------------------------------------- */

static void renew(struct shared_limits *s, const struct shared_share *share)
{
	struct keys k;
	char ms[16];

	make_keys(&share->wanted, &k);
	snprintf(ms, sizeof ms, "%d", LEASE_MS);
	const char *const args[] = {k.text[KEY_TURNS], share->lease, ms};
	const struct redis_run run = {.script = &s->renew, .keys = 1, .args = args, .count = 3, .repeatable = true};

	redis_run(s->redis, &run, NULL, NULL);
}

static bool has_lease(const struct shared_share *share)
{
	return share->wanted.own.turns != 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval tv = clock_timeval_ms(RENEW_MS);
	struct shared_limits *s = arg;
	const struct shared_share *share;

	(void)fd, (void)what;
	TAILQ_FOREACH(share, &s->shares, next)
	{
		if (share->decided && has_lease(share))
			renew(s, share);
	}
	if (!TAILQ_EMPTY(&s->shares))
		evtimer_add(s->timer, &tv);
}

struct shared_limits *shared_limits_new(struct event_base *base, struct redis *redis)
{
	struct shared_limits *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->redis = redis;
	s->take.text = take_text;
	s->give.text = give_text;
	s->renew.text = renew_text;
	TAILQ_INIT(&s->shares);
	snprintf(s->name, sizeof s->name, "%016" PRIx64, process_random());
	s->timer = evtimer_new(base, on_timer, s);
	if (s->timer != NULL)
		return s;
	free(s);
	return NULL;
}

void shared_limits_free(struct shared_limits *s)
{
	struct shared_share *share;

	if (s == NULL)
		return;
	while ((share = TAILQ_FIRST(&s->shares)) != NULL)
		share_free(share);
	event_free(s->timer);
	free(s);
}

/* ---- a turn ------------------------------------------------------------------------------------------------ */

/* False: this is no answer of the script. */
static bool read_answer(const struct redis_reply *reply, const struct limits_request *r, enum limits_verdict *verdict,
                        struct limits_answer *out)
{
	enum { VERDICT, WAIT, REQUESTS, TOKENS, ALL_REQUESTS, ALL_TOKENS, NUMBERS };
	int64_t n[NUMBERS];

	if (reply == NULL || reply->type != REDIS_LIST || reply->count != NUMBERS)
		return false;
	for (size_t i = 0; i < NUMBERS; i++) {
		if (reply->items[i]->type != REDIS_NUMBER)
			return false;
		n[i] = reply->items[i]->number;
	}
	if (n[VERDICT] < LIMITS_GRANTED || n[VERDICT] > LIMITS_ALL_TOKENS)
		return false;
	*verdict = (enum limits_verdict)n[VERDICT];
	*out = (struct limits_answer){.retry_ns = n[WAIT] * 1000};
	out->requests = r->own.requests != 0 ? limits_rate(n[REQUESTS] * 1000, r->own.requests)
	                                     : limits_rate(n[ALL_REQUESTS] * 1000, r->all_requests);
	out->tokens = r->own.tokens != 0 ? limits_rate(n[TOKENS] * 1000, r->own.tokens)
	                                 : limits_rate(n[ALL_TOKENS] * 1000, r->all_tokens);
	return true;
}

static int64_t at_most(int64_t n, int64_t limit)
{
	return limit != 0 && n > limit ? limit : n;
}

static void give(const struct shared_share *share)
{
	const struct limits_request *r = &share->wanted;
	const bool known = share->tokens >= 0;
	const int64_t numbers[] = {r->own.tokens, r->all_tokens,
	                           known ? share->tokens - at_most(r->tokens, r->own.tokens) : 0,
	                           known ? share->tokens - at_most(r->tokens, r->all_tokens) : 0};
	enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
	char texts[NUMBERS][24];
	const char *args[KEYS + 1 + NUMBERS];
	const struct redis_run run = {
		.script = &share->owner->give, .keys = KEYS, .args = args, .count = sizeof args / sizeof args[0]};
	struct keys k;

	if (!has_lease(share) && r->own.tokens == 0 && r->all_tokens == 0)
		return;
	make_keys(r, &k);
	for (size_t i = 0; i < KEYS; i++)
		args[i] = k.text[i];
	args[KEYS] = share->lease;
	for (size_t i = 0; i < NUMBERS; i++) {
		snprintf(texts[i], sizeof texts[i], "%" PRId64, numbers[i]);
		args[KEYS + 1 + i] = texts[i];
	}
	redis_run(share->owner->redis, &run, NULL, NULL);
}

static void on_taken(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct shared_share *share = arg;
	shared_limits_fn *taken = share->taken;
	enum limits_verdict verdict = LIMITS_GRANTED;
	struct limits_answer answer;
	bool answered = e == NULL && read_answer(reply, &share->wanted, &verdict, &answer);
	void *turn = share->arg;

	share->decided = answered && verdict == LIMITS_GRANTED;
	if (share->decided && taken == NULL)
		give(share);
	if (!share->decided || taken == NULL)
		share_free(share);
	if (taken != NULL)
		taken(turn, verdict, answered ? &answer : NULL);
}

struct shared_share *shared_limits_take(struct shared_limits *s, const struct limits_request *r,
                                        shared_limits_fn *taken, void *arg)
{
	const struct timeval tv = clock_timeval_ms(RENEW_MS);
	struct shared_share *share = calloc(1, sizeof *share);
	const int64_t numbers[] = {r->own.requests, r->own.tokens, r->own.turns, r->all_requests,
	                           r->all_tokens,   r->tokens,     r->forced};
	enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
	char texts[NUMBERS][24], ms[16];
	const char *args[KEYS + NUMBERS + 2];
	const struct redis_run run = {.script = &s->take,
	                              .keys = KEYS,
	                              .args = args,
	                              .count = sizeof args / sizeof args[0],
	                              .timeout_ms = DECISION_MS};
	struct keys k;

	if (share == NULL)
		return NULL;
	*share = (struct shared_share){.owner = s, .taken = taken, .arg = arg, .wanted = *r};
	make_keys(r, &k);
	for (size_t i = 0; i < KEYS; i++)
		args[i] = k.text[i];
	for (size_t i = 0; i < NUMBERS; i++) {
		snprintf(texts[i], sizeof texts[i], "%" PRId64, numbers[i]);
		args[KEYS + i] = texts[i];
	}
	snprintf(share->lease, sizeof share->lease, "%s:%" PRIu64, s->name, ++s->taken);
	args[KEYS + NUMBERS] = share->lease;
	snprintf(ms, sizeof ms, "%d", LEASE_MS);
	args[KEYS + NUMBERS + 1] = ms;
	if (redis_run(s->redis, &run, on_taken, share) == NULL) {
		free(share);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&s->shares, share, next);
	if (has_lease(share) && !evtimer_pending(s->timer, NULL))
		evtimer_add(s->timer, &tv);
	return share;
}

void shared_limits_give(struct shared_share *share, int64_t tokens)
{
	if (share == NULL)
		return;
	share->tokens = tokens;
	share->taken = NULL;
	if (!share->decided)
		return; /* what was not granted must not be given back */
	give(share);
	share_free(share);
}
