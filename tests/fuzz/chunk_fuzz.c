/* SPDX-License-Identifier: Apache-2.0 */
/* The strict scanner reads an event as jansson does, or says that it is not its own. */
#include "core/stream/chunk.h"
#include "core/stream/error_report.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void same_text(const struct chunk_text *a, const struct chunk_text *b)
{
	if (a->len != b->len || (a->bytes == NULL) != (b->bytes == NULL))
		abort();
	if (a->len > 0 && memcmp(a->bytes, b->bytes, a->len) != 0)
		abort();
}

static void same(const struct chunk *a, const struct chunk *b)
{
	same_text(&a->content, &b->content);
	same_text(&a->reasoning, &b->reasoning);
	if (a->kind != b->kind || a->finish != b->finish)
		abort();
	same_text(&a->finish_word, &b->finish_word);
	if (a->completion_tokens != b->completion_tokens || a->prompt_tokens != b->prompt_tokens)
		abort();
	if (a->tool_calls != NULL || b->tool_calls != NULL)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct chunk_reader scanner, parser;
	struct chunk scanned, parsed;
	struct error_report error;
	char *event = malloc(len + (len == 0));

	if (event == NULL)
		abort();
	memcpy(event, data, len);
	chunk_reader_init(&scanner);
	chunk_reader_init(&parser);
	chunk_parse(&parser, event, len, &parsed);
	if (chunk_scan(&scanner, event, len, &scanned))
		same(&scanned, &parsed);
	error_report_of_body(&error, 500, event, len);
	fuzz_require(fuzz_is_text(error.text, strlen(error.text)) && fuzz_is_text(error.code, strlen(error.code)));
	fuzz_require(fuzz_is_text(error.param, strlen(error.param)) && fuzz_is_text(error.type, strlen(error.type)));
	fuzz_require(error.meaning != ERROR_UNKNOWN && error.status == 500);
	fuzz_require(parser.error == NULL || fuzz_is_text(parser.error->text, strlen(parser.error->text)));
	chunk_reader_free(&scanner);
	chunk_reader_free(&parser);
	free(event);
	return 0;
}
