/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentctl: what it shows, what it says without a daemon, and how it exits. */
#include "agentctl/table.h"
#include "core/status/writer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ftw.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- a daemon of canned answers, on a thread of its own ------------------------------- */

struct fixture {
	char dir[64];
	struct ctl ctl;
	char *out, *err;
	size_t out_len, err_len;
	struct event_base *base;
	struct command_server *server;
	struct event *stop;
	int stop_fd;
	pthread_t thread;
	bool running;
};

static const char *const canned[COMMANDS] = {
	[CMD_PING] =
		"{\"pid\":42,\"version\":\"0.1.0\",\"uptime\":3725.2,\"generation\":9,\"waiting\":false,"
		"\"llms\":3,\"usable\":2}",
	[CMD_STATUS] =
		"{\"status\":\"ready\",\"current_llm\":{\"server_url\":\"http://h:7000/v1/chat/completions\","
		"\"is_cloud\":false,\"is_discovered\":true,\"llm_info\":{\"deploy_id\":\"d1\",\"model_name\":"
		"\"Llama\",\"status\":\"healthy\"}},\"available_models\":[],\"discovery_summary\":{\"total_llms\":3,"
		"\"healthy\":1,\"degraded\":1,\"unhealthy\":1,\"llms\":[]},\"tools\":[\"a\",\"b\"]}",
	[CMD_MODELS] =
		"{\"generation\":9,\"models\":[{\"rank\":0,\"current\":true,\"pinned\":true,\"deploy_id\":\"d1\","
		"\"model_name\":\"Llama\",\"model_type\":\"chat\",\"kind\":\"discovered\",\"status\":\"healthy\","
		"\"reason\":null,\"failures\":0,\"checked\":0,\"latency_ms\":12},"
		"{\"rank\":null,\"current\":false,\"pinned\":false,\"deploy_id\":\"d2\",\"model_name\":"
		"\"evil\\u001b[2J\",\"model_type\":\"chat\",\"kind\":\"discovered\",\"status\":\"unhealthy\","
		"\"reason\":\"refused\",\"failures\":4,\"checked\":1,\"latency_ms\":null}]}",
	[CMD_CONFIG] =
		"{\"polling.interval\":{\"value\":180,\"origin\":\"default\"},"
		"\"polling.enabled\":{\"value\":false,\"origin\":\"environment AGENT_LLM_POLLING_ENABLED\"},"
		"\"auth.jwt_secret\":{\"value\":null,\"secret\":true,\"set\":true,\"origin\":\"/x.conf:3\"},"
		"\"llm.stop\":{\"value\":[\"a\",\"b\"],\"origin\":\"command line\"}}",
	[CMD_REFRESH] =
		"{\"status\":\"success\",\"message\":\"LLM refreshed successfully\",\"old_model\":\"A\","
		"\"new_model\":\"B\",\"available_models\":[{\"model_name\":\"B\",\"status\":\"healthy\","
		"\"container_name\":\"box\"}]}",
	[CMD_TEST] = "{\"status\":\"error\",\"message\":\"No LLM configured\"}",
};

static void answer(void *arg, struct command_call *call, enum command c, const json_t *args)
{
	char text[128];

	(void)arg;
	if (c == CMD_SELECT) {
		snprintf(text, sizeof text, "asked for %s", json_string_value(json_object_get(args, "deploy_id")));
		command_reply(call, json_pack("{s:s, s:s}", "status", "success", "message", text));
	} else if (c == CMD_EVENTS) {
		command_event(call, json_pack("{s:f, s:s, s:s}", "at", 0.5, "event", "selection", "model", "B\n"));
		command_event(call, json_pack("{s:f, s:s, s:i}", "at", 1.5, "event", "polling", "attempt", 2));
		command_fail(call, "that was all");
	} else if (canned[c] != NULL) {
		command_reply(call, json_loads(canned[c], 0, NULL));
	} else {
		command_fail(call, "not today");
	}
}

static void stop_loop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	event_base_loopbreak(arg);
}

static void *run_loop(void *arg)
{
	event_base_dispatch(arg);
	return NULL;
}

static void start_daemon(struct fixture *f)
{
	struct err e = ERR_INIT;
	char path[128];

	snprintf(path, sizeof path, "%s/" COMMAND_SOCKET, f->dir);
	f->base = event_base_new();
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	f->stop = event_new(f->base, f->stop_fd, EV_READ, stop_loop, f->base);
	assert_int_equal(event_add(f->stop, NULL), 0);
	f->server = command_server_new(f->base, path, answer, f, &e);
	if (f->server == NULL)
		fail_msg("%s", e.text);
	assert_int_equal(pthread_create(&f->thread, NULL, run_loop, f->base), 0);
	f->running = true;
}

