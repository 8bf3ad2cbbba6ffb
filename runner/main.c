/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agent-runner: runs the code of chat turns in local sandboxes. A process of its own,
 * because the responder's hardening forbids the namespaces that sandboxes are made of. With --mcp it runs MCP
 * servers in their place, for which that hardening would be just as much in the way. */
#include "core/base/log.h"
#include "core/base/process.h"
#include "core/base/systemd.h"
#include "runner/mcp_file.h"
#include "runner/mcp_service.h"
#include "runner/options.h"
#include "runner/self_test.h"
#include "runner/service.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_signal(evutil_socket_t signal_number, short what, void *arg)
{
	(void)signal_number;
	(void)what;
	event_base_loopbreak(arg);
}

/* The kernel exempts root from the limit of processes: code must not run under it. The user who runs it gets the
 * control groups, which only root may pass on. */
static int drop_root(const char *user, struct groups *groups, struct err *e)
{
	const struct passwd *who;

	if (geteuid() != 0) {
		groups_open(groups, geteuid(), getegid());
		return 0;
	}
	who = getpwnam(user);
	if (who == NULL)
		return err_set(e, "--user %s: there is no such user", user);
	groups_open(groups, who->pw_uid, who->pw_gid);
	if (setgroups(0, NULL) < 0 || setgid(who->pw_gid) < 0 || setuid(who->pw_uid) < 0)
		return err_set_errno(e, errno, "can't become user %s", user);
	return 0;
}

static int bind_socket(const struct runner_options *o, struct err *e)
{
	int fd = service_bind(o->socket, e);
	const struct passwd *owner = fd < 0 || o->owner == NULL ? NULL : getpwnam(o->owner);

	if (fd < 0 || o->owner == NULL)
		return fd;
	if (owner == NULL)
		return err_set(e, "--owner %s: there is no such user", o->owner);
	if (chown(o->socket, owner->pw_uid, owner->pw_gid) < 0)
		return err_set_errno(e, errno, "can't give %s to user %s", o->socket, o->owner);
	return fd;
}

static void on_servers(void *arg, json_t *servers)
{
	mcp_service_configure(arg, servers);
}

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	mcp_file_reread(arg);
}

static void on_alive(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	systemd_notify_alive();
}

/* mcp: the servers to run, NULL: sandboxes. is_ours: we created the socket, and remove it. */
static int serve(const struct runner_options *o, struct groups *groups, int listen_fd, bool is_ours, json_t *mcp,
                 struct err *e)
{
	struct event_base *base = event_base_new();
	struct event *term = base == NULL ? NULL : evsignal_new(base, SIGTERM, on_signal, base);
	struct event *interrupt = base == NULL ? NULL : evsignal_new(base, SIGINT, on_signal, base);
	struct event *alive = base == NULL ? NULL : event_new(base, -1, EV_PERSIST, on_alive, NULL);
	int64_t alive_ms = systemd_watchdog_ms();
	const struct timeval interval = {alive_ms / 1000, alive_ms % 1000 * 1000};
	struct mcp_service *mcp_service = NULL;
	struct service *service = NULL;
	struct mcp_file *file = NULL;
	struct event *hangup = NULL;

	if (term == NULL || interrupt == NULL || alive == NULL)
		err_set(e, "no memory");
	else if (mcp != NULL)
		mcp_service = mcp_service_new(base, listen_fd, mcp, (size_t)o->reply_bytes, e);
	else
		service = service_new(base, groups, is_ours ? o->socket : NULL, listen_fd, &o->limits, o->sandboxes, e);
	if (service != NULL || mcp_service != NULL) {
		evsignal_add(term, NULL);
		evsignal_add(interrupt, NULL);
		if (alive_ms > 0)
			event_add(alive, &interval);
		if (mcp_service != NULL) /* without memory, the file is not followed */
			file = mcp_file_watch(base, o->mcp, on_servers, mcp_service);
		hangup = file != NULL ? evsignal_new(base, SIGHUP, on_hangup, file) : NULL;
		if (hangup != NULL)
			evsignal_add(hangup, NULL);
		if (mcp_service != NULL)
			log_event(LOG_READY, L_STR("socket", o->socket), L_INT("mcp_servers", json_object_size(mcp)));
		else
			log_event(LOG_READY, L_STR("socket", o->socket), L_INT("sandboxes", o->sandboxes),
			          L_STR("control_groups", groups->missing == NULL ? "yes" : groups->missing));
		systemd_notify_ready();
		event_base_dispatch(base);
		systemd_notify_stopping();
		log_event(LOG_STOPPED, L_STR("why", "signal"));
		if (hangup != NULL)
			event_free(hangup);
		mcp_file_free(file);
		if (service != NULL)
			service_free(service);
		if (mcp_service != NULL)
			mcp_service_free(mcp_service);
		if (mcp_service != NULL && is_ours)
			unlink(o->socket);
	}
	if (alive != NULL)
		event_free(alive);
	if (term != NULL)
		event_free(term);
	if (interrupt != NULL)
		event_free(interrupt);
	if (base != NULL)
		event_base_free(base);
	return err_is_set(e) ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct runner_options o = {0};
	struct groups groups;
	struct err e = ERR_INIT;
	int status, listen_fd = -1;
	json_t *mcp = NULL;
	bool is_ours = false;

	process_no_core_dumps();
	status = options_main(&runner_program, &o, argc, argv);
	if (status >= 0)
		return status;
	log_open("tt-agent-runner", LOG_TO_STDERR, LOG_INFO_);
	log_set_format(o.log_format);
	signal(SIGPIPE, SIG_IGN);
	if (o.mcp != NULL)
		mcp = mcp_file_read(o.mcp, &e);
	if (!o.only_test && !err_is_set(&e)) {
		is_ours = systemd_socket(&listen_fd, &e) == 1;
		if (is_ours)
			listen_fd = bind_socket(&o, &e);
	}
	if (err_is_set(&e) || drop_root(o.user, &groups, &e) < 0 ||
	    (o.mcp == NULL && self_test(&o.limits, &groups, o.only_test ? stdout : NULL, &e) < 0) ||
	    (!o.only_test && serve(&o, &groups, listen_fd, is_ours, mcp, &e) < 0)) {
		log_event(o.mcp != NULL ? LOG_MCP_NOT_STARTED : LOG_NO_SANDBOX, L_STR("error", e.text));
		json_decref(mcp);
		return 1;
	}
	json_decref(mcp);
	if (o.only_test)
		puts(o.mcp != NULL ? "the file is valid" : "the sandbox isolates");
	return 0;
}
