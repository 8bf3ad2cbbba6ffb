/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/options.h"

#include "config.h"

#define NUMBER_MAX 1000000

static int check_log_format(void *into, const char *value, struct err *e)
{
	struct runner_options *o = into;

	return log_format_parse(value, &o->log_format) < 0 ? err_set(e, "'%s' is neither text nor json", value) : 0;
}

static const struct option_row rows[] = {
	{.name = "socket",
         .argument = "PATH",
         .help = "Socket to listen on; a socket that systemd passes on is used instead.",
         .more = "Its mode is 0660. Whoever can connect can run code, so only the user of tt-agentd and "
                 "tt-agent-fcgi should be able to. A socket from systemd (LISTEN_FDS) remains when the runner stops.",
         .initial = "/run/tt-agent-runner/runner.sock",
         OPTION_INTO(struct runner_options, socket)},
	{.name = "owner",
         .argument = "NAME",
         .help = "User who may connect, when started as root (default: root only).",
         .more = "The socket is given to this user. One from systemd belongs to SocketUser=.",
         OPTION_INTO(struct runner_options, owner)},
	{.name = "user",
         .argument = "NAME",
         .help = "User to switch to when started as root.",
         .initial = "nobody",
         OPTION_INTO(struct runner_options, user)},
	{.name = "timeout",
         .argument = "SECONDS",
         .help = "Longest run.",
         .more = "If code.timeout is shorter, it applies.",
         .initial = "60",
         .min = 1,
         .max = NUMBER_MAX,
         .is_duration = true,
         OPTION_INTO(struct runner_options, limits.timeout_ms)},
	{.name = "cpu",
         .argument = "SECONDS",
         .help = "CPU time of all processes of a run together.",
         .initial = "10",
         .min = 1,
         .max = NUMBER_MAX,
         .is_duration = true,
         OPTION_INTO(struct runner_options, limits.cpu_ms)},
	{.name = "memory",
         .argument = "MIB",
         .help = "Memory of all processes of a run together.",
         .more = "It is also the address space of each.",
         .initial = "1024",
         .min = 1,
         .max = NUMBER_MAX,
         .scale = 1 << 20,
         OPTION_INTO(struct runner_options, limits.memory_bytes)},
	{.name = "files",
         .argument = "MIB",
         .help = "Size of /tmp, and of the largest file.",
         .more = "/tmp has room for 256 files for each MiB.",
         .initial = "32",
         .min = 1,
         .max = NUMBER_MAX,
         .scale = 1 << 20,
         OPTION_INTO(struct runner_options, limits.file_bytes)},
	{.name = "processes",
         .argument = "N",
         .help = "Number of processes and threads of a run.",
         .initial = "64",
         .min = 1,
         .max = NUMBER_MAX,
         OPTION_INTO(struct runner_options, limits.processes)},
	{.name = "output",
         .argument = "KIB",
         .help = "Largest output of a run.",
         .initial = "256",
         .min = 1,
         .max = NUMBER_MAX,
         .scale = 1 << 10,
         OPTION_INTO(struct runner_options, limits.output_bytes)},
	{.name = "sandboxes",
         .argument = "N",
         .help = "Number of concurrent runs.",
         .more = "The model is informed when all sandboxes are busy.",
         .initial = "8",
         .min = 1,
         .max = NUMBER_MAX,
         OPTION_INTO(struct runner_options, sandboxes)},
	{.name = "mcp",
         .argument = "FILE",
         .help = "Starts the MCP servers of FILE instead of sandboxes.",
         .more = "FILE is JSON: {\"mcpServers\": {\"NAME\": {\"command\": \"uvx\", \"args\": [\"mcp-server-git\"], "
                 "\"env\": {\"NAME\": \"VALUE\"}, \"cwd\": \"/srv\"}}}. It is read once, before the user is switched. "
                 "Each server is started by the first request for it, as --user, without a sandbox. mcp.servers in "
                 "tt-agent.conf(5) refers to it by NAME, and to --socket. The other limits do not apply.",
         OPTION_INTO(struct runner_options, mcp)},
	{.name = "reply",
         .argument = "MIB",
         .help = "With --mcp: longest message of a server.",
         .initial = "4",
         .min = 1,
         .max = 64,
         .scale = 1 << 20,
         OPTION_INTO(struct runner_options, reply_bytes)},
	{.name = "log-format",
         .argument = "FORMAT",
         .help = "text, or json: one object per line, as log.format in tt-agent.conf(5).",
         .initial = "text",
         .check = check_log_format},
	{.name = "test",
         .help = "Tests the sandbox, or the file of --mcp, prints what held, and exits: 0 if it holds, else 1.",
         OPTION_INTO(struct runner_options, only_test)},
};

static const struct option_exit_status exits[] = {
	{0, "Stopped by a signal. With --test: the sandbox isolates."},
	{1,
         "No sandbox can be created or it does not isolate, or the file of --mcp is not valid; the last line of the log says why."},
	{OPTIONS_EXIT_USAGE, "Wrong options."},
};

const struct program runner_program = {
	.name = "tt-agent-runner",
	.version = PACKAGE_VERSION,
	.usage = "[OPTION]...",
	.purpose = "Runs the code of chat turns in local sandboxes, or MCP servers.",
	.rows = rows,
	.row_count = sizeof rows / sizeof rows[0],
	.exits = exits,
	.exit_count = sizeof exits / sizeof exits[0],
};
