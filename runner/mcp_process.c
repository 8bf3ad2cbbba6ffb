/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/mcp_process.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK         (64u << 10)
#define PIECE         512 /* of a line that is too long */
#define UNREAD_MAX    (32u << 20)
#define END_WAIT_MS   2000 /* before SIGTERM, and before SIGKILL */
#define LOG_LINE_MAX  400
#define LOG_LINES_MAX 60 /* in a minute */
#define LOG_MINUTE_MS 60000

struct mcp_process {
	LIST_ENTRY(mcp_process) link;
	struct mcp_processes *all;
	const struct mcp_process_handlers *handlers; /* NULL: it is ending */
	void *arg;
	char name[40];
	pid_t pid;
	struct bufferevent *in; /* NULL: closed */
	int out_fd, err_fd;     /* -1: closed */
	struct event *out, *err;
	struct event *kill_timer; /* once it is ending */
	bool terminated;          /* it has got SIGTERM */
	struct buf line, log_line;
	bool overlong; /* line is the last PIECE bytes of a line that is too long */
	int64_t log_from_ms;
	unsigned logged;
};

struct mcp_processes {
	struct event_base *base;
	struct event *child;
	size_t line_max;
	LIST_HEAD(, mcp_process) list;
};

/* ---- its output ------------------------------------------------------------------------------ */

static void close_output(struct event **event, int *fd)
{
	if (*event != NULL)
		event_free(*event);
	if (*fd >= 0)
		close(*fd);
	*event = NULL;
	*fd = -1;
}

/* What does not fit: only the line's last bytes are stored. */
static void skip(struct mcp_process *p, const char *bytes, size_t len)
{
	if (!p->overlong) {
		p->overlong = true;
		p->handlers->too_long(p->arg, p->line.data, p->line.len < PIECE ? p->line.len : PIECE);
	}
	if (len > PIECE) {
		bytes += len - PIECE;
		len = PIECE;
	}
	if (p->line.len + len > PIECE)
		buf_consume(&p->line, p->line.len + len - PIECE);
	(void)buf_add(&p->line, bytes, len);
}

static void take(struct mcp_process *p, const char *bytes, size_t len)
{
	while (len > 0 && p->handlers != NULL) {
		const char *end = memchr(bytes, '\n', len);
		size_t part = end != NULL ? (size_t)(end - bytes) : len;

		if (p->overlong || buf_add(&p->line, bytes, part) < 0)
			skip(p, bytes, part);
		bytes += part;
		len -= part;
		if (end == NULL || p->handlers == NULL)
			continue;
		bytes++;
		len--;
		if (p->overlong)
			p->handlers->too_long(p->arg, p->line.data, p->line.len);
		else if (p->line.len > 0)
			p->handlers->line(p->arg, p->line.data, p->line.len);
		p->overlong = false;
		if (p->line.cap > CHUNK)
			buf_free(&p->line);
		else
			buf_reset(&p->line);
	}
}

/* Whether there may be more. */
static bool read_output(struct mcp_process *p)
{
	char bytes[CHUNK];
	ssize_t len = read(p->out_fd, bytes, sizeof bytes);

	if (len > 0)
		take(p, bytes, (size_t)len);
	return len > 0 || (len < 0 && (errno == EAGAIN || errno == EINTR));
}

/* The caller has done with it before its callback starts another one. */
static void lose(struct mcp_process *p)
{
	const struct mcp_process_handlers *handlers = p->handlers;

	mcp_process_end(p);
	if (handlers != NULL)
		handlers->ended(p->arg);
}

static void on_output(evutil_socket_t fd, short what, void *arg)
{
	struct mcp_process *p = arg;

	(void)fd;
	(void)what;
	if (!read_output(p))
		lose(p);
}

static void log_line(struct mcp_process *p)
{
	int64_t now_ms = clock_mono_ms();
	char *text = utf8_text(p->log_line.data != NULL ? p->log_line.data : "", p->log_line.len);

	if (now_ms - p->log_from_ms >= LOG_MINUTE_MS) {
		p->log_from_ms = now_ms;
		p->logged = 0;
	}
	if (text != NULL && *text != '\0' && p->logged < LOG_LINES_MAX) {
		p->logged++;
		log_event(LOG_MCP_STDERR, L_STR("server", p->name), L_STR("line", text),
		          L_BOOL("further_lines_left_out", p->logged == LOG_LINES_MAX));
	}
	free(text);
	buf_reset(&p->log_line);
}

