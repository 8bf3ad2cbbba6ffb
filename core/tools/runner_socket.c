/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/runner_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int runner_connect(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof to.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		fd = -1;
	}
	return fd;
}

const char *runner_why_not(int error)
{
	switch (error) {
	case EAGAIN:
		return "the local sandbox is busy; try again later";
	case EACCES:
		return "the socket of tt-agent-runner may not be used";
	default:
		return "tt-agent-runner is not running";
	}
}
