/* SPDX-License-Identifier: Apache-2.0 */
/* Responses as the strictest clients read them: each event in its place, items that are in the end what their events
 * said, one end, and what another program makes of an answer. */
#include "core/protocol/responses.h"
#include "core/tools/tool.h"
#include "tests/unit/support/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define P protocol_responses

static const struct usage counted = {.tokens = 7, .prompt_tokens = 5, .cached_tokens = 3, .reasoning_tokens = -1};
static const struct usage not_counted = {.prompt_tokens = -1, .cached_tokens = -1, .reasoning_tokens = -1};

static struct output out;

/* What a client has of the answer. */
static struct client {
	char id[64], text[4096], reasoning[4096];
	char progress[4096]; /* of our own tools */
	json_t *items;       /* as they are when they are done, or as they were added */
	json_t *last;        /* the last event, which ends the stream */
	size_t comments, annotations, open;
	struct {
		bool open;
		char text[4096];
	} parts[16]; /* of each item */
	json_int_t sequence;
	json_t *end; /* its response, or its error */
	char how[60];
} client;

static struct chat_request request;

static struct reply *begin(const char *fields)
{
	struct reply *reply;
	json_t *problem;
	char body[12000];

	snprintf(body, sizeof body, "{\"model\":\"a/\\\"b\\\"\",\"input\":\"x\"%s}", fields);
	assert_int_equal(P.parse(body, strlen(body), &request, &problem), 0);
	out = (struct output){.status = 0};
	buf_init(&out.written, 1 << 22);
	buf_init(&out.text, 1 << 20);
	reply = P.open(&P, &out, &request);
	assert_non_null(reply);
	chat_request_clear(&request);
	return reply;
}

static void forget(void)
{
	json_decref(client.items);
	json_decref(client.end);
	memset(&client, 0, sizeof client);
	client.sequence = -1;
	client.items = json_array();
}

static void finish(struct reply *r)
{
	P.free(r);
	buf_free(&out.written);
	buf_free(&out.text);
	json_decref(client.items);
	json_decref(client.end);
	memset(&client, 0, sizeof client);
}

static void text(struct reply *r, const char *s)
{
	P.text(r, s, strlen(s));
}

