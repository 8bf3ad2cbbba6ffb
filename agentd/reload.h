/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the configuration again: on SIGHUP, on /refresh_config, and at config.refresh_interval, if that
 * is set or config.watch is true. When TT-Studio's user_config.env changes, only that is read, unless the
 * file is watched. If a configuration is refused, the old one stays in force. */
#ifndef TT_AGENTD_RELOAD_H
#define TT_AGENTD_RELOAD_H

#include "agentd/services.h"

#include <jansson.h>

struct reload;

enum reload_outcome {
	RELOAD_CHANGED, /* another configuration is in force */
	RELOAD_SAME,    /* read, nothing differs */
	RELOAD_REFUSED, /* wrong; the old one stays in force */
	RELOAD_OFF,     /* config.dynamic is false: nothing was read */
};

/* Another configuration came into force: s->config is new, old is still valid. */
typedef void reload_changed_fn(void *arg, const struct config *old);

/* src and what it points to must outlive it. */
struct reload *reload_new(struct services *s, const struct config_source *src, reload_changed_fn *changed, void *arg);
void reload_free(struct reload *r); /* NULL is fine */

/* What a reload found; reload_details_free. */
struct reload_details {
	json_t *changes;             /* [{"key","old","new","restart"}]; secrets are "set" or "unset" */
	struct config_report report; /* errors of a refused configuration; warnings */
};
void reload_details_init(struct reload_details *d);
void reload_details_free(struct reload_details *d);

/* why is for the log. details (from reload_details_init) is filled in. */
enum reload_outcome reload_now(struct reload *r, const char *why, struct reload_details *details);

/* The settings that have changed since the start and take effect at the next one; a new reference. */
json_t *reload_pending_restart(const struct reload *r);

/* Once a second: finds a changed user_config.env also where inotify reports nothing. */
void reload_check(struct reload *r);

/* Logs each line of warnings and errors. */
void reload_log_report(const struct config_report *report);

#endif
