/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/reload.h"

#include "core/base/log.h"
#include "agentd/watch.h"

#include <stdlib.h>
#include <string.h>

struct reload {
	struct services *s;
	const struct config_source *src;
	reload_changed_fn *changed;
	void *arg;
	struct event *interval;
	struct watch *watch; /* user_config.env's directory; NULL: none is configured */
	struct buf logged;   /* errors and warnings that were logged last */
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

static void first_line(const struct buf *lines, struct err *e)
{
	const char *end = lines->data != NULL ? strchrnul(lines->data, '\n') : NULL;

	if (end != NULL)
		err_set(e, "%.*s", (int)(end - lines->data), lines->data);
	else
		err_set(e, "the configuration cannot be read");
}

struct differences {
	struct reload *r;
	size_t count;
};

static void note_difference(void *arg, const char *path, const char *old_value, const char *new_value)
{
	struct differences *d = arg;

	d->count++;
	events_config(d->r->s->events, path, old_value, new_value);
	for (int k = 0; k < CFG_KEYS; k++)
		if (cfg_key_info((enum cfg_key)k)->restart && strcmp(cfg_key_info((enum cfg_key)k)->path, path) == 0)
			log_event(LOG_CONFIG_WARNING, L_STR("key", path),
			          L_STR("warning", "takes effect when tt-agentd is restarted"));
}

static enum reload_outcome put_in_force(struct reload *r, struct config *fresh)
{
	struct differences d = {.r = r};
	struct config *old = r->s->config;

	config_diff(old, fresh, note_difference, &d);
	if (d.count == 0) {
		config_unref(fresh);
		return RELOAD_SAME;
	}
	r->s->config = fresh;
	tokens_forget(r->s->tokens);
	arm(r);
	watch_configured(r);
	r->changed(r->arg, old);
	config_unref(old);
	return RELOAD_CHANGED;
}

enum reload_outcome reload_now(struct reload *r, const char *why, struct err *e)
{
	struct config_report report;
	struct config *fresh;
	struct err first = ERR_INIT;
	enum reload_outcome outcome = RELOAD_REFUSED;
	bool requested = strcmp(why, "interval") != 0;

	if (!cfg_bool(r->s->config, CFG_CONFIG_DYNAMIC)) {
		log_event(LOG_CONFIG_NOT_READ, L_STR("why", "config.dynamic (AGENT_DYNAMIC_CONFIG) is false"),
		          L_STR("requested_by", why));
		return RELOAD_OFF;
	}
	config_report_init(&report);
	fresh = config_load(r->src, &report);
	log_once(r, &report, requested);
	if (fresh != NULL) {
		outcome = put_in_force(r, fresh);
	} else {
		first_line(&report.errors, &first);
		err_set(e, "%s", first.text);
		events_config_refused(r->s->events, first.text);
	}
	/* A requested read is logged also where nothing changed. */
	log_event(requested && fresh != NULL ? LOG_CONFIG_READ : LOG_CONFIG_READ_DEBUG, L_STR("requested_by", why),
	          L_BOOL("changed", outcome == RELOAD_CHANGED));
	config_report_free(&report);
	return outcome;
}

static void on_interval(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;
	struct err e = ERR_INIT;

	(void)fd;
	(void)what;
	arm(r);
	if (cfg_bool(r->s->config, CFG_CONFIG_DYNAMIC))
		reload_now(r, "interval", &e);
}

static void user_config_changed(void *arg)
{
	struct err e = ERR_INIT;

	reload_now(arg, "user_config", &e);
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
