/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/access.h"

#include "core/access/crypto.h"
#include "core/access/jwt.h"
#include "core/access/keys.h"
#include "core/access/limits.h"
#include "core/access/shared_limits.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/config/readfile.h"
#include "core/peers/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/stat.h>

#define CHECK_MS   250   /* how often files are checked; a change is in force within a second */
#define RETRY_MS   1000  /* after a file could not be used */
#define TOKENS_MAX 4096u /* that were verified and are remembered; a power of two */

enum level { REQUIRE_NONE, REQUIRE_API, REQUIRE_ALL };

/* A file as it was when it was last read. */
struct seen {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed, modified;
};

/* A file that is read in the background when it changes. */
struct watched {
	char *path; /* NULL: none */
	struct seen seen;
	struct background_job *job; /* NULL: it is not being read */
	int64_t retry_ms;           /* CLOCK_MONOTONIC: not before; 0: at once */
	char error[300];            /* that was logged */
};

/* A token that was verified, by its digest. */
struct verified {
	uint8_t sha256[DIGEST_LEN];
	struct identity *identity; /* NULL: none */
	int64_t until_ms;          /* wall clock */
};

struct access {
	struct event_base *base;
	struct background *background;
	char *run_dir;
	struct event *timer;
	struct digester *digester;
	struct identity *nobody; /* of all requests without a user */

	enum level level;
	struct access_limits defaults; /* of who has none of his own */
	int64_t all_requests, all_tokens;

	struct watched keys_file, jwks_file;
	struct keys *keys; /* NULL: not read yet */

	char *issuer, *audience, *secret;
	int64_t leeway_ms;
	struct jwt_keys *jwt_keys; /* NULL: no token is accepted */
	struct verified *verified; /* TOKENS_MAX; made for the first token */
	void (*unknown_key)(void *arg);
	void *unknown_key_arg;

	struct limits *limits; /* opened when there is one */
	int64_t limits_due_ms;
	bool limits_failed;  /* logged */
	char *redis_url;     /* of the Redis that hosts share; NULL: none */
	struct redis *redis; /* NULL: this host counts alone */
	struct shared_limits *shared;
	unsigned hosts_configured; /* 0: as tt-agentd sees them */
	unsigned hosts;            /* among whom limits are divided while Redis is away */
	bool is_configured;
	bool is_shared, is_alone; /* Redis can be reached; it cannot */
	void (*alone)(void *arg, bool is_alone);
	void *alone_arg;
	TAILQ_HEAD(, access_turn) turns;
};

struct access_turn {
	TAILQ_ENTRY(access_turn) next; /* unless it is pending */
	struct access *access;
	struct access_identity *identity;
	bool pending;
	struct limits_request wanted;
	struct limits_share share;
	struct shared_share *shared; /* in its place, where hosts count together; NULL: none */
	struct access_rate requests, tokens;
	void (*revoked)(void *arg);
	void (*decided)(void *arg, const struct access_refusal *r);
	void *arg;
	bool ends; /* its key was revoked: to be told */
};

/* ---- files ------------------------------------------------------------------------------------ */

static void stat_file(const char *path, struct seen *out)
{
	struct stat st;

	memset(out, 0, sizeof *out); /* padding as well: it is compared as bytes */
	if (stat(path, &st) != 0)
		return;
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	out->size = st.st_size;
	out->changed = st.st_ctim;
	out->modified = st.st_mtim;
}

static void log_once(struct watched *w, enum log_event event, const char *error)
{
	if (strcmp(w->error, error) != 0 && *error != '\0')
		log_event(event, L_STR("file", w->path), L_STR("error", error));
	snprintf(w->error, sizeof w->error, "%s", error);
}

/* What is read of a file, on the background's thread. */
struct reading {
	struct access *access;
	char *path, *secret;
	struct keys *keys;
	struct jwt_keys *jwt_keys;
	struct buf faults;
	struct err e;
};

static void reading_free(void *arg)
{
	struct reading *r = arg;

	keys_free(r->keys);
	jwt_keys_free(r->jwt_keys);
	buf_free(&r->faults);
	free(r->path);
	free(r->secret);
	free(r);
}

