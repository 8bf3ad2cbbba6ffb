/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/worker.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/exhaustion.h"
#include "fcgi/acceptor.h"
#include "fcgi/capacity.h"
#include "fcgi/dispatch.h"
#include "fcgi/chat_services.h"

#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS                  1000
#define TICK_UNPUBLISHED_MS      50 /* while nothing was published: the first answer comes soon */
#define REQUESTS_BETWEEN_ACCEPTS 16
#define FULL_TELL_MS             10000 /* one line each ten seconds is enough */
#define IDLE_GRACE_MS            250   /* a draining worker still serves what kept connections send */

struct worker {
	const struct options *options;
	struct event_base *base;
	struct event *tick, *terminate, *leave;
	struct acceptor *acceptor;
	struct connections *connections;
	struct published *published;
	struct command_client *daemon;
	struct counters *counters;
	struct turns *turns; /* made for the first chat */
	struct worker_place place;
	size_t served, turns_most;
	struct request_ids request_ids;
	bool draining, patient;
	int64_t drain_until_ms, idle_since_ms;
	int64_t full_told_ms;
};

/* --- what endpoints use --------------------------------------------------------------- */

struct published *worker_published(struct worker *w)
{
	return w->published;
}

struct command_client *worker_daemon(struct worker *w)
{
	return w->daemon;
}

struct counters *worker_counters(struct worker *w)
{
	return w->counters;
}

struct request_ids *worker_request_ids(struct worker *w)
{
	return &w->request_ids;
}

/* Chats go where there is room. */
static void follow_room(struct worker *w)
{
	acceptor_yield(w->acceptor, admission_others_have_room(w->place.admission, w->place.number, w->turns_most));
}

static void tell_full(struct worker *w)
{
	int64_t now = clock_mono_ms();

	if (w->full_told_ms != 0 && now - w->full_told_ms < FULL_TELL_MS)
		return;
	w->full_told_ms = now;
	log_warning("turns_full", L_INT("turns", w->turns_most), L_INT("descriptors", exhaustion_descriptors()),
	            L_STR("reason", "a turn needs two descriptors: raise LimitNOFILE= of the unit, or ulimit -n"));
}

enum admission_verdict worker_admit(struct worker *w, const char *address, unsigned *entry)
{
	const struct config *c = published_config(w->published);
	struct admission_limits limits = {.worker_turns = w->turns_most};
	enum admission_verdict v;

	if (c != NULL) {
		limits.turns = (size_t)cfg_int(c, CFG_LIMITS_TURNS);
		limits.client_turns = (size_t)cfg_int(c, CFG_LIMITS_CLIENT_TURNS);
	}
	v = admission_enter(w->place.admission, w->place.number, address, &limits, entry);
	if (v == ADMISSION_WORKER_FULL)
		tell_full(w);
	follow_room(w);
	return v;
}

void worker_dismiss(struct worker *w, unsigned entry)
{
	admission_leave(w->place.admission, w->place.number, entry);
	follow_room(w);
}

const struct chat_services *worker_turn_host(struct worker *w)
{
	struct err e = ERR_INIT;

	if (w->turns == NULL)
		w->turns = chat_services_new(w->base, w->published, w->daemon, w->counters, &e);
	if (w->turns == NULL)
		log_error("turns_not_started", L_STR("error", e.text));
	return w->turns == NULL ? NULL : chat_services_host(w->turns);
}

/* --- events --------------------------------------------------------------------------- */

/* Starting a turn takes longer than the web server needs to connect: where an iteration of
 * the loop starts many, a burst would overflow the backlog. */
static void on_request(void *arg, struct connection *c)
{
	struct worker *w = arg;

	dispatch_request(w, c);
	if (++w->served % REQUESTS_BETWEEN_ACCEPTS == 0)
		acceptor_look(w->acceptor);
}

