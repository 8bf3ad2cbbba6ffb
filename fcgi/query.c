/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/query.h"

#include "core/base/utf8.h"

#include <event2/http.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static char *decoded(const char *value, size_t len)
{
	char *copy = strndup(value, len), *bytes = copy != NULL ? evhttp_uridecode(copy, true, &len) : NULL;
	char *text = bytes != NULL ? utf8_text(bytes, len) : NULL;

	free(bytes);
	free(copy);
	return text;
}

/* libevent's own parser gives up the whole query for one parameter without a value. */
char *query_value(const char *query, const char *name)
{
	const size_t name_len = strlen(name);
	const char *value = NULL;
	size_t value_len = 0;

	while (query != NULL) {
		size_t len = strcspn(query, "&");

		if (len > name_len && query[name_len] == '=' && memcmp(query, name, name_len) == 0) {
			value = query + name_len + 1;
			value_len = len - name_len - 1;
		}
		query = query[len] == '&' ? query + len + 1 : NULL;
	}
	return value != NULL ? decoded(value, value_len) : NULL;
}
