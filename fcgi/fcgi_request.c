/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/fcgi_request_private.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fastcgi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int fcgi_request_library_init(struct err *e)
{
	int status = FCGX_Init();

	return status == 0 ? 0 : err_set_errno(e, status > 0 ? status : ENOMEM, "cannot initialize libfcgi");
}

struct fcgi_request *fcgi_request_new(void)
{
	return calloc(1, sizeof(struct fcgi_request));
}

void fcgi_request_free(struct fcgi_request *r)
{
	if (r == NULL)
		return;
	fcgi_request_abandon(r);
	free(r);
}

/* The parameters of struct fcgi_request_params. */
static const struct param {
	const char *name;
	size_t len, offset;
	bool once;
} param_fields[] = {
#define PARAM(name, field)                                                                                             \
	{                                                                                                              \
		name "=", sizeof name, offsetof(struct fcgi_request_params, field), false                              \
	}
#define HEADER(name, field)                                                                                            \
	{                                                                                                              \
		name "=", sizeof name, offsetof(struct fcgi_request_params, field), true                               \
	}
	PARAM("REQUEST_METHOD", method),
	PARAM("REQUEST_URI", request_uri),
	PARAM("SCRIPT_NAME", script_name),
	PARAM("PATH_INFO", path_info),
	PARAM("QUERY_STRING", query_string),
	PARAM("HTTP_X_REQUEST_ID", request_id),
	PARAM("HTTP_TRACEPARENT", traceparent),
	PARAM("TT_AGENT_ADMIN", admin),
	PARAM("REMOTE_USER", remote_user),
	PARAM("REMOTE_ADDR", remote_addr),
	PARAM("TT_AGENT_PREFIX", prefix),
	PARAM("TT_AGENT_BODY_TOO_LONG", body_too_long),
	HEADER("HTTP_HOST", host),
	HEADER("HTTP_ORIGIN", origin),
	HEADER("HTTP_SEC_FETCH_SITE", fetch_site),
	HEADER("HTTP_REFERER", referer),
	HEADER("HTTP_USER_AGENT", user_agent),
	HEADER("CONTENT_TYPE", content_type),
#undef PARAM
#undef HEADER
};

static void set_param(struct fcgi_request_params *params, const struct param *field, const char *value)
{
	char *at = (char *)params + field->offset;
	const char *before;

	memcpy(&before, at, sizeof before);
	if (field->once && before != NULL && strcmp(before, value) != 0)
		params->ambiguous = true;
	memcpy(at, &value, sizeof value);
}

/* The last one of a repeated parameter counts, as in the web servers' own handling: a fastcgi_param
 * below an included list overrides it. */
static void find_params(struct fcgi_request *r)
{
	r->params = (struct fcgi_request_params){.method = NULL};
	for (char **p = r->fcgx.envp; *p != NULL; p++)
		for (size_t i = 0; i < sizeof param_fields / sizeof param_fields[0]; i++)
			if ((*p)[0] == param_fields[i].name[0] &&
			    strncmp(*p, param_fields[i].name, param_fields[i].len) == 0) {
				set_param(&r->params, &param_fields[i], *p + param_fields[i].len);
				break;
			}
}

/* Asks for one byte more than there is: only that makes libfcgi consume the record that ends the
 * body. Otherwise a kept connection's next request would begin with that record. */
static int read_body(struct fcgi_request *r, size_t body_len)
{
	r->body = malloc(body_len + 1);
	if (r->body == NULL)
		return -1;
	r->body_len = (size_t)FCGX_GetStr(r->body, (int)body_len + 1, r->fcgx.in);
	if (r->body_len != body_len || FCGX_GetError(r->fcgx.in) != 0)
		return -1;
	r->body[body_len] = '\0';
	return 0;
}

