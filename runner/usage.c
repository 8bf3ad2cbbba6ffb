/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/usage.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the kernel may hold for a socket that nobody reads: its buffers cannot be seen from outside. */
#define SOCKET_BYTES     (512 << 10)
#define TCP_SOCKET_BYTES (4 << 20)
#define PROCESSES_MAX    4096 /* of a run, whatever its limit */

struct list {
	struct usage_process *all;
	size_t count, room;
};

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[320];

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

/* ---- CPU time --------------------------------------------------------------------- */

static int read_stat(struct usage_process *p)
{
	char line[1024];
	FILE *f = open_proc(p->pid, "stat");
	const char *after = NULL;
	unsigned long long own[2], birth;
	long long waited[2];

	if (f != NULL && fgets(line, sizeof line, f) != NULL)
		after = strrchr(line, ')'); /* of its name, which may contain anything */
	if (f != NULL)
		fclose(f);
	if (after == NULL ||
	    sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld %*d %*d %*d %*d %llu",
	           &own[0], &own[1], &waited[0], &waited[1], &birth) != 5)
		return -1;
	p->cpu = (int64_t)(own[0] + own[1]);
	p->waited = (int64_t)(waited[0] + waited[1]);
	p->birth = birth;
	return 0;
}

/* 0 also where the process is gone; -1: no memory. */
static int add(struct list *list, pid_t pid)
{
	struct usage_process p = {.pid = pid};

	for (size_t i = 0; i < list->count; i++)
		if (list->all[i].pid == pid)
			return 0;
	if (list->count == PROCESSES_MAX || read_stat(&p) < 0)
		return 0;
	if (list->count == list->room) {
		size_t room = list->room * 2 + 16;
		struct usage_process *more = realloc(list->all, room * sizeof *more);

		if (more == NULL)
			return -1;
		list->all = more;
		list->room = room;
	}
	list->all[list->count++] = p;
	return 0;
}

/* Those that any thread of a process has started. */
static int add_children(struct list *list, pid_t pid)
{
	char path[64];
	struct dirent *entry;
	DIR *tasks;
	int result = 0;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	while (result == 0 && tasks != NULL && (entry = readdir(tasks)) != NULL) {
		char name[300];
		FILE *children;
		int child;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "task/%s/children", entry->d_name);
		children = open_proc(pid, name);
		while (result == 0 && children != NULL && fscanf(children, "%d", &child) == 1)
			result = add(list, child);
		if (children != NULL)
			fclose(children);
	}
	if (tasks != NULL)
		closedir(tasks);
	return result;
}

static const struct usage_process *find(const struct usage_process *all, size_t count, const struct usage_process *p)
{
	for (size_t i = 0; i < count; i++)
		if (all[i].pid == p->pid && all[i].birth == p->birth)
			return &all[i];
	return NULL;
}

/* Takes the list over. What ended since the last look, and was not waited for by a process that still lives, is lost
 * to the kernel's counts; what was missed in this look, because children came and went, is not. */
static int64_t count_cpu(struct usage *u, struct list *list)
{
	int64_t ended = 0, waited = 0, sum = 0;

	for (size_t i = 0; i < u->count; i++) {
		struct usage_process now = {.pid = u->seen[i].pid};

		if (find(list->all, list->count, &u->seen[i]) != NULL)
			continue;
		if (read_stat(&now) == 0 && now.birth == u->seen[i].birth)
			add(list, now.pid);
		else
			ended += u->seen[i].cpu + u->seen[i].waited;
	}
	for (size_t i = 0; i < list->count; i++) {
		const struct usage_process *before = find(u->seen, u->count, &list->all[i]);

		waited += list->all[i].waited - (before == NULL ? 0 : before->waited);
		sum += list->all[i].cpu + list->all[i].waited;
	}
	if (ended > waited)
		u->lost += ended - waited;
	free(u->seen);
	u->seen = list->all;
	u->count = list->count;
	return sum + u->lost;
}

/* ---- memory ----------------------------------------------------------------------- */

/* The sum, in bytes, of the lines of such a file that have one of the names: "VmPTE:   12 kB". */
static int64_t sum_lines(pid_t pid, const char *file, const char *const *names)
{
	FILE *f = open_proc(pid, file);
	char line[256];
	int64_t sum = 0;

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		for (size_t i = 0; names[i] != NULL; i++)
			if (strncmp(line, names[i], strlen(names[i])) == 0)
				sum += strtoll(line + strlen(names[i]), NULL, 10) * 1024;
	if (f != NULL)
		fclose(f);
	return sum;
}

/* Those of the run's network, which is its own. */
static int64_t count_sockets(pid_t pid)
{
	FILE *f = open_proc(pid, "net/sockstat");
	char line[256];
	long used = 0, tcp = 0, tcp6 = 0;

	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		sscanf(line, "sockets: used %ld", &used);
		sscanf(line, "TCP: inuse %ld", &tcp);
	}
	if (f != NULL)
		fclose(f);
	f = open_proc(pid, "net/sockstat6");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		sscanf(line, "TCP6: inuse %ld", &tcp6);
	if (f != NULL)
		fclose(f);
	return (int64_t)used * SOCKET_BYTES + (int64_t)(tcp + tcp6) * TCP_SOCKET_BYTES;
}

/* "NSpid: 4711 1": it has a number in the sandbox's namespace, which has a network of its own. */
static bool is_inside(pid_t pid)
{
	FILE *f = open_proc(pid, "status");
	char line[256];
	bool inside = false;
	int number[2];

	while (f != NULL && !inside && fgets(line, sizeof line, f) != NULL)
		inside = sscanf(line, "NSpid: %d %d", &number[0], &number[1]) == 2;
	if (f != NULL)
		fclose(f);
	return inside;
}

static int64_t count_memory(const struct usage *u, int64_t memory_max)
{
	static const char *const pages[] = {"RssAnon:", "RssShmem:", "VmPTE:", "VmSwap:", NULL};
	static const char *const shares[] = {"Pss_Anon:", "Pss_Shmem:", "SwapPss:", NULL};
	static const char *const tables[] = {"VmPTE:", NULL};
	int64_t sum = 0;

	for (size_t i = 0; i < u->count; i++)
		sum += sum_lines(u->seen[i].pid, "status", pages);
	/* After a fork, pages are shared until one writes to them. Who owns what share takes long to find out. */
	if (sum > memory_max) {
		sum = 0;
		for (size_t i = 0; i < u->count; i++) {
			int64_t own = sum_lines(u->seen[i].pid, "smaps_rollup", shares);

			sum += own > 0 ? own + sum_lines(u->seen[i].pid, "status", tables)
			               : sum_lines(u->seen[i].pid, "status", pages);
		}
	}
	for (size_t i = 0; i < u->count; i++)
		if (is_inside(u->seen[i].pid))
			return sum + count_sockets(u->seen[i].pid);
	return sum;
}

int usage_check(struct usage *u, pid_t root, int64_t memory_max, int64_t *cpu_us, int64_t *memory_bytes)
{
	const long ticks = sysconf(_SC_CLK_TCK);
	struct list list = {.count = 0};

	if (add(&list, root) < 0)
		goto fail;
	for (size_t i = 0; i < list.count; i++)
		if (add_children(&list, list.all[i].pid) < 0)
			goto fail;
	*cpu_us = count_cpu(u, &list) * (1000000 / ticks);
	*memory_bytes = count_memory(u, memory_max);
	return 0;
fail:
	free(list.all);
	return -1;
}

void usage_clear(struct usage *u)
{
	free(u->seen);
	*u = (struct usage){.count = 0};
}
