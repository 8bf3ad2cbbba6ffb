/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd says of the units. */
#include "agentctl/doctor/doctor.h"
#include "core/base/options.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RESTARTS_MANY 3
#define YOUNG_S       60 /* a unit that was started again and runs for a shorter time may soon end again */

/* The value of a line NAME=VALUE in the block of a unit, cut; "": none. */
static const char *property(const char *block, const char *name, char *out, size_t size)
{
	size_t len = strlen(name);

	out[0] = '\0';
	for (const char *line = block; *line != '\0' && *line != '\n';
	     line += strcspn(line, "\n"), line += *line == '\n')
		if (strncmp(line, name, len) == 0 && line[len] == '=')
			snprintf(out, size, "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
	return out;
}

static bool is(const char *block, const char *name, const char *value)
{
	char text[256];

	return strcmp(property(block, name, text, sizeof text), value) == 0;
}

/* Whether the service of that block uses our run directory. Sockets belong to their service. */
static bool is_ours(const struct doctor *d, const char *block)
{
	char command[4096], dir[4096];
	const char *at;

	property(block, "ExecStart", command, sizeof command);
	at = strstr(command, "--run-dir");
	if (at == NULL)
		return strcmp(d->a->run_dir, OPTIONS_RUN_DIR) == 0;
	at += strlen("--run-dir") + strspn(at + strlen("--run-dir"), " =");
	snprintf(dir, sizeof dir, "%.*s", (int)strcspn(at, " ;"), at);
	return strcmp(dir, d->a->run_dir) == 0;
}

/* "/etc/default/tt-agent (ignore_errors=yes)" */
static void environment_file(const char *block, char *out, size_t size)
{
	property(block, "EnvironmentFiles", out, size);
	out[strcspn(out, " ")] = '\0';
}

static bool is_young(const char *block)
{
	char text[32];
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	property(block, "ActiveEnterTimestampMonotonic", text, sizeof text);
	return strtoll(text, NULL, 10) / 1000000 + YOUNG_S > now.tv_sec;
}

static long number(const char *block, const char *name)
{
	char text[64];

	return strtol(property(block, name, text, sizeof text), NULL, 10);
}

/* Of a unit that ended again and again, Result is still how it ended the last time. */
static bool has_hit_start_limit(const char *block)
{
	long limit = number(block, "StartLimitBurst");

	return is(block, "Result", "start-limit-hit") ||
	       (is(block, "ActiveState", "failed") && limit > 0 && number(block, "NRestarts") >= limit);
}

static void check_unit(struct doctor *d, const char *block)
{
	char id[128], text[256];
	long restarts = number(block, "NRestarts");

	property(block, "Id", id, sizeof id);
	if (has_hit_start_limit(block))
		doctor_find(d, FINDING_UNIT_START_LIMIT, id,
		            "%s was started too often (%ld restarts; Result=%s), and systemd has given up", id,
		            restarts, property(block, "Result", text, sizeof text));
	else if (is(block, "ActiveState", "failed"))
		doctor_find(d, FINDING_UNIT_FAILED, id, "%s has failed (%s)", id,
		            property(block, "Result", text, sizeof text));
	else if (is(block, "ConditionResult", "no") && !is(block, "ActiveState", "active"))
		doctor_find(d, FINDING_UNIT_NOT_CONFIGURED, id,
		            "%s was not started: neither /etc/tt-agent/tt-agent.conf nor /etc/default/tt-agent exists",
		            id);
	else if (restarts >= RESTARTS_MANY && (is(block, "SubState", "auto-restart") || is_young(block)))
		doctor_find(d, FINDING_UNIT_RESTARTS, id, "%s was started again %ld times", id, restarts);
	if (is(block, "UnitFileState", "disabled"))
		doctor_find(d, FINDING_UNIT_DISABLED, id, "%s is not enabled", id);
	if (is(block, "NeedDaemonReload", "yes"))
		doctor_find(d, FINDING_UNIT_CHANGED, id, "the file of %s has changed since systemd read it", id);
}

void check_units(struct doctor *d)
{
	static const char *const argv[] = {
		"systemctl",
		"show",
		"--no-pager",
		"--property=Id,LoadState,ActiveState,SubState,Result,UnitFileState,NRestarts,StartLimitBurst,NeedDaemonReload,ConditionResult,ExecStart,EnvironmentFiles,ActiveEnterTimestampMonotonic",
		"tt-agentd.service",
		"tt-agent-fcgi.service",
		"tt-agent-fcgi.socket",
		"tt-agent-runner.socket",
		NULL};
	const bool runs_code = d->config != NULL && (cfg_bool(d->config, CFG_CODE_LOCAL) ||
	                                             doctor_is_switched_off(d->config, CFG_CODE_LOCAL));
	struct buf out = BUF_INIT(1u << 20);
	bool ours = false;
	char text[128];

	if (proc_output(argv, &out) < 0) {
		if (access("/run/systemd/system", F_OK) == 0)
			doctor_skip(d, "the units", "systemctl does not answer");
		buf_free(&out);
		return;
	}
	for (const char *block = out.data; block != NULL && *block != '\0';) {
		const char *end = strstr(block, "\n\n");
		bool is_service = strstr(property(block, "Id", text, sizeof text), ".service") != NULL;
		bool is_runner = strncmp(text, "tt-agent-runner", 15) == 0;

		if (!is(block, "LoadState", "not-found")) {
			ours = is_service ? is_ours(d, block) : ours;
			d->systemd |= ours;
			if (ours && strcmp(text, "tt-agentd.service") == 0)
				environment_file(block, d->variables, sizeof d->variables);
			if (ours && (!is_runner || runs_code))
				check_unit(d, block);
		}
		block = end != NULL ? end + 2 : NULL;
	}
	buf_free(&out);
}
