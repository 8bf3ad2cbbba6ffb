/* SPDX-License-Identifier: Apache-2.0 */
/* Code execution, web search and, with --try, a real search and a real chat. */
#include "agentctl/doctor/doctor.h"
#include "agentctl/text.h"
#include "core/base/clock.h"
#include "core/tools/search_service.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RUNNER_MS 5000
#define SEARCH_MS 15000

/* --- the sandbox ------------------------------------------------------------------------------- */

/* Whether the runner says that it is ready; *error: the errno where there is no connection, else 0. */
static bool runner_is_ready(const char *path, int *error)
{
	static const char hello[] = "{\"hello\":true}\n";
	struct pollfd p = {.fd = proc_open_socket(path, error), .events = POLLIN};
	char answer[256] = "";
	ssize_t n = -1;

	if (p.fd < 0)
		return false;
	if (send(p.fd, hello, strlen(hello), MSG_NOSIGNAL) > 0 && poll(&p, 1, RUNNER_MS) > 0)
		n = recv(p.fd, answer, sizeof answer - 1, 0);
	close(p.fd);
	return n > 0 && strstr(answer, "ready") != NULL;
}

static bool is_installed(const char *program)
{
	static const char *const directories[] = {"/usr/bin", "/bin", "/usr/local/bin"};
	const char *path = getenv("PATH");
	char *copy = path != NULL ? strdup(path) : NULL, *rest = copy, *directory, file[4096];
	bool found = false;

	while (!found && rest != NULL && (directory = strsep(&rest, ":")) != NULL) {
		snprintf(file, sizeof file, "%s/%s", directory, program);
		found = access(file, X_OK) == 0;
	}
	for (size_t i = 0; copy == NULL && !found && i < sizeof directories / sizeof directories[0]; i++) {
		snprintf(file, sizeof file, "%s/%s", directories[i], program);
		found = access(file, X_OK) == 0;
	}
	free(copy);
	return found;
}

static void check_namespaces(struct doctor *d)
{
	static const struct {
		const char *file, *allowed; /* the line that allows them */
		long refuses;               /* the value that does not */
	} switches[] = {
		{"/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone=1", 0},
		{"/proc/sys/user/max_user_namespaces", "user.max_user_namespaces=15000", 0},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
	         "kernel.apparmor_restrict_unprivileged_userns=0", 1},
	};

	for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
		FILE *in = fopen(switches[i].file, "re");
		long value;

		if (in == NULL)
			continue;
		if (fscanf(in, "%ld", &value) == 1 && value == switches[i].refuses)
			doctor_find(d, FINDING_NAMESPACES_OFF, switches[i].allowed,
			            "%s is %ld: sandboxes cannot be made", switches[i].file, value);
		fclose(in);
	}
}

static void check_sandbox(struct doctor *d)
{
	static const char *const programs[] = {"bwrap", "python3"};
	const char *socket_path = cfg_str(d->config, CFG_CODE_RUNNER_SOCKET);
	int error;

	if ((!cfg_bool(d->config, CFG_CODE_LOCAL) && !doctor_is_switched_off(d->config, CFG_CODE_LOCAL)) ||
	    cfg_str(d->config, CFG_CODE_E2B_KEY) != NULL || runner_is_ready(socket_path, &error))
		return;
	if (error == EACCES || error == EPERM) {
		doctor_skip(d, "the sandbox", "only root and the service's user may use %s", socket_path);
		return;
	}
	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
		if (!is_installed(programs[i]))
			doctor_find(d, FINDING_BUBBLEWRAP_MISSING, programs[i], "%s is not installed", programs[i]);
	check_namespaces(d);
	if (error != 0)
		doctor_find(d, FINDING_RUNNER_DOWN, socket_path, "%s: %s", socket_path, strerror(error));
	else
		doctor_find(
			d, FINDING_RUNNER_DOWN, socket_path,
			"%s: no answer; either tt-agent-runner does not run, or its own test has failed (journalctl -u "
			"tt-agent-runner)",
			socket_path);
}

/* --- web search --------------------------------------------------------------------------------- */

static const struct search_service *service_of(const char *name)
{
	for (size_t i = 0; i < SEARCH_SERVICES_COUNT; i++)
		if (strcmp(search_services[i]->name, name) == 0)
			return search_services[i];
	return NULL;
}

