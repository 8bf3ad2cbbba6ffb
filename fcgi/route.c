/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/route.h"

#include "core/base/utf8.h"
#include "fcgi/endpoint.h"

#include <ctype.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENDPOINT(name) &endpoint_##name,
const struct endpoint *const endpoints[] = {
#include "fcgi/endpoints/endpoints.def"
	NULL};
#undef ENDPOINT

/* --- the path ------------------------------------------------------------------------------ */

static int hex(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
	                                    : -1;
}

/* In the place of an encoded slash, until it is known that there may be one. */
#define ENCODED_SLASH '\1'

/* The next character of the path; -1: not acceptable. */
static int decode_char(const char **raw, bool encoded, bool slashes)
{
	const char *p = *raw;
	int high, low, c;

	(*raw)++;
	if (!encoded || *p != '%')
		return (unsigned char)*p;
	if ((high = hex(p[1])) < 0 || (low = hex(p[2])) < 0)
		return -1;
	*raw += 2;
	c = high << 4 | low;
	if (c == '/' && slashes)
		return ENCODED_SLASH;
	return c == '/' || c == '\0' || (c == ENCODED_SLASH && slashes) ? -1 : c;
}

/* Ends a segment that begins at out[start]: drops "" and ".", goes back for "..".
 * Returns the new length, or -1. */
static long end_segment(char *out, size_t start, size_t len)
{
	size_t n = len - start;

	if (n == 0 || (n == 1 && out[start] == '.'))
		return (long)start;
	if (n != 2 || memcmp(out + start, "..", 2) != 0) {
		out[len] = '/';
		return (long)len + 1;
	}
	if (start <= 1)
		return -1;
	for (start--; out[start - 1] != '/'; start--)
		;
	return (long)start;
}

static int normalise(const char *raw, bool encoded, bool slashes, char out[ROUTE_PATH_MAX])
{
	size_t len = 1, start = 1;
	bool slash = true;
	long at;
	int c;

	if (raw[0] != '/')
		return -1;
	out[0] = '/';
	for (raw++; *raw != '\0' && !(encoded && (*raw == '?' || *raw == '#'));) {
		slash = *raw == '/';
		if ((c = decode_char(&raw, encoded, slashes)) < 0 || len + 2 >= ROUTE_PATH_MAX)
			return -1;
		if (!slash) {
			out[len++] = (char)c;
			continue;
		}
		if ((at = end_segment(out, start, len)) < 0)
			return -1;
		start = len = (size_t)at;
	}
	at = end_segment(out, start, len);
	if (at < 0)
		return -1;
	/* Without a trailing slash in raw, the last one was added by end_segment. */
	out[(size_t)at > len && !slash ? len : (size_t)at] = '\0';
	return 0;
}

int route_normalise(const char *raw, bool encoded, char out[ROUTE_PATH_MAX])
{
	return normalise(raw, encoded, false, out);
}

/* The rest of path after prefix, which must end with a segment; NULL: path is not below it. */
static const char *strip_prefix(const char *path, const char *prefix)
{
	size_t len = strlen(prefix);

	while (len > 0 && prefix[len - 1] == '/')
		len--;
	if (len == 0 || strncmp(path, prefix, len) != 0)
		return NULL;
	return path[len] == '/' || path[len] == '\0' ? path + len : NULL;
}

/* The path below SCRIPT_NAME if that is a proper leading part of it, else below the first other
 * prefix that fits, else the path. */
static const char *below_prefix(const char *path, const struct route_request *r, char *const *prefixes, size_t count)
{
	const char *rest = r->script_name != NULL ? strip_prefix(path, r->script_name) : NULL;

	if (rest != NULL && rest[0] == '/' && strcmp(path, r->script_name) != 0)
		return rest;
	if (r->prefix != NULL && (rest = strip_prefix(path, r->prefix)) != NULL)
		return rest;
	for (size_t i = 0; i < count; i++)
		if ((rest = strip_prefix(path, prefixes[i])) != NULL)
			return rest;
	return path;
}

static bool same_path(const char *path, const char *endpoint)
{
	size_t len = strlen(path);

	if (len > 0 && path[len - 1] == '/')
		len--;
	return len == 0 ? endpoint[1] == '\0' : strlen(endpoint) == len && memcmp(path, endpoint, len) == 0;
}

