/* SPDX-License-Identifier: Apache-2.0 */
/* A whole turn: any request, any answers of LLMs and search services, cut anywhere, and a client
 * that reads slowly or leaves at any moment. Time is the fuzzer's own, so nothing waits. A turn that
 * is not cancelled ends, with the statistics at its very end, once; its text is UTF-8; nothing is
 * left.
 *
 * The first line: when the client leaves (a letter, a = never), how answers are cut (a letter),
 * whether the client reads slowly (s). The second one is the body of the request. Each block after
 * a line "===" is the answer to one HTTP request: the first letter says how it ends (ends), a
 * number its status, the rest of the line its content type, the lines below are its body. */
#include "core/base/clock.h"
#include "core/status/writer.h"
#include "core/turn/turn.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/support/test_output.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEPS_MAX  100000
#define TIMERS_MAX 256

/* --- time: the timers of everything that is tested go through here (--wrap) ------------------- */

int __real_event_add(struct event *e, const struct timeval *t);
int __real_event_del(struct event *e);
void __real_event_free(struct event *e);
int __wrap_event_add(struct event *e, const struct timeval *t);
int __wrap_event_del(struct event *e);
void __wrap_event_free(struct event *e);

static struct {
	struct event *event;
	int64_t due_ns;
} timers[TIMERS_MAX];
static size_t timer_count;
static int64_t now_ns;

int64_t clock_mono_ns(void)
{
	return now_ns;
}
int64_t clock_mono_ms(void)
{
	return now_ns / 1000000;
}
int64_t clock_boot_ns(void)
{
	return clock_mono_ns();
}

int64_t clock_boot_ms(void)
{
	return now_ns / 1000000;
}
int64_t clock_wall_ms(void)
{
	return 1795370000000 + now_ns / 1000000;
}

static void forget_timer(const struct event *e)
{
	for (size_t i = 0; i < timer_count; i++)
		if (timers[i].event == e)
			timers[i--] = timers[--timer_count];
}

int __wrap_event_add(struct event *e, const struct timeval *t)
{
	if (t == NULL || event_get_fd(e) >= 0)
		return __real_event_add(e, t);
	forget_timer(e);
	fuzz_require(timer_count < TIMERS_MAX);
	timers[timer_count].event = e;
	timers[timer_count++].due_ns = now_ns + (int64_t)t->tv_sec * 1000000000 + (int64_t)t->tv_usec * 1000;
	return 0;
}

int __wrap_event_del(struct event *e)
{
	forget_timer(e);
	return __real_event_del(e);
}

void __wrap_event_free(struct event *e)
{
	forget_timer(e);
	__real_event_free(e);
}

/* False: there is none. */
static bool fire_next_timer(void)
{
	size_t next = 0;
	struct event *e;

	if (timer_count == 0)
		return false;
	for (size_t i = 1; i < timer_count; i++)
		if (timers[i].due_ns < timers[next].due_ns)
			next = i;
	e = timers[next].event;
	if (timers[next].due_ns > now_ns)
		now_ns = timers[next].due_ns;
	forget_timer(e);
	event_active(e, EV_TIMEOUT, 0);
	return true;
}

/* --- HTTP: each request gets the next answer of the input ----------------------------------------- */

struct http_transfer {
	const struct http_handlers *handlers; /* NULL: cancelled */
	void *arg;
	const char *body;
	size_t len, at, collect_limit;
	enum http_outcome outcome;
	long status;
	char type[64];
	bool paused, responded, collecting, calling;
};

static const struct {
	char letter;
	enum http_outcome outcome;
} ends[] = {
	{'d', HTTP_DONE},    {'c', HTTP_CUT},       {'r', HTTP_RESET},  {'x', HTTP_REFUSED},
	{'s', HTTP_SILENCE}, {'t', HTTP_TIMEOUT},   {'l', HTTP_TLS},    {'n', HTTP_NO_RESOURCES},
	{'h', HTTP_NO_HOST}, {'b', HTTP_TOO_LARGE}, {'f', HTTP_FAILED}, {'o', HTTP_CONNECT_TIMEOUT},
};

static const char *script, *script_end; /* the answers that are left */
static struct http_transfer *active[64];
static size_t active_count;
static unsigned cuts;

static const char *next_block(const char *from)
{
	static const char separator[] = "\n===\n";

	return from < script_end ? memmem(from, (size_t)(script_end - from), separator, sizeof separator - 1) : NULL;
}

static void read_answer(struct http_transfer *t)
{
	const char *end = next_block(script), *line, *p = script;

	*t = (struct http_transfer){.outcome = HTTP_REFUSED};
	if (script >= script_end)
		return;
	if (end == NULL)
		end = script_end;
	script = end + 5 < script_end ? end + 5 : script_end;
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (p < end && *p == ends[i].letter)
			t->outcome = ends[i].outcome;
	for (p += p < end; p < end && isdigit((unsigned char)*p) && t->status < 1000; p++)
		t->status = t->status * 10 + *p - '0';
	for (line = p; line < end && *line != '\n'; line++)
		continue;
	while (p < line && *p == ' ')
		p++;
	snprintf(t->type, sizeof t->type, "%.*s", (int)(line - p), p);
	t->body = line < end ? line + 1 : end;
	t->len = (size_t)(end - t->body);
}