static void read_keys(void *arg)
{
	struct buf text = BUF_INIT(KEYS_FILE_MAX);
	struct reading *r = arg;

	if (keys_read(r->path, &text, &r->e) == 0)
		r->keys = keys_parse(text.len > 0 ? text.data : "", text.len, &r->faults, &r->e);
	buf_free(&text);
}

static void read_jwks(void *arg)
{
	struct buf text = BUF_INIT(JWKS_MAX);
	struct reading *r = arg;

	if (readfile(r->path, &text, NULL, &r->e) == 0)
		r->jwt_keys = jwt_keys_new(r->secret, text.len > 0 ? text.data : "", text.len, &r->e);
	buf_free(&text);
}

/* Turns whose key was revoked end, if the administrator wants that. */
static void end_revoked(struct access *a)
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

static void failed(struct watched *w, enum log_event event, const char *error)
{
	memset(&w->seen, 0, sizeof w->seen);
	w->retry_ms = clock_mono_ms() + RETRY_MS;
	log_once(w, event, error);
}

/* Of several lines, one for the log. */
static const char *one_line(struct buf *lines)
{
	if (lines->len == 0)
		return "";
	lines->data[lines->len - 1] = '\0';
	for (char *end = strchr(lines->data, '\n'); end != NULL; end = strchr(end, '\n'))
		*end = ';';
	return lines->data;
}

static void keys_are_read(void *arg)
{
	struct reading *r = arg;
	struct access *a = r->access;

	a->keys_file.job = NULL;
	if (r->keys == NULL) {
		failed(&a->keys_file, LOG_KEYS_UNREADABLE, r->e.text);
	} else {
		keys_free(a->keys);
		a->keys = r->keys;
		r->keys = NULL;
		log_event(LOG_KEYS, L_STR("file", r->path), L_INT("keys", keys_count(a->keys)));
		log_once(&a->keys_file, LOG_KEYS_FAULTS, one_line(&r->faults));
		end_revoked(a);
	}
	reading_free(r);
}

static void forget_tokens(struct access *a)
{
	for (size_t i = 0; a->verified != NULL && i < TOKENS_MAX; i++) {
		identity_unref(a->verified[i].identity);
		a->verified[i].identity = NULL;
	}
}

static void jwks_is_read(void *arg)
{
	struct reading *r = arg;
	struct access *a = r->access;

	a->jwks_file.job = NULL;
	if (r->jwt_keys == NULL) {
		failed(&a->jwks_file, LOG_JWT_KEYS_UNUSABLE, r->e.text);
	} else {
		jwt_keys_free(a->jwt_keys);
		a->jwt_keys = r->jwt_keys;
		r->jwt_keys = NULL;
		forget_tokens(a);
		a->jwks_file.error[0] = '\0';
	}
	reading_free(r);
}

static const struct background_work keys_work = {.run = read_keys, .done = keys_are_read, .drop = reading_free};
static const struct background_work jwks_work = {.run = read_jwks, .done = jwks_is_read, .drop = reading_free};

/* at_once: on the loop, because no request can be answered before. */
static void read_again(struct access *a, struct watched *w, const struct background_work *work, bool at_once)
{
	struct reading *r = calloc(1, sizeof *r);

	if (r == NULL)
		return; /* the next check tries again */
	r->access = a;
	buf_init(&r->faults, 2048);
	r->path = strdup(w->path);
	r->secret = a->secret != NULL ? strdup(a->secret) : NULL;
	if (r->path == NULL || (a->secret != NULL && r->secret == NULL)) {
		reading_free(r);
		return;
	}
	stat_file(w->path, &w->seen);
	if (at_once) {
		work->run(r);
		work->done(r);
		return;
	}
	w->job = background_start(a->background, work, r);
	if (w->job == NULL) {
		memset(&w->seen, 0, sizeof w->seen);
		reading_free(r);
	}
}

