/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/value_check.h"

#include "core/base/network.h"
#include "core/base/similar.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WHITESPACE " \t\r\n"

/* From a URL's password on, if it has one; *after is where it ends. Whatever may be a part of it is one. */
static const char *find_password(const char *url, const char **after)
{
	const char *user = strstr(url, "://"), *colon;

	user = user != NULL ? user + 3 : NULL;
	*after = user != NULL ? strrchr(user, '@') : NULL;
	colon = *after != NULL ? memchr(user, ':', (size_t)(*after - user)) : NULL;
	return colon != NULL && colon + 1 < *after ? colon + 1 : NULL;
}

/* And the one in the query. NULL: it has none. */
static const char *find_query_password(const char *url)
{
	static const char name[] = "sentinel_password=";
	const char *query = strchr(url, '?'), *at = query != NULL ? strstr(query, name) : NULL;

	return at != NULL ? at + strlen(name) : NULL;
}

bool config_url_has_password(const char *url)
{
	const char *after;

	return find_password(url, &after) != NULL || find_query_password(url) != NULL;
}

void config_mask_url(const char *url, char *out, size_t size)
{
	const char *after, *password = find_password(url, &after);

	if (password == NULL)
		snprintf(out, size, "%s", url);
	else
		snprintf(out, size, "%.*s***%s", (int)(password - url), url, after);
	password = find_query_password(out);
	if (password != NULL) /* what follows it may belong to it */
		snprintf(out + (password - out), size - (size_t)(password - out), "***");
}

int value_refuse(const struct key_row *row, const char *shown, const char *why, struct err *e)
{
	char allowed[256], masked[256];

	table_allowed(row, allowed, sizeof allowed);
	if ((row->flags & KEY_SCHEME) != 0 && shown != NULL) {
		config_mask_url(shown, masked, sizeof masked);
		shown = masked;
	}
	if (row->info.secret || shown == NULL)
		return err_set(e, "the value %s; allowed: %s", why, allowed);
	return err_set(e, "%.80s%s %s; allowed: %s", shown, strlen(shown) > 80 ? "..." : "", why, allowed);
}

static int out_of_memory(struct err *e)
{
	return err_set(e, "out of memory");
}

/* --- choices --------------------------------------------------------------------- */

/* As Python's logging has them, whose names of levels ours are. */
static const struct {
	const char *written, *choice;
} level_synonyms[] = {{"WARN", "WARNING"}, {"FATAL", "CRITICAL"}};

const char *value_choice(const struct key_row *row, const char *text, size_t *len)
{
	for (size_t i = 0; row->key == CFG_LOG_LEVEL && i < sizeof level_synonyms / sizeof level_synonyms[0]; i++)
		if (strcasecmp(text, level_synonyms[i].written) == 0)
			text = level_synonyms[i].choice;
	*len = strlen(text);
	for (const char *choice = row->info.unit; choice != NULL;) {
		const char *bar = strchr(choice, '|');
		size_t n = bar != NULL ? (size_t)(bar - choice) : strlen(choice);

		if (n == *len && strncasecmp(choice, text, n) == 0)
			return choice;
		choice = bar != NULL ? bar + 1 : NULL;
	}
	return NULL;
}

int value_no_choice(const struct key_row *row, const char *text, struct err *e)
{
	struct similar similar = SIMILAR_TO(text);
	char *choices = strdup(row->info.unit), *rest = choices, why[200];
	int result;

	for (char *choice; rest != NULL && (choice = strsep(&rest, "|")) != NULL;)
		similar_consider(&similar, choice);
	snprintf(why, sizeof why, "is not a choice%s%s%s", similar.best != NULL ? "; did you mean " : "",
	         similar.best != NULL ? similar.best : "", similar.best != NULL ? "?" : "");
	result = value_refuse(row, text, why, e);
	free(choices);
	return result;
}

/* --- strings --------------------------------------------------------------------- */

static int check_bytes(const struct key_row *row, const char *text, struct err *e)
{
	bool several_lines = (row->flags & KEY_TEXT) != 0;
	json_t *utf8 = json_string(text);

	if (utf8 == NULL)
		return value_refuse(row, NULL, "is not valid UTF-8", e);
	json_decref(utf8);
	for (const char *p = text; *p != '\0'; p++) {
		if (((unsigned char)*p < ' ' || *p == 0x7f) && !(several_lines && (*p == '\n' || *p == '\t')))
			return value_refuse(row, NULL, "contains a line break or another control character", e);
	}
	if (strlen(text) > (size_t)row->max)
		return value_refuse(row, NULL, "is too long", e);
	return 0;
}

