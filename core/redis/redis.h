/* SPDX-License-Identifier: Apache-2.0 */
/* A client of Redis or Valkey on a loop: one server, the master of a Sentinel group, or a cluster.
 *
 * URLs: redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], redis+unix://[USER:PASSWORD@]/PATH[?db=DATABASE],
 * redis+sentinel://[USER:PASSWORD@]HOST[:PORT],.../NAME[/DATABASE][?sentinel_username=USER&sentinel_password=PASSWORD],
 * redis+cluster://[USER:PASSWORD@]HOST[:PORT],...; with TLS rediss://, rediss+sentinel:// and rediss+cluster://.
 *
 * Connects by itself, and again after a failure: at once, from the third failure in a row on once a second.
 * From a failure until it is connected again, commands fail at once. Everything answers by callback on the loop;
 * no call blocks, and no callback is called before the call that asked for it returns. */
#ifndef TT_REDIS_REDIS_H
#define TT_REDIS_REDIS_H

#include "core/base/err.h"
#include "core/config/config.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redis;
struct redis_request;

/* ---- replies ---- */

enum redis_type { REDIS_NIL, REDIS_NUMBER, REDIS_TEXT, REDIS_LIST, REDIS_FAILURE };

/* Never changes. */
struct redis_reply {
	enum redis_type type;
	int64_t number;
	const char *text; /* TEXT, and what FAILURE says, as "OOM command not allowed"; a NUL follows it */
	size_t len;
	struct redis_reply **items; /* LIST; none is NULL */
	size_t count;
	unsigned references;
};

/* For who needs it after the callback. */
struct redis_reply *redis_reply_ref(struct redis_reply *reply);
void redis_reply_free(struct redis_reply *reply); /* gives a reference back; NULL is fine */

/* Whether a failure begins with that word, as OOM. */
bool redis_reply_says(const struct redis_reply *reply, const char *word);

/* ---- the client ---- */

/* usable: it is connected; else why not. Called on each change, from the loop. */
typedef void redis_changed_fn(void *arg, bool usable, const struct err *why);

struct redis_options {
	const char *url;
	const char *password;      /* overrides the URL's; NULL: none */
	const char *password_file; /* overrides both; read for each connection; NULL: none */
	const char *ca_file;       /* authorities of TLS; NULL: those of the system */
	const char *cert_file;     /* that servers of TLS are shown; read for each connection; NULL: none */
	const char *key_file;      /* its key; NULL: in cert_file */
	/* Of the Sentinels, likewise. */
	const char *sentinel_username, *sentinel_password, *sentinel_password_file;
	const char *name;          /* by which CLIENT LIST shows it */
	int64_t timeout_ms;        /* of a connection, and of a command without a deadline of its own */
	redis_changed_fn *changed; /* NULL is fine */
	void *arg;
};

/* NULL with e: the URL cannot be used, or no memory. Nothing is connected yet. All text is copied. */
struct redis *redis_new(struct event_base *base, const struct redis_options *o, struct err *e);

/* The same with redis.password, redis.ca_file and so on of the configuration. */
struct redis *redis_open(struct event_base *base, const char *url, const struct config *c, redis_changed_fn *changed,
                         void *arg, struct err *e);

/* What a client by redis_open depends on: another text needs another client. Contains secrets. free(); NULL: no
 * memory. */
char *redis_settings(const char *url, const struct config *c);

/* Open requests end without callbacks. Not from within a callback; NULL is fine. */
void redis_free(struct redis *r);

/* -1 with e: no URL of Redis. */
int redis_check_url(const char *url, struct err *e);

struct redis_state {
	bool usable;       /* commands are taken; of a cluster: by each of its servers */
	unsigned failures; /* in a row */
	const char *error; /* the last failure, until it is connected again; "" */
	const char *url;   /* without the password */
};
/* What /status says. The text is valid until the loop runs again. */
void redis_state(struct redis *r, struct redis_state *state);

/* ---- commands ---- */

/* e: it failed, or the server refused it (reply then is a FAILURE, else NULL); it may have been executed
 * where reply is NULL. The reply is borrowed. */
typedef void redis_done_fn(void *arg, struct redis_reply *reply, const struct err *e);

struct redis_command {
	const char *const *args; /* the command's name first; copied */
	const size_t *lens;      /* of them; NULL: they are strings */
	size_t count;
	const char *key;    /* by which a cluster's server is found; NULL: any will do */
	size_t server;      /* with key NULL: which of redis_servers(), which a cluster knows after its first answer */
	int64_t timeout_ms; /* 0: the client's */
	bool repeatable;    /* it may be executed twice: sent again where the connection broke */
};

/* done may be NULL. NULL: no memory, done is never called. */
struct redis_request *redis_send(struct redis *r, const struct redis_command *c, redis_done_fn *done, void *arg);

/* done is not called any more; the command may still be executed. NULL is fine. */
void redis_cancel(struct redis_request *q);

/* How many servers hold data: 1, or the masters of a cluster that are known so far. */
size_t redis_servers(const struct redis *r);

/* A script in Lua, by its SHA-1 (EVALSHA), and loaded where the server does not have it. Its keys are args before the
 * others, of one slot: hash tags. */
struct redis_script {
	const char *text;
	char sha1[41]; /* "": redis_run writes it */
};
struct redis_run {
	struct redis_script *script;
	size_t keys;             /* how many of args; at least 1 */
	const char *const *args; /* at most REDIS_RUN_ARGS */
	const size_t *lens;      /* NULL: they are strings */
	size_t count;
	int64_t timeout_ms; /* 0: the client's */
	bool repeatable;
};
#define REDIS_RUN_ARGS 24
struct redis_request *redis_run(struct redis *r, const struct redis_run *run, redis_done_fn *done, void *arg);

#endif
