/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded dialogues (tests/data/dialogues) through the whole turn, in one process: each
 * answer of the LLM cut at every byte, the client gone after every step. */
#include "tests/unit/support/recorded_http.h"
#include "tests/unit/support/status_fixture.h"
#include "tests/unit/support/test_output.h"

#include "core/turn/turn.h"

#include <dirent.h>
#include <errno.h>

#define ATTEMPTS_MAX 16

/* Answers that were cut at every byte before (most dialogues end with the same one), and
 * all under a sanitizer, are cut at fewer. */
#define STRIDE 17
#ifdef __SANITIZE_ADDRESS__
#define CLOSE 5
#else
#define CLOSE 1
#endif

static const char *const dialogues[] = {
	"no_tool",
	"one_search",
	"two_searches",
	"two_rounds",
	"repeated_query",
	"code",
	"search_then_code",
	"bad_arguments",
	"unknown_tool",
	"limits_reached",
	"reasoning",
	"reasoning_in_content",
	"reasoning_broke_off",
	"json_for_the_user",
	"text_call_bare",
	"text_call_typed",
	"text_call_python_tag",
	"text_call_llama4",
	"text_call_hermes",
	"text_call_function",
	"text_call_qwen",
	"text_call_mistral",
	"text_call_quoted",
	"text_call_fence",
	"reasoning_unopened",
	"reasoning_tags",
	"tool_failure",
};

struct dialogue {
	json_t *json;
	const char *llm[ATTEMPTS_MAX + 1];
	size_t lens[ATTEMPTS_MAX];
	size_t attempts;
	struct recorded_answer others[5];
};

struct world {
	struct fixture *fixture;
	struct event_base *base;
	struct event *pause;
	struct status_reader *reader;
	struct status_writer *writer;
	struct config *config;
	struct cooldown cooldown;
	struct quirk_memory quirks;
	struct prompt_cache prompts;
	struct chat_services services;
	struct recorded_http http;
	/* of the turn that runs */
	struct output output;
	bool ended;
	unsigned number;
};

/* ---- the world of the turns ----------------------------------------------------------- */

static struct config *world_config(void *arg)
{
	return config_ref(((struct world *)arg)->config);
}

static struct status_snapshot *world_snapshot(void *arg)
{
	return status_acquire(((struct world *)arg)->reader);
}

static void on_pause(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(((struct world *)arg)->base);
}

static int make_world(void **state)
{
	const struct store_limits no_limits = {.max_threads = 100};
	struct world *w = calloc(1, sizeof *w);
	struct err e = ERR_INIT;
	void *fixture;

	assert_int_equal(setup(&fixture), 0);
	w->fixture = fixture;
	w->config = SETTINGS("search.tavily_key=k", "code.e2b_key=k", "log.level=CRITICAL", "search.cooldown=0");
	w->writer = writer(w->fixture);
	publish(w->writer, w->fixture);
	w->reader = reader(w->fixture);
	w->base = event_base_new();
	w->pause = event_new(w->base, -1, 0, on_pause, w);
	w->http.base = w->base;
	buf_init(&w->http.bodies, 1 << 24);
	buf_init(&w->output.written, 1 << 20);
	recorded_http_use(&w->http);
	w->services = (struct chat_services){.base = w->base,
	                                     .config = world_config,
	                                     .snapshot = world_snapshot,
	                                     .store = store_new(w->base, "memory:", "", &no_limits, &e),
	                                     .run = "run",
	                                     .toolbox = toolbox_new(w->base, NULL, &e),
	                                     .cooldown = &w->cooldown,
	                                     .quirks = &w->quirks,
	                                     .prompts = &w->prompts,
	                                     .arg = w};
	assert_non_null(w->services.store);
	assert_non_null(w->services.toolbox);
	*state = w;
	return 0;
}

