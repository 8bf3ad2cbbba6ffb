/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/search_result.h"

#include <stdlib.h>
#include <string.h>

/* At most max characters (code points), with an ellipsis where some are left out. */
static json_t *trimmed(const char *text, int64_t max)
{
	const char *p = text;

	for (int64_t chars = 0; *p != '\0'; p++) {
		if (((unsigned char)*p & 0xc0) == 0x80)
			continue;
		if (chars++ == max)
			return json_sprintf("%.*s\xe2\x80\xa6", (int)(p - text), text);
	}
	return json_string(text);
}

static json_t *hits_json(const struct search_hits *hits, int64_t max_chars)
{
	json_t *list = json_array();

	for (size_t i = 0; i < hits->count; i++)
		json_array_append_new(
			list, json_pack("{s:o, s:s, s:o}", "title", trimmed(hits->items[i].title, max_chars), "url",
		                        hits->items[i].url, "content", trimmed(hits->items[i].content, max_chars)));
	if (hits->answer == NULL || *hits->answer == '\0')
		return list;
	return json_pack("{s:o, s:o}", "answer", trimmed(hits->answer, max_chars), "results", list);
}

static int make_result(const struct config *c, const struct search_hits *hits, struct tool_result *out)
{
	json_t *found = hits_json(hits, cfg_int(c, CFG_SEARCH_RESULT_CHARS));
	struct tool_source *source;

	if (hits->count == 0 && hits->answer == NULL)
		out->text = strdup(
			"The web search found nothing for this query. Try other words, or answer with what you know.");
	else
		out->text = found == NULL ? NULL : json_dumps(found, JSON_COMPACT);
	json_decref(found);
	out->sources = calloc(hits->count == 0 ? 1 : hits->count, sizeof *out->sources);
	if (out->text == NULL || out->sources == NULL)
		return -1;
	for (size_t i = 0; i < hits->count; i++) {
		if (*hits->items[i].url == '\0')
			continue;
		source = &out->sources[out->source_count++];
		source->title = strdup(hits->items[i].title);
		source->url = strdup(hits->items[i].url);
		if (source->url == NULL)
			return -1;
	}
	return 0;
}

int search_result(const struct search_backend *b, const struct config *c, const char *body, size_t len,
                  struct tool_result *out, struct err *e)
{
	size_t max = (size_t)cfg_int(c, CFG_SEARCH_MAX_RESULTS);
	json_t *answer = json_loadb(body, len, JSON_ALLOW_NUL, NULL); /* a text ends at its NUL */
	struct search_hits hits = {.count = 0};
	int result = -1;

	if (answer == NULL)
		err_set(e, "the answer is no JSON");
	else if (b->hits(answer, max > SEARCH_HITS_MAX ? SEARCH_HITS_MAX : max, &hits, e) == 0)
		result = make_result(c, &hits, out) == 0 ? 0 : err_set(e, "no memory for the answer");
	json_decref(answer);
	return result;
}
