/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/doctor/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int proc_read(pid_t pid, const char *file, struct buf *out)
{
	char path[64], *room;
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while ((room = buf_reserve(out, 1024)) != NULL && (n = read(fd, room, 1024)) > 0)
		buf_commit(out, (size_t)n);
	close(fd);
	return n < 0 && out->len == 0 ? -1 : 0;
}

/* The numbers after a line's name, as in "Uid:\t1\t2\t3\t4\n". */
static size_t numbers_of(const char *status, const char *line, unsigned long *out, size_t max)
{
	const char *at = strstr(status, line);
	size_t count = 0;

	at = at != NULL ? at + strlen(line) : "\n";
	while (count < max && (at += strspn(at, " \t")) != NULL && *at >= '0' && *at <= '9') {
		char *end;

		out[count++] = strtoul(at, &end, 10);
		at = end;
	}
	return count;
}

static void read_status(struct proc *p, const char *text)
{
	unsigned long n[PROC_GROUPS] = {0};

	numbers_of(text, "\nPPid:", n, 1);
	p->parent = (pid_t)n[0];
	numbers_of(text, "\nUid:", n, 2);
	p->user.uid = (uid_t)n[1];
	numbers_of(text, "\nGid:", n, 2);
	p->user.gid = (gid_t)n[1];
	p->user.group_count = numbers_of(text, "\nGroups:", n, PROC_GROUPS);
	for (size_t i = 0; i < p->user.group_count; i++)
		p->user.groups[i] = (gid_t)n[i];
}

static bool read_proc(pid_t pid, const char *name, struct proc *p)
{
	struct buf text = BUF_INIT(65536);
	bool known = false;

	*p = (struct proc){.pid = pid};
	if (proc_read(pid, "comm", &text) < 0 || text.len == 0)
		goto out;
	snprintf(p->name, sizeof p->name, "%.*s", (int)strcspn(text.data, "\n"), text.data);
	if (strcmp(p->name, name) != 0)
		goto out;
	buf_reset(&text);
	if (proc_read(pid, "cmdline", &text) < 0 || text.len == 0) /* a zombie has none */
		goto out;
	p->words_len = text.len < sizeof p->words - 1 ? text.len : sizeof p->words - 1;
	memcpy(p->words, text.data, p->words_len);
	buf_reset(&text);
	if (proc_read(pid, "status", &text) < 0 || text.len == 0)
		goto out;
	read_status(p, text.data);
	known = true;
out:
	buf_free(&text);
	return known;
}

int proc_each(const char *name, bool (*found)(void *arg, const struct proc *p), void *arg)
{
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	bool more = true;
	struct proc p;

	if (dir == NULL)
		return -1;
	while (more && (entry = readdir(dir)) != NULL) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (pid > 0 && *end == '\0' && read_proc((pid_t)pid, name, &p))
			more = found(arg, &p);
	}
	closedir(dir);
	return 0;
}

/* The next word; NULL at the end. */
static const char *next_word(const struct proc *p, const char *word)
{
	const char *next = word == NULL ? p->words : word + strlen(word) + 1;

	return next < p->words + p->words_len ? next : NULL;
}

static const char *option_at(const struct proc *p, const char *name, char letter, size_t i, const char **last)
{
	const char short_name[] = {'-', letter, '\0'}, *word = NULL, *value;
	char long_name[64];
	size_t len = (size_t)snprintf(long_name, sizeof long_name, "--%s", name);

	while ((word = next_word(p, word)) != NULL) {
		value = NULL;
		if (strncmp(word, long_name, len) == 0 && word[len] == '=')
			value = word + len + 1;
		else if (strcmp(word, long_name) == 0 || (letter != '\0' && strcmp(word, short_name) == 0))
			value = word = next_word(p, word);
		if (value != NULL && i-- == 0 && last == NULL)
			return value;
		if (value != NULL && last != NULL)
			*last = value;
		if (word == NULL)
			break;
	}
	return NULL;
}

const char *proc_option(const struct proc *p, const char *name, char letter)
{
	const char *last = NULL;

	option_at(p, name, letter, 0, &last);
	return last;
}

const char *proc_option_at(const struct proc *p, const char *name, size_t i)
{
	return option_at(p, name, '\0', i, NULL);
}

void proc_user_of(uid_t uid, gid_t gid, struct proc_user *out)
{
	const struct passwd *pw = getpwuid(uid);
	int count = PROC_GROUPS;

	*out = (struct proc_user){.uid = uid, .gid = gid};
	if (pw != NULL && getgrouplist(pw->pw_name, gid, out->groups, &count) >= 0)
		out->group_count = (size_t)count;
}

int proc_output(const char *const *argv, struct buf *out)
{
	posix_spawn_file_actions_t actions;
	int pipe_fds[2], status = -1;
	ssize_t n;
	char *room;
	pid_t child;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	errno = posix_spawnp(&child, argv[0], &actions, NULL, (char **)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_fds[1]);
	if (errno != 0) {
		close(pipe_fds[0]);
		return -1;
	}
	while ((room = buf_reserve(out, 4096)) != NULL && (n = read(pipe_fds[0], room, 4096)) > 0)
		buf_commit(out, (size_t)n);
	close(pipe_fds[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	return status == 0 ? 0 : -1;
}

int proc_open_socket(const char *path, int *error)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	int fd;

	*error = ENAMETOOLONG;
	if (len >= sizeof sa.sun_path)
		return -1;
	memcpy(sa.sun_path, path, len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0) {
		*error = 0;
		return fd;
	}
	*error = errno;
	if (fd >= 0)
		close(fd);
	return -1;
}

int proc_connect(const char *path, int *error)
{
	int fd = proc_open_socket(path, error);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}
