/* SPDX-License-Identifier: Apache-2.0 */
/* What the LLM is sent of a request of the Responses API, what is stored of it, and what is refused. */
#include "core/protocol/responses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct chat_request request;

/* ' stands for " in what follows. */
static char *quoted(const char *text)
{
	char *copy = strdup(text);

	for (char *p = copy; *p != '\0'; p++)
		*p = *p == '\'' ? '"' : *p;
	return copy;
}

static int parse(const char *fields, json_t **problem)
{
	char *quoted_fields = quoted(fields), *body;
	int result;

	assert_true(asprintf(&body, "{\"model\":\"m\",%s}", quoted_fields) >= 0);
	result = responses_parse(body, strlen(body), &request, problem);
	free(body);
	free(quoted_fields);
	return result;
}

static void accept(const char *fields)
{
	json_t *problem;

	assert_int_equal(parse(fields, &problem), 0);
	assert_null(problem);
}

static void assert_json(const json_t *have, const char *want)
{
	char *text = json_dumps(have, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY), *quoted_want = quoted(want),
	     *sorted;
	json_t *json = json_loads(quoted_want, JSON_DECODE_ANY, NULL);

	assert_non_null(json);
	sorted = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	assert_string_equal(text, sorted);
	json_decref(json);
	free(sorted);
	free(quoted_want);
	free(text);
}

/* What the LLM gets for this input. */
static void check(const char *input, const char *messages)
{
	accept(input);
	assert_json(request.messages, messages);
	chat_request_clear(&request);
}

static void refuse(const char *fields, const char *param)
{
	json_t *problem;
	const json_t *error;

	assert_int_equal(parse(fields, &problem), 400);
	error = json_object_get(problem, "error");
	assert_int_equal(json_object_size(error), 4);
	assert_string_equal(json_string_value(json_object_get(error, "param")), param);
	assert_null(request.messages);
	json_decref(problem);
}

#define SYSTEM(text)     "{'role':'system','content':'" text "'}"
#define USER(text)       "{'role':'user','content':'" text "'}"
#define ASSISTANT(text)  "{'role':'assistant','content':'" text "'}"
#define CALL(id, name)   "{'id':'" id "','type':'function','function':{'name':'" name "','arguments':'{}'}}"
#define RESULT(id, text) "{'role':'tool','tool_call_id':'" id "','content':'" text "'}"
#define CALLED(id, name)                                                                                               \
	"{'type':'function_call','call_id':'" id "','name':'" name                                                     \
	"','arguments':'{}','id':'fc_1','status':'completed'}"

/* ---- input ---- */

static void texts_are_messages(void **state)
{
	(void)state;
	check("'input':'hello'", "[" USER("hello") "]");
	check("'input':'hello','instructions':'be brief'", "[" SYSTEM("be brief") "," USER("hello") "]");
	check("'input':'','instructions':null", "[" USER("") "]");
	check("'input':[{'role':'user','content':'a'},{'type':'message','role':'assistant','content':[{'type':'output_text',"
	      "'text':'b','annotations':[],'logprobs':[]}],'id':'msg_1','status':'completed'},"
	      "{'type':'message','role':'user','content':[{'type':'input_text','text':'c'},{'type':'input_text','text':'e'}]}]",
	      "[" USER("a") "," ASSISTANT("b") "," USER("c\\ne") "]");
	check("'input':[{'role':'assistant','content':[{'type':'refusal','refusal':'no'}]},{'role':'assistant','content':'b'}]",
	      "[" ASSISTANT("no\\n\\nb") "]");
}

/* Chat templates take one message for the system, at the beginning. */
static void what_developers_say_comes_first(void **state)
{
	(void)state;
	check("'instructions':'one','input':[{'role':'developer','content':'two'},{'role':'user','content':'a'},"
	      "{'role':'system','content':[{'type':'input_text','text':'three'}]},{'role':'user','content':'b'}]",
	      "[" SYSTEM("one\\n\\ntwo\\n\\nthree") "," USER("a") "," USER("b") "]");
	accept("'instructions':'one','input':[{'role':'developer','content':'two'},{'role':'user','content':'a'}]");
	assert_json(request.stored, "[" SYSTEM("two") "," USER("a") "]");
	chat_request_clear(&request);
}