static const char *str(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static void check_response(const json_t *response, const char *status)
{
	static const char *const required[] = {"id",
	                                       "object",
	                                       "created_at",
	                                       "model",
	                                       "status",
	                                       "output",
	                                       "error",
	                                       "incomplete_details",
	                                       "instructions",
	                                       "metadata",
	                                       "parallel_tool_calls",
	                                       "temperature",
	                                       "top_p",
	                                       "tool_choice",
	                                       "tools",
	                                       "usage",
	                                       "store"};

	for (size_t i = 0; i < sizeof required / sizeof required[0]; i++)
		assert_non_null(json_object_get(response, required[i]));
	assert_string_equal(str(response, "object"), "response");
	assert_string_equal(str(response, "model"), "a/\"b\"");
	assert_true(responses_is_id(str(response, "id")));
	assert_true(client.id[0] == '\0' || strcmp(client.id, str(response, "id")) == 0);
	snprintf(client.id, sizeof client.id, "%s", str(response, "id"));
	if (status != NULL)
		assert_string_equal(str(response, "status"), status);
}

/* An answer that is no stream. */
static void read_object(void)
{
	json_t *json = json_loads(out.written.data, 0, NULL);

	check_response(json, NULL);
	json_decref(json);
}

static const char *content_text(const json_t *item)
{
	const char *text = str(json_array_get(json_object_get(item, "content"), 0), "text");

	text = text != NULL ? text : str(item, "arguments");
	return text != NULL ? text : str(item, "code");
}

static void add(char to[4096], const char *more)
{
	assert_true(strlen(to) + strlen(more) < 4096);
	strcat(to, more);
}

static void read_event(const char *type, json_t *event)
{
	const json_t *index = json_object_get(event, "output_index"), *item = json_object_get(event, "item");
	json_int_t sequence = json_integer_value(json_object_get(event, "sequence_number"));
	const char *of = strchr(type, '.') != NULL ? strchr(type, '.') + 1 : type;
	size_t at = (size_t)json_integer_value(index);
	json_t *open = json_array_get(client.items, at);
	char *part = client.parts[at].text;

	assert_string_equal(str(event, "type"), type);
	assert_true(sequence > client.sequence);
	client.sequence = sequence;
	assert_null(client.end);
	if (str(event, "item_id") != NULL)
		assert_string_equal(str(event, "item_id"), str(open, "id"));
	if (index != NULL && strcmp(of, "output_item.added") != 0)
		assert_true(client.parts[at].open);
	if (strcmp(of, "created") == 0 || strcmp(of, "in_progress") == 0) {
		assert_int_equal(json_array_size(client.items), 0);
		check_response(json_object_get(event, "response"), "in_progress");
		assert_int_equal(json_array_size(json_object_get(json_object_get(event, "response"), "output")), 0);
	} else if (strcmp(of, "output_item.added") == 0) {
		assert_int_equal(at, json_array_size(client.items));
		assert_string_equal(str(item, "status"), "in_progress");
		json_array_append(client.items, (json_t *)(uintptr_t)item);
		client.parts[at].open = true;
		client.open++;
	} else if (strcmp(of, "output_item.done") == 0) {
		assert_string_equal(str(item, "id"), str(open, "id"));
		if (content_text(item) != NULL)
			assert_string_equal(content_text(item), part);
		json_array_set(client.items, at, (json_t *)(uintptr_t)item);
		client.parts[at].open = false;
		client.open--;
	} else if (strstr(of, "annotation.added") != NULL) {
		assert_int_equal(json_integer_value(json_object_get(event, "annotation_index")), client.annotations++);
	} else if (strstr(of, ".delta") != NULL) {
		add(part, str(event, "delta"));
		if (strstr(of, "output_text") != NULL)
			add(client.text, str(event, "delta"));
		if (strstr(of, "reasoning") != NULL)
			add(client.reasoning, str(event, "delta"));
	} else if (strcmp(of, "output_text.done") == 0 || strcmp(of, "reasoning_text.done") == 0) {
		assert_string_equal(str(event, "text"), part);
	} else if (strcmp(of, "function_call_arguments.done") == 0) {
		assert_string_equal(str(event, "arguments"), part);
		assert_string_equal(str(event, "name"), str(open, "name"));
	} else if (strcmp(of, "mcp_call_arguments.done") == 0 || strcmp(of, "code_interpreter_call_code.done") == 0) {
		assert_string_equal(str(event, of[0] == 'm' ? "arguments" : "code"), part);
	} else if (strstr(of, "_call.") != NULL) { /* how it goes: an item of this type */
		assert_memory_equal(of, str(open, "type"), strcspn(of, "."));
		add(client.progress, of);
		add(client.progress, " ");
	} else if (strncmp(of, "content_part.", 13) == 0) {
		assert_non_null(json_object_get(event, "part"));
	} else {
		snprintf(client.how, sizeof client.how, "%s", of);
		client.end = json_incref(strcmp(of, "error") == 0 ? event : json_object_get(event, "response"));
	}
}

static void read_stream(void)
{
	const char *at = out.written.len > 0 ? out.written.data : "", *end, *data;
	char type[60];

	forget();
	for (; *at != '\0'; at = end + 2) {
		json_t *json;

		if (*at == '\n') { /* the end of an event that broke off */
			end = at - 1;
			continue;
		}
		end = strstr(at, "\n\n");
		assert_non_null(end);
		if (*at == ':') {
			client.comments++;
			continue;
		}
		assert_int_equal(sscanf(at, "event: %59s", type), 1);
		data = strchr(at, '\n') + 1;
		assert_memory_equal(data, "data: ", 6);
		assert_true(memchr(data, '\n', (size_t)(end - data)) == NULL);
		json = json_loadb(data + 6, (size_t)(end - data - 6), 0, NULL);
		assert_non_null(json);
		read_event(type, json);
		json_decref(json);
	}
}

static void assert_end(const char *want, const char *how, const char *status)
{
	read_stream();
	assert_int_equal(out.status, 200);
	assert_string_equal(client.how, how);
	check_response(client.end, status);
	assert_int_equal(client.open, 0);
	assert_true(json_equal(json_object_get(client.end, "output"), client.items));
	assert_string_equal(client.text, want);
	assert_int_equal(out.text.len, strlen(want));
	if (*want != '\0')
		assert_memory_equal(out.text.data, want, strlen(want));
}

#define assert_whole(want) assert_end(want, "completed", "completed")

/* ---- text ---- */

static void any_pieces_are_one_text(void **state)
{
	static const char all[] =
		"\"q\" \\ \n\r\t\b\f\x01\x1f\x7f </script> \xc3\xa9 \xe2\x80\xa8 \xf0\x9f\x98\x80 event: x\ndata: y\n\n";
	size_t len = sizeof all - 1;

	(void)state;
	for (size_t step = 1; step <= len; step++) {
		for (unsigned reads = 1; reads < 4; reads++) {
			struct reply *r = begin(",\"stream\":true");

			for (size_t at = 0, n = 0; at < len;) {
				size_t end = at + step < len ? at + step : len;

				while (end < len && ((unsigned char)all[end] & 0xC0) == 0x80)
					end++;
				P.text(r, all + at, end - at);
				at = end;
				if (++n % reads == 0)
					P.flush(r);
			}
			P.close(r);
			P.end(r, &counted);
			assert_whole(all);
			assert_int_equal(json_integer_value(
						 json_object_get(json_object_get(client.end, "usage"), "total_tokens")),
			                 12);
			finish(r);
		}
	}
}

static void an_object_has_it_all(void **state)
{
	struct reply *r = begin(",\"instructions\":\"be\",\"metadata\":{\"a\":\"b\"},\"temperature\":0.5");
	json_t *json, *output;

	(void)state;
	forget();
	P.reasoning(r, "why", 3);
	text(r, "a\"b");
	P.flush(r);
	text(r, "c");
	assert_int_equal(out.status, 0); /* it may still be an error */
	P.heartbeat(r);
	assert_int_equal(out.written.len, 0);
	P.end(r, &counted);
	assert_int_equal(out.status, 200);
	json = json_loads(out.written.data, 0, NULL);
	check_response(json, "completed");
	output = json_object_get(json, "output");
	assert_int_equal(json_array_size(output), 2);
	assert_string_equal(content_text(json_array_get(output, 0)), "why");
	assert_string_equal(str(json_array_get(output, 0), "type"), "reasoning");
	assert_string_equal(content_text(json_array_get(output, 1)), "a\"bc");
	assert_string_equal(str(json, "instructions"), "be");
	assert_string_equal(str(json_object_get(json, "metadata"), "a"), "b");
	json_decref(json);
	finish(r);
}

static void reasoning_and_text_are_items(void **state)
{
	struct reply *r = begin(",\"stream\":true");

	(void)state;
	P.reasoning(r, "one ", 4);
	P.reasoning(r, "two", 3);
	text(r, "an");
	P.flush(r);
	text(r, "swer");
	P.reasoning(r, "more", 4);
	text(r, "!");
	P.end(r, &not_counted);
	assert_whole("answer!");
	assert_string_equal(client.reasoning, "one twomore");
	assert_int_equal(json_array_size(client.items), 4);
	assert_true(json_is_null(json_object_get(client.end, "usage"))); /* nobody counted */
	finish(r);
}

static void an_empty_answer_is_whole(void **state)
{
	struct reply *r = begin(",\"stream\":true");

	(void)state;
	P.end(r, &counted);
	assert_whole("");
	finish(r);
}

/* What is repeated of the request is longer than a record: the events are in several then. */
static void a_long_request_is_repeated(void **state)
{
	char fields[10100] = ",\"stream\":true,\"instructions\":\"";
	size_t len = strlen(fields);
	struct reply *r;

	(void)state;
	memset(fields + len, 'i', 10000);
	strcpy(fields + len + 10000, "\"");
	r = begin(fields);
	for (int i = 0; i < 3000; i++)
		P.reasoning(r, "a", 1);
	P.flush(r);
	text(r, "yes");
	P.flush(r);
	assert_true(P.can_resume(out.state));
	P.end(r, &counted);
	assert_whole("yes");
	finish(r);
}

/* ---- calls, sources ---- */

static void calls_come_whole(void **state)
{
	char arguments[] = "{\"a\":\"\\n\xc3\xa9\"}", cut[] = "{\"a";
	json_t *extra = json_pack("{s:{s:s}, s:{s:i}}", "extra_content", "a", "b", "function", "x", 1);
	const struct call one = {.id = (char[]){"c1"},
	                         .name = (char[]){"f"},
	                         .arguments = arguments,
	                         .len = strlen(arguments),
	                         .extra = extra};
	const struct call two = {
		.id = (char[]){"c2"}, .name = (char[]){"g"}, .arguments = cut, .len = strlen(cut), .cut = true};
	const struct call *const calls[] = {&one, &two};
	const struct usage limited = {.prompt_tokens = -1, .limited = true};
	const json_t *call;
	struct reply *r;

	(void)state;
	for (int i = 0; i < 2; i++) {
		r = begin(",\"stream\":true");
		if (i == 1)
			text(r, "let me look");
		P.calls(r, calls, 2);
		assert_false(P.can_resume(out.state));
		P.end(r, i == 0 ? &counted : &limited);
		assert_end(i == 0 ? "" : "let me look", i == 0 ? "completed" : "incomplete",
		           i == 0 ? "completed" : "incomplete");
		assert_int_equal(json_array_size(client.items), 2 + i);
		call = json_array_get(client.items, (size_t)i);
		assert_string_equal(str(json_object_get(call, "extra_content"), "a"), "b");
		call = json_array_get(client.items, (size_t)i + 1);
		assert_string_equal(str(call, "type"), "function_call");
		assert_string_equal(str(call, "call_id"), "c2");
		assert_string_equal(str(call, "arguments"), cut);
		assert_string_equal(str(call, "status"), "incomplete");
		finish(r);
	}
	json_decref(extra);
}

static void sources_are_annotations(void **state)
{
	struct reply *r = begin(",\"stream\":true");
	json_t *part;

	(void)state;
	assert_true(P.source(r, "One", "https://a.org/"));
	assert_true(P.source(r, "", "http://b.org/"));
	assert_false(P.source(r, "No", "javascript:alert(1)"));
	assert_false(P.source(r, "No", NULL));
	P.tool(r, "docs__find: half of them", NULL);
	text(r, "yes");
	P.end(r, &counted);
	assert_whole("yes");
	assert_string_equal(client.reasoning, "docs__find: half of them\n");
	assert_int_equal(client.annotations, 2);
	part = json_array_get(json_object_get(json_array_get(client.items, 1), "content"), 0);
	assert_int_equal(json_array_size(json_object_get(part, "annotations")), 2);
	finish(r);
}

/* ---- tools of this service ---- */

static const struct tool found_by_mcp = {.name = "docs__find", .server = "docs", .server_tool = "find"};

/* Runs of each kind that begin in this order, and end in another one; the last does not end, if it is not to. */
static const struct tool *const tools[] = {&tool_web_search, &tool_document_search, &tool_code_interpreter,
                                           &found_by_mcp, &found_by_mcp};
#define RUNS (sizeof tools / sizeof tools[0])

static void run_tools(struct reply *r, bool all)
{
	static const unsigned ends[RUNS] = {3, 0, 2, 1, 4};
	static char url[] = "https://a.org/", bad_url[] = "javascript:x", out_text[] = "4\xff\n",
		    failure[] = "no such file";
	static struct tool_source sources[] = {{NULL, url}, {NULL, bad_url}};
	json_t *args = json_pack("{s:s, s:s}", "query", "what?", "code", "print(2 + 2)");

	for (unsigned i = 0; i < RUNS; i++) {
		char id[20];
		const struct tool_run_info info = {.number = 7 + i, .id = id, .tool = tools[i], .args = args};

		snprintf(id, sizeof id, "call_%u", i);
		P.run_begun(r, &info);
		if (i == 2)
			P.tool(r, "docs__find: half of them", NULL);
	}
	for (unsigned i = 0; i < (all ? RUNS : RUNS - 1); i++) {
		char id[20];
		const struct tool_run_info info = {
			.number = 7 + ends[i], .id = id, .tool = tools[ends[i]], .args = args};
		const struct tool_result result = {.text = ends[i] == 4 ? failure : out_text,
		                                   .sources = sources,
		                                   .source_count = ends[i] == 0 ? 2 : 0,
		                                   .failed = ends[i] == 4};

		snprintf(id, sizeof id, "call_%u", ends[i]);
		P.run_ended(r, &info, &result);
	}
	json_decref(args);
}

/* What each run is in the end. */
static void check_runs(const json_t *items, bool all)
{
	static const char *const types[] = {"message",   "web_search_call", "file_search_call", "code_interpreter_call",
	                                    "reasoning", "mcp_call",        "mcp_call",         "message"};
	const json_t *item[8], *action;

	assert_int_equal(json_array_size(items), 8);
	for (size_t i = 0; i < 8; i++) {
		item[i] = json_array_get(items, i);
		assert_string_equal(str(item[i], "type"), types[i]);
		assert_string_equal(str(item[i], "status"), i != 6 ? "completed" : all ? "failed" : "incomplete");
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(str(item[i], "id"), str(item[k], "id"));
	}
	action = json_object_get(item[1], "action");
	assert_string_equal(str(action, "type"), "search");
	assert_string_equal(str(action, "query"), "what?");
	assert_int_equal(json_array_size(json_object_get(action, "sources")), 1);
	assert_string_equal(json_string_value(json_array_get(json_object_get(item[2], "queries"), 0)), "what?");
	assert_string_equal(str(item[3], "code"), "print(2 + 2)");
	assert_string_equal(str(json_array_get(json_object_get(item[3], "outputs"), 0), "logs"), "4?\n");
	assert_string_equal(str(item[5], "server_label"), "docs");
	assert_string_equal(str(item[5], "name"), "find");
	assert_string_equal(str(item[5], "output"), "4?\n");
	assert_true(json_is_null(json_object_get(item[5], "error")));
	assert_true(json_is_null(json_object_get(item[6], "output")));
	if (all)
		assert_string_equal(
			str(json_array_get(json_object_get(json_object_get(item[6], "error"), "content"), 0), "text"),
			"no such file");
}

static void runs_of_tools_are_items(void **state)
{
	(void)state;
	for (int all = 0; all < 2; all++) {
		struct reply *r = begin(",\"stream\":true");
		json_t *json;

		text(r, "Let me see. ");
		run_tools(r, all);
		assert_false(P.can_resume(out.state));
		text(r, "yes");
		P.end(r, &counted);
		assert_whole("Let me see. yes");
		check_runs(client.items, all);
		assert_string_equal(client.progress,
		                    all ? "web_search_call.in_progress web_search_call.searching "
		                          "file_search_call.in_progress file_search_call.searching "
		                          "code_interpreter_call.in_progress code_interpreter_call.interpreting "
		                          "mcp_call.in_progress mcp_call.in_progress mcp_call.completed "
		                          "web_search_call.completed code_interpreter_call.completed "
		                          "file_search_call.completed mcp_call.failed "
		                        : "web_search_call.in_progress web_search_call.searching "
		                          "file_search_call.in_progress file_search_call.searching "
		                          "code_interpreter_call.in_progress code_interpreter_call.interpreting "
		                          "mcp_call.in_progress mcp_call.in_progress mcp_call.completed "
		                          "web_search_call.completed code_interpreter_call.completed "
		                          "file_search_call.completed ");
		finish(r);
		r = begin("");
		text(r, "Let me see. ");
		run_tools(r, all);
		text(r, "yes");
		P.end(r, &counted);
		json = json_loads(out.written.data, 0, NULL);
		check_runs(json_object_get(json, "output"), all);
		json_decref(json);
		finish(r);
	}
}

/* ---- ends ---- */

static void a_failure_before_the_first_word_has_its_status(void **state)
{
	static const char *const fields[] = {"", ",\"stream\":true"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		for (enum failure why = 0; why < FAILURES; why++) {
			struct reply *r = begin(fields[i]);
			json_t *root, *json;

			if (why == FAILURE_FILTERED) {
				finish(r);
				continue;
			}
			(P.fail)(r, why, "It \"failed\".");
			P.end(r, &not_counted);
			assert_true(openai_failure(why)->status >= 400);
			assert_int_equal(out.status, openai_failure(why)->status);
			root = json_loads(out.written.data, 0, NULL);
			json = json_object_get(root, "error");
			assert_int_equal(json_object_size(json), 4);
			assert_string_equal(str(json, "message"), "It \"failed\".");
			assert_true(str(json, "param") == NULL || strcmp(str(json, "param"), "messages") != 0);
			json_decref(root);
			finish(r);
		}
	}
}

static void a_failure_after_it_ends_as_failed(void **state)
{
	(void)state;
	for (int what = 0; what < 3; what++) {
		struct reply *r = begin(",\"stream\":true");

		if (what == 0)
			text(r, "half");
		else if (what == 1)
			P.heartbeat(r);
		else
			P.reasoning(r, "hm", 2);
		if (what != 1)
			P.flush(r);
		(P.fail)(r, FAILURE_UPSTREAM, "It broke off.");
		P.end(r, &counted);
		assert_end(what == 0 ? "half" : "", "failed", "failed");
		assert_string_equal(str(json_object_get(client.end, "error"), "message"), "It broke off.");
		assert_string_equal(str(json_object_get(client.end, "error"), "code"), "upstream_error");
		finish(r);
	}
}

static void a_limit_and_a_filter_are_ends(void **state)
{
	const struct usage limited = {.prompt_tokens = -1, .limited = true};
	struct reply *r;

	(void)state;
	for (int filtered = 0; filtered < 2; filtered++) {
		r = begin(",\"stream\":true");
		text(r, "half");
		if (filtered)
			(P.fail)(r, FAILURE_FILTERED, "It was stopped.");
		P.end(r, filtered ? &counted : &limited);
		assert_end("half", "incomplete", "incomplete");
		assert_string_equal(str(json_object_get(client.end, "incomplete_details"), "reason"),
		                    filtered ? "content_filter" : "max_output_tokens");
		assert_string_equal(str(json_array_get(client.items, 0), "status"), "incomplete");
		finish(r);
	}
}

static void more_than_there_is_room_for_fails(void **state)
{
	static char long_text[(1 << 20) + 1];

	(void)state;
	memset(long_text, '\x01', sizeof long_text - 1);
	for (int streams = 0; streams < 2; streams++) {
		struct reply *r = begin(streams ? ",\"stream\":true" : "");

		buf_free(&out.written);
		buf_init(&out.written, 1 << 26);
		for (int i = 0; i < 3; i++) {
			text(r, long_text);
			P.flush(r);
		}
		P.end(r, &counted);
		assert_int_equal(out.status, streams ? 200 : 503);
		if (streams)
			assert_non_null(strstr(out.written.data, "event: response.failed\n"));
		assert_null(strstr(out.written.data, "event: response.completed\n"));
		finish(r);
	}
}

/* ---- a program that dies ---- */

static void another_program_goes_on(void **state)
{
	(void)state;
	for (int sent = 0; sent < 5; sent++) {
		struct resumed_reply from = {.text = "ab\"c", .len = sent > 2 ? 4 : 0};
		struct reply *r = begin(",\"stream\":true");
		struct buf first;
		char memo[OUTPUT_MEMO_MAX];

		if (sent == 1)
			P.heartbeat(r);
		if (sent == 2 || sent == 4)
			P.reasoning(r, "hm", 2);
		P.flush(r);
		if (sent > 2)
			text(r, "ab\"c");
		P.flush(r);
		assert_true(P.can_resume(out.state));
		from.state = out.state;
		memcpy(memo, out.memo, sizeof memo);
		from.memo = memo;
		first = out.written;
		P.free(r);
		buf_free(&out.text);
		r = begin(",\"stream\":true");
		P.resume(r, &from);
		if (sent == 2) {
			P.restart(r);
			P.reasoning(r, "again", 5);
		}
		text(r, "def");
		P.end(r, &counted);
		assert_int_equal(buf_add(&first, out.written.data, out.written.len), 0);
		buf_free(&out.written);
		out.written = first;
		read_stream(); /* the same ids, and growing numbers, throughout */
		assert_string_equal(client.how, "completed");
		check_response(client.end, "completed");
		assert_int_equal(client.open, 0);
		assert_int_equal(json_array_size(json_object_get(client.end, "output")), json_array_size(client.items));
		assert_string_equal(client.text, sent > 2 ? "ab\"cdef" : "def");
		assert_string_equal(content_text(json_array_get(json_object_get(client.end, "output"),
		                                                json_array_size(client.items) - 1)),
		                    client.text);
		finish(r);
	}
}

static void nobody_goes_on(void **state)
{
	struct broken_reply b = {.state = 0};
	struct reply *r = begin(",\"stream\":true");
	char piece[1024];
	bool last = false;
	size_t len;

	(void)state;
	text(r, "half");
	P.flush(r);
	b.state = out.state;
	out.written.len -= 20; /* within an event */
	while (!last) {
		len = P.broken(&b, piece, sizeof piece, &last);
		assert_int_equal(buf_add(&out.written, piece, len), 0);
	}
	assert_memory_equal(piece, "\n\nevent: error\ndata: {\"type\":\"error\",", 37);
	assert_null(strstr(out.written.data, "completed"));
	finish(r);
	r = begin(",\"stream\":true");
	text(r, "all");
	P.end(r, &counted);
	b.state = out.state;
	assert_false(P.can_resume(b.state));
	assert_int_equal(P.broken(&b, piece, sizeof piece, &last), 0);
	finish(r);
}

/* ---- what is stored ---- */

static void a_stored_answer_is_as_it_was(void **state)
{
	struct reply *r = begin(",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}]");
	const char *thread = NULL;
	json_t *record, *turn, *stored, *was;

	(void)state;
	forget();
	P.source(r, "One", "https://a.org/");
	text(r, "all");
	record = P.record(r, &counted, false, &thread);
	assert_non_null(record);
	assert_memory_equal(thread, str(record, "id"), strlen(thread));
	P.end(r, &counted);
	json_object_set_new(record, "inputs", json_integer(1));
	turn = json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "x", "role", "assistant", "content",
	                 "all");
	stored = responses_stored(record, turn);
	was = json_loads(out.written.data, 0, NULL);
	check_response(was, "completed");
	assert_true(json_equal(stored, was));
	json_decref(was);
	json_decref(stored);
	json_decref(turn);
	json_decref(record);
	finish(r);
	r = begin(",\"store\":false");
	assert_null(P.record(r, &counted, false, &thread));
	finish(r);
}

