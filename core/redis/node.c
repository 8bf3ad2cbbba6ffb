/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to one server: addresses, TLS, greeting, commands with their deadlines, and replies in order. It knows
 * of the others only by struct node_events. */
#include "core/redis/redis_private.h"

#include "core/base/clock.h"
#include "core/config/readfile.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <hiredis/hiredis.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define FAILURES_AT_ONCE 3
#define RETRY_MS         1000 /* from that failure on */
#define SOON_MS          20
#define PASSWORD_MAX     4096
#define REQUESTS_MAX     65536
#define BYTES_MAX        (64u << 20) /* of all open requests */

static void connect_next(struct node *n);
static void request_fail(struct redis_request *q, const struct err *why);

static void start_timer(struct node *n, int64_t ms)
{
	const struct timeval t = clock_timeval_ms(ms);

	event_add(n->timer, &t);
}

static int fail(const struct node *n, struct err *e, const char *what, const char *why)
{
	if (n->address.port == 0)
		return err_set(e, "Redis at %s: %s%s", n->address.host, what, why);
	return err_set(e, "Redis at %s:%u: %s%s", n->address.host, n->address.port, what, why);
}

/* ---- the end of a connection ---- */

static void disconnect(struct node *n)
{
	if (n->query != NULL)
		resolver_cancel(n->query);
	n->query = NULL;
	if (n->connection != NULL)
		bufferevent_free(n->connection);
	n->connection = NULL;
	reply_reader_free(n->reader);
	n->reader = NULL;
	free(n->addresses);
	n->addresses = NULL;
	n->greetings = 0;
	n->state = NODE_IDLE;
}

/* In the order in which they were sent, before those that wait. */
static void take_back(struct node *n, const struct err *why)
{
	struct redis_request *q;

	while ((q = TAILQ_LAST(&n->sent, request_list)) != NULL) {
		TAILQ_REMOVE(&n->sent, q, next);
		if (q->greeting || q->done == NULL) {
			request_free(q);
		} else if (q->repeatable && q->sent < 2) {
			q->state = REQUEST_WAITING;
			TAILQ_INSERT_HEAD(&n->waiting, q, next);
		} else {
			request_fail(q, why);
		}
	}
}

static void fail_waiting(struct node *n, const struct err *why)
{
	struct redis_request *q;

	while ((q = TAILQ_FIRST(&n->waiting)) != NULL) {
		TAILQ_REMOVE(&n->waiting, q, next);
		if (!n->redis->events->elsewhere(q))
			request_fail(q, why);
	}
}

void node_reset(struct node *n, bool away, const struct err *why)
{
	const struct err reason = *why;
	const bool was_ready = n->state == NODE_READY;

	disconnect(n);
	n->failures++;
	n->err = reason;
	n->away = away || n->failures >= FAILURES_AT_ONCE;
	take_back(n, &reason);
	if (!was_ready)
		fail_waiting(n, &reason);
	start_timer(n, n->failures >= FAILURES_AT_ONCE ? RETRY_MS : SOON_MS);
	n->redis->events->changed(n);
}

/* ---- replies ---- */

static void on_read(struct bufferevent *connection, void *arg)
{
	struct node *n = arg;
	struct evbuffer *in = bufferevent_get_input(connection);
	struct redis_reply *reply;
	struct err why = ERR_INIT, e = ERR_INIT;
	char bytes[16384];
	int len, more = 0;

	while (n->connection == connection && (len = evbuffer_remove(in, bytes, sizeof bytes)) > 0) {
		if (reply_reader_feed(n->reader, bytes, (size_t)len, &why) < 0)
			more = -1;
		/* A callback may end the connection. */
		while (more >= 0 && n->connection == connection &&
		       (more = reply_reader_next(n->reader, &reply, &why)) > 0) {
			struct redis_request *q = TAILQ_FIRST(&n->sent);

			if (q == NULL) {
				more = err_set(&why, "it says what nobody asked");
			} else {
				TAILQ_REMOVE(&n->sent, q, next);
				if (!q->greeting)
					n->failures = 0;
				n->redis->events->answered(q, reply);
			}
			redis_reply_free(reply);
		}
		if (more < 0) {
			fail(n, &e, "", why.text);
			node_reset(n, false, &e);
			return;
		}
	}
}

/* ---- greeting: who we are, and that it answers ---- */

enum greeting { GREET_AUTH, GREET_SELECT, GREET_NAME, GREET_ROLE, GREET_PING };