static int end_world(void **state)
{
	struct world *w = *state;
	void *fixture = w->fixture;

	toolbox_free(w->services.toolbox);
	for (size_t i = 0; i < 20; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_int_equal(w->http.running, 0);
	store_free(w->services.store);
	prompt_cache_clear(&w->prompts);
	status_reader_free(w->reader);
	status_writer_close(w->writer);
	config_unref(w->config);
	buf_free(&w->http.bodies);
	buf_free(&w->output.written);
	event_free(w->pause);
	event_base_free(w->base);
	free(w);
	return teardown(&fixture);
}

static void load_dialogue(struct dialogue *d, const char *name)
{
	const char *srcdir = getenv("srcdir");
	char path[512];
	json_error_t e;
	json_t *answer;
	json_int_t search_status;
	size_t i;

	snprintf(path, sizeof path, "%s/tests/data/dialogues/%s.json", srcdir == NULL ? "." : srcdir, name);
	memset(d, 0, sizeof *d);
	d->json = json_load_file(path, 0, &e);
	if (d->json == NULL)
		fail_msg("%s:%d: %s", path, e.line, e.text);
	json_array_foreach(json_object_get(d->json, "llm"), i, answer)
	{
		assert_true(i < ATTEMPTS_MAX);
		d->llm[i] = json_string_value(answer);
		d->lens[i] = strlen(d->llm[i]);
		d->attempts++;
	}
	search_status = json_integer_value(json_object_get(d->json, "search_status")); /* 0: 200 */
	d->others[0] = (struct recorded_answer){"/search", search_status == 0 ? 200 : (long)search_status,
	                                        json_string_value(json_object_get(d->json, "search"))};
	d->others[1] = (struct recorded_answer){"/sandboxes", 201, "{\"sandboxID\":\"sb\"}"};
	d->others[2] =
		(struct recorded_answer){"/execute", 200, json_string_value(json_object_get(d->json, "execute"))};
	d->others[3] = (struct recorded_answer){"/timeout", 204, ""};
	d->others[4] = (struct recorded_answer){"/sandboxes/sb", 204, ""};
	if (d->others[2].body == NULL)
		d->others[2].body = "";
}

/* ---- a turn --------------------------------------------------------------------------- */

static void on_ended(void *arg)
{
	struct world *w = arg;

	assert_false(w->ended);
	w->ended = w->output.closed = true;
}

static struct turn_request make_request(struct world *w, const struct dialogue *d, size_t split_attempt,
                                        size_t split_at)
{
	struct turn_request request = {.subject = "",
	                               .request_id = "r",
	                               .protocol = &protocol_studio,
	                               .output = &w->output,
	                               .ended = on_ended,
	                               .arg = w};
	char thread[32];

	snprintf(thread, sizeof thread, "thread-%u", w->number++);
	request.chat = (struct chat_request){.content = json_string("the question"), .thread_id = strdup(thread)};
	w->http.llm = d->llm;
	w->http.others = d->others;
	w->http.other_count = sizeof d->others / sizeof d->others[0];
	w->http.split_attempt = split_attempt;
	w->http.split_at = split_at;
	w->http.attempts = 0;
	w->cooldown.count = 0;
	w->ended = w->output.closed = false;
	buf_reset(&w->http.bodies);
	buf_reset(&w->output.written);
	return request;
}

static struct turn *begin(struct world *w, const struct dialogue *d, size_t split_attempt, size_t split_at)
{
	struct turn_request request = make_request(w, d, split_attempt, split_at);
	struct turn *t;

	t = turn_new(&w->services, &request);
	assert_non_null(t);
	turn_run(t);
	return t;
}

/* Runs what is due now, but not what that makes due. */
static bool step(struct world *w)
{
	event_active(w->pause, EV_TIMEOUT, 0);
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	return !w->ended;
}

/* The answer without its statistics. */
static void run(struct world *w, const struct dialogue *d, size_t split_attempt, size_t split_at)
{
	struct turn *t = begin(w, d, split_attempt, split_at);
	char *stats;

	while (!w->ended) {
		event_base_loop(w->base, EVLOOP_ONCE);
		if (w->output.full && !w->ended)
			turn_resume(t);
	}
	stats = strstr(w->output.written.data, "[STATS]");
	assert_non_null(stats);
	*stats = '\0';
}

/* Whether the last request to the LLM holds what was recorded: calls and results. */
static void check_sent(struct world *w, const struct dialogue *d)
{
	json_t *body = NULL, *message, *call, *result, *sent = json_array(), *results = json_array();
	char *line = w->http.bodies.data, *next;
	size_t i, j;

	for (; *line != '\0'; line = next + 1) {
		next = strchr(line, '\n');
		json_decref(body);
		body = json_loadb(line, (size_t)(next - line), 0, NULL);
	}
	json_array_foreach(json_object_get(body, "messages"), i, message)
	{
		json_array_foreach(json_object_get(message, "tool_calls"), j, call)
		{
			json_t *function = json_object_get(call, "function");

			json_array_append_new(sent, json_pack("[O, O]", json_object_get(function, "name"),
			                                      json_object_get(function, "arguments")));
		}
		result = json_object_get(message, "tool_call_id");
		if (result != NULL)
			json_array_append_new(results, json_pack("{s:O, s:O}", "tool_call_id", result, "content",
			                                         json_object_get(message, "content")));
	}
	assert_true(json_equal(sent, json_object_get(d->json, "calls")));
	assert_true(json_equal(results, json_object_get(d->json, "results")));
	json_decref(body);
	json_decref(sent);
	json_decref(results);
}

static bool is_new(json_t *seen, const char *answer)
{
	if (json_object_get(seen, answer) != NULL)
		return false;
	json_object_set_new(seen, answer, json_true());
	return true;
}

static void a_dialogue_is_the_same_at_every_split(void **state)
{
	struct world *w = *state;
	json_t *seen = json_object();
	struct dialogue d;
	char *sent;

	for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++) {
		load_dialogue(&d, dialogues[i]);
		run(w, &d, 0, 0);
		assert_string_equal(w->output.written.data, json_string_value(json_object_get(d.json, "text")));
		check_sent(w, &d);
		sent = strdup(w->http.bodies.data);
		for (size_t attempt = 0; attempt < d.attempts; attempt++) {
			size_t stride = attempt < 3 && is_new(seen, d.llm[attempt]) ? CLOSE : STRIDE;

			for (size_t at = 1; at < d.lens[attempt]; at += stride) {
				run(w, &d, attempt, at);
				if (strcmp(w->output.written.data,
				           json_string_value(json_object_get(d.json, "text"))) != 0 ||
				    strcmp(w->http.bodies.data, sent) != 0)
					fail_msg("%s, answer %zu cut at %zu: %s", dialogues[i], attempt, at,
					         w->output.written.data);
			}
		}
		free(sent);
		json_decref(d.json);
	}
	json_decref(seen);
}