int fcgi_request_begin(struct fcgi_request *r, int from, int to, size_t body_len)
{
	assert(!r->open);
	FCGX_InitRequest(&r->fcgx, -1, 0);
	/* Makes libfcgi believe that it accepted this connection itself, and keep it open. */
	r->fcgx.ipcFd = from;
	r->fcgx.keepConnection = 1;
	r->fcgx.detached = 1;
	if (FCGX_Accept_r(&r->fcgx) != 0)
		return -1;
	r->open = true;
	if (read_body(r, body_len) < 0) {
		fcgi_request_abandon(r);
		close(from);
		return -1;
	}
	r->fcgx.ipcFd = to;
	r->pending = 0;
	find_params(r);
	return 0;
}

const struct fcgi_request_params *fcgi_request_params(const struct fcgi_request *r)
{
	return &r->params;
}

const char *fcgi_request_next_header(const struct fcgi_request *r, const char *name, const char *after)
{
	char param[128] = "HTTP_";
	size_t len = strlen(param);
	bool passed = after == NULL;

	for (; *name != '\0' && len < sizeof param - 2; name++)
		param[len++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
	param[len++] = '=';
	for (char **p = r->fcgx.envp; p != NULL && *p != NULL; p++) {
		if (strncmp(*p, param, len) != 0)
			continue;
		if (passed)
			return *p + len;
		passed = *p + len == after;
	}
	return NULL;
}

/* One of two may be the client's own: lighttpd passes on a client's X_User in addition to the X-User
 * that it sets itself; both are HTTP_X_USER then, in either order. */
const char *fcgi_request_header(const struct fcgi_request *r, const char *name)
{
	const char *value = fcgi_request_next_header(r, name, NULL), *other = value;

	while (other != NULL && (other = fcgi_request_next_header(r, name, other)) != NULL)
		if (strcmp(value, other) != 0)
			return NULL;
	return value;
}

const char *fcgi_request_body(const struct fcgi_request *r, size_t *len)
{
	*len = r->body_len;
	return r->body;
}

char *fcgi_request_take_body(struct fcgi_request *r, size_t *len)
{
	char *body = r->body;

	*len = r->body_len;
	r->body = NULL;
	r->body_len = 0;
	return body;
}

void fcgi_request_forget_input(struct fcgi_request *r)
{
	FCGX_Stream *out = r->fcgx.out, *err = r->fcgx.err;

	free(r->body);
	r->body = NULL;
	r->body_len = 0;
	r->params = (struct fcgi_request_params){.method = NULL};
	/* FCGX_Free frees all that the request owns; hide the writers from it. */
	r->fcgx.out = r->fcgx.err = NULL;
	r->fcgx.envp = NULL;
	FCGX_Free(&r->fcgx, 0);
	r->fcgx.out = out;
	r->fcgx.err = err;
}

int fcgi_request_split(struct fcgi_request *r, int fd)
{
	/* The end of the stderr stream, which is never used: every web server ignores it. */
	FCGI_Header record = {.version = FCGI_VERSION_1,
	                      .type = FCGI_STDERR,
	                      .requestIdB1 = (unsigned char)(r->fcgx.requestId >> 8),
	                      .requestIdB0 = (unsigned char)r->fcgx.requestId};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec part = {.iov_base = &record, .iov_len = sizeof record};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

	memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	return sendmsg(r->fcgx.ipcFd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof record ? 0 : -1;
}

int fcgi_request_finish(struct fcgi_request *r)
{
	/* stderr first: closing it writes nothing then, and the end of the request is sent with the
	 * last record. FCGX_Finish_r would linger on the connection. */
	int failed = FCGX_FClose(r->fcgx.err);

	failed |= FCGX_FClose(r->fcgx.out);
	fcgi_request_abandon(r);
	return failed == 0 ? 0 : -1;
}

void fcgi_request_abandon(struct fcgi_request *r)
{
	if (!r->open)
		return;
	r->open = false;
	free(r->body);
	r->body = NULL;
	r->body_len = r->pending = 0;
	FCGX_Free(&r->fcgx, 0);
}