static void check_file(struct access *a, struct watched *w, const struct background_work *work)
{
	struct seen now;

	if (w->path == NULL || w->job != NULL || clock_mono_ms() < w->retry_ms)
		return;
	stat_file(w->path, &now);
	if (memcmp(&now, &w->seen, sizeof now) != 0)
		read_again(a, w, work, false);
}

static void forget_file(struct watched *w)
{
	if (w->job != NULL)
		background_cancel(w->job);
	free(w->path);
	memset(w, 0, sizeof *w);
}

/* True: it is another one now. path NULL: none. */
static bool watch_file(struct watched *w, const char *path)
{
	if (path != NULL && w->path != NULL && strcmp(path, w->path) == 0)
		return false;
	forget_file(w);
	if (path == NULL || (w->path = strdup(path)) == NULL)
		return false;
	return true;
}

/* ---- its life --------------------------------------------------------------------------------------- */

static bool needs_limits(const struct access *a)
{
	return a->all_requests != 0 || a->all_tokens != 0;
}

static void open_limits(struct access *a)
{
	struct err e = ERR_INIT;

	if (a->limits != NULL || clock_mono_ms() < a->limits_due_ms)
		return;
	a->limits_due_ms = clock_mono_ms() + RETRY_MS;
	a->limits = limits_open(a->run_dir, clock_boot_ns, &e);
	if (a->limits == NULL && !a->limits_failed)
		log_event(LOG_LIMITS_NOT_COUNTED, L_STR("error", e.text));
	a->limits_failed = a->limits == NULL;
}

