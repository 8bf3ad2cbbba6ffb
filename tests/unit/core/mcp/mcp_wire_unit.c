/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the wire to MCP servers: headers, messages, results. */
#include "core/mcp/mcp_wire.h"
#include "core/mcp/mcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static json_t *json(const char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);

	if (j == NULL)
		fail_msg("%s: %s", text, e.text);
	return j;
}

static void values_of_headers_are_encoded(void **state)
{
	static const struct {
		const char *value, *encoded;
	} cases[] = {
		{"us-west1", "us-west1"},
		{"two words", "two words"},
		{"Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="},
		{" padded ", "=?base64?IHBhZGRlZCA=?="},
		{"line1\nline2", "=?base64?bGluZTEKbGluZTI=?="},
		{"=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="},
		{"=?base64?open", "=?base64?open"},
		{"",
	         "=?base64?"
	         "?="},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out = BUF_INIT(1000);

		assert_int_equal(mcp_wire_header_value(cases[i].value, &out), 0);
		assert_string_equal(out.data, cases[i].encoded);
		buf_free(&out);
	}
}

#define SCHEMA(properties) "{\"type\":\"object\",\"properties\":{" properties "}}"

static void annotations_of_a_schema_become_a_map(void **state)
{
	static const struct {
		const char *schema, *map; /* map NULL: the tool is not valid */
	} cases[] = {
		{"{}", "[]"},
		{SCHEMA("\"region\":{\"type\":\"string\",\"x-mcp-header\":\"Region\"}"), "[[\"Region\",\"region\"]]"},
		{SCHEMA("\"to\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"x-mcp-header\":\"N\"}}}"),
	         "[[\"N\",\"to\",\"n\"]]"},
		/* A parameter of that name is no annotation. */
		{SCHEMA("\"x-mcp-header\":{\"type\":\"string\"}"), "[]"},
		{SCHEMA("\"a\":{\"type\":\"string\",\"x-mcp-header\":\"A\"},\"b\":{\"type\":\"string\",\"x-mcp-header\":\"a\"}"),
	         NULL},
		{SCHEMA("\"a\":{\"type\":\"string\",\"x-mcp-header\":\"\"}"), NULL},
		{SCHEMA("\"a\":{\"type\":\"string\",\"x-mcp-header\":\"a b\"}"), NULL},
		{SCHEMA("\"a\":{\"type\":\"string\",\"x-mcp-header\":\"a\\r\\nb\"}"), NULL},
		{SCHEMA("\"a\":{\"type\":\"string\",\"x-mcp-header\":\"\\u00e4\"}"), NULL},
		{SCHEMA("\"a\":{\"type\":\"string\",\"x-mcp-header\":7}"), NULL},
		{SCHEMA("\"a\":{\"type\":\"number\",\"x-mcp-header\":\"A\"}"), NULL},
		{SCHEMA("\"a\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"x-mcp-header\":\"A\"}}"), NULL},
		{SCHEMA("\"a\":{\"anyOf\":[{\"type\":\"string\",\"x-mcp-header\":\"A\"}]}"), NULL},
		{"{\"$defs\":{\"a\":{\"type\":\"string\",\"x-mcp-header\":\"A\"}}}", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *schema = json(cases[i].schema), *expected = cases[i].map != NULL ? json(cases[i].map) : NULL;
		const char *why;
		json_t *map = mcp_wire_header_map(schema, &why);

		if ((map == NULL) != (expected == NULL) || (map != NULL && !json_equal(map, expected)))
			fail_msg("%s: %s", cases[i].schema, why != NULL ? why : "another map");
		assert_int_equal(map == NULL, why != NULL);
		json_decref(map);
		json_decref(expected);
		json_decref(schema);
	}
}

static void arguments_are_sent_as_headers(void **state)
{
	static const struct {
		const char *arguments, *line; /* of ["N", "to", "n"]; NULL: none */
	} cases[] = {
		{"{\"to\":{\"n\":\"x\"}}", "Mcp-Param-N: x"},
		{"{\"to\":{\"n\":-7}}", "Mcp-Param-N: -7"},
		{"{\"to\":{\"n\":42.0}}", "Mcp-Param-N: 42"},
		{"{\"to\":{\"n\":false}}", "Mcp-Param-N: false"},
		{"{\"to\":{\"n\":null}}", NULL},
		{"{\"to\":{}}", NULL},
		{"{\"to\":7}", NULL},
		{"{}", NULL},
		{"{\"to\":{\"n\":[1]}}", NULL},
		{"{\"to\":{\"n\":\"a\\r\\nX: y\"}}", "Mcp-Param-N: =?base64?YQ0KWDogeQ==?="},
	};
	json_t *map = json("[[\"N\",\"to\",\"n\"]]");

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *arguments = json(cases[i].arguments);
		char **lines = mcp_wire_header_lines(map, arguments);

		assert_non_null(lines);
		if (cases[i].line == NULL)
			assert_null(lines[0]);
		else
			assert_string_equal(lines[0], cases[i].line);
		free(lines[0]);
		free(lines);
		json_decref(arguments);
	}
	json_decref(map);
}

