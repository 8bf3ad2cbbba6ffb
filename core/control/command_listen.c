/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/command_listen.h"

#include "core/control/command_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG    128
#define GROUPS_MAX 1024

/* 0: a dead socket, which was removed. */
static int remove_dead(const struct sockaddr_un *sa, const char *path, struct err *e)
{
	struct stat st;
	int fd, rc, error;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, "%s exists and is not a socket: move it away", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(e, errno, "%s", path);
	rc = connect(fd, (const struct sockaddr *)sa, sizeof *sa);
	error = errno;
	close(fd);
	if (rc == 0 || error != ECONNREFUSED)
		return err_set(e, "%s: another process listens there", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "%s is left over and cannot be removed", path);
	return 0;
}

static int bind_at(int fd, const char *path, struct err *e)
{
	struct sockaddr_un sa;

	if (command_wire_address(&sa, path, e) < 0)
		return -1;
	/* Linux gives the file the mode of the socket, so that it is never open to others. */
	if (fchmod(fd, 0660) < 0)
		return err_set_errno(e, errno, "%s", path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return err_set_errno(e, errno, "%s cannot be bound", path);
	if (remove_dead(&sa, path, e) < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		return err_set_errno(e, errno, "%s cannot be bound", path);
	return 0;
}

int command_listen_open(struct command_listen *l, const char *path, struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	*l = (struct command_listen){.path = NULL};
	if (fd < 0)
		return err_set_errno(e, errno, "the command socket");
	if (bind_at(fd, path, e) < 0)
		goto bad;
	/* The umask may have taken bits away. */
	if (chmod(path, 0660) < 0 || lstat(path, &st) < 0 || listen(fd, BACKLOG) < 0) {
		err_set_errno(e, errno, "%s", path);
		unlink(path);
		goto bad;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->path = strdup(path);
	if (l->path == NULL) {
		err_set_errno(e, ENOMEM, "%s", path);
		unlink(path);
		goto bad;
	}
	return fd;
bad:
	close(fd);
	return -1;
}

void command_listen_close(struct command_listen *l)
{
	struct stat st;

	if (l->path == NULL)
		return;
	if (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	free(l->path);
	l->path = NULL;
}

/* Whether the socket file's group is one of the peer's. */
static bool in_group(int fd, gid_t primary, gid_t wanted)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof groups;

	if (primary == wanted)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof groups[0]; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

int command_listen_peer(const struct command_listen *l, int fd, struct command_peer *peer)
{
	struct ucred cred;
	socklen_t len = sizeof cred;
	struct stat st;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -1;
	peer->uid = cred.uid;
	peer->pid = cred.pid;
	peer->service = cred.uid == 0 || cred.uid == geteuid();
	peer->control = peer->service;
	if (!peer->control && stat(l->path, &st) == 0)
		/* Where the file's mode excludes others, a peer that could connect is in the group. */
		peer->control = (st.st_mode & S_IWOTH) == 0 ||
		                ((st.st_mode & S_IWGRP) != 0 && in_group(fd, cred.gid, st.st_gid));
	return 0;
}

int command_listen_allow(const struct command_listen *l, const struct command_peer *peer, enum command c, struct err *e)
{
	const struct command_info *info = command_info(c);

	switch (info->right) {
	case RIGHT_READ:
		return 0;
	case RIGHT_CONTROL:
		if (peer->control)
			return 0;
		return err_set(e, "'%s' is for root, uid %u and the group of %s; this is uid %u", info->name,
		               (unsigned)geteuid(), l->path, (unsigned)peer->uid);
	case RIGHT_SERVICE:
		if (peer->service)
			return 0;
		return err_set(e, "'%s' is for root and uid %u; this is uid %u", info->name, (unsigned)geteuid(),
		               (unsigned)peer->uid);
	}
	return err_set(e, "'%s' is refused", info->name);
}
