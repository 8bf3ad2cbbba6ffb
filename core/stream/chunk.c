/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/chunk.h"
#include "core/stream/chunk_finish.h"
#include "core/stream/sse.h"

#include <string.h>
#include <strings.h>

void chunk_reader_init(struct chunk_reader *r)
{
	buf_init(&r->scratch, SSE_LINE_MAX);
	r->json = NULL;
}

void chunk_reader_free(struct chunk_reader *r)
{
	buf_free(&r->scratch);
	json_decref(r->json);
	r->json = NULL;
}

void chunk_clear(struct chunk *d)
{
	/* Not the text of an error: it is far larger than all the rest. */
	memset(d, 0, offsetof(struct chunk, error));
	d->error[0] = '\0';
	d->error_status = 0;
}

enum chunk_finish chunk_finish_parse(const char *word, size_t len)
{
	static const struct {
		const char *word;
		enum chunk_finish finish;
	} rows[] = {
		{"", FINISH_NONE},
		{"null", FINISH_NONE},
		{"stop", FINISH_STOP},
		{"length", FINISH_LENGTH},
		{"tool_calls", FINISH_TOOL_CALLS},
		{"function_call", FINISH_TOOL_CALLS},
		{"abort", FINISH_ABORT},
		{"error", FINISH_ABORT},
		{"eos_token", FINISH_STOP},
		{"stop_sequence", FINISH_STOP},
		{"end_turn", FINISH_STOP},
		{"max_tokens", FINISH_LENGTH},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strlen(rows[i].word) == len && memcmp(rows[i].word, word, len) == 0)
			return rows[i].finish;
	return FINISH_OTHER;
}

void chunk_read(struct chunk_reader *r, const char *data, size_t len, struct chunk *d)
{
	if (!chunk_scan(r, data, len, d))
		chunk_parse(r, data, len, d);
}

bool chunk_is_context_overflow(const char *text)
{
	/* vLLM old and new, OpenAI, llama.cpp, TGI, LM Studio, Ollama, in this order. */
	static const char *const wordings[] = {
		"maximum context length",
		"longer than the maximum model length",
		"context_length_exceeded",
		"exceeds the available context size",
		"exceed_context_size",
		"must have less than",
		"`inputs` tokens + `max_new_tokens`",
		"exceeds the context length",
		"greater than the context length",
		"input length exceeds",
		"context window",
		"prompt is too long",
		"too many tokens",
		"maximum model length",
		"max_model_len",
		"exceeds maximum model length",
	};

	for (size_t i = 0; i < sizeof wordings / sizeof wordings[0]; i++)
		if (strcasestr(text, wordings[i]) != NULL)
			return true;
	return false;
}
