/* SPDX-License-Identifier: Apache-2.0 */
/* What errors of LLM servers mean, as those servers word them. */
#include "core/stream/error_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static enum error_meaning meaning(long status, const char *body)
{
	struct error_report r;

	error_report_of_body(&r, status, body, strlen(body));
	return r.meaning;
}

/* ---- wordings ---- */

static const char *const overflows[] = {
	/* vLLM */
	"This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, "
	"1000 in the completion). Please reduce the length of the messages or completion.",
	"You passed 9000 input tokens and requested 0 output tokens. However, the model's context length is only 8192 "
	"tokens, resulting in a maximum input length of 8192 tokens. Please reduce the length of the input prompt.",
	"The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
	"The engine prompt length 9000 exceeds the max_model_len 8192. Please reduce prompt.",
	/* SGLang, Together */
	"The input (12345 tokens) is longer than the model's context length (8192 tokens).",
	"Input length (700001 tokens) exceeds the maximum allowed length (536826 tokens). Use a shorter input or enable "
	"--allow-auto-truncate.",
	"Requested token count exceeds the model's maximum context length of 8192 tokens.",
	"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` tokens and 512 "
	"`max_new_tokens`",
	/* TGI */
	"Input validation error: `inputs` must have less than 4095 tokens. Given: 5000",
	/* llama.cpp */
	"the request exceeds the available context size, try increasing it",
	"request (12345 tokens) exceeds the available context size (8192 tokens), try increasing it",
	"the request exceeds the available context size. try increasing the context size or enable context shift",
	"input is too large to process. increase the physical batch size",
	"{\"error\":{\"code\":400,\"message\":\"no\",\"type\":\"exceed_context_size_error\",\"n_ctx\":8192}}",
	/* Ollama */
	"{\"error\":\"input length exceeds maximum context length\"}",
	"prompt too long; exceeded max context length by 12 tokens",
	"the input length exceeds the context length",
	/* LM Studio */
	"Trying to keep the first 4656 tokens when context the overflows. However, the model is loaded with context length "
	"of only 4096 tokens, which is not enough.",
	"The number of tokens to keep from the initial prompt is greater than the context length.",
	"Context size has been exceeded.",
	/* TensorRT-LLM, TabbyAPI */
	"Prompt length (5000) exceeds maximum input length (4096). Set log level to info and check TRTGptModel logs",
	"Prompt length 9000 is greater than max_seq_len 8192",
	/* OpenAI, Azure, Groq, DeepSeek, OpenRouter */
	"{\"error\":{\"message\":\"Please reduce the length of the messages or completion.\","
	"\"code\":\"context_length_exceeded\"}}",
	"{\"error\":{\"message\":\"no\",\"code\":\"context_length_exceeded\"}}",
	"Your input exceeds the context window of this model. Please adjust your input and try again.",
	"Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
	"This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens",
	/* Anthropic, Bedrock */
	"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 208310 tokens > "
	"200000 maximum\"}}",
	"input length and `max_tokens` exceed context limit: 190000 + 20000 > 204658",
	"{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",\"message\":\"Request exceeds the maximum size\"}}",
	"{\"message\":\"Input is too long for requested model.\"}",
	"The model returned the following errors: Input is too long for requested model.",
	/* Gemini, Vertex */
	"[{\"error\":{\"code\":400,\"message\":\"The input token count (1200000) exceeds the maximum number of tokens allowed "
	"(1048576).\",\"status\":\"INVALID_ARGUMENT\"}}]",
	/* Mistral, Cohere, xAI, Fireworks, Cerebras, watsonx */
	"{\"object\":\"error\",\"message\":\"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 "
	"maximum context length\",\"type\":\"invalid_request_prompt\"}",
	"{\"message\":\"too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.\"}",
	"This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
	"The prompt is too long: 140000, model maximum context length: 131071",
	"Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
	"the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model",
	/* MiniMax, Moonshot, DashScope, Zhipu, GitHub */
	"{\"base_resp\":{\"status_code\":2013,\"status_msg\":\"invalid params, context window exceeds limit\"}}",
	"{\"error\":{\"message\":\"Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)\","
	"\"type\":\"invalid_request_error\"}}",
	"<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]",
	"{\"error\":{\"code\":\"1261\",\"message\":\"Prompt exceeds max length\"}}",
	"{\"error\":{\"code\":\"tokens_limit_reached\",\"message\":\"Request body too large for gpt-4o model. Max size: 8000 "
	"tokens.\"}}",
	"prompt token count of 100000 exceeds the limit of 65536",
	/* gateways pass errors on as text */
	"{\"error\":{\"message\":\"litellm.BadRequestError: OpenAIException - {\\\"error\\\":{\\\"message\\\":\\\"no\\\","
	"\\\"code\\\":\\\"context_length_exceeded\\\"}}\",\"type\":null,\"param\":null,\"code\":\"400\"}}",
	"{\"error\":{\"message\":\"litellm.ContextWindowExceededError: too much. Received Model Group=m\",\"code\":\"400\"}}",
	"{\"error\":{\"message\":\"Provider returned error\",\"code\":400,\"metadata\":{\"raw\":\"{\\\"error\\\":{\\\"message\\\":"
	"\\\"The prompt is too long: 9, model maximum context length: 8\\\"}}\"}}}",
	"{\"detail\":\"{\\\"error\\\":{\\\"type\\\":\\\"exceed_context_size_error\\\",\\\"message\\\":\\\"x\\\"}}\"}",
	"\"prompt is too long\"",
};

