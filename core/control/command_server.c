/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/command_server_private.h"

#include "core/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEERS_MAX      512u
#define ACCEPT_PAUSE_S 1 /* when descriptors ran out */

static int admit(struct command_server *s, int fd)
{
	struct command_peer who;

	if (s->peer_count < PEERS_MAX && command_listen_peer(&s->listen, fd, &who) == 0)
		return peer_open(s, fd, &who);
	close(fd);
	return -1;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct command_server *s = arg;

	(void)listener;
	(void)sa;
	(void)len;
	if (admit(s, fd) < 0)
		log_event(LOG_COMMAND_PEER_REFUSED, L_INT("connections", s->peer_count));
}

/* File descriptors or memory ran out: retrying at once would only waste CPU time. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct command_server *s = arg;

	log_event(LOG_COMMAND_ACCEPT_FAILED, L_STR("error", strerror(EVUTIL_SOCKET_ERROR())),
	          L_INT("again_in_s", ACCEPT_PAUSE_S));
	evconnlistener_disable(listener);
	event_add(s->accept_again, &(struct timeval){.tv_sec = ACCEPT_PAUSE_S});
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct command_server *s = arg;

	(void)fd;
	(void)what;
	evconnlistener_enable(s->listener);
}

struct command_server *command_server_new(struct event_base *base, const char *path, command_handler_fn *handler,
                                          void *arg, struct err *e)
{
	struct command_server *s = calloc(1, sizeof *s);
	int fd;

	if (s == NULL) {
		err_set_errno(e, ENOMEM, "the command socket");
		return NULL;
	}
	s->base = base;
	s->handler = handler;
	s->arg = arg;
	LIST_INIT(&s->peers);
	fd = command_listen_open(&s->listen, path, e);
	if (fd < 0) {
		free(s);
		return NULL;
	}
	s->listener = evconnlistener_new(base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	s->accept_again = evtimer_new(base, on_accept_again, s);
	if (s->listener == NULL)
		close(fd);
	if (s->listener == NULL || s->accept_again == NULL) {
		err_set_errno(e, ENOMEM, "the command socket");
		command_server_free(s);
		return NULL;
	}
	evconnlistener_set_error_cb(s->listener, on_accept_error);
	return s;
}

void command_server_free(struct command_server *s)
{
	struct peer *p;

	if (s == NULL)
		return;
	while ((p = LIST_FIRST(&s->peers)) != NULL) {
		/* The answer to shutdown is still sent, if the socket takes it. */
		peer_write_now(p);
		peer_free(p);
	}
	if (s->listener != NULL)
		evconnlistener_free(s->listener);
	if (s->accept_again != NULL)
		event_free(s->accept_again);
	command_listen_close(&s->listen);
	free(s);
}
