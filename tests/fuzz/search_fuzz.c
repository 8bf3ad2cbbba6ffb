/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of search services, in any bytes: a reason why it failed, or text for the model
 * and sources. The first byte is the first letter of the service's name; d: documents. */
#include "core/base/utf8.h"
#include "core/protocol/protocol.h"
#include "core/tools/document_search.h"
#include "core/tools/search_service.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/support/test_output.h"

#include <stdlib.h>
#include <string.h>

#define URL_LONGEST 4096

static size_t characters(const char *text)
{
	size_t count = 0;

	for (; *text != '\0'; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static void check_excerpt(const json_t *text)
{
	fuzz_require(json_is_string(text));
	fuzz_require(characters(json_string_value(text)) <=
	             (size_t)cfg_int(fuzz_config(), CFG_SEARCH_RESULT_CHARS) + 1);
}

/* A list of hits, or {"answer", "results"}; else the sentence that nothing was found. */
static void check_text(const char *text)
{
	json_t *all = json_loads(text, 0, NULL);
	const json_t *list = json_is_object(all) ? json_object_get(all, "results") : all, *hit;
	size_t i;

	fuzz_require(fuzz_is_text(text, strlen(text)));
	fuzz_require(all != NULL || strncmp(text, "The web search found nothing", 28) == 0);
	fuzz_require(json_array_size(list) <= (size_t)cfg_int(fuzz_config(), CFG_SEARCH_MAX_RESULTS));
	if (json_is_object(all))
		check_excerpt(json_object_get(all, "answer"));
	json_array_foreach(list, i, hit)
	{
		check_excerpt(json_object_get(hit, "content"));
		check_excerpt(json_object_get(hit, "title"));
		fuzz_require(json_string_length(json_object_get(hit, "url")) <= URL_LONGEST);
	}
	json_decref(all);
}

/* What the client is shown of a source is one line of text. */
static void check_source(const struct tool_source *s)
{
	struct output out = {.written = BUF_INIT(1 << 20)};
	struct reply *r = protocol_studio.open(&protocol_studio, &out, NULL);
	const char *line;

	fuzz_require(s->url[0] != '\0' && s->title != NULL && r != NULL);
	if (protocol_studio.source(r, s->title, s->url)) {
		line = out.written.data + strlen("<think>");
		fuzz_require(strncmp(line, "Source: [", 9) == 0 && fuzz_is_text(line, strlen(line)));
		fuzz_require(strchr(line, '\n') == out.written.data + out.written.len - 1);
		fuzz_require(strchr(line + 9, ']') == strstr(line, "]("));
		fuzz_require(strcasestr(line, "<think>") == NULL && strcasestr(line, "</think>") == NULL);
	}
	protocol_studio.free(r);
	buf_free(&out.written);
}

static void check_documents(const uint8_t *data, size_t len)
{
	struct err e = ERR_INIT;
	char *body = fuzz_copy(data, len);
	json_t *documents = document_search_read(body, len, &e), *one;
	size_t i;

	fuzz_require((documents == NULL) == err_is_set(&e));
	json_array_foreach(documents, i, one)
		fuzz_require(json_string_length(one) > 0 && !utf8_is_blank(json_string_value(one)));
	json_decref(documents);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct search_service *service = NULL;
	struct tool_result result = {.text = NULL};
	struct err e = ERR_INIT;
	char *body;

	if (len > 0 && data[0] == 'd')
		check_documents(data + 1, len - 1);
	for (size_t i = 0; len > 0 && i < SEARCH_SERVICES_COUNT; i++)
		if (search_services[i]->name[0] == (char)data[0])
			service = search_services[i];
	if (service == NULL)
		return 0;
	body = fuzz_copy(data + 1, len - 1);
	if (search_service_result(service, fuzz_config(), body, len - 1, &result, &e) == 0) {
		fuzz_require(!err_is_set(&e));
		check_text(result.text);
		for (size_t i = 0; i < result.source_count; i++)
			check_source(&result.sources[i]);
	} else {
		fuzz_require(err_is_set(&e) && fuzz_is_text(e.text, strlen(e.text)));
	}
	tool_result_clear(&result);
	free(body);
	return 0;
}
