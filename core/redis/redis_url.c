/* SPDX-License-Identifier: Apache-2.0 */
#include "core/redis/redis_url.h"

#include "core/http/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT          6379
#define SENTINEL_PORT 26379
#define DATABASE_MAX  1000000

static const struct {
	const char *scheme;
	enum redis_topology topology;
	bool tls, path;
} schemes[] = {
	{"redis://", REDIS_SINGLE, .tls = false},
	{"rediss://", REDIS_SINGLE, .tls = true},
	{"redis+unix://", REDIS_SINGLE, .path = true},
	{"redis+sentinel://", REDIS_SENTINEL, .tls = false},
	{"rediss+sentinel://", REDIS_SENTINEL, .tls = true},
	{"redis+cluster://", REDIS_CLUSTER, .tls = false},
	{"rediss+cluster://", REDIS_CLUSTER, .tls = true},
};
#define SCHEMES (sizeof schemes / sizeof schemes[0])

static size_t scheme_of(const char *text)
{
	size_t i = 0;

	while (i < SCHEMES && strncmp(text, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
		i++;
	return i;
}

/* A number in decimal digits of at most max; -1: it is none. */
static int64_t number_of(const char *text, size_t len, int64_t max)
{
	int64_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || n > max)
			return -1;
		n = n * 10 + (text[i] - '0');
	}
	return len > 0 && n <= max ? n : -1;
}

static int add_address(struct redis_url *u, const char *text, size_t len, struct err *e)
{
	const char *close = len > 0 && text[0] == '[' ? memchr(text, ']', len) : NULL;
	const char *colon =
		close != NULL ? (close + 1 < text + len && close[1] == ':' ? close + 1 : NULL) : memchr(text, ':', len);
	const size_t host = colon != NULL ? (size_t)(colon - text) : len;
	int64_t port = u->topology == REDIS_SENTINEL ? SENTINEL_PORT : PORT;
	struct redis_address *a = &u->addresses[u->count];

	if (u->count == REDIS_ADDRESSES_MAX)
		return err_set(e, "it has more than %d servers", REDIS_ADDRESSES_MAX);
	if (colon != NULL)
		port = number_of(colon + 1, len - host - 1, 65535);
	if (host == 0 || port <= 0 || memchr(text, '%', len) != NULL || memchr(text, '?', len) != NULL ||
	    (close != NULL && close + 1 != text + host))
		return err_set(e, "a server in it is not HOST or HOST:PORT");
	a->host = close != NULL ? strndup(text + 1, host - 2) : strndup(text, host);
	a->port = (uint16_t)port;
	u->count++;
	return a->host != NULL ? 0 : err_set(e, "no memory for it");
}

static int add_addresses(struct redis_url *u, const char *text, size_t len, struct err *e)
{
	while (true) {
		const char *comma = memchr(text, ',', len);
		const size_t one = comma != NULL ? (size_t)(comma - text) : len;

		if (add_address(u, text, one, e) < 0)
			return -1;
		if (comma == NULL)
			break;
		text += one + 1;
		len -= one + 1;
	}
	if (u->topology == REDIS_SINGLE && u->count > 1)
		return err_set(e, "it has several servers; redis+sentinel:// and redis+cluster:// take several");
	return 0;
}

/* [USER][:PASSWORD] */
static int add_user(struct redis_url *u, const char *text, size_t len, struct err *e)
{
	const char *colon = memchr(text, ':', len);
	const size_t user = colon != NULL ? (size_t)(colon - text) : len;

	if (user > 0 && (u->user = url_decode(text, user)) == NULL)
		return err_set(e, "its user cannot be decoded");
	if (colon != NULL && len > user + 1 && (u->password = url_decode(colon + 1, len - user - 1)) == NULL)
		return err_set(e, "its password cannot be decoded");
	return 0;
}

static int set_database(struct redis_url *u, const char *text, size_t len, struct err *e)
{
	u->database = number_of(text, len, DATABASE_MAX);
	if (u->database < 0)
		return err_set(e, "it does not end with the number of a database");
	if (u->database > 0 && u->topology == REDIS_CLUSTER)
		return err_set(e, "a cluster has only database 0");
	return 0;
}

