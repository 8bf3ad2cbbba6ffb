/* SPDX-License-Identifier: Apache-2.0 */
/* Any query string: what is found is text, other parameters do not change it, and a value
 * that was encoded is found as it was. */
#include "fcgi/route.h"
#include "tests/fuzz/fuzz.h"

#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

static void same(const char *a, const char *b)
{
	fuzz_require((a == NULL) == (b == NULL));
	fuzz_require(a == NULL || strcmp(a, b) == 0);
}

static char *find(const char *before, const char *query)
{
	char *whole, *value;

	fuzz_require(asprintf(&whole, "%s%s", before, query) >= 0);
	value = route_query_value(whole, "id");
	free(whole);
	return value;
}

static void as_query(const char *query)
{
	static const char *const before[] = {"a=1&", "flag&", "&", "%=%&", "id2=x&", "=x&"};
	char *value = find("", query);

	fuzz_require(value == NULL || fuzz_is_text(value, strlen(value)));
	for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
		char *again = find(before[i], query);

		same(value, again);
		free(again);
	}
	free(value);
}

static void as_value(const char *text)
{
	char *encoded = evhttp_uriencode(text, -1, true), *found;

	fuzz_require(encoded != NULL);
	found = find("id=", encoded);
	fuzz_require(found != NULL);
	if (fuzz_is_text(text, strlen(text)))
		same(found, text);
	free(found);
	free(encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len);

	as_query(text);
	as_value(text);
	free(text);
	return 0;
}
