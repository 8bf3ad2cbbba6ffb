/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 96

struct sandboxes {
	struct event_base *base;
	struct event *child; /* SIGCHLD */
	LIST_HEAD(, sandbox) list;
};

struct sandbox {
	struct sandboxes *all;
	LIST_ENTRY(sandbox) link;
	pid_t pid;
	bool exited;
	int wait_status;     /* once exited */
	struct event *timer; /* the deadline; then the wait for the child's end */
	struct bufferevent *in, *out, *err;
	const struct sandbox_handlers *handlers; /* NULL: killed, its child is about to end */
	void *arg;
	int64_t output_left;
	enum sandbox_end end;
	int open; /* of out and err */
};

/* ---- all of them ------------------------------------------------------------------ */

static void close_channels(struct sandbox *s)
{
	if (s->timer != NULL)
		event_free(s->timer);
	if (s->in != NULL)
		bufferevent_free(s->in);
	if (s->out != NULL)
		bufferevent_free(s->out);
	if (s->err != NULL)
		bufferevent_free(s->err);
	s->timer = NULL;
	s->in = s->out = s->err = NULL;
}

static void sandbox_free(struct sandbox *s)
{
	LIST_REMOVE(s, link);
	close_channels(s);
	free(s);
}

static void child_ended(struct sandbox *s, int status)
{
	s->exited = true;
	s->wait_status = status;
	if (s->handlers == NULL)
		sandbox_free(s);
}

/* "NSpid: 4711 1": its number here, and in its own namespace. */
static bool leads_a_namespace(long pid)
{
	char path[64], line[256] = "", *p, *end;
	long number = 0, next;
	size_t count = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/status", pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	while (fgets(line, sizeof line, f) != NULL && strncmp(line, "NSpid:", 6) != 0)
		line[0] = '\0';
	fclose(f);
	for (p = line + strcspn(line, "\t"); (next = strtol(p, &end, 10)) > 0; p = end, count++)
		number = next;
	return count > 1 && number == 1;
}

/* A sandbox that was killed while bwrap still made it may leave its inner process behind: that
 * binds its life to bwrap's only at the end of its set-up, without checking that bwrap still
 * lives, and would then run code that nobody stops. Kills those: of the children of this
 * process, the ones that lead a process namespace. That of a living sandbox is bwrap's child. */
static void kill_orphans(void)
{
	FILE *children = fopen("/proc/thread-self/children", "re");
	long pid;

	if (children == NULL)
		return;
	while (fscanf(children, "%ld", &pid) == 1)
		if (pid > 1 && leads_a_namespace(pid))
			kill((pid_t)pid, SIGKILL);
	fclose(children);
}

static void on_child(evutil_socket_t signal_number, short what, void *arg)
{
	struct sandboxes *all = arg;
	int status;
	pid_t pid;

	(void)signal_number;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct sandbox *s;

		LIST_FOREACH(s, &all->list, link)
		if (s->pid == pid && !s->exited)
			break;
		if (s != NULL)
			child_ended(s, status);
	}
	kill_orphans();
}

struct sandboxes *sandboxes_new(struct event_base *base, struct err *e)
{
	struct sandboxes *all = calloc(1, sizeof *all);

	if (all != NULL) {
		LIST_INIT(&all->list);
		all->base = base;
		all->child = evsignal_new(base, SIGCHLD, on_child, all);
	}
	if (all == NULL || all->child == NULL || evsignal_add(all->child, NULL) < 0) {
		err_set(e, "no memory for the sandboxes");
		free(all);
		return NULL;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return all;
}

void sandboxes_free(struct sandboxes *all)
{
	struct sandbox *s;

	while ((s = LIST_FIRST(&all->list)) != NULL) {
		assert(s->handlers == NULL);
		/* Its group, because what the child leaves behind becomes ours. All were killed, so
		 * this is short. */
		while (waitpid(-s->pid, NULL, 0) > 0)
			continue;
		sandbox_free(s);
	}
	kill_orphans();
	event_free(all->child);
	free(all);
}

extern char **environ;

/* ---- the command line ------------------------------------------------------------- */

struct command {
	char *args[ARGS_MAX];
	size_t count;
	bool failed;
};

static void add(struct command *c, const char *text)
{
	if (c->count + 1 >= ARGS_MAX || (c->args[c->count] = strdup(text)) == NULL) {
		c->failed = true;
		return;
	}
	c->count++;
}

static void add_number(struct command *c, const char *before, int64_t number)
{
	char text[64];

	snprintf(text, sizeof text, "%s%lld", before, (long long)number);
	add(c, text);
}

static void add_all(struct command *c, const char *const *list)
{
	for (; *list != NULL; list++)
		add(c, *list);
}

static void command_clear(struct command *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->args[i]);
}

