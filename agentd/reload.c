/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/reload.h"

#include "core/base/log.h"
#include "agentd/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reload {
	struct services *s;
	const struct config_source *src;
	reload_changed_fn *changed;
	void *arg;
	struct event *interval;
	struct watch *watch;    /* user_config.env's directory; NULL: none is configured */
	struct config *started; /* in force at the start */
	struct buf logged;      /* errors and warnings that were logged last */
};

static void on_interval(evutil_socket_t fd, short what, void *arg);
static void watch_configured(struct reload *r);

static void arm(struct reload *r)
{
	timer_arm_ms(r->interval, cfg_ms(r->s->config, CFG_CONFIG_REFRESH_INTERVAL));
}

struct reload *reload_new(struct services *s, const struct config_source *src, reload_changed_fn *changed, void *arg)
{
	struct reload *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	*r = (struct reload){.s = s, .src = src, .changed = changed, .arg = arg};
	buf_init(&r->logged, 1u << 20);
	r->interval = evtimer_new(s->base, on_interval, r);
	if (r->interval == NULL) {
		free(r);
		return NULL;
	}
	r->started = config_ref(s->config);
	arm(r);
	watch_configured(r);
	return r;
}

void reload_free(struct reload *r)
{
	if (r == NULL)
		return;
	watch_free(r->watch);
	event_free(r->interval);
	config_unref(r->started);
	buf_free(&r->logged);
	free(r);
}

static void log_lines(const struct buf *lines, enum log_event event)
{
	const char *p = lines->data, *end;

	for (; p != NULL && *p != '\0'; p = *end != '\0' ? end + 1 : end) {
		char line[512];
		size_t len;

		end = strchrnul(p, '\n');
		len = (size_t)(end - p) < sizeof line - 1 ? (size_t)(end - p) : sizeof line - 1;
		memcpy(line, p, len);
		line[len] = '\0';
		log_event(event, L_STR(event == LOG_CONFIG_ERROR ? "error" : "warning", line));
	}
}

void reload_log_report(const struct config_report *report)
{
	log_lines(&report->errors, LOG_CONFIG_ERROR);
	log_lines(&report->warnings, LOG_CONFIG_WARNING);
}

/* The same errors are not logged again at each interval. */
static void log_once(struct reload *r, const struct config_report *report, bool always)
{
	struct buf now;

	buf_init(&now, 1u << 20);
	buf_add(&now, report->errors.data, report->errors.len);
	buf_add(&now, report->warnings.data, report->warnings.len);
	if (always || now.len != r->logged.len || (now.len > 0 && memcmp(now.data, r->logged.data, now.len) != 0))
		reload_log_report(report);
	buf_free(&r->logged);
	r->logged = now;
}

static void first_line(const struct buf *lines, char *out, size_t size)
{
	snprintf(out, size, "%.*s", lines->data != NULL ? (int)strcspn(lines->data, "\n") : 0,
	         lines->data != NULL ? lines->data : "");
}

void reload_details_init(struct reload_details *d)
{
	d->changes = json_array();
	config_report_init(&d->report);
}

void reload_details_free(struct reload_details *d)
{
	json_decref(d->changes);
	config_report_free(&d->report);
}

static const struct cfg_key_info *find_key(const char *path)
{
	for (int k = 0; k < CFG_KEYS; k++)
		if (strcmp(cfg_key_info((enum cfg_key)k)->path, path) == 0)
			return cfg_key_info((enum cfg_key)k);
	return NULL;
}

struct differences {
	struct reload *r;
	struct reload_details *details;
	size_t count;
	struct buf summary; /* for the ring of events */
};

/* Values that cannot be a secret, a prompt or an address are shown. */
static void summarize(struct differences *d, const struct cfg_key_info *info, const char *old_value,
                      const char *new_value)
{
	static const char *const hidden[] = {"STRING", "URL", "LIST"};
	bool shown = !info->secret;

	for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
		shown &= strcmp(info->type, hidden[i]) != 0;
	(void)buf_addf(&d->summary, "%s%s", d->summary.len > 0 ? ", " : "", info->path);
	if (shown)
		(void)buf_addf(&d->summary, " %s -> %s", old_value, new_value);
}