static void try_search(struct doctor *d, const struct search_service *s)
{
	struct search_request r;
	struct doctor_answer answer = {.body = NULL};
	const char *headers[2] = {NULL, NULL};
	struct err e = ERR_INIT;
	struct tool_result result = {.text = NULL};

	if (s->request(d->config, "weather", &r) == 0) {
		const struct http_request request = {.method = r.method,
		                                     .url = r.url,
		                                     .body = r.body,
		                                     .body_len = r.body != NULL ? strlen(r.body) : 0,
		                                     .bearer = r.bearer,
		                                     .headers = headers};

		headers[0] = r.header;
		doctor_request(d, &request, SEARCH_MS, &answer);
		if (answer.result.outcome != HTTP_DONE)
			err_set(&e, "%s", answer.result.text);
		else if (answer.result.status != 200)
			err_set(&e, "HTTP %ld", answer.result.status);
		else if (search_service_result(s, d->config, answer.result.body, answer.result.body_len, &result, &e) ==
		         0)
			err_clear(&e);
		if (err_is_set(&e))
			doctor_find(d, FINDING_SEARCH_REFUSED, s->name, "%s: %s", s->name, e.text);
		tool_result_clear(&result);
		free(answer.body);
	}
	search_request_clear(&r);
}

static void check_search(struct doctor *d)
{
	const struct cfg_list *order = cfg_list(d->config, CFG_SEARCH_ORDER);

	for (size_t i = 0; i < order->count; i++) {
		const struct search_service *s = service_of(order->items[i]);

		if (s == NULL)
			continue;
		if (search_service_enabled(s, d->config) && d->a->try_services)
			try_search(d, s);
		else if (!search_service_enabled(s, d->config) && cfg_is_set(d->config, CFG_SEARCH_ORDER))
			doctor_find(d, FINDING_SEARCH_KEY_MISSING, cfg_key_info(s->enabled_by)->path,
			            "search.order (%s) has %s, but %s is not set",
			            cfg_origin(d->config, CFG_SEARCH_ORDER), s->name,
			            cfg_key_info(s->enabled_by)->path);
	}
}

/* --- MCP servers -------------------------------------------------------------------------------- */

/* As tt-agentd sees them, which lists their tools again and again. */
static void check_mcp_server(struct doctor *d, const json_t *server)
{
	const char *name = text_of(server, "name"), *url = text_of(server, "url"), *error = text_of(server, "error");
	const char *state = text_of(server, "state");
	long long left_out = number_of(server, "left_out");

	if (name == NULL || url == NULL || state == NULL)
		return;
	if (error != NULL && (strncmp(error, "HTTP 401", 8) == 0 || strncmp(error, "HTTP 403", 8) == 0))
		doctor_find(d, FINDING_MCP_TOKEN_REFUSED, name, "%s (%s): %s", name, url, error);
	else if (error != NULL && strncmp(url, "unix:", 5) == 0 && strncmp(error, "HTTP ", 5) != 0 &&
	         strstr(error, "in time") == NULL)
		doctor_find(d, FINDING_MCP_RUNNER_DOWN, url + 5, "%s (%s): %s", name, url, error);
	else if (error != NULL)
		doctor_find(d, FINDING_MCP_SERVER_FAILS, name, "%s (%s): %s", name, url, error);
	else if (left_out > 0)
		doctor_find(d, FINDING_MCP_TOOLS_LEFT_OUT, name, "%lld tools of %s (%s) are not offered; %s", left_out,
		            name, url, text_of(server, "left_out_reason"));
	else if (strcmp(state, "answers") == 0 && number_of(server, "tools") == 0)
		doctor_find(d, FINDING_MCP_NO_TOOLS, name, "%s (%s) answers, but offers no tools", name, url);
}

/* --- a chat ---------------------------------------------------------------------------------------- */

static void try_chat(struct doctor *d)
{
	json_t *answer = ctl_request(d->a, CMD_TEST, json_object());
	const char *status = text_of(answer, "status"), *message = text_of(answer, "message"),
		   *error = text_of(answer, "error");

	if (answer == NULL)
		doctor_skip(d, "a chat (--try)", "tt-agentd does not allow it, or does not answer");
	else if (status != NULL && strcmp(status, "error") == 0)
		doctor_find(d, FINDING_CHAT_FAILED, "test", "%s%s%s", message != NULL ? message : "no answer",
		            error != NULL ? ": " : "", error != NULL ? error : "");
	json_decref(answer);
}

void check_tools(struct doctor *d)
{
	const json_t *server;
	size_t i;

	if (d->config != NULL) {
		check_sandbox(d);
		check_search(d);
		json_array_foreach(json_object_get(d->status, "mcp"), i, server) check_mcp_server(d, server);
	} else {
		doctor_skip(d, "tools", "the settings in effect are not known");
	}
	if (d->a->try_services && d->answers)
		try_chat(d);
}