static void on_closed(void *arg)
{
	struct worker *w = arg;

	counters_add(w->counters, COUNTER_CONNECTIONS, -1);
	if (w->acceptor != NULL)
		acceptor_release(w->acceptor);
}

static void on_idle(void *arg)
{
	struct worker *w = arg;

	acceptor_one_idle(w->acceptor);
}

static void on_accepted(void *arg, int fd, bool quiet)
{
	struct worker *w = arg;

	counters_add(w->counters, COUNTER_CONNECTIONS, 1);
	connections_adopt(w->connections, fd, quiet);
}

static bool make_room(void *arg)
{
	const struct worker *w = arg;

	return connections_close_idle(w->connections);
}

/* What the first turn would wait for is made ready when it waits for nobody. */
static void prepare_turns(struct worker *w)
{
	if (published_config(w->published) != NULL && worker_turn_host(w) != NULL)
		chat_services_prepare(w->turns);
}

static void on_config(void *arg, const struct config *c)
{
	struct worker *w = arg;
	enum log_level level = LOG_INFO_;

	if (w->acceptor != NULL)
		prepare_turns(w);
	if (w->turns != NULL && chat_services_outdated(w->turns, c) && !w->draining) {
		log_info("new_workers_wanted", L_STR("key", cfg_key_info(CFG_THREADS_FILE)->path));
		kill(getppid(), SIGHUP);
	}
	if (w->connections != NULL)
		connections_limits(w->connections, cfg_ms(c, CFG_HTTP_REQUEST_TIMEOUT),
		                   (size_t)cfg_int(c, CFG_HTTP_BODY_LIMIT));
	if (w->options->log_level_given)
		return;
	log_level_parse(cfg_str(c, CFG_LOG_LEVEL), &level);
	log_set_level(cfg_bool(c, CFG_LOG_DEBUG) ? LOG_DEBUG_ : level);
}

static void schedule_tick(struct worker *w)
{
	int64_t ms = published_config(w->published) == NULL || w->draining ? TICK_UNPUBLISHED_MS : TICK_MS;

	event_add(w->tick, &(struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000});
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd, (void)what;
	published_check(w->published);
	schedule_tick(w);
}

static void drain(struct worker *w)
{
	if (w->draining)
		return;
	w->draining = true;
	w->drain_until_ms = clock_mono_ms() + w->options->drain_ms;
	acceptor_stop(w->acceptor);
	close(w->place.listener); /* or a successor could not bind the same TCP port */
	w->place.listener = -1;
	connections_drain(w->connections);
	log_info("worker_draining", L_INT("pid", getpid()), L_INT("connections", connections_count(w->connections)),
	         L_INT("active", connections_active(w->connections)));
	schedule_tick(w);
}

static void on_terminate(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd, (void)what;
	w->patient = false;
	drain(w);
}

static void on_leave(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd, (void)what;
	w->patient |= !w->draining; /* told again it stays so, and after SIGTERM it does not become so */
	drain(w);
}

/* A draining worker ends with its last response, a moment later where connections are
 * kept: a request that is just on its way is still served. */
static bool drained(struct worker *w)
{
	int64_t now;

	if (!w->draining)
		return false;
	if (connections_count(w->connections) == 0)
		return true;
	now = clock_mono_ms();
	if (connections_active(w->connections) > 0 || w->patient) {
		w->idle_since_ms = 0;
		return now >= w->drain_until_ms;
	}
	if (w->idle_since_ms == 0)
		w->idle_since_ms = now;
	return now - w->idle_since_ms >= IDLE_GRACE_MS;
}

/* --- start and end ---------------------------------------------------------------------- */