static void kinds_of_messages_differ(void **state)
{
	static const struct {
		const char *message;
		enum mcp_kind kind;
	} cases[] = {
		{"{\"id\":5,\"result\":{}}", MCP_ANSWER},
		{"{\"id\":\"5\",\"result\":{}}", MCP_ANSWER},
		{"{\"id\":5,\"error\":{\"code\":-1}}", MCP_ANSWER},
		{"{\"id\":null,\"error\":{\"code\":-32700}}", MCP_ANSWER},
		{"{\"error\":{\"code\":-32700}}", MCP_ANSWER},
		{"{\"id\":6,\"result\":{}}", MCP_OTHER},
		{"{\"id\":null,\"result\":{}}", MCP_OTHER},
		{"{\"result\":{}}", MCP_OTHER},
		{"{\"id\":5.0,\"result\":{}}", MCP_OTHER},
		{"{\"id\":5,\"error\":\"no\"}", MCP_OTHER},
		{"{\"id\":5}", MCP_OTHER},
		{"[]", MCP_OTHER},
		{"7", MCP_OTHER},
		{"{\"id\":5,\"method\":\"ping\"}", MCP_REQUEST},
		{"{\"method\":\"notifications/progress\"}", MCP_NOTIFICATION},
		{"{\"id\":5,\"method\":7,\"result\":{}}", MCP_ANSWER},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *message = json(cases[i].message);

		if (mcp_wire_kind(message, 5) != cases[i].kind)
			fail_msg("%s", cases[i].message);
		json_decref(message);
	}
	assert_int_equal(mcp_wire_kind(NULL, 5), MCP_OTHER);
}

/* Every text, whatever is wrong with it, is a message or none. */
static void broken_messages_are_repaired_or_none(void **state)
{
	static const char half[] = "{\"id\":1,\"result\":\"a\\ud83d\"}", bytes[] = "{\"id\":1,\"result\":\"\xff\"}";
	json_t *message;

	(void)state;
	message = mcp_wire_parse(half, strlen(half));
	assert_string_equal(json_string_value(json_object_get(message, "result")), "a?");
	json_decref(message);
	message = mcp_wire_parse(bytes, strlen(bytes));
	assert_string_equal(json_string_value(json_object_get(message, "result")), "?");
	json_decref(message);
	for (size_t len = 0; len < strlen(half); len++)
		assert_null(mcp_wire_parse(half, len));
}

