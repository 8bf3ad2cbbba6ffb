/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/dispatch.h"
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/ui.h"
#include "fcgi/response.h"

static void answer(struct worker *w, struct connection *c)
{
	if (ui_refuse(w, c))
		return;
	response_value(c, 200, json_pack("{s:b,s:s}", "admin", dispatch_is_admin(c), "page", ui_tag()));
}

const struct endpoint endpoint_ui_session = {
	.path = "/ui/session",
	.methods = "GET, HEAD",
	.right = ENDPOINT_PUBLIC,
	.help = "Whether this client is an admin, and which version of the page is served, for the page.",
	.answer = answer,
};
