/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/parent.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/systemd.h"
#include "fcgi/keeper.h"
#include "fcgi/listener.h"
#include "fcgi/published.h"
#include "fcgi/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define OLD_WORKERS       "TT_AGENT_FCGI_OLD_WORKERS" /* their pids, for the program after execve */
#define LONG_LIFE_MS      10000                       /* after that a death does not make the next restart wait */
#define BACKOFF_MIN_MS    50
#define BACKOFF_MAX_MS    5000
#define KEEPERS_MS        11000 /* how long keepers may take, with a margin */
#define READY_TIMEOUT_MS  10000 /* until old workers drain even if the new ones are not ready */
#define KILL_AFTER_MS     2000  /* beyond the time that workers have to drain */
#define OLD_MAX           (4 * OPTIONS_WORKERS_MAX)
#define VERSION_TIMEOUT_S 5 /* for a new program to print its version */

struct slot {
	pid_t pid;    /* 0: none runs */
	bool ready;   /* it accepts connections */
	int ready_fd; /* reports that; -1: closed */
	int64_t started_ms, start_at_ms, backoff_ms;
};

struct parent {
	const struct fcgi_options *options;
	char **argv;
	char program[PATH_MAX]; /* path at the start; after an upgrade the new program is there */
	struct listener listener;
	struct handover handover;
	struct admission *admission, *listeners;
	int signals;
	sigset_t worker_signals; /* the mask that workers set again */
	struct slot slots[OPTIONS_WORKERS_MAX];
	pid_t old[OLD_MAX]; /* workers from before the last SIGHUP, draining */
	size_t old_count;
	int64_t ready_by_ms; /* when the service counts as ready even if a worker is not; 0: it is ready */
	int64_t kill_at_ms;  /* while stopping; 0: not stopping */
	int64_t alive_ms;    /* how often the service manager wants a sign of life; 0: never */
	bool left;           /* the workers go on without this process */
	int worker_status;
};

/* --- workers ---------------------------------------------------------------------------- */

static void close_ready(struct slot *s)
{
	if (s->ready_fd >= 0)
		close(s->ready_fd);
	s->ready_fd = -1;
}

static int run_worker(struct parent *p, const struct slot *s, pid_t parent_pid, int ready_fd)
{
	const struct worker_context context = {.listener = p->listener.fd,
	                                       .ready_fd = ready_fd,
	                                       .handover = p->handover,
	                                       .admission = p->admission,
	                                       .listeners = p->listeners,
	                                       .number = (unsigned)(s - p->slots),
	                                       .signals = p->worker_signals};

	/* A successor takes over: the worker finishes its answers, and closes no connection of the web server. */
	prctl(PR_SET_PDEATHSIG, WORKER_RETIRE);
	if (getppid() != parent_pid)
		return 0;
	signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group; the parent decides when to stop */
	signal(SIGHUP, SIG_IGN);
	close(p->signals);
	for (unsigned i = 0; i < p->options->workers; i++)
		close_ready(&p->slots[i]); /* of earlier slots */
	return worker_run(p->options, &context);
}

/* Returns true in the new worker, after its end. */
static bool start_worker(struct parent *p, struct slot *s)
{
	pid_t self = getpid();
	int ready[2] = {-1, -1};

	if (pipe2(ready, O_CLOEXEC) < 0)
		log_event(LOG_READY_PIPE_FAILED, L_STR("error", strerror(errno)));
	s->started_ms = clock_mono_ms();
	s->pid = fork();
	if (s->pid == 0) {
		if (ready[0] >= 0)
			close(ready[0]);
		p->worker_status = run_worker(p, s, self, ready[1]);
		return true;
	}
	if (ready[1] >= 0)
		close(ready[1]);
	s->ready_fd = ready[0];
	s->ready = ready[0] < 0; /* it cannot report it */
	if (s->pid < 0) {
		log_event(LOG_FORK_FAILED, L_STR("error", strerror(errno)));
		s->pid = 0;
		s->start_at_ms = s->started_ms + BACKOFF_MAX_MS;
	}
	return false;
}

static bool start_due(struct parent *p)
{
	int64_t now = clock_mono_ms();

	for (unsigned i = 0; p->kill_at_ms == 0 && i < p->options->workers; i++)
		if (p->slots[i].pid == 0 && p->slots[i].start_at_ms <= now && start_worker(p, &p->slots[i]))
			return true;
	return false;
}

