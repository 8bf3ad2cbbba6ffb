/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/group.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOME "tt-agent-runner" /* the runner itself: a group with limits for its children contains no process */

struct group {
	LIST_ENTRY(group) link; /* of those that are left over */
	int directory;
	char path[];
};

int group_write_file(int directory, const char *name, const char *text)
{
	int fd = openat(directory, name, O_WRONLY | O_CLOEXEC), error;
	ssize_t written;

	if (fd < 0)
		return -1;
	written = write(fd, text, strlen(text));
	error = errno;
	close(fd);
	errno = error;
	return written < 0 ? -1 : 0;
}

/* The number after a key ("usage_usec 17"), or -1. */
static int64_t read_number(int directory, const char *name, const char *key)
{
	char text[2048];
	const char *at = text;
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	size_t key_len = strlen(key);

	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return -1;
	text[len] = '\0';
	while (at != NULL && (strncmp(at, key, key_len) != 0 || at[key_len] != ' ')) {
		at = strchr(at, '\n');
		at = at == NULL ? NULL : at + 1;
	}
	return at == NULL ? -1 : strtoll(at + key_len, NULL, 10);
}

/* ---- the runner's own ------------------------------------------------------------- */

/* Where cgroup v2 is mounted, with what of it is mounted there: "/" unless in some containers. */
static bool find_mount(char mount[static 256], char root[static 256])
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
		found = strstr(line, " - cgroup2 ") != NULL &&
		        sscanf(line, "%*s %*s %*s %255s %255s", root, mount) == 2;
	if (f != NULL)
		fclose(f);
	return found;
}

static bool find_own(char path[static 256])
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[4096];
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
		found = sscanf(line, "0::%255[^\n]", path) == 1;
	if (f != NULL)
		fclose(f);
	return found;
}

static bool is_alone(int directory)
{
	int fd = openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	long pid = 0;
	bool alone = f != NULL;

	while (f != NULL && fscanf(f, "%ld", &pid) == 1)
		alone = alone && pid == (long)getpid();
	if (f != NULL)
		fclose(f);
	return alone && pid != 0;
}

static const char *take_over(struct groups *all, int directory, uid_t uid, gid_t gid)
{
	static const char *const files[] = {".", "cgroup.procs", "cgroup.subtree_control", HOME "/cgroup.procs"};

	if (!is_alone(directory))
		return "the runner's control group has other processes in it";
	if (mkdirat(directory, HOME, 0755) < 0 && errno != EEXIST)
		return "the runner may not create control groups";
	for (size_t i = 0; geteuid() == 0 && i < sizeof files / sizeof files[0]; i++)
		if (fchownat(directory, files[i], uid, gid, 0) < 0)
			return "the runner's control group can't be given to its user";
	if (group_write_file(directory, HOME "/cgroup.procs", "0") < 0)
		return "the runner may not move to a control group of its own";
	all->memory = group_write_file(directory, "cgroup.subtree_control", "+memory") == 0;
	all->processes = group_write_file(directory, "cgroup.subtree_control", "+pids") == 0;
	return NULL;
}

void groups_open(struct groups *all, uid_t uid, gid_t gid)
{
	char mount[256], root[256], own[256];
	const char *below = own;
	int directory;

	*all = (struct groups){.missing = "cgroup v2 is not mounted"};
	if (!find_mount(mount, root) || !find_own(own))
		return;
	if (strcmp(root, "/") != 0 && strncmp(own, root, strlen(root)) == 0)
		below = own + strlen(root);
	snprintf(all->path, sizeof all->path, "%s%s", mount, strcmp(below, "/") == 0 ? "" : below);
	directory = open(all->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0) {
		all->missing = "the runner's control group is not visible";
		return;
	}
	all->missing = take_over(all, directory, uid, gid);
	close(directory);
}

/* ---- a run's ---------------------------------------------------------------------- */

static int limit(int directory, const char *file, int64_t number)
{
	char text[32];

	snprintf(text, sizeof text, "%lld", (long long)number);
	return group_write_file(directory, file, text);
}

static int create(const struct groups *all, struct group *g, int64_t memory_bytes, int64_t processes)
{
	if (mkdir(g->path, 0755) < 0)
		return -1;
	g->directory = open(g->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->directory < 0 || (all->memory && limit(g->directory, "memory.max", memory_bytes) < 0) ||
	    (all->processes && limit(g->directory, "pids.max", processes) < 0))
		return -1;
	if (all->memory) {
		/* Where there is no swap, there is no such file. */
		limit(g->directory, "memory.swap.max", 0);
		limit(g->directory, "memory.oom.group", 1);
	}
	return 0;
}

struct group *group_new(struct groups *all, int64_t memory_bytes, int64_t processes, struct err *e)
{
	struct group *g = malloc(sizeof *g + PATH_MAX);

	if (g == NULL) {
		err_set(e, "no memory for a control group");
		return NULL;
	}
	g->directory = -1;
	/* A runner that was killed may have left some. */
	do
		snprintf(g->path, PATH_MAX, "%s/run-%lu", all->path, all->number++);
	while (access(g->path, F_OK) == 0);
	if (create(all, g, memory_bytes, processes) == 0)
		return g;
	err_set_errno(e, errno, "control group %s", g->path);
	group_free(all, g);
	return NULL;
}

int group_join(const struct group *g)
{
	return group_write_file(g->directory, "cgroup.procs", "0");
}

int64_t group_cpu_us(const struct group *g)
{
	return read_number(g->directory, "cpu.stat", "usage_usec");
}

bool group_ran_out_of_memory(const struct group *g)
{
	return read_number(g->directory, "memory.events", "oom_kill") > 0;
}

void group_kill(const struct group *g)
{
	group_write_file(g->directory, "cgroup.kill", "1");
}

static bool remove_group(struct group *g)
{
	if (rmdir(g->path) < 0 && errno == EBUSY)
		return false;
	if (g->directory >= 0)
		close(g->directory);
	free(g);
	return true;
}

void group_free(struct groups *all, struct group *g)
{
	group_kill(g);
	if (!remove_group(g))
		LIST_INSERT_HEAD(&all->leftover, g, link);
}

void groups_tidy(struct groups *all)
{
	struct group *g, *next;

	for (g = LIST_FIRST(&all->leftover); g != NULL; g = next) {
		next = LIST_NEXT(g, link);
		LIST_REMOVE(g, link);
		group_free(all, g);
	}
}