static void greeted(struct node *n)
{
	struct redis_request *q;

	n->state = NODE_READY;
	n->away = false;
	event_del(n->timer);
	while ((q = TAILQ_FIRST(&n->waiting)) != NULL) {
		TAILQ_REMOVE(&n->waiting, q, next);
		node_write(n, q);
	}
	n->redis->events->changed(n);
}

static void greeting_failed(struct node *n, const char *what, const char *why)
{
	struct err e = ERR_INIT;

	fail(n, &e, what, why);
	node_reset(n, true, &e);
}

static void on_greeted(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct node *n = arg;

	if (e != NULL)
		greeting_failed(n, "", reply != NULL ? reply->text : e->text);
	else if (--n->greetings == 0)
		greeted(n);
}

/* Rights that it does not give us for this are no failure. */
static void on_optional(void *arg, struct redis_reply *reply, const struct err *e)
{
	on_greeted(arg, reply, redis_reply_says(reply, "LOADING") || redis_reply_says(reply, "NOAUTH") ? e : NULL);
}

static void on_authenticated(void *arg, struct redis_reply *reply, const struct err *e)
{
	const struct node *n = arg;

	if (e != NULL && reply != NULL)
		greeting_failed(arg,
		                n->kind == NODE_SENTINEL
		                        ? "the password is refused (redis.sentinel_password): "
		                        : "the password is refused (redis.password, or that of the URL): ",
		                reply->text);
	else
		on_greeted(arg, reply, e);
}

static void on_role(void *arg, struct redis_reply *reply, const struct err *e)
{
	const char *role = e == NULL && reply->count > 0 && reply->items[0]->type == REDIS_TEXT ? reply->items[0]->text
	                                                                                        : "nothing";

	if (e == NULL && strcmp(role, "master") != 0)
		greeting_failed(arg, "Sentinel says that it is the master, and it says that it is ", role);
	else
		on_greeted(arg, reply, e);
}

/* Another server will say it where this one does not. */
static void on_slots(void *arg, struct redis_reply *reply, const struct err *e)
{
	if (e == NULL)
		((struct node *)arg)->redis->events->slots(arg, reply);
	on_greeted(arg, reply, e);
}

static int greet_with(struct node *n, redis_done_fn *done, size_t count, const char *const *args)
{
	const struct redis_command c = {.args = args, .count = count};
	struct redis_request *q = request_new(n->redis, &c, done, n);

	if (q == NULL)
		return -1;
	q->greeting = true;
	n->greetings++;
	node_write(n, q);
	return 0;
}

/* The password that is in force now, with its file. -1: it cannot be read, or no memory. */
static int authenticate(struct node *n, struct err *e)
{
	const struct redis *r = n->redis;
	const bool sentinel = n->kind == NODE_SENTINEL;
	const char *user = sentinel ? r->url.sentinel_username : r->url.user;
	const char *password = sentinel ? r->url.sentinel_password : r->url.password;
	const char *password_file = sentinel ? r->sentinel_password_file : r->password_file;
	struct buf file = BUF_INIT(PASSWORD_MAX);
	int failed = 0;

	if (password_file != NULL) {
		if (readfile(password_file, &file, NULL, e) < 0) {
			buf_free(&file);
			return -1;
		}
		while (file.len > 0 && (file.data[file.len - 1] == '\n' || file.data[file.len - 1] == '\r'))
			file.data[--file.len] = '\0';
		password = file.len > 0 ? file.data : NULL;
	}
	if (password != NULL && user != NULL)
		failed = greet_with(n, on_authenticated, 3, (const char *[]){"AUTH", user, password});
	else if (password != NULL)
		failed = greet_with(n, on_authenticated, 2, (const char *[]){"AUTH", password});
	if (file.data != NULL)
		explicit_bzero(file.data, file.cap);
	buf_free(&file);
	return failed < 0 ? err_set(e, "no memory to connect") : 0;
}

static void greet(struct node *n)
{
	const struct redis *r = n->redis;
	struct err e = ERR_INIT;
	char database[24];

	n->state = NODE_GREETING;
	if (authenticate(n, &e) < 0) {
		greeting_failed(n, "", e.text);
		return;
	}
	if (n->kind == NODE_SENTINEL) {
		if (greet_with(n, on_optional, 1, (const char *[]){"PING"}) < 0)
			greeting_failed(n, "", "no memory to connect");
		return;
	}
	snprintf(database, sizeof database, "%lld", (long long)r->url.database);
	if ((r->url.database > 0 && greet_with(n, on_greeted, 2, (const char *[]){"SELECT", database}) < 0) ||
	    greet_with(n, on_optional, 3, (const char *[]){"CLIENT", "SETNAME", r->name}) < 0 ||
	    (r->url.topology == REDIS_SENTINEL && greet_with(n, on_role, 1, (const char *[]){"ROLE"}) < 0) ||
	    (r->url.topology == REDIS_CLUSTER &&
	     greet_with(n, on_slots, 2, (const char *[]){"CLUSTER", "SLOTS"}) < 0) ||
	    greet_with(n, on_optional, 1, (const char *[]){"PING"}) < 0)
		greeting_failed(n, "", "no memory to connect");
}

