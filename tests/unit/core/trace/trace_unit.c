/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken of traceparent and tracestate, what is passed on, and what spans look like. */
#include "core/trace/labels.h"
#include "core/trace/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void traceparent_is_read_strictly(void **state)
{
	static const struct {
		const char *text;
		bool valid, sampled;
	} cases[] = {
		{"00-" TRACE "-" PARENT "-01", true, true},
		{"00-" TRACE "-" PARENT "-00", true, false},
		{"00-" TRACE "-" PARENT "-03", true, true},
		{"00-" TRACE "-" PARENT "-ff", true, true},
		{"cc-" TRACE "-" PARENT "-01", true, true},
		{"cc-" TRACE "-" PARENT "-01-what-the-future-will-be-like", true, true},
		{"01-" TRACE "-" PARENT "-01", true, true},
		{"cc-" TRACE "-" PARENT "-01.what", false, false},
		{"00-" TRACE "-" PARENT "-01-more", false, false},
		{"00-" TRACE "-" PARENT "-01 ", false, false},
		{" 00-" TRACE "-" PARENT "-01", false, false},
		{"ff-" TRACE "-" PARENT "-01", false, false},
		{"0x-" TRACE "-" PARENT "-01", false, false},
		{"FF-" TRACE "-" PARENT "-01", false, false},
		{"00-00000000000000000000000000000000-" PARENT "-01", false, false},
		{"00-" TRACE "-0000000000000000-01", false, false},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false, false},
		{"00-" TRACE "-00F067AA0BA902B7-01", false, false},
		{"00-" TRACE "-" PARENT "-0A", false, false},
		{"00-" TRACE "-" PARENT "-1", false, false},
		{"00-" TRACE "-" PARENT "-", false, false},
		{"00-" TRACE "-" PARENT, false, false},
		{"00-" TRACE "." PARENT "-01", false, false},
		{"00-" TRACE "0-" PARENT "-01", false, false},
		{"00-4bf92f3577b34da6a3ce929d0e0e473-" PARENT "-01", false, false},
		{"00-" TRACE "-" PARENT "-01,00-" TRACE "-" PARENT "-01", false, false},
		{"00", false, false},
		{"-", false, false},
		{"", false, false},
	};
	struct trace_context c;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		trace_context_parse(cases[i].text, "a=b", &c);
		if (c.valid != cases[i].valid || c.sampled != cases[i].sampled)
			fail_msg("%s: valid %d, sampled %d", cases[i].text, c.valid, c.sampled);
		assert_string_equal(c.state, c.valid ? "a=b" : "");
		if (c.valid)
			assert_string_equal(c.trace_id, TRACE);
		if (c.valid)
			assert_string_equal(c.span_id, PARENT);
	}
	trace_context_parse(NULL, "a=b", &c);
	assert_false(c.valid);
}

static void tracestate_is_dropped_if_it_is_not_valid(void **state)
{
	static const struct {
		const char *text, *kept;
	} cases[] = {
		{"congo=t61rcWkgMzE", "congo=t61rcWkgMzE"},
		{"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
		{" a=1 ,\tb=2\t", "a=1,b=2"},
		{"a=1,,b=2,", "a=1,b=2"},
		{"fw529a3039@dt=FfAAAAAAAWg,tenant@system=x", "fw529a3039@dt=FfAAAAAAAWg,tenant@system=x"},
		{"a*/-_=1", "a*/-_=1"},
		{"a=v w", "a=v w"},
		{"0a=1", "0a=1"},
		{"", ""},
		{"a", ""},
		{"=1", ""},
		{"a=", ""},
		{"A=1", ""},
		{"a=1=2", ""},
		{"a b=1", ""},
		{"_a=1", ""},
		{"a=\x7f", ""},
		{"a=\xc3\xa4", ""},
		{"a=1\r\nX-Forged: 1", ""},
	};
	char many[4096] = "", one[400];
	struct trace_context c;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		trace_context_parse("00-" TRACE "-" PARENT "-01", cases[i].text, &c);
		assert_true(c.valid);
		assert_string_equal(c.state, cases[i].kept);
	}
	for (int i = 0; i < 33; i++)
		sprintf(many + strlen(many), "%sk%d=v", i > 0 ? "," : "", i);
	trace_context_parse("00-" TRACE "-" PARENT "-01", many, &c);
	assert_string_equal(c.state, "");
	/* What is too long loses whole entries at its end. */
	memset(one, 'v', 250);
	one[250] = '\0';
	snprintf(many, sizeof many, "a=%s,b=%s,c=1", one, one);
	trace_context_parse("00-" TRACE "-" PARENT "-01", many, &c);
	assert_int_equal(strlen(c.state), 2 * 252 + 1 + 4);
	snprintf(many, sizeof many, "a=%s,b=%s,c=%s,d=1", one, one, one);
	trace_context_parse("00-" TRACE "-" PARENT "-01", many, &c);
	assert_int_equal(strlen(c.state), 2 * 252 + 1);
}