/* But for the reasoning, which is not stored. */
static void runs_of_tools_are_stored(void **state)
{
	struct reply *r = begin("");
	json_t *record, *turn, *stored, *was, *calls = json_array();
	const char *thread = NULL;

	(void)state;
	forget();
	text(r, "Let me see. ");
	run_tools(r, true);
	text(r, "yes");
	record = P.record(r, &counted, false, &thread);
	P.end(r, &counted);
	json_object_set_new(record, "inputs", json_integer(1));
	json_array_append_new(calls, json_pack("{s:s}", "id", "call_refused"));
	for (unsigned i = 0; i < RUNS; i++)
		json_array_append_new(calls, json_pack("{s:o}", "id", json_sprintf("call_%u", i)));
	turn = json_pack("[{s:s, s:s}, {s:s, s:s, s:o}]", "role", "user", "content", "x", "role", "assistant",
	                 "content", "Let me see. ", "tool_calls", calls);
	for (unsigned i = 0; i < RUNS; i++)
		json_array_append_new(turn, json_pack("{s:s, s:o, s:s}", "role", "tool", "tool_call_id",
		                                      json_sprintf("call_%u", i), "content", "4?\n"));
	json_array_append_new(turn, json_pack("{s:s, s:s}", "role", "assistant", "content", "yes"));
	stored = responses_stored(record, turn);
	was = json_loads(out.written.data, 0, NULL);
	json_array_remove(json_object_get(was, "output"), 4);
	assert_true(json_equal(stored, was));
	json_decref(was);
	json_decref(stored);
	json_decref(turn);
	json_decref(record);
	finish(r);
}

