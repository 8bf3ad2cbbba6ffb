/* SPDX-License-Identifier: Apache-2.0 */
/* The client: its commands, their deadlines, and which server gets them. */
#include "core/redis/redis_private.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENT_MAX 4 /* a request, as it is sent elsewhere or with its script */

/* ---- replies ---- */

void redis_cancel(struct redis_request *q)
{
	if (q != NULL)
		q->done = NULL;
}

/* A server that has not got the script. */
static int send_with_script(struct redis_request *q)
{
	const struct redis_command load = {.args = (const char *[]){"SCRIPT", "LOAD", q->script->text}, .count = 3};
	struct redis_request *first = q->sent < SENT_MAX ? request_new(q->redis, &load, NULL, NULL) : NULL;

	if (first == NULL)
		return -1;
	node_write(q->node, first);
	node_write(q->node, q);
	return 0;
}

static void answered(struct redis_request *q, struct redis_reply *reply)
{
	struct redis *r = q->redis;
	struct err e = ERR_INIT;

	if (reply->type != REDIS_FAILURE) {
		request_finish(q, reply, NULL);
		return;
	}
	if (q->script != NULL && redis_reply_says(reply, "NOSCRIPT") && send_with_script(q) == 0)
		return;
	if (r->url.topology == REDIS_CLUSTER && q->sent < SENT_MAX && cluster_redirect(q, reply))
		return;
	/* It was the master: another one is, or will be soon. */
	if (r->url.topology == REDIS_SENTINEL && redis_reply_says(reply, "READONLY") && q->sent < SENT_MAX) {
		err_set(&e, "%s: %.200s", r->masked, reply->text);
		node_reset(q->node, false, &e);
		node_send(q->node, q);
		return;
	}
	err_set(&e, "%s: %.200s", r->masked, reply->text);
	request_finish(q, reply, &e);
}

static void node_changed(struct node *n)
{
	struct redis *r = n->redis;
	struct redis_state state;

	if (n->kind == NODE_SENTINEL)
		return;
	if (r->url.topology == REDIS_CLUSTER && n->state != NODE_READY)
		cluster_refresh(r);
	redis_state(r, &state);
	/* A connection that only has to be made again is no news. */
	if ((state.usable && n->state != NODE_READY) || r->reported == (state.usable ? REPORTED_USABLE : REPORTED_AWAY))
		return;
	r->reported = state.usable ? REPORTED_USABLE : REPORTED_AWAY;
	if (r->changed != NULL)
		r->changed(r->arg, state.usable, &n->err);
}

/* ---- commands ---- */

static struct redis_request *send_request(struct redis_request *q, const struct redis_command *c)
{
	struct redis *r;

	if (q == NULL)
		return NULL;
	r = q->redis;
	if (r->url.topology == REDIS_CLUSTER) {
		q->slot = c->key != NULL ? cluster_slot(c->key, strlen(c->key)) : -1;
		node_send(cluster_node(r, q->slot, c->server), q);
	} else {
		node_send(TAILQ_FIRST(&r->nodes), q);
	}
	return q;
}

struct redis_request *redis_send(struct redis *r, const struct redis_command *c, redis_done_fn *done, void *arg)
{
	return send_request(request_new(r, c, done, arg), c);
}

