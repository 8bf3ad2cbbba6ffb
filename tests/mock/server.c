/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/mock/server.h"

#include "core/base/clock.h"
#include "tests/mock/player.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVER_WORKERS_MOST 64
#define SERVER_BACKLOG      8192

struct server_options {
	const char *address, *script_file, *cert, *key;
	uint16_t port;
	unsigned workers;
	size_t keep;
};

struct server_worker {
	const struct server_app *app;
	struct book *book;
	struct event_base *base;
	struct evhttp *http;
	SSL_CTX *tls;
	void *state;
	pthread_t thread;
};

static void __attribute__((noreturn, format(printf, 2, 3))) server_die(const char *name, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static struct plan *server_json(int status, json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);
	struct plan *p;

	if (!text)
		exit(1);
	p = plan_response(status, "application/json", NULL, text, strlen(text), 0);
	free(text);
	json_decref(j);
	return p;
}

static struct plan *server_put_script(struct server_worker *w, const struct server_request *r)
{
	char why[256] = "";

	if (!w->app->check_script(r->body, why, sizeof why))
		return server_json(400, json_pack("{s:s}", "error", why));
	book_set_script(w->book, r->body);
	return server_json(200, json_pack("{s:b}", "ok", 1));
}

static struct plan *server_control(struct server_worker *w, const struct server_request *r)
{
	uint64_t none = 0;
	char *script;
	json_t *j;

	if (strcmp(r->path, "/_stats") == 0)
		return server_json(200, book_stats(w->book));
	if (strcmp(r->path, "/_requests") == 0 && strcmp(r->method, "DELETE") == 0) {
		book_forget(w->book);
		return server_json(200, json_pack("{s:b}", "ok", 1));
	}
	if (strcmp(r->path, "/_requests") == 0)
		return server_json(200, book_requests(w->book));
	if (strcmp(r->path, "/_script") == 0 && strcmp(r->method, "PUT") == 0)
		return server_put_script(w, r);
	if (strcmp(r->path, "/_script") == 0) {
		script = book_script(w->book, &none);
		j = script ? json_loads(script, 0, NULL) : NULL;
		free(script);
		return server_json(200, j ? j : json_object());
	}
	return server_json(404, json_pack("{s:s}", "error", "no such control path"));
}

static void server_connection_closed(struct evhttp_connection *connection, void *arg)
{
	struct server_worker *w = arg;

	book_closed(w->book, bufferevent_getfd(evhttp_connection_get_bufferevent(connection)));
}

static void server_meet(struct server_worker *w, struct evhttp_request *req)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(req);
	int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection)), on = 1;

	if (!book_opened(w->book, fd))
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	evhttp_connection_set_closecb(connection, server_connection_closed, w);
}

static const char *server_method(enum evhttp_cmd_type type)
{
	switch (type) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	default:
		return "OTHER";
	}
}

static void server_ended(void *arg, uint64_t id, size_t steps_delivered, bool left, int64_t at_ns)
{
	struct server_worker *w = arg;

	if (id)
		book_ended(w->book, id, steps_delivered, left, at_ns);
}

const char *server_header(const struct server_request *r, const char *name)
{
	return evhttp_find_header(r->headers, name);
}

static void server_request_cb(struct evhttp_request *req, void *arg)
{
	struct server_worker *w = arg;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	struct evkeyvalq *headers = evhttp_request_get_input_headers(req);
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	char *path = evhttp_uridecode(uri && evhttp_uri_get_path(uri) ? evhttp_uri_get_path(uri) : "/", 0, NULL);
	struct server_request r = {.method = server_method(evhttp_request_get_command(req)),
	                           .path = path ? path : "/",
	                           .query = uri ? evhttp_uri_get_query(uri) : NULL,
	                           .authorization = evhttp_find_header(headers, "Authorization"),
	                           .host = evhttp_find_header(headers, "Host"),
	                           .body_len = len,
	                           .headers = headers};
	bool control = strncmp(r.path, "/_", 2) == 0;
	struct plan *plan;
	uint64_t id = 0;

	evbuffer_add(in, "", 1);
	r.body = (const char *)evbuffer_pullup(in, -1);
	server_meet(w, req);
	if (!control)
		id = book_request(w->book, r.method, evhttp_request_get_uri(req), headers, r.body, len);
	plan = control ? server_control(w, &r) : w->app->answer(w->state, &r);
	if (!plan)
		plan = server_json(404, json_pack("{s:s}", "detail", "Not Found"));
	player_start(w->base, req, plan, !w->tls, server_ended, w, id);
	plan_unref(plan);
	free(path);
}

static int server_socket(const char *name, const struct server_options *o, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (inet_pton(AF_INET, o->address, &a.sin_addr) != 1)
		server_die(name, "--address: %s is no IPv4 address", o->address);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (o->workers > 1)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, SERVER_BACKLOG) < 0)
		server_die(name, "port %u: %s", port, strerror(errno));
	return fd;
}

