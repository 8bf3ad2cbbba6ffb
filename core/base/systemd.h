/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager that speaks systemd's protocol hands over and wants to know. Without
 * one, nothing is handed over and the notifications do nothing. */
#ifndef TT_BASE_SYSTEMD_H
#define TT_BASE_SYSTEMD_H

#include "core/base/err.h"

#include <stdint.h>

/* Takes the one listening socket that was handed over (LISTEN_FDS), close-on-exec; the variables
 * that describe it are removed from the environment. The socket's path, if any, stays the
 * service manager's to remove. 1: none was handed over. -1: not exactly one, or it does not listen. */
int systemd_socket(int *fd, struct err *e);

/* The state of the service, for Type=notify. Only the main process reports it. */
void systemd_notify_ready(void);     /* started, or reloaded */
void systemd_notify_reloading(void); /* until systemd_notify_ready */
void systemd_notify_stopping(void);

/* How often to call systemd_notify_alive: half of the unit's WatchdogSec=, after which the service
 * manager kills a program that has not. 0: it does not watch. */
int64_t systemd_watchdog_ms(void);
void systemd_notify_alive(void);

#endif
