/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agent-fcgi: its workers, its limits, and the socket to which the web server connects. */
#include "agentctl/doctor/doctor.h"
#include "core/base/process.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_SOCKET  "/run/tt-agent-fcgi/fcgi.sock"
#define WORKERS_MAX     256
#define YOUNG_S         10 /* a worker of a parent that is older: it was replaced, or the service was reloaded */
#define SECOND_CHECK_MS 2000
#define FILES_MIN       1024
#define FILES_OTHER     64         /* beside two a stream */
#define LISTENS         "00010000" /* /proc/net/unix: flags of a listening socket */

/* --- workers ---------------------------------------------------------------------------------- */

struct workers {
	pid_t parent;
	struct {
		pid_t pid;
		double age_s;
	} items[WORKERS_MAX];
	unsigned count;
};

static double age_of(pid_t pid)
{
	struct timespec now;
	uint64_t birth = process_birth_of(pid);

	clock_gettime(CLOCK_BOOTTIME, &now);
	return birth != 0
	               ? (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)birth / (double)sysconf(_SC_CLK_TCK)
	               : 0;
}

static bool add_worker(void *arg, const struct proc *p)
{
	struct workers *w = arg;

	if (p->parent == w->parent && w->count < WORKERS_MAX) {
		w->items[w->count].age_s = age_of(p->pid);
		w->items[w->count++].pid = p->pid;
	}
	return true;
}

static void find_workers(const struct doctor *d, struct workers *w)
{
	*w = (struct workers){.parent = d->responder.pid};
	proc_each("tt-agent-fcgi", add_worker, w);
}

static bool has_worker(const struct workers *w, pid_t pid)
{
	for (unsigned i = 0; i < w->count; i++)
		if (w->items[i].pid == pid)
			return true;
	return false;
}

static void check_workers(struct doctor *d)
{
	const char *given = proc_option(&d->responder, "workers", '\0');
	unsigned wanted = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 0, died = 0;
	const struct timespec pause = {.tv_sec = SECOND_CHECK_MS / 1000};
	bool parent_is_old = age_of(d->responder.pid) > YOUNG_S, suspect;
	struct workers first, second;

	if (wanted == 0)
		wanted = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	find_workers(d, &first);
	suspect = first.count < wanted;
	for (unsigned i = 0; i < first.count; i++)
		suspect |= parent_is_old && first.items[i].age_s < YOUNG_S;
	if (!suspect)
		return;
	nanosleep(&pause, NULL); /* those that a reload replaced are there for good */
	find_workers(d, &second);
	for (unsigned i = 0; i < first.count; i++)
		died += first.items[i].age_s < YOUNG_S && !has_worker(&second, first.items[i].pid);
	if (second.count < wanted || died > 0)
		doctor_find(d, FINDING_WORKERS_MISSING, "tt-agent-fcgi",
		            "%u of %u workers run; %u ended in the last %d s",
		            second.count < wanted ? second.count : wanted, wanted, died, SECOND_CHECK_MS / 1000);
}

/* --- limits ------------------------------------------------------------------------------------- */

static long long files_of(pid_t pid)
{
	struct buf limits = BUF_INIT(16384);
	const char *line = NULL;
	long long files = -1;

	if (proc_read(pid, "limits", &limits) == 0 && limits.data != NULL)
		line = strstr(limits.data, "Max open files");
	if (line != NULL)
		files = strtoll(line + strlen("Max open files"), NULL, 10);
	buf_free(&limits);
	return files;
}

static void check_files(struct doctor *d, const struct proc *p, long long needed, const char *what)
{
	long long files = p->pid != 0 ? files_of(p->pid) : -1;

	if (files >= 0 && files < needed)
		doctor_find(d, FINDING_DESCRIPTORS_LOW, p->name, "%s (pid %d) may open %lld files, but %s needs %lld",
		            p->name, (int)p->pid, files, what, needed);
}

static void check_descriptors(struct doctor *d)
{
	long long turns = d->config != NULL ? cfg_int(d->config, CFG_LIMITS_TURNS) : 0;
	struct workers w;
	long long needed;

	find_workers(d, &w);
	needed = w.count > 0 ? 2 * turns / w.count + FILES_OTHER : 0;
	if (needed > FILES_MIN)
		check_files(d, &d->responder, needed, "limits.turns");
	else
		check_files(d, &d->responder, FILES_MIN, "a worker");
	check_files(d, &d->daemon, (long long)json_array_size(json_object_get(d->models, "models")) + FILES_OTHER,
	            "probing all LLMs");
}

