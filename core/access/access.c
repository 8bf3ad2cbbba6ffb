/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/access_private.h"

#include "core/base/log.h"
#include "core/base/text.h"
#include "core/peers/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void schedule(struct access *a)
{
	if (a->keys_file.path != NULL || a->jwks_file.path != NULL || a->limits != NULL)
		access_wake(a);
	else
		event_del(a->timer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct access *a = arg;

	(void)fd, (void)what;
	access_files_check(a);
	access_turn_tick(a);
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
	access_files_forget(&a->keys_file);
	access_files_forget(&a->jwks_file);
	access_identify_forget(a);
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

void access_check_files(struct access *a)
{
	access_files_check(a);
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

/* ---- the configuration ---- */

static char *copy(char *old, const char *text)
{
	free(old);
	return text != NULL ? strdup(text) : NULL;
}

static void configure_jwt(struct access *a, const struct config *c)
{
	const char *issuer = cfg_str(c, CFG_ACCESS_JWT_ISSUER), *audience = cfg_str(c, CFG_ACCESS_JWT_AUDIENCE);
	const char *secret = cfg_str(c, CFG_ACCESS_JWT_SECRET);
	bool wanted = a->level != REQUIRE_NONE && issuer != NULL && audience != NULL;
	bool fetched = wanted && cfg_str(c, CFG_ACCESS_JWT_JWKS_URL) != NULL;
	char path[4200];
	struct err e = ERR_INIT;

	if (!text_same(a->issuer, issuer) || !text_same(a->audience, audience) || !text_same(a->secret, secret) ||
	    !wanted) {
		access_identify_forget(a);
		access_files_forget(&a->jwks_file);
		jwt_keys_free(a->jwt_keys);
		a->jwt_keys = NULL;
	}
	a->issuer = copy(a->issuer, issuer);
	a->audience = copy(a->audience, audience);
	a->secret = copy(a->secret, secret);
	a->leeway_ms = cfg_ms(c, CFG_ACCESS_JWT_LEEWAY);
	snprintf(path, sizeof path, "%s/" ACCESS_JWKS_FILE, a->run_dir);
	access_files_watch_jwks(a, fetched ? path : NULL);
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
	return a->is_configured && !text_same(a->redis_url, peers_redis(c));
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
	access_files_watch_keys(a, a->level != REQUIRE_NONE ? cfg_str(c, CFG_ACCESS_KEYS_FILE) : NULL);
	configure_jwt(a, c);
	configure_hosts(a, c);
	a->is_configured = true;
	access_files_check(a);
	access_turn_configure(a);
	schedule(a);
}
