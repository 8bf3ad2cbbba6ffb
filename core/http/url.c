/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int url_host(const char *url, char *host, size_t size, uint16_t *port)
{
	CURLU *u = curl_url();
	char *name = NULL, *number = NULL;
	int rc = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	                         curl_url_get(u, CURLUPART_HOST, &name, 0) == CURLUE_OK &&
	                         curl_url_get(u, CURLUPART_PORT, &number, CURLU_DEFAULT_PORT) == CURLUE_OK
	                 ? 0
	                 : -1;

	snprintf(host, size, "%s", rc == 0 ? name : "");
	*port = rc == 0 ? (uint16_t)strtoul(number, NULL, 10) : 0;
	curl_free(name);
	curl_free(number);
	curl_url_cleanup(u);
	return rc;
}

char *url_decode(const char *text, size_t len)
{
	int decoded = 0;
	char *found = curl_easy_unescape(NULL, text, (int)len, &decoded);
	char *copy = found != NULL && strlen(found) == (size_t)decoded ? strdup(found) : NULL;

	curl_free(found);
	return copy;
}
