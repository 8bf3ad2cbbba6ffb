/* SPDX-License-Identifier: Apache-2.0 */
/* The load of the benchmark: N clients at once that send one request after the other
 * and read their answers to the end, at whatever speed they come.
 *
 * A token in an answer begins with '@'. Where digits follow it (the sender's
 * CLOCK_MONOTONIC in nanoseconds), the time that it was on its way is measured too.
 * Prints one JSON object. Not part of the product. */
#include <event2/event.h>
#include <http_parser.h>
#include <jansson.h>

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE   (64u << 10)
#define SAMPLES_MAX (8u << 20)

struct samples {
	int64_t *ns;
	size_t count;
};

struct load {
	struct event_base *base;
	struct sockaddr_in to;
	const char *method, *path, *host, *body_format;
	const char *header; /* one more, or "" */
	int clients, threads;
	long requests;    /* of each client */
	long leave_after; /* tokens after which a client closes; 0 = never */
	double spread_s;  /* the clients start within this time */
	double time_limit_s;
	bool keep_alive;
	http_parser_settings parser;
	/* what was met */
	struct samples ttft, way, total, left;
	long complete, failed, active, refused, unfinished;
	int64_t tokens, bytes;
	int64_t first_ns, last_ns;
	char why[200];
};

struct client {
	struct load *load;
	struct event *event, *start;
	http_parser parser;
	int fd;
	int id;
	long done, tokens;
	int64_t sent_ns;
	bool first_seen, message_complete, first_on_connection;
	int status;
	bool at_end; /* [STATS] or [DONE] was seen in the last bytes */
	char tail[8];
	size_t tail_len;
};

static char read_buffer[READ_SIZE];

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void sample(struct samples *s, int64_t ns)
{
	if (s->ns == NULL)
		s->ns = malloc(SAMPLES_MAX * sizeof *s->ns);
	if (s->ns != NULL && s->count < SAMPLES_MAX)
		s->ns[s->count++] = ns;
}

static void start_request(struct client *c);
static void on_socket(evutil_socket_t fd, short what, void *arg);

static void disconnect(struct client *c)
{
	if (c->event != NULL)
		event_free(c->event);
	c->event = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void client_over(struct client *c)
{
	disconnect(c);
	if (--c->load->active == 0)
		event_base_loopbreak(c->load->base);
}

static void next_request(struct client *c)
{
	if (++c->done < c->load->requests)
		start_request(c);
	else
		client_over(c);
}

static void request_failed(struct client *c, const char *why)
{
	c->load->failed++;
	if (c->load->why[0] == '\0')
		snprintf(c->load->why, sizeof c->load->why, "%s (status %d, %ld tokens, errno %s)", why, c->status,
		         c->tokens, strerror(errno));
	disconnect(c);
	next_request(c);
}

/* ---- answers ---------------------------------------------------------------------- */

static void count_tokens(struct client *c, const char *at, size_t len)
{
	const char *end = at + len, *last = NULL;
	long seen = 0;

	while ((at = memchr(at, '@', (size_t)(end - at))) != NULL) {
		last = at++;
		seen++;
	}
	if (last == NULL)
		return;
	c->tokens += seen;
	c->load->tokens += seen;
	if (!c->first_seen) {
		c->first_seen = true;
		sample(&c->load->ttft, now_ns() - c->sent_ns);
	}
	if (end - last > 10 && last[1] >= '0' && last[1] <= '9') {
		int64_t sent = strtoll(last + 1, NULL, 10);

		if (sent > c->sent_ns)
			sample(&c->load->way, now_ns() - sent);
	}
}

static bool ends(const char *at, size_t len)
{
	return memmem(at, len, "[STATS]", 7) != NULL || memmem(at, len, "[DONE]", 6) != NULL;
}

/* The end may be cut between two pieces of the body. */
static int on_body(http_parser *p, const char *at, size_t len)
{
	struct client *c = p->data;
	size_t tail = len < 256 ? len : 256, head = len < sizeof c->tail ? len : sizeof c->tail;
	char cut[2 * sizeof c->tail];

	count_tokens(c, at, len);
	memcpy(cut, c->tail, c->tail_len);
	memcpy(cut + c->tail_len, at, head);
	if (ends(cut, c->tail_len + head) || ends(at + len - tail, tail))
		c->at_end = true;
	if (len < sizeof c->tail) { /* what there is by now, as far as it fits */
		size_t all = c->tail_len + len, drop = all > sizeof c->tail ? all - sizeof c->tail : 0;

		c->tail_len = all - drop;
		memmove(c->tail, cut + drop, c->tail_len);
	} else {
		c->tail_len = sizeof c->tail;
		memcpy(c->tail, at + len - sizeof c->tail, sizeof c->tail);
	}
	return 0;
}

static int on_message_complete(http_parser *p)
{
	struct client *c = p->data;

	c->message_complete = true;
	http_parser_pause(p, 1);
	return 0;
}

static void request_complete(struct client *c)
{
	struct load *l = c->load;
	int64_t now = now_ns();

	c->status = (int)c->parser.status_code;
	if (c->status != 200) {
		errno = 0;
		request_failed(c, "an error status");
		return;
	}
	if (strcmp(l->method, "POST") == 0 && !c->at_end)
		l->unfinished++;
	l->complete++;
	l->last_ns = now;
	sample(&l->total, now - c->sent_ns);
	if (!l->keep_alive || !http_should_keep_alive(&c->parser))
		disconnect(c);
	next_request(c);
}

static void leave(struct client *c)
{
	sample(&c->load->left, now_ns());
	disconnect(c);
	c->load->complete++;
	next_request(c);
}

static void on_readable(struct client *c)
{
	ssize_t n = read(c->fd, read_buffer, sizeof read_buffer);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		http_parser_execute(&c->parser, &c->load->parser, NULL, 0);
		if (c->message_complete)
			request_complete(c);
		else
			request_failed(c, n == 0 ? "closed early" : "read failed");
		return;
	}
	c->load->bytes += n;
	http_parser_execute(&c->parser, &c->load->parser, read_buffer, (size_t)n);
	if (c->message_complete)
		request_complete(c);
	else if (HTTP_PARSER_ERRNO(&c->parser) != HPE_OK)
		request_failed(c, http_errno_description(HTTP_PARSER_ERRNO(&c->parser)));
	else if (c->load->leave_after > 0 && c->tokens >= c->load->leave_after)
		leave(c);
}

