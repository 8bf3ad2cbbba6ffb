/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/finish.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* The words of OpenAI, Azure, Anthropic, Bedrock, Gemini and Vertex, Mistral, Cohere, AI21, Aleph Alpha,
 * Reka, watsonx, Zhipu, MiniMax, Baidu, Together; vLLM, SGLang, TGI, llama.cpp, LM Studio, TensorRT-LLM,
 * ExLlama; LiteLLM and the AI SDK. Only what is listed as whole is whole: a word that nobody knows must
 * not make half an answer look complete. */
static const struct {
	const char *word;
	enum chunk_finish finish;
} rows[] = {
	{"null", FINISH_NONE},

	{"stop", FINISH_STOP},
	{"stopped", FINISH_STOP},
	{"stop_sequence", FINISH_STOP},
	{"stop_sequence_reached", FINISH_STOP},
	{"stop_string", FINISH_STOP},
	{"stop_string_found", FINISH_STOP},
	{"stop_token", FINISH_STOP},
	{"stop_words", FINISH_STOP},
	{"stop_criteria_met", FINISH_STOP},
	{"end", FINISH_STOP},
	{"end_id", FINISH_STOP},
	{"end_of_text", FINISH_STOP},
	{"end_of_turn", FINISH_STOP},
	{"end_turn", FINISH_STOP},
	{"eos", FINISH_STOP},
	{"eos_found", FINISH_STOP},
	{"eos_token", FINISH_STOP},
	{"complete", FINISH_STOP},
	{"completed", FINISH_STOP},
	{"finish", FINISH_STOP},
	{"finished", FINISH_STOP},
	{"normal", FINISH_STOP},

	{"tool_calls", FINISH_TOOL_CALLS},
	{"tool_call", FINISH_TOOL_CALLS},
	{"tool_use", FINISH_TOOL_CALLS},
	{"function_call", FINISH_TOOL_CALLS},
	{"function_calls", FINISH_TOOL_CALLS},

	{"length", FINISH_LENGTH},
	{"length_limit", FINISH_LENGTH},
	{"limit", FINISH_LENGTH},
	{"max_length", FINISH_LENGTH},
	{"max_tokens", FINISH_LENGTH},
	{"max_new_tokens", FINISH_LENGTH},
	{"max_completion_tokens", FINISH_LENGTH},
	{"max_output", FINISH_LENGTH},
	{"max_output_tokens", FINISH_LENGTH},
	{"max_predicted_tokens_reached", FINISH_LENGTH},
	{"maximum_tokens", FINISH_LENGTH},
	{"model_length", FINISH_LENGTH},
	{"token_limit", FINISH_LENGTH},
	{"token_limit_reached", FINISH_LENGTH},
	{"error_limit", FINISH_LENGTH}, /* Cohere: the context's */
	{"context", FINISH_LENGTH},
	{"context_length", FINISH_LENGTH},
	{"context_length_reached", FINISH_LENGTH},
	{"context_length_exceeded", FINISH_LENGTH},
	{"context_window_exceeded", FINISH_LENGTH},
	{"model_context_window_exceeded", FINISH_LENGTH},

	{"content_filter", FINISH_FILTERED},
	{"content_filtered", FINISH_FILTERED},
	{"content_filter_error", FINISH_FILTERED},
	{"content_policy", FINISH_FILTERED},
	{"content_policy_violation", FINISH_FILTERED},
	{"filtered", FINISH_FILTERED},
	{"refusal", FINISH_FILTERED},
	{"safety", FINISH_FILTERED},
	{"sensitive", FINISH_FILTERED},
	{"moderation", FINISH_FILTERED},
	{"blocked", FINISH_FILTERED},
	{"blocklist", FINISH_FILTERED},
	{"recitation", FINISH_FILTERED},
	{"prohibited_content", FINISH_FILTERED},
	{"spii", FINISH_FILTERED},
	{"model_armor", FINISH_FILTERED},
	{"error_toxic", FINISH_FILTERED},
	{"guardrail_intervened", FINISH_FILTERED},
	{"guardrails", FINISH_FILTERED},
	{"image_safety", FINISH_FILTERED},
	{"image_recitation", FINISH_FILTERED},
	{"image_prohibited_content", FINISH_FILTERED},
};

static bool is_separator(char c)
{
	return c != '\0' && strchr(" \t\r\n_-.", c) != NULL;
}

static bool same_word(const char *word, size_t len, const char *known)
{
	const char *end = word + len;

	for (;;) {
		while (word < end && is_separator(*word))
			word++;
		while (is_separator(*known))
			known++;
		if (word == end || *known == '\0')
			return word == end && *known == '\0';
		if (tolower((unsigned char)*word++) != tolower((unsigned char)*known++))
			return false;
	}
}

enum chunk_finish finish_parse(const char *word, size_t len)
{
	/* As protocol buffers and Python print an enum: FINISH_REASON_STOP, FinishReason.STOP. */
	static const char *const prefixes[] = {"FINISH_REASON_", "FinishReason."};

	if (len == 0)
		return FINISH_NONE;
	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		size_t n = strlen(prefixes[i]);

		if (len > n && memcmp(word, prefixes[i], n) == 0) {
			word += n;
			len -= n;
		}
	}
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (same_word(word, len, rows[i].word))
			return rows[i].finish;
	return FINISH_BROKEN;
}
