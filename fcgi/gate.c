/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/gate.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- hosts and origins --------------------------------------------------------------------- */

/* "example.org:8080", "[::1]:8080": the name, without a dot at its end, and the port; "" if there is none. */
struct host {
	const char *name, *port;
	size_t name_len, port_len;
};

static struct host host_of(const char *text, size_t len)
{
	const char *end = text + len, *bracket = memchr(text, ']', len);
	const char *colon = bracket != NULL ? bracket : text;
	struct host h = {.name = text, .name_len = len, .port = end};

	colon = memchr(colon, ':', (size_t)(end - colon));
	if (colon != NULL) {
		h.name_len = (size_t)(colon - text);
		h.port = colon + 1;
		h.port_len = (size_t)(end - h.port);
	}
	if (h.name_len > 1 && text[h.name_len - 1] == '.')
		h.name_len--;
	return h;
}

static bool same_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && strncasecmp(a, b, a_len) == 0;
}

static bool same_name(const struct host *a, const struct host *b)
{
	return a->name_len > 0 && same_text(a->name, a->name_len, b->name, b->name_len);
}

bool gate_serves(const char *host, char *const *names, size_t count)
{
	struct host asked = host_of(host != NULL ? host : "", host != NULL ? strlen(host) : 0);

	for (size_t i = 0; i < count; i++) {
		struct host served = host_of(names[i], strlen(names[i]));

		if (same_name(&asked, &served) &&
		    (served.port_len == 0 || same_text(asked.port, asked.port_len, served.port, served.port_len)))
			return true;
	}
	return false;
}

/* "https://example.org": its host, and the port that the scheme implies; false: it has no such form, as "null". */
static bool origin_host(const char *origin, struct host *h, const char **implied)
{
	static const struct {
		const char *prefix, *port;
	} schemes[] = {{"http://", "80"}, {"https://", "443"}};

	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
		size_t len = strlen(schemes[i].prefix);

		if (strncasecmp(origin, schemes[i].prefix, len) != 0)
			continue;
		*h = host_of(origin + len, strlen(origin + len));
		*implied = schemes[i].port;
		return true;
	}
	return false;
}

static bool same_port(const struct host *a, const struct host *b, const char *implied)
{
	size_t len = strlen(implied);

	return same_text(a->port_len > 0 ? a->port : implied, a->port_len > 0 ? a->port_len : len,
	                 b->port_len > 0 ? b->port : implied, b->port_len > 0 ? b->port_len : len);
}

static bool is_own(const char *origin, const char *host)
{
	struct host from, to;
	const char *implied;

	if (host == NULL || !origin_host(origin, &from, &implied))
		return false;
	to = host_of(host, strlen(host));
	return same_name(&from, &to) && same_port(&from, &to, implied);
}

bool gate_has_origin(const char *origin, char *const *origins, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct host a, b;
		const char *implied, *other;

		if (origin_host(origin, &a, &implied) && origin_host(origins[i], &b, &other) && implied == other &&
		    same_name(&a, &b) && same_port(&a, &b, implied))
			return true;
	}
	return false;
}

/* --- pages --------------------------------------------------------------------------------- */

bool gate_is_browser(const struct gate_page *p)
{
	return p->origin != NULL || p->fetch_site != NULL || p->referer != NULL ||
	       (p->user_agent != NULL && strncasecmp(p->user_agent, "Mozilla/", 8) == 0);
}

bool gate_is_foreign(const struct gate_page *p, char *const *origins, size_t count)
{
	if (p->origin != NULL && gate_has_origin(p->origin, origins, count))
		return false;
	if (p->origin != NULL && !is_own(p->origin, p->host))
		return true;
	return p->fetch_site != NULL && strcmp(p->fetch_site, "same-origin") != 0 && strcmp(p->fetch_site, "none") != 0;
}

bool gate_is_link(const struct gate_page *p, const char *mode, const char *dest)
{
	return p->origin == NULL && mode != NULL && strcmp(mode, "navigate") == 0 && dest != NULL &&
	       strcmp(dest, "document") == 0;
}

/* --- bodies -------------------------------------------------------------------------------- */

bool gate_is_json(const char *type)
{
	static const char application[] = "application/";
	const char *rest;
	size_t len;

	type += strspn(type, " \t");
	if (strncasecmp(type, application, sizeof application - 1) != 0)
		return false;
	type += sizeof application - 1;
	len = strcspn(type, "; \t");
	rest = type + len + strspn(type + len, " \t");
	if ((*rest != '\0' && *rest != ';') || memchr(type, ',', len) != NULL || memchr(type, '/', len) != NULL)
		return false;
	return same_text(type, len, "json", 4) || (len > 5 && strncasecmp(type + len - 5, "+json", 5) == 0);
}

/* --- proxies --------------------------------------------------------------------------------- */

static bool is_port(const char *text)
{
	size_t len = strspn(text, "0123456789");

	return len > 0 && len <= 5 && text[len] == '\0' && strtoul(text, NULL, 10) - 1 < 65535;
}

/* An address as nginx reads it: a port needs brackets around IPv6, and brackets a port. */
static bool is_address(const char *text, size_t len)
{
	char copy[INET6_ADDRSTRLEN + 10];
	unsigned char address[16];
	char *end;

	if (len >= sizeof copy)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET, copy, address) == 1 || inet_pton(AF_INET6, copy, address) == 1)
		return true;
	if (copy[0] == '[') {
		end = strchr(copy, ']');
		if (end == NULL || end[1] != ':' || !is_port(end + 2))
			return false;
		*end = '\0';
		return inet_pton(AF_INET6, copy + 1, address) == 1;
	}
	end = strchr(copy, ':');
	if (end == NULL || !is_port(end + 1))
		return false;
	*end = '\0';
	return inet_pton(AF_INET, copy, address) == 1;
}

bool gate_is_forwarded_for(const char *value)
{
	for (;;) {
		size_t len = strcspn(value, ", ");

		if (!is_address(value, len))
			return false;
		value += len;
		if (*value == '\0')
			return true;
		value += strspn(value, " ");
		if (*value != ',')
			return false;
		value += 1 + strspn(value + 1, " ");
	}
}