/* ---- requests --------------------------------------------------------------------- */

static void send_request(struct client *c)
{
	struct load *l = c->load;
	char body[8192], request[12288];
	int body_len = 0, len;

	if (l->body_format != NULL) {
		const char *id = strstr(l->body_format, "{id}");
		/* Each client has threads of its own, and goes through them again and again. */
		long number = l->threads > 0 ? c->done % (l->threads / l->clients) : c->done;

		body_len = id == NULL ? snprintf(body, sizeof body, "%s", l->body_format)
		                      : snprintf(body, sizeof body, "%.*s%d-%ld%s", (int)(id - l->body_format),
		                                 l->body_format, c->id, number, id + 4);
	}
	len = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s%sContent-Length: %d\r\n\r\n%s",
	               l->method, l->path, l->host, l->header, l->header[0] != '\0' ? "\r\n" : "",
	               l->keep_alive ? "" : "Connection: close\r\n",
	               body_len > 0 ? "Content-Type: application/json\r\n" : "", body_len, body_len > 0 ? body : "");
	if (body_len >= (int)sizeof body || len >= (int)sizeof request) {
		errno = EMSGSIZE;
		request_failed(c, "the request is too long");
		return;
	}
	http_parser_init(&c->parser, HTTP_RESPONSE);
	c->parser.data = c;
	c->message_complete = c->first_seen = c->at_end = false;
	c->tokens = 0;
	c->tail_len = 0;
	c->status = 0;
	c->sent_ns = now_ns();
	if (l->first_ns == 0)
		l->first_ns = c->sent_ns;
	if (write(c->fd, request, (size_t)len) != len)
		request_failed(c, "write failed");
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	if ((what & EV_WRITE) != 0) { /* connected */
		int error = 0;
		socklen_t size = sizeof error;

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		event_free(c->event);
		c->event = event_new(c->load->base, c->fd, EV_READ | EV_PERSIST, on_socket, c);
		event_add(c->event, NULL);
		errno = error;
		if (error != 0)
			request_failed(c, "connect failed");
		else
			send_request(c);
		return;
	}
	on_readable(c);
}

static void start_request(struct client *c)
{
	int one = 1;

	if (c->fd >= 0) {
		send_request(c);
		return;
	}
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
	    (connect(c->fd, (struct sockaddr *)&c->load->to, sizeof c->load->to) < 0 && errno != EINPROGRESS)) {
		c->load->refused++;
		request_failed(c, "no socket or connection");
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->event = event_new(c->load->base, c->fd, EV_WRITE, on_socket, c);
	event_add(c->event, NULL);
}

static void on_start(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	start_request(arg);
}

