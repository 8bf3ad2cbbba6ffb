/* SPDX-License-Identifier: Apache-2.0 */
/* Many chat clients at once that check every answer: its text or each of its numbered words,
 * and that the statistics are at the very end, alone in their HTTP chunk. Prints one JSON
 * object; exits 0 when every turn was whole. */
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "tests/mock/words.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define CLIENT_TEXT_MOST ((size_t)64 << 20)
#define CLIENT_STATS     "[STATS]"
#define CLIENT_EXAMPLES  20 /* of each kind of answer that is not whole */
#define CLIENT_PAUSE_MS  50 /* after one that failed, where turns go on for a time */

/* Ends of a turn that are not text. */
enum chat_fault { CHAT_NO_ANSWER = WORDS_VERDICTS, CHAT_REFUSED, CHAT_MERGED, CHAT_ENDS };

struct chat_load {
	struct event_base *base;
	/* {i} in message, expect and word: <client>-<turn>; {n}: the turn's number in all */
	const char *host, *path, *message, *expect, *word;
	uint16_t port;
	long clients, turns; /* turns of each client, one after the other */
	long words;          /* of each answer, where `word` is given */
	long leave;          /* each client leaves in the middle of one turn in this many; 0: never */
	int64_t seconds;     /* new turns begin for this long, whatever `turns` says; 0: no such time */
	int64_t spread_ms;   /* in which the clients begin */
	int timeout_s;
	bool close_each;
	bool one_thread; /* the turns of a client belong together */
	/* what was met */
	int64_t begin_ns, slowest_first_ns;
	long begun, whole, failed, merged, wrong, left, active, active_most, streaming;
	long ends[CHAT_ENDS];
	json_t *examples;
	json_t *cut_ns; /* when answers were cut, CLOCK_MONOTONIC */
	char first_error[300];
};

struct chat_client {
	struct chat_load *load;
	struct evhttp_connection *connection;
	struct event *start;
	long number, turn;
	int64_t asked_ns;
	bool began, stats; /* of this turn: a chunk came; the statistics came */
	bool leaving;      /* before its end */
	const char *fault; /* what its chunks did wrong */
	struct buf text;
};

static void chat_next(struct chat_client *c);

/* text with {i} and {n} filled in: a new string. */
static char *chat_fill(const struct chat_client *c, const char *text)
{
	struct buf out = BUF_INIT(CLIENT_TEXT_MOST);
	size_t plain;

	while (plain = strcspn(text, "{"), text[plain]) {
		buf_add(&out, text, plain);
		text += plain;
		if (strncmp(text, "{i}", 3) == 0)
			buf_addf(&out, "%ld-%ld", c->number, c->turn);
		else if (strncmp(text, "{n}", 3) == 0)
			buf_addf(&out, "%ld", c->number * c->load->turns + c->turn);
		else
			buf_add(&out, text, 1);
		text += text[1] && text[2] == '}' && strchr("in", text[1]) ? 3 : 1;
	}
	buf_adds(&out, text);
	return buf_steal(&out, NULL);
}

static void chat_began(struct chat_client *c)
{
	int64_t ns = clock_mono_ns() - c->asked_ns;

	c->began = true;
	if (++c->load->streaming > c->load->active_most)
		c->load->active_most = c->load->streaming;
	if (ns > c->load->slowest_first_ns)
		c->load->slowest_first_ns = ns;
}

static void chat_chunk(struct evhttp_request *req, void *arg)
{
	struct chat_client *c = arg;
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	const char *data = (const char *)evbuffer_pullup(in, -1);
	const char *stats = memmem(data, len, CLIENT_STATS, strlen(CLIENT_STATS));

	if (!c->began)
		chat_began(c);
	if (c->load->leave > 0 && c->turn % c->load->leave == c->number % c->load->leave && !c->leaving) {
		c->leaving = true;
		event_active(c->start, EV_TIMEOUT, 0);
	}
	if (c->stats && len > 0)
		c->fault = "something after the statistics";
	if (!stats) {
		buf_add(&c->text, data, len);
		return;
	}
	if (stats != data || data[len - 1] != '}') {
		c->load->merged++;
		c->fault = "statistics not alone in their chunk";
	}
	c->stats = true;
}

