/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/worker.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/exhaustion.h"
#include "fcgi/acceptor.h"
#include "fcgi/event_feed.h"
#include "fcgi/notes.h"
#include "fcgi/worker_services.h"
#include "fcgi/dispatch.h"
#include "fcgi/keeper.h"

#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS                  1000
#define TICK_UNPUBLISHED_MS      50 /* while nothing is published, to notice the first publication soon */
#define REQUESTS_BETWEEN_ACCEPTS 16
#define FULL_LOG_INTERVAL_MS     10000
#define STOP_MS                  1000 /* must be less than the parent's KILL_AFTER_MS */
#define IDLE_GRACE_MS            250  /* a draining worker still answers what kept connections send */
#define FD_RESERVED              48u  /* a worker's own files, sockets and timers */
#define FD_MIN                   16u
#define OTHER_CONNECTIONS        64u /* besides those with a turn: refusals, requests for the status */

struct worker {
	const struct fcgi_options *options;
	struct event_base *base;
	struct event *tick, *terminate, *retire, *orphans;
	struct acceptor *acceptor;
	struct connections *connections;
	struct published *published;
	struct background *background;
	struct access *access;
	struct usage_log *usage;
	struct command_client *daemon;
	struct notes *notes;
	struct event_feed *events;
	struct counters *counters;
	struct keeper *keeper;            /* NULL: none */
	struct worker_services *services; /* created for the first chat */
	struct worker_context context;
	size_t requests, max_turns;
	struct dispatch_ids ids;
	bool draining;
	bool keeps_idle; /* while draining: idle kept connections stay */
	bool stopped;    /* connections_stop */
	int64_t drain_until_ms, idle_since_ms;
	int64_t full_logged_ms;
	int64_t key_wanted_ms;
};

/* --- how much one worker takes on at once, by the file descriptors that it may have: each
 * connection of the web server needs one, and each chat turn one more, for its LLM ------------ */

static size_t fd_available(void)
{
	size_t all = exhaustion_descriptors();

	return all < FD_RESERVED + FD_MIN ? FD_MIN : all - FD_RESERVED;
}

static size_t other_connections(void)
{
	size_t part = fd_available() / 8;

	return part < OTHER_CONNECTIONS ? part : OTHER_CONNECTIONS;
}

/* Fewer than connections, so that a turn that does not fit is refused with a sentence instead of
 * being left waiting. */
static size_t max_turns(void)
{
	return (fd_available() - other_connections()) / 2;
}

static size_t max_connections(void)
{
	return max_turns() + other_connections();
}

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

struct event_feed *worker_event_feed(struct worker *w)
{
	return w->events;
}

struct notes *worker_notes(struct worker *w)
{
	return w->notes;
}

struct dispatch_ids *worker_ids(struct worker *w)
{
	return &w->ids;
}

struct background *worker_background(struct worker *w)
{
	return w->background;
}

struct access *worker_access(struct worker *w)
{
	return w->access;
}

struct usage_log *worker_usage(struct worker *w)
{
	return w->usage;
}

/* New connections go to workers that have room for a chat. */
static void update_yield(struct worker *w)
{
	acceptor_yield(w->acceptor, admission_others_have_room(w->context.admission, w->context.number, w->max_turns));
}

static void log_full(struct worker *w)
{
	int64_t now = clock_mono_ms();

	if (w->full_logged_ms != 0 && now - w->full_logged_ms < FULL_LOG_INTERVAL_MS)
		return;
	w->full_logged_ms = now;
	log_event(LOG_TURNS_FULL, L_INT("turns", w->max_turns), L_INT("descriptors", exhaustion_descriptors()),
	          L_STR("reason", "a turn needs two file descriptors: raise LimitNOFILE= of the unit, or ulimit -n"));
}

enum admission_verdict worker_admit(struct worker *w, const char *address, bool resumed, unsigned *entry)
{
	const struct config *c = published_config(w->published);
	struct admission_limits limits = {.worker_turns = w->max_turns};
	enum admission_verdict v;

