/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/request.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
	FCGX_Request fcgx;
	struct request_params params;
	char *body;
	size_t body_len;
	size_t pending;
	bool open;
};

int request_library_init(struct err *e)
{
	int status = FCGX_Init();

	return status == 0 ? 0 : err_set_errno(e, status > 0 ? status : ENOMEM, "libfcgi does not start");
}

struct request *request_new(void)
{
	return calloc(1, sizeof(struct request));
}

void request_free(struct request *x)
{
	if (x == NULL)
		return;
	request_abandon(x);
	free(x);
}

/* One row per wanted parameter. */
static const struct wanted {
	const char *name;
	size_t len, offset;
} wanted[] = {
#define WANTED(name, field)                                                                                            \
	{                                                                                                              \
		name "=", sizeof name, offsetof(struct request_params, field)                                          \
	}
	WANTED("REQUEST_METHOD", method),
	WANTED("REQUEST_URI", request_uri),
	WANTED("SCRIPT_NAME", script_name),
	WANTED("PATH_INFO", path_info),
	WANTED("QUERY_STRING", query_string),
	WANTED("HTTP_X_REQUEST_ID", request_id),
	WANTED("TT_AGENT_ADMIN", admin),
	WANTED("REMOTE_USER", remote_user),
	WANTED("REMOTE_ADDR", remote_addr),
	WANTED("TT_AGENT_PREFIX", prefix),
	WANTED("TT_AGENT_BODY_TOO_LONG", body_too_long),
#undef WANTED
};

/* Of a repeated parameter the last one counts, as in the web servers' own handling: a
 * fastcgi_param that stands below an included list overrides it. */
static void find_params(struct request *x)
{
	x->params = (struct request_params){.method = NULL};
	for (char **p = x->fcgx.envp; *p != NULL; p++)
		for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
			if ((*p)[0] == wanted[i].name[0] && strncmp(*p, wanted[i].name, wanted[i].len) == 0) {
				memcpy((char *)&x->params + wanted[i].offset, &(char *){*p + wanted[i].len},
				       sizeof(char *));
				break;
			}
}

/* Reads one byte more than there are: only that consumes the record that ends the body,
 * without which a kept connection's next request would begin in the middle. */
static int read_body(struct request *x, size_t body_len)
{
	x->body = malloc(body_len + 1);
	if (x->body == NULL)
		return -1;
	x->body_len = (size_t)FCGX_GetStr(x->body, (int)body_len + 1, x->fcgx.in);
	if (x->body_len != body_len || FCGX_GetError(x->fcgx.in) != 0)
		return -1;
	x->body[body_len] = '\0';
	return 0;
}

int request_begin(struct request *x, int from, int to, size_t body_len)
{
	assert(!x->open);
	FCGX_InitRequest(&x->fcgx, -1, 0);
	/* So libfcgi believes that it accepted this connection itself, and may keep it. */
	x->fcgx.ipcFd = from;
	x->fcgx.keepConnection = 1;
	x->fcgx.detached = 1;
	if (FCGX_Accept_r(&x->fcgx) != 0)
		return -1;
	x->open = true;
	if (read_body(x, body_len) < 0) {
		request_abandon(x);
		close(from);
		return -1;
	}
	x->fcgx.ipcFd = to;
	x->pending = 0;
	find_params(x);
	return 0;
}

const struct request_params *request_params(const struct request *x)
{
	return &x->params;
}

/* Of two one may be the client's own: lighttpd passes on a client's X_User beside the X-User that
 * it sets itself, and both are HTTP_X_USER then, in either order. */
const char *request_header(const struct request *x, const char *name)
{
	char param[128] = "HTTP_";
	size_t len = strlen(param);
	const char *value = NULL;

	for (; *name != '\0' && len < sizeof param - 2; name++)
		param[len++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
	param[len++] = '=';
	for (char **p = x->fcgx.envp; p != NULL && *p != NULL; p++) {
		if (strncmp(*p, param, len) != 0)
			continue;
		if (value != NULL && strcmp(value, *p + len) != 0)
			return NULL;
		value = *p + len;
	}
	return value;
}

const char *request_body(const struct request *x, size_t *len)
{
	*len = x->body_len;
	return x->body;
}

void request_forget_request(struct request *x)
{
	FCGX_Stream *out = x->fcgx.out, *err = x->fcgx.err;

	free(x->body);
	x->body = NULL;
	x->body_len = 0;
	x->params = (struct request_params){.method = NULL};
	/* FCGX_Free frees all that the request owns; the writers are held out of it. */
	x->fcgx.out = x->fcgx.err = NULL;
	x->fcgx.envp = NULL;
	FCGX_Free(&x->fcgx, 0);
	x->fcgx.out = out;
	x->fcgx.err = err;
}

void request_put(struct request *x, const void *bytes, size_t len)
{
	assert(len <= request_room(x));
	FCGX_PutStr(bytes, (int)len, x->fcgx.out);
	x->pending += len;
}

size_t request_room(const struct request *x)
{
	return REQUEST_RECORD_MAX - x->pending;
}

size_t request_pending(const struct request *x)
{
	return x->pending;
}

int request_flush(struct request *x)
{
	x->pending = 0;
	return FCGX_FFlush(x->fcgx.out) == 0 ? 0 : -1;
}

int request_split(struct request *x, int fd)
{
	/* The end of the stream of errors, on which nothing is ever said: passed over by all. */
	FCGI_Header record = {.version = FCGI_VERSION_1,
	                      .type = FCGI_STDERR,
	                      .requestIdB1 = (unsigned char)(x->fcgx.requestId >> 8),
	                      .requestIdB0 = (unsigned char)x->fcgx.requestId};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec part = {.iov_base = &record, .iov_len = sizeof record};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

	memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	return sendmsg(x->fcgx.ipcFd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof record ? 0 : -1;
}

int request_finish(struct request *x)
{
	/* err first: closing it is silent then, and the end of the request goes out with
	 * the last record. FCGX_Finish_r would linger on the connection. */
	int failed = FCGX_FClose(x->fcgx.err);

	failed |= FCGX_FClose(x->fcgx.out);
	request_abandon(x);
	return failed == 0 ? 0 : -1;
}

void request_abandon(struct request *x)
{
	if (!x->open)
		return;
	x->open = false;
	free(x->body);
	x->body = NULL;
	x->body_len = x->pending = 0;
	FCGX_Free(&x->fcgx, 0);
}