static void on_stderr(evutil_socket_t fd, short what, void *arg)
{
	struct mcp_process *p = arg;
	char bytes[4096];
	ssize_t len = read(fd, bytes, sizeof bytes);

	(void)what;
	if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR)) {
		log_line(p);
		close_output(&p->err, &p->err_fd);
		return;
	}
	for (ssize_t i = 0; i < len; i++) {
		if (bytes[i] == '\n')
			log_line(p);
		else if (bytes[i] != '\r')
			(void)buf_add(&p->log_line, &bytes[i], 1);
	}
}

/* ---- its end ------------------------------------------------------------------------------------ */

static void process_free(struct mcp_process *p)
{
	LIST_REMOVE(p, link);
	if (p->in != NULL)
		bufferevent_free(p->in);
	close_output(&p->out, &p->out_fd);
	close_output(&p->err, &p->err_fd);
	if (p->kill_timer != NULL)
		event_free(p->kill_timer);
	buf_free(&p->line);
	buf_free(&p->log_line);
	free(p);
}

static void on_kill_timer(evutil_socket_t fd, short what, void *arg)
{
	struct mcp_process *p = arg;
	struct timeval wait = clock_timeval_ms(END_WAIT_MS);

	(void)fd;
	(void)what;
	kill(-p->pid, p->terminated ? SIGKILL : SIGTERM);
	if (!p->terminated)
		evtimer_add(p->kill_timer, &wait);
	p->terminated = true;
}

void mcp_process_end(struct mcp_process *p)
{
	struct timeval wait = clock_timeval_ms(END_WAIT_MS);

	p->handlers = NULL;
	if (p->in != NULL)
		bufferevent_free(p->in);
	p->in = NULL;
	close_output(&p->out, &p->out_fd);
	if (!evtimer_pending(p->kill_timer, NULL))
		evtimer_add(p->kill_timer, &wait);
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct mcp_processes *all = arg;
	struct mcp_process *p, *next;

	(void)fd;
	(void)what;
	for (p = LIST_FIRST(&all->list); p != NULL; p = next) {
		int status;

		next = LIST_NEXT(p, link);
		if (waitpid(p->pid, &status, WNOHANG) != p->pid)
			continue;
		log_event(LOG_MCP_PROCESS_ENDED, L_STR("server", p->name),
		          L_INT("status", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)));
		kill(-p->pid, SIGKILL); /* what it has started */
		/* What it wrote last may be an answer. What others write to its output is not. */
		for (size_t bytes = 0; p->handlers != NULL && bytes <= all->line_max; bytes += CHUNK) {
			errno = 0;
			if (!read_output(p) || errno == EAGAIN)
				break;
		}
		if (p->err != NULL)
			on_stderr(p->err_fd, EV_READ, p);
		if (p->handlers != NULL)
			lose(p);
		process_free(p);
	}
}

/* ---- its beginning -------------------------------------------------------------------------------- */

/* The variables that each process gets, as the SDKs have it: what else this program has is none of its business. */
static char **environment(const json_t *settings)
{
	static const char *const inherited[] = {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER"};
	json_t *own = json_object_get(settings, "env"), *value;
	size_t count = 0;
	char **all = calloc(sizeof inherited / sizeof inherited[0] + json_object_size(own) + 1, sizeof *all);
	const char *name;

	if (all == NULL)
		return NULL;
	for (size_t i = 0; i < sizeof inherited / sizeof inherited[0]; i++)
		if (getenv(inherited[i]) != NULL && json_object_get(own, inherited[i]) == NULL &&
		    asprintf(&all[count], "%s=%s", inherited[i], getenv(inherited[i])) >= 0)
			count++;
	json_object_foreach(own, name, value) if (asprintf(&all[count], "%s=%s", name, json_string_value(value)) >= 0)
		count++;
	all[count] = NULL;
	return all;
}

/* Borrowed strings. NULL: no memory. */
static char **arguments(const json_t *settings)
{
	const json_t *args = json_object_get(settings, "args");
	char **all = calloc(json_array_size(args) + 2, sizeof *all);

	if (all == NULL)
		return NULL;
	all[0] = (char *)(uintptr_t)json_string_value(json_object_get(settings, "command"));
	for (size_t i = 0; i < json_array_size(args); i++)
		all[i + 1] = (char *)(uintptr_t)json_string_value(json_array_get(args, i));
	return all;
}

/* An errno. The first of each pair is the end that is read. */
static int spawn(struct mcp_process *p, const json_t *settings, const int in[2], const int out[2], const int err[2])
{
	const char *directory = json_string_value(json_object_get(settings, "cwd"));
	char **argv = arguments(settings), **envp = environment(settings);
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, defaults;
	int error = ENOMEM;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	if (argv != NULL && envp != NULL && posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO) == 0 &&
	    posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO) == 0 &&
	    posix_spawn_file_actions_adddup2(&files, err[1], STDERR_FILENO) == 0 &&
	    (directory == NULL || posix_spawn_file_actions_addchdir_np(&files, directory) == 0))
		error = posix_spawnp(&p->pid, argv[0], &files, &attributes, argv, envp);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	for (char **v = envp; v != NULL && *v != NULL; v++)
		free(*v);
	free(envp);
	free(argv);
	return error;
}

