/* The strict scanner reads an event as jansson does, or says that it is not its own. */
#include "core/chat/delta.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void same_text(const struct delta_text *a, const struct delta_text *b)
{
	if (a->len != b->len || (a->bytes == NULL) != (b->bytes == NULL))
		abort();
	if (a->len > 0 && memcmp(a->bytes, b->bytes, a->len) != 0)
		abort();
}

static void same(const struct delta *a, const struct delta *b)
{
	same_text(&a->content, &b->content);
	same_text(&a->reasoning, &b->reasoning);
	if (a->kind != b->kind || a->finish != b->finish || a->has_usage != b->has_usage)
		abort();
	if (a->prompt_tokens != b->prompt_tokens || a->completion_tokens != b->completion_tokens)
		abort();
	if (a->tool_calls != NULL || b->tool_calls != NULL || strcmp(a->error, b->error) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct delta_reader scanner, parser;
	struct delta scanned, parsed;
	char error[64], *event = malloc(len + (len == 0));

	if (event == NULL)
		abort();
	memcpy(event, data, len);
	delta_reader_init(&scanner);
	delta_reader_init(&parser);
	delta_parse(&parser, event, len, &parsed);
	if (delta_scan(&scanner, event, len, &scanned))
		same(&scanned, &parsed);
	delta_error_text(event, len, error, sizeof error);
	if (strlen(error) >= sizeof error)
		abort();
	delta_reader_free(&scanner);
	delta_reader_free(&parser);
	free(event);
	return 0;
}
