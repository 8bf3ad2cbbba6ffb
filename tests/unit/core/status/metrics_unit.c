/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as text: formats, names, labels. */
#include "tests/unit/support/scratch.h"
#include "tests/unit/support/settings.h"

#include "core/status/counters.h"
#include "core/status/metrics.h"
#include "core/status/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* free() it. */
static char *printed(const struct status_snapshot *s, enum metrics_format f)
{
	const struct metrics_source from = {.run_dir = scratch, .snapshot = s};
	struct buf out = BUF_INIT(1 << 20);

	assert_int_equal(metrics_print(&out, &from, f, NULL), 0);
	return buf_steal(&out, NULL);
}

static void assert_has(const char *text, const char *line)
{
	char wanted[300];

	snprintf(wanted, sizeof wanted, "\n%s\n", line);
	if (strstr(text, wanted) == NULL)
		fail_msg("%s is not in\n%s", line, text);
}

static void the_accept_header_decides(void **state)
{
	static const struct {
		const char *accept;
		enum metrics_format format;
	} rows[] = {
		{NULL, METRICS_PROMETHEUS},
		{"", METRICS_PROMETHEUS},
		{"*/*", METRICS_PROMETHEUS},
		{"text/html", METRICS_PROMETHEUS},
		{"text/plain;version=0.0.4;q=1,*/*;q=0.1", METRICS_PROMETHEUS},
		{"application/openmetrics-text", METRICS_OPENMETRICS},
		{"Application/OpenMetrics-Text; Version=1.0.0", METRICS_OPENMETRICS},
		{"application/openmetrics-text; version=\"1.0.0\"", METRICS_OPENMETRICS},
		{"application/openmetrics-text; version=0.0.1", METRICS_OPENMETRICS},
		{"application/openmetrics-text; version=2.0.0", METRICS_PROMETHEUS},
		{"application/openmetrics-text; version=2.0.0;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8",
	         METRICS_OPENMETRICS},
		/* Prometheus 2.42 and 3 */
		{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
	         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
	         METRICS_OPENMETRICS},
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
	         "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
	         "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
	         METRICS_OPENMETRICS},
		{"text/plain , application/openmetrics-text;q=0.9", METRICS_PROMETHEUS},
		{"text/plain;q=0.5,\tapplication/openmetrics-text ; q=0.9", METRICS_OPENMETRICS},
		{"application/openmetrics-text;q=0", METRICS_PROMETHEUS},
		{"application/openmetrics-text;q=0.5,text/*;q=0.4", METRICS_OPENMETRICS},
		{"application/openmetrics-text;q=0.5,*/*;q=0.6", METRICS_PROMETHEUS},
		{"application/*;q=0.9,text/plain;q=0.1", METRICS_OPENMETRICS},
		{"application/openmetrics-textual", METRICS_PROMETHEUS},
		{";;,,q=1,;q=,application/openmetrics-text;q=", METRICS_OPENMETRICS},
		{"application/openmetrics-text;q=nonsense", METRICS_PROMETHEUS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (metrics_format_of(rows[i].accept) != rows[i].format)
			fail_msg("%s", rows[i].accept);
}

static void each_metric_is_declared_once(void **state)
{
	char *text = printed(NULL, METRICS_PROMETHEUS), *open = printed(NULL, METRICS_OPENMETRICS);

	(void)state;
	assert_has(text, "# TYPE tt_agent_build_info gauge");
	assert_has(open, "# TYPE tt_agent_build info");
	assert_has(text, "# TYPE tt_agent_failovers_total counter");
	assert_has(text, "tt_agent_failovers_total 0");
	assert_has(open, "# TYPE tt_agent_failovers counter");
	assert_has(open, "tt_agent_failovers_total 0");
	assert_has(open, "# UNIT tt_agent_turn_duration_seconds seconds");
	assert_null(strstr(text, "# UNIT"));
	assert_null(strstr(text, "# EOF"));
	assert_string_equal(open + strlen(open) - 6, "# EOF\n");
	assert_has(text, "tt_agent_daemon_up 0");
	assert_has(text, "tt_agent_ready 0");
	for (const char *at = text; (at = strstr(at, "\n# TYPE ")) != NULL; at++) {
		char line[200];

		snprintf(line, sizeof line, "%.*s", (int)(strcspn(at + 8, " ") + 9), at);
		if (strstr(at + 1, line) != NULL)
			fail_msg("twice: %s", line);
	}
	free(text);
	free(open);
}

static void histograms_are_cumulative(void **state)
{
	struct counters *c = counters_open(scratch, NULL);
	unsigned tool = counters_member(c, LABEL_TOOL, "t");
	char *text;

	(void)state;
	counters_observe(c, SERIES_TOOL_DURATION, tool, 15 * 1000 * 1000, 2);
	counters_observe(c, SERIES_TOOL_DURATION, tool, 1500 * INT64_C(1000000), 1);
	counters_observe(c, SERIES_TOOL_DURATION, tool, INT64_C(400000) * 1000000, 1);
	text = printed(NULL, METRICS_PROMETHEUS);
	assert_has(text, "tt_agent_tool_duration_seconds_bucket{tool=\"t\",le=\"0.01\"} 0");
	assert_has(text, "tt_agent_tool_duration_seconds_bucket{tool=\"t\",le=\"0.02\"} 2");
	assert_has(text, "tt_agent_tool_duration_seconds_bucket{tool=\"t\",le=\"1.0\"} 2");
	assert_has(text, "tt_agent_tool_duration_seconds_bucket{tool=\"t\",le=\"2.0\"} 3");
	assert_has(text, "tt_agent_tool_duration_seconds_bucket{tool=\"t\",le=\"300.0\"} 3");
	assert_has(text, "tt_agent_tool_duration_seconds_bucket{tool=\"t\",le=\"+Inf\"} 4");
	assert_has(text, "tt_agent_tool_duration_seconds_sum{tool=\"t\"} 401.530000");
	assert_has(text, "tt_agent_tool_duration_seconds_count{tool=\"t\"} 4");
	free(text);
	counters_close(c);
}

static void labels_are_escaped(void **state)
{
	struct counters *c = counters_open(scratch, NULL);
	char *text;

	(void)state;
	counters_count(c, SERIES_INPUT_TOKENS, counters_member(c, LABEL_MODEL, "a\"b\\c\nz\xff{}e\xc3\xa4"), 0, 7);
	text = printed(NULL, METRICS_PROMETHEUS);
	assert_has(text, "tt_agent_input_tokens_total{model=\"a\\\"b\\\\c?z?{}e\xc3\xa4\"} 7");
	free(text);
	counters_close(c);
}

/* Deployments of one model are told apart by their ids; what is published twice is shown once. */
static void models_have_their_health(void **state)
{
	struct llm llms[100] = {{.kind = LLM_CLOUD}};
	struct status_view v = {.llms = llms, .llm_count = 100};
	struct status_writer *w = status_writer_open(scratch, NULL);
	struct status_reader *r;
	struct status_snapshot *s;
	char ids[100][16], *text;

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		snprintf(ids[i], sizeof ids[i], "d\"%zu", i == 1 ? 0 : i);
		llms[i] = (struct llm){.kind = LLM_DISCOVERED,
		                       .health = i == 2 ? LLM_UNHEALTHY : LLM_DEGRADED,
		                       .latency_ms = i == 2 ? -1 : 1500,
		                       .failures = i == 2 ? 3 : 0,
		                       .ejected_until_ms = i == 3,
		                       .model_name = (char *)(uintptr_t) "M",
		                       .deploy_id = ids[i],
		                       .url = (char *)(uintptr_t) "http://secret-host/"};
	}
	assert_non_null(w);
	assert_int_equal(status_publish(w, &v, NULL), 0);
	r = status_reader_new(scratch, NULL);
	s = status_acquire(r);
	text = printed(s, METRICS_PROMETHEUS);
	assert_has(text, "tt_agent_llm_up{model=\"M\",deploy_id=\"d\\\"0\",kind=\"discovered\"} 1");
	assert_has(text, "tt_agent_llm_up{model=\"M\",deploy_id=\"d\\\"2\",kind=\"discovered\"} 0");
	assert_has(text, "tt_agent_llm_failures{model=\"M\",deploy_id=\"d\\\"2\",kind=\"discovered\"} 3");
	assert_has(text, "tt_agent_llm_ejected{model=\"M\",deploy_id=\"d\\\"3\",kind=\"discovered\"} 1");
	assert_has(
		text,
		"tt_agent_llm_probe_duration_seconds{model=\"M\",deploy_id=\"d\\\"0\",kind=\"discovered\"} 1.500000");
	assert_null(strstr(text, "probe_duration_seconds{model=\"M\",deploy_id=\"d\\\"2\""));
	assert_has(text, "tt_agent_llms{kind=\"discovered\",health=\"degraded\"} 99");
	assert_has(text, "tt_agent_llms{kind=\"discovered\",health=\"unhealthy\"} 1");
	assert_null(strstr(strstr(text, "tt_agent_llm_up{model=\"M\",deploy_id=\"d\\\"0\"") + 1,
	                   "tt_agent_llm_up{model=\"M\",deploy_id=\"d\\\"0\""));
	assert_null(strstr(text, "d\\\"99")); /* there is a limit */
	assert_null(strstr(text, "secret"));
	assert_has(text, "tt_agent_daemon_up 1");
	assert_non_null(strstr(text, "tt_agent_process_cpu_seconds_total{process=\"agentd\"}")); /* this process */
	free(text);
	status_release(s);
	status_reader_free(r);
	status_writer_close(w);
}

