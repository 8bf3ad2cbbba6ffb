/* SPDX-License-Identifier: Apache-2.0 */
/* The page of `top`, without a terminal. */
#include "agentctl/top/view.h"

#include "core/base/utf8.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>
#include <cmocka.h>

#define LINES_MAX 1100
#define LONG_NAME                                                                                                      \
	"a-name-that-is-longer-than-any-terminal-is-wide-a-name-that-is-longer-than-any-terminal-is-wide-a-name-that-" \
	"is-longer-than-any-terminal-is-wide-a-name-that-is-longer-than-any-terminal-is-wide"

static struct top_line page[LINES_MAX];
static char names[1000][32];

static int setup(void **state)
{
	(void)state;
	setlocale(LC_CTYPE, "C.UTF-8");
	setenv("TZ", "UTC", 1);
	tzset();
	return 0;
}

static void history(struct top_model *m, const char *letters)
{
	static const char marks[] = " H?DEU";
	size_t len = strlen(letters);

	memset(m->history, TOP_NONE, sizeof m->history);
	for (size_t i = 0; i < len; i++)
		m->history[TOP_HISTORY - len + i] = (unsigned char)(strchr(marks, letters[i]) - marks);
}

static struct top_model model(const char *name, enum llm_health health)
{
	struct top_model m = {.name = name, .deploy_id = "d1", .health = health, .ttft_p50_ms = -1, .ttft_p99_ms = -1};

	history(&m, health == LLM_UNHEALTHY ? "HHU" : "HH");
	return m;
}

static struct top_state state_of(struct top_model *models, size_t count)
{
	struct top_state s = {.now_ms = INT64_C(1795370405000), .published = true, .models = models, .count = count};

	for (size_t i = 0; i < count; i++)
		models[i].rank = i;
	return s;
}

static int columns(const char *text)
{
	int sum = 0;
	mbstate_t state = {0};

	while (*text != '\0') {
		wchar_t wide;
		size_t len = mbrtowc(&wide, text, strlen(text), &state);

		assert_true(len > 0 && len < 10);
		assert_true(wcwidth(wide) >= 0); /* also: no control character */
		sum += wcwidth(wide);
		text += len;
	}
	return sum;
}

/* Whatever the size: no line is too wide, no span is outside of its line. */
static void view(struct top_state *s, struct top_layout *layout)
{
	memset(page, 0, sizeof page);
	top_view(s, layout, page);
	for (int i = 0; i < layout->height; i++) {
		assert_int_equal(page[i].len, strlen(page[i].text));
		assert_in_range(columns(page[i].text), 0, layout->width);
		for (size_t n = 0; n < page[i].span_count; n++)
			assert_true(page[i].spans[n].at + page[i].spans[n].len <= page[i].len);
	}
	assert_int_equal(page[layout->height].len, 0);
}

static const char *row(int i)
{
	static char text[2000];
	size_t len = page[6 + i].len;

	memcpy(text, page[6 + i].text, len + 1);
	while (len > 0 && text[len - 1] == ' ')
		text[--len] = '\0';
	return text;
}

static void rows_of_models(void **state)
{
	struct top_model models[] = {model("Llama-3.1-8B-Instruct", LLM_HEALTHY), model("Qwen3-8B", LLM_UNHEALTHY)};
	struct top_state s = state_of(models, 2);
	struct top_layout layout = {.width = 80, .height = 24, .ascii = true};

	(void)state;
	models[0].current = true;
	models[0].running = 12;
	models[0].tokens_per_s = 81.46;
	models[0].ttft_p50_ms = 120;
	models[0].ttft_p99_ms = 480;
	models[1].errors = 17;
	models[1].tokens_per_s = -1;
	view(&s, &layout);
	assert_string_equal(page[5].text,
	                    "  MODEL               HEALTH      RUN   TOK/S   TTFT 50/99% ERRORS HISTORY      ");
	assert_true(page[5].inverse);
	assert_string_equal(row(0), "* Llama-3.1-8B-Instr~ healthy      12    81.5     120/480ms      0            HH");
	assert_string_equal(row(1), "  Qwen3-8B            unhealthy     0       -             -     17           HHU");
	assert_string_equal(row(2), "");
	layout.ascii = false;
	models[1].ejected = true;
	history(&models[1], "HUDE?");
	view(&s, &layout);
	assert_non_null(strstr(row(1), "ejected"));
	assert_non_null(strstr(row(1), "▇▁▅▂·"));
}

