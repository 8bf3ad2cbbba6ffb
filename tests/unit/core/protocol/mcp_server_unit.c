/* SPDX-License-Identifier: Apache-2.0 */
/* What an MCP server makes of a POST, and the texts of its answers. */
#include "core/base/buf.h"
#include "core/mcp/mcp.h"
#include "core/protocol/mcp_reply.h"
#include "core/protocol/mcp_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define NEW "2026-07-28"
#define OLD "2025-11-25"
#define META                                                                                                           \
	"\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"" NEW                                                \
	"\",\"io.modelcontextprotocol/clientCapabilities\":{}}"
#define REQUEST(id, method, params)                                                                                    \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":{" params "}}"
#define LIST       REQUEST("1", "tools/list", META)
#define CALL(name) REQUEST("1", "tools/call", "\"name\":" name "," META)

struct row {
	const char *version, *method, *name, *body;
	enum mcp_verdict verdict;
	int status, code;
	const char *id; /* NULL: none */
	bool modern;
};

static void check(const struct row *row)
{
	const struct mcp_headers h = {.version = row->version, .method = row->method, .name = row->name};
	struct mcp_message m;
	struct mcp_refusal why;
	enum mcp_verdict verdict = mcp_server_read(row->body, strlen(row->body), &h, &m, &why);

	if (verdict != row->verdict || why.status != row->status || why.code != row->code)
		fail_msg("%s: %d %d %d (%s)", row->body, verdict, why.status, why.code, why.message);
	if (row->id != NULL && (m.id == NULL || strcmp(m.id, row->id) != 0))
		fail_msg("%s: id %s", row->body, m.id != NULL ? m.id : "none");
	if (row->id == NULL && m.id != NULL)
		fail_msg("%s: id %s", row->body, m.id);
	if (verdict == MCP_REQUEST && m.modern != row->modern)
		fail_msg("%s: of the other era", row->body);
	assert_true(verdict != MCP_REFUSED || why.message[0] != '\0');
	json_decref(why.data);
	mcp_message_clear(&m);
}

