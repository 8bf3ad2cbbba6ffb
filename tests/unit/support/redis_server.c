/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/redis_server.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM       "/usr/bin/redis-server"
#define ARGUMENTS_MAX 16

bool redis_server_exists(void)
{
	return access(PROGRAM, X_OK) == 0;
}

static bool answers(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool connected;

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	connected = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
	close(fd);
	return connected;
}

static void start(struct redis_server *s, const char *const *arguments)
{
	char path[100];
	const char *args[ARGUMENTS_MAX + 16] = {
		PROGRAM,        "--port", "0",     "--unixsocket", path,        "--save", "",
		"--appendonly", "no",     "--dir", s->directory,   "--logfile", "log"};
	size_t count = 13;
	struct inotify_event event;
	char name[256];
	int watch = inotify_init1(IN_CLOEXEC);

	snprintf(path, sizeof path, "%s/socket", s->directory);
	unlink(path);
	for (size_t i = 0; arguments != NULL && arguments[i] != NULL && i < ARGUMENTS_MAX; i++)
		args[count++] = arguments[i];
	inotify_add_watch(watch, s->directory, IN_CREATE | IN_MODIFY);
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(PROGRAM, (char *const *)(uintptr_t)args);
		_exit(127);
	}
	while (!answers(path)) {
		char bytes[sizeof event + sizeof name];

		/* Its log says when it listens. */
		if (read(watch, bytes, sizeof bytes) < 0)
			break;
	}
	close(watch);
}

void redis_server_start(struct redis_server *s, const char *const *arguments)
{
	strcpy(s->directory, "/tmp/redis_unit.XXXXXX");
	if (mkdtemp(s->directory) == NULL)
		abort();
	snprintf(s->url, sizeof s->url, "redis+unix://%s/socket", s->directory);
	start(s, arguments);
}

void redis_server_restart(struct redis_server *s)
{
	start(s, NULL);
}

void redis_server_kill(struct redis_server *s)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

void redis_server_remove(struct redis_server *s)
{
	char path[sizeof s->directory + 300];
	DIR *directory;

	redis_server_kill(s);
	directory = opendir(s->directory);
	for (const struct dirent *d; directory != NULL && (d = readdir(directory)) != NULL;) {
		snprintf(path, sizeof path, "%s/%s", s->directory, d->d_name);
		unlink(path);
	}
	if (directory != NULL)
		closedir(directory);
	rmdir(s->directory);
}