static void what_was_received_is_passed_on_also_where_nothing_is_recorded(void **state)
{
	struct trace_context received;
	struct trace *t;
	struct span s, turn;
	struct labels l;
	unsigned dropped;

	(void)state;
	trace_context_parse("00-" TRACE "-" PARENT "-01", "a=b", &received);
	t = trace_new(&received, false, 0);
	trace_begin(t, &turn);
	trace_begin(t, &s);
	labels_set(&l, "id", NULL, t, &s);
	assert_string_equal(l.lines[0], "X-Request-Id: id");
	assert_string_equal(l.lines[1], "traceparent: 00-" TRACE "-" PARENT "-01");
	assert_string_equal(l.lines[2], "tracestate: a=b");
	assert_null(l.lines[3]);
	trace_end(t, &s, &(struct span_end){.name = "s", .parent = &turn});
	assert_null(trace_take(t, &dropped));
	trace_free(t);
	assert_null(trace_new(NULL, false, 1));
	labels_set(&l, "id", "00000001", NULL, &s);
	assert_string_equal(l.lines[0], "X-Request-Id: id-00000001");
	assert_null(l.lines[1]);
}

static void a_request_decides_whether_its_trace_is_recorded(void **state)
{
	struct trace_context received;
	struct trace *t;
	struct span s;

	(void)state;
	for (int sampled = 0; sampled <= 1; sampled++) {
		trace_context_parse(sampled ? "00-" TRACE "-" PARENT "-01" : "00-" TRACE "-" PARENT "-00", NULL,
		                    &received);
		t = trace_new(&received, true, sampled ? 0 : 1);
		trace_begin(t, &s);
		assert_int_equal(s.id[0] != '\0', sampled);
		trace_free(t);
	}
}

static void a_share_of_others_is_recorded(void **state)
{
	int count[3] = {0};
	static const double shares[3] = {0, 0.5, 1};
	struct labels l;
	struct span s;

	(void)state;
	for (int share = 0; share < 3; share++)
		for (int i = 0; i < 1000; i++) {
			struct trace *t = trace_new(NULL, true, shares[share]);

			trace_begin(t, &s);
			labels_set(&l, "id", NULL, t, &s);
			assert_int_equal(strlen(l.lines[1]), strlen("traceparent: 00-" TRACE "-" PARENT "-01"));
			assert_string_equal(l.lines[1] + strlen(l.lines[1]) - 2, s.id[0] != '\0' ? "01" : "00");
			count[share] += s.id[0] != '\0';
			trace_free(t);
		}
	assert_int_equal(count[0], 0);
	assert_in_range(count[1], 300, 700);
	assert_int_equal(count[2], 1000);
}

