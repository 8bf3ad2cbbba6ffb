/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the configuration again: on SIGHUP, on /refresh_config, at config.refresh_interval,
 * and when TT-Studio's user_config.env changes. If it is refused, the old one stays in force. */
#ifndef TT_AGENTD_RELOAD_H
#define TT_AGENTD_RELOAD_H

#include "agentd/services.h"

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

/* why is for the log. e gets the first error of a refused one: "<file>:<line>: ...". */
enum reload_outcome reload_now(struct reload *r, const char *why, struct err *e);

/* Once a second: finds a changed user_config.env also where inotify reports nothing. */
void reload_check(struct reload *r);

/* Logs each line of warnings and errors. */
void reload_log_report(const struct config_report *report);

#endif
