/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that the web server connects to: made here, or handed over. */
#ifndef TT_FCGI_LISTENER_H
#define TT_FCGI_LISTENER_H

#include "core/base/err.h"
#include "fcgi/options.h"

#include <sys/stat.h>

#define LISTENER_BACKLOG 4096

struct listener {
	int fd;           /* non-blocking, close-on-exec */
	char name[256];   /* for the log */
	char path[108];   /* of a socket of our own, which we remove; else "" */
	struct stat made; /* ... to know it again */
};

/* In this order: --listen, systemd's LISTEN_FDS, a listening socket as descriptor 0
 * (spawn-fcgi), the default path. */
int listener_open(struct listener *l, const struct options *o, struct err *e);

/* Takes over what an earlier image of this process had (see listener_keep). 1: there is none. */
int listener_inherit(struct listener *l, struct err *e);

/* Lets the descriptor and what is known of it survive execve. */
int listener_keep(const struct listener *l, struct err *e);

/* Closes it; the path goes where it still is our socket. */
void listener_close(struct listener *l);

#endif
