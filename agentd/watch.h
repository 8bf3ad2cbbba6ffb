/* SPDX-License-Identifier: Apache-2.0 */
/* Watches TT-Studio's file of user secrets, which is renamed into place: inotify on
 * its directory, and a check once a second, for directories that are made later and file
 * systems that report nothing. */
#ifndef TT_AGENTD_WATCH_H
#define TT_AGENTD_WATCH_H

#include <event2/event.h>

struct watch;

/* changed is called from the loop, a moment after the last change. NULL: no memory. */
struct watch *watch_new(struct event_base *base, const char *volume, void (*changed)(void *arg), void *arg);
void watch_free(struct watch *w); /* also from within changed; NULL is fine */
const char *watch_volume(const struct watch *w);
void watch_check(struct watch *w);

#endif