static void note_difference(void *arg, const char *path, const char *old_value, const char *new_value)
{
	struct differences *d = arg;
	const struct cfg_key_info *info = find_key(path);

	d->count++;
	if (info->secret) {
		bool both = *old_value != '\0' && *new_value != '\0';

		old_value = *old_value != '\0' ? "set" : "unset";
		new_value = both ? "set to another one" : *new_value != '\0' ? "set" : "unset";
	}
	events_config(d->r->s->events, path, old_value, new_value);
	summarize(d, info, old_value, new_value);
	json_array_append_new(d->details->changes, json_pack("{s:s,s:s,s:s,s:b}", "key", path, "old", old_value, "new",
	                                                     new_value, "restart", info->restart));
	if (strcmp(path, "threads.store") == 0 && strncmp(new_value, "memory:", 7) == 0)
		(void)buf_adds(
			&d->details->report.warnings,
			"threads.store: conversations are kept in memory from now on: they last only as long as a "
			"worker, and what was stored is not shown\n");
	if (info->restart)
		log_event(LOG_CONFIG_WARNING, L_STR("key", path),
		          L_STR("warning", "takes effect when tt-agentd is restarted"));
}

static void note_pending(void *arg, const char *path, const char *old_value, const char *new_value)
{
	(void)old_value, (void)new_value;
	if (find_key(path)->restart)
		json_array_append_new(arg, json_string(path));
}

json_t *reload_pending_restart(const struct reload *r)
{
	json_t *keys = json_array();

	config_diff(r->started, r->s->config, note_pending, keys);
	return keys;
}

static enum reload_outcome put_in_force(struct reload *r, struct config *fresh, struct reload_details *details)
{
	struct differences d = {.r = r, .details = details, .summary = BUF_INIT(4096)};
	struct config *old = r->s->config;

	config_diff(old, fresh, note_difference, &d);
	if (d.count == 0) {
		config_unref(fresh);
		return RELOAD_SAME;
	}
	events_config_changed(r->s->events, d.summary.data);
	buf_free(&d.summary);
	r->s->config = fresh;
	tokens_forget(r->s->tokens);
	arm(r);
	watch_configured(r);
	r->changed(r->arg, old);
	config_unref(old);
	return RELOAD_CHANGED;
}

static bool is_watched(const struct config *c)
{
	return cfg_bool(c, CFG_CONFIG_WATCH) || cfg_is_set(c, CFG_CONFIG_REFRESH_INTERVAL);
}

/* only_user: user_config.env alone. */
static enum reload_outcome read_again(struct reload *r, const char *why, bool only_user, struct reload_details *d)
{
	struct config *fresh =
		only_user ? config_with_user_config(r->s->config, &d->report) : config_load(r->src, &d->report);
	bool requested = strcmp(why, "interval") != 0;
	enum reload_outcome outcome = RELOAD_REFUSED;
	char first[512];

	log_once(r, &d->report, requested);
	if (fresh != NULL) {
		outcome = put_in_force(r, fresh, d);
	} else {
		first_line(&d->report.errors, first, sizeof first);
		events_config_refused(r->s->events, first);
	}
	/* A requested read is logged also where nothing changed. */
	log_event(requested && fresh != NULL ? LOG_CONFIG_READ : LOG_CONFIG_READ_DEBUG, L_STR("requested_by", why),
	          L_BOOL("changed", outcome == RELOAD_CHANGED));
	return outcome;
}

enum reload_outcome reload_now(struct reload *r, const char *why, struct reload_details *details)
{
	if (cfg_bool(r->s->config, CFG_CONFIG_DYNAMIC))
		return read_again(r, why, false, details);
	log_event(LOG_CONFIG_NOT_READ, L_STR("why", "config.dynamic (AGENT_DYNAMIC_CONFIG) is false"),
	          L_STR("requested_by", why));
	return RELOAD_OFF;
}

/* By itself; what it found is logged. */
static void follow(struct reload *r, const char *why, bool only_user)
{
	struct reload_details d;

	reload_details_init(&d);
	read_again(r, why, only_user, &d);
	reload_details_free(&d);
}

static void on_interval(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;

	(void)fd;
	(void)what;
	arm(r);
	if (cfg_bool(r->s->config, CFG_CONFIG_DYNAMIC) && is_watched(r->s->config))
		follow(r, "interval", false);
}

static void user_config_changed(void *arg)
{
	struct reload *r = arg;

	follow(r, "user_config", !is_watched(r->s->config));
}

static void watch_configured(struct reload *r)
{
	const char *volume = cfg_str(r->s->config, CFG_AUTH_VOLUME);
	bool wanted = volume != NULL && volume[0] != '\0' && cfg_bool(r->s->config, CFG_CONFIG_DYNAMIC);

	if (r->watch != NULL && wanted && strcmp(watch_volume(r->watch), volume) == 0)
		return;
	watch_free(r->watch);
	r->watch = wanted ? watch_new(r->s->base, volume, user_config_changed, r) : NULL;
}

void reload_check(struct reload *r)
{
	if (r->watch != NULL)
		watch_check(r->watch);
}