static void an_answer_is_in_the_thread_of_the_one_before(void **state)
{
	char id[64], field[120], first[RESPONSES_THREAD_MAX], second[RESPONSES_THREAD_MAX];
	struct reply *r = begin("");

	(void)state;
	forget();
	P.end(r, &counted);
	read_object();
	snprintf(id, sizeof id, "%s", client.id);
	finish(r);
	snprintf(field, sizeof field, ",\"previous_response_id\":\"%s\"", id);
	r = begin(field);
	forget();
	P.end(r, &counted);
	read_object();
	assert_string_not_equal(client.id, id);
	responses_thread(id, first);
	responses_thread(client.id, second);
	assert_string_equal(first, second);
	finish(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_pieces_are_one_text),
		cmocka_unit_test(an_object_has_it_all),
		cmocka_unit_test(reasoning_and_text_are_items),
		cmocka_unit_test(an_empty_answer_is_whole),
		cmocka_unit_test(a_long_request_is_repeated),
		cmocka_unit_test(calls_come_whole),
		cmocka_unit_test(sources_are_annotations),
		cmocka_unit_test(runs_of_tools_are_items),
		cmocka_unit_test(a_failure_before_the_first_word_has_its_status),
		cmocka_unit_test(a_failure_after_it_ends_as_failed),
		cmocka_unit_test(a_limit_and_a_filter_are_ends),
		cmocka_unit_test(more_than_there_is_room_for_fails),
		cmocka_unit_test(another_program_goes_on),
		cmocka_unit_test(nobody_goes_on),
		cmocka_unit_test(a_stored_answer_is_as_it_was),
		cmocka_unit_test(runs_of_tools_are_stored),
		cmocka_unit_test(an_answer_is_in_the_thread_of_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