/* ---- connecting ---- */

static void set_socket_options(evutil_socket_t fd)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* Why a connection ended. */
static void describe(struct node *n, short what, struct err *e)
{
	const int error = EVUTIL_SOCKET_ERROR();
	SSL *tls = n->redis->tls != NULL ? bufferevent_openssl_get_ssl(n->connection) : NULL;
	const unsigned long code = tls != NULL ? bufferevent_get_openssl_error(n->connection) : 0;
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	if (tls != NULL && SSL_get_verify_result(tls) != X509_V_OK)
		fail(n, e, "its certificate is refused: ", X509_verify_cert_error_string(SSL_get_verify_result(tls)));
	else if (reason != NULL)
		fail(n, e, "TLS: ", reason);
	else if (tls != NULL && n->state == NODE_GREETING && n->redis->cert_file == NULL)
		/* Its alert is lost where it closed before we wrote. */
		fail(n, e, "", "it closed the connection; it may want a certificate (redis.cert_file)");
	else if ((what & BEV_EVENT_EOF) != 0 || error == 0)
		fail(n, e, "", "it closed the connection");
	else
		fail(n, e, "", strerror(error));
}

static void on_event(struct bufferevent *connection, short what, void *arg)
{
	struct node *n = arg;
	struct err e = ERR_INIT;

	if ((what & BEV_EVENT_CONNECTED) != 0) {
		if (n->address.port != 0)
			set_socket_options(bufferevent_getfd(connection));
		greet(n);
		return;
	}
	describe(n, what, &e);
	if (n->state == NODE_CONNECTING) {
		bufferevent_free(connection);
		n->connection = NULL;
		n->attempt = e;
		connect_next(n);
	} else {
		node_reset(n, n->state != NODE_READY, &e);
	}
}

/* Our certificate, as it is now: it may have been renewed. */
static int show_certificate(struct node *n, SSL *tls)
{
	const struct redis *r = n->redis;
	const char *reason;
	char what[300];
	bool failed;

	if (r->cert_file == NULL)
		return 0;
	ERR_clear_error();
	failed = SSL_use_certificate_chain_file(tls, r->cert_file) != 1;
	if (!failed && SSL_use_PrivateKey_file(tls, r->key_file, SSL_FILETYPE_PEM) == 1)
		return 0;
	reason = ERR_reason_error_string(ERR_peek_last_error());
	ERR_clear_error();
	snprintf(what, sizeof what, "%s cannot be used as our %s: ", failed ? r->cert_file : r->key_file,
	         failed ? "certificate (redis.cert_file)" : "key (redis.key_file)");
	return fail(n, &n->attempt, what, reason != NULL ? reason : "unknown");
}

/* NULL with n->attempt. */
static struct bufferevent *new_connection(struct node *n)
{
	struct bufferevent *connection = NULL;
	unsigned char address[sizeof(struct in6_addr)];
	bool is_address;
	SSL *tls;

	if (n->redis->tls == NULL) {
		connection = bufferevent_socket_new(n->redis->base, -1, BEV_OPT_CLOSE_ON_FREE);
	} else {
		tls = SSL_new(n->redis->tls);
		is_address = evutil_inet_pton(AF_INET, n->address.host, address) == 1 ||
		             evutil_inet_pton(AF_INET6, n->address.host, address) == 1;
		if (tls != NULL &&
		    (is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), n->address.host)
		                : SSL_set1_host(tls, n->address.host)) == 1 &&
		    (is_address || SSL_set_tlsext_host_name(tls, n->address.host) == 1) &&
		    show_certificate(n, tls) == 0)
			connection = bufferevent_openssl_socket_new(n->redis->base, -1, tls, BUFFEREVENT_SSL_CONNECTING,
			                                            BEV_OPT_CLOSE_ON_FREE);
		if (connection != NULL) /* servers close without a close_notify */
			bufferevent_openssl_set_allow_dirty_shutdown(connection, 1);
		else
			SSL_free(tls);
	}
	if (connection == NULL) /* unless it is said already */
		fail(n, &n->attempt, "", "no memory to connect");
	return connection;
}

