/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/exhaustion.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define TELL_MS 10000 /* one line each ten seconds is enough */

int http_exhaustion(struct http_transfer *t, int error)
{
	t->shortage = error;
	return -1;
}

/* curl would take a socket that cannot be had for a server that refuses. */
curl_socket_t http_exhaustion_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct http_transfer *t = arg;
	int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);

	(void)purpose;
	if (fd < 0 && exhaustion_is(errno))
		http_exhaustion(t, errno);
	if (fd >= 0 && exhaustion_is_reserved(fd)) {
		http_exhaustion(t, EMFILE);
		close(fd);
		fd = -1;
	}
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

enum http_outcome http_exhaustion_judge(struct http_transfer *t, CURLcode code, enum http_outcome o)
{
	curl_off_t sent_us = 0;

	if (o != HTTP_REFUSED && o != HTTP_CONNECT_TIMEOUT && o != HTTP_FAILED)
		return o;
	curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
	if (sent_us > 0)
		return o; /* later "out of memory" may also be a line that is too long for curl */
	if (code == CURLE_OUT_OF_MEMORY)
		http_exhaustion(t, ENOMEM);
	return t->shortage != 0 ? HTTP_NO_RESOURCES : o;
}

void http_exhaustion_tell(struct http *h, const char *text)
{
	int64_t now = clock_mono_ms();

	h->shortages++;
	if (h->shortage_told_ms != 0 && now - h->shortage_told_ms < TELL_MS)
		return;
	log_error("no_resources", L_STR("reason", text), L_INT("times", h->shortages));
	h->shortage_told_ms = now;
	h->shortages = 0;
}
