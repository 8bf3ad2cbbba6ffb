/* SPDX-License-Identifier: Apache-2.0 */
/* The command channel's socket file and the rights of its peers. */
#ifndef TT_CONTROL_COMMAND_LISTEN_H
#define TT_CONTROL_COMMAND_LISTEN_H

#include "core/control/command.h"

#include <sys/stat.h>

struct command_listen {
	char *path;
	dev_t dev; /* of the socket file that is ours */
	ino_t ino;
};

struct command_peer {
	uid_t uid;
	pid_t pid;
	bool control; /* root, our own user, or let in by the socket's mode */
	bool service; /* root or our own user */
};

/* A listening, non-blocking, close-on-exec socket, mode 0660; -1 with e when path is in use by
 * a running process or cannot be bound. Only a socket that nobody listens on is replaced. */
int command_listen_open(struct command_listen *l, const char *path, struct err *e);
/* Removes the socket file where it is still ours. */
void command_listen_close(struct command_listen *l);

/* The credentials of the other end; -1: the system does not know them. */
int command_listen_peer(const struct command_listen *l, int fd, struct command_peer *peer);
/* Whether it may; else e says which right is missing. */
int command_listen_allow(const struct command_listen *l, const struct command_peer *peer, enum command c,
                         struct err *e);

#endif
