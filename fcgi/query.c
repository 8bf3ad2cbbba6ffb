#include "fcgi/query.h"

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>

char *query_value(const char *query, const char *name)
{
	struct evkeyvalq values;
	const char *value;
	char *copy = NULL;

	if (query == NULL || evhttp_parse_query_str(query, &values) < 0)
		return NULL;
	value = evhttp_find_header(&values, name);
	if (value != NULL)
		copy = strdup(value);
	evhttp_clear_headers(&values);
	return copy;
}
