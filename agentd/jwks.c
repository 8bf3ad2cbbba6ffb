/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/jwks.h"

#include "core/access/access.h"
#include "core/access/jwt.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/http/http_proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FROM        "tt_agent_from"
#define INTERVAL_MS INT64_C(300000)
#define CONNECT_MS  5000
#define TOTAL_MS    10000

struct jwks {
	struct services *s;
	char *path, *url; /* url NULL: none is configured */
	struct http_transfer *transfer;
	int64_t begun_ms; /* the last request, CLOCK_MONOTONIC; 0: none yet */
	bool wanted;
	struct err error; /* of the last request, as it was logged */
};

struct jwks *jwks_new(struct services *s, const char *run_dir)
{
	struct jwks *j = calloc(1, sizeof *j);

	if (j == NULL || asprintf(&j->path, "%s/" ACCESS_JWKS_FILE, run_dir) < 0) {
		free(j);
		return NULL;
	}
	j->s = s;
	return j;
}

void jwks_free(struct jwks *j)
{
	if (j == NULL)
		return;
	if (j->transfer != NULL)
		http_cancel(j->transfer);
	free(j->path);
	free(j->url);
	free(j);
}

/* With where it is from, for the next daemon. */
static void save(const struct jwks *j, const char *text, size_t len, struct err *e)
{
	json_t *document = json_loadb(text, len, 0, NULL);
	char temporary[4300];
	int fd;

	snprintf(temporary, sizeof temporary, "%s.part", j->path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || json_object_set_new(document, FROM, json_string(j->url)) < 0 ||
	    json_dumpfd(document, fd, JSON_COMPACT) < 0 || rename(temporary, j->path) < 0) {
		err_set_errno(e, errno, "write %s", j->path);
		unlink(temporary);
	}
	if (fd >= 0)
		close(fd);
	json_decref(document);
}

static void on_answer(void *arg, const struct http_result *r)
{
	struct jwt_keys *keys = NULL;
	struct err e = ERR_INIT;
	struct jwks *j = arg;
	size_t count = 0;

	j->transfer = NULL;
	if (r->outcome != HTTP_DONE)
		err_set(&e, "%s", r->text[0] != '\0' ? r->text : http_outcome_text(r->outcome));
	else if (r->status != 200)
		err_set(&e, "HTTP %ld", r->status);
	else
		keys = jwt_keys_new(NULL, r->body, r->body_len, &e);
	if (keys != NULL) {
		count = jwt_keys_count(keys);
		save(j, r->body, r->body_len, &e);
	}
	jwt_keys_free(keys);
	if (err_is_set(&e) && strcmp(e.text, j->error.text) != 0)
		log_event(LOG_JWKS_FAILED, L_STR("url", j->url), L_STR("error", e.text));
	else if (!err_is_set(&e))
		log_event(LOG_JWKS, L_STR("url", j->url), L_INT("keys", count));
	j->error = e;
}

static void start(struct jwks *j)
{
	static const struct http_handlers handlers = {.done = on_answer};
	const struct http_request request = {
		.method = "GET",
		.url = j->url,
		.connect_ms = CONNECT_MS,
		.total_ms = TOTAL_MS,
		.collect_limit = JWKS_MAX,
		.ca_file = cfg_str(j->s->config, CFG_CLOUD_CA_FILE),
		.proxy = http_proxy_for(j->s->config, j->url),
	};

	j->wanted = false;
	j->begun_ms = clock_mono_ms();
	j->transfer = http_start(j->s->http, &request, &handlers, j); /* without memory: at the next interval */
}

/* Keys of another issuer must not stay, not even from a former daemon. */
static void drop_foreign(const struct jwks *j)
{
	json_t *document = json_load_file(j->path, 0, NULL);
	const char *from = json_string_value(json_object_get(document, FROM));

	if (j->url == NULL || from == NULL || strcmp(from, j->url) != 0)
		unlink(j->path);
	json_decref(document);
}

static void follow_config(struct jwks *j)
{
	const struct config *c = j->s->config;
	const char *url =
		strcmp(cfg_str(c, CFG_ACCESS_REQUIRE), "none") == 0 ? NULL : cfg_str(c, CFG_ACCESS_JWT_JWKS_URL);

	if ((url == NULL && j->url == NULL) || (url != NULL && j->url != NULL && strcmp(url, j->url) == 0))
		return;
	if (j->transfer != NULL)
		http_cancel(j->transfer);
	j->transfer = NULL;
	free(j->url);
	j->url = url != NULL ? strdup(url) : NULL;
	drop_foreign(j);
	j->begun_ms = 0;
	err_clear(&j->error);
}

void jwks_tick(struct jwks *j)
{
	int64_t age_ms;

	follow_config(j);
	if (j->url == NULL || j->transfer != NULL || j->s->http == NULL)
		return;
	age_ms = clock_mono_ms() - j->begun_ms;
	if (j->begun_ms == 0 || age_ms >= INTERVAL_MS ||
	    (age_ms >= JWKS_PAUSE_MS && (j->wanted || err_is_set(&j->error))))
		start(j);
}

const char *jwks_error(const struct jwks *j)
{
	return err_is_set(&j->error) ? j->error.text : NULL;
}

void jwks_want(struct jwks *j)
{
	j->wanted = true;
	jwks_tick(j);
}