static void a_wide_page_has_ids_and_more_history(void **state)
{
	struct top_model models[] = {model("Llama", LLM_HEALTHY), model("Qwen", LLM_HEALTHY)};
	struct top_state s = state_of(models, 2);
	struct top_layout layout = {.width = 200, .height = 50, .ascii = true};
	char all[TOP_HISTORY + 1];

	(void)state;
	memset(all, 'H', TOP_HISTORY);
	all[TOP_HISTORY] = '\0';
	history(&models[0], all);
	models[1].deploy_id = NULL;
	models[0].ttft_p50_ms = 1234;
	models[0].ttft_p99_ms = 45678;
	view(&s, &layout);
	assert_non_null(strstr(page[5].text, " ID "));
	assert_non_null(strstr(row(0), " d1 "));
	assert_non_null(strstr(row(0), "1.2/45.7s"));
	assert_non_null(strstr(row(0), "HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH"));
	assert_non_null(strstr(row(1), " - "));
}

static void the_head(void **state)
{
	struct top_model models[] = {model("A", LLM_HEALTHY), model("B", LLM_DEGRADED), model("C", LLM_UNKNOWN)};
	struct top_state s = state_of(models, 3);
	struct top_layout layout = {.width = 100, .height = 24};

	(void)state;
	models[0].current = true;
	models[1].ejected = true;
	s.sums[COUNTER_ACTIVE_TURNS] = 3;
	s.sums[COUNTER_TURNS] = 9;
	s.sums[COUNTER_TURNS_BROKEN] = 1;
	s.tokens_per_s = 1234.5;
	view(&s, &layout);
	assert_string_equal(page[0].text, "tt-agent 18:00:05  ready: A");
	assert_string_equal(page[1].text, "turns   3 running, 9 begun, 0 complete, 1 broken, 0 cancelled, 0 refused");
	assert_non_null(strstr(page[2].text, "1234 tokens/s"));
	assert_string_equal(page[3].text, "models  3: 1 healthy, 1 degraded, 0 unhealthy, 1 unknown, 1 ejected");
	models[0].current = models[1].current = models[2].current = false;
	view(&s, &layout);
	assert_non_null(strstr(page[0].text, "no model can be used"));
	s.stale = true;
	s.stale_since_ms = s.now_ms - 12000;
	strcpy(s.problem, "tt-agentd gives no sign of life");
	view(&s, &layout);
	assert_non_null(strstr(page[0].text, "STALE for 12 s: tt-agentd gives no sign of life"));
	s.published = false;
	s.models = NULL;
	s.count = 0;
	strcpy(s.problem, "open /run/tt-agent/status.v3: Permission denied");
	view(&s, &layout);
	assert_non_null(strstr(page[0].text, "has not published anything yet"));
	assert_string_equal(row(0), "  open /run/tt-agent/status.v3: Permission denied");
}

static void each_order(void **state)
{
	struct top_model models[] = {model("m10", LLM_HEALTHY), model("m9", LLM_HEALTHY), model("m8", LLM_UNHEALTHY)};
	struct top_state s = state_of(models, 3);
	struct top_layout layout = {.width = 80, .height = 24};
	static const struct {
		enum top_sort sort;
		const char *first, *last;
	} orders[] = {{TOP_BY_RANK, "m10", "m8"},   {TOP_BY_NAME, "m8", "m10"},   {TOP_BY_HEALTH, "m8", "m9"},
	              {TOP_BY_RUNNING, "m9", "m8"}, {TOP_BY_TOKENS, "m10", "m9"}, {TOP_BY_TTFT, "m8", "m10"},
	              {TOP_BY_ERRORS, "m8", "m9"}};

	(void)state;
	models[1].running = 2;
	models[0].running = 1;
	models[0].tokens_per_s = 5;
	models[1].tokens_per_s = -1;
	models[2].ttft_p50_ms = models[2].ttft_p99_ms = 9;
	models[1].ttft_p50_ms = models[1].ttft_p99_ms = 8;
	models[2].errors = 1;
	for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
		layout.sort = orders[i].sort;
		layout.reversed = false;
		view(&s, &layout);
		assert_string_equal(models[0].name, orders[i].first);
		assert_string_equal(models[2].name, orders[i].last);
		assert_non_null(strstr(row(0), orders[i].first));
		layout.reversed = true;
		view(&s, &layout);
		assert_string_not_equal(models[0].name, orders[i].first);
		assert_non_null(strstr(page[23].text, "(reversed)"));
	}
}