static void images_and_files_are_parts(void **state)
{
	(void)state;
	accept("'input':[{'role':'user','content':[{'type':'input_text','text':'a'},{'type':'input_image','image_url':'data:x',"
	       "'detail':'low'},{'type':'input_file','filename':'f','file_data':'data:y'},{'type':'input_audio','input_audio':{}}]}]");
	assert_true(request.has_images);
	assert_json(
		request.messages,
		"[{'role':'user','content':[{'type':'text','text':'a'},{'type':'image_url','image_url':{'url':'data:x',"
		"'detail':'low'}},{'type':'file','file':{'filename':'f','file_data':'data:y'}},{'type':'input_audio',"
		"'input_audio':{}}]}]");
	chat_request_clear(&request);
}

static void calls_and_results(void **state)
{
	(void)state;
	check("'input':[{'role':'user','content':'q'}," CALLED("a", "f") "," CALLED("b", "g") ",{'type':'function_call_output',"
	      "'call_id':'a','output':'1'},{'type':'function_call_output','call_id':'b','output':[{'type':'input_text','text':'2'}]}]",
	      "[" USER("q") ",{'role':'assistant','content':null,'tool_calls':[" CALL("a", "f") "," CALL("b", "g") "]}," RESULT(
		      "a", "1") "," RESULT("b", "2") "]");
	/* What an assistant says and calls is one message, in whatever order it comes. */
	check("'input':[{'role':'user','content':'q'},{'role':'assistant','content':'wait'}," CALLED("a", "f") "]",
	      "[" USER("q") ",{'role':'assistant','content':'wait','tool_calls':[" CALL("a", "f") "]}]");
	check("'input':[{'role':'user','content':'q'}," CALLED("a", "f") ",{'role':'assistant','content':'wait'}]",
	      "[" USER("q") ",{'role':'assistant','content':'wait','tool_calls':[" CALL("a", "f") "]}]");
	/* Tools whose input is no JSON. */
	check("'input':[{'type':'custom_tool_call','call_id':'a','name':'f','input':'x\\ny'},"
	      "{'type':'custom_tool_call_output','call_id':'a','output':'z'}]",
	      "[{'role':'assistant','content':null,'tool_calls':[{'id':'a','type':'function','function':{'name':'f',"
	      "'arguments':'{\\'input\\':\\'x\\\\ny\\'}'}}]}," RESULT("a", "z") "]");
	check("'input':[{'type':'function_call','call_id':'a','name':'f','arguments':'','extra_content':{'s':1}}]",
	      "[{'role':'assistant','content':null,'tool_calls':[{'id':'a','type':'function','function':{'name':'f',"
	      "'arguments':'{}'},'extra_content':{'s':1}}]}]");
}

static void reasoning_goes_with_the_calls_after_it(void **state)
{
	(void)state;
	check("'input':[{'role':'user','content':'q'},{'type':'reasoning','id':'rs_1','summary':[],'content':[{'type':"
	      "'reasoning_text','text':'hm'}]}," CALLED("a", "f") ",{'type':'function_call_output','call_id':'a','output':'1'},"
	      "{'type':'reasoning','id':'rs_2','summary':[],'encrypted_content':'zzz'},{'role':'assistant','content':'so'},"
	      "{'type':'web_search_call','id':'ws_1','status':'completed'},{'role':'user','content':'p'}]",
	      "[" USER("q") ",{'role':'assistant','content':null,'reasoning_content':'hm','tool_calls':[" CALL("a", "f") "]}," RESULT(
		      "a", "1") "," ASSISTANT("so") "," USER("p") "]");
}

/* ---- fields ---- */

