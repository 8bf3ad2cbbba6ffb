/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that systemd hands over, and what it is notified of. */
#include "core/base/systemd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define FIRST_FD 3

static void announce(const char *fds, long pid)
{
	char text[24];

	snprintf(text, sizeof text, "%ld", pid);
	setenv("LISTEN_PID", text, 1);
	setenv("LISTEN_FDS", fds, 1);
}

static void put_socket(bool listening)
{
	struct sockaddr_un any = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	if (listening) /* autobind to an abstract address */
		assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any.sun_family), 0);
	if (listening)
		assert_int_equal(listen(fd, 1), 0);
	if (fd == FIRST_FD)
		return;
	assert_int_equal(dup2(fd, FIRST_FD), FIRST_FD);
	close(fd);
}

static void no_socket_was_handed_over(void **state)
{
	struct err e = ERR_INIT;
	int fd = -1;

	(void)state;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	assert_int_equal(systemd_socket(&fd, &e), 1);
	announce("1", (long)getppid()); /* to another process */
	assert_int_equal(systemd_socket(&fd, &e), 1);
	assert_int_equal(fd, -1);
	assert_false(err_is_set(&e));
}

static void a_listening_socket_is_taken_once(void **state)
{
	struct err e = ERR_INIT;
	int fd = -1;

	(void)state;
	put_socket(true);
	announce("1", (long)getpid());
	assert_int_equal(systemd_socket(&fd, &e), 0);
	assert_int_equal(fd, FIRST_FD);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_null(getenv("LISTEN_FDS"));
	assert_int_equal(systemd_socket(&fd, &e), 1);
	close(FIRST_FD);
}

static void anything_else_is_refused(void **state)
{
	static const struct {
		const char *fds, *says;
		bool listening;
	} cases[] = {
		{"1", "does not listen", false},
		{"2", "2 sockets; exactly one", true},
		{"many", "malformed", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct err e = ERR_INIT;
		int fd = -1;

		put_socket(cases[i].listening);
		assert_int_equal(dup2(FIRST_FD, FIRST_FD + 1), FIRST_FD + 1);
		announce(cases[i].fds, (long)getpid());
		assert_int_equal(systemd_socket(&fd, &e), -1);
		assert_non_null(strstr(e.text, cases[i].says));
		close(FIRST_FD);
		close(FIRST_FD + 1);
	}
}

static void expect_notification(int fd, const char *want)
{
	char text[256];
	ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);

	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, want);
}

static void notifications_arrive(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t len = sizeof a;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[sizeof a.sun_path + 1];

	(void)state;
	systemd_notify_ready(); /* nobody wants to know */
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a.sun_family), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(name, sizeof name, "@%.*s", (int)(len - offsetof(struct sockaddr_un, sun_path) - 1), a.sun_path + 1);
	setenv("NOTIFY_SOCKET", name, 1);
	systemd_notify_ready();
	expect_notification(fd, "READY=1");
	systemd_notify_reloading();
	expect_notification(fd, "RELOADING=1");
	systemd_notify_stopping();
	expect_notification(fd, "STOPPING=1");
	systemd_notify_alive();
	expect_notification(fd, "WATCHDOG=1");
	close(fd);
	systemd_notify_ready(); /* nobody is left to notify */
}

static void a_watchdog_wants_a_sign_twice_in_its_time(void **state)
{
	char pid[24];

	(void)state;
	assert_int_equal(systemd_watchdog_ms(), 0);
	setenv("WATCHDOG_USEC", "30000000", 1);
	assert_int_equal(systemd_watchdog_ms(), 15000);
	setenv("WATCHDOG_PID", "1", 1); /* another process */
	assert_int_equal(systemd_watchdog_ms(), 0);
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(systemd_watchdog_ms(), 15000);
	setenv("WATCHDOG_USEC", "soon", 1);
	assert_int_equal(systemd_watchdog_ms(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_socket_was_handed_over),
		cmocka_unit_test(a_listening_socket_is_taken_once),
		cmocka_unit_test(anything_else_is_refused),
		cmocka_unit_test(notifications_arrive),
		cmocka_unit_test(a_watchdog_wants_a_sign_twice_in_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