/* A page that does not fit, or whose counters cannot be read, would lie. */
static void half_a_page_is_an_error(void **state)
{
	const struct metrics_source from = {.run_dir = scratch}, nowhere = {.run_dir = "/nonexistent/dir"};
	struct buf out = BUF_INIT(500);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(metrics_print(&out, &from, METRICS_PROMETHEUS, &e), -1);
	assert_non_null(strstr(e.text, "memory"));
	err_clear(&e);
	assert_int_equal(metrics_print(&out, &nowhere, METRICS_PROMETHEUS, &e), -1);
	assert_non_null(strstr(e.text, "/nonexistent/dir"));
	buf_free(&out);
}

static void the_manual_lists_all(void **state)
{
	char *manual = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&manual, &len);

	(void)state;
	metrics_print_manual(out);
	fclose(out);
	assert_non_null(strstr(manual, "tt_agent_requests_total \" (counter by endpoint, code)\""));
	assert_non_null(strstr(manual, "tt_agent_inter_token_seconds \" (histogram by model)\""));
	free(manual);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)
	const struct CMUnitTest tests[] = {
		TEST(the_accept_header_decides), TEST(each_metric_is_declared_once), TEST(histograms_are_cumulative),
		TEST(labels_are_escaped),        TEST(models_have_their_health),     TEST(half_a_page_is_an_error),
		TEST(the_manual_lists_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
