/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/listener.h"

#include "core/base/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The listener of the program before an execve in place. */
#define INHERITED_FD   "TT_AGENT_FCGI_LISTENER"
#define INHERITED_PATH "TT_AGENT_FCGI_SOCKET"

_Static_assert(sizeof(((struct listener *)0)->path) == sizeof(((struct sockaddr_un *)0)->sun_path), "paths");

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t len = sizeof value;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value != 0;
}

static int set_flags(struct listener *l, struct err *e)
{
	int flags = fcntl(l->fd, F_GETFL);

	if (flags < 0 || fcntl(l->fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(l->fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_set_errno(e, errno, "%s", l->name);
	return 0;
}

/* --- a Unix socket -------------------------------------------------------------- */

/* A dead socket file is removed; a live one, or anything else, is not ours to touch. */
static int clear_path(const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	int fd, failed;

	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "%s", a->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, "%s exists and is not a socket; remove it or choose another --listen", a->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot create a socket");
	failed = connect(fd, (const struct sockaddr *)a, sizeof *a) < 0 ? errno : 0;
	close(fd);
	if (failed != ECONNREFUSED)
		return err_set(e, "%s: another process is listening there; stop it or choose another --listen",
		               a->sun_path);
	if (unlink(a->sun_path) < 0)
		return err_set_errno(e, errno, "cannot remove the dead socket %s", a->sun_path);
	return 0;
}

static int set_owner(const char *path, const struct fcgi_options *o, struct err *e)
{
	struct group *g;

	if (o->group != NULL) {
		g = getgrnam(o->group);
		if (g == NULL)
			return err_set(e, "--group: there is no group '%s'", o->group);
		if (chown(path, (uid_t)-1, g->gr_gid) < 0)
			return err_set_errno(e, errno, "cannot give %s to group %s", path, o->group);
	}
	if (chmod(path, o->mode) < 0)
		return err_set_errno(e, errno, "cannot set the mode of %s", path);
	return 0;
}

static int make_directory(const char *path, struct err *e)
{
	char copy[sizeof((struct listener *)0)->path];

	snprintf(copy, sizeof copy, "%s", path);
	if (mkdir(dirname(copy), 0755) < 0 && errno != EEXIST)
		return err_set_errno(e, errno, "cannot create the directory of %s", path);
	return 0;
}

static int bind_path(struct listener *l, const char *path, const struct fcgi_options *o, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	mode_t mask;
	int failed;

	if (strlen(path) >= sizeof a.sun_path)
		return err_set(e, "%s: a socket's path has at most %zu bytes", path, sizeof a.sun_path - 1);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	if (make_directory(path, e) < 0 || clear_path(&a, e) < 0)
		return -1;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return err_set_errno(e, errno, "cannot create a socket");
	mask = umask(0177); /* nobody else may connect before the owner is set */
	failed = bind(l->fd, (struct sockaddr *)&a, sizeof a);
	umask(mask);
	if (failed < 0)
		return err_set_errno(e, errno, "cannot bind %s", path);
	snprintf(l->path, sizeof l->path, "%s", path);
	if (stat(path, &l->bound) < 0 || set_owner(path, o, e) < 0 || listen(l->fd, LISTENER_BACKLOG) < 0)
		return err_set_errno(e, errno, "cannot listen at %s", path);
	return 0;
}

/* --- TCP ------------------------------------------------------------------------------ */

static int split(const char *text, char *host, size_t size, const char **port, struct err *e)
{
	const char *colon = strrchr(text, ':');
	size_t len = (size_t)(colon - text);
	bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	if (bracketed)
		text++, len -= 2;
	if (len == 0 || len >= size || colon[1] == '\0' || (!bracketed && memchr(text, ':', len) != NULL))
		return err_set(e, "--listen: '%s' is neither a path nor HOST:PORT ([ADDRESS]:PORT for IPv6)", text);
	if (strtoul(colon + 1, NULL, 10) > UINT16_MAX) /* getaddrinfo would take its low bits */
		return err_set(e, "--listen: there is no port %s", colon + 1);
	memcpy(host, text, len);
	host[len] = '\0';
	*port = colon + 1;
	return 0;
}

static int bind_tcp(struct listener *l, const char *text, struct err *e)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found = NULL;
	char host[256];
	const char *port = NULL;
	int failed;

	if (split(text, host, sizeof host, &port, e) < 0)
		return -1;
	failed = getaddrinfo(host, port, &hints, &found);
	if (failed != 0)
		return err_set(e, "--listen %s: %s", text, gai_strerror(failed));
	l->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(l->fd, found->ai_addr, found->ai_addrlen) < 0 || listen(l->fd, LISTENER_BACKLOG) < 0)
		err_set_errno(e, errno, "cannot listen at %s", text);
	freeaddrinfo(found);
	return err_is_set(e) ? -1 : 0;
}

/* --- handed over ------------------------------------------------------------------------ */

static int from_systemd(struct listener *l, struct err *e)
{
	snprintf(l->name, sizeof l->name, "systemd's socket");
	return systemd_socket(&l->fd, e);
}

/* File descriptor 0 must not stay a socket: nothing may ever read it as standard input. */
static int from_spawn_fcgi(struct listener *l, struct err *e)
{
	int null;

	if (!is_listening(STDIN_FILENO))
		return 1;
	l->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (l->fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0)
		err_set_errno(e, errno, "the socket handed over as file descriptor 0");
	if (null > STDIN_FILENO)
		close(null);
	snprintf(l->name, sizeof l->name, "file descriptor 0");
	return err_is_set(e) ? -1 : 0;
}

int listener_open(struct listener *l, const struct fcgi_options *o, struct err *e)
{
	const char *where = o->listen;
	int found = 1;

	*l = (struct listener){.fd = -1};
	if (where == NULL)
		found = from_systemd(l, e);
	if (where == NULL && found == 1)
		found = from_spawn_fcgi(l, e);
	if (found == 1) {
		where = where != NULL ? where : OPTIONS_SOCKET;
		snprintf(l->name, sizeof l->name, "%s", where);
		found = strchr(where, '/') == NULL && strchr(where, ':') != NULL ? bind_tcp(l, where, e)
		                                                                 : bind_path(l, where, o, e);
	}
	if (found == 0 && set_flags(l, e) == 0)
		return 0;
	listener_close(l);
	return -1;
}

/* Whether the file at its path is still the socket that was bound. */
static bool is_in_place(const struct listener *l)
{
	struct stat now;

	return l->path[0] != '\0' && stat(l->path, &now) == 0 && now.st_ino == l->bound.st_ino &&
	       now.st_dev == l->bound.st_dev;
}

int listener_pass_on(const struct listener *l, struct err *e)
{
	const char *path = is_in_place(l) ? l->path : "";
	char fd[16];

	snprintf(fd, sizeof fd, "%d", l->fd);
	if (fcntl(l->fd, F_SETFD, 0) < 0 || setenv(INHERITED_FD, fd, 1) < 0 || setenv(INHERITED_PATH, path, 1) < 0)
		return err_set_errno(e, errno, "cannot pass on the listener");
	return 0;
}

void listener_take_back(const struct listener *l)
{
	fcntl(l->fd, F_SETFD, FD_CLOEXEC);
	unsetenv(INHERITED_FD);
	unsetenv(INHERITED_PATH);
}

int listener_inherit(struct listener *l, struct err *e)
{
	const char *fd = getenv(INHERITED_FD), *path = getenv(INHERITED_PATH);

	*l = (struct listener){.fd = -1};
	if (fd == NULL)
		return 1;
	l->fd = (int)strtol(fd, NULL, 10);
	snprintf(l->path, sizeof l->path, "%s", path != NULL ? path : "");
	snprintf(l->name, sizeof l->name, "%s", l->path[0] != '\0' ? l->path : "the inherited socket");
	unsetenv(INHERITED_FD);
	unsetenv(INHERITED_PATH);
	if (!is_listening(l->fd))
		return err_set(e, "file descriptor %d does not listen", l->fd);
	if (l->path[0] != '\0' && stat(l->path, &l->bound) < 0)
		l->path[0] = '\0';
	return set_flags(l, e);
}

void listener_close(struct listener *l)
{
	if (is_in_place(l))
		unlink(l->path);
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	l->path[0] = '\0';
}
