/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/published.h"

#include "core/base/log.h"
#include "core/status/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 64

struct published {
	char *run_dir;
	struct status_reader *reader;
	struct status_snapshot *seen; /* the one whose configuration was checked */
	struct config *config;
	char config_name[NAME_MAX_LEN]; /* that is in force */
	char unreadable[NAME_MAX_LEN];  /* that could not be read, logged once */
	bool notifying;                 /* `changed` runs */
	struct {
		char *text;
		size_t len;
	} initializing[PUBLISHED_DOCUMENTS];
	published_fn *changed;
	void *arg;
};

const char *published_run_dir(const struct published *p)
{
	return p->run_dir;
}

struct published *published_new(const char *run_dir, bool quiet, published_fn *changed, void *arg, struct err *e)
{
	struct published *p = calloc(1, sizeof *p);

	if (p != NULL)
		*p = (struct published){.run_dir = strdup(run_dir), .changed = changed, .arg = arg};
	if (p == NULL || p->run_dir == NULL) {
		err_set(e, "no memory for the published state");
		published_free(p);
		return NULL;
	}
	p->reader = status_reader_new(run_dir, e);
	if (p->reader == NULL) {
		published_free(p);
		return NULL;
	}
	if (quiet)
		status_reader_be_quiet(p->reader);
	published_check(p);
	return p;
}

void published_free(struct published *p)
{
	if (p == NULL)
		return;
	if (p->seen != NULL)
		status_release(p->seen);
	config_unref(p->config);
	if (p->reader != NULL)
		status_reader_free(p->reader);
	for (int d = 0; d < PUBLISHED_DOCUMENTS; d++)
		free(p->initializing[d].text);
	free(p->run_dir);
	free(p);
}

/* The callback may acquire the snapshot and so find another configuration; it is called for that
 * one afterwards. */
static void notify(struct published *p)
{
	struct config *notified = NULL;

	if (p->notifying)
		return;
	p->notifying = true;
	while (notified != p->config) {
		config_unref(notified);
		notified = config_ref(p->config);
		p->changed(p->arg, notified);
	}
	config_unref(notified);
	p->notifying = false;
}

static void take_config(struct published *p, const char *name)
{
	char path[4096];
	struct err e = ERR_INIT;
	struct config *c;

	if (snprintf(path, sizeof path, "%s/%s", p->run_dir, name) >= (int)sizeof path)
		return;
	c = config_read_saved(path, &e);
	if (c == NULL) {
		if (strcmp(p->unreadable, name) != 0)
			log_event(LOG_CONFIGURATION_UNREADABLE, L_STR("file", path), L_STR("error", e.text));
		snprintf(p->unreadable, sizeof p->unreadable, "%s", name);
		return;
	}
	config_unref(p->config);
	p->config = c;
	snprintf(p->config_name, sizeof p->config_name, "%s", name);
	notify(p);
}

static void check_config(struct published *p)
{
	const char *name = p->seen == NULL ? NULL : status_text(p->seen, status_header(p->seen)->config_name);

	if (name != NULL && strlen(name) < NAME_MAX_LEN && strchr(name, '/') == NULL &&
	    strcmp(name, p->config_name) != 0)
		take_config(p, name);
}

struct status_snapshot *published_acquire(struct published *p)
{
	struct status_snapshot *s = status_acquire(p->reader);

	/* Until there is one, each request checks: the first after the daemon's start sees it. */
	if (s == NULL && status_reader_check(p->reader))
		s = status_acquire(p->reader);
	if (s != p->seen && s != NULL) {
		if (p->seen != NULL)
			status_release(p->seen);
		p->seen = s;
		check_config(p);
		s = status_acquire(p->reader);
	}
	return s;
}

/* A configuration belongs to its snapshot, so the snapshot is checked first: no request sees a new
 * state with an old configuration, or without one. */
struct config *published_config(struct published *p)
{
	struct status_snapshot *s = published_acquire(p);

	if (s != NULL)
		status_release(s);
	return p->config;
}

const char *published_initializing(struct published *p, enum published_document d, size_t *len)
{
	static char *(*const make[PUBLISHED_DOCUMENTS])(size_t *) = {
		[PUBLISHED_ROOT] = document_root_initializing,
		[PUBLISHED_STATUS] = document_status_initializing,
	};

	if (p->initializing[d].text == NULL)
		p->initializing[d].text = make[d](&p->initializing[d].len);
	*len = p->initializing[d].len;
	return p->initializing[d].text;
}

bool published_is_stale(const struct published *p, int64_t *since_wall_ms, const char **reason)
{
	return status_is_stale(p->reader, since_wall_ms, reason);
}

void published_check(struct published *p)
{
	struct status_snapshot *s;

	status_reader_check(p->reader);
	s = published_acquire(p);
	if (s != NULL)
		status_release(s);
	check_config(p); /* again, in case it could not be read when it was new */
}
