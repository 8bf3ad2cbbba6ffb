/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/sandbox_check.h"

#include "core/base/clock.h"
#include "core/tools/code_interpreter.h"
#include "core/tools/sandbox_client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HELLO       "{\"hello\":true}\n"
#define INTERVAL_MS 2000
#define SILENCE_MS  3000
#define ANSWER_MAX  4096

#define NOT_YET "tt-agent-runner has not answered yet"
#define SILENT  "tt-agent-runner does not answer"
#define VERSION "tt-agent-runner is of another version; restart it"

struct sandbox_check {
	struct services *s;
	void (*changed)(void *arg);
	void *arg;
	char *path;              /* of the socket; NULL: none is configured */
	struct bufferevent *bev; /* NULL: no connection */
	bool waiting;            /* for an answer */
	int64_t last_ms;         /* of the last request or answer */
	const char *problem;
};

struct sandbox_check *sandbox_check_new(struct services *s, void (*changed)(void *arg), void *arg)
{
	struct sandbox_check *r = calloc(1, sizeof *r);

	if (r != NULL)
		*r = (struct sandbox_check){.s = s, .changed = changed, .arg = arg};
	return r;
}

static void disconnect(struct sandbox_check *r)
{
	if (r->bev != NULL)
		bufferevent_free(r->bev);
	r->bev = NULL;
	r->waiting = false;
}

void sandbox_check_free(struct sandbox_check *r)
{
	if (r == NULL)
		return;
	disconnect(r);
	free(r->path);
	free(r);
}

static void set_problem(struct sandbox_check *r, const char *problem)
{
	if (problem == r->problem || (problem != NULL && r->problem != NULL && strcmp(problem, r->problem) == 0))
		return;
	r->problem = problem;
	events_code(r->s->events, problem);
	r->changed(r->arg);
}

/* ---- the connection --------------------------------------------------------------- */

static void on_read(struct bufferevent *bev, void *arg)
{
	struct sandbox_check *r = arg;
	char *line = evbuffer_readln(bufferevent_get_input(bev), NULL, EVBUFFER_EOL_LF);
	json_t *answer = line != NULL ? json_loads(line, 0, NULL) : NULL;
	const char *type = json_string_value(json_object_get(answer, "type"));
	bool ready = type != NULL && strcmp(type, "ready") == 0;

	if (ready) {
		r->waiting = false;
		r->last_ms = clock_mono_ms();
		set_problem(r, NULL);
	} else if (line != NULL || evbuffer_get_length(bufferevent_get_input(bev)) >= ANSWER_MAX) {
		disconnect(r);
		set_problem(r, VERSION);
	}
	json_decref(answer);
	free(line);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct sandbox_check *r = arg;

	(void)bev;
	(void)what;
	disconnect(r);
	set_problem(r, sandbox_client_error_text(ECONNREFUSED));
}

static void send_hello(struct sandbox_check *r)
{
	r->waiting = true;
	r->last_ms = clock_mono_ms();
	bufferevent_write(r->bev, HELLO, strlen(HELLO));
}

static void connect_runner(struct sandbox_check *r)
{
	int fd = sandbox_client_connect(r->path);

	if (fd < 0 && errno == EAGAIN)
		return; /* its backlog is full of code to run: nothing new */
	if (fd < 0) {
		set_problem(r, sandbox_client_error_text(errno));
		return;
	}
	r->bev = bufferevent_socket_new(r->s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (r->bev == NULL) {
		close(fd);
		return;
	}
	bufferevent_setcb(r->bev, on_read, NULL, on_event, r);
	bufferevent_setwatermark(r->bev, EV_READ, 0, ANSWER_MAX);
	bufferevent_enable(r->bev, EV_READ | EV_WRITE);
	send_hello(r);
}

/* ---- checking --------------------------------------------------------------------- */

/* Switches to the socket that the configuration names. */
static void follow_config(struct sandbox_check *r)
{
	const char *path = code_interpreter_runner_socket(r->s->config);

	if (path == NULL ? r->path == NULL : r->path != NULL && strcmp(path, r->path) == 0)
		return;
	disconnect(r);
	free(r->path);
	r->path = path != NULL ? strdup(path) : NULL;
	r->problem = path != NULL ? NOT_YET : NULL;
}

void sandbox_check_tick(struct sandbox_check *r)
{
	int64_t silent_ms = clock_mono_ms() - r->last_ms;

	follow_config(r);
	if (r->path == NULL)
		return;
	if (r->bev == NULL)
		connect_runner(r);
	else if (r->waiting && silent_ms >= SILENCE_MS)
		set_problem(r, SILENT);
	else if (!r->waiting && silent_ms >= INTERVAL_MS)
		send_hello(r);
}

const char *sandbox_check_problem(const struct sandbox_check *r)
{
	return r->problem;
}