/* End of file: the worker died before it accepted connections. */
static void read_ready(struct slot *s)
{
	char byte;

	s->ready = read(s->ready_fd, &byte, 1) == 1;
	close_ready(s);
}

static void log_death(struct parent *p, pid_t pid, int status)
{
	p->handover.deaths->status = status;
	p->handover.deaths->workers++;
	if (WIFSIGNALED(status))
		log_event(LOG_WORKER_DIED, L_INT("pid", pid), L_STR("signal", strsignal(WTERMSIG(status))));
	else
		log_event(LOG_WORKER_DIED, L_INT("pid", pid), L_INT("status", WEXITSTATUS(status)));
}

static void schedule_restart(struct parent *p, struct slot *s, int status)
{
	int64_t now = clock_mono_ms();

	if (p->kill_at_ms == 0)
		log_death(p, s->pid, status);
	s->pid = 0;
	admission_clear(p->admission, (unsigned)(s - p->slots));
	admission_clear(p->listeners, (unsigned)(s - p->slots));
	close_ready(s);
	if (now - s->started_ms >= LONG_LIFE_MS)
		s->backoff_ms = 0;
	s->start_at_ms = now + s->backoff_ms;
	s->backoff_ms = s->backoff_ms == 0                   ? BACKOFF_MIN_MS
	                : s->backoff_ms * 2 < BACKOFF_MAX_MS ? s->backoff_ms * 2
	                                                     : BACKOFF_MAX_MS;
}

/* An old worker has no slot, and is expected to end. */
static void remove_old(struct parent *p, size_t i, int status)
{
	if (p->kill_at_ms == 0 && status != 0)
		log_death(p, p->old[i], status);
	p->old[i] = p->old[--p->old_count];
}

static void reap(struct parent *p)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < p->options->workers; i++)
			if (p->slots[i].pid == pid)
				schedule_restart(p, &p->slots[i], status);
		for (size_t i = 0; i < p->old_count; i++)
			if (p->old[i] == pid)
				remove_old(p, i--, status);
	}
}

static void signal_all(struct parent *p, int number)
{
	for (unsigned i = 0; i < p->options->workers; i++)
		if (p->slots[i].pid > 0)
			kill(p->slots[i].pid, number);
	for (size_t i = 0; i < p->old_count; i++)
		kill(p->old[i], number);
}

static unsigned running(const struct parent *p)
{
	unsigned n = (unsigned)p->old_count;

	for (unsigned i = 0; i < p->options->workers; i++)
		n += p->slots[i].pid > 0;
	return n;
}

/* --- re-executing in place ------------------------------------------------------------------ */

/* Executing a program that does not work would end the service for good. It is waited for
 * without looking at anything else; an alarm, which execve keeps, ends one that hangs. */
