/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/sandbox.h"

#include "runner/syscalls.h"
#include "runner/usage.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX      96
#define WATCH_US      50000
#define TMP_MADE_AT   "/mnt" /* in a namespace of its own, which is empty but for it */
#define FILTER_FD     3      /* where bwrap finds the filter */
#define FILES_PER_MIB 256    /* in /tmp: at about 1 KiB of the kernel's memory each */
#define BWRAP_TASKS   4      /* bwrap and its helpers count as processes of a control group */

struct sandboxes {
	struct event_base *base;
	struct event *child; /* SIGCHLD */
	struct syscalls *filter;
	struct groups *groups;
	LIST_HEAD(, sandbox) list;
};

struct sandbox {
	struct sandboxes *all;
	LIST_ENTRY(sandbox) link;
	pid_t pid;
	bool exited;
	int wait_status;     /* once exited */
	struct event *timer; /* the deadline; then the wait for the child's end */
	struct event *watch; /* looks at what the run takes */
	struct group *group; /* NULL: there are none */
	struct usage usage;
	struct sandbox_limits limits;
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
	if (s->watch != NULL)
		event_free(s->watch);
	if (s->in != NULL)
		bufferevent_free(s->in);
	if (s->out != NULL)
		bufferevent_free(s->out);
	if (s->err != NULL)
		bufferevent_free(s->err);
	s->timer = s->watch = NULL;
	s->in = s->out = s->err = NULL;
}

static void sandbox_free(struct sandbox *s)
{
	LIST_REMOVE(s, link);
	close_channels(s);
	usage_clear(&s->usage);
	if (s->group != NULL)
		group_free(s->all->groups, s->group);
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
	groups_tidy(all->groups);
}

struct sandboxes *sandboxes_new(struct event_base *base, struct groups *groups, struct err *e)
{
	struct sandboxes *all = calloc(1, sizeof *all);

	if (all == NULL) {
		err_set(e, "no memory for the sandboxes");
		return NULL;
	}
	LIST_INIT(&all->list);
	all->base = base;
	all->groups = groups;
	all->filter = syscalls_new(e);
	all->child = evsignal_new(base, SIGCHLD, on_child, all);
	if (all->filter == NULL || all->child == NULL || evsignal_add(all->child, NULL) < 0) {
		err_set(e, "no memory for the sandboxes");
		if (all->child != NULL)
			event_free(all->child);
		syscalls_free(all->filter);
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
	groups_tidy(all->groups);
	event_free(all->child);
	syscalls_free(all->filter);
	free(all);
}

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

int64_t sandbox_files(const struct sandbox_limits *l)
{
	return l->file_bytes * FILES_PER_MIB >> 20;
}

/* bwrap builds the sandbox. The code is read from standard input, because the process
 * list would show a command line. */
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
	static const char *const proc[] = {"--proc", "/proc", NULL};
	/* /dev/full reads as /dev/zero does, but cannot be mapped: a shared mapping of /dev/zero is memory that no
	 * limit of a process counts. */
	static const char *const inside[] = {
		"--dev",   "/dev", "--dev-bind",   "/dev/full", "/dev/zero",    "--bind", TMP_MADE_AT, "/tmp",
		"--chdir", "/tmp", "--remount-ro", "/dev",      "--remount-ro", "/",      "--",        NULL};
	static const char *const run[] = {"--", "/usr/bin/python3", "-I", "-u", "-", NULL};

	add(c, "bwrap");
	add(c, "--seccomp");
	add_number(c, "", FILTER_FD);
	add_all(c, isolation);
	if (l->proc)
		add_all(c, proc);
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
	if (s->group != NULL)
		group_kill(s->group);
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

	if (end == SANDBOX_EXITED && s->group != NULL && group_ran_out_of_memory(s->group))
		end = SANDBOX_MEMORY;
	if (end == SANDBOX_EXITED && WIFSIGNALED(status))
		end = SANDBOX_KILLED;
	s->handlers->ended(s->arg, end, number);
	sandbox_free(s);
}

/* What the kernel does not limit by itself. */
static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct sandbox *s = arg;
	int64_t cpu_us = -1, memory_bytes = 0, group_us = s->group == NULL ? -1 : group_cpu_us(s->group);

	(void)fd;
	(void)what;
	if ((group_us < 0 || !s->all->groups->memory) &&
	    usage_check(&s->usage, s->pid, s->limits.memory_bytes, &cpu_us, &memory_bytes) < 0) {
		stop(s, SANDBOX_MEMORY); /* nothing is known */
		return;
	}
	if ((group_us < 0 ? cpu_us : group_us) > s->limits.cpu_ms * 1000)
		stop(s, SANDBOX_CPU);
	else if (!s->all->groups->memory && memory_bytes > s->limits.memory_bytes)
		stop(s, SANDBOX_MEMORY);
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

/* ---- the way into the sandbox: between fork and exec ------------------------------ */

/* A file system for /tmp with a limit of files, which bwrap cannot make. Nothing outside sees it, and it ends with the
 * last process that does. */
