/* SPDX-License-Identifier: Apache-2.0 */
/* bench-constant SOCKET: a FastCGI responder that answers every request with the same document and looks at nothing
 * else: the most that any responder behind a web server can reach. */
#include <event2/event.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RECORD_HEAD 8
#define STDIN       5

static const char document[] =
	"Content-Type: application/json\r\n\r\n"
	"{\"message\":\"a constant\",\"status\":\"ready\"}";

struct connection {
	struct event *readable;
	size_t len;
	unsigned char bytes[65536];
};

static void answer(int fd, const unsigned char *record)
{
	const size_t len = sizeof document - 1;
	unsigned char out[RECORD_HEAD + sizeof document - 1 + 2 * RECORD_HEAD] = {1,         6, record[2],
	                                                                          record[3], 0, (unsigned char)len};
	const unsigned char end[2 * RECORD_HEAD] = {1, 3, record[2], record[3], 0, RECORD_HEAD};

	memcpy(out + RECORD_HEAD, document, len);
	memcpy(out + RECORD_HEAD + len, end, sizeof end);
	if (send(fd, out, sizeof out, MSG_NOSIGNAL) != (ssize_t)sizeof out)
		exit(1);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	const ssize_t n = recv(fd, c->bytes + c->len, sizeof c->bytes - c->len, 0);
	size_t at = 0, size;

	(void)what;
	if (n <= 0) {
		event_free(c->readable);
		close(fd);
		free(c);
		return;
	}
	c->len += (size_t)n;
	for (; c->len - at >= RECORD_HEAD; at += size) {
		const unsigned char *record = c->bytes + at;
		const size_t content = (size_t)record[4] << 8 | record[5];

		size = RECORD_HEAD + content + record[6];
		if (size > c->len - at)
			break;
		if (record[1] == STDIN && content == 0) /* the end of the request */
			answer(fd, record);
	}
	c->len -= at;
	memmove(c->bytes, c->bytes + at, c->len);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
	struct event_base *base = arg;
	struct connection *c = calloc(1, sizeof *c);
	const int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK);

	(void)what;
	if (c == NULL || peer < 0) {
		free(c);
		return;
	}
	c->readable = event_new(base, peer, EV_READ | EV_PERSIST, on_readable, c);
	event_add(c->readable, NULL);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct event_base *base = event_base_new();

	if (argc != 2 || base == NULL) {
		fprintf(stderr, "usage: bench-constant SOCKET\n");
		return 2;
	}
	snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(argv[1], 0666) < 0 ||
	    listen(fd, 4096) < 0) {
		perror(argv[1]);
		return 1;
	}
	event_add(event_new(base, fd, EV_READ | EV_PERSIST, on_connection, base), NULL);
	event_base_dispatch(base);
	return 0;
}
