/* SPDX-License-Identifier: Apache-2.0 */
/* What one token of a stream costs, from its bytes to a piece of text, and what jansson alone
 * takes to read its chunk: prints nanoseconds a token. */
#include "core/base/clock.h"
#include "core/stream/chunk.h"
#include "core/stream/stream.h"

#include <stdio.h>
#include <string.h>

#define EVENTS 64
#define ROUNDS 8000

static const char *const forms[][2] = {
	{"vllm",
         "{\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1795370000,"
         "\"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" world\"},"
         "\"logprobs\":null,\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":42,\"total_tokens\":49,"
         "\"completion_tokens\":7}}"},
	{"newline",
         "{\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1795370000,"
         "\"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\".\\n\\n\"},"
         "\"logprobs\":null,\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":42,\"total_tokens\":49,"
         "\"completion_tokens\":7}}"},
	{"ollama",
         "{\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1795370000,\"model\":\"llama3.2\","
         "\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
         "\"content\":\" Gr\xc3\xbc\xc3\x9f\"},\"finish_reason\":null}]}"},
};

static double best_of(double best, int64_t began, size_t count)
{
	double each = (double)(clock_mono_ns() - began) / (double)count;

	return each < best ? each : best;
}

static double through_stream(struct stream *s, const char *text, size_t len)
{
	double best = 1e9;

	for (int run = 0; run < 5; run++) {
		int64_t began = clock_mono_ns();
		size_t tokens = 0;
		struct piece p;

		stream_begin(s, NULL);
		for (int i = 0; i < ROUNDS; i++) {
			stream_feed(s, text, len);
			while (stream_next(s, &p))
				tokens++;
		}
		best = best_of(best, began, tokens);
	}
	return best;
}

static double through_jansson(const char *event)
{
	const size_t len = strlen(event), count = EVENTS * ROUNDS / 10;
	struct chunk_reader reader;
	struct chunk chunk;
	double best = 1e9;

	chunk_reader_init(&reader);
	for (int run = 0; run < 5; run++) {
		int64_t began = clock_mono_ns();

		for (size_t i = 0; i < count; i++)
			chunk_parse(&reader, event, len, &chunk);
		best = best_of(best, began, count);
	}
	chunk_reader_free(&reader);
	return best;
}

int main(void)
{
	struct buf text = BUF_INIT(1u << 20);
	struct stream *s = stream_new();

	if (s == NULL)
		return 1;
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		buf_reset(&text);
		for (int n = 0; n < EVENTS; n++)
			if (buf_addf(&text, "data: %s\n\n", forms[i][1]) < 0)
				return 1;
		printf("%-8s %zu bytes: %.0f ns a token, jansson alone %.0f ns\n", forms[i][0], strlen(forms[i][1]),
		       through_stream(s, text.data, text.len), through_jansson(forms[i][1]));
	}
	stream_free(s);
	buf_free(&text);
	return 0;
}