/* A web server that does not split paths sends the whole path as SCRIPT_NAME, but no PATH_INFO. */
static bool is_prefix_alone(const char *path, const struct route_request *r)
{
	const char *rest = r->script_name != NULL ? strip_prefix(path, r->script_name) : NULL;

	return rest != NULL && same_path(rest, "/") && r->path_info != NULL && r->path_info[0] == '\0';
}

/* "GET" is in "GET, HEAD". */
static bool has_method(const struct endpoint *e, const char *method)
{
	size_t len = strlen(method), n;

	for (const char *m = e->methods; *m != '\0'; m += n + strspn(m + n, ", ")) {
		n = strcspn(m, ",");
		if (n == len && memcmp(m, method, len) == 0)
			return true;
	}
	return false;
}

static struct route judge(const struct endpoint *e, const struct route_request *r)
{
	struct route found = {.status = 200, .endpoint = e};

	if (!has_method(e, r->method != NULL ? r->method : "GET"))
		found.status = 405;
	else if ((e->right == ENDPOINT_ADMIN && !r->admin) ||
	         (e->right == ENDPOINT_MONITOR && !r->admin && !r->monitor))
		found.status = 403;
	return found;
}

static const struct endpoint *find_endpoint(const char *path)
{
	const struct endpoint *const *e = endpoints;

	while (*e != NULL && !same_path(path, (*e)->path))
		e++;
	return *e;
}

/* The one that takes what is below its path, and the rest that it takes. */
static const struct endpoint *find_taking(const char *path, char **rest)
{
	const struct endpoint *found = NULL;
	const char *below = NULL, *p;

	for (const struct endpoint *const *e = endpoints; *e != NULL; e++)
		if ((*e)->takes_rest && (p = strip_prefix(path, (*e)->path)) != NULL && p[0] == '/' &&
		    (found == NULL || strlen((*e)->path) > strlen(found->path))) {
			found = *e;
			below = p + 1;
		}
	*rest = found != NULL ? strdup(below) : NULL;
	if (*rest == NULL)
		return NULL;
	for (char *at = *rest; (at = strchr(at, ENCODED_SLASH)) != NULL;)
		*at = '/';
	return found;
}

/* Without REQUEST_URI the path is SCRIPT_NAME and PATH_INFO together. -1: not acceptable. */
static int normalised_path(const struct route_request *r, char path[ROUTE_PATH_MAX])
{
	char joined[ROUTE_PATH_MAX];
	int len;

	if (r->uri != NULL && r->uri[0] != '\0')
		return normalise(r->uri, true, true, path);
	len = snprintf(joined, sizeof joined, "%s%s", r->script_name != NULL ? r->script_name : "",
	               r->path_info != NULL ? r->path_info : "");
	if (len < 0 || (size_t)len >= sizeof joined)
		return -1;
	return route_normalise(len > 0 ? joined : "/", false, path);
}

struct route route_find(const struct route_request *r, char *const *prefixes, size_t prefix_count)
{
	const struct endpoint *e;
	char path[ROUTE_PATH_MAX], *rest = NULL;
	const char *below;
	struct route found;

	if (normalised_path(r, path) < 0)
		return (struct route){.status = 400};
	below = below_prefix(path, r, prefixes, prefix_count);
	e = find_endpoint(below);
	if (e == NULL && is_prefix_alone(path, r))
		e = find_endpoint("/");
	if (e == NULL)
		e = find_taking(below, &rest);
	if (rest == NULL && strchr(path, ENCODED_SLASH) != NULL)
		return (struct route){.status = 400};
	found = e != NULL ? judge(e, r) : (struct route){.status = 404};
	found.rest = rest;
	return found;
}

/* --- the query ----------------------------------------------------------------------------- */

static char *decode_value(const char *value, size_t len)
{
	char *copy = strndup(value, len), *bytes = copy != NULL ? evhttp_uridecode(copy, true, &len) : NULL;
	char *text = bytes != NULL ? utf8_text(bytes, len) : NULL;

	free(bytes);
	free(copy);
	return text;
}

/* libevent's own parser rejects the whole query if one parameter has no value. */
char *route_query_value(const char *query, const char *name)
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
	return value != NULL ? decode_value(value, value_len) : NULL;
}