static void a_thousand_models_scroll(void **state)
{
	static struct top_model models[1000];
	struct top_state s;
	struct top_layout layout = {.width = 80, .height = 24};

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(names[i], sizeof names[i], "model-%d", i);
		models[i] = model(names[i], LLM_HEALTHY);
	}
	s = state_of(models, 1000);
	view(&s, &layout);
	assert_int_equal(top_view_rows(&s, &layout), 17);
	assert_non_null(strstr(row(0), "model-0 "));
	assert_non_null(strstr(page[23].text, "1-17 of 1000"));
	layout.first = 500;
	view(&s, &layout);
	assert_non_null(strstr(row(0), "model-500 "));
	layout.first = SIZE_MAX / 2;
	view(&s, &layout);
	assert_int_equal(layout.first, 983);
	assert_non_null(strstr(row(16), "model-999 "));
	layout.height = top_view_whole(&s);
	layout.first = 0;
	assert_in_range(layout.height, 1007, LINES_MAX - 1);
	view(&s, &layout);
	assert_non_null(strstr(row(999), "model-999 "));
}

static void events_are_below(void **state)
{
	struct top_model models[] = {model("A", LLM_HEALTHY)};
	struct top_state s = state_of(models, 1);
	struct top_layout layout = {.width = 80, .height = 24};

	(void)state;
	for (int i = 0; i < TOP_EVENTS; i++) {
		s.events[i] = event_record_of(EVENT_FAILOVER, "B", "d2", "A", "timeout");
		s.events[i].count = (uint32_t)i;
		s.events[i].at_ms = s.now_ms;
	}
	s.event_count = TOP_EVENTS;
	view(&s, &layout);
	assert_non_null(strstr(page[17].text, "EVENTS"));
	assert_string_equal(page[22].text, "18:00:05 failover  B  was A  19 times: timeout");
	layout.height = 50;
	view(&s, &layout);
	assert_non_null(strstr(page[38].text, "EVENTS"));
	layout.height = 12;
	view(&s, &layout);
	for (int i = 0; i < 12; i++)
		assert_null(strstr(page[i].text, "EVENTS"));
}

static void any_size_works(void **state)
{
	struct top_model models[] = {model("Llama-3.1-8B-Instruct", LLM_HEALTHY), model("B", LLM_UNHEALTHY)};
	struct top_state s = state_of(models, 2);

	(void)state;
	s.events[0] = event_record_of(EVENT_MODEL_DOWN, "B", NULL, NULL, "why");
	s.event_count = 1;
	for (int width = 1; width < 300; width += 1 + width / 20) {
		for (int height = 1; height < 60; height += 1 + height / 10) {
			struct top_layout layout = {.width = width, .height = height};

			view(&s, &layout);
			layout.help = true;
			view(&s, &layout);
		}
	}
}

static void names_that_are_not_plain(void **state)
{
	static const char *const odd[] = {"",
	                                  "\033[2Jevil",
	                                  "new\nline",
	                                  "\xff\xfe",
	                                  "模型模型模型模型模型模型模型模型模型模型模型",
	                                  "e\xcc\x81\xcc\x81\xcc\x81tats",
	                                  "🦙🦙🦙🦙🦙🦙🦙🦙🦙🦙🦙🦙🦙",
	                                  "right\xe2\x80\xaeto left",
	                                  LONG_NAME};
	struct top_model models[sizeof odd / sizeof odd[0]];
	struct top_state s = state_of(models, 0);

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
		models[i] = model(odd[i], LLM_HEALTHY);
	s.count = sizeof odd / sizeof odd[0];
	for (int width = 20; width < 220; width++) {
		struct top_layout layout = {.width = width, .height = 30};

		view(&s, &layout);
		for (size_t i = 0; width >= 60 && i < s.count; i++)
			assert_non_null(strstr(row((int)i), "healthy"));
	}
}

static void help_names_every_key(void **state)
{
	struct top_model models[] = {model("A", LLM_HEALTHY)};
	struct top_state s = state_of(models, 1);
	struct top_layout layout = {.width = 80, .height = 24, .help = true};
	char text[4000] = "";

	(void)state;
	view(&s, &layout);
	for (int i = 0; i < 24; i++)
		strcat(text, page[i].text);
	for (unsigned i = 0; i < TOP_SORTS; i++) {
		char entry[64];

		snprintf(entry, sizeof entry, "%c %s", top_sort_key((enum top_sort)i), top_sort_name((enum top_sort)i));
		assert_non_null(strstr(text, entry));
	}
	assert_non_null(strstr(text, "q quits"));
	assert_non_null(strstr(text, "▁ unhealthy"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_of_models),
		cmocka_unit_test(a_wide_page_has_ids_and_more_history),
		cmocka_unit_test(the_head),
		cmocka_unit_test(each_order),
		cmocka_unit_test(a_thousand_models_scroll),
		cmocka_unit_test(events_are_below),
		cmocka_unit_test(any_size_works),
		cmocka_unit_test(names_that_are_not_plain),
		cmocka_unit_test(help_names_every_key),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