	if (c != NULL && !resumed) {
		limits.turns = (size_t)cfg_int(c, CFG_LIMITS_TURNS);
		limits.client_turns = (size_t)cfg_int(c, CFG_LIMITS_CLIENT_TURNS);
	}
	v = admission_enter(w->context.admission, w->context.number, address, &limits, entry);
	if (v == ADMISSION_WORKER_FULL)
		log_full(w);
	update_yield(w);
	return v;
}

void worker_dismiss(struct worker *w, unsigned entry)
{
	admission_leave(w->context.admission, w->context.number, entry);
	update_yield(w);
}

/* They never take the connections that chat turns need. */
enum admission_verdict worker_admit_listener(struct worker *w, const char *address, unsigned *entry)
{
	const struct config *c = published_config(w->published);
	struct admission_limits limits = {.worker_turns = other_connections() / 2};

	if (c != NULL) {
		limits.turns = (size_t)cfg_int(c, CFG_LIMITS_EVENT_STREAMS);
		limits.client_turns = (size_t)cfg_int(c, CFG_LIMITS_CLIENT_EVENT_STREAMS);
		if (limits.turns == 0)
			return ADMISSION_FULL;
	}
	return admission_enter(w->context.listeners, w->context.number, address, &limits, entry);
}

void worker_dismiss_listener(struct worker *w, unsigned entry)
{
	admission_leave(w->context.listeners, w->context.number, entry);
}

static void on_listener_left(void *arg, unsigned entry)
{
	worker_dismiss_listener(arg, entry);
}

const struct chat_services *worker_chat_services(struct worker *w)
{
	struct err e = ERR_INIT;

	if (w->services == NULL)
		w->services =
			worker_services_new(w->base, w->published, w->daemon, w->notes, w->counters, w->background, &e);
	if (w->services == NULL)
		log_event(LOG_CHAT_SERVICES_FAILED, L_STR("error", e.text));
	return w->services == NULL ? NULL : worker_services_chat(w->services);
}

/* --- events --------------------------------------------------------------------------- */

/* Starting a turn takes longer than the web server needs to connect: if one iteration of the
 * loop starts many turns, a burst would overflow the listen backlog. */
static void on_request(void *arg, struct connection *c)
{
	struct worker *w = arg;

	counters_begin_work(w->counters);
	dispatch_request(w, c);
	if (++w->requests % REQUESTS_BETWEEN_ACCEPTS == 0)
		acceptor_poll(w->acceptor);
}

static void on_closed(void *arg)
{
	struct worker *w = arg;

	counters_add(w->counters, COUNTER_CONNECTIONS, -1);
	if (w->acceptor != NULL)
		acceptor_release(w->acceptor);
}

static void on_answered(void *arg, unsigned endpoint, int status)
{
	const struct worker *w = arg;

	counters_count(w->counters, SERIES_REQUESTS, endpoint, (size_t)(status / 100 - 2), 1);
}

static void on_idle(void *arg)
{
	struct worker *w = arg;

	acceptor_idle(w->acceptor);
}

static void on_accepted(void *arg, int fd, bool quiet)
{
	struct worker *w = arg;

	counters_add(w->counters, COUNTER_CONNECTIONS, 1);
	connections_add(w->connections, fd, quiet);
}

/* Answers of a worker that died, while there is room for them: without a file descriptor for its
 * connection an answer would be lost. What is left when this worker ends is its keeper's. */
static void on_orphans(evutil_socket_t take, short what, void *arg)
{
	struct worker *w = arg;
	struct connection_orphan o;
	int taken = 0;

	(void)what;
	while (connections_count(w->connections) < max_connections()) {
		struct handed_over *h = keeper_takes(w->keeper);

		taken = handover_take(take, h);
		if (taken != 0)
			break;
		o = (struct connection_orphan){.protocol = protocol_find(h->known.protocol),
		                               .known = h->known,
		                               .text = h->bytes + h->known.request_len};
		if (o.protocol == NULL) {
			close(handover_connection(h));
			continue;
		}
		counters_add(w->counters, COUNTER_CONNECTIONS, 1);
		acceptor_add(w->acceptor);
		connections_add_orphan(w->connections, handover_connection(h), &o, h->bytes);
	}
	keeper_took(w->keeper);
	if (taken != -1)
		event_del(w->orphans); /* until the next tick */
}