static void a_slow_client_gets_the_same(void **state)
{
	struct world *w = *state;
	struct dialogue d;

	w->output.full = true;
	for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++) {
		load_dialogue(&d, dialogues[i]);
		run(w, &d, 0, d.lens[0] / 2);
		assert_string_equal(w->output.written.data, json_string_value(json_object_get(d.json, "text")));
		json_decref(d.json);
	}
	w->output.full = false;
}

static void sandboxes_are_below_the_configured_domain(void **state)
{
	struct world *w = *state;
	struct config *other = SETTINGS("code.e2b_key=k", "log.level=CRITICAL", "E2B_DOMAIN=example.dev"),
		      *before = w->config;
	struct dialogue d;

	w->config = other;
	load_dialogue(&d, "code");
	/* A request to another URL fails. */
	d.others[1].path = "https://api.example.dev/sandboxes";
	d.others[2].path = "https://49999-sb.example.dev/execute";
	run(w, &d, 0, 0);
	check_sent(w, &d);
	/* E2B itself says where a sandbox is. */
	d.others[1].body = "{\"sandboxID\":\"sb\",\"domain\":\"eu.example.dev\"}";
	d.others[2].path = "https://49999-sb.eu.example.dev/execute";
	run(w, &d, 0, 0);
	check_sent(w, &d);
	json_decref(d.json);
	w->config = before;
	config_unref(other);
}

/* Every call has its result, right after it and in order: servers refuse anything else. */
static void check_turn(const json_t *turn)
{
	const json_t *message, *call;
	size_t i, j;

	json_array_foreach(turn, i, message)
	{
		json_array_foreach(json_object_get(message, "tool_calls"), j, call)
		{
			const json_t *result = json_array_get(turn, i + 1 + j);

			assert_true(json_equal(json_object_get(result, "tool_call_id"), json_object_get(call, "id")));
			assert_true(json_is_string(json_object_get(result, "content")));
		}
	}
}

static void on_history(void *arg, const json_t *turns, const struct err *e)
{
	const json_t *turn;
	size_t i;

	assert_null(e);
	json_array_foreach(turns, i, turn) check_turn(turn);
	*(bool *)arg = true;
}

/* What was stored of the turn that began last. */
static void check_history(struct world *w)
{
	char thread[32];
	const struct store_key key = {.subject = "", .thread_id = thread};
	bool loaded = false;

	snprintf(thread, sizeof thread, "thread-%u", w->number - 1);
	assert_non_null(store_load(w->services.store, &key, on_history, &loaded));
	while (!loaded)
		event_base_loop(w->base, EVLOOP_ONCE);
}