/* A control group's file of both versions: where they are, and how a process names its group. */
static const struct cgroup_version {
	const char *line, *directory, *kills, *limit, *used; /* the last: a line's name in memory.stat */
} cgroup_versions[] = {
	{"0::/", "/sys/fs/cgroup", "memory.events", "memory.max", "anon "},
	{":memory:/", "/sys/fs/cgroup/memory", "memory.oom_control", "memory.limit_in_bytes", "rss "},
};

static long long cgroup_number(const struct cgroup_version *v, const char *group, const char *file, const char *name)
{
	long long number = -1;
	char path[4200];
	const char *at;
	FILE *in;
	char line[256];

	snprintf(path, sizeof path, "%s%s/%s", v->directory, group, file);
	in = fopen(path, "re");
	while (in != NULL && fgets(line, sizeof line, in) != NULL) {
		at = name == NULL ? line : strncmp(line, name, strlen(name)) == 0 ? line + strlen(name) : NULL;
		if (at != NULL && at[strspn(at, " ")] >= '0' && at[strspn(at, " ")] <= '9')
			number = strtoll(at, NULL, 10);
	}
	if (in != NULL)
		fclose(in);
	return number;
}

/* Only in a control group of its own: what happened to others says nothing. */
static void check_memory(struct doctor *d, const struct proc *p)
{
	struct buf text = BUF_INIT(16384);
	long long kills, limit, used;
	char group[4096];

	if (p->pid == 0 || proc_read(p->pid, "cgroup", &text) < 0 || text.data == NULL)
		goto out;
	for (size_t i = 0; i < sizeof cgroup_versions / sizeof cgroup_versions[0]; i++) {
		const struct cgroup_version *v = &cgroup_versions[i];
		const char *line = strstr(text.data, v->line);

		if (line == NULL)
			continue;
		line += strlen(v->line) - 1;
		snprintf(group, sizeof group, "%.*s", (int)strcspn(line, "\n"), line);
		if (strstr(group, p->name) == NULL)
			continue;
		kills = cgroup_number(v, group, v->kills, "oom_kill ");
		limit = cgroup_number(v, group, v->limit, NULL);
		used = cgroup_number(v, group, "memory.stat", v->used);
		if (kills > 0)
			doctor_find(d, FINDING_MEMORY_LIMIT, p->name,
			            "%lld process%s of %s had to be killed because memory ran out (%s)", kills,
			            kills == 1 ? "" : "es", p->name, group);
		else if (limit > 0 && used > limit / 10 * 9)
			doctor_find(d, FINDING_MEMORY_LIMIT, p->name, "%s uses %lld of its %lld bytes of memory (%s)",
			            p->name, used, limit, group);
	}
out:
	buf_free(&text);
}

/* --- the socket ------------------------------------------------------------------------------- */

/* The path of the Unix socket with that inode on which somebody listens; false: there is none. */
static bool path_of_inode(pid_t pid, unsigned long inode, char *out, size_t size)
{
	struct buf table = BUF_INIT(16u << 20);
	const char *line;
	bool found = false;

	(void)proc_read(pid, "net/unix", &table);
	for (line = table.data; line != NULL && !found; line = strchr(line, '\n')) {
		char flags[16], path[512];
		unsigned long number;

		line += *line == '\n';
		if (sscanf(line, "%*s %*s %*s %15s %*s %*s %lu %511s", flags, &number, path) == 3 && number == inode &&
		    strcmp(flags, LISTENS) == 0) {
			snprintf(out, size, "%s", path);
			found = true;
		}
	}
	buf_free(&table);
	return found;
}

/* Where it listens; "" if that is no Unix socket. */
static void socket_of(const struct proc *p, char *out, size_t size)
{
	const char *listen = proc_option(p, "listen", '\0');

	snprintf(out, size, "%s", listen == NULL ? DEFAULT_SOCKET : listen[0] == '/' ? listen : "");
	for (int fd = 0; listen == NULL && fd < 32; fd++) {
		char link[64], target[64];
		unsigned long inode;
		ssize_t len;

		snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)p->pid, fd);
		len = readlink(link, target, sizeof target - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) == 1 && path_of_inode(p->pid, inode, out, size))
			return;
	}
}