static void fields_have_other_names(void **state)
{
	(void)state;
	accept("'input':'x','max_output_tokens':9,'temperature':0.5,'top_p':null,'reasoning':{'effort':'low','summary':'auto'},"
	       "'text':{'format':{'type':'json_schema','name':'n','schema':{'type':'object'},'strict':true},'verbosity':'low'},"
	       "'metadata':{'a':'b'},'store':false,'stream':true,'include':['reasoning.encrypted_content'],'user':'u',"
	       "'prompt_cache_key':'k','client_metadata':{},'truncation':'auto','top_k':3,'top_logprobs':0,'parallel_tool_calls':true");
	assert_json(
		request.fields,
		"{'max_tokens':9,'temperature':0.5,'reasoning_effort':'low','verbosity':'low','response_format':{'type':"
		"'json_schema','json_schema':{'name':'n','schema':{'type':'object'},'strict':true}},'user':'u','top_k':3}");
	assert_true(request.streams && request.forgets);
	assert_string_equal(request.thread_id, "");
	assert_json(json_object_get(request.echo, "metadata"), "{'a':'b'}");
	assert_json(json_object_get(request.echo, "top_p"), "null");
	assert_json(json_object_get(request.echo, "store"), "false");
	chat_request_clear(&request);
	accept("'input':'x','text':{'format':{'type':'json_object'}}");
	assert_json(request.fields, "{'response_format':{'type':'json_object'}}");
	chat_request_clear(&request);
	accept("'input':'x','text':{'format':{'type':'text'}},'reasoning':null,'tools':[],'tool_choice':'auto'");
	assert_json(request.fields, "{}");
	chat_request_clear(&request);
}

#define FUNCTION(name) "{'type':'function','name':'" name "','description':'d','parameters':{},'strict':null}"
#define TOOL(name)     "{'type':'function','function':{'name':'" name "','description':'d','parameters':{}}}"

static void functions_are_tools(void **state)
{
	(void)state;
	accept("'input':'x','tools':[" FUNCTION("f") ",{'type':'web_search'},{'type':'namespace','name':'n','tools':[]}," FUNCTION(
		"g") "],'tool_choice':{'type':'function','name':'g'},'parallel_tool_calls':false");
	assert_json(request.fields, "{'tools':[" TOOL("f") "," TOOL("g") "],'tool_choice':{'type':'function','function':{'name':"
	                                                                 "'g'}},'parallel_tool_calls':false}");
	/* The answer says which are in effect. */
	assert_json(json_object_get(request.echo, "tools"), "[" FUNCTION("f") "," FUNCTION("g") "]");
	chat_request_clear(&request);
	accept("'input':'x','tools':[" FUNCTION("f") "," FUNCTION(
		"g") "],'tool_choice':{'type':'allowed_tools','mode':'required','tools':[{'type':'function','name':'f'}]}");
	assert_json(request.fields, "{'tools':[" TOOL("f") "],'tool_choice':'required'}");
	chat_request_clear(&request);
	accept("'input':'x','tools':[{'type':'web_search'}],'tool_choice':'required','parallel_tool_calls':true");
	assert_json(request.fields, "{}");
	chat_request_clear(&request);
}

/* ---- what came before ---- */

#define ID "resp_0123456789abcdef0123456789abcdef0123"

static void what_came_before_has_an_id(void **state)
{
	(void)state;
	accept("'input':'x','previous_response_id':'" ID "'");
	assert_string_equal(request.previous, ID);
	assert_string_equal(request.thread_id, "resp_0123456789abcdef0123");
	assert_false(request.forgets);
	chat_request_clear(&request);
	accept("'input':'x','conversation':'conv_1'");
	assert_string_equal(request.thread_id, "conv_1");
	assert_null(request.previous);
	chat_request_clear(&request);
	accept("'input':'x','conversation':{'id':'conv_2'},'previous_response_id':null,'store':null");
	assert_string_equal(request.thread_id, "conv_2");
	assert_json(json_object_get(request.echo, "conversation"), "{'id':'conv_2'}");
	chat_request_clear(&request);
	assert_true(responses_is_id(ID));
	assert_false(responses_is_id("resp_0123456789abcdef0123456789abcdef012"));
	assert_false(responses_is_id("resp_0123456789abcdef0123456789abcdef012G"));
	assert_false(responses_is_id("resp"));
}

