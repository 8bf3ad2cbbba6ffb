/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/handover.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GIVE_MS 1000 /* how long the queue may stay full */

/* Its descriptor goes with a message. */
union control {
	struct cmsghdr head;
	char space[CMSG_SPACE(sizeof(int))];
};

int handover_open(struct handover *h, struct err *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		h->take = h->give = -1;
		return err_set_errno(e, errno, "socketpair");
	}
	h->take = pair[0];
	h->give = pair[1];
	return 0;
}

void handover_close(struct handover *h)
{
	if (h->take >= 0)
		close(h->take);
	if (h->give >= 0)
		close(h->give);
	h->take = h->give = -1;
}

int handover_give(int give, const struct orphan *o, const char *bytes, int connection)
{
	union control control = {
		.head = {.cmsg_len = CMSG_LEN(sizeof connection), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec parts[] = {{(void *)(uintptr_t)o, sizeof *o},
	                        {(void *)(uintptr_t)bytes, o->request_len + o->text_len}};
	struct msghdr message = {
		.msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
	struct pollfd room = {.fd = give, .events = POLLOUT};

	memcpy(CMSG_DATA(&control.head), &connection, sizeof connection);
	do {
		if (sendmsg(give, &message, MSG_NOSIGNAL) >= 0)
			return 0;
	} while (errno == EINTR || (errno == EAGAIN && poll(&room, 1, GIVE_MS) > 0));
	return -1;
}

int handover_take(int take, struct orphan *o, char bytes[HANDOVER_MAX], int *connection)
{
	union control control;
	struct iovec parts[] = {{o, sizeof *o}, {bytes, HANDOVER_MAX}};
	struct msghdr message = {
		.msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(take, &message, MSG_CMSG_CLOEXEC);

	if (n < (ssize_t)sizeof *o || message.msg_controllen < CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(connection, CMSG_DATA(&control.head), sizeof *connection);
	if ((size_t)n == sizeof *o + o->request_len + o->text_len)
		return 0;
	close(*connection);
	return -1;
}
