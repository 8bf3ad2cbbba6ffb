/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/route.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum right { ANYONE, ADMIN };

static const struct row {
	const char *path;
	const char *method; /* GET brings HEAD with it */
	enum right right;
} routes[ENDPOINTS] = {
	[ENDPOINT_ROOT] = {"/", "GET", ANYONE},
	[ENDPOINT_STATUS] = {"/status", "GET", ANYONE},
	[ENDPOINT_TEST_LLM] = {"/test_llm", "GET", ADMIN},
	[ENDPOINT_POLL_REQUESTS] = {"/poll_requests", "POST", ANYONE},
	[ENDPOINT_REFRESH] = {"/refresh", "POST", ADMIN},
	[ENDPOINT_SELECT_MODEL] = {"/select_model", "POST", ADMIN},
	[ENDPOINT_REFRESH_CONFIG] = {"/refresh_config", "POST", ADMIN},
};

const char *route_path(enum endpoint e)
{
	return routes[e].path;
}

static int hex(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
	                                    : -1;
}

/* The next character of the path; -1: not acceptable. */
static int decoded(const char **raw, bool encoded)
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
	return c == '/' || c == '\0' ? -1 : c;
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

int route_normalise(const char *raw, bool encoded, char out[ROUTE_PATH_MAX])
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
		if ((c = decoded(&raw, encoded)) < 0 || len + 2 >= ROUTE_PATH_MAX)
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
	/* "/a/b" ends in a slash here only because end_segment set it. */
	out[(size_t)at > len && !slash ? len : (size_t)at] = '\0';
	return 0;
}

/* What of path stands behind prefix, which ends at a segment's end; NULL: not below it. */
static const char *behind(const char *path, const char *prefix)
{
	size_t len = strlen(prefix);

	while (len > 0 && prefix[len - 1] == '/')
		len--;
	if (len == 0 || strncmp(path, prefix, len) != 0)
		return NULL;
	return path[len] == '/' || path[len] == '\0' ? path + len : NULL;
}

/* The path below SCRIPT_NAME where that is a proper leading part of it, else below the
 * first other prefix that fits, else the path. */
static const char *below_prefix(const char *path, const struct route_request *r, char *const *prefixes, size_t count)
{
	const char *rest = r->script_name != NULL ? behind(path, r->script_name) : NULL;

	if (rest != NULL && rest[0] == '/' && strcmp(path, r->script_name) != 0)
		return rest;
	if (r->prefix != NULL && (rest = behind(path, r->prefix)) != NULL)
		return rest;
	for (size_t i = 0; i < count; i++)
		if ((rest = behind(path, prefixes[i])) != NULL)
			return rest;
	return path;
}

static bool same_path(const char *path, const char *wanted)
{
	size_t len = strlen(path);

	if (len > 0 && path[len - 1] == '/')
		len--;
	return len == 0 ? wanted[1] == '\0' : strlen(wanted) == len && memcmp(path, wanted, len) == 0;
}

/* A web server that doesn't split paths calls all of them SCRIPT_NAME, but sends no PATH_INFO. */
static bool is_prefix_alone(const char *path, const struct route_request *r)
{
	const char *rest = r->script_name != NULL ? behind(path, r->script_name) : NULL;

	return rest != NULL && same_path(rest, "/") && r->path_info != NULL && r->path_info[0] == '\0';
}

static bool takes(const struct row *row, const char *method)
{
	return strcmp(row->method, method) == 0 || (strcmp(row->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static struct route judge(enum endpoint e, const struct route_request *r, const char *method)
{
	const struct row *row = &routes[e];
	struct route found = {.status = 200, .endpoint = e, .head = strcmp(method, "HEAD") == 0};

	if (!takes(row, method)) {
		found.status = 405;
		found.allow = strcmp(row->method, "GET") == 0 ? "GET, HEAD" : row->method;
	} else if (row->right == ADMIN && !r->admin) {
		found.status = 403;
	}
	return found;
}

/* Without REQUEST_URI it is SCRIPT_NAME and PATH_INFO together. -1: not acceptable. */
static int normalised_path(const struct route_request *r, char path[ROUTE_PATH_MAX])
{
	char joined[ROUTE_PATH_MAX];
	int len;

	if (r->uri != NULL && r->uri[0] != '\0')
		return route_normalise(r->uri, true, path);
	len = snprintf(joined, sizeof joined, "%s%s", r->script_name != NULL ? r->script_name : "",
	               r->path_info != NULL ? r->path_info : "");
	if (len < 0 || (size_t)len >= sizeof joined)
		return -1;
	return route_normalise(len > 0 ? joined : "/", false, path);
}

struct route route_find(const struct route_request *r, char *const *prefixes, size_t prefix_count)
{
	const char *method = r->method != NULL ? r->method : "GET";
	struct route none = {.status = 404, .head = strcmp(method, "HEAD") == 0};
	char path[ROUTE_PATH_MAX];
	const char *rest;

	if (normalised_path(r, path) < 0) {
		none.status = 400;
		return none;
	}
	rest = below_prefix(path, r, prefixes, prefix_count);
	for (int e = 0; e < ENDPOINTS; e++)
		if (same_path(rest, routes[e].path))
			return judge((enum endpoint)e, r, method);
	return is_prefix_alone(path, r) ? judge(ENDPOINT_ROOT, r, method) : none;
}
