/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/systemd.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

int systemd_socket(int *fd, struct err *e)
{
	int count = sd_listen_fds(true);

	if (count == 0)
		return 1;
	if (count < 0)
		return err_set_errno(e, -count, "LISTEN_PID or LISTEN_FDS is malformed");
	if (count > 1)
		return err_set(e, "systemd handed over %d sockets; exactly one is needed", count);
	if (sd_is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, true) <= 0)
		return err_set(e, "the socket that systemd handed over does not listen (it needs Accept=no)");
	*fd = SD_LISTEN_FDS_START;
	return 0;
}

void systemd_notify_ready(void)
{
	sd_notify(false, "READY=1");
}

void systemd_notify_reloading(void)
{
	sd_notify(false, "RELOADING=1");
}

void systemd_notify_stopping(void)
{
	sd_notify(false, "STOPPING=1");
}