static int name_script(struct redis_script *s)
{
	unsigned char sha1[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (s->sha1[0] != '\0')
		return 0;
	if (EVP_Digest(s->text, strlen(s->text), sha1, &len, EVP_sha1(), NULL) != 1 || len != 20)
		return -1;
	for (unsigned i = 0; i < len; i++)
		snprintf(s->sha1 + 2 * (size_t)i, 3, "%02x", sha1[i]);
	return 0;
}

struct redis_request *redis_run(struct redis *r, const struct redis_run *run, redis_done_fn *done, void *arg)
{
	const char *args[REDIS_RUN_ARGS + 3] = {"EVALSHA", run->script->sha1};
	size_t lens[REDIS_RUN_ARGS + 3] = {7, 40};
	struct redis_command c = {.args = args,
	                          .lens = lens,
	                          .count = run->count + 3,
	                          .key = run->args[0],
	                          .timeout_ms = run->timeout_ms,
	                          .repeatable = run->repeatable};
	struct redis_request *q;
	char keys[24];

	assert(run->count <= REDIS_RUN_ARGS && run->keys > 0);
	if (name_script(run->script) < 0)
		return NULL;
	lens[2] = (size_t)snprintf(keys, sizeof keys, "%zu", run->keys);
	args[2] = keys;
	for (size_t i = 0; i < run->count; i++) {
		args[i + 3] = run->args[i];
		lens[i + 3] = run->lens != NULL ? run->lens[i] : strlen(run->args[i]);
	}
	q = request_new(r, &c, done, arg);
	if (q != NULL)
		q->script = run->script;
	return send_request(q, &c);
}

size_t redis_servers(const struct redis *r)
{
	const struct node *n;
	size_t count = 0;

	if (r->slots == NULL)
		return 1;
	TAILQ_FOREACH(n, &r->nodes, next)
	count += !n->retired;
	return count;
}

/* ---- the client ---- */

static bool send_elsewhere(struct redis_request *q)
{
	return q->redis->url.topology == REDIS_CLUSTER && cluster_elsewhere(q);
}

static const struct node_events node_events = {
	.answered = answered,
	.changed = node_changed,
	.locate = sentinel_locate,
	.slots = cluster_take_slots,
	.elsewhere = send_elsewhere,
};

static SSL_CTX *new_tls(const char *ca_file, struct err *e)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
	const char *reason;

	ERR_clear_error();
	if (tls == NULL) {
		err_set(e, "no memory for TLS");
		return NULL;
	}
	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	if ((ca_file != NULL ? SSL_CTX_load_verify_locations(tls, ca_file, NULL)
	                     : SSL_CTX_set_default_verify_paths(tls)) == 1)
		return tls;
	reason = ERR_reason_error_string(ERR_peek_last_error());
	err_set(e, "%s: it has no certificates of authorities (%s)", ca_file != NULL ? ca_file : "the system",
	        reason != NULL ? reason : "unknown");
	ERR_clear_error();
	SSL_CTX_free(tls);
	return NULL;
}

static char *copy(const char *text, bool *failed)
{
	char *c = text != NULL ? strdup(text) : NULL;

	*failed |= text != NULL && c == NULL;
	return c;
}

/* What a setting says instead of the URL. */
static void override(char **of_url, const char *text, bool *failed)
{
	if (text == NULL)
		return;
	free(*of_url);
	*of_url = copy(text, failed);
}

static int set_up(struct redis *r, const struct redis_options *o, struct err *e)
{
	char masked[512];
	bool failed = false;
	struct node *n;

	config_mask_url(o->url, masked, sizeof masked);
	r->masked = copy(masked, &failed);
	r->password_file = copy(o->password_file, &failed);
	r->sentinel_password_file = copy(o->sentinel_password_file, &failed);
	r->cert_file = copy(o->cert_file, &failed);
	r->key_file = copy(o->key_file != NULL ? o->key_file : o->cert_file, &failed);
	r->name = copy(o->name != NULL ? o->name : "tt-agent", &failed);
	override(&r->url.password, o->password, &failed);
	override(&r->url.sentinel_username, o->sentinel_username, &failed);
	override(&r->url.sentinel_password, o->sentinel_password, &failed);
	if (failed)
		return err_set(e, "no memory for a client of Redis");
	if (r->url.tls && (r->tls = new_tls(o->ca_file, e)) == NULL)
		return -1;
	r->resolver = resolver_new(r->base, e);
	if (r->resolver == NULL)
		return -1;
	if (r->url.topology == REDIS_CLUSTER)
		return cluster_set_up(r, e);
	/* Of a group, it is the master's, whose address Sentinel says. */
	n = node_new(r, r->url.addresses[0].host, r->url.addresses[0].port);
	if (n == NULL)
		return err_set(e, "no memory for a client of Redis");
	TAILQ_INSERT_TAIL(&r->nodes, n, next);
	return r->url.topology == REDIS_SENTINEL ? sentinel_set_up(r, e) : 0;
}