static void schedule(struct access *a)
{
	const struct timeval tv = clock_timeval_ms(CHECK_MS);

	if (a->keys_file.path != NULL || a->jwks_file.path != NULL || a->limits != NULL)
		event_add(a->timer, &tv);
	else
		event_del(a->timer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct access *a = arg;

	(void)fd, (void)what;
	check_file(a, &a->keys_file, &keys_work);
	check_file(a, &a->jwks_file, &jwks_work);
	if (a->limits != NULL && clock_mono_ms() >= a->limits_due_ms) {
		a->limits_due_ms = clock_mono_ms() + RETRY_MS;
		limits_tick(a->limits);
	}
	schedule(a);
}

struct access *access_new(struct event_base *base, const char *run_dir, struct background *background, struct err *e)
{
	struct access *a = calloc(1, sizeof *a);

	if (a == NULL) {
		err_set(e, "no memory for keys");
		return NULL;
	}
	TAILQ_INIT(&a->turns);
	a->base = base;
	a->background = background;
	a->run_dir = strdup(run_dir);
	a->digester = digester_new();
	a->nobody = identity_new("", "", "user", "");
	a->timer = evtimer_new(base, on_timer, a);
	if (a->run_dir != NULL && a->digester != NULL && a->nobody != NULL && a->timer != NULL)
		return a;
	err_set(e, "no memory for keys");
	access_free(a);
	return NULL;
}

void access_free(struct access *a)
{
	if (a == NULL)
		return;
	forget_file(&a->keys_file);
	forget_file(&a->jwks_file);
	forget_tokens(a);
	free(a->verified);
	keys_free(a->keys);
	jwt_keys_free(a->jwt_keys);
	limits_close(a->limits);
	redis_free(a->redis);
	shared_limits_free(a->shared);
	free(a->redis_url);
	digester_free(a->digester);
	identity_unref(a->nobody);
	if (a->timer != NULL)
		event_free(a->timer);
	free(a->issuer);
	free(a->audience);
	free(a->secret);
	free(a->run_dir);
	free(a);
}

void access_on_unknown_key(struct access *a, void (*unknown_key)(void *arg), void *arg)
{
	a->unknown_key = unknown_key;
	a->unknown_key_arg = arg;
}

void access_on_alone(struct access *a, void (*alone)(void *arg, bool is_alone), void *arg)
{
	a->alone = alone;
	a->alone_arg = arg;
}

static char *copy(char *old, const char *text)
{
	free(old);
	return text != NULL ? strdup(text) : NULL;
}

static bool differs(const char *a, const char *b)
{
	return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

static void configure_jwt(struct access *a, const struct config *c)
{
	const char *issuer = cfg_str(c, CFG_ACCESS_JWT_ISSUER), *audience = cfg_str(c, CFG_ACCESS_JWT_AUDIENCE);
	const char *secret = cfg_str(c, CFG_ACCESS_JWT_SECRET);
	bool wanted = a->level != REQUIRE_NONE && issuer != NULL && audience != NULL;
	bool fetched = wanted && cfg_str(c, CFG_ACCESS_JWT_JWKS_URL) != NULL;
	char path[4200];
	struct err e = ERR_INIT;

	if (differs(a->issuer, issuer) || differs(a->audience, audience) || differs(a->secret, secret) || !wanted) {
		forget_tokens(a);
		forget_file(&a->jwks_file);
		jwt_keys_free(a->jwt_keys);
		a->jwt_keys = NULL;
	}
	a->issuer = copy(a->issuer, issuer);
	a->audience = copy(a->audience, audience);
	a->secret = copy(a->secret, secret);
	a->leeway_ms = cfg_ms(c, CFG_ACCESS_JWT_LEEWAY);
	snprintf(path, sizeof path, "%s/" ACCESS_JWKS_FILE, a->run_dir);
	watch_file(&a->jwks_file, fetched ? path : NULL);
	if (wanted && a->secret != NULL && a->jwt_keys == NULL) {
		a->jwt_keys = jwt_keys_new(a->secret, NULL, 0, &e);
		if (a->jwt_keys == NULL)
			log_event(LOG_JWT_KEYS_UNUSABLE, L_STR("key", cfg_key_info(CFG_ACCESS_JWT_SECRET)->path),
			          L_STR("error", e.text));
	}
}

/* ---- with other hosts ---- */

static void on_redis(void *arg, bool usable, const struct err *why)
{
	struct access *a = arg;
	bool was_alone = a->is_alone;

	a->hosts = peers_count(a->hosts_configured, a->run_dir);
	if (usable && !a->is_shared)
		log_event(LOG_LIMITS_SHARED, L_INT("hosts", a->hosts));
	else if (!usable && !a->is_alone)
		log_event(LOG_LIMITS_ALONE, L_STR("error", why->text), L_INT("hosts", a->hosts));
	a->is_shared = usable;
	a->is_alone = !usable;
	if (was_alone != a->is_alone && a->alone != NULL)
		a->alone(a->alone_arg, a->is_alone);
}

/* Once: for another Redis there are new workers (access_is_outdated). */
static void configure_hosts(struct access *a, const struct config *c)
{
	const char *url = peers_redis(c);
	struct err e = ERR_INIT;

	a->hosts_configured = (unsigned)cfg_int(c, CFG_HOSTS_COUNT);
	a->hosts = url != NULL ? peers_count(a->hosts_configured, a->run_dir) : 1;
	if (a->is_configured || url == NULL)
		return;
	a->redis_url = strdup(url);
	a->redis = redis_open(a->base, url, c, on_redis, a, &e);
	a->shared = a->redis != NULL ? shared_limits_new(a->base, a->redis) : NULL;
	if (a->shared == NULL)
		log_event(LOG_LIMITS_ALONE, L_STR("error", e.text), L_INT("hosts", a->hosts));
}

bool access_is_outdated(const struct access *a, const struct config *c)
{
	return a->is_configured && differs(a->redis_url, peers_redis(c));
}

void access_configure(struct access *a, const struct config *c)
{
	const char *require = cfg_str(c, CFG_ACCESS_REQUIRE);

	a->level = strcmp(require, "all") == 0 ? REQUIRE_ALL : strcmp(require, "api") == 0 ? REQUIRE_API : REQUIRE_NONE;
	a->defaults = (struct access_limits){.requests = cfg_int(c, CFG_ACCESS_REQUESTS),
	                                     .tokens = cfg_int(c, CFG_ACCESS_TOKENS),
	                                     .turns = cfg_int(c, CFG_ACCESS_TURNS)};
	a->all_requests = cfg_int(c, CFG_LIMITS_REQUESTS);
	a->all_tokens = cfg_int(c, CFG_LIMITS_TOKENS);
	if (a->level == REQUIRE_NONE) {
		keys_free(a->keys); /* they are not watched from now on */
		a->keys = NULL;
	}
	if (watch_file(&a->keys_file, a->level != REQUIRE_NONE ? cfg_str(c, CFG_ACCESS_KEYS_FILE) : NULL))
		read_again(a, &a->keys_file, &keys_work, a->keys == NULL);
	configure_jwt(a, c);
	configure_hosts(a, c);
	a->is_configured = true;
	check_file(a, &a->jwks_file, &jwks_work);
	if (needs_limits(a))
		open_limits(a);
	schedule(a);
}

/* ---- refusals ------------------------------------------------------------------------------------- */

#define INVALID "invalid_request_error"

static struct access_identity *refuse(struct access_refusal *r, int status, const char *code, const char *message)
{
	*r = (struct access_refusal){.status = status, .type = status == 503 ? "server_error" : INVALID, .code = code};
	snprintf(r->message, sizeof r->message, "%s", message);
	return NULL;
}

static struct access_identity *refuse_memory(struct access_refusal *r)
{
	refuse(r, 503, "server_error", "The service is out of memory. Please try again in a moment.");
	r->retry_after_ms = 1000;
	return NULL;
}

static struct access_identity *refuse_credentials(struct access_refusal *r, const char *message)
{
	return refuse(r, 401, "invalid_api_key", message);
}

void access_refuse_model(struct access_refusal *r)
{
	refuse(r, 403, "model_not_allowed", "This API key may not use this model.");
}

/* As OpenAI writes durations: 12ms, 1.500s. */
static void put_duration(int64_t ms, char out[32])
{
	if (ms < 1000)
		snprintf(out, 32, "%lldms", (long long)ms);
	else
		snprintf(out, 32, "%lld.%03llds", (long long)ms / 1000, (long long)ms % 1000);
}

static size_t add_rate(char *out, size_t size, const char *what, const struct access_rate *rate)
{
	char reset[32];
	int n;

	if (rate->limit == 0)
		return 0;
	put_duration(rate->reset_ms, reset);
	n = snprintf(out, size,
	             "x-ratelimit-limit-%s: %lld\r\nx-ratelimit-remaining-%s: %lld\r\nx-ratelimit-reset-%s: %s\r\n",
	             what, (long long)rate->limit, what, (long long)rate->remaining, what, reset);
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static void add_rates(char out[ACCESS_HEADERS_MAX], size_t used, const struct access_rate *requests,
                      const struct access_rate *tokens)
{
	used += add_rate(out + used, ACCESS_HEADERS_MAX - used, "requests", requests);
	used += add_rate(out + used, ACCESS_HEADERS_MAX - used, "tokens", tokens);
	out[used] = '\0';
}

void access_turn_headers(const struct access_turn *t, char out[ACCESS_HEADERS_MAX])
{
	add_rates(out, 0, &t->requests, &t->tokens);
}

void access_refusal_headers(const struct access_refusal *r, char out[ACCESS_HEADERS_MAX])
{
	int n = 0;

	if (r->status == 401)
		n = snprintf(out, ACCESS_HEADERS_MAX, "WWW-Authenticate: Bearer\r\n");
	else if (r->retry_after_ms > 0)
		n = snprintf(out, ACCESS_HEADERS_MAX, "Retry-After: %lld\r\n",
		             (long long)(r->retry_after_ms + 999) / 1000);
	add_rates(out, (size_t)n, &r->request_rate, &r->token_rate);
}

/* ---- who calls ---------------------------------------------------------------------------------------- */

bool access_is_required(const struct access *a, bool is_api)
{
	return a->level == REQUIRE_ALL || (a->level == REQUIRE_API && is_api);
}

/* "Bearer KEY" -> KEY and its length; NULL: another scheme, or none. */
static const char *bearer_of(const char *header, size_t *len)
{
	static const char scheme[] = "Bearer";

	if (header == NULL)
		return NULL;
	header += strspn(header, " \t");
	if (strncasecmp(header, scheme, sizeof scheme - 1) != 0 || strspn(header + sizeof scheme - 1, " \t") == 0)
		return NULL;
	header += sizeof scheme - 1;
	header += strspn(header, " \t");
	*len = strlen(header);
	while (*len > 0 && strchr(" \t", header[*len - 1]) != NULL)
		--*len;
	return *len > 0 ? header : NULL;
}

static bool is_signed(const char *text, size_t len)
{
	const char *dot = memchr(text, '.', len), *end = text + len;

	return dot != NULL && memchr(dot + 1, '.', (size_t)(end - dot - 1)) != NULL;
}

static struct access_identity *by_web_server(const struct access *a, const char *user, struct access_refusal *r)
{
	struct identity *i;

	if (*user == '\0')
		return access_identity_ref(&a->nobody->known);
	i = identity_new(user, "", "user", user);
	return i != NULL ? &i->known : refuse_memory(r);
}

static struct access_identity *by_key(const struct access *a, const uint8_t sha256[DIGEST_LEN],
                                      struct access_refusal *r)
{
	const struct key *k = keys_find(a->keys, sha256);

	if (k == NULL)
		return refuse_credentials(r, "The API key is not valid.");
	if (k->revoked)
		return refuse_credentials(r, "The API key was revoked.");
	if (k->expires_ms != 0 && clock_wall_ms() >= k->expires_ms)
		return refuse_credentials(r, "The API key has expired.");
	return access_identity_ref(&k->identity->known);
}

static void remember(struct access *a, const uint8_t sha256[DIGEST_LEN], size_t at, struct identity *i,
                     int64_t expires_ms)
{
	if (a->verified == NULL)
		a->verified = calloc(TOKENS_MAX, sizeof *a->verified);
	if (a->verified == NULL)
		return;
	identity_unref(a->verified[at].identity);
	i->refs++;
	a->verified[at] = (struct verified){.identity = i, .until_ms = expires_ms};
	memcpy(a->verified[at].sha256, sha256, DIGEST_LEN);
}

static struct access_identity *by_token(struct access *a, const char *token, size_t len,
                                        const uint8_t sha256[DIGEST_LEN], struct access_refusal *r)
{
	const struct jwt_rules rules = {.issuer = a->issuer, .audience = a->audience, .leeway_ms = a->leeway_ms};
	int64_t now_ms = clock_wall_ms();
	struct verified *v = a->verified;
	struct jwt_claims claims;
	enum jwt_verdict verdict;
	struct identity *i;
	char text[150];
	size_t at;

	memcpy(&at, sha256, sizeof at);
	at &= TOKENS_MAX - 1;
	if (v != NULL && v[at].identity != NULL && memcmp(v[at].sha256, sha256, DIGEST_LEN) == 0 &&
	    now_ms < v[at].until_ms)
		return access_identity_ref(&v[at].identity->known);
	verdict = jwt_verify(a->jwt_keys, &rules, token, len, now_ms, &claims);
	if ((verdict == JWT_UNKNOWN_KEY || verdict == JWT_BAD_SIGNATURE) && a->jwks_file.path != NULL &&
	    a->unknown_key != NULL)
		a->unknown_key(a->unknown_key_arg);
	if (verdict == JWT_NO_MEMORY)
		return refuse_memory(r);
	if (verdict != JWT_VALID) {
		snprintf(text, sizeof text, "The token %s.", jwt_verdict_text(verdict));
		return refuse_credentials(r, text);
	}
	i = identity_new(claims.subject, "", "token", claims.subject);
	free(claims.subject);
	if (i == NULL)
		return refuse_memory(r);
	remember(a, sha256, at, i, claims.expires_ms);
	return &i->known;
}

/* A key or a token. NULL with r, *known: it is one, but does not hold (any more). */
static struct access_identity *by_secret(struct access *a, const char *secret, size_t len, struct access_refusal *r,
                                         bool *known)
{
	uint8_t sha256[DIGEST_LEN];

	*known = false;
	if (len > JWT_MAX || digest(a->digester, secret, len, sha256) < 0)
		return refuse_credentials(r, "The API key is not valid.");
	if (a->jwt_keys != NULL && is_signed(secret, len)) {
		*known = true;
		return by_token(a, secret, len, sha256, r);
	}
	*known = keys_find(a->keys, sha256) != NULL;
	return by_key(a, sha256, r);
}

struct access_identity *access_identify(struct access *a, const struct access_credentials *c, struct access_refusal *r)
{
	const char *user = c->user != NULL ? c->user : "";
	struct {
		const char *text;
		size_t len;
	} secrets[] = {{.text = c->api_key}, {.text = NULL}};
	struct access_refusal other;
	bool refused = false, known = false;

	if (!access_is_required(a, c->is_api))
		return by_web_server(a, user, r);
	secrets[0].len = c->api_key != NULL ? strlen(c->api_key) : 0;
	secrets[1].text = bearer_of(c->authorization, &secrets[1].len);
	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
		struct access_identity *found;
		bool is_known;

		if (secrets[i].len == 0)
			continue;
		found = by_secret(a, secrets[i].text, secrets[i].len, refused ? &other : r, &is_known);
		if (found != NULL)
			return found;
		refused = true;
		known |= is_known;
	}
	/* What is no key of ours may be for the web server, which has checked it. */
	if (*user != '\0' && !known)
		return by_web_server(a, user, r);
	return refused ? NULL
	               : refuse_credentials(r,
	                                    "This service needs an API key: send it in the header Authorization, as "
	                                    "Bearer KEY.");
}

/* ---- how much ------------------------------------------------------------------------------------------- */

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

static const struct {
	const char *type, *limit, *what;
} exceeded[] = {
	[LIMITS_REQUESTS] = {"requests", "Rate limit reached", "requests per minute"},
	[LIMITS_TOKENS] = {"tokens", "Rate limit reached", "tokens per minute"},
	[LIMITS_TURNS] = {"requests", "Limit reached", "requests at once"},
	[LIMITS_ALL_REQUESTS] = {"requests", "The limit of this service is reached", "requests per minute"},
	[LIMITS_ALL_TOKENS] = {"tokens", "The limit of this service is reached", "tokens per minute"},
	[LIMITS_NO_ROOM] = {"requests", "The limit of this service is reached", "different users at once"},
};

static void refuse_limit(const struct limits_request *wanted, enum limits_verdict v, const struct limits_answer *answer,
                         struct access_refusal *r)
{
	const int64_t limits[] = {
		[LIMITS_REQUESTS] = wanted->own.requests, [LIMITS_TOKENS] = wanted->own.tokens,
		[LIMITS_TURNS] = wanted->own.turns,       [LIMITS_ALL_REQUESTS] = wanted->all_requests,
		[LIMITS_ALL_TOKENS] = wanted->all_tokens, [LIMITS_NO_ROOM] = LIMITS_CLIENTS_MAX};

	*r = (struct access_refusal){.status = 429,
	                             .type = exceeded[v].type,
	                             .code = "rate_limit_exceeded",
	                             .retry_after_ms = (answer->retry_ns + 999999) / 1000000,
	                             .request_rate = answer->requests,
	                             .token_rate = answer->tokens};
	snprintf(r->message, sizeof r->message, "%s: %lld %s. Please try again in %.1f seconds.", exceeded[v].limit,
	         (long long)limits[v], exceeded[v].what, (double)(r->retry_after_ms + 99) / 1000);
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
	if (a->limits == NULL) {
		open_limits(a);
		schedule(a);
	}
	if (a->limits == NULL)
		return true;
	v = limits_take(a->limits, &wanted, &answer);
	if (v != LIMITS_GRANTED) {
		refuse_limit(&wanted, v, &answer, r);
		return false;
	}
	t->share = answer.share;
	t->requests = answer.requests;
	t->tokens = answer.tokens;
	return true;
}

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
		refuse_limit(&t->wanted, v, answer, &refusal);
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
		refuse_memory(r);
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
