/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/search_backend.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_MAX 4096

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

const char *search_hit_url(const json_t *object)
{
	const char *url = search_text(object, "url");

	return strlen(url) <= URL_MAX ? url : "";
}

const char *search_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}