static const struct {
	long status;
	const char *body;
	enum error_meaning want;
} others[] = {
	/* how further servers and clouds say it */
	{400, "Unable to submit request because the input token count is 40000 but model only supports up to 32768.",
         ERROR_OVERFLOW},
	{400,
         "{\"message\":\"Malformed input request: expected maxLength: 131072, actual: 131999, please reformat your input and try again.\"}",
         ERROR_OVERFLOW},
	{400, "{\"error\":{\"code\":\"1261\",\"message\":\"Prompt \xe8\xb6\x85\xe9\x95\xbf\"}}", ERROR_OVERFLOW},
	{200, "{\"error_code\":336103,\"error_msg\":\"the max input characters is 20000\"}", ERROR_OVERFLOW},
	{200, "{\"error_code\":336103,\"error_msg\":\"the max length of current question is 2000\"}", ERROR_OVERFLOW},
	{400, "{\"error\":{\"code\":\"tokens_too_long\",\"message\":\"Prompt tokens too long\"}}", ERROR_OVERFLOW},
	{500, "{\"error\":{\"message\":\"Number of prompt tokens: 9000 exceeds model max length: 8192\"}}",
         ERROR_OVERFLOW},
	{500, "Request prompt has 9000 tokens in total, larger than the model capacity 4096.", ERROR_OVERFLOW},
	{500,
         "{\"message\":\"Prompt sequence length is greater than 4096, perhaps consider using `truncate_sequence`?\"}",
         ERROR_OVERFLOW},
	{422, "{\"status\":422,\"message\":\"Tokens limit exceeded\"}", ERROR_OVERFLOW},
	{400, "{\"error\":\"number of input tokens must be no more than 8192, got 10000\"}", ERROR_OVERFLOW},
	{400, "{\"error\":{\"message\":\"the request (9000 tokens) is longer than session_len 8192\"}}",
         ERROR_OVERFLOW},
	{400, "{\"object\":\"error\",\"message\":\"Generation failed: ResponseType.INPUT_LENGTH_ERROR\"}",
         ERROR_OVERFLOW},
	{400,
         "{\"error\":{\"message\":\"input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000\"}}",
         ERROR_OVERFLOW},
	{404,
         "{\"error\":{\"message\":\"This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use v1/completions?\",\"type\":\"invalid_request_error\"}}",
         ERROR_NO_MODEL},
	{400, "{\"object\":\"error\",\"message\":\"The model does not support Chat Completions API\",\"code\":400}",
         ERROR_NO_MODEL},
	{400,
         "{\"error\":{\"message\":\"As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the tokenizer does not define one.\"}}",
         ERROR_NO_MODEL},
	{400,
         "{\"message\":\"Invocation of model ID anthropic.x with on-demand throughput isn\\u2019t supported. Retry your request with the ID or ARN of an inference profile that contains this model.\"}",
         ERROR_NO_MODEL},
	{400, "{\"message\":\"The provided model identifier is invalid.\"}", ERROR_NO_MODEL},
	{404,
         "{\"error\":{\"message\":\"Not found the model kimi-x or Permission denied\",\"type\":\"resource_not_found_error\"}}",
         ERROR_NO_MODEL},
	{400,
         "{\"error\":{\"message\":\"Unable to access model meta/x. Please visit the page to start a dedicated endpoint.\"}}",
         ERROR_NO_MODEL},
	{400,
         "{\"error\":{\"code\":\"OperationNotSupported\",\"message\":\"The chatCompletion operation does not work with the specified model, x. Please choose different model and try again.\"}}",
         ERROR_NO_MODEL},
	{400,
         "{\"errors\":[{\"code\":\"model_not_supported\",\"message\":\"Model 'x' is not supported for this environment\"}],\"trace\":\"t\",\"status_code\":400}",
         ERROR_NO_MODEL},
	{400,
         "{\"error\":{\"code\":\"model_terms_required\",\"message\":\"The model `x` requires terms acceptance. Please have the org admin accept the terms.\"}}",
         ERROR_NO_MODEL},
	{400, "{\"error\":\"Model was unloaded while the request was still in queue..\"}", ERROR_NO_MODEL},
	{503, "{\"error\":\"Model too busy, unable to get response in less than 60 second(s)\"}", ERROR_BUSY},
	{400,
         "{\"error\":{\"code\":\"1302\",\"message\":\"\xe6\x82\xa8\xe5\xbd\x93\xe5\x89\x8d\xe4\xbd\xbf\xe7\x94\xa8\xe8\xaf\xa5"
         "API\xe7\x9a\x84\xe5\xb9\xb6\xe5\x8f\x91\xe6\x95\xb0\xe8\xbf\x87\xe9\xab\x98\"}}",
         ERROR_BUSY},
	{500,
         "{\"error\":{\"code\":\"1305\",\"message\":\"\xe8\xaf\xa5\xe6\xa8\xa1\xe5\x9e\x8b\xe5\xbd\x93\xe5\x89\x8d\xe8\xae\xbf\xe9\x97\xae\xe9\x87\x8f\xe8\xbf\x87\xe5\xa4\xa7\"}}",
         ERROR_BUSY},
	{200, "{\"error_code\":18,\"error_msg\":\"Open api qps request limit reached\"}", ERROR_BUSY},
	{403, "{\"error_code\":\"REQUEST_LIMIT_EXCEEDED\",\"message\":\"Exceeded request limit\"}", ERROR_BUSY},
	{400, "{\"code\":\"InvalidParameter\",\"message\":\"Requests rate limit exceeded, please try again later.\"}",
         ERROR_BUSY},
	{429,
         "{\"errors\":[{\"message\":\"3040: Capacity temporarily exceeded, please try again.\"}],\"success\":false}",
         ERROR_BUSY},
	{403,
         "{\"error\":{\"message\":\"Key limit exceeded (total limit). Manage it using the settings\",\"code\":403}}",
         ERROR_NO_CREDIT},
	{400,
         "{\"code\":\"Arrearage\",\"message\":\"Access denied, please make sure your account is in good standing.\"}",
         ERROR_NO_CREDIT},
	{403, "{\"error\":\"You have exceeded your monthly included credits for Inference Providers.\"}",
         ERROR_NO_CREDIT},
	{400,
         "{\"error\":{\"code\":\"1301\",\"message\":\"\xe5\x8f\xaf\xe8\x83\xbd\xe5\x8c\x85\xe5\x90\xab\xe4\xb8\x8d\xe5\xae\x89\xe5\x85\xa8\xe6\x88\x96\xe6\x95\x8f\xe6\x84\x9f\xe5\x86\x85\xe5\xae\xb9\"}}",
         ERROR_FILTERED},
	{400,
         "{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.\",\"code\":\"content_filter\",\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}",
         ERROR_FILTERED},
	{400,
         "{\"error\":{\"message\":\"Your request was rejected as a result of our safety system.\",\"code\":\"moderation_blocked\"}}",
         ERROR_FILTERED},
	{403,
         "{\"error\":{\"code\":403,\"message\":\"Input was flagged\",\"metadata\":{\"reasons\":[\"violence\"],\"flagged_input\":\"x\"}}}",
         ERROR_FILTERED},
	{400,
         "{\"error\":{\"message\":\"Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.\",\"type\":\"invalid_request_error\",\"code\":\"tool_use_failed\",\"failed_generation\":\"<function=x>\"}}",
         ERROR_UNAVAILABLE},
	{400,
         "{\"error\":{\"message\":\"Model output error: the model produced invalid content.\",\"type\":\"model_error\"}}",
         ERROR_UNAVAILABLE},
	/* a limit of tokens a minute is no overflow */
	{413,
         "{\"error\":{\"message\":\"Request too large for model `m` in organization `o` service tier `on_demand` on tokens "
         "per minute (TPM): Limit 6000, Requested 12328, please reduce your message size and try again.\",\"type\":"
         "\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
         ERROR_BUSY},
	{400, "Too many tokens, please wait before trying again.", ERROR_BUSY},
	{429, "{\"error\":{\"code\":429,\"message\":\"Quota exceeded\",\"status\":\"RESOURCE_EXHAUSTED\"}}",
         ERROR_BUSY},
	{500, "litellm.RateLimitError: RateLimitError: context length does not matter here", ERROR_BUSY},
	{500, "rpc error: context deadline exceeded", ERROR_UNAVAILABLE},
	{429, "", ERROR_BUSY},
	{409, "{\"error\":\"conflict\"}", ERROR_BUSY},
	{425, "", ERROR_BUSY},
	{498, "{\"error\":{\"message\":\"Flex tier capacity exceeded\"}}", ERROR_BUSY},
	{503, "{\"error\":{\"message\":\"The model is overloaded. Please try again later.\"}}", ERROR_BUSY},
	{529, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", ERROR_BUSY},
	{503, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
         ERROR_UNAVAILABLE},

	{402, "", ERROR_NO_CREDIT},
	{400, "{\"error\":{\"message\":\"Insufficient Balance\",\"type\":\"unknown_error\"}}", ERROR_NO_CREDIT},
	{429, "{\"error\":{\"message\":\"You exceeded your current quota\",\"code\":\"insufficient_quota\"}}",
         ERROR_NO_CREDIT},
	{403, "{\"code\":30001,\"message\":\"Sorry, your account balance is insufficient\",\"data\":null}",
         ERROR_NO_CREDIT},
	{400, "{\"error\":{\"message\":\"Your credit balance is too low to access the API.\"}}", ERROR_NO_CREDIT},
	{429, "{\"error\":{\"code\":\"1113\",\"message\":\"\xe4\xbd\x99\xe9\xa2\x9d\xe4\xb8\x8d\xe8\xb6\xb3\"}}",
         ERROR_NO_CREDIT},
	{401, "no", ERROR_UNAUTHORIZED},
	{403, "<html>", ERROR_UNAUTHORIZED},
	{400, "[{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\"}}]",
         ERROR_UNAUTHORIZED},

	{404, "{\"error\":{\"message\":\"The model `x` does not exist.\",\"type\":\"NotFoundError\"}}", ERROR_NO_MODEL},
	{400, "{\"error\":{\"message\":\"Model Not Exist\"}}", ERROR_NO_MODEL},
	{404, "{\"error\":\"model 'x' not found, try pulling it first\"}", ERROR_NO_MODEL},
	{400, "{\"error\":{\"message\":\"x is not a valid model ID\",\"code\":400}}", ERROR_NO_MODEL},
	{400, "{\"error\":{\"message\":\"/chat/completions: Invalid model name passed in model=x\"}}", ERROR_NO_MODEL},
	{404, "{\"error\":{\"message\":\"Failed to load model \\\"x\\\". Error: not enough memory\"}}", ERROR_NO_MODEL},
	{404, "{\"error\":{\"message\":\"No models loaded. Please load a model\"}}", ERROR_NO_MODEL},
	{404, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The API deployment does not exist.\"}}",
         ERROR_NO_MODEL},
	{400, "{\"error\":{\"code\":\"model_not_found\",\"message\":\"no\"}}", ERROR_NO_MODEL},
	{400, "{\"error\":{\"message\":\"The model `x` has been decommissioned\"}}", ERROR_NO_MODEL},
	{404, "404 page not found", ERROR_UNAVAILABLE},
	{410, "", ERROR_NO_MODEL},

	{400, "{\"error\":{\"code\":\"content_filter\",\"message\":\"The response was filtered\"}}", ERROR_FILTERED},
	{400, "{\"error\":{\"message\":\"Content Exists Risk\"}}", ERROR_FILTERED},
	{400, "{\"code\":\"DataInspectionFailed\",\"message\":\"Input data may contain inappropriate content.\"}",
         ERROR_FILTERED},

	{413, "<html>413 Request Entity Too Large</html>", ERROR_OVERFLOW},
	{400, "bad", ERROR_REFUSED},
	{422,
         "{\"detail\":[{\"loc\":[\"body\",\"top_k\"],\"msg\":\"extra fields not permitted\",\"type\":\"value_error\"}]}",
         ERROR_REFUSED},
	{400, "max_tokens must be at most 4096", ERROR_REFUSED},
	{400, "Range of max_tokens should be [1, 8192]", ERROR_REFUSED},
	{400, "x does not support tools", ERROR_REFUSED},
	/* what a request validator repeats of the prompt is no message */
	{422, "{\"detail\":[{\"msg\":\"Field required\",\"input\":\"maximum context length, rate limit\"}]}",
         ERROR_REFUSED},
	{500, "tools param requires --jinja flag", ERROR_UNAVAILABLE},
	{500, "", ERROR_UNAVAILABLE},
	{502, "<html>Bad Gateway</html>", ERROR_UNAVAILABLE},
	{302, "", ERROR_UNKNOWN},
};

static void an_overflow_is_known_at_any_status(void **state)
{
	static const long statuses[] = {400, 404, 413, 422, 429, 500, 503};

	(void)state;
	for (size_t i = 0; i < sizeof overflows / sizeof overflows[0]; i++)
		for (size_t j = 0; j < sizeof statuses / sizeof statuses[0]; j++)
			if (meaning(statuses[j], overflows[i]) != ERROR_OVERFLOW)
				fail_msg("%ld: %s", statuses[j], overflows[i]);
}

static void errors_have_their_meaning(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (meaning(others[i].status, others[i].body) != others[i].want)
			fail_msg("%ld %s: %d", others[i].status, others[i].body,
			         (int)meaning(others[i].status, others[i].body));
}

/* ---- shapes ---- */

static void all_members_are_read(void **state)
{
	static const struct {
		const char *body, *code, *type, *param, *text;
		long status; /* as an object in a stream */
	} rows[] = {
		{"{\"error\":{\"message\":\"Unsupported parameter: 'max_tokens'\",\"type\":\"invalid_request_error\",\"param\":"
	         "\"max_tokens\",\"code\":\"unsupported_parameter\"}}",
	         "unsupported_parameter", "invalid_request_error", "max_tokens", "Unsupported parameter: 'max_tokens'",
	         0},
		{"{\"detail\":[{\"loc\":[\"body\",\"top_k\"],\"msg\":\"not permitted\",\"type\":\"extra\"},{\"msg\":\"b\"}]}",
	         "", "extra", "top_k", "not permitted", 0},
		{"[{\"error\":{\"code\":429,\"message\":\"slow down\",\"status\":\"RESOURCE_EXHAUSTED\"}}]",
	         "RESOURCE_EXHAUSTED", "", "", "slow down", 429},
		{"{\"error\":{\"code\":\"1113\",\"message\":\"m\"}}", "1113", "", "", "m", 0},
		{"{\"error\":{\"code\":\"503\",\"message\":\"m\"}}", "", "", "", "m", 503},
		{"{\"error\":{\"message\":\"litellm.BadRequestError: OpenAIException - {\\\"error\\\":{\\\"message\\\":\\\"inner\\\","
	         "\\\"param\\\":\\\"top_k\\\"}}\",\"param\":null}}",
	         "", "", "top_k", "litellm.BadRequestError: OpenAIException: inner", 0},
		{"{\"error\":{\"message\":\"Provider returned error\",\"metadata\":{\"raw\":\"{\\\"message\\\":\\\"why\\\"}\"}}}",
	         "", "", "", "Provider returned error: why", 0},
		{"{\"error\":{\"message\":\"{'not': 'json'} here\"}}", "", "", "", "{'not': 'json'} here", 0},
		{"{\"error\":{\"message\":\"{}\"}}", "", "", "", "{}", 0},
		{"{\"error\":{\"message\":{\"message\":\"nested\"}}}", "", "", "", "nested", 0},
		{"{\"errors\":[{\"message\":\"first\"},{\"message\":\"second\"}]}", "", "", "", "first", 0},
		{"{\"error\":{\"message\":\"m\",\"type\":7,\"param\":[1],\"code\":true}}", "", "", "", "m", 0},
		{"{\"error_code\":336007,\"error_msg\":\"m\"}", "336007", "", "", "m", 0},
		{"{\"base_resp\":{\"status_code\":1008,\"status_msg\":\"insufficient balance\"}}", "1008", "", "",
	         "insufficient balance", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		json_t *root = json_loads(rows[i].body, 0, NULL);
		struct error_report r;

		assert_non_null(root);
		assert_true(error_report_of_json(&r, root));
		assert_string_equal(r.text, rows[i].text);
		assert_string_equal(r.code, rows[i].code);
		assert_string_equal(r.type, rows[i].type);
		assert_string_equal(r.param, rows[i].param);
		assert_int_equal(r.status, rows[i].status);
		error_report_of_body(&r, 418, rows[i].body, strlen(rows[i].body));
		assert_string_equal(r.text, rows[i].text);
		assert_int_equal(r.status, 418);
		json_decref(root);
	}
}

static void hostile_errors_are_read_in_bounds(void **state)
{
	enum { SIZE = 1 << 20 };
	char *body = malloc(SIZE + 1);
	struct error_report r;

	(void)state;
	assert_non_null(body);
	for (size_t i = 0; i < SIZE; i++)
		body[i] = "model "[i % 6];
	error_report_of_body(&r, 400, body, SIZE);
	assert_int_equal(r.meaning, ERROR_REFUSED);
	assert_int_equal(strlen(r.text), sizeof r.text - 1);
	memset(body, '[', SIZE);
	error_report_of_body(&r, 400, body, SIZE);
	memset(body, '{', SIZE);
	error_report_of_body(&r, 400, body, SIZE);
	assert_int_equal(r.meaning, ERROR_REFUSED);
	error_report_of_body(&r, 400, "", 0);
	assert_string_equal(r.text, "");
	error_report_of_body(&r, 400, "null", 4);
	assert_string_equal(r.text, "");
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_overflow_is_known_at_any_status),
		cmocka_unit_test(errors_have_their_meaning),
		cmocka_unit_test(all_members_are_read),
		cmocka_unit_test(hostile_errors_are_read_in_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
