/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints that tt-agentd answers: each is one command of the command channel. */
#include "fcgi/dispatch.h"

#include "core/protocol/request.h"
#include "fcgi/query.h"
#include "fcgi/response.h"

#include <stdlib.h>

#define SLACK_MS 500 /* the daemon keeps the deadline; its answer must still arrive */

struct call {
	struct connection *connection;
	struct command_request *request;
};

static json_t *failure(const char *message)
{
	return json_pack("{s:s, s:s}", "status", "error", "message", message);
}

static void on_answer(void *arg, const json_t *result, bool unreachable, const struct err *e)
{
	struct call *call = arg;
	struct connection *c = call->connection;

	free(call);
	if (result != NULL)
		response_borrowed(c, 200, result);
	else
		response_value(c, 200, failure(unreachable ? "tt-agentd is not running" : e->text));
}

static void on_gone(void *arg)
{
	struct call *call = arg;

	command_request_cancel(call->request);
	free(call);
}

/* Steals args. */
static void ask(struct worker *w, struct connection *c, enum command command, json_t *args)
{
	static const struct connection_owner owner = {.gone = on_gone};
	struct call *call = malloc(sizeof *call);

	if (call == NULL) {
		json_decref(args);
		response_detail(c, 500, "", "Out of memory");
		return;
	}
	*call = (struct call){.connection = c};
	call->request = command_send(worker_daemon(w), command, args, command_info(command)->deadline_ms + SLACK_MS,
	                             on_answer, call);
	if (call->request == NULL) {
		free(call);
		response_detail(c, 500, "", "Out of memory");
		return;
	}
	connection_own(c, &owner, call);
}

void serve_test_llm(struct worker *w, struct connection *c, bool head)
{
	(void)head; /* of a HEAD's answer the web server leaves the body out */
	ask(w, c, CMD_TEST, NULL);
}

void serve_refresh(struct worker *w, struct connection *c, bool head)
{
	(void)head;
	ask(w, c, CMD_REFRESH, NULL);
}

void serve_refresh_config(struct worker *w, struct connection *c, bool head)
{
	(void)head;
	ask(w, c, CMD_RELOAD, NULL);
}

void serve_select_model(struct worker *w, struct connection *c, bool head)
{
	char *asked = query_value(connection_params(c)->query_string, "deploy_id"), *id = NULL;
	json_t *detail = NULL;
	size_t len;
	const char *body = connection_body(c, &len);
	int status;

	(void)head;
	status = connection_body_too_large(c) ? 413 : chat_select_parse(asked, body, len, &id, &detail);
	if (status == 413)
		response_detail(c, 413, "", "The request body is too large");
	else if (status == 422)
		response_value(c, 422, detail);
	else if (status != 0)
		response_detail(c, 500, "", "Out of memory");
	else
		ask(w, c, CMD_SELECT, json_pack("{s:s}", "deploy_id", id));
	free(id);
	free(asked);
}