/* The client leaves after every step: nothing is called any more, nothing is left. */
static void a_turn_can_be_cancelled_after_every_step(void **state)
{
	struct world *w = *state;
	struct dialogue d;
	size_t cancelled = 0;

	for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++) {
		load_dialogue(&d, dialogues[i]);
		for (size_t steps = 0;; steps++) {
			struct turn *t = begin(w, &d, 0, d.lens[0] / 2);
			size_t n = 0;

			while (n < steps && step(w))
				n++;
			if (w->ended)
				break;
			turn_cancel(t);
			w->ended = w->output.closed = true; /* from here on any callback fails */
			for (n = 0; n < 20; n++)
				event_base_loop(w->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
			assert_int_equal(w->http.running, 0);
			check_history(w);
			cancelled++;
		}
		json_decref(d.json);
	}
	assert_true(cancelled > 200);
}

/* ---- memory that runs out ---------------------------------------------------------------- */

/* clang-format off */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);
/* clang-format on */

static long until_refusal = -1; /* allocations; -1: none is refused */

/* Each one once: what follows it finds memory again. */
static bool refused(void)
{
	bool now = until_refusal >= 0 && until_refusal-- == 0;

	if (now)
		errno = ENOMEM;
	return now;
}

void *__wrap_malloc(size_t size)
{
	return refused() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size)
{
	return refused() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size)
{
	return refused() ? NULL : __real_realloc(p, size);
}
char *__wrap_strdup(const char *s)
{
	return refused() ? NULL : __real_strdup(s);
}

static long paused;

static void pause_refusals(void)
{
	paused = until_refusal;
	until_refusal = -1;
}

static void go_on_refusing(void)
{
	until_refusal = paused;
}

/* Whether the n-th allocation was reached. */
static bool run_short_of_memory(struct world *w, const struct dialogue *d, long n)
{
	struct turn_request request = make_request(w, d, 0, 0);
	struct turn *t;
	bool reached;

	w->output.before_write = pause_refusals;
	w->output.after_write = go_on_refusing;
	until_refusal = n;
	t = turn_new(&w->services, &request);
	if (t != NULL)
		turn_run(t);
	else
		chat_request_clear(&request.chat);
	for (int i = 0; t != NULL && !w->ended && i < 1000; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	reached = until_refusal < 0;
	until_refusal = -1;
	w->output.before_write = w->output.after_write = NULL;
	if (t != NULL && !w->ended)
		fail_msg("the turn hangs where allocation %ld fails", n);
	if (t != NULL)
		assert_non_null(strstr(w->output.written.data, "[STATS]{"));
	assert_int_equal(w->cooldown.count, 0); /* no LLM is blamed */
	check_history(w);
	return reached;
}

static void a_turn_ends_whatever_allocation_fails(void **state)
{
	static const char *const names[] = {"two_searches", "search_then_code", "text_call_typed", "reasoning"};
	struct world *w = *state;
	struct dialogue d;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		long n = 0;

		load_dialogue(&d, names[i]);
		run(w, &d, 0, 0); /* what is made once is made */
		while (run_short_of_memory(w, &d, n))
			n++;
		assert_true(n > 100);
		json_decref(d.json);
	}
}

/* Every recording is replayed. */
static void no_recording_is_forgotten(void **state)
{
	const char *srcdir = getenv("srcdir");
	struct dirent *entry;
	size_t found = 0;
	char path[512];
	DIR *directory;

	(void)state;
	snprintf(path, sizeof path, "%s/tests/data/dialogues", srcdir == NULL ? "." : srcdir);
	directory = opendir(path);
	if (directory == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	while ((entry = readdir(directory)) != NULL)
		found += strstr(entry->d_name, ".json") != NULL;
	closedir(directory);
	assert_int_equal(found, sizeof dialogues / sizeof dialogues[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_dialogue_is_the_same_at_every_split, make_world, end_world),
		cmocka_unit_test_setup_teardown(a_slow_client_gets_the_same, make_world, end_world),
		cmocka_unit_test_setup_teardown(sandboxes_are_below_the_configured_domain, make_world, end_world),
		cmocka_unit_test_setup_teardown(a_turn_can_be_cancelled_after_every_step, make_world, end_world),
		cmocka_unit_test_setup_teardown(a_turn_ends_whatever_allocation_fails, make_world, end_world),
		cmocka_unit_test(no_recording_is_forgotten),
	};

	json_set_alloc_funcs(__wrap_malloc, free);
	return cmocka_run_group_tests_name("dialogue", tests, NULL, NULL);
}