struct web_servers {
	struct proc found[WORKERS_MAX];
	size_t count;
	char pid_namespace[64];
};

static void namespace_of(pid_t pid, char out[64])
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof link, "/proc/%d/ns/pid", (int)pid);
	len = readlink(link, out, 63);
	out[len > 0 ? len : 0] = '\0';
}

static bool add_web_server(void *arg, const struct proc *p)
{
	struct web_servers *w = arg;
	char other[64];

	namespace_of(p->pid, other);
	if (strcmp(other, w->pid_namespace) == 0 && w->count < WORKERS_MAX)
		w->found[w->count++] = *p;
	return true;
}

/* A master only starts the processes that connect. */
static bool is_master(const struct web_servers *w, const struct proc *p)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->found[i].parent == p->pid)
			return true;
	return false;
}

static void describe_user(const struct proc_user *u, char *user, char *group, size_t size)
{
	const struct passwd *pw = getpwuid(u->uid);
	const struct group *gr;

	snprintf(user, size, "%s", pw != NULL ? pw->pw_name : "?");
	gr = getgrgid(u->gid);
	snprintf(group, size, "%s", gr != NULL ? gr->gr_name : "?");
}

static void check_web_server_right(struct doctor *d, const char *path)
{
	static const char *const names[] = {"nginx", "lighttpd", "apache2", "httpd", "caddy", "angie"};
	struct web_servers *w = calloc(1, sizeof *w);
	const struct proc *refused = NULL;
	char user[64], group[64];
	struct stat st;
	bool allowed = false, unknown = false;

	if (w == NULL)
		return;
	namespace_of(getpid(), w->pid_namespace);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		proc_each(names[i], add_web_server, w);
	for (size_t i = 0; i < w->count && !allowed; i++) {
		int may = is_master(w, &w->found[i]) ? 2 : doctor_may(&w->found[i].user, NULL, path, R_OK | W_OK);

		allowed = may == 1;
		unknown |= may < 0;
		if (may == 0)
			refused = &w->found[i];
	}
	if (!allowed && refused != NULL && stat(path, &st) == 0) {
		describe_user(&refused->user, user, group, sizeof user);
		doctor_find(d, FINDING_SOCKET_FORBIDDEN, group,
		            "%s (pid %d) runs as %s, group %s, and may not open %s (mode %03o, uid %u, gid %u)",
		            refused->name, (int)refused->pid, user, group, path, (unsigned)st.st_mode & 0777,
		            (unsigned)st.st_uid, (unsigned)st.st_gid);
	} else if (!allowed && unknown) {
		doctor_skip(d, "whether the web server may open the socket",
		            "only root can try what another user may do");
	}
	free(w);
}

static void check_socket(struct doctor *d)
{
	char path[512];
	struct stat st;
	int error = 0;

	socket_of(&d->responder, path, sizeof path);
	if (path[0] == '\0')
		return;
	if (stat(path, &st) < 0 && errno != EACCES)
		doctor_find(d, FINDING_SOCKET_MISSING, path, "%s: %s", path, strerror(errno));
	else if (proc_connect(path, &error) < 0 && error != EACCES && error != EAGAIN)
		doctor_find(d, FINDING_SOCKET_REFUSED, path, "%s: %s", path, strerror(error));
	else
		check_web_server_right(d, path);
}

void check_responder(struct doctor *d)
{
	if (d->responder.pid == 0 && access("/proc/1/comm", R_OK) < 0) {
		doctor_skip(d, "tt-agent-fcgi", "/proc shows only your own processes");
		return;
	}
	check_memory(d, &d->daemon);
	if (d->responder.pid == 0) {
		doctor_find(d, FINDING_RESPONDER_DOWN, d->a->run_dir, "no tt-agent-fcgi runs with the run directory %s",
		            d->a->run_dir);
		return;
	}
	check_workers(d);
	check_descriptors(d);
	check_memory(d, &d->responder);
	check_socket(d);
}