struct redis *redis_new(struct event_base *base, const struct redis_options *o, struct err *e)
{
	struct redis *r = calloc(1, sizeof *r);

	if (r == NULL) {
		err_set(e, "no memory for a client of Redis");
		return NULL;
	}
	r->base = base;
	r->events = &node_events;
	r->timeout_ms = o->timeout_ms;
	r->changed = o->changed;
	r->arg = o->arg;
	TAILQ_INIT(&r->nodes);
	TAILQ_INIT(&r->failing);
	if (redis_url_parse(o->url, &r->url, e) == 0 && set_up(r, o, e) == 0)
		return r;
	redis_free(r);
	return NULL;
}

struct redis *redis_open(struct event_base *base, const char *url, const struct config *c, redis_changed_fn *changed,
                         void *arg, struct err *e)
{
	const struct redis_options o = {.url = url,
	                                .password = cfg_str(c, CFG_REDIS_PASSWORD),
	                                .password_file = cfg_str(c, CFG_REDIS_PASSWORD_FILE),
	                                .ca_file = cfg_str(c, CFG_REDIS_CA_FILE),
	                                .cert_file = cfg_str(c, CFG_REDIS_CERT_FILE),
	                                .key_file = cfg_str(c, CFG_REDIS_KEY_FILE),
	                                .sentinel_username = cfg_str(c, CFG_REDIS_SENTINEL_USERNAME),
	                                .sentinel_password = cfg_str(c, CFG_REDIS_SENTINEL_PASSWORD),
	                                .sentinel_password_file = cfg_str(c, CFG_REDIS_SENTINEL_PASSWORD_FILE),
	                                .timeout_ms = cfg_ms(c, CFG_REDIS_TIMEOUT),
	                                .changed = changed,
	                                .arg = arg};

	return redis_new(base, &o, e);
}

char *redis_settings(const char *url, const struct config *c)
{
	static const enum cfg_key keys[] = {CFG_REDIS_PASSWORD,
	                                    CFG_REDIS_PASSWORD_FILE,
	                                    CFG_REDIS_SENTINEL_USERNAME,
	                                    CFG_REDIS_SENTINEL_PASSWORD,
	                                    CFG_REDIS_SENTINEL_PASSWORD_FILE,
	                                    CFG_REDIS_CA_FILE,
	                                    CFG_REDIS_CERT_FILE,
	                                    CFG_REDIS_KEY_FILE};
	struct buf text = BUF_INIT(65536);
	int failed = buf_adds(&text, url);
	char *all;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (cfg_str(c, keys[i]) != NULL)
			failed |= buf_addf(&text, "\n%zu %s", i, cfg_str(c, keys[i]));
	all = failed == 0 ? buf_steal(&text, NULL) : NULL;
	buf_free(&text);
	return all;
}

void redis_free(struct redis *r)
{
	struct redis_request *q;
	struct node *n;

	if (r == NULL)
		return;
	while ((n = TAILQ_FIRST(&r->nodes)) != NULL) {
		TAILQ_REMOVE(&r->nodes, n, next);
		node_free(n);
	}
	sentinel_free(r);
	while ((q = TAILQ_FIRST(&r->failing)) != NULL) {
		TAILQ_REMOVE(&r->failing, q, next);
		request_free(q);
	}
	free(r->slots);
	if (r->resolver != NULL)
		resolver_free(r->resolver);
	SSL_CTX_free(r->tls);
	redis_url_clear(&r->url);
	free(r->masked);
	free(r->password_file);
	free(r->sentinel_password_file);
	free(r->cert_file);
	free(r->key_file);
	free(r->name);
	free(r);
}

void redis_state(struct redis *r, struct redis_state *state)
{
	*state = (struct redis_state){.usable = true, .error = "", .url = r->masked};
	struct node *n;

	TAILQ_FOREACH(n, &r->nodes, next)
	{
		if (n->state == NODE_READY || n->retired || (!n->away && n->failures == 0))
			continue;
		state->usable &= !n->away;
		state->failures = n->failures;
		state->error = n->err.text;
	}
}
