/* SPDX-License-Identifier: Apache-2.0 */
/* What a request's headers tell about who sent it, before any endpoint sees it: a web page of another
 * site, a name that is not served, a body that is not JSON. Pure. */
#ifndef TT_FCGI_GATE_H
#define TT_FCGI_GATE_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the Host header (NULL: there is none) names one of names: "example.org" on any port, or
 * "example.org:8080" on that one. */
bool gate_serves(const char *host, char *const *names, size_t count);

struct gate_page {
	const char *host, *origin, *fetch_site, *referer, *user_agent; /* headers; NULL: there is none */
};

/* Whether a browser sent the request, for a page or because its user typed the address. Without
 * Origin and Sec-Fetch-Site, which browsers omit from GET over plain HTTP, the other headers tell. */
bool gate_is_browser(const struct gate_page *p);

/* Whether an Origin header is one of origins ("https://example.org"). */
bool gate_has_origin(const char *origin, char *const *origins, size_t count);

/* Whether a page of another site had the request sent: its Origin is not the host that it was sent
 * to, or the browser says so in Sec-Fetch-Site. Pages of origins ("https://example.org") are not
 * of another site. */
bool gate_is_foreign(const struct gate_page *p, char *const *origins, size_t count);

/* Whether a foreign request is only that of a user who follows a link: the browser shows what it gets in
 * a window of its own, where the other page cannot reach it. mode and dest: of Sec-Fetch; NULL: not sent. */
bool gate_is_link(const struct gate_page *p, const char *mode, const char *dest);

/* Whether a Content-Type is that of JSON, as FastAPI judges it. */
bool gate_is_json(const char *content_type);

/* Whether an X-Forwarded-For header consists of nothing but addresses, with or without ports. If it
 * does not, a web server that looks for the client in it may find the proxy instead. */
bool gate_is_forwarded_for(const char *value);

#endif