static int open_loop(struct worker *w, struct err *e)
{
	struct event_config *c = event_config_new();

	if (c != NULL && event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK) == 0)
		w->base = event_base_new_with_config(c);
	if (c != NULL)
		event_config_free(c);
	if (w->base != NULL && event_base_priority_init(w->base, 2) == 0)
		w->tick = evtimer_new(w->base, on_tick, w);
	if (w->tick != NULL)
		w->terminate = evsignal_new(w->base, SIGTERM, on_terminate, w);
	if (w->terminate != NULL)
		w->leave = evsignal_new(w->base, WORKER_LEAVE, on_leave, w);
	if (w->leave == NULL || evsignal_add(w->terminate, NULL) < 0 || evsignal_add(w->leave, NULL) < 0)
		return err_set(e, "cannot make an event loop");
	return 0;
}

static int open_parts(struct worker *w, struct err *e)
{
	const struct connections_host host = {.request = on_request, .closed = on_closed, .idle = on_idle, .arg = w};
	const struct acceptor_host accepting = {.accepted = on_accepted, .make_room = make_room, .arg = w};
	struct err counting = ERR_INIT;
	char path[PATH_MAX];

	/* Buffers of libfcgi come and go with each request; the allocator's sweeps over its
	 * smallest blocks, which each of them would start, are not worth it. */
	mallopt(M_MXFAST, 0);
	if (request_library_init(e) < 0 || open_loop(w, e) < 0)
		return -1;
	w->connections = connections_new(w->base, &host, e);
	if (w->connections == NULL)
		return -1;
	w->published = published_new(w->options->run_dir, on_config, w, e);
	if (w->published == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/%s", w->options->run_dir, COMMAND_SOCKET);
	w->daemon = command_client_new(w->base, path, e);
	if (w->daemon == NULL)
		return -1;
	w->counters = counters_open(w->options->run_dir, &counting);
	if (w->counters == NULL)
		log_warning("no_counters", L_STR("error", counting.text));
	w->acceptor = acceptor_new(w->base, w->place.listener, capacity_connections(), &accepting, e);
	return w->acceptor == NULL ? -1 : 0;
}

static void close_parts(struct worker *w)
{
	if (w->acceptor != NULL)
		acceptor_stop(w->acceptor);
	connections_free(w->connections);
	acceptor_free(w->acceptor);
	chat_services_free(w->turns);
	if (w->daemon != NULL)
		command_client_free(w->daemon);
	published_free(w->published);
	if (w->counters != NULL)
		counters_close(w->counters);
	if (w->tick != NULL)
		event_free(w->tick);
	if (w->terminate != NULL)
		event_free(w->terminate);
	if (w->leave != NULL)
		event_free(w->leave);
	if (w->base != NULL)
		event_base_free(w->base);
}

static void tell_ready(int fd)
{
	if (fd >= 0 && write(fd, "r", 1) != 1)
		log_warning("not_told_ready", L_INT("pid", getpid()));
	if (fd >= 0)
		close(fd);
}

/* libfcgi took over SIGPIPE and SIGUSR1, and SIGTERM until there was the event loop. */
static void take_signals(const struct worker *w)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	sigprocmask(SIG_SETMASK, &w->place.signals, NULL);
}

int worker_run(const struct options *o, const struct worker_place *place)
{
	struct worker w = {.options = o, .place = *place, .turns_most = capacity_turns()};
	struct err e = ERR_INIT;
	int status = 1;

	request_ids_init(&w.request_ids);
	if (open_parts(&w, &e) < 0) {
		log_critical("worker_failed", L_STR("error", e.text));
		goto out;
	}
	take_signals(&w);
	log_info("worker_started", L_INT("pid", getpid()), L_INT("connections_max", capacity_connections()),
	         L_INT("turns_max", w.turns_most));
	schedule_tick(&w);
	tell_ready(place->ready_fd);
	prepare_turns(&w);
	while (!drained(&w)) {
		if (event_base_loop(w.base, EVLOOP_ONCE) < 0)
			break;
		connections_flush(w.connections);
	}
	if (connections_active(w.connections) > 0)
		log_warning("worker_gives_up", L_INT("active", connections_active(w.connections)));
	log_info("worker_stopped", L_INT("pid", getpid()));
	status = 0;
out:
	close_parts(&w);
	return status;
}