static bool url_has(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	bool there = curl_url_get(u, part, &text, 0) == CURLUE_OK && *text != '\0';

	curl_free(text);
	return there;
}

static bool url_is_http(CURLU *u)
{
	char *scheme = NULL;
	bool ok = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	          (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);

	curl_free(scheme);
	return ok;
}

/* curl takes more than any host can be called, and port 0. */
static bool url_has_sound_host(CURLU *u)
{
	char *host = NULL, *port = NULL;
	bool ok = curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK;

	if (ok && *host != '[')
		ok = *host != '-' && *host != '.' && strstr(host, "..") == NULL &&
		     strpbrk(host, "%$!*(),;'\"<>|{}^") == NULL;
	if (curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK)
		ok = ok && strtol(port, NULL, 10) != 0;
	curl_free(host);
	curl_free(port);
	return ok;
}

static int check_url(const struct key_row *row, const char *text, struct err *e)
{
	CURLU *u = curl_url();
	int result = 0;

	if (u == NULL)
		return out_of_memory(e);
	if (strpbrk(text, WHITESPACE) != NULL ||
	    curl_url_set(u, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK || !url_is_http(u) ||
	    !url_has(u, CURLUPART_HOST) || !url_has_sound_host(u))
		result = value_refuse(row, strchr(text, '@') == NULL ? text : NULL, "is not a valid URL", e);
	else if (url_has(u, CURLUPART_USER) || url_has(u, CURLUPART_PASSWORD))
		result = value_refuse(
			row, NULL,
			"contains a user name or password, which everybody who can read the settings would see", e);
	curl_url_cleanup(u);
	return result;
}

/* A name that no header can have would put the conversations of all users together. */
static int check_header(const struct key_row *row, const char *text, struct err *e)
{
	for (const char *p = text; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
			return value_refuse(row, text, "is not the name of a header", e);
	return 0;
}

static int check_scheme(const struct key_row *row, const char *text, struct err *e)
{
	const char *choice = row->info.unit;

	for (size_t len = strcspn(choice, "|"); len > 0; len = strcspn(choice, "|")) {
		if (strncmp(text, choice, len) == 0)
			return 0;
		choice += len + (choice[len] == '|');
	}
	return value_refuse(row, text, "begins with none of the choices", e);
}

/* An address of a host, alone or in brackets. */
static bool is_ipv6(const char *text)
{
	struct in6_addr address;

	return inet_pton(AF_INET6, text, &address) == 1;
}

/* Quotes and whitespace are what is left of a shell's or a compose file's syntax. */
static int check_address(const struct key_row *row, const char *text, struct err *e)
{
	bool host_only = (row->flags & KEY_HOST) != 0;
	char *url = NULL;
	int result = -1;

	if (strpbrk(text, WHITESPACE "\"'`") != NULL)
		return value_refuse(row, strchr(text, '@') == NULL ? text : NULL, "contains a quote or whitespace", e);
	if (host_only && is_ipv6(text))
		return 0;
	/* "host:", "http:/host", "https//host": a part is missing */
	if (strstr(text, "://") == NULL && (text[strlen(text) - 1] == ':' || strstr(text, ":/") != NULL ||
	                                    strncmp(text + strcspn(text, "/"), "//", 2) == 0))
		return value_refuse(row, strchr(text, '@') == NULL ? text : NULL, "is not a valid address", e);
	if (host_only && (strpbrk(text, "/?#@") != NULL ||
	                  (strchr(text, ':') != NULL && !(text[0] == '[' && text[strlen(text) - 1] == ']'))))
		return value_refuse(row, strchr(text, '@') == NULL ? text : NULL, "is more than a host", e);
	if (asprintf(&url, "%s%s", strstr(text, "://") == NULL ? "http://" : "", text) < 0)
		return out_of_memory(e);
	result = check_url(row, url, e);
	free(url);
	return result;
}

int value_check_proxy(const struct key_row *row, const char *url, struct err *e)
{
	CURLU *u = curl_url();
	bool ok;

	if (u == NULL)
		return out_of_memory(e);
	ok = strpbrk(url, WHITESPACE) == NULL &&
	     curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK && url_is_http(u) &&
	     url_has(u, CURLUPART_HOST);
	curl_url_cleanup(u);
	return ok ? 0 : value_refuse(row, NULL, "is not the URL of a proxy", e);
}

/* What is sent to an LLM beside what every request has. */
static int check_json(const struct key_row *row, const char *text, struct err *e)
{
	static const char *const ours[] = {"model", "messages", "prompt", "stream", "tools", "tool_choice"};
	json_error_t at;
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &at);
	const char *taken = NULL;
	char why[300];
	int result = 0;

	if (object == NULL) {
		snprintf(why, sizeof why, "is not valid JSON: %.150s (column %d)", at.text, at.column);
		return value_refuse(row, NULL, why, e);
	}
	for (size_t i = 0; taken == NULL && i < sizeof ours / sizeof ours[0]; i++)
		if (json_object_get(object, ours[i]) != NULL)
			taken = ours[i];
	if (!json_is_object(object)) {
		result = value_refuse(row, NULL, "is JSON, but not an object", e);
	} else if (taken != NULL) {
		snprintf(why, sizeof why, "has the member \"%s\", which every request sets itself", taken);
		result = value_refuse(row, NULL, why, e);
	}
	json_decref(object);
	return result;
}

int value_check_string(const struct key_row *row, const char *text, struct err *e)
{
	if (check_bytes(row, text, e) < 0 || (row->type == TYPE_URL && check_url(row, text, e) < 0) ||
	    ((row->flags & KEY_HEADER) != 0 && check_header(row, text, e) < 0) ||
	    ((row->flags & (KEY_ADDRESS | KEY_HOST)) != 0 && check_address(row, text, e) < 0) ||
	    ((row->flags & KEY_SCHEME) != 0 && check_scheme(row, text, e) < 0) ||
	    ((row->flags & KEY_JSON) != 0 && check_json(row, text, e) < 0))
		return -1;
	return 0;
}

/* --- items of lists -------------------------------------------------------------- */

static bool is_network(const char *item)
{
	struct network n;

	return network_parse(item, &n);
}

static bool is_origin(const char *item)
{
	const char *host = strncasecmp(item, "http://", 7) == 0    ? item + 7
	                   : strncasecmp(item, "https://", 8) == 0 ? item + 8
	                                                           : "";

	return *host != '\0' && strpbrk(host, "/?#@ ") == NULL;
}

/* HOST, HOST:PORT or [IPV6]:PORT, and nothing else. */
static bool is_host_and_port(const char *text)
{
	char *url = NULL, *port = NULL;
	CURLU *u = curl_url();
	bool ok = false;

	if (u != NULL && *text != '\0' && strpbrk(text, WHITESPACE "\"'`/?#@=\\") == NULL &&
	    asprintf(&url, "http://%s/", text) >= 0 && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK)
		ok = curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_NO_PORT
		             ? text[strlen(text) - 1] != ':'
		             : port != NULL && strtoul(port, NULL, 10) > 0;
	curl_free(port);
	curl_url_cleanup(u);
	free(url);
	return ok;
}

/* NAME=TURNS; what stands before the last = is the name. */
static bool is_turns(const char *item)
{
	const char *number = strrchr(item, '=');
	size_t digits = number != NULL ? strspn(number + 1, "0123456789") : 0;
	long turns = digits > 0 && digits <= 5 ? strtol(number + 1, NULL, 10) : 0;

	return turns >= 1 && turns <= 60000 && number[1 + digits] == '\0' && number != item;
}

/* NAME=HOST, each with a port or without. */
static bool is_host_mapping(char *item)
{
	char *to = strchr(item, '=');
	bool ok;

	if (to == NULL)
		return false;
	*to = '\0';
	ok = is_host_and_port(item) && is_host_and_port(to + 1);
	*to = '=';
	return ok;
}

int value_check_item(const struct key_row *row, char *item, struct err *e)
{
	size_t len = strlen(item);

	if (check_bytes(row, item, e) < 0)
		return -1;
	if (row->info.unit != NULL) {
		const char *choice = value_choice(row, item, &len);

		if (choice == NULL)
			return value_no_choice(row, item, e);
		memcpy(item, choice, len);
	}
	if ((row->flags & KEY_PATHS) != 0 && item[0] != '/')
		return value_refuse(row, item, "does not begin with /", e);
	if ((row->flags & KEY_NETWORKS) != 0 && !is_network(item))
		return value_refuse(row, item, "is neither an address nor a network", e);
	if ((row->flags & KEY_ORIGINS) != 0 && !is_origin(item))
		return value_refuse(row, item, "is not the origin of a web page", e);
	if ((row->flags & KEY_TURNS) != 0 && !is_turns(item))
		return value_refuse(row, item, "does not say how many turns", e);
	if ((row->flags & KEY_HOSTS) != 0 && !is_host_mapping(item))
		return value_refuse(row, item, "does not say where a host is", e);
	return (row->flags & KEY_HEADER) != 0 ? check_header(row, item, e) : 0;
}
