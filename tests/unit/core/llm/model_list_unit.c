/* SPDX-License-Identifier: Apache-2.0 */
/* What servers and clouds say about their models. */
#include "core/llm/model_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct model_list_entry read_list(const char *body, const char *wanted)
{
	struct model_list_entry m;

	assert_int_equal(model_list_read(body, strlen(body), wanted, &m), 0);
	return m;
}

static void the_context_length_is_read_wherever_it_is(void **state)
{
	static const struct {
		const char *server, *entry;
		int64_t context;
	} cases[] = {
		{"vLLM", "'max_model_len':32768,'owned_by':'vllm'", 32768},
		{"llama.cpp", "'meta':{'n_ctx_train':131072,'n_ctx':4096}", 4096},
		{"llama.cpp, older", "'meta':{'n_ctx_train':131072,'n_embd':4096}", 131072},
		{"llama.cpp /props", "'default_generation_settings':{'n_ctx':8192},'total_slots':1", 8192},
		{"LM Studio", "'state':'loaded','max_context_length':131072,'loaded_context_length':4096", 4096},
		{"LM Studio, not loaded", "'state':'not-loaded','max_context_length':131072", 131072},
		{"LM Studio v1",
	         "'max_context_length':131072,'loaded_instances':[{'id':'m','config':{'context_length':4097}}]", 4097},
		{"OpenRouter", "'context_length':131072,'top_provider':{'context_length':65536}", 65536},
		{"OpenRouter, null", "'context_length':131072,'top_provider':{'context_length':null}", 131072},
		{"Together", "'context_length':8193", 8193},
		{"Mistral", "'max_context_length':32769", 32769},
		{"Groq", "'context_window':131073,'max_completion_tokens':32768", 131073},
		{"Cerebras", "'limits':{'max_context_length':65537}", 65537},
		{"TGI /info", "'max_input_tokens':4095,'max_total_tokens':4096", 4096},
		{"SGLang /get_server_info", "'context_length':null,'max_req_input_len':4090", 4090},
		{"Ollama /api/show",
	         "'parameters':'stop x\\nnum_ctx          16384','model_info':{'llama.context_length':131072}", 16384},
		{"Ollama /api/show",
	         "'parameters':'stop x','model_info':{'general.architecture':'llama','llama.context_length':131072}",
	         131072},
		{"Ollama /api/ps", "'context_length':4096", 4096},
		{"Gemini", "'inputTokenLimit':1048576,'outputTokenLimit':8192", 1048576},
		{"LiteLLM", "'model_name':'m','model_info':{'max_input_tokens':128000,'max_tokens':4096}", 128000},
		{"DeepInfra", "'metadata':{'context_length':32770,'max_tokens':100}", 32770},
		{"Anthropic", "'max_input_tokens':200000,'max_tokens':64000", 200000},
		{"Novita", "'context_size':32771", 32771},
		{"Venice", "'model_spec':{'availableContextTokens':32772}", 32772},
		{"GitHub", "'capabilities':{'limits':{'max_context_window_tokens':32773}}", 32773},
		{"TabbyAPI", "'parameters':{'max_seq_len':32774}", 32774},
		{"KoboldCpp", "'value':8191", 8191},
		{"Hugging Face", "'providers':[{'provider':'x','context_length':32775}]", 32775},
		{"text", "'context_length':'32768'", 32768},
		{"text with spaces", "'context_length':' 32768 '", 32768},
		{"real", "'context_length':32768.0", 32768},
		{"word", "'context_length':'large','context_window':4096", 4096},
		{"unit", "'context_length':'128k'", 0},
		{"negative", "'context_length':-1", 0},
		{"zero", "'max_model_len':0,'context_length':4096", 4096},
		{"fraction", "'context_length':0.5", 0},
		{"no limit", "'context_length':1000000000000000019", 0},
		{"real no limit", "'context_length':1e30", 0},
		{"object", "'context_length':{'a':1}", 0},
		{"list", "'context_length':[8192]", 0},
		{"flag", "'context_length':true", 0},
		{"nothing", "'owned_by':'x'", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		static const char *const forms[][2] = {{"{'data':[{'id':'m',", "}]}"},
		                                       {"{'models':[{'name':'m',", "}]}"},
		                                       {"[{'id':'m',", "}]"},
		                                       {"{'id':'m',", "}"}};

		for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
			char body[1024];
			struct model_list_entry m;

			snprintf(body, sizeof body, "%s%s%s", forms[f][0], cases[i].entry, forms[f][1]);
			for (char *p = body; *p != '\0'; p++)
				*p = *p == '\'' ? '"' : *p;
			m = read_list(body, "m");
			if (m.context != cases[i].context)
				fail_msg("%s: %s has %lld", cases[i].server, body, (long long)m.context);
			assert_string_equal(m.id, "m");
			model_list_clear(&m);
		}
	}
}