/* [sentinel_username=USER][&][sentinel_password=PASSWORD] */
static int set_query(struct redis_url *u, const char *query, struct err *e)
{
	const struct {
		const char *name;
		char **value;
	} known[] = {{"sentinel_username=", &u->sentinel_username}, {"sentinel_password=", &u->sentinel_password}};

	while (*query != '\0') {
		const size_t len = strcspn(query, "&");
		size_t i = 0;

		while (i < 2 && strncmp(query, known[i].name, strlen(known[i].name)) != 0)
			i++;
		if (i == 2 || *known[i].value != NULL)
			return err_set(e, "after ? it has something else than sentinel_username and sentinel_password");
		*known[i].value = url_decode(query + strlen(known[i].name), len - strlen(known[i].name));
		if (*known[i].value == NULL)
			return err_set(e, "its %.17s cannot be decoded", known[i].name);
		query += len + (query[len] == '&');
	}
	return 0;
}

/* [/NAME][/DATABASE][?QUERY] */
static int set_path(struct redis_url *u, const char *path, struct err *e)
{
	size_t len;

	if (u->topology == REDIS_SENTINEL) {
		len = path[0] == '/' ? strcspn(path + 1, "/?") : 0;
		if (len == 0 || (u->group = url_decode(path + 1, len)) == NULL)
			return err_set(e, "it does not end with the name of the group: HOST:PORT,.../NAME");
		path += 1 + len;
	}
	len = u->topology == REDIS_SENTINEL ? strcspn(path, "?") : strlen(path);
	if (len > 1 && set_database(u, path + 1, len - 1, e) < 0)
		return -1;
	return path[len] == '?' ? set_query(u, path + len + 1, e) : 0;
}

/* /PATH[?db=DATABASE] */
static int set_socket(struct redis_url *u, const char *path, struct err *e)
{
	const size_t len = strcspn(path, "?");

	if (path[0] != '/' || len > 107)
		return err_set(e, "the path of a Unix socket begins with / and has at most 107 bytes");
	u->addresses[0].host = url_decode(path, len);
	u->count = 1;
	if (u->addresses[0].host == NULL)
		return err_set(e, "its path cannot be decoded");
	if (path[len] == '\0')
		return 0;
	if (strncmp(path + len, "?db=", 4) != 0)
		return err_set(e, "after the path only ?db=DATABASE is known");
	return set_database(u, path + len + 4, strlen(path + len + 4), e);
}

static int parse(const char *text, size_t scheme, struct redis_url *u, struct err *e)
{
	const char *at, *path;

	if (scheme == SCHEMES)
		return err_set(e,
		               "it does not begin with redis://, rediss://, redis+unix://, redis+sentinel:// or "
		               "redis+cluster://");
	u->topology = schemes[scheme].topology;
	u->tls = schemes[scheme].tls;
	text += strlen(schemes[scheme].scheme);
	at = memrchr(text, '@', strcspn(text, "/"));
	if (at != NULL) {
		if (add_user(u, text, (size_t)(at - text), e) < 0)
			return -1;
		text = at + 1;
	}
	if (schemes[scheme].path)
		return set_socket(u, text, e);
	path = text + strcspn(text, "/");
	return add_addresses(u, text, (size_t)(path - text), e) < 0 ? -1 : set_path(u, path, e);
}

int redis_url_parse(const char *text, struct redis_url *u, struct err *e)
{
	struct err why = ERR_INIT;
	char masked[256];

	*u = (struct redis_url){.count = 0};
	if (parse(text, scheme_of(text), u, &why) == 0)
		return 0;
	redis_url_clear(u);
	config_mask_url(text, masked, sizeof masked);
	return err_set(e, "%s: %s", masked, why.text);
}

void redis_url_clear(struct redis_url *u)
{
	if (u->password != NULL)
		explicit_bzero(u->password, strlen(u->password));
	if (u->sentinel_password != NULL)
		explicit_bzero(u->sentinel_password, strlen(u->sentinel_password));
	free(u->user);
	free(u->password);
	free(u->sentinel_username);
	free(u->sentinel_password);
	free(u->group);
	for (size_t i = 0; i < u->count; i++)
		free(u->addresses[i].host);
	*u = (struct redis_url){.count = 0};
}

int redis_check_url(const char *url, struct err *e)
{
	struct redis_url u;

	if (redis_url_parse(url, &u, e) < 0)
		return -1;
	redis_url_clear(&u);
	return 0;
}