static void spans_have_the_form_of_otlp(void **state)
{
	const struct log_field attributes[] = {
		ATTR_STR("s", "a\xff"), ATTR_STR("none", NULL), ATTR_INT("i", INT64_MAX), ATTR_INT("unknown", -1),
		ATTR_REAL("d", 0.5),    ATTR_REAL("nan", NAN),  ATTR_BOOL("b", true)};
	struct trace_context received;
	struct span turn, attempt;
	struct trace *t;
	json_t *spans, *j, *expected;
	char id[17];
	unsigned dropped;

	(void)state;
	trace_context_parse("00-" TRACE "-" PARENT "-01", "a=b", &received);
	t = trace_new(&received, true, 1);
	trace_begin(t, &turn);
	trace_begin(t, &attempt);
	snprintf(id, sizeof id, "%s", turn.id);
	trace_end(t, &attempt,
	          &(struct span_end){.name = "chat m",
	                             .kind = SPAN_CLIENT,
	                             .parent = &turn,
	                             .error = "cut",
	                             .message = "why",
	                             .attributes = attributes,
	                             .count = 7});
	trace_end(t, &attempt, &(struct span_end){.name = "twice", .parent = &turn}); /* it has ended */
	trace_end(t, &turn, &(struct span_end){.name = "turn", .kind = SPAN_SERVER});
	spans = trace_take(t, &dropped);
	assert_int_equal(json_array_size(spans), 2);
	assert_int_equal(dropped, 0);
	j = json_array_get(spans, 0);
	assert_string_equal(json_string_value(json_object_get(j, "parentSpanId")), id);
	assert_int_equal(strlen(json_string_value(json_object_get(j, "spanId"))), 16);
	assert_true(json_is_string(json_object_get(j, "startTimeUnixNano")));
	json_object_del(j, "spanId");
	json_object_del(j, "parentSpanId");
	json_object_del(j, "startTimeUnixNano");
	json_object_del(j, "endTimeUnixNano");
	expected = json_pack(
		"{s:s, s:s, s:i, s:s, s:{s:i, s:s}, s:[{s:s, s:{s:s}}, {s:s, s:{s:s}}, {s:s, s:{s:f}}, {s:s, s:{s:b}}, {s:s, "
		"s:{s:s}}]}",
		"traceId", TRACE, "name", "chat m", "kind", 3, "traceState", "a=b", "status", "code", 2, "message",
		"why", "attributes", "key", "s", "value", "stringValue", "a?", "key", "i", "value", "intValue",
		"9223372036854775807", "key", "d", "value", "doubleValue", 0.5, "key", "b", "value", "boolValue", 1,
		"key", "error.type", "value", "stringValue", "cut");
	assert_true(json_equal(j, expected));
	json_decref(expected);
	j = json_array_get(spans, 1);
	assert_string_equal(json_string_value(json_object_get(j, "spanId")), id);
	assert_string_equal(json_string_value(json_object_get(j, "parentSpanId")), PARENT);
	assert_null(json_object_get(j, "status"));
	json_decref(spans);
	trace_free(t);
}

static void a_turn_has_a_limited_number_of_spans(void **state)
{
	struct trace *t = trace_new(NULL, true, 1);
	struct span s;
	unsigned dropped;
	json_t *spans;

	(void)state;
	for (unsigned i = 0; i < TRACE_SPANS_MAX + 3; i++) {
		trace_begin(t, &s);
		trace_end(t, &s, &(struct span_end){.name = "s"});
	}
	spans = trace_take(t, &dropped);
	assert_int_equal(json_array_size(spans), TRACE_SPANS_MAX);
	assert_int_equal(dropped, 3);
	json_decref(spans);
	trace_free(t);
}

/* Beyond what is drawn from the system at once. */
static void each_request_has_a_nonce_of_its_own(void **state)
{
	enum { COUNT = 500 };
	char nonces[COUNT][LABELS_NONCE_MAX + 1];
	size_t repeated = 0;

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		labels_nonce(nonces[i]);
		assert_int_equal(strspn(nonces[i], "0123456789abcdef"), LABELS_NONCE_MAX);
		assert_int_equal(strlen(nonces[i]), LABELS_NONCE_MAX);
		for (size_t j = 0; j < i; j++)
			repeated += strcmp(nonces[i], nonces[j]) == 0;
	}
	assert_true(repeated <= 2); /* chance */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(traceparent_is_read_strictly),
		cmocka_unit_test(tracestate_is_dropped_if_it_is_not_valid),
		cmocka_unit_test(what_was_received_is_passed_on_also_where_nothing_is_recorded),
		cmocka_unit_test(a_request_decides_whether_its_trace_is_recorded),
		cmocka_unit_test(a_share_of_others_is_recorded),
		cmocka_unit_test(spans_have_the_form_of_otlp),
		cmocka_unit_test(a_turn_has_a_limited_number_of_spans),
		cmocka_unit_test(each_request_has_a_nonce_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