static bool make_room(void *arg)
{
	const struct worker *w = arg;

	return connections_close_idle(w->connections);
}

/* Opens what the first turn would otherwise have to wait for. */
static void prepare_chats(struct worker *w)
{
	if (published_config(w->published) != NULL && worker_chat_services(w) != NULL)
		worker_services_prepare(w->services);
}

static void warn_of_tcp(const struct worker *w, const struct config *c)
{
	int family = AF_UNSPEC;
	socklen_t len = sizeof family;

	if (w->context.number == 0 && cfg_list(c, CFG_FCGI_TRUSTED)->count == 0 &&
	    getsockopt(w->context.listener, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 && family != AF_UNIX)
		log_event(LOG_PEERS_NOT_TRUSTED, L_STR("key", cfg_key_info(CFG_FCGI_TRUSTED)->path));
}

static void on_key_asked(void *arg, const json_t *result, bool unreachable, const struct err *e)
{
	(void)arg, (void)unreachable;
	if (result == NULL)
		log_event(LOG_REPORT_NOT_TAKEN, L_STR("error", e->text));
}

/* The key may have been fetched just now. Whatever forged tokens say, the daemon is told once a second at most. */
static void on_unknown_key(void *arg)
{
	struct worker *w = arg;
	int64_t now = clock_mono_ms();

	access_check_files(w->access);
	if (now - w->key_wanted_ms < TICK_MS)
		return;
	w->key_wanted_ms = now;
	command_send(w->daemon, CMD_JWT_KEY, NULL, command_info(CMD_JWT_KEY)->deadline_ms, on_key_asked, NULL);
}

static void on_alone(void *arg, bool is_alone)
{
	struct worker *w = arg;

	counters_add(w->counters, COUNTER_LIMITS_ALONE, is_alone ? 1 : -1);
}

static void on_config(void *arg, const struct config *c)
{
	struct worker *w = arg;
	enum cfg_key outdated;

	access_configure(w->access, c);
	usage_log_configure(w->usage, c);
	if (w->acceptor != NULL)
		prepare_chats(w);
	warn_of_tcp(w, c);
	outdated = w->services != NULL && worker_services_outdated(w->services, c) ? CFG_THREADS_STORE
	           : access_is_outdated(w->access, c)                              ? CFG_HOSTS_REDIS
	                                                                           : CFG_KEYS;
	if (outdated != CFG_KEYS && !w->draining) {
		log_event(LOG_NEW_WORKERS_REQUESTED, L_STR("key", cfg_key_info(outdated)->path));
		kill(getppid(), SIGHUP);
	}
	if (w->connections != NULL)
		connections_limits(w->connections, cfg_ms(c, CFG_HTTP_REQUEST_TIMEOUT),
		                   (size_t)cfg_int(c, CFG_HTTP_BODY_LIMIT));
	keeper_set_hang_time(w->keeper, cfg_ms(c, CFG_LIMITS_HANG_TIME));
	options_apply_log(w->options, c);
}

static void schedule_tick(struct worker *w)
{
	int64_t ms = published_config(w->published) == NULL || w->draining ? TICK_UNPUBLISHED_MS : TICK_MS;

	event_add(w->tick, &(struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000});
}

/* One of the workers reports what their parent and the keepers left for them. */
static void note_deaths(struct worker *w)
{
	struct deaths *d = w->context.handover.deaths;
	struct event_record r;
	uint32_t count;
	char reason[80];

	if ((count = atomic_exchange(&d->workers, 0)) > 0) {
		int status = d->status;

		if (WIFSIGNALED(status))
			snprintf(reason, sizeof reason, "killed by signal %d (%s)", WTERMSIG(status),
			         strsignal(WTERMSIG(status)));
		else
			snprintf(reason, sizeof reason, "ended with status %d", WEXITSTATUS(status));
		r = event_record_of(EVENT_WORKER_DIED, NULL, NULL, NULL, reason);
		r.count = count;
		notes_add(w->notes, &r);
	}
	if ((count = atomic_exchange(&d->answers, 0)) > 0) {
		r = event_record_of(EVENT_BROKE_OFF, NULL, NULL, NULL, "a worker died");
		r.count = count;
		notes_add(w->notes, &r);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd, (void)what;
	note_deaths(w);
	published_check(w->published);
	if (w->services != NULL)
		worker_services_tick(w->services);
	event_add(w->orphans, NULL);
	if (keeper_died(w->keeper) && !w->draining) {
		log_event(LOG_KEEPER_DIED, L_INT("pid", getpid()));
		kill(getppid(), SIGHUP); /* for new workers, which have keepers */
	}
	schedule_tick(w);
}

static void drain(struct worker *w)
{
	if (w->draining)
		return;
	w->draining = true;
	w->drain_until_ms = clock_mono_ms() + w->options->drain_ms;
	acceptor_stop(w->acceptor);
	close(w->context.listener); /* else a successor could not bind the same TCP port */
	w->context.listener = -1;
	connections_drain(w->connections);
	event_feed_end(w->events);
	log_event(LOG_WORKER_DRAINING, L_INT("pid", getpid()), L_INT("connections", connections_count(w->connections)),
	          L_INT("active", connections_active(w->connections)));
	schedule_tick(w);
}

static void on_terminate(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd, (void)what;
	w->keeps_idle = false;
	drain(w);
}

static void on_retire(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd, (void)what;
	w->keeps_idle |= !w->draining; /* a repeated signal keeps it; after SIGTERM it stays false */
	drain(w);
}

/* Clients whose answers outlive the time to drain are told; then there is a moment for that to be
 * sent. */
static bool out_of_time(struct worker *w, int64_t now)
{
	if (now < w->drain_until_ms)
		return false;
	if (w->stopped || connections_active(w->connections) == 0)
		return true;
	log_event(LOG_WORKER_DRAIN_TIMEOUT, L_INT("active", connections_active(w->connections)));
	w->stopped = true;
	w->drain_until_ms = now + STOP_MS;
	connections_stop(w->connections);
	return false;
}

/* A draining worker ends with its last response, or IDLE_GRACE_MS later if connections are
 * kept: a request that is on its way is still answered. */
static bool drained(struct worker *w)
{
	int64_t now;

	if (!w->draining)
		return false;
	if (connections_count(w->connections) == 0)
		return true;
	now = clock_mono_ms();
	if (connections_active(w->connections) > 0 || w->keeps_idle) {
		w->idle_since_ms = 0;
		return out_of_time(w, now);
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
		w->retire = evsignal_new(w->base, WORKER_RETIRE, on_retire, w);
	if (w->retire != NULL)
		w->orphans = event_new(w->base, w->context.handover.take, EV_READ | EV_PERSIST, on_orphans, w);
	if (w->orphans == NULL || event_add(w->orphans, NULL) < 0 || evsignal_add(w->terminate, NULL) < 0 ||
	    evsignal_add(w->retire, NULL) < 0)
		return err_set(e, "cannot make an event loop");
	return 0;
}

static int open_parts(struct worker *w, struct err *e)
{
	const struct connections_host host = {.request = on_request,
	                                      .answered = on_answered,
	                                      .closed = on_closed,
	                                      .idle = on_idle,
	                                      .arg = w,
	                                      .keeper = w->keeper};
	const struct event_feed_host feed_host = {.left = on_listener_left, .arg = w};
	const struct acceptor_host acceptor_host = {.accepted = on_accepted, .make_room = make_room, .arg = w};
	struct err counters_error = ERR_INIT;
	char path[PATH_MAX];

	/* libfcgi allocates and frees its buffers with each request, and each time the allocator
	 * would consolidate its fast bins, which costs more than they save. */
	mallopt(M_MXFAST, 0);
	if (fcgi_request_library_init(e) < 0 || open_loop(w, e) < 0)
		return -1;
	w->connections = connections_new(w->base, &host, e);
	if (w->connections == NULL)
		return -1;
	w->background = background_new(w->base, e);
	if (w->background == NULL)
		return -1;
	w->usage = usage_log_new(w->base, e);
	if (w->usage == NULL)
		return -1;
	w->access = access_new(w->base, w->options->run_dir, w->background, e);
	if (w->access == NULL)
		return -1;
	access_on_unknown_key(w->access, on_unknown_key, w);
	access_on_alone(w->access, on_alone, w);
	w->published = published_new(w->options->run_dir, w->context.number != 0, on_config, w, e);
	if (w->published == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/%s", w->options->run_dir, COMMAND_SOCKET);
	w->daemon = command_client_new(w->base, path, e);
	if (w->daemon == NULL)
		return -1;
	w->notes = notes_new(w->base, w->daemon, e);
	w->events = event_feed_new(w->base, w->published, &feed_host, e);
	if (w->notes == NULL || w->events == NULL)
		return -1;
	w->counters = counters_open(w->options->run_dir, &counters_error);
	if (w->counters == NULL)
		log_event(LOG_COUNTERS_NOT_OPENED, L_STR("error", counters_error.text));
	w->acceptor = acceptor_new(w->base, w->context.listener, max_connections(), &acceptor_host, e);
	return w->acceptor == NULL ? -1 : 0;
}

static void close_parts(struct worker *w)
{
	if (w->acceptor != NULL)
		acceptor_stop(w->acceptor);
	connections_free(w->connections);
	acceptor_free(w->acceptor);
	usage_log_free(w->usage);
	access_free(w->access);
	background_free(w->background);
	worker_services_free(w->services);
	event_feed_free(w->events);
	notes_free(w->notes);
	if (w->daemon != NULL)
		command_client_free(w->daemon);
	published_free(w->published);
	if (w->counters != NULL)
		counters_close(w->counters);
	if (w->tick != NULL)
		event_free(w->tick);
	if (w->terminate != NULL)
		event_free(w->terminate);
	if (w->retire != NULL)
		event_free(w->retire);
	if (w->orphans != NULL)
		event_free(w->orphans);
	if (w->base != NULL)
		event_base_free(w->base);
}

static void report_ready(int fd)
{
	if (fd >= 0 && write(fd, "r", 1) != 1)
		log_event(LOG_READY_NOT_REPORTED, L_INT("pid", getpid()));
	if (fd >= 0)
		close(fd);
}

/* libfcgi installed handlers for SIGPIPE, SIGUSR1 and SIGTERM; the event loop has replaced the
 * last one. */
static void restore_signals(const struct worker *w)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	sigprocmask(SIG_SETMASK, &w->context.signals, NULL);
}

int worker_run(const struct fcgi_options *o, const struct worker_context *context)
{
	struct worker w = {.options = o, .context = *context, .max_turns = max_turns()};
	struct err e = ERR_INIT;
	int64_t now_ns;
	int status = 1;

	if (!o->no_keeper)
		w.keeper = keeper_start(&context->handover);
	dispatch_ids_init(&w.ids);
	if (open_parts(&w, &e) < 0) {
		log_event(LOG_WORKER_FAILED, L_STR("error", e.text));
		goto out;
	}
	restore_signals(&w);
	log_event(LOG_WORKER_STARTED, L_INT("pid", getpid()), L_INT("connections_max", max_connections()),
	          L_INT("turns_max", w.max_turns));
	schedule_tick(&w);
	report_ready(context->ready_fd);
	prepare_chats(&w);
	while (!drained(&w)) {
		const int block = connections_hurry(w.connections) ? EVLOOP_NONBLOCK : 0;

		if (event_base_loop(w.base, EVLOOP_ONCE | block) < 0)
			break;
		connections_flush(w.connections);
		now_ns = clock_mono_ns();
		counters_end_iteration(w.counters, now_ns);
		keeper_beat(w.keeper, now_ns);
	}
	log_event(LOG_WORKER_STOPPED, L_INT("pid", getpid()));
	status = 0;
out:
	close_parts(&w);
	keeper_free(w.keeper);
	return status;
}