static void the_entry_that_is_wanted_counts(void **state)
{
	static const struct {
		const char *wanted, *id;
		int64_t context;
	} cases[] = {
		{NULL, "first", 1000},
		{"second", "second", 2000},
		{"Second", "second", 2000},
		{"models/second", "second", 2000},
		{"fourth", "owner/fourth", 4000},
		{"fifth", "fifth:latest", 5000},
		{"fifth:latest", "fifth:latest", 5000},
		{"sixth", "first", 0}, /* whose length that is, is not known */
		{"ourth", "first", 0},
		{"", "first", 0},
	};
	static const char list[] =
		"{\"data\":[{\"id\":\"first\",\"context_length\":1000},{\"id\":\"second\",\"context_length\":2000},"
		"{\"id\":3},null,7,{\"id\":\"owner/fourth\",\"context_length\":4000},"
		"{\"id\":\"fifth:latest\",\"context_length\":5000}]}";

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct model_list_entry m = read_list(list, cases[i].wanted);

		assert_string_equal(m.id, cases[i].id);
		assert_int_equal(m.context, cases[i].context);
		assert_int_equal(m.count, 7);
		model_list_clear(&m);
	}
}

static void the_only_entry_counts_under_any_name(void **state)
{
	struct model_list_entry m =
		read_list("{\"data\":[{\"id\":\"served-name\",\"max_model_len\":4096}]}", "meta/Llama");

	(void)state;
	assert_int_equal(m.context, 4096);
	model_list_clear(&m);
}

static void anything_else_is_unknown(void **state)
{
	static const char *const bodies[] = {"",
	                                     "{}",
	                                     "[]",
	                                     "null",
	                                     "7",
	                                     "\"x\"",
	                                     "<html>",
	                                     "{\"data\":{}}",
	                                     "{\"data\":[]}",
	                                     "{\"data\":[[]]}",
	                                     "{\"models\":null}",
	                                     "{\"error\":{\"message\":\"no\"}}"};

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct model_list_entry m = read_list(bodies[i], i % 2 ? "m" : NULL);

		assert_null(m.id);
		assert_int_equal(m.context, 0);
		model_list_clear(&m);
	}
}

/* As the servers call themselves. */
static void who_continues_an_answer_is_known(void **state)
{
	static const struct {
		const char *owner;
		bool continues;
	} cases[] = {
		{"\"vllm\"", true},     {"\"sglang\"", true}, {"\"llamacpp\"", true},
		{"\"library\"", false}, {"\"\"", false},      {"7", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char body[100];
		struct model_list_entry m;

		snprintf(body, sizeof body, "{\"data\":[{\"id\":\"m\",\"owned_by\":%s}]}", cases[i].owner);
		m = read_list(body, NULL);
		assert_int_equal(m.continues, cases[i].continues);
		model_list_clear(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_continues_an_answer_is_known),
		cmocka_unit_test(the_context_length_is_read_wherever_it_is),
		cmocka_unit_test(the_entry_that_is_wanted_counts),
		cmocka_unit_test(the_only_entry_counts_under_any_name),
		cmocka_unit_test(anything_else_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