static void each_post_is_judged(void **state)
{
	static const struct row rows[] = {
		/* the modern era */
		{NEW, "tools/list", NULL, LIST, MCP_REQUEST, 0, 0, "1", true},
		{" " NEW " ", " tools/list\t", NULL, LIST, MCP_REQUEST, 0, 0, "1", true},
		{NEW, "tools/call", "web_search", CALL("\"web_search\""), MCP_REQUEST, 0, 0, "1", true},
		{NEW, "tools/call", " web_search ", CALL("\"web_search\""), MCP_REQUEST, 0, 0, "1", true},
		{NEW, "tools/call", "=?base64?w7xiZXI=?=",
	         CALL("\"\xc3\xbc"
	              "ber\""),
	         MCP_REQUEST, 0, 0, "1", true},
		{NEW, "tools/call", "=?base64?PT9iYXNlNjQ/eD89?=", CALL("\"=?base64?x?=\""), MCP_REQUEST, 0, 0, "1",
	         true},
		{NEW, "tools/call", NULL, CALL("5"), MCP_REQUEST, 0, 0, "1", true},
		{NEW, "x", NULL, REQUEST("1", "x", META), MCP_REQUEST, 0, 0, "1", true},
		{NEW, NULL, NULL, LIST, MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "TOOLS/LIST", NULL, LIST, MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "prompts/list", NULL, LIST, MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NULL, "tools/list", NULL, LIST, MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{OLD, "tools/list", NULL, LIST, MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{"v9", "tools/list", NULL, LIST, MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call", NULL, CALL("\"a\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call", "A", CALL("\"a\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call", "=?base64?YQ?=", CALL("\"a\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call", "=?base64?YQ=?=", CALL("\"a\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call", "=?base64?YR==?=", CALL("\"a\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call", "=?base64?YQ==", CALL("\"a\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call",
	         "=?base64?"
	         "?=",
	         CALL("\"a\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call", "=?base64?=", CALL("\"a\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/call", "=?base64?x?=", CALL("\"=?base64?x?=\""), MCP_REFUSED, 400, MCP_HEADER_MISMATCH,
	         "1", true},
		{NEW, "resources/read", "b", REQUEST("1", "resources/read", "\"uri\":\"a\"," META), MCP_REFUSED, 400,
	         MCP_HEADER_MISMATCH, "1", true},
		{NEW, "tools/list", NULL, REQUEST("1", "tools/list", ""), MCP_REFUSED, 400, MCP_INVALID_PARAMS, "1",
	         true},
		{NEW, "ping", NULL, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}", MCP_REFUSED, 400,
	         MCP_INVALID_PARAMS, "7", true},
		{NEW, "x", NULL,
	         REQUEST("1", "x", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"" NEW "\"}"), MCP_REFUSED,
	         400, MCP_INVALID_PARAMS, "1", true},
		{NEW, "x", NULL, REQUEST("1", "x", "\"_meta\":{\"io.modelcontextprotocol/clientCapabilities\":{}}"),
	         MCP_REFUSED, 400, MCP_INVALID_PARAMS, "1", true},
		{NEW, "x", NULL,
	         REQUEST("1", "x",
	                 "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":5,\"io.modelcontextprotocol/"
	                 "clientCapabilities\":{}}"),
	         MCP_REFUSED, 400, MCP_INVALID_PARAMS, "1", true},
		{NEW, "x", NULL,
	         REQUEST("1", "x",
	                 "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"" NEW
	                 "\",\"io.modelcontextprotocol/clientCapabilities\":[]}"),
	         MCP_REFUSED, 400, MCP_INVALID_PARAMS, "1", true},
		{NULL, "tools/list", NULL, REQUEST("1", "tools/list", ""), MCP_REFUSED, 400, MCP_INVALID_PARAMS, "1",
	         true},
		{"v9", "x", NULL,
	         REQUEST("1", "x",
	                 "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"v9\",\"io.modelcontextprotocol/"
	                 "clientCapabilities\":{}}"),
	         MCP_REFUSED, 400, MCP_UNSUPPORTED_VERSION, "1", true},
		{"v9", "x", NULL, REQUEST("1", "x", ""), MCP_REFUSED, 400, MCP_UNSUPPORTED_VERSION, "1", true},
		{"2024-11-05", NULL, NULL, REQUEST("1", "ping", ""), MCP_REFUSED, 400, MCP_UNSUPPORTED_VERSION, "1",
	         true},
		{"\xff\xfe", NULL, NULL, REQUEST("1", "ping", ""), MCP_REFUSED, 400, MCP_UNSUPPORTED_VERSION, "1",
	         true},
		{"", NULL, NULL, REQUEST("1", "ping", ""), MCP_REFUSED, 400, MCP_UNSUPPORTED_VERSION, "1", true},
		{NEW, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\"}", MCP_NOTICE, 0, 0,
	         NULL, true},
		{"v9", NULL, NULL, "{\"jsonrpc\":\"2.0\",\"method\":\"n\"}", MCP_REFUSED, 400, MCP_UNSUPPORTED_VERSION,
	         NULL, true},
		{NEW, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", MCP_REFUSED, 400, MCP_INVALID_REQUEST,
	         "1", true},
		/* the legacy one */
		{NULL, NULL, NULL, REQUEST("1", "initialize", "\"protocolVersion\":\"" OLD "\""), MCP_REQUEST, 0, 0,
	         "1", false},
		{NULL, NULL, NULL, REQUEST("1", "initialize", "\"protocolVersion\":\"" NEW "\""), MCP_REQUEST, 0, 0,
	         "1", false},
		{OLD, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", MCP_REQUEST, 0, 0, "1", false},
		{"2025-06-18", NULL, NULL, REQUEST("1", "tools/list", ""), MCP_REQUEST, 0, 0, "1", false},
		{"2025-03-26", NULL, NULL, REQUEST("1", "tools/list", "\"_meta\":{\"progressToken\":1}"), MCP_REQUEST,
	         0, 0, "1", false},
		{OLD, "x", "y", REQUEST("1", "tools/list", ""), MCP_REQUEST, 0, 0, "1", false},
		{OLD, NULL, NULL,
	         REQUEST("1", "x", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"" OLD "\"}"), MCP_REQUEST,
	         0, 0, "1", false},
		{OLD, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}", MCP_NOTICE, 0, 0,
	         NULL, false},
		{OLD, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":[1]}", MCP_NOTICE, 0, 0, NULL,
	         false},
		{OLD, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", MCP_NOTICE, 0, 0, "1", false},
		{OLD, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"\"}}", MCP_NOTICE,
	         0, 0, "1", false},
		/* what is no message */
		{NULL, NULL, NULL, "", MCP_REFUSED, 400, MCP_PARSE_ERROR, NULL, false},
		{NEW, NULL, NULL, "{", MCP_REFUSED, 400, MCP_PARSE_ERROR, NULL, true},
		{NULL, NULL, NULL, "{\"id\":1}{}", MCP_REFUSED, 400, MCP_PARSE_ERROR, NULL, false},
		{NULL, NULL, NULL, "{\"id\":\"\xff\"}", MCP_REFUSED, 400, MCP_PARSE_ERROR, NULL, false},
		{NULL, NULL, NULL, "[]", MCP_REFUSED, 400, MCP_INVALID_REQUEST, NULL, false},
		{NEW, NULL, NULL, "[" LIST "]", MCP_REFUSED, 400, MCP_INVALID_REQUEST, NULL, true},
		{"2025-03-26", NULL, NULL, "[" LIST "]", MCP_REFUSED, 400, MCP_INVALID_REQUEST, NULL, false},
		{NULL, NULL, NULL, "5", MCP_REFUSED, 400, MCP_INVALID_REQUEST, NULL, false},
		{NULL, NULL, NULL, "null", MCP_REFUSED, 400, MCP_INVALID_REQUEST, NULL, false},
		{NULL, NULL, NULL, "{}", MCP_REFUSED, 400, MCP_INVALID_REQUEST, NULL, false},
		{NULL, NULL, NULL, "{\"id\":1,\"method\":\"ping\"}", MCP_REFUSED, 400, MCP_INVALID_REQUEST, "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", MCP_REFUSED, 400,
	         MCP_INVALID_REQUEST, "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"ping\"}", MCP_REFUSED, 400,
	         MCP_INVALID_REQUEST, "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", MCP_REFUSED, 400,
	         MCP_INVALID_REQUEST, NULL, false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"ping\"}", MCP_REFUSED, 400,
	         MCP_INVALID_REQUEST, NULL, false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"ping\"}", MCP_REFUSED, 400,
	         MCP_INVALID_REQUEST, NULL, false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}", MCP_REFUSED, 400, MCP_INVALID_REQUEST,
	         "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\"}", MCP_REFUSED, 400,
	         MCP_INVALID_REQUEST, "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\\u0000\"}", MCP_REFUSED, 400,
	         MCP_INVALID_REQUEST, "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1}", MCP_REFUSED, 400, MCP_INVALID_REQUEST, "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":5}", MCP_REFUSED, 400,
	         MCP_INVALID_REQUEST, "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":null}", MCP_REFUSED,
	         400, MCP_INVALID_REQUEST, "1", false},
		{NULL, NULL, NULL, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[]}", MCP_REFUSED, 400,
	         MCP_INVALID_PARAMS, "1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check(&rows[i]);
}

static void ids_come_back_as_they_were(void **state)
{
	static const char *const ids[] = {
		"0",
		"-1",
		"9007199254740993",
		"9223372036854775807",
		"-9223372036854775808",
		"18446744073709551616",
		"123456789012345678901234567890",
		"-123456789012345678901234567890",
		"1.0",
		"1e3",
		"1.50",
		"0.1",
		"-2.5E-3",
		"\"\"",
		"\"a\"",
		"\"1\"",
		"\"\\\"}{\\\\\"",
		"\"\xc3\xbc\"",
		"\"\xf0\x9f\x98\x80\"",
	};
	char body[1000];

	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		const struct row plain = {OLD, NULL, NULL, body, MCP_REQUEST, 0, 0, ids[i], false};

		snprintf(body, sizeof body, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"ping\"}", ids[i]);
		check(&plain);
		snprintf(
			body, sizeof body,
			"{\"a\":[{\"id\":5.5},\"id\",{\"b\":{\"id\":6.5}}],\"params\":{\"id\":7.5},\"id\":1.25, \"\\u0069d\" :\n %s ,"
			"\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"z\":{\"id\":8.5}}",
			ids[i]);
		check(&plain);
	}
}

static void progress_tokens_come_back_as_they_were(void **state)
{
	static const struct {
		const char *token, *copied;
	} rows[] = {
		{"\"t\"", "\"t\""}, {"5", "5"},      {"12345678901234567890123", "12345678901234567890123"},
		{"1.5", "1.5"},     {"null", NULL},  {"true", NULL},
		{"{}", NULL},       {"[1.5]", NULL},
	};
	const struct mcp_headers h = {.version = OLD};
	struct mcp_refusal why;
	struct mcp_message m;
	char body[1000];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(
			body, sizeof body,
			"{\"jsonrpc\":\"2.0\",\"id\":2.5,\"method\":\"x\",\"progressToken\":9.5,\"params\":{\"x\":{\"_meta\":{"
			"\"progressToken\":8.5}},\"_meta\":{\"y\":{\"progressToken\":7.5},\"progressToken\":%s}}}",
			rows[i].token);
		assert_int_equal(mcp_server_read(body, strlen(body), &h, &m, &why), MCP_REQUEST);
		assert_string_equal(m.id, "2.5");
		if (rows[i].copied == NULL)
			assert_null(m.progress_token);
		else
			assert_string_equal(m.progress_token, rows[i].copied);
		mcp_message_clear(&m);
	}
}

static void a_refused_version_says_which_there_are(void **state)
{
	const struct mcp_headers h = {.version =
	                                      "\xff"
	                                      "1"};
	const char *body = REQUEST("1", "x", "");
	struct mcp_refusal why;
	struct mcp_message m;

	(void)state;
	assert_int_equal(mcp_server_read(body, strlen(body), &h, &m, &why), MCP_REFUSED);
	assert_string_equal(json_string_value(json_object_get(why.data, "requested")), "?1");
	assert_int_equal(json_array_size(json_object_get(why.data, "supported")), 4);
	assert_string_equal(json_string_value(json_array_get(json_object_get(why.data, "supported"), 0)), NEW);
	json_decref(why.data);
	mcp_message_clear(&m);
}

static void messages_are_written(void **state)
{
	static const char server[] = "\"_meta\":{\"io.modelcontextprotocol/serverInfo\":{";
	char *text;

	(void)state;
	text = mcp_server_result("12345678901234567890123", false, json_object());
	assert_string_equal(text, "{\"jsonrpc\":\"2.0\",\"id\":12345678901234567890123,\"result\":{}}");
	free(text);
	text = mcp_server_result("\"a\"", true, json_object());
	assert_non_null(strstr(text, "\"resultType\":\"complete\""));
	assert_non_null(strstr(text, server));
	free(text);
	text = mcp_server_error(NULL, -32700, "a \"b\"", NULL);
	assert_string_equal(text, "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32700,\"message\":\"a \\\"b\\\"\"}}");
	free(text);
	text = mcp_server_error("1", -32022, "x", json_pack("{s:i}", "a", 1));
	assert_string_equal(
		text,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32022,\"message\":\"x\",\"data\":{\"a\":1}}}");
	free(text);
	text = mcp_server_progress("\"t\"", 3, "a\nb");
	assert_string_equal(
		text,
		"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"t\","
		"\"progress\":3,\"message\":\"a\\nb\"}}");
	free(text);
	assert_null(mcp_server_result("1", true, NULL));
}

static void what_clients_accept(void **state)
{
	static const struct {
		const char *accept;
		bool json, events;
	} rows[] = {
		{NULL, true, true},
		{"", true, true},
		{" ", true, true},
		{"*/*", true, true},
		{"application/json, text/event-stream", true, true},
		{"application/json,text/event-stream;q=0.5", true, true},
		{"Application/JSON", true, false},
		{"application/*", true, false},
		{"text/event-stream", false, true},
		{"text/*;q=0.1, application/json; q=0", false, true},
		{"text/event-stream;q=0, application/json;q=0.0", false, false},
		{"text/html", false, false},
		{"application/jsonx", false, false},
		{"application/json;charset=utf-8", true, false},
		{",,;q=1,", false, false},
		{"text/html, */*;q=0.8", true, true},
	};
	bool json, events;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(mcp_reply_accepts(rows[i].accept, &json, &events), rows[i].json || rows[i].events);
		if (json != rows[i].json || events != rows[i].events)
			fail_msg("%s: %d %d", rows[i].accept, json, events);
	}
}

/* ---- replies, to a buffer ---- */

struct output {
	struct buf bytes;
	int status;
	char type[64];
	unsigned char state;
	char memo[OUTPUT_MEMO_MAX];
};

void output_head(struct output *o, int status, const char *content_type, const char *headers)
{
	(void)headers;
	assert_int_equal(o->status, 0);
	o->status = status;
	snprintf(o->type, sizeof o->type, "%s", content_type);
}

void output_write(struct output *o, const char *bytes, size_t len)
{
	assert_true(o->status != 0);
	assert_int_equal(buf_add(&o->bytes, bytes, len), 0);
}

void output_write_frame(struct output *o, const char *bytes, size_t len, const char *text, size_t text_len)
{
	(void)text;
	assert_int_equal(text_len, 0);
	output_write(o, bytes, len);
}

void output_flush_boundary(struct output *o)
{
	(void)o;
}

void output_set_state(struct output *o, unsigned char state, bool is_text)
{
	assert_false(is_text);
	o->state = state;
}

void output_remember(struct output *o, const char *memo)
{
	snprintf(o->memo, sizeof o->memo, "%s", memo);
}

bool output_is_full(const struct output *o)
{
	(void)o;
	return false;
}

static struct mcp_reply reply_to(struct output *o, bool json, bool events, const char *token)
{
	*o = (struct output){.bytes = BUF_INIT(1u << 20)};
	return (struct mcp_reply){.output = o,
	                          .id = strdup("7"),
	                          .progress_token = token != NULL ? strdup(token) : NULL,
	                          .takes_json = json,
	                          .takes_events = events};
}

static void done(struct mcp_reply *r, struct output *o)
{
	mcp_reply_clear(r);
	buf_free(&o->bytes);
}

static void an_answer_is_json_unless_something_came_before(void **state)
{
	struct output o;
	struct mcp_reply r = reply_to(&o, true, true, NULL);

	(void)state;
	mcp_reply_progress(&r, "nobody wants to know");
	mcp_reply_result(&r, json_object());
	assert_int_equal(o.status, 200);
	assert_string_equal(o.type, "application/json");
	assert_string_equal(o.bytes.data, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}");
	done(&r, &o);

	r = reply_to(&o, true, true, "\"t\"");
	mcp_reply_progress(&r, "a");
	mcp_reply_beat(&r);
	mcp_reply_progress(&r, "b");
	mcp_reply_result(&r, json_object());
	assert_string_equal(o.type, "text/event-stream");
	assert_string_equal(o.memo, "2");
	assert_non_null(
		strstr(o.bytes.data,
	               "\"progress\":1,\"message\":\"a\"}}\n\n: the answer is still coming\n\nevent: message\n"));
	assert_non_null(strstr(o.bytes.data, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n"));
	done(&r, &o);

	r = reply_to(&o, true, false, "\"t\"");
	mcp_reply_progress(&r, "it takes no events");
	mcp_reply_beat(&r);
	mcp_reply_error(&r, 404, "", -32601, "x", NULL);
	assert_int_equal(o.status, 404);
	assert_string_equal(o.bytes.data,
	                    "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32601,\"message\":\"x\"}}");
	done(&r, &o);

	r = reply_to(&o, false, true, NULL);
	mcp_reply_result(&r, json_object());
	assert_string_equal(o.type, "text/event-stream");
	done(&r, &o);

	r = reply_to(&o, true, true, NULL);
	mcp_reply_result(&r, NULL); /* no memory */
	assert_int_equal(o.status, 503);
	done(&r, &o);
}

static void a_reply_waits_as_json(void **state)
{
	struct output o;
	struct mcp_reply r = reply_to(&o, false, true, "\"t\""), again;
	json_t *saved = mcp_reply_save(&r);

	(void)state;
	assert_int_equal(mcp_reply_restore(&again, &o, saved), 0);
	assert_string_equal(again.id, "7");
	assert_string_equal(again.progress_token, "\"t\"");
	assert_true(!again.takes_json && again.takes_events && !again.modern && !again.begun);
	json_decref(saved);
	mcp_reply_clear(&again);
	done(&r, &o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_post_is_judged),
		cmocka_unit_test(ids_come_back_as_they_were),
		cmocka_unit_test(progress_tokens_come_back_as_they_were),
		cmocka_unit_test(a_refused_version_says_which_there_are),
		cmocka_unit_test(messages_are_written),
		cmocka_unit_test(what_clients_accept),
		cmocka_unit_test(an_answer_is_json_unless_something_came_before),
		cmocka_unit_test(a_reply_waits_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