struct http_transfer *http_start(struct http *h, const struct http_request *req, const struct http_handlers *handlers,
                                 void *arg)
{
	struct http_transfer *t = malloc(sizeof *t);

	(void)h;
	fuzz_require(req->url != NULL && (req->body == NULL || fuzz_is_text(req->body, req->body_len)));
	fuzz_require(t != NULL && active_count < sizeof active / sizeof active[0]);
	read_answer(t);
	t->handlers = handlers;
	t->arg = arg;
	t->collecting = handlers->data == NULL;
	t->collect_limit = req->collect_limit > 0 ? req->collect_limit : 1u << 20;
	active[active_count++] = t;
	return t;
}

static void forget(struct http_transfer *t)
{
	for (size_t i = 0; i < active_count; i++)
		if (active[i] == t) {
			memmove(&active[i], &active[i + 1], (active_count - i - 1) * sizeof active[0]);
			active_count--;
			break;
		}
	free(t);
}

void http_drain(struct http_transfer *t)
{
	(void)t;
}
void http_cancel(struct http_transfer *t)
{
	t->handlers = NULL;
	if (!t->calling)
		forget(t);
}
void http_pause(struct http_transfer *t)
{
	t->paused = true;
}
void http_resume(struct http_transfer *t)
{
	t->paused = false;
}
void http_progress(struct http_transfer *t, int64_t silence_ms)
{
	fuzz_require(t->calling && silence_ms > 0);
}

const char *http_outcome_text(enum http_outcome o)
{
	(void)o;
	return "outcome";
}

static void end_transfer(struct http_transfer *t)
{
	struct http_result r = {.outcome = t->outcome, .status = t->status, .retry_after_s = -1};
	char *body = fuzz_text(t->body, t->collecting ? t->len : 0);

	if (t->collecting && t->len > t->collect_limit)
		r.outcome = HTTP_TOO_LARGE;
	r.body = body;
	r.body_len = strlen(body);
	r.reused = t->outcome == HTTP_RESET && t->len == 0;
	snprintf(r.text, sizeof r.text, "%s", t->outcome == HTTP_DONE && t->status < 400 ? "" : "it failed");
	t->calling = true;
	t->handlers->done(t->arg, &r);
	free(body);
	forget(t);
}

/* The next piece of an answer, or its end. */
static void move_transfer(struct http_transfer *t)
{
	size_t n = t->len - t->at;
	char *piece;

	t->calling = true;
	now_ns += 1000000;
	if (!t->responded && t->status > 0) {
		t->responded = true;
		if (t->handlers->response != NULL && !t->handlers->response(t->arg, t->status, t->type))
			t->collecting = true;
	} else if (!t->collecting && t->status > 0 && n > 0) {
		if (cuts > 0) {
			cuts = cuts * 1103515245u + 12345u;
			n = n < (cuts >> 16) % 64 + 1 ? n : (cuts >> 16) % 64 + 1;
		}
		piece = fuzz_copy(t->body + t->at, n);
		t->at += n;
		t->handlers->data(t->arg, piece, n);
		free(piece);
	} else {
		end_transfer(t);
		return;
	}
	t->calling = false;
	if (t->handlers == NULL)
		forget(t);
}

/* False: none can move. */
static bool move_next_transfer(void)
{
	for (size_t i = 0; i < active_count; i++)
		if (!active[i]->paused) {
			move_transfer(active[i]);
			return true;
		}
	return false;
}

/* --- what a worker lends --------------------------------------------------------------------------- */

static struct event_base *base;
static struct status_reader *reader;
static struct config *settings;
static struct chat_services services;
static char directory[] = "/tmp/tt-fuzz.XXXXXX";

static struct config *get_config(void *arg)
{
	(void)arg;
	return config_ref(settings);
}

static struct status_snapshot *get_snapshot(void *arg)
{
	(void)arg;
	return status_acquire(reader);
}

static bool has_llm(void *arg)
{
	(void)arg;
	return true;
}

static void report(void *arg, const struct turn_report *r)
{
	(void)arg;
	fuzz_require(r->instance > 0 && r->text != NULL);
}

static void remove_directory(void)
{
	char command[96];

	snprintf(command, sizeof command, "rm -rf %s", directory);
	if (system(command) != 0)
		abort();
}

static void load_config(void)
{
	char *environment[] = {(char[]){"TAVILY_API_KEY=key"}, NULL};
	const char *sets[] = {"llm.top_k=20"};
	const struct config_source source = {.environment = environment, .sets = sets, .set_count = 1};
	struct config_report loaded;

	fuzz_config(); /* and no log lines */
	config_report_init(&loaded);
	settings = config_load(&source, &loaded);
	config_report_free(&loaded);
	fuzz_require(settings != NULL);
}