static const char *chat_end_text(int end)
{
	static const char *const faults[] = {"no_answer", "refused", "merged"};

	return end < WORDS_VERDICTS ? words_verdict_text((enum words_verdict)end) : faults[end - WORDS_VERDICTS];
}

static void chat_example(struct chat_client *c, int end, int status)
{
	size_t len = c->text.len, most = 160;
	char line[400];

	if (c->load->ends[end] > CLIENT_EXAMPLES)
		return;
	snprintf(line, sizeof line, "%.2f s, client %ld turn %ld: %s (status %d, after %.2f s, %zu bytes) ...%s",
	         (double)(clock_mono_ns() - c->load->begin_ns) / 1e9, c->number, c->turn, chat_end_text(end), status,
	         (double)(clock_mono_ns() - c->asked_ns) / 1e9, len,
	         len == 0 ? "" : c->text.data + (len > most ? len - most : 0));
	if (json_array_append_new(c->load->examples, json_string(line)) < 0)
		json_array_append_new(c->load->examples, json_string("an answer that is no UTF-8"));
}

/* An answer of numbered words. */
static bool chat_judge_words(struct chat_client *c, int status)
{
	struct chat_load *load = c->load;
	char *word = chat_fill(c, load->word);
	int end = c->fault        ? CHAT_MERGED
	          : status == 0   ? (c->text.len > 0 ? (int)WORDS_CUT : (int)CHAT_NO_ANSWER)
	          : status != 200 ? CHAT_REFUSED
	                          : (int)words_judge(c->text.data ? c->text.data : "", c->stats, word, load->words);

	if (end == WORDS_CUT && words_judge(c->text.data ? c->text.data : "", false, word, load->words) != WORDS_CUT)
		end = WORDS_WRONG;
	load->ends[end]++;
	if (end == WORDS_CUT)
		json_array_append_new(load->cut_ns, json_integer(clock_mono_ns()));
	if (end == WORDS_WHOLE)
		load->whole++;
	else
		chat_example(c, end, status);
	free(word);
	return end == WORDS_WHOLE;
}

static void chat_judge(struct chat_client *c, struct evhttp_request *req)
{
	struct chat_load *load = c->load;
	char *expect = load->expect ? chat_fill(c, load->expect) : NULL;
	const char *text = c->text.data ? c->text.data : "";
	const char *fault = c->fault;

	if (!req || evhttp_request_get_response_code(req) == 0)
		fault = "no answer, or it was cut";
	else if (evhttp_request_get_response_code(req) != 200)
		fault = "status is not 200";
	else if (!fault && !c->stats)
		fault = "no statistics";
	if (!fault && expect && strcmp(expect, text) != 0) {
		load->wrong++;
		fault = "wrong text";
	}
	if (fault)
		load->failed++;
	else
		load->whole++;
	if (fault && !load->first_error[0])
		snprintf(load->first_error, sizeof load->first_error,
		         "client %ld turn %ld: %s (status %d, text %.150s)", c->number, c->turn, fault,
		         req ? evhttp_request_get_response_code(req) : 0, text);
	free(expect);
}

static void chat_turn_over(struct chat_client *c)
{
	if (c->began)
		c->load->streaming--;
	c->leaving = false;
	c->turn++;
}

static void chat_done(struct evhttp_request *req, void *arg)
{
	struct chat_client *c = arg;

	bool good = true;

	if (c->load->word)
		good = chat_judge_words(c, req ? evhttp_request_get_response_code(req) : 0);
	else
		chat_judge(c, req);
	chat_turn_over(c);
	/* From the loop: the connection is still busy with this request. */
	if (good || c->load->seconds == 0)
		event_active(c->start, EV_TIMEOUT, 0);
	else
		evtimer_add(c->start, &(struct timeval){.tv_usec = CLIENT_PAUSE_MS * 1000});
}

