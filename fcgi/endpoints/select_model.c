/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"

#include "core/protocol/studio_request.h"
#include "fcgi/body.h"
#include "fcgi/endpoints/daemon_command.h"
#include "fcgi/response.h"
#include "fcgi/route.h"

#include <stdlib.h>

/* deploy_id as it was requested. */
struct selection {
	char *from_query;
	int status; /* of studio_request_parse_select */
	char *id;
	json_t *detail;
};

static void parse(void *arg, const char *body, size_t len)
{
	struct selection *s = arg;

	s->status = studio_request_parse_select(s->from_query, body, len, &s->id, &s->detail);
}

static void parsed(void *arg, struct worker *w, struct connection *c)
{
	struct selection *s = arg;

	if (s->status == 422)
		response_borrowed(c, 422, s->detail);
	else if (s->status != 0)
		response_detail(c, 500, "", "Out of memory");
	else
		daemon_command_forward(w, c, CMD_SELECT, json_pack("{s:s}", "deploy_id", s->id));
}

static void selection_free(void *arg)
{
	struct selection *s = arg;

	json_decref(s->detail);
	free(s->id);
	free(s->from_query);
	free(s);
}

static void answer(struct worker *w, struct connection *c)
{
	static const struct body_parser parser = {.parse = parse, .parsed = parsed, .free = selection_free};
	struct selection *s = calloc(1, sizeof *s);
	size_t len;
	const char *body = connection_body(c, &len);

	if (connection_body_too_large(c)) {
		response_detail(c, 413, "", "The request body is too large");
	} else if (s == NULL) {
		response_detail(c, 500, "", "Out of memory");
	} else {
		s->from_query = route_query_value(connection_params(c)->query_string, "deploy_id");
		if (body_is_long(c) && body_parse(w, c, &parser, s) == 0)
			return;
		parse(s, body, len);
		parsed(s, w, c);
	}
	if (s != NULL)
		selection_free(s);
}

const struct endpoint endpoint_select_model = {
	.path = "/select_model",
	.methods = "POST",
	.right = ENDPOINT_ADMIN,
	.help = "Selects the LLM with this deploy_id, from the query or a JSON body.",
	.answer = answer,
};