static uint16_t server_port(int fd)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;

	return getsockname(fd, (struct sockaddr *)&a, &len) == 0 ? ntohs(a.sin_port) : 0;
}

static struct bufferevent *server_tls_bev(struct event_base *base, void *arg)
{
	struct server_worker *w = arg;

	return bufferevent_openssl_socket_new(base, -1, SSL_new(w->tls), BUFFEREVENT_SSL_ACCEPTING,
	                                      BEV_OPT_CLOSE_ON_FREE);
}

static SSL_CTX *server_tls(const char *name, const struct server_options *o)
{
	SSL_CTX *tls;

	if (!o->cert && !o->key)
		return NULL;
	tls = SSL_CTX_new(TLS_server_method());
	if (!tls || !o->cert || !o->key || SSL_CTX_use_certificate_chain_file(tls, o->cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, o->key, SSL_FILETYPE_PEM) != 1)
		server_die(name, "--tls-cert and --tls-key: no usable pair");
	return tls;
}

static void server_worker_init(struct server_worker *w, const struct server_app *app, struct book *book, SSL_CTX *tls,
                               int fd)
{
	struct event_config *config = event_config_new();

	event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
	*w = (struct server_worker){.app = app, .book = book, .tls = tls};
	w->base = event_base_new_with_config(config);
	event_config_free(config);
	w->http = evhttp_new(w->base);
	evhttp_set_allowed_methods(w->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE);
	evhttp_set_gencb(w->http, server_request_cb, w);
	if (tls)
		evhttp_set_bevcb(w->http, server_tls_bev, w);
	evhttp_accept_socket(w->http, fd);
	w->state = app->state_new(book);
}

static void *server_worker_run(void *arg)
{
	struct server_worker *w = arg;

	event_base_dispatch(w->base);
	return NULL;
}

static void server_read_script(const struct server_app *app, struct book *book, const char *file)
{
	char why[256] = "", *text;
	json_error_t e;
	json_t *j = json_load_file(file, 0, &e);

	if (!j)
		server_die(app->name, "%s:%d: %s", file, e.line, e.text);
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	if (!text || !app->check_script(text, why, sizeof why))
		server_die(app->name, "%s: %s", file, why);
	book_set_script(book, text);
	free(text);
}

static struct server_options server_options_parse(int argc, char **argv, const struct server_app *app)
{
	enum { PORT = 1000, ADDRESS, WORKERS, SCRIPT, CERT, KEY, RECORD, HELP };
	static const struct option own[] = {
		{"port", 1, NULL, PORT},     {"address", 1, NULL, ADDRESS}, {"workers", 1, NULL, WORKERS},
		{"script", 1, NULL, SCRIPT}, {"tls-cert", 1, NULL, CERT},   {"tls-key", 1, NULL, KEY},
		{"record", 1, NULL, RECORD}, {"help", 0, NULL, HELP},       {0},
	};
	struct server_options o = {.address = "127.0.0.1", .workers = 1, .keep = 4096};
	int c;

	while ((c = getopt_long(argc, argv, "", own, NULL)) != -1) {
		if (c == PORT)
			o.port = (uint16_t)strtoul(optarg, NULL, 10);
		else if (c == ADDRESS)
			o.address = optarg;
		else if (c == WORKERS)
			o.workers = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == SCRIPT)
			o.script_file = optarg;
		else if (c == CERT)
			o.cert = optarg;
		else if (c == KEY)
			o.key = optarg;
		else if (c == RECORD)
			o.keep = strtoul(optarg, NULL, 10);
		else {
			fputs(app->usage, c == HELP ? stdout : stderr);
			exit(c == HELP ? 0 : 2);
		}
	}
	if (o.workers < 1 || o.workers > SERVER_WORKERS_MOST)
		server_die(app->name, "--workers: 1 to %d", SERVER_WORKERS_MOST);
	return o;
}

static void server_wait_for_signal(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)sigwait(&set, &sig);
}

/* Before any thread exists, so that all of them leave the signals to sigwait. */
static void server_process_setup(void)
{
	struct rlimit limit;
	sigset_t set;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int server_main(int argc, char **argv, const struct server_app *app)
{
	static struct server_worker workers[SERVER_WORKERS_MOST];
	struct server_options o = server_options_parse(argc, argv, app);
	struct book *book;
	SSL_CTX *tls;
	uint16_t port = o.port;

	server_process_setup();
	book = book_new(o.keep);
	tls = server_tls(app->name, &o);
	if (o.script_file)
		server_read_script(app, book, o.script_file);
	for (unsigned i = 0; i < o.workers; i++) {
		int fd = server_socket(app->name, &o, port);

		port = server_port(fd);
		server_worker_init(&workers[i], app, book, tls, fd);
	}
	for (unsigned i = 0; i < o.workers; i++)
		pthread_create(&workers[i].thread, NULL, server_worker_run, &workers[i]);
	printf("listening on %u\n", port);
	fflush(stdout);
	server_wait_for_signal();
	_exit(0); /* streams may be open; nothing is left to save */
}
