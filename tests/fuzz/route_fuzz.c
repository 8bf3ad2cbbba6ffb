/* SPDX-License-Identifier: Apache-2.0 */
/* Any path is refused or becomes a plain one; no client gets an admin endpoint without the right. */
#include "fcgi/endpoint.h"
#include "fcgi/route.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_plain(const char *path)
{
	if (path[0] != '/' || strstr(path, "//") != NULL || strstr(path, "/./") != NULL || strstr(path, "/../") != NULL)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *uri = malloc(len + 1), *script_name, prefix[] = "/agent", path[ROUTE_PATH_MAX];
	char *const prefixes[] = {prefix};
	struct route_request r = {.method = "POST"};
	struct route found;

	if (uri == NULL)
		abort();
	memcpy(uri, data, len);
	uri[len] = '\0';
	script_name = strchr(uri, '\n'); /* an input may hold both */
	if (script_name != NULL)
		*script_name++ = '\0';
	for (int encoded = 0; encoded < 2; encoded++)
		if (route_normalise(uri, encoded != 0, path) == 0)
			check_plain(path);
	r.uri = uri;
	r.script_name = script_name;
	found = route_find(&r, prefixes, 1);
	if (found.status == 200 && found.endpoint != &endpoint_poll_requests)
		abort();
	if (found.status != 200 && found.status != 400 && found.status != 403 && found.status != 404 &&
	    found.status != 405)
		abort();
	r.uri = NULL;
	r.path_info = uri;
	route_find(&r, prefixes, 1);
	r.script_name = uri;
	r.path_info = "";
	r.prefix = script_name;
	found = route_find(&r, prefixes, 1);
	if (found.status == 200 && found.endpoint != &endpoint_poll_requests)
		abort();
	free(uri);
	return 0;
}