static void results_become_text(void **state)
{
	static const struct {
		const char *result, *text;
		bool failed;
	} cases[] = {
		{"{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}", "a\nb",
	         false},
		{"{\"content\":[{\"text\":\"untyped\"}],\"structuredContent\":{\"a\":1}}", "untyped", false},
		{"{\"content\":[],\"structuredContent\":{\"a\":1}}", "{\"a\":1}", false},
		{"{\"structuredContent\":[1,2]}", "[1,2]", false},
		{"{\"structuredContent\":null}", "(the tool returned nothing)", false},
		{"{}", "(the tool returned nothing)", false},
		{"{\"content\":\"no list\"}", "(the tool returned nothing)", false},
		{"{\"content\":[7,null,\"x\",[]]}", NULL, false},
		{"{\"content\":[{\"type\":\"text\"}]}", "(the tool returned nothing)", false},
		{"{\"content\":[{\"type\":\"text\",\"text\":\"a\\u0000b\"}]}", "a?b", false},
		{"{\"isError\":true}", "Error: the tool failed and did not say why.", true},
		{"{\"isError\":true,\"content\":[{\"type\":\"text\",\"text\":\"no\"}]}", "Error: no", true},
		{"{\"isError\":true,\"structuredContent\":{\"why\":1}}", "Error: {\"why\":1}", true},
		{"{\"isError\":\"true\",\"content\":[{\"type\":\"text\",\"text\":\"no\"}]}", "no", false},
		{"{\"content\":[{\"type\":\"image\",\"data\":\"AAAA\",\"mimeType\":\"image/png\"}]}",
	         "[an image was returned (image/png, about 1 KiB); it is left out]", false},
		{"{\"content\":[{\"type\":\"resource\",\"resource\":{\"uri\":\"a:b\",\"blob\":\"AAAA\"}}]}",
	         "[a resource was returned (of unknown type, about 1 KiB); it is left out]", false},
		{"{\"resultType\":\"complete\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}", "a", false},
		{"{\"resultType\":\"input_required\"}", NULL, true},
		{"{\"resultType\":\"another\"}", NULL, true},
		{"[]", NULL, true},
		{"\"text\"", NULL, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *result = json(cases[i].result);
		bool failed;
		char *text = mcp_wire_result_text(result, 1000, &failed);

		assert_non_null(text);
		if (cases[i].text != NULL)
			assert_string_equal(text, cases[i].text);
		assert_int_equal(failed, cases[i].failed);
		free(text);
		json_decref(result);
	}
}

/* At every limit: whole characters, and a note. */
static void long_results_are_cut_at_characters(void **state)
{
	json_t *result =
		json("{\"content\":[{\"type\":\"text\",\"text\":\"äöü\"},{\"type\":\"text\",\"text\":\"😀x\"}]}");
	static const char whole[] = "äöü\n😀x";
	bool failed;

	(void)state;
	for (size_t limit = 0; limit <= strlen(whole); limit++) {
		char *text = mcp_wire_result_text(result, limit, &failed), *note;
		json_t *valid = json_string(text);

		assert_non_null(valid);
		note = strstr(text, "\n[The result was longer");
		assert_int_equal(note == NULL, limit == strlen(whole));
		if (note != NULL && note > text)
			assert_memory_equal(text, whole, (size_t)(note - text));
		json_decref(valid);
		free(text);
	}
	json_decref(result);
}

static void errors_are_safe_to_show(void **state)
{
	json_t *error = json("{\"code\":-32602,\"message\":\"bad\\u001b[31m\"}");
	char text[200];

	(void)state;
	mcp_wire_error_text(error, text, sizeof text);
	assert_string_equal(text, "bad?[31m (-32602)");
	mcp_wire_error_text(NULL, text, sizeof text);
	assert_string_equal(text, "an error without a message");
	json_decref(error);
}

static void requests_name_the_client(void **state)
{
	json_t *given = json("{\"name\":\"a\"}"), *params = mcp_wire_params(given, true, "00-x-y-01", 7);
	json_t *meta = json_object_get(params, "_meta");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(meta, MCP_META_VERSION)), MCP_VERSION);
	assert_true(json_is_object(json_object_get(meta, MCP_META_CAPABILITIES)));
	assert_string_equal(json_string_value(json_object_get(json_object_get(meta, MCP_META_CLIENT), "name")),
	                    "tt-agent");
	assert_string_equal(json_string_value(json_object_get(meta, MCP_META_TRACE)), "00-x-y-01");
	assert_int_equal(json_integer_value(json_object_get(meta, "progressToken")), 7);
	assert_null(json_object_get(given, "_meta"));
	json_decref(params);
	params = mcp_wire_params(given, false, NULL, 0);
	assert_null(json_object_get(params, "_meta"));
	json_decref(params);
	json_decref(given);
}

static void progress_is_one_line_that_is_safe_to_show(void **state)
{
#define PROGRESS(params) "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{" params "}}"
	static const struct {
		const char *message, *text; /* NULL: it tells nothing */
	} cases[] = {
		{PROGRESS("\"progressToken\":7,\"progress\":1,\"message\":\"half way\""), "half way"},
		{PROGRESS("\"progressToken\":7,\"progress\":3,\"total\":12"), "25%"},
		{PROGRESS("\"progressToken\":7,\"progress\":0.5,\"total\":1,\"message\":\" \""), "50%"},
		{PROGRESS("\"progressToken\":7,\"progress\":1,\"message\":\"a\\n</think>\\u001b[0m\""),
	         "a?(/think)?[0m"},
		{PROGRESS(
			 "\"progressToken\":7,\"progress\":1,\"message\":\"0123456789012345678901234567890123456789\""),
	         "0123456789012345678901234567890"},
		{PROGRESS("\"progressToken\":8,\"progress\":1,\"message\":\"of another\""), NULL},
		{PROGRESS("\"progressToken\":7,\"progress\":1"), NULL},
		{PROGRESS("\"progressToken\":7,\"progress\":2,\"total\":1"), NULL},
		{PROGRESS("\"progressToken\":7,\"progress\":\"x\",\"total\":0"), NULL},
		{"{\"method\":\"notifications/message\",\"params\":{\"progressToken\":7,\"message\":\"no\"}}", NULL},
		{"{\"method\":\"notifications/progress\"}", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *message = json(cases[i].message);
		char text[32];

		assert_int_equal(mcp_wire_progress(message, 7, text, sizeof text), cases[i].text != NULL);
		if (cases[i].text != NULL)
			assert_string_equal(text, cases[i].text);
		json_decref(message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_of_headers_are_encoded),
		cmocka_unit_test(annotations_of_a_schema_become_a_map),
		cmocka_unit_test(arguments_are_sent_as_headers),
		cmocka_unit_test(kinds_of_messages_differ),
		cmocka_unit_test(broken_messages_are_repaired_or_none),
		cmocka_unit_test(results_become_text),
		cmocka_unit_test(long_results_are_cut_at_characters),
		cmocka_unit_test(errors_are_safe_to_show),
		cmocka_unit_test(requests_name_the_client),
		cmocka_unit_test(progress_is_one_line_that_is_safe_to_show),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
