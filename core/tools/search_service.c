/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/search_service.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_MAX 4096

#define ROW(name) &search_##name,
const struct search_service *const search_services[SEARCH_SERVICES_COUNT] = {SEARCH_SERVICES(ROW)};
#undef ROW

bool search_service_enabled(const struct search_service *s, const struct config *c)
{
	const char *value = cfg_str(c, s->enabled_by);

	return value != NULL && *value != '\0';
}

/* ---- requests --------------------------------------------------------------------- */

void search_request_clear(struct search_request *r)
{
	free(r->url);
	free(r->body);
	free(r->header);
	memset(r, 0, sizeof *r);
}

char *search_url(const char *base, const char *path, const char *query)
{
	size_t len = strlen(base);
	char *url;

	while (len > 0 && base[len - 1] == '/')
		len--;
	if (asprintf(&url, "%.*s%s%s%s", (int)len, base, path, query == NULL ? "" : "?", query == NULL ? "" : query) <
	    0)
		return NULL;
	return url;
}

char *search_parameter(const char *name, const char *value)
{
	char *escaped = curl_easy_escape(NULL, value, 0);
	char *out;

	if (escaped == NULL)
		return NULL;
	if (asprintf(&out, "%s=%s", name, escaped) < 0)
		out = NULL;
	curl_free(escaped);
	return out;
}

/* ---- answers ---------------------------------------------------------------------- */

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}

void search_hits_add(struct search_hits *hits, size_t max, const json_t *results, const char *content)
{
	const json_t *one;
	size_t i;

	json_array_foreach(results, i, one)
	{
		const char *url = member(one, "url");

		if (hits->count == max)
			return;
		hits->items[hits->count++] = (struct search_hit){
			.title = member(one, "title"),
			.url = strlen(url) <= URL_MAX ? url : "",
			.content = member(one, content),
		};
	}
}

/* At most max characters (code points), with an ellipsis where some are left out. */
static json_t *excerpt(const char *text, int64_t max)
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
			list, json_pack("{s:o, s:s, s:o}", "title", excerpt(hits->items[i].title, max_chars), "url",
		                        hits->items[i].url, "content", excerpt(hits->items[i].content, max_chars)));
	if (hits->answer == NULL || *hits->answer == '\0')
		return list;
	return json_pack("{s:o, s:o}", "answer", excerpt(hits->answer, max_chars), "results", list);
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

int search_service_result(const struct search_service *s, const struct config *c, const char *body, size_t len,
                          struct tool_result *out, struct err *e)
{
	size_t max = (size_t)cfg_int(c, CFG_SEARCH_MAX_RESULTS);
	json_t *answer = json_loadb(body, len, JSON_ALLOW_NUL, NULL); /* a text ends at its NUL */
	struct search_hits hits = {.count = 0};
	int result = -1;

	if (answer == NULL)
		err_set(e, "the answer is not JSON");
	else if (s->parse(answer, max > SEARCH_HITS_MAX ? SEARCH_HITS_MAX : max, &hits, e) == 0)
		result = make_result(c, &hits, out) == 0 ? 0 : err_set(e, "no memory for the answer");
	json_decref(answer);
	return result;
}