/* Two LLMs of a kind, one without tools. */
static void publish(void)
{
	struct err e = ERR_INIT;
	struct status_writer *w = status_writer_open(directory, &e);
	struct llm llms[3];
	const size_t order[] = {0, 1, 2};
	struct status_view v = {.config = settings,
	                        .config_name = "config.1",
	                        .llms = llms,
	                        .llm_count = 3,
	                        .order = order,
	                        .order_count = 3,
	                        .usable_count = 3};

	for (size_t i = 0; i < 3; i++) {
		llms[i] = (struct llm){.kind = LLM_DISCOVERED,
		                       .health = LLM_HEALTHY,
		                       .instance = i + 1,
		                       .latency_ms = 7,
		                       .tools = i == 2 ? LLM_TOOLS_NO : LLM_TOOLS_YES,
		                       .continues = i > 0,
		                       .context_length = 8192};
		llms[i].model = strdup("meta/Llama");
		llms[i].model_name = strdup("Llama");
		llms[i].url = strdup("http://127.0.0.1:7000/v1/chat/completions");
	}
	fuzz_require(w != NULL && status_publish(w, &v, &e) == 0);
	status_writer_close(w);
	for (size_t i = 0; i < 3; i++)
		llm_clear(&llms[i]);
	reader = status_reader_new(directory, &e);
	fuzz_require(reader != NULL);
}

static void prepare(void)
{
	static struct cooldown cooldown;
	static struct quirk_memory quirks;
	static struct prompt_cache prompts;
	struct err e = ERR_INIT;

	fuzz_require(mkdtemp(directory) != NULL);
	atexit(remove_directory);
	now_ns = 1000000000;
	base = event_base_new();
	load_config();
	publish();
	services = (struct chat_services){.base = base,
	                                  .config = get_config,
	                                  .snapshot = get_snapshot,
	                                  .run = "run",
	                                  .cooldown = &cooldown,
	                                  .quirks = &quirks,
	                                  .prompts = &prompts,
	                                  .report = report};
	services.waiting = wait_queue_new(base, has_llm, NULL, &e);
	services.toolbox = toolbox_new(base, NULL, &e);
	services.store = store_new(base, "memory:", "run", &(struct store_limits){.max_threads = 4}, &e);
	fuzz_require(services.waiting != NULL && services.toolbox != NULL && services.store != NULL);
}

/* --- one turn ------------------------------------------------------------------------------------------ */

static void on_ended(void *arg)
{
	*(bool *)arg = true;
}

/* The statistics are at the very end, once more than the LLM wrote them. */
static void check_output(const struct buf *written)
{
	const char *text = written->data, *last = NULL;

	fuzz_require(text != NULL && fuzz_is_text(text, written->len));
	for (const char *p = text; (p = memmem(p, (size_t)(text + written->len - p), "[STATS]{", 8)) != NULL; p++)
		last = p;
	fuzz_require(last != NULL && text[written->len - 1] == '}' && strchr(last, '\n') == NULL);
}

static void run(struct turn *t, struct output *out, bool *ended, size_t leaves_after, bool slow)
{
	for (size_t step = 0; !*ended; step++) {
		fuzz_require(step < STEPS_MAX);
		if (step > 0 && step == leaves_after) {
			turn_cancel(t);
			return;
		}
		out->full = slow && step % 3 == 1;
		if (slow && !out->full)
			turn_resume(t);
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (*ended)
			break;
		if (!move_next_transfer() && !fire_next_timer())
			turn_resume(t);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct output out = {.written = BUF_INIT(1u << 28)};
	struct turn_request request = {
		.subject = "", .request_id = "id", .protocol = &protocol_studio, .output = &out, .ended = on_ended};
	const char *text = (const char *)data, *line = memchr(text, '\n', len);
	json_t *problem = NULL;
	bool ended = false;
	const char *body, *end;
	struct turn *t;

	if (base == NULL)
		prepare();
	if (line == NULL || line - text < 3)
		return 0;
	script_end = text + len;
	body = line + 1;
	end = next_block(line);
	script = end == NULL ? script_end : end + 5;
	if (end == NULL)
		end = script_end;
	cuts = (unsigned)(text[1] - 'a');
	if (end < body || protocol_studio.parse(body, (size_t)(end - body), &request.chat, &problem) != 0) {
		json_decref(problem);
		return 0;
	}
	request.arg = &ended;
	t = turn_new(&services, &request);
	fuzz_require(t != NULL);
	turn_run(t);
	run(t, &out, &ended, text[0] >= 'a' ? (size_t)(text[0] - 'a') : 0, text[2] == 's');
	event_base_loop(base, EVLOOP_NONBLOCK);
	if (ended)
		check_output(&out.written);
	fuzz_require(active_count == 0);
	buf_free(&out.written);
	return 0;
}