static int connect_to(struct node *n, const struct sockaddr *address, int len)
{
	n->connection = new_connection(n);
	if (n->connection == NULL)
		return -1;
	bufferevent_setcb(n->connection, on_read, NULL, on_event, n);
	bufferevent_enable(n->connection, EV_READ | EV_WRITE);
	if (bufferevent_socket_connect(n->connection, address, len) == 0)
		return 0;
	fail(n, &n->attempt, "", strerror(EVUTIL_SOCKET_ERROR()));
	bufferevent_free(n->connection);
	n->connection = NULL;
	return -1;
}

/* The next address; where there is none, connecting has failed. */
static void connect_next(struct node *n)
{
	struct sockaddr_storage address;
	char text[128];

	while (n->untried != NULL && *n->untried != '\0') {
		const size_t len = strcspn(n->untried, ",");
		int size = sizeof address;

		snprintf(text, sizeof text, "%.*s:%u", (int)len, n->untried, n->address.port);
		n->untried += len + (n->untried[len] == ',');
		err_clear(&n->attempt);
		if (evutil_parse_sockaddr_port(text, (struct sockaddr *)&address, &size) < 0)
			fail(n, &n->attempt, "", "it has an address of an unknown kind");
		else if (connect_to(n, (struct sockaddr *)&address, size) == 0)
			return;
	}
	node_reset(n, true, &n->attempt);
}

/* resolve: "HOST:PORT:a,b" or "[HOST]:PORT:a,b". */
static void on_resolved(void *arg, const char *resolve, bool exhausted, const struct err *e)
{
	struct node *n = arg;
	const char *rest;

	(void)exhausted;
	n->query = NULL;
	err_clear(&n->attempt);
	if (resolve != NULL) {
		rest = resolve[0] == '[' ? strchr(resolve, ']') : resolve;
		rest = rest != NULL ? strchr(rest, ':') : NULL;
		rest = rest != NULL ? strchr(rest + 1, ':') : NULL;
		n->addresses = rest != NULL ? strdup(rest + 1) : NULL;
		n->untried = n->addresses;
	}
	if (n->addresses == NULL)
		fail(n, &n->attempt, "", e != NULL ? e->text : "no memory to connect");
	n->state = NODE_CONNECTING;
	connect_next(n);
}

static void connect_socket(struct node *n)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	n->state = NODE_CONNECTING;
	snprintf(address.sun_path, sizeof address.sun_path, "%s", n->address.host);
	err_clear(&n->attempt);
	n->untried = NULL;
	if (connect_to(n, (struct sockaddr *)&address, sizeof address) < 0)
		node_reset(n, true, &n->attempt);
}

static void connect_host(struct node *n)
{
	struct err e = ERR_INIT;

	start_timer(n, n->redis->timeout_ms);
	n->reader = reply_reader_new();
	if (n->reader == NULL) {
		greeting_failed(n, "", "no memory to connect");
	} else if (n->address.port == 0) {
		connect_socket(n);
	} else {
		n->state = NODE_RESOLVING;
		n->query = resolver_lookup(n->redis->resolver, n->address.host, n->address.port, on_resolved, n);
		if (n->query == NULL) {
			fail(n, &e, "", "no memory to connect");
			node_reset(n, true, &e);
		}
	}
}

void node_connect_to(struct node *n, const char *host, uint16_t port)
{
	char *copy = strdup(host);

	if (copy == NULL) {
		node_cannot_connect(n, "no memory to connect");
		return;
	}
	free(n->address.host);
	n->address = (struct redis_address){.host = copy, .port = port};
	connect_host(n);
}

void node_cannot_connect(struct node *n, const char *why)
{
	struct err e = ERR_INIT;

	err_set(&e, "%s: %s", n->redis->masked, why);
	node_reset(n, true, &e);
}