/* setpriv ends all of it when this process is killed, prlimit sets the limits that the
 * kernel enforces, timeout backs our own deadline, bwrap builds the sandbox. The code is read
 * from standard input, because the process list would show a command line. */
static void make_command(struct command *c, const struct sandbox_limits *l)
{
	static const char *const isolation[] = {"--unshare-all",
	                                        "--unshare-user",
	                                        "--disable-userns",
	                                        "--die-with-parent",
	                                        "--new-session",
	                                        "--as-pid-1",
	                                        "--uid",
	                                        "65534",
	                                        "--gid",
	                                        "65534",
	                                        "--hostname",
	                                        "sandbox",
	                                        "--clearenv",
	                                        "--setenv",
	                                        "PATH",
	                                        "/usr/bin:/bin",
	                                        "--setenv",
	                                        "HOME",
	                                        "/tmp",
	                                        "--setenv",
	                                        "LANG",
	                                        "C.UTF-8",
	                                        "--ro-bind",
	                                        "/usr",
	                                        "/usr",
	                                        "--symlink",
	                                        "usr/bin",
	                                        "/bin",
	                                        "--symlink",
	                                        "usr/lib",
	                                        "/lib",
	                                        "--symlink",
	                                        "usr/lib64",
	                                        "/lib64",
	                                        NULL};
	static const char *const death[] = {"setpriv", "--pdeathsig", "KILL", "--", NULL};
	static const char *const proc[] = {"--proc", "/proc", NULL};
	static const char *const inside[] = {"--chdir",      "/tmp", "--remount-ro", "/dev",
	                                     "--remount-ro", "/",    "--",           NULL};
	static const char *const run[] = {"--", "/usr/bin/python3", "-I", "-u", "-", NULL};

	add_all(c, death);
	add(c, "prlimit");
	add_number(c, "--as=", l->memory_bytes);
	add_number(c, "--cpu=", l->cpu_s);
	add_number(c, "--fsize=", l->file_bytes);
	add(c, "--nofile=64");
	add(c, "--core=0");
	add(c, "--");
	add(c, "timeout");
	add(c, "-k");
	add(c, "1");
	add_number(c, "", l->timeout_ms / 1000 + 2);
	add(c, "bwrap");
	add_all(c, isolation);
	if (l->proc)
		add_all(c, proc);
	add(c, "--dev");
	add(c, "/dev");
	add(c, "--size");
	add_number(c, "", l->file_bytes);
	add(c, "--tmpfs");
	add(c, "/tmp");
	add_all(c, inside);
	/* Set inside the sandbox's user namespace, the limit counts its processes alone; set
	 * outside, all sandboxes would share it. */
	add(c, "/usr/bin/prlimit");
	add_number(c, "--nproc=", l->processes);
	add_all(c, run);
}

/* ---- the child -------------------------------------------------------------------- */

/* The child leads its own process group; --die-with-parent ends the rest, kill_orphans what
 * that did not cover yet. */
static void kill_group(const struct sandbox *s)
{
	if (s->exited)
		return;
	kill(-s->pid, SIGKILL);
	kill(s->pid, SIGKILL);
}

static void stop(struct sandbox *s, enum sandbox_end end)
{
	if (s->end == SANDBOX_EXITED)
		s->end = end;
	kill_group(s);
}

static void finish(struct sandbox *s, int status)
{
	enum sandbox_end end = s->end;
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);

	if (end == SANDBOX_EXITED && WIFSIGNALED(status))
		end = SANDBOX_KILLED;
	s->handlers->ended(s->arg, end, number);
	sandbox_free(s);
}

/* At the deadline, or once all output was read: then the child is about to end, or is made to. */
static void on_wait(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval again = {.tv_usec = 2000};
	struct sandbox *s = arg;

	(void)fd;
	(void)what;
	if (s->open > 0) {
		stop(s, SANDBOX_TIMED_OUT);
	} else if (!s->exited) {
		kill_group(s);
		evtimer_add(s->timer, &again);
	} else {
		finish(s, s->wait_status);
	}
}