static void stop_daemon(struct fixture *f)
{
	uint64_t one = 1;

	if (!f->running)
		return;
	assert_int_equal(write(f->stop_fd, &one, sizeof one), sizeof one);
	pthread_join(f->thread, NULL);
	command_server_free(f->server);
	event_free(f->stop);
	event_base_free(f->base);
	close(f->stop_fd);
	f->running = false;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	snprintf(f->dir, sizeof f->dir, "/tmp/tt-admin.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->ctl = (struct ctl){.run_dir = f->dir, .output = &ctl_text};
	f->ctl.out = open_memstream(&f->out, &f->out_len);
	f->ctl.err = open_memstream(&f->err, &f->err_len);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stop_daemon(f);
	fclose(f->ctl.out);
	fclose(f->ctl.err);
	free(f->out);
	free(f->err);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* Runs one command; f->out and f->err then hold what only it wrote. */
static enum ctl_exit run(struct fixture *f, const char *one, const char *two, const char *three)
{
	char words[3][64];
	char *argv[3];
	size_t count = 0;
	enum ctl_exit status;
	const char *const given[] = {one, two, three};

	for (size_t i = 0; i < 3 && given[i] != NULL; i++) {
		snprintf(words[i], sizeof words[i], "%s", given[i]);
		argv[count++] = words[i];
	}
	rewind(f->ctl.out);
	rewind(f->ctl.err);
	status = ctl_run(&f->ctl, argv, count);
	fflush(f->ctl.out);
	fflush(f->ctl.err);
	f->out[f->out_len] = '\0';
	f->err[f->err_len] = '\0';
	return status;
}

#define SAYS(text, part)                                                                                               \
	do {                                                                                                           \
		if (strstr((text), (part)) == NULL)                                                                    \
			fail_msg("\"%s\" is not in:\n%s", (part), (text));                                             \
	} while (0)

/* --- text ------------------------------------------------------------------------------- */

static void people_read_the_status(void **state)
{
	struct fixture *f = *state;

	start_daemon(f);
	assert_int_equal(run(f, "status", NULL, NULL), CTL_OK);
	SAYS(f->out, "state         ready\n");
	SAYS(f->out, "model         Llama (discovered, healthy)\n");
	SAYS(f->out, "deploy id     d1\n");
	SAYS(f->out, "models        3 discovered: 1 healthy, 1 degraded, 1 unhealthy\n");
	SAYS(f->out, "tools         a, b\n");
	SAYS(f->out, "turns         0 running");
	assert_null(strstr(f->out, "STALE"));
	assert_null(strchr(f->out, '\033'));
}

static void models_are_shown_in_columns(void **state)
{
	struct fixture *f = *state;
	const char *id, *second;

	start_daemon(f);
	assert_int_equal(run(f, "models", NULL, NULL), CTL_OK);
	SAYS(f->out, "RANK        ID  MODEL");
	SAYS(f->out, "1 * pinned  d1  Llama");
	SAYS(f->out, "-           d2  evil?[2J");
	SAYS(f->out, "refused\n");
	id = strstr(f->out, "HEALTH");
	second = strstr(f->out, "unhealthy");
	assert_int_equal(id - f->out, second - (strstr(f->out, "\n-  ") + 1));
	f->ctl.colour = true;
	assert_int_equal(run(f, "models", NULL, NULL), CTL_OK);
	SAYS(f->out, "\033[31munhealthy\033[0m");
}

static void settings_show_their_origin(void **state)
{
	struct fixture *f = *state;

	start_daemon(f);
	assert_int_equal(run(f, "config", NULL, NULL), CTL_OK);
	SAYS(f->out, "polling.interval  180       default\n");
	SAYS(f->out, "polling.enabled   false     environment AGENT_LLM_POLLING_ENABLED\n");
	SAYS(f->out, "auth.jwt_secret   (secret)  /x.conf:3\n");
	SAYS(f->out, "llm.stop          a, b      command line\n");
	assert_int_equal(run(f, "config", "polling", "llm.stop"), CTL_OK);
	SAYS(f->out, "polling.enabled");
	SAYS(f->out, "llm.stop");
	assert_null(strstr(f->out, "auth."));
	assert_int_equal(run(f, "config", "poll", NULL), CTL_USAGE);
	SAYS(f->err, "no such setting or group: poll");
}

static void answers_are_words(void **state)
{
	struct fixture *f = *state;

	start_daemon(f);
	assert_int_equal(run(f, "ping", NULL, NULL), CTL_OK);
	SAYS(f->out, "up for        1 h 2 min\n");
	assert_int_equal(run(f, "refresh", NULL, NULL), CTL_OK);
	SAYS(f->out, "success       LLM refreshed successfully\nmodel         A -> B\n");
	SAYS(f->out, "box  B      healthy");
	assert_int_equal(run(f, "select", "d\"7", NULL), CTL_OK);
	SAYS(f->out, "success       asked for d\"7\n");
}

static void a_model_is_selected_by_any_of_its_names(void **state)
{
	static const struct {
		const char *wanted, *sent; /* sent NULL: refused */
	} cases[] = {
		{"d1", "d1"},   {"Llama", "d1"},        {"llama", "d1"}, {"lla", "d1"},
		{"evil", "d2"}, {"no-such", "no-such"}, {"d", NULL},     {"disco", NULL},
	};
	struct fixture *f = *state;
	char asked[64];

	start_daemon(f);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool taken = cases[i].sent != NULL;

		assert_int_equal(run(f, "select", cases[i].wanted, NULL), taken ? CTL_OK : CTL_REFUSED);
		if (taken) {
			snprintf(asked, sizeof asked, "asked for %s\n", cases[i].sent);
			SAYS(f->out, asked);
		} else {
			SAYS(f->err, "may be any of these, name one: d1, d2\n");
		}
	}
}

static void events_are_lines(void **state)
{
	struct fixture *f = *state;

	start_daemon(f);
	(void)run(f, "events", NULL, NULL);
	SAYS(f->out, ".500 selection model=B?\n");
	SAYS(f->out, ".500 polling attempt=2\n");
}

/* A document without a status, of a command that has no entry. */
static void unknown_answers_are_lines(void **state)
{
	struct fixture *f = *state;
	json_t *document = json_pack("{s:s, s:i, s:{s:b}, s:n}", "name", "A\n", "count", 3, "more", "x", 1, "none");

	text_document(&f->ctl, document);
	fflush(f->ctl.out);
	assert_string_equal(f->out, "name          A?\ncount         3\nmore          {\"x\":true}\n");
	json_decref(document);
}

/* --- exit codes --------------------------------------------------------------------------- */

static void a_refusal_exits_with_1(void **state)
{
	struct fixture *f = *state;

	start_daemon(f);
	assert_int_equal(run(f, "test", NULL, NULL), CTL_REFUSED);
	SAYS(f->err, "error         No LLM configured\n");
	assert_int_equal(f->out_len, 0);
	assert_int_equal(run(f, "reload", NULL, NULL), CTL_REFUSED);
	SAYS(f->err, "tt-agentctl: not today\n");
	assert_int_equal(f->out_len, 0);
}

static void wrong_usage_exits_with_2(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, NULL, NULL, NULL), CTL_USAGE);
	SAYS(f->err, "no command; tt-agentctl --help");
	assert_int_equal(run(f, "nonsense", NULL, NULL), CTL_USAGE);
	SAYS(f->err, "no such command: nonsense;");
	assert_int_equal(run(f, "report", "x", NULL), CTL_USAGE); /* for responders only */
	assert_int_equal(run(f, "select", NULL, NULL), CTL_USAGE);
	SAYS(f->err, "usage: tt-agentctl select MODEL\n");
	assert_int_equal(run(f, "status", "x", NULL), CTL_USAGE);
	assert_int_equal(run(f, "events", "x", NULL), CTL_USAGE);
	assert_int_equal(run(f, "threads", NULL, NULL), CTL_USAGE);
	SAYS(f->err, "usage: tt-agentctl threads list|show|");
	assert_int_equal(run(f, "threads", "show", NULL), CTL_USAGE);
	SAYS(f->err, "usage: tt-agentctl threads show THREAD [SUBJECT]\n");
}

