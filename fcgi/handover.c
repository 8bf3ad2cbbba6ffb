/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/handover.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define GIVE_MS 1000 /* how long the queue may stay full */

int handover_open(struct handover *h, struct err *e)
{
	int pair[2];
	void *deaths = mmap(NULL, sizeof *h->deaths, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (deaths == MAP_FAILED)
		return err_set_errno(e, errno, "no memory for what workers share");
	h->deaths = deaths; /* until this process ends */
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

bool handover_end(const struct handover *h)
{
	int waits = 0;

	shutdown(h->take, SHUT_RD);
	return ioctl(h->take, FIONREAD, &waits) == 0 && waits > 0;
}

int handover_give(int give, const struct orphan *o, const char *bytes, int connection)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof connection)];
	} control = {
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

int handover_connection(const struct handed_over *h)
{
	struct cmsghdr head;
	int fd;

	memcpy(&head, h->control, sizeof head);
	if (head.cmsg_len != CMSG_LEN(sizeof fd))
		return -1;
	memcpy(&fd, h->control + CMSG_LEN(0), sizeof fd);
	return fd;
}

int handover_take(int take, struct handed_over *h)
{
	struct iovec parts[] = {{&h->known, sizeof h->known}, {h->bytes, sizeof h->bytes}};
	struct msghdr message = {
		.msg_iov = parts, .msg_iovlen = 2, .msg_control = h->control, .msg_controllen = sizeof h->control};
	ssize_t n;

	memset(h->control, 0, sizeof h->control);
	n = recvmsg(take, &message, MSG_CMSG_CLOEXEC);
	if (n == 0)
		return 1;
	if (n < 0 || handover_connection(h) < 0)
		return -1;
	if ((size_t)n >= sizeof h->known && (size_t)n == sizeof h->known + h->known.request_len + h->known.text_len)
		return 0;
	close(handover_connection(h));
	return -1;
}
