/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/watch.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/config/user_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTLE_MS 50 /* a change is reported once nothing has changed for this long */

struct seen {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

static const char *const names[] = {"user_config.env", "user_config.json"};
#define NAMES (sizeof names / sizeof names[0])

struct watch {
	char *volume, *directory;
	void (*changed)(void *arg);
	void *arg;
	struct event *readable, *settled;
	int fd;
	int watch_id; /* of the directory; -1: not watched yet */
	struct seen seen[NAMES];
};

static void read_events(evutil_socket_t fd, short what, void *arg);
static void settled(evutil_socket_t fd, short what, void *arg);
static bool is_changed(struct watch *w);

/* While the directory is missing, the volume is watched for its creation. */
static void place(struct watch *w)
{
	const uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ONLYDIR;

	if (w->fd < 0 || w->watch_id >= 0)
		return;
	w->watch_id = inotify_add_watch(w->fd, w->directory, events);
	if (w->watch_id < 0)
		inotify_add_watch(w->fd, w->volume, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

struct watch *watch_new(struct event_base *base, const char *volume, void (*changed)(void *arg), void *arg)
{
	struct watch *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->changed = changed;
	w->arg = arg;
	w->watch_id = -1;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0)
		log_event(LOG_WATCH, L_STR("directory", volume), L_STR("error", strerror(errno)));
	w->volume = strdup(volume);
	w->directory = user_config_directory(volume);
	w->settled = evtimer_new(base, settled, w);
	w->readable = w->fd >= 0 ? event_new(base, w->fd, EV_READ | EV_PERSIST, read_events, w) : NULL;
	if (w->volume == NULL || w->directory == NULL || w->settled == NULL || (w->fd >= 0 && w->readable == NULL)) {
		watch_free(w);
		return NULL;
	}
	if (w->readable != NULL)
		event_add(w->readable, NULL);
	place(w);
	is_changed(w); /* the present files are known */
	return w;
}

void watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	if (w->readable != NULL)
		event_free(w->readable);
	if (w->settled != NULL)
		event_free(w->settled);
	if (w->fd >= 0)
		close(w->fd);
	free(w->volume);
	free(w->directory);
	free(w);
}

const char *watch_volume(const struct watch *w)
{
	return w->volume;
}

static bool is_changed(struct watch *w)
{
	bool changed = false;

	for (size_t i = 0; i < NAMES; i++) {
		struct seen now;
		struct stat st;
		char path[4200];

		memset(&now, 0, sizeof now);
		snprintf(path, sizeof path, "%s/%s", w->directory, names[i]);
		if (stat(path, &st) == 0) {
			now.dev = st.st_dev;
			now.ino = st.st_ino;
			now.size = st.st_size;
			now.changed = st.st_ctim;
		}
		changed |= memcmp(&now, &w->seen[i], sizeof now) != 0;
		w->seen[i] = now;
	}
	return changed;
}

static void settled(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	place(w);
	if (is_changed(w))
		w->changed(w->arg); /* may free w */
}

static void settle(struct watch *w)
{
	const struct timeval tv = clock_timeval_ms(SETTLE_MS);

	evtimer_add(w->settled, &tv);
}

static void read_events(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	_Alignas(struct inotify_event) char bytes[4096];
	ssize_t got;

	(void)what;
	while ((got = read(fd, bytes, sizeof bytes)) > 0) {
		for (ssize_t at = 0; at < got;) {
			const struct inotify_event *event = (const struct inotify_event *)(const void *)(bytes + at);

			if ((event->mask & (IN_IGNORED | IN_UNMOUNT)) != 0 && event->wd == w->watch_id)
				w->watch_id = -1; /* the directory is gone; watch_check watches it again */
			at += (ssize_t)(sizeof *event + event->len);
		}
		settle(w);
	}
}

void watch_check(struct watch *w)
{
	if (!evtimer_pending(w->settled, NULL))
		settled(-1, EV_TIMEOUT, w);
}