static void an_unreachable_daemon_exits_with_3(void **state)
{
	struct fixture *f = *state;

	struct ctl_command c;
	enum command id;

	for (size_t i = 0; ctl_command_at(i, &c); i++) {
		if (command_find(c.name, &id) < 0) /* needs none */
			continue;
		assert_int_equal(run(f, c.name, c.min > 0 ? "x" : NULL, NULL), CTL_UNREACHABLE);
		SAYS(f->err, "tt-agentd");
		assert_int_equal(f->out_len, 0);
	}
}

static void without_a_daemon_the_last_state_is_shown(void **state)
{
	struct fixture *f = *state;
	char id[] = "d1", name[] = "Llama", url[] = "http://h:7000/v1/chat/completions", type[] = "chat",
	     reason[] = "slow";
	const struct llm llm = {.kind = LLM_DISCOVERED,
	                        .deploy_id = id,
	                        .model_name = name,
	                        .model_type = type,
	                        .url = url,
	                        .model = name,
	                        .health = LLM_DEGRADED,
	                        .latency_ms = 2100,
	                        .checked_ms = 1,
	                        .reason = reason,
	                        .failures = 2,
	                        .instance = 5};
	const size_t order[] = {0};
	struct status_view view = {.llms = &llm, .llm_count = 1, .order = order, .order_count = 1, .usable_count = 1};
	struct err e = ERR_INIT;
	struct status_writer *w = status_writer_open(f->dir, &e);
	json_t *document;

	assert_non_null(w);
	if (status_publish(w, &view, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(run(f, "status", NULL, NULL), CTL_UNREACHABLE);
	SAYS(f->out, "STALE");
	SAYS(f->out, "Llama (discovered, degraded)");
	assert_int_equal(run(f, "models", NULL, NULL), CTL_UNREACHABLE);
	SAYS(f->out, "1 *   d1  Llama  chat  discovered  degraded  2100 ms  2");
	f->ctl.output = &ctl_json;
	assert_int_equal(run(f, "models", NULL, NULL), CTL_UNREACHABLE);
	document = json_loads(f->out, 0, NULL);
	assert_true(json_is_true(json_object_get(document, "stale")));
	assert_int_equal(json_array_size(json_object_get(document, "models")), 1);
	json_decref(document);
	status_writer_close(w);
}

static void scripts_get_json(void **state)
{
	struct fixture *f = *state;
	json_t *document;

	f->ctl.output = &ctl_json;
	assert_int_equal(run(f, "ping", NULL, NULL), CTL_UNREACHABLE);
	document = json_loads(f->out, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(document, "status")), "error");
	assert_non_null(json_object_get(document, "message"));
	json_decref(document);
	start_daemon(f);
	for (unsigned c = 0; c < COMMANDS; c++) {
		json_t *expected;

		if (canned[c] == NULL || c == CMD_STATUS) /* to which counters are added */
			continue;
		(void)run(f, command_info((enum command)c)->name, NULL, NULL);
		document = json_loads(f->out, 0, NULL);
		expected = json_loads(canned[c], 0, NULL);
		assert_true(json_equal(document, expected));
		json_decref(document);
		json_decref(expected);
	}
	(void)run(f, "events", NULL, NULL);
	SAYS(f->out, "{\"at\":0.5,\"event\":\"selection\",\"model\":\"B\\n\"}\n{\"at\":1.5,");
}

/* --- tables ------------------------------------------------------------------------------- */

static void tables_are_safe_and_aligned(void **state)
{
	static const struct table_column columns[] = {{.heading = "A", .limit = 6}, {.heading = "B"}};
	struct fixture *f = *state;
	struct table *t = table_new(&f->ctl, columns, 2);

	table_add(t, COLOUR_NONE, "\xc3\xa4\xc3\xb6"); /* two code points */
	table_add(t, COLOUR_NONE,
	          "\x1b]0;x\x07\xc2\x9b"
	          "31m"); /* C0 and C1 */
	table_add(t, COLOUR_NONE, "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
	table_add(t, COLOUR_RED, NULL);
	table_add(t, COLOUR_NONE, "\xe6\x97\xa5\xe6\x9c\xac"); /* two characters, four columns wide */
	table_add(t, COLOUR_NONE, "x");
	table_add(t, COLOUR_NONE, "\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac");
	table_add(t, COLOUR_NONE, "");
	table_print(t);
	fflush(f->ctl.out);
	assert_string_equal(f->out,
	                    "A       B\n"
	                    "\xc3\xa4\xc3\xb6      ?]0;x???31m\n"
	                    "\xc3\xa4\xc3\xa4\xc3\xa4...  -\n"
	                    "\xe6\x97\xa5\xe6\x9c\xac    x\n"
	                    "\xe6\x97\xa5...   -\n");
	table_free(t);
}

/* --- commands ------------------------------------------------------------------------------ */

static void every_command_is_described(void **state)
{
	struct ctl_command c, other;
	enum command id;

	(void)state;
	for (size_t i = 0; ctl_command_at(i, &c); i++) {
		assert_non_null(c.arguments);
		assert_true(c.help[strlen(c.help) - 1] == '.');
		assert_true(c.min <= c.max);
		assert_true(command_find(c.name, &id) == 0 || c.run != NULL);
		for (size_t k = 0; k < i; k++) {
			assert_true(ctl_command_at(k, &other));
			assert_string_not_equal(c.name, other.name);
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	setlocale(LC_CTYPE, "C.UTF-8");

	const struct CMUnitTest tests[] = {
		TEST(people_read_the_status),
		TEST(models_are_shown_in_columns),
		TEST(settings_show_their_origin),
		TEST(answers_are_words),
		TEST(a_model_is_selected_by_any_of_its_names),
		TEST(events_are_lines),
		TEST(a_refusal_exits_with_1),
		TEST(wrong_usage_exits_with_2),
		TEST(an_unreachable_daemon_exits_with_3),
		TEST(without_a_daemon_the_last_state_is_shown),
		TEST(scripts_get_json),
		TEST(tables_are_safe_and_aligned),
		TEST(unknown_answers_are_lines),
		TEST(every_command_is_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