static bool program_works(struct parent *p)
{
	pid_t pid = fork();
	int status = 1, null;

	if (pid == 0) {
		null = open("/dev/null", O_RDWR);
		if (null >= 0)
			dup2(null, STDOUT_FILENO);
		sigprocmask(SIG_SETMASK, &p->worker_signals, NULL);
		alarm(VERSION_TIMEOUT_S);
		execl(p->program, p->program, "--version", (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int pass_on_workers(const struct parent *p)
{
	char text[OLD_MAX * 12] = "";
	size_t len = 0;

	for (size_t i = 0; i < p->old_count; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%ld ", (long)p->old[i]);
	for (unsigned i = 0; i < p->options->workers; i++)
		if (p->slots[i].pid > 0 && len + 12 < sizeof text)
			len += (size_t)snprintf(text + len, sizeof text - len, "%ld ", (long)p->slots[i].pid);
	return setenv(OLD_WORKERS, text, 1);
}

static void inherit_workers(struct parent *p)
{
	const char *text = getenv(OLD_WORKERS);
	char *end;
	long pid;

	for (; text != NULL && p->old_count < OLD_MAX; text = end) {
		pid = strtol(text, &end, 10);
		if (end == text || pid <= 1)
			break;
		p->old[p->old_count++] = (pid_t)pid;
	}
	unsetenv(OLD_WORKERS);
}

/* Returns only if it failed; everything continues as before then. */
static void reexec(struct parent *p)
{
	struct err e = ERR_INIT;

	reap(p); /* the new program could not name a worker that died before it started */
	log_event(LOG_REEXECUTING, L_STR("program", p->program));
	if (!program_works(p)) {
		err_set(&e, "%s does not run (try it with --version); the running program continues", p->program);
	} else if (listener_pass_on(&p->listener, &e) == 0 && pass_on_workers(p) == 0) {
		systemd_notify_reloading();
		execv(p->program, p->argv);
	}
	err_set_errno(&e, errno, "cannot start %s", p->program);
	log_event(LOG_REEXEC_FAILED, L_STR("error", e.text));
	listener_take_back(&p->listener);
	unsetenv(OLD_WORKERS);
	if (p->ready_by_ms == 0)
		systemd_notify_ready();
}

/* The new workers accept connections; the old ones are no longer needed. */
static void become_ready(struct parent *p)
{
	p->ready_by_ms = 0;
	systemd_notify_ready();
	if (p->old_count == 0)
		return;
	log_event(LOG_OLD_WORKERS_DRAINING, L_INT("workers", p->old_count));
	for (size_t i = 0; i < p->old_count; i++)
		kill(p->old[i], WORKER_RETIRE);
}

/* --- the loop ------------------------------------------------------------------------------- */

static void stop(struct parent *p)
{
	if (p->kill_at_ms != 0) {
		signal_all(p, SIGKILL);
		return;
	}
	log_event(LOG_STOPPING, L_INT("workers", running(p)));
	systemd_notify_stopping();
	if (handover_end(&p->handover)) /* from now on, nobody is left to take an answer over */
		keeper_end_waiting(&p->handover);
	handover_close(&p->handover);
	p->kill_at_ms = clock_mono_ms() + p->options->drain_ms + KILL_AFTER_MS;
	listener_close(&p->listener);
	signal_all(p, SIGTERM);
}

/* A restart by the service manager begins when this process has ended, and new requests wait until then:
 * it leaves its workers, which retire, with their keepers. */
static void leave(struct parent *p)
{
	log_event(LOG_LEFT, L_INT("workers", running(p)), L_INT("pid", getpid()));
	systemd_notify_stopping();
	p->left = true;
}

static void take_signals(struct parent *p)
{
	struct signalfd_siginfo info;

	while (!p->left && read(p->signals, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			reap(p);
		else if (info.ssi_signo == SIGUSR1)
			leave(p);
		else if (info.ssi_signo == SIGHUP && p->kill_at_ms == 0)
			reexec(p);
		else if (info.ssi_signo != SIGHUP)
			stop(p);
	}
}

static int next_timeout(const struct parent *p)
{
	int64_t now = clock_mono_ms(), next = p->kill_at_ms != 0 ? p->kill_at_ms : p->ready_by_ms;

	for (unsigned i = 0; p->kill_at_ms == 0 && i < p->options->workers; i++)
		if (p->slots[i].pid == 0 && (next == 0 || p->slots[i].start_at_ms < next))
			next = p->slots[i].start_at_ms;
	if (p->alive_ms != 0 && (next == 0 || next > now + p->alive_ms))
		next = now + p->alive_ms;
	return next == 0 ? -1 : next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
}

/* Waits for signals and for workers that report that they accept connections. */
static void wait_for_events(struct parent *p)
{
	struct pollfd fds[OPTIONS_WORKERS_MAX + 1] = {{.fd = p->signals, .events = POLLIN}};
	unsigned waiting = 0;

	for (unsigned i = 0; i < p->options->workers; i++)
		fds[i + 1] = (struct pollfd){.fd = p->slots[i].ready_fd, .events = POLLIN};
	if (poll(fds, p->options->workers + 1, next_timeout(p)) < 0)
		return;
	for (unsigned i = 0; i < p->options->workers; i++) {
		if (fds[i + 1].fd >= 0 && fds[i + 1].revents != 0)
			read_ready(&p->slots[i]);
		waiting += !p->slots[i].ready || p->slots[i].pid == 0;
	}
	if (p->ready_by_ms != 0 && p->kill_at_ms == 0 && (waiting == 0 || clock_mono_ms() >= p->ready_by_ms))
		become_ready(p);
	if (fds[0].revents != 0)
		take_signals(p);
}

/* Keepers of workers that died still tell their clients (fcgi/keeper.h). They are children of this
 * process since then. */
static void await_keepers(struct parent *p)
{
	struct pollfd signals = {.fd = p->signals, .events = POLLIN};
	struct signalfd_siginfo info;
	int64_t until_ms = clock_mono_ms() + KEEPERS_MS, left_ms;
	pid_t ended;

	while ((ended = waitpid(-1, NULL, WNOHANG)) >= 0 && (left_ms = until_ms - clock_mono_ms()) > 0)
		if (ended == 0 && poll(&signals, 1, (int)left_ms) > 0 && read(p->signals, &info, sizeof info) < 0)
			break;
}

static int keep_running(struct parent *p)
{
	while (p->kill_at_ms == 0 || running(p) > 0) {
		if (start_due(p))
			return p->worker_status;
		wait_for_events(p);
		if (p->left)
			return 0;
		if (p->alive_ms != 0)
			systemd_notify_alive();
		if (p->kill_at_ms != 0 && clock_mono_ms() >= p->kill_at_ms)
			signal_all(p, SIGKILL);
	}
	await_keepers(p);
	log_event(LOG_STOPPED, L_INT("pid", getpid()));
	return 0;
}

static int prepare(struct parent *p, struct err *e)
{
	sigset_t taken, blocked;
	int found;

	prctl(PR_SET_CHILD_SUBREAPER, 1); /* for keepers */
	/* Before anything else: a signal that comes during a re-execution must wait, and one for a worker
	 * must wait until the worker can take it. */
	sigemptyset(&taken);
	sigaddset(&taken, SIGTERM);
	sigaddset(&taken, SIGINT);
	sigaddset(&taken, SIGQUIT);
	sigaddset(&taken, SIGHUP);
	sigaddset(&taken, SIGUSR1);
	sigaddset(&taken, SIGCHLD);
	blocked = taken;
	sigaddset(&blocked, WORKER_RETIRE);
	sigprocmask(SIG_BLOCK, &blocked, &p->worker_signals);
	for (int n = 1; n < SIGRTMIN; n++)
		if (sigismember(&blocked, n) == 1)
			sigdelset(&p->worker_signals, n);
	p->signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p->signals < 0)
		return err_set_errno(e, errno, "signalfd");
	if (readlink("/proc/self/exe", p->program, sizeof p->program - 1) < 0)
		return err_set_errno(e, errno, "cannot find the path of this program");
	p->admission = admission_new(p->options->workers, e);
	p->listeners = admission_new(p->options->workers, e);
	if (p->admission == NULL || p->listeners == NULL || handover_open(&p->handover, e) < 0)
		return -1;
	found = listener_inherit(&p->listener, e);
	if (found == 1)
		found = listener_open(&p->listener, p->options, e);
	inherit_workers(p);
	p->ready_by_ms = clock_mono_ms() + READY_TIMEOUT_MS;
	p->alive_ms = systemd_watchdog_ms();
	return found;
}

static void on_config(void *arg, const struct config *c)
{
	options_apply_log(arg, c);
}

/* This process reads the configuration once, for its log; later ones come from its workers, of which one
 * says what is wrong with what is published. */
static void set_up_log(const struct fcgi_options *o)
{
	struct err e = ERR_INIT;

	log_share_settings();
	published_free(published_new(o->run_dir, true, on_config, (void *)(uintptr_t)o, &e));
}

int parent_run(const struct fcgi_options *o, char **argv)
{
	struct parent *p = calloc(1, sizeof *p);
	struct err e = ERR_INIT;
	int status = 1;

	if (p == NULL)
		return 1;
	p->options = o;
	p->argv = argv;
	p->signals = p->handover.take = p->handover.give = -1;
	for (unsigned i = 0; i < OPTIONS_WORKERS_MAX; i++)
		p->slots[i].ready_fd = -1;
	set_up_log(o);
	if (prepare(p, &e) < 0) {
		log_event(LOG_START_FAILED, L_STR("error", e.text));
	} else {
		log_event(LOG_LISTENING, L_STR("at", p->listener.name), L_INT("workers", o->workers),
		          L_INT("pid", getpid()));
		status = keep_running(p);
	}
	if (p->signals >= 0)
		close(p->signals);
	handover_close(&p->handover);
	admission_free(p->admission);
	admission_free(p->listeners);
	free(p);
	return status;
}