static void chat_body(const struct chat_client *c, struct evbuffer *out)
{
	char *message = chat_fill(c, c->load->message), thread[96], *text;
	json_t *j;

	snprintf(thread, sizeof thread, "client-%ld-turn-%ld-%lld", c->number, c->load->one_thread ? 0 : c->turn,
	         (long long)c->load->begin_ns);
	j = json_pack("{s:s, s:s}", "message", message, "thread_id", thread);
	text = json_dumps(j, JSON_COMPACT);
	evbuffer_add(out, text, strlen(text));
	free(text);
	free(message);
	json_decref(j);
}

static void chat_start(evutil_socket_t fd, short what, void *arg)
{
	struct chat_client *c = arg;

	(void)fd;
	(void)what;
	event_del(c->start); /* it may be due a second time */
	if (c->leaving) {
		evhttp_connection_free(c->connection); /* the request goes with it, unanswered */
		c->connection = NULL;
		c->load->left++;
		chat_turn_over(c);
	}
	chat_next(c);
}

static bool chat_over(const struct chat_client *c)
{
	if (c->load->seconds > 0)
		return clock_mono_ns() - c->load->begin_ns >= c->load->seconds * INT64_C(1000000000);
	return c->turn == c->load->turns;
}

static void chat_next(struct chat_client *c)
{
	struct chat_load *load = c->load;
	struct evhttp_request *req;
	struct evkeyvalq *headers;

	if (chat_over(c)) {
		if (c->connection)
			evhttp_connection_free(c->connection);
		c->connection = NULL;
		if (--load->active == 0)
			event_base_loopbreak(load->base);
		return;
	}
	c->began = c->stats = false;
	c->fault = NULL;
	c->asked_ns = clock_mono_ns();
	load->begun++;
	buf_reset(&c->text);
	if (!c->connection) {
		c->connection = evhttp_connection_base_new(load->base, NULL, load->host, load->port);
		evhttp_connection_set_timeout(c->connection, load->timeout_s);
	}
	req = evhttp_request_new(chat_done, c);
	evhttp_request_set_chunked_cb(req, chat_chunk);
	headers = evhttp_request_get_output_headers(req);
	evhttp_add_header(headers, "Host", load->host);
	evhttp_add_header(headers, "Content-Type", "application/json");
	if (load->close_each)
		evhttp_add_header(headers, "Connection", "close");
	chat_body(c, evhttp_request_get_output_buffer(req));
	evhttp_make_request(c->connection, req, EVHTTP_REQ_POST, load->path);
}

