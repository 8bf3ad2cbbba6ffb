/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentd, what it publishes, and the programs that run. */
#include "agentctl/doctor/doctor.h"
#include "core/base/clock.h"
#include "core/status/document.h"
#include "core/status/reader.h"

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#define CLOCK_MARGIN_MS 60000
#define SPACE_MIN       (1 << 20)

/* --- does it answer? -------------------------------------------------------------------------- */

static void find_unreachable(struct doctor *d, const char *path, const struct err *e)
{
	int error = 0;

	if (proc_connect(path, &error) == 0 || error == EAGAIN)
		doctor_find(d, FINDING_DAEMON_HANGS, path, "%s (asked at %s)", e->text, path);
	else if (error == EACCES || error == EPERM)
		doctor_skip(d, "tt-agentd's answer",
		            "only root, the service's user and the group tt-agent-admin may use %s", path);
	else
		doctor_find(d, FINDING_DAEMON_DOWN, d->a->run_dir, "%s (asked at %s)", e->text, path);
}

static void ping(struct doctor *d)
{
	struct err e = ERR_INIT;
	bool unreachable = false;
	char path[4096];
	json_t *answer;
	const char *version, *jwks_error;

	snprintf(path, sizeof path, "%s/" COMMAND_SOCKET, d->a->run_dir);
	answer = command_call(path, CMD_PING, json_object(), d->a->deadline_ms, &unreachable, &e);
	version = json_string_value(json_object_get(answer, "version"));
	if (answer == NULL) {
		find_unreachable(d, path, &e);
		return;
	}
	d->answers = true;
	snprintf(d->version, sizeof d->version, "%s", version != NULL ? version : "");
	jwks_error = json_string_value(json_object_get(answer, "jwks_error"));
	snprintf(d->jwks_error, sizeof d->jwks_error, "%s", jwks_error != NULL ? jwks_error : "");
	d->restart_pending = json_incref(json_object_get(answer, "restart_pending"));
	json_decref(answer);
	d->status = ctl_request(d->a, CMD_STATUS, json_object());
	d->models = ctl_request(d->a, CMD_MODELS, json_object());
	if (d->version[0] != '\0' && strcmp(d->version, PACKAGE_VERSION) != 0)
		doctor_find(d, FINDING_VERSIONS_DIFFER, "tt-agentctl", "tt-agentd is %s, tt-agentctl " PACKAGE_VERSION,
		            d->version);
}

/* --- what it published ------------------------------------------------------------------------ */

/* A state file of another layout; "": there is none. */
static void other_version(const char *run_dir, char *out, size_t size)
{
	DIR *dir = opendir(run_dir);
	const struct dirent *entry;

	out[0] = '\0';
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, "status.v", 8) == 0 && strcmp(entry->d_name, STATUS_FILE) != 0)
			snprintf(out, size, "%s/%s", run_dir, entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

static void read_state(struct doctor *d, const struct status_snapshot *s)
{
	const char *name = status_text(s, status_header(s)->config_name);
	struct status_text text = status_header(s)->status_document;
	const char *document = status_text(s, text);
	int64_t ahead = status_header(s)->published_ms - clock_wall_ms();
	struct err e = ERR_INIT;
	char path[4200];

	if (d->status == NULL && document != NULL)
		d->status = json_loadb(document, text.length, 0, NULL);
	if (name != NULL && strchr(name, '/') == NULL) {
		snprintf(path, sizeof path, "%s/%s", d->a->run_dir, name);
		d->config = config_read_saved(path, &e);
		if (d->config == NULL)
			doctor_skip(d, "the settings in effect", "%s", e.text);
	}
	if (ahead > CLOCK_MARGIN_MS)
		doctor_find(d, FINDING_CLOCK_WRONG, d->a->run_dir,
		            "the state was published %lld s later than this host's clock says it is now",
		            (long long)ahead / 1000);
}

static void check_state(struct doctor *d)
{
	struct err e = ERR_INIT;
	struct status_reader *r = status_reader_new(d->a->run_dir, &e);
	struct status_snapshot *s = r != NULL ? status_acquire(r) : NULL;
	const char *reason = NULL;
	char path[4200], other[4400];
	struct stat st;
	int64_t since;

	snprintf(path, sizeof path, "%s/" STATUS_FILE, d->a->run_dir);
	other_version(d->a->run_dir, other, sizeof other);
	if (s != NULL) {
		read_state(d, s);
	} else if (stat(path, &st) == 0 || errno == EACCES) {
		if (access(path, R_OK) < 0)
			doctor_skip(d, "the published state", "%s: %s", path, strerror(errno));
		else if (r != NULL && status_is_stale(r, &since, &reason))
			doctor_find(d, FINDING_STATE_DAMAGED, path, "%s", reason != NULL ? reason : path);
	} else if (other[0] != '\0') {
		doctor_find(d, FINDING_STATE_VERSION, other,
		            "%s is there, but tt-agent-fcgi " PACKAGE_VERSION " needs %s", other, path);
	} else if (d->answers) {
		doctor_find(d, FINDING_STATE_MISSING, path, "%s: %s", path, strerror(ENOENT));
	}
	status_release(s);
	status_reader_free(r);
}

static void check_space(struct doctor *d)
{
	struct statvfs v;

	if (statvfs(d->a->run_dir, &v) < 0)
		return;
	if ((uint64_t)v.f_bavail * v.f_frsize < SPACE_MIN)
		doctor_find(d, FINDING_RUN_DIR_FULL, d->a->run_dir, "%s: %llu bytes are free", d->a->run_dir,
		            (unsigned long long)v.f_bavail * v.f_frsize);
	else if (v.f_files > 0 && v.f_favail == 0)
		doctor_find(d, FINDING_RUN_DIR_FULL, d->a->run_dir, "%s: no file can be made (inodes)", d->a->run_dir);
}

/* --- programs ----------------------------------------------------------------------------------- */

static void check_program(struct doctor *d, const struct proc *p)
{
	struct buf out = BUF_INIT(4096);
	char link[64], target[4096];
	const char *const argv[] = {link, "--version", NULL};
	const char *deleted, *version;
	ssize_t len;

	if (p->pid == 0)
		return;
	snprintf(link, sizeof link, "/proc/%d/exe", (int)p->pid);
	len = readlink(link, target, sizeof target - 1);
	if (len < 0) {
		doctor_skip(d, p->name, "only root and its user can see which program runs");
		return;
	}
	target[len] = '\0';
	deleted = strstr(target, " (deleted)");
	if (deleted != NULL)
		doctor_find(d, FINDING_PROGRAM_REPLACED, p->name,
		            "%.*s (pid %d) was replaced or removed since it started", (int)(deleted - target), target,
		            (int)p->pid);
	if (p == &d->responder && d->version[0] != '\0' && proc_output(argv, &out) == 0 &&
	    (version = strchr(out.data != NULL ? out.data : "", ' ')) != NULL) {
		char found[64];

		snprintf(found, sizeof found, "%.*s", (int)strcspn(version + 1, "\n"), version + 1);
		if (strcmp(found, d->version) != 0)
			doctor_find(d, FINDING_VERSIONS_DIFFER, p->name, "tt-agentd is %s, tt-agent-fcgi %s",
			            d->version, found);
	}
	buf_free(&out);
}

void check_daemon(struct doctor *d)
{
	ping(d);
	check_state(d);
	check_space(d);
	check_program(d, &d->daemon);
	check_program(d, &d->responder);
}