static void node_connect(struct node *n)
{
	if (n->kind == NODE_DATA && n->redis->url.topology == REDIS_SENTINEL) {
		n->state = NODE_LOCATING;
		n->redis->events->locate(n);
	} else if (!n->retired) {
		connect_host(n);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	struct err e = ERR_INIT;

	(void)fd, (void)what;
	if (n->state == NODE_IDLE) {
		node_connect(n);
		return;
	}
	fail(n, &e, "",
	     n->state == NODE_RESOLVING    ? "its name could not be resolved in time"
	     : n->state == NODE_CONNECTING ? "no connection in time"
	                                   : "it did not answer in time");
	if (n->address.port != 0)
		resolver_doubt(n->redis->resolver, n->address.host, n->address.port);
	node_reset(n, true, &e);
}

/* ---- requests ---- */

static void on_deadline(evutil_socket_t fd, short what, void *arg);

struct redis_request *request_new(struct redis *r, const struct redis_command *c, redis_done_fn *done, void *arg)
{
	const struct timeval deadline = clock_timeval_ms(c->timeout_ms > 0 ? c->timeout_ms : r->timeout_ms);
	struct redis_request *q = NULL;
	char *bytes = NULL;
	long long len = -1;

	/* Neither function changes what the arguments point to. */
	if (r->requests < REQUESTS_MAX)
		len = redisFormatCommandArgv(&bytes, (int)c->count, (const char **)(uintptr_t)c->args, c->lens);
	if (len > 0 && (size_t)len <= BYTES_MAX - r->bytes)
		q = malloc(sizeof *q + (size_t)len);
	if (q != NULL) {
		*q = (struct redis_request){.redis = r,
		                            .repeatable = c->repeatable,
		                            .slot = -1,
		                            .done = done,
		                            .arg = arg,
		                            .len = (size_t)len};
		memcpy(q->bytes, bytes, q->len);
		event_assign(&q->timer, r->base, -1, 0, on_deadline, q);
		event_add(&q->timer, &deadline);
		r->requests++;
		r->bytes += q->len;
	}
	if (bytes != NULL)
		redisFreeCommand(bytes);
	return q;
}

void request_free(struct redis_request *q)
{
	event_del(&q->timer);
	q->redis->requests--;
	q->redis->bytes -= q->len;
	free(q);
}

static void request_fail(struct redis_request *q, const struct err *why)
{
	q->err = *why;
	q->node = NULL;
	q->state = REQUEST_FAILING;
	TAILQ_INSERT_TAIL(&q->redis->failing, q, next);
	event_active(&q->timer, EV_TIMEOUT, 0);
}

void request_finish(struct redis_request *q, struct redis_reply *reply, const struct err *e)
{
	redis_done_fn *done = q->done;
	void *arg = q->arg;

	request_free(q);
	if (done != NULL)
		done(arg, reply, e);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct redis_request *q = arg;
	struct node *n = q->node;
	struct err e = q->err;

	(void)fd, (void)what;
	if (q->state == REQUEST_FAILING) {
		TAILQ_REMOVE(&q->redis->failing, q, next);
		request_finish(q, NULL, &e);
		return;
	}
	err_clear(&e);
	err_set(&e, "%s did not answer in time", q->redis->masked);
	TAILQ_REMOVE(q->state == REQUEST_SENT ? &n->sent : &n->waiting, q, next);
	/* Its reply, if it comes after all, would be taken for that of another. */
	if (q->state == REQUEST_SENT)
		node_reset(n, true, &e);
	request_finish(q, NULL, &e);
}

/* ---- sending ---- */

void node_write(struct node *n, struct redis_request *q)
{
	q->node = n;
	q->state = REQUEST_SENT;
	q->sent++;
	TAILQ_INSERT_TAIL(&n->sent, q, next);
	/* Without memory for it the reply never comes, and the deadline ends the connection. */
	bufferevent_write(n->connection, q->bytes, q->len);
}

void node_send(struct node *n, struct redis_request *q)
{
	if (n->state == NODE_READY) {
		node_write(n, q);
	} else if (n->away) {
		request_fail(q, &n->err);
	} else {
		q->node = n;
		q->state = REQUEST_WAITING;
		n->retired = false;
		TAILQ_INSERT_TAIL(&n->waiting, q, next);
		if (n->state == NODE_IDLE && !event_pending(n->timer, EV_TIMEOUT, NULL))
			start_timer(n, 0);
	}
}

struct node *node_new(struct redis *r, const char *host, uint16_t port)
{
	struct node *n = calloc(1, sizeof *n);

	if (n == NULL)
		return NULL;
	n->redis = r;
	n->address = (struct redis_address){.host = strdup(host), .port = port};
	n->timer = evtimer_new(r->base, on_timer, n);
	TAILQ_INIT(&n->waiting);
	TAILQ_INIT(&n->sent);
	if (n->address.host != NULL && n->timer != NULL)
		return n;
	node_free(n);
	return NULL;
}

void node_free(struct node *n)
{
	struct redis_request *q;

	disconnect(n);
	while ((q = TAILQ_FIRST(&n->sent)) != NULL || (q = TAILQ_FIRST(&n->waiting)) != NULL) {
		TAILQ_REMOVE(q->state == REQUEST_SENT ? &n->sent : &n->waiting, q, next);
		request_free(q);
	}
	if (n->timer != NULL)
		event_free(n->timer);
	free(n->address.host);
	free(n);
}