struct mcp_process *mcp_process_start(struct mcp_processes *all, const char *name, const json_t *settings,
                                      const struct mcp_process_handlers *handlers, void *arg, struct err *e)
{
	struct mcp_process *p = calloc(1, sizeof *p);
	int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, error = ENOMEM;

	if (p == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	*p = (struct mcp_process){.all = all, .handlers = handlers, .arg = arg, .out_fd = -1, .err_fd = -1};
	snprintf(p->name, sizeof p->name, "%s", name);
	buf_init(&p->line, all->line_max);
	buf_init(&p->log_line, LOG_LINE_MAX);
	LIST_INSERT_HEAD(&all->list, p, link);
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
		error = errno;
	} else {
		evutil_make_socket_nonblocking(in[1]);
		evutil_make_socket_nonblocking(out[0]);
		evutil_make_socket_nonblocking(err[0]);
		p->in = bufferevent_socket_new(all->base, in[1], BEV_OPT_CLOSE_ON_FREE);
		p->out = event_new(all->base, out[0], EV_READ | EV_PERSIST, on_output, p);
		p->err = event_new(all->base, err[0], EV_READ | EV_PERSIST, on_stderr, p);
		p->kill_timer = evtimer_new(all->base, on_kill_timer, p);
		p->out_fd = out[0];
		p->err_fd = err[0];
		out[0] = err[0] = -1;
		if (p->in != NULL) {
			bufferevent_enable(p->in, EV_WRITE);
			in[1] = -1;
		}
		if (p->in != NULL && p->out != NULL && p->err != NULL && p->kill_timer != NULL)
			error = spawn(p, settings, in, out, err);
	}
	for (size_t i = 0; i < 2; i++) {
		int *const ends[] = {&in[i], &out[i], &err[i]};

		for (size_t k = 0; k < 3; k++)
			if (*ends[k] >= 0)
				close(*ends[k]);
	}
	if (error != 0) {
		err_set_errno(e, error, "can't start %s", json_string_value(json_object_get(settings, "command")));
		process_free(p);
		return NULL;
	}
	event_add(p->out, NULL);
	event_add(p->err, NULL);
	log_event(LOG_MCP_PROCESS, L_STR("server", p->name), L_INT("pid_of_server", p->pid));
	return p;
}

int mcp_process_send(struct mcp_process *p, const char *line)
{
	if (evbuffer_get_length(bufferevent_get_output(p->in)) > UNREAD_MAX)
		return -1;
	return bufferevent_write(p->in, line, strlen(line)) < 0 || bufferevent_write(p->in, "\n", 1) < 0 ? -1 : 0;
}

/* ---- all of them ------------------------------------------------------------------------------------ */

struct mcp_processes *mcp_processes_new(struct event_base *base, size_t line_max)
{
	struct mcp_processes *all = calloc(1, sizeof *all);

	if (all == NULL)
		return NULL;
	LIST_INIT(&all->list);
	all->base = base;
	all->line_max = line_max;
	all->child = evsignal_new(base, SIGCHLD, on_child, all);
	if (all->child == NULL || event_add(all->child, NULL) < 0) {
		mcp_processes_free(all);
		return NULL;
	}
	return all;
}

void mcp_processes_free(struct mcp_processes *all)
{
	struct mcp_process *p;

	while ((p = LIST_FIRST(&all->list)) != NULL) {
		kill(-p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
		process_free(p);
	}
	if (all->child != NULL)
		event_free(all->child);
	free(all);
}

size_t mcp_processes_count(const struct mcp_processes *all)
{
	size_t count = 0;
	const struct mcp_process *p;

	LIST_FOREACH(p, &all->list, link) count++;
	return count;
}
