/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoints/ui.h"

#include "fcgi/content.h"
#include "fcgi/dispatch.h"
#include "fcgi/endpoint.h"
#include "fcgi/response.h"
#include "ui/page.h"

#include <string.h>

#define FOR_ADMINS                                                                                                       \
	"This page is for admins (setting http.ui), and the web server does not count this client as one: it must pass " \
	"the FastCGI parameter TT_AGENT_ADMIN=1 (see the geo block in tt-agent-upstream.conf of the nginx files, or "    \
	"tt-agent-fastcgi.conf of the other files)."

/* Whatever a model or a page that it found says, it is text, and the browser runs and loads nothing that is not a
 * part of the page. */
#define HEADERS(tag)                                                                                                   \
	"ETag: " tag                                                                                                   \
	"\r\n"                                                                                                         \
	"Cache-Control: no-cache\r\n"                                                                                  \
	"Vary: Accept-Encoding\r\n"                                                                                    \
	"Content-Security-Policy: default-src 'none'; script-src " UI_SCRIPT_HASH "; style-src " UI_STYLE_HASH         \
	"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "           \
	"require-trusted-types-for 'script'; trusted-types 'none'\r\n"                                                 \
	"X-Frame-Options: DENY\r\n"                                                                                    \
	"X-Content-Type-Options: nosniff\r\n"                                                                          \
	"Referrer-Policy: no-referrer\r\n"                                                                             \
	"Cross-Origin-Resource-Policy: same-origin\r\n"

static const struct {
	const char *tag, *known, *whole; /* and headers */
	const unsigned char *bytes;
	size_t len;
} forms[] = {
	{UI_TAG, HEADERS(UI_TAG), HEADERS(UI_TAG), ui_page, sizeof ui_page},
	{UI_TAG_GZIP, HEADERS(UI_TAG_GZIP), "Content-Encoding: gzip\r\n" HEADERS(UI_TAG_GZIP), ui_page_gzip,
         sizeof ui_page_gzip},
};

const char *ui_tag(void)
{
	return UI_TAG;
}

bool ui_refuse(struct worker *w, struct connection *c)
{
	const struct config *config = published_config(worker_published(w));
	const char *allowed = config != NULL ? cfg_str(config, CFG_HTTP_UI) : "admins";

	if (strcmp(allowed, "off") == 0)
		response_detail(c, 404, "", "Not Found");
	else if (strcmp(allowed, "admins") == 0 && !dispatch_is_admin(c))
		response_detail(c, 403, "", FOR_ADMINS);
	else
		return false;
	return true;
}

/* What the page requests is relative to a path that ends with a slash. */
static bool has_slash(const struct fcgi_request_params *p)
{
	const char *path = p->request_uri;
	size_t len;

	if (path == NULL || *path == '\0')
		path = p->path_info != NULL && *p->path_info != '\0' ? p->path_info : p->script_name;
	len = path != NULL ? strcspn(path, "?#") : 0;
	return len > 0 && path[len - 1] == '/';
}

static void answer(struct worker *w, struct connection *c)
{
	size_t form = content_accepts_gzip(connection_header(c, "Accept-Encoding"));
	const char *known = connection_header(c, "If-None-Match");

	if (ui_refuse(w, c))
		return;
	if (!has_slash(connection_params(c)))
		response_whole(c, 302, "text/plain", "Location: ui/\r\nCache-Control: no-cache\r\n", "", 0);
	else if (content_is_known(known, forms[form].tag))
		response_whole(c, 304, NULL, forms[form].known, "", 0);
	else
		response_whole(c, 200, "text/html; charset=utf-8", forms[form].whole, (const char *)forms[form].bytes,
		               forms[form].len);
}

const struct endpoint endpoint_ui = {
	.path = "/ui",
	.methods = "GET, HEAD",
	.right = ENDPOINT_PAGE,
	.help = "A web page that shows the state and chats, for those whom http.ui names.",
	.answer = answer,
};