/* ---- what is wrong ---- */

static void what_is_wrong_is_refused(void **state)
{
	static const struct {
		const char *fields, *param;
	} wrong[] = {
		{"'x':1", "input"},
		{"'input':null", "input"},
		{"'input':5", "input"},
		{"'input':[]", "input"},
		{"'input':[5]", "input"},
		{"'input':[{}]", "input"},
		{"'input':[{'type':'nix'}]", "input"},
		{"'input':[{'type':'item_reference','id':'msg_1'}]", "input"},
		{"'input':[{'role':'nobody','content':'x'}]", "input"},
		{"'input':[{'role':'user'}]", "input"},
		{"'input':[{'role':'user','content':[5]}]", "input"},
		{"'input':[{'role':'user','content':[{'type':'input_text'}]}]", "input"},
		{"'input':[{'role':'user','content':[{'type':'input_image','file_id':'f'}]}]", "input"},
		{"'input':[{'role':'user','content':[{'type':'input_file','file_url':'f'}]}]", "input"},
		{"'input':[{'role':'system','content':[{'type':'input_image','image_url':'f'}]}]", "input"},
		{"'input':[{'type':'function_call','name':'f','arguments':'{}'}]", "input"},
		{"'input':[{'type':'function_call','call_id':'a','arguments':'{}'}]", "input"},
		{"'input':[{'type':'function_call','call_id':'a','name':'f','arguments':{}}]", "input"},
		{"'input':[{'type':'function_call_output','output':'x'}]", "input"},
		{"'input':[{'type':'function_call_output','call_id':'a'}]", "input"},
		{"'input':'x','instructions':5", "instructions"},
		{"'input':'x','stream':'yes'", "stream"},
		{"'input':'x','store':1", "store"},
		{"'input':'x','background':true", "background"},
		{"'input':'x','prompt':{'id':'p'}", "prompt"},
		{"'input':'x','top_logprobs':2", "top_logprobs"},
		{"'input':'x','include':['message.output_text.logprobs']", "include"},
		{"'input':'x','metadata':'m'", "metadata"},
		{"'input':'x','max_output_tokens':0", "max_output_tokens"},
		{"'input':'x','max_output_tokens':'1'", "max_output_tokens"},
		{"'input':'x','reasoning':'low'", "reasoning"},
		{"'input':'x','text':'json'", "text"},
		{"'input':'x','text':{'format':'json'}", "text"},
		{"'input':'x','tools':{}", "tools"},
		{"'input':'x','tools':[5]", "tools"},
		{"'input':'x','tools':[{'type':'function'}]", "tools"},
		{"'input':'x','tools':[{'type':'mcp','server_label':'l'}]", "tools"},
		{"'input':'x','tool_choice':5", "tool_choice"},
		{"'input':'x','tool_choice':{'type':'function'}", "tool_choice"},
		{"'input':'x','parallel_tool_calls':'no'", "parallel_tool_calls"},
		{"'input':'x','previous_response_id':5", "previous_response_id"},
		{"'input':'x','previous_response_id':''", "previous_response_id"},
		{"'input':'x','previous_response_id':'a','conversation':'b'", "previous_response_id"},
		{"'input':'x','conversation':{}", "conversation"},
		{"'input':'x','conversation':5", "conversation"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		refuse(wrong[i].fields, wrong[i].param);
	refuse("'model':'','input':'x'", "model");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_messages),
		cmocka_unit_test(what_developers_say_comes_first),
		cmocka_unit_test(images_and_files_are_parts),
		cmocka_unit_test(calls_and_results),
		cmocka_unit_test(reasoning_goes_with_the_calls_after_it),
		cmocka_unit_test(fields_have_other_names),
		cmocka_unit_test(functions_are_tools),
		cmocka_unit_test(what_came_before_has_an_id),
		cmocka_unit_test(what_is_wrong_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