static const char *make_namespaces(const struct sandbox_limits *l)
{
	unsigned user = geteuid(), group = getegid();
	char text[128];

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return "user namespaces";
	snprintf(text, sizeof text, "%u %u 1", user, user);
	if (group_write_file(AT_FDCWD, "/proc/self/uid_map", text) < 0)
		return "/proc/self/uid_map";
	snprintf(text, sizeof text, "%u %u 1", group, group);
	if (group_write_file(AT_FDCWD, "/proc/self/setgroups", "deny") < 0 ||
	    group_write_file(AT_FDCWD, "/proc/self/gid_map", text) < 0)
		return "/proc/self/gid_map";
	snprintf(text, sizeof text, "mode=0755,size=%lld,nr_inodes=%lld", (long long)l->file_bytes,
	         (long long)sandbox_files(l));
	return mount("tmpfs", TMP_MADE_AT, "tmpfs", MS_NOSUID | MS_NODEV, text) < 0 ? "a file system for /tmp" : NULL;
}

static int set_limits(const struct sandbox_limits *l)
{
	const struct {
		int which;
		int64_t most;
	} limits[] = {{RLIMIT_AS, l->memory_bytes},
	              {RLIMIT_CPU, (l->cpu_ms + 999) / 1000},
	              {RLIMIT_FSIZE, l->file_bytes},
	              {RLIMIT_NOFILE, 64},
	              {RLIMIT_CORE, 0},
	              {RLIMIT_SIGPENDING, 256},
	              {RLIMIT_MSGQUEUE, 0}};

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		const struct rlimit r = {.rlim_cur = (rlim_t)limits[i].most, .rlim_max = (rlim_t)limits[i].most};

		if (setrlimit((__rlimit_resource_t)limits[i].which, &r) < 0)
			return -1;
	}
	return 0;
}

/* What is missing, or NULL. */
static const char *prepare(const struct sandbox *s, pid_t parent)
{
	const char *missing;

	if (s->group != NULL && group_join(s->group) < 0)
		return "the run's control group";
	/* bwrap passes on what it inherits: none of our file descriptors may be open in a sandbox. */
	closefrom(FILTER_FD + 1);
	/* Files in /proc/self belong to root otherwise, where root became another user. */
	prctl(PR_SET_DUMPABLE, 1);
	/* Where memory is short, code ends first. */
	if (group_write_file(AT_FDCWD, "/proc/self/oom_score_adj", "1000") < 0)
		return "/proc/self/oom_score_adj";
	/* Keys of a keyring that is inherited would pass from run to run. Where there are none, there is nothing to do.
	 */
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (set_limits(&s->limits) < 0)
		return "its limits";
	missing = make_namespaces(&s->limits);
	if (missing != NULL)
		return missing;
	/* bwrap ends when the runner is killed, and with it the rest. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return "the runner";
	return NULL;
}

static _Noreturn void enter(const struct sandbox *s, char *const *args, const int channels[static 3], int filter,
                            pid_t parent)
{
	const char *missing;
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	for (int i = 0; i < 3; i++)
		dup2(channels[i], i);
	if (filter == FILTER_FD)
		fcntl(filter, F_SETFD, 0);
	else
		dup2(filter, FILTER_FD);
	missing = prepare(s, parent);
	if (missing == NULL) {
		execvp(args[0], args);
		missing = args[0];
	}
	dprintf(STDERR_FILENO, "no sandbox: %s: %s\n", missing, strerror(errno));
	_exit(126);
}

/* 0, or an errno. */
static int spawn(struct sandbox *s, int in, int out, int err)
{
	struct command c = {.count = 0};
	int filter = syscalls_open(s->all->filter), failed = 0;
	pid_t parent = getpid();
	sigset_t all, before;

	make_command(&c, &s->limits);
	if (c.failed || filter < 0) {
		failed = ENOMEM;
	} else {
		/* None of our handlers may run in the child. */
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, &before);
		s->pid = fork();
		if (s->pid == 0)
			enter(s, c.args, (int[]){in, out, err}, filter, parent);
		failed = s->pid < 0 ? errno : 0;
		sigprocmask(SIG_SETMASK, &before, NULL);
		if (failed == 0)
			setpgid(s->pid, s->pid); /* whoever is first */
	}
	if (filter >= 0)
		close(filter);
	command_clear(&c);
	return failed;
}

/* ---- starting and stopping -------------------------------------------------------- */

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
	const struct timeval watch = {.tv_usec = WATCH_US};
	int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, failed = ENOMEM;

	if (s == NULL) {
		err_set(e, "no memory for a sandbox");
		return NULL;
	}
	*s = (struct sandbox){.all = all,
	                      .handlers = handlers,
	                      .arg = arg,
	                      .output_left = limits->output_bytes,
	                      .open = 2,
	                      .limits = *limits};
	LIST_INSERT_HEAD(&all->list, s, link);
	s->timer = evtimer_new(all->base, on_wait, s);
	s->watch = event_new(all->base, -1, EV_PERSIST, on_watch, s);
	if (all->groups->missing == NULL) {
		s->group = group_new(all->groups, limits->memory_bytes + limits->file_bytes,
		                     limits->processes + BWRAP_TASKS, e);
		if (s->group == NULL)
			goto out;
	}
	s->in = channel(s, in, SOCK_STREAM, e);
	s->out = channel(s, out, SOCK_STREAM, e);
	s->err = channel(s, err, SOCK_STREAM, e);
	if (s->timer != NULL && s->watch != NULL && s->in != NULL && s->out != NULL && s->err != NULL) {
		failed = spawn(s, in[1], out[1], err[1]);
		if (failed != 0)
			err_set_errno(e, failed, "the sandbox could not be started");
	}
out:
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
	event_add(s->watch, &watch);
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