static void on_output(struct bufferevent *bev, void *arg)
{
	struct sandbox *s = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer_iovec piece;

	while (evbuffer_peek(in, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
		size_t len = piece.iov_len;

		if ((int64_t)len > s->output_left)
			len = (size_t)s->output_left;
		if (len > 0)
			s->handlers->output(s->arg, bev == s->err, piece.iov_base, len);
		s->output_left -= (int64_t)len;
		if (len < piece.iov_len)
			stop(s, SANDBOX_OUTPUT);
		evbuffer_drain(in, piece.iov_len);
	}
}

static void on_closed(struct bufferevent *bev, short what, void *arg)
{
	const struct timeval soon = {.tv_usec = 500};
	struct sandbox *s = arg;

	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) == 0)
		return;
	bufferevent_disable(bev, EV_READ);
	if (--s->open == 0)
		evtimer_add(s->timer, &soon);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct sandbox *s = arg;

	(void)bev;
	bufferevent_free(s->in); /* the end of the code: Python runs it now */
	s->in = NULL;
}

static void on_in_failed(struct bufferevent *bev, short what, void *arg)
{
	(void)what;
	on_written(bev, arg);
}

static int spawn(struct sandbox *s, const struct sandbox_limits *limits, int in, int out, int err)
{
	struct command c = {.count = 0};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t all, none;
	int failed;

	make_command(&c, limits);
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
	/* bwrap passes on what it inherits: none of our file descriptors may be open in a sandbox. */
	posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	failed = c.failed ? ENOMEM : posix_spawnp(&s->pid, c.args[0], &actions, &attributes, c.args, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	command_clear(&c);
	return failed;
}

static struct bufferevent *channel(struct sandbox *s, int *pair, int type, struct err *e)
{
	struct bufferevent *bev = NULL;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0) {
		err_set_errno(e, errno, "no channel to the sandbox");
		return NULL;
	}
	evutil_make_socket_nonblocking(pair[0]);
	bev = bufferevent_socket_new(s->all->base, pair[0], BEV_OPT_CLOSE_ON_FREE);
	if (bev == NULL) {
		err_set(e, "no memory for a sandbox");
		close(pair[0]);
		close(pair[1]);
		pair[1] = -1;
	}
	return bev;
}

struct sandbox *sandbox_start(struct sandboxes *all, const struct sandbox_limits *limits, const char *code, size_t len,
                              const struct sandbox_handlers *handlers, void *arg, struct err *e)
{
	const struct timeval deadline = {.tv_sec = limits->timeout_ms / 1000,
	                                 .tv_usec = limits->timeout_ms % 1000 * 1000};
	struct sandbox *s = calloc(1, sizeof *s);
	int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, failed = ENOMEM;

	if (s == NULL) {
		err_set(e, "no memory for a sandbox");
		return NULL;
	}
	*s = (struct sandbox){
		.all = all, .handlers = handlers, .arg = arg, .output_left = limits->output_bytes, .open = 2};
	LIST_INSERT_HEAD(&all->list, s, link);
	s->timer = evtimer_new(all->base, on_wait, s);
	s->in = channel(s, in, SOCK_STREAM, e);
	s->out = channel(s, out, SOCK_STREAM, e);
	s->err = channel(s, err, SOCK_STREAM, e);
	if (s->timer != NULL && s->in != NULL && s->out != NULL && s->err != NULL) {
		failed = spawn(s, limits, in[1], out[1], err[1]);
		if (failed != 0)
			err_set_errno(e, failed, "the sandbox could not be started");
	}
	if (in[1] >= 0)
		close(in[1]);
	if (out[1] >= 0)
		close(out[1]);
	if (err[1] >= 0)
		close(err[1]);
	if (failed != 0) {
		sandbox_free(s);
		return NULL;
	}
	bufferevent_setcb(s->in, NULL, on_written, on_in_failed, s);
	bufferevent_setcb(s->out, on_output, NULL, on_closed, s);
	bufferevent_setcb(s->err, on_output, NULL, on_closed, s);
	bufferevent_enable(s->out, EV_READ);
	bufferevent_enable(s->err, EV_READ);
	bufferevent_write(s->in, code, len);
	evtimer_add(s->timer, &deadline);
	return s;
}

void sandbox_kill(struct sandbox *s)
{
	kill_group(s);
	close_channels(s);
	s->handlers = NULL;
	if (s->exited)
		sandbox_free(s);
}
