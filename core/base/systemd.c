/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/systemd.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h> /* only for its constants and the types below */
#include <unistd.h>

#include "core/base/log.h"

/* libsystemd brings five libraries along, which cost a start 1 ms and each process 0.3 MiB, so
 * it is loaded only where a service manager is there to talk to. Sets `function`, a pointer to
 * a function; false: dlerror tells why. */
static bool libsystemd_function(const char *name, void *function)
{
	void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
	void *symbol = library ? dlsym(library, name) : NULL;

	memcpy(function, &symbol, sizeof symbol);
	return symbol != NULL;
}

int systemd_socket(int *fd, struct err *e)
{
	int (*listen_fds)(int unset_environment);
	int (*is_socket)(int fd, int family, int type, int listening);
	int count;

	if (!getenv("LISTEN_FDS"))
		return 1;
	if (!libsystemd_function("sd_listen_fds", &listen_fds) || !libsystemd_function("sd_is_socket", &is_socket))
		return err_set(e, "the socket that systemd handed over cannot be taken: %s", dlerror());
	count = listen_fds(true);
	if (count == 0)
		return 1;
	if (count < 0)
		return err_set_errno(e, -count, "LISTEN_PID or LISTEN_FDS is malformed");
	if (count > 1)
		return err_set(e, "systemd handed over %d sockets; exactly one is needed", count);
	if (is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, true) <= 0)
		return err_set(e, "the socket that systemd handed over does not listen (it needs Accept=no)");
	*fd = SD_LISTEN_FDS_START;
	return 0;
}

static void notify(const char *state)
{
	int (*send_state)(int unset_environment, const char *state);

	if (!getenv("NOTIFY_SOCKET"))
		return;
	if (libsystemd_function("sd_notify", &send_state))
		send_state(false, state);
	else
		log_event(LOG_SERVICE_MANAGER_NOT_NOTIFIED, L_STR("state", state), L_STR("error", dlerror()));
}

void systemd_notify_ready(void)
{
	notify("READY=1");
}

void systemd_notify_reloading(void)
{
	notify("RELOADING=1");
}

void systemd_notify_stopping(void)
{
	notify("STOPPING=1");
}

int64_t systemd_watchdog_ms(void)
{
	const char *interval = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (interval == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoll(interval, NULL, 10) / 2 / 1000;
}

void systemd_notify_alive(void)
{
	notify("WATCHDOG=1");
}