/* ---- the report ------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	int64_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

static json_t *quantiles(struct samples *s)
{
	if (s->count == 0)
		return json_null();
	qsort(s->ns, s->count, sizeof *s->ns, by_value);
	return json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)s->count, "median_ms",
	                 (double)s->ns[s->count / 2] / 1e6, "p99_ms", (double)s->ns[s->count * 99 / 100] / 1e6,
	                 "max_ms", (double)s->ns[s->count - 1] / 1e6);
}

static void report(struct load *l)
{
	double seconds = (double)(l->last_ns - l->first_ns) / 1e9;
	json_t *left = json_array(), *out;

	for (size_t i = 0; i < l->left.count; i++)
		json_array_append_new(left, json_integer(l->left.ns[i]));
	out = json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:s}", "complete",
	                (json_int_t)l->complete, "failed", (json_int_t)l->failed, "unfinished",
	                (json_int_t)l->unfinished, "tokens", (json_int_t)l->tokens, "seconds", seconds,
	                "requests_per_s", seconds > 0 ? (double)l->complete / seconds : 0.0, "tokens_per_s",
	                seconds > 0 ? (double)l->tokens / seconds : 0.0, "ttft", quantiles(&l->ttft), "way",
	                quantiles(&l->way), "total", quantiles(&l->total), "left_ns", left, "why", l->why);
	json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(out);
}

static int parse(struct load *l, int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"path", required_argument, NULL, 'u'},
		{"body", required_argument, NULL, 'b'},
		{"clients", required_argument, NULL, 'c'},
		{"requests", required_argument, NULL, 'n'},
		{"leave-after", required_argument, NULL, 'l'},
		{"spread", required_argument, NULL, 's'},
		{"time-limit", required_argument, NULL, 't'},
		{"close", no_argument, NULL, 'C'},
		{"address", required_argument, NULL, 'a'},
		{"header", required_argument, NULL, 'h'},
		{"threads", required_argument, NULL, 'T'},
		{NULL, 0, NULL, 0},
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'p':
			l->to.sin_port = htons((uint16_t)strtoul(optarg, NULL, 10));
			break;
		case 'u':
			l->path = optarg;
			break;
		case 'b':
			l->body_format = optarg;
			l->method = "POST";
			break;
		case 'c':
			l->clients = (int)strtol(optarg, NULL, 10);
			break;
		case 'n':
			l->requests = strtol(optarg, NULL, 10);
			break;
		case 'l':
			l->leave_after = strtol(optarg, NULL, 10);
			break;
		case 's':
			l->spread_s = strtod(optarg, NULL);
			break;
		case 't':
			l->time_limit_s = strtod(optarg, NULL);
			break;
		case 'C':
			l->keep_alive = false;
			break;
		case 'a':
			if (inet_pton(AF_INET, optarg, &l->to.sin_addr) != 1)
				return -1;
			l->host = optarg;
			break;
		case 'h':
			l->header = optarg;
			break;
		case 'T':
			l->threads = (int)strtol(optarg, NULL, 10);
			break;
		default:
			return -1;
		}
	}
	return l->to.sin_port == 0 || l->clients <= 0 || (l->threads > 0 && l->threads < l->clients) ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct load l = {.method = "GET",
	                 .path = "/",
	                 .host = "127.0.0.1",
	                 .header = "",
	                 .clients = 1,
	                 .requests = 1,
	                 .keep_alive = true,
	                 .time_limit_s = 120};
	struct rlimit files;
	struct client *clients;
	struct timeval limit;

	l.to.sin_family = AF_INET;
	l.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (parse(&l, argc, argv) < 0) {
		fprintf(stderr,
		        "usage: bench-load --port N [--path P] [--body JSON] [--clients N] [--requests N]\n"
		        "                  [--leave-after TOKENS] [--spread S] [--time-limit S] [--close]\n"
		        "                  [--address IPV4] [--header LINE] [--threads N]\n"
		        "{id} in the body becomes the client's number and that of its request, or, with --threads N,\n"
		        "of one of the N threads that the clients share out among them.\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	l.base = event_base_new();
	l.parser.on_body = on_body;
	l.parser.on_message_complete = on_message_complete;
	clients = calloc((size_t)l.clients, sizeof *clients);
	if (l.base == NULL || clients == NULL)
		return 1;
	limit = (struct timeval){.tv_sec = (time_t)l.time_limit_s};
	event_base_loopexit(l.base, &limit);
	l.active = l.clients;
	for (int i = 0; i < l.clients; i++) {
		struct client *c = &clients[i];
		int64_t at_us = (int64_t)(l.spread_s * 1e6 * i / l.clients);
		struct timeval at = {.tv_sec = at_us / 1000000, .tv_usec = at_us % 1000000};

		c->load = &l;
		c->fd = -1;
		c->id = i;
		c->start = evtimer_new(l.base, on_start, c);
		evtimer_add(c->start, &at);
	}
	event_base_dispatch(l.base);
	if (l.active > 0 && l.why[0] == '\0')
		snprintf(l.why, sizeof l.why, "%ld clients were not done in time", l.active);
	l.failed += l.active;
	report(&l);
	return 0;
}
