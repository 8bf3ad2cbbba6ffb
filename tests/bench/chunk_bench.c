/* SPDX-License-Identifier: Apache-2.0 */
/* The time that one event of a stream costs, through SSE and delta reading, and with
 * jansson for comparison: prints nanoseconds an event. */
#include "core/base/clock.h"
#include "core/stream/chunk.h"
#include "core/stream/sse.h"

#include <stdio.h>
#include <stdlib.h>
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

struct cooldown {
	struct chunk_reader reader;
	bool jansson;
	size_t bytes, events;
};

static bool on_event(void *arg, const char *data, size_t len)
{
	struct cooldown *b = arg;
	struct chunk d;

	if (b->jansson)
		chunk_parse(&b->reader, data, len, &d);
	else
		chunk_read(&b->reader, data, len, &d);
	b->bytes += d.content.len;
	b->events++;
	return true;
}

static double measure(struct cooldown *b, const char *text, size_t len)
{
	double best = 1e9;

	for (int run = 0; run < 5; run++) {
		struct sse s;
		int64_t began = clock_mono_ns();
		double each;

		sse_init(&s);
		b->events = 0;
		for (int i = 0; i < ROUNDS / (b->jansson ? 10 : 1); i++)
			if (sse_feed(&s, text, len, on_event, b) < 0)
				exit(1);
		sse_free(&s);
		each = (double)(clock_mono_ns() - began) / (double)b->events;
		if (each < best)
			best = each;
	}
	return best;
}

int main(void)
{
	struct buf text = BUF_INIT(1u << 20);
	struct cooldown b = {.jansson = false};

	chunk_reader_init(&b.reader);
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		double ours, theirs;

		buf_reset(&text);
		for (int n = 0; n < EVENTS; n++)
			if (buf_addf(&text, "data: %s\n\n", forms[i][1]) < 0)
				return 1;
		b.jansson = false;
		ours = measure(&b, text.data, text.len);
		b.jansson = true;
		theirs = measure(&b, text.data, text.len);
		printf("%-8s %zu bytes: %.0f ns an event, with jansson %.0f ns\n", forms[i][0], strlen(forms[i][1]),
		       ours, theirs);
	}
	chunk_reader_free(&b.reader);
	buf_free(&text);
	return 0;
}
