/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"

#include "core/protocol/studio_request.h"
#include "fcgi/endpoints/daemon_command.h"
#include "fcgi/response.h"
#include "fcgi/route.h"

#include <stdlib.h>

static void answer(struct worker *w, struct connection *c)
{
	char *from_query = route_query_value(connection_params(c)->query_string, "deploy_id"), *id = NULL;
	json_t *detail = NULL;
	size_t len;
	const char *body = connection_body(c, &len);
	int status =
		connection_body_too_large(c) ? 413 : studio_request_parse_select(from_query, body, len, &id, &detail);

	if (status == 413)
		response_detail(c, 413, "", "The request body is too large");
	else if (status == 422)
		response_value(c, 422, detail);
	else if (status != 0)
		response_detail(c, 500, "", "Out of memory");
	else
		daemon_command_forward(w, c, CMD_SELECT, json_pack("{s:s}", "deploy_id", id));
	free(id);
	free(from_query);
}

const struct endpoint endpoint_select_model = {
	.path = "/select_model",
	.methods = "POST",
	.right = ENDPOINT_ADMIN,
	.help = "Selects the LLM with this deploy_id, from the query or a JSON body.",
	.answer = answer,
};
