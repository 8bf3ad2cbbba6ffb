/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoints/daemon_command.h"

#include "fcgi/response.h"

#include <stdlib.h>

#define SLACK_MS 500 /* the daemon keeps the deadline; its answer must still have time to arrive */

struct forwarded {
	struct connection *connection;
	struct command_request *request;
};

static json_t *failure(const char *message)
{
	return json_pack("{s:s, s:s}", "status", "error", "message", message);
}

static void on_answer(void *arg, const json_t *result, bool unreachable, const struct err *e)
{
	struct forwarded *call = arg;
	struct connection *c = call->connection;

	free(call);
	if (result != NULL)
		response_borrowed(c, 200, result);
	else
		response_value(c, 200, failure(unreachable ? "tt-agentd is not running" : e->text));
}

static void on_closed(void *arg)
{
	struct forwarded *call = arg;

	command_request_cancel(call->request);
	free(call);
}

void daemon_command_forward(struct worker *w, struct connection *c, enum command command, json_t *args)
{
	static const struct connection_owner owner = {.closed = on_closed};
	struct forwarded *call = malloc(sizeof *call);

	if (call == NULL) {
		json_decref(args);
		response_detail(c, 500, "", "Out of memory");
		return;
	}
	*call = (struct forwarded){.connection = c};
	call->request = command_send(worker_daemon(w), command, args, command_info(command)->deadline_ms + SLACK_MS,
	                             on_answer, call);
	if (call->request == NULL) {
		free(call);
		response_detail(c, 500, "", "Out of memory");
		return;
	}
	connection_own(c, &owner, call);
}