static void chat_options(struct chat_load *load, int argc, char **argv)
{
	enum {
		HOST = 1000,
		PORT,
		PATH,
		MESSAGE,
		EXPECT,
		CLIENTS,
		TURNS,
		SPREAD,
		TIMEOUT,
		CLOSE,
		WORD,
		WORDS,
		LEAVE,
		SECONDS,
		ONE_THREAD
	};
	static const struct option options[] = {
		{"host", 1, NULL, HOST},
		{"port", 1, NULL, PORT},
		{"path", 1, NULL, PATH},
		{"message", 1, NULL, MESSAGE},
		{"expect", 1, NULL, EXPECT},
		{"clients", 1, NULL, CLIENTS},
		{"turns", 1, NULL, TURNS},
		{"spread-ms", 1, NULL, SPREAD},
		{"timeout-s", 1, NULL, TIMEOUT},
		{"close", 0, NULL, CLOSE},
		{"word", 1, NULL, WORD},
		{"words", 1, NULL, WORDS},
		{"leave", 1, NULL, LEAVE},
		{"seconds", 1, NULL, SECONDS},
		{"one-thread", 0, NULL, ONE_THREAD},
		{0},
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == HOST)
			load->host = optarg;
		else if (o == PORT)
			load->port = (uint16_t)strtoul(optarg, NULL, 10);
		else if (o == PATH)
			load->path = optarg;
		else if (o == MESSAGE)
			load->message = optarg;
		else if (o == EXPECT)
			load->expect = optarg;
		else if (o == CLIENTS)
			load->clients = strtol(optarg, NULL, 10);
		else if (o == TURNS)
			load->turns = strtol(optarg, NULL, 10);
		else if (o == SPREAD)
			load->spread_ms = strtol(optarg, NULL, 10);
		else if (o == TIMEOUT)
			load->timeout_s = (int)strtol(optarg, NULL, 10);
		else if (o == WORD)
			load->word = optarg;
		else if (o == WORDS)
			load->words = strtol(optarg, NULL, 10);
		else if (o == LEAVE)
			load->leave = strtol(optarg, NULL, 10);
		else if (o == SECONDS)
			load->seconds = strtol(optarg, NULL, 10);
		else if (o == CLOSE)
			load->close_each = true;
		else if (o == ONE_THREAD)
			load->one_thread = true;
		else
			exit(2);
	}
}

static int chat_report(const struct chat_load *load, int64_t ns)
{
	json_t *j =
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s}", "turns", (json_int_t)load->begun, "whole",
	                  (json_int_t)load->whole, "failed", (json_int_t)load->failed, "merged",
	                  (json_int_t)load->merged, "wrong_text", (json_int_t)load->wrong, "streaming_most",
	                  (json_int_t)load->active_most, "seconds", (double)ns / 1e9, "first_error", load->first_error);

	json_object_set_new(j, "left", json_integer(load->left));
	json_object_set_new(j, "slowest_first_s", json_real((double)load->slowest_first_ns / 1e9));
	for (int end = 0; load->word && end < CHAT_ENDS; end++)
		json_object_set_new(j, chat_end_text(end), json_integer(load->ends[end]));
	if (load->word) {
		json_object_set(j, "examples", load->examples);
		json_object_set(j, "cut_ns", load->cut_ns);
	}
	json_dumpf(j, stdout, JSON_REAL_PRECISION(6));
	putchar('\n');
	fflush(stdout);
	json_decref(j);
	return load->whole == load->begun ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct chat_load load = {.host = "127.0.0.1",
	                         .path = "/poll_requests",
	                         .message = "hello",
	                         .clients = 1,
	                         .turns = 1,
	                         .timeout_s = 60};
	struct rlimit limit;
	struct chat_client *clients;
	int status;

	load.begin_ns = clock_mono_ns();
	load.examples = json_array();
	load.cut_ns = json_array();
	chat_options(&load, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	load.base = event_base_new();
	load.active = load.clients;
	clients = calloc((size_t)load.clients, sizeof *clients);
	if (!clients || !load.base)
		return 2;
	for (long i = 0; i < load.clients; i++) {
		struct chat_client *c = &clients[i];
		int64_t at_ms = load.spread_ms * i / load.clients;
		struct timeval tv = {.tv_sec = at_ms / 1000, .tv_usec = at_ms % 1000 * 1000};

		*c = (struct chat_client){.load = &load, .number = i, .text = BUF_INIT(CLIENT_TEXT_MOST)};
		c->start = evtimer_new(load.base, chat_start, c);
		evtimer_add(c->start, &tv);
	}
	event_base_dispatch(load.base);
	for (long i = 0; i < load.clients; i++) {
		event_free(clients[i].start);
		buf_free(&clients[i].text);
	}
	free(clients);
	event_base_free(load.base);
	status = chat_report(&load, clock_mono_ns() - load.begin_ns);
	json_decref(load.examples);
	json_decref(load.cut_ns);
	return status;
}
