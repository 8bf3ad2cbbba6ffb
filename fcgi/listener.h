/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that the web server connects to: bound here, or handed over. */
#ifndef TT_FCGI_LISTENER_H
#define TT_FCGI_LISTENER_H

#include "core/base/err.h"
#include "fcgi/options.h"

#include <sys/stat.h>

#define LISTENER_BACKLOG 4096

struct listener {
	int fd;            /* non-blocking, close-on-exec */
	char name[256];    /* for the log */
	char path[108];    /* of a socket that this program bound and removes; else "" */
	struct stat bound; /* identifies that socket */
};

/* In this order: --listen, systemd's LISTEN_FDS, a listening socket as file descriptor 0
 * (spawn-fcgi), the default path. */
int listener_open(struct listener *l, const struct fcgi_options *o, struct err *e);

/* Takes over the listener that listener_pass_on prepared before execve. 1: there is none. */
int listener_inherit(struct listener *l, struct err *e);

/* Lets the file descriptor and what is known of it survive execve, through the environment. */
int listener_pass_on(const struct listener *l, struct err *e);

/* Undoes listener_pass_on, after an execve that failed. */
void listener_take_back(const struct listener *l);

/* Closes it, and removes its path if that still is the socket bound here. */
void listener_close(struct listener *l);

#endif
