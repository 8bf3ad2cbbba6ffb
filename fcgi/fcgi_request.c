/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/fcgi_request.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a record that is longer than the usual one with a token or two. */
#define SMALL 512u
/* A record with its header and padding, and those that end the request. */
#define LARGE (sizeof(FCGI_Header) + FCGI_REQUEST_RECORD_MAX + 7 + sizeof(FCGI_Header) + sizeof(FCGI_EndRequestRecord))

struct fcgi_request {
	struct fcgi_request_params params;
	struct fcgi_records *records;
	int fd; /* to which it is answered */
	unsigned id;
	char *lines; /* its parameters, NAME=value each, up to an empty one */
	char *body;
	size_t body_len;
	char *large;    /* NULL: the record is in small */
	size_t pending; /* bytes in the record that is being filled */
	bool open;
	char small[SMALL];
};

int fcgi_request_library_init(struct err *e)
{
	int status = FCGX_Init();

	return status == 0 ? 0 : err_set_errno(e, status > 0 ? status : ENOMEM, "cannot initialize libfcgi");
}

struct fcgi_request *fcgi_request_new(struct fcgi_records *records)
{
	struct fcgi_request *r = calloc(1, sizeof *r);

	if (r != NULL)
		r->records = records;
	return r;
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
 * below an included list overrides it. name_len counts the = */
static void find_param(struct fcgi_request_params *params, const char *line, size_t name_len)
{
	for (size_t i = 0; i < sizeof param_fields / sizeof param_fields[0]; i++)
		if (param_fields[i].len == name_len && memcmp(line, param_fields[i].name, name_len) == 0) {
			set_param(params, &param_fields[i], line + name_len);
			return;
		}
}

static int take_params(struct fcgi_request *r, const FCGX_Request *fcgx, size_t room)
{
	size_t used = 0;

	r->params = (struct fcgi_request_params){.method = NULL};
	for (char **p = fcgx->envp; *p != NULL; p++) {
		size_t len = strlen(*p) + 1;
		const char *equals = memchr(*p, '=', len);

		if (len == 1) /* its name begins with NUL */
			continue;
		if (len >= room - used)
			return -1;
		memcpy(r->lines + used, *p, len);
		if (equals != NULL)
			find_param(&r->params, r->lines + used, (size_t)(equals - *p) + 1);
		used += len;
	}
	r->lines[used] = '\0';
	return 0;
}

/* Asks for one byte more than there is: only that makes libfcgi consume the record that ends the
 * body. Otherwise a kept connection's next request would begin with that record. */
static int take_body(struct fcgi_request *r, const FCGX_Request *fcgx, size_t body_len)
{
	r->body_len = (size_t)FCGX_GetStr(r->body, (int)body_len + 1, fcgx->in);
	if (r->body_len != body_len || FCGX_GetError(fcgx->in) != 0)
		return -1;
	r->body[body_len] = '\0';
	return 0;
}

/* libfcgi takes 17 KiB of buffers for each request. All of them are returned before anything is allocated that stays
 * for as long as an answer streams, as that would leave them as holes in the heap. */
int fcgi_request_begin(struct fcgi_request *r, int from, int to, size_t params_len, size_t body_len)
{
	const size_t room = params_len + sizeof "FCGI_ROLE=RESPONDER" + 1; /* libfcgi's own */
	FCGX_Request fcgx;
	int failed;

	assert(!r->open);
	r->lines = malloc(room);
	r->body = malloc(body_len + 1);
	r->open = true;
	FCGX_InitRequest(&fcgx, -1, 0);
	/* Makes libfcgi believe that it accepted this connection itself, and keep it open. */
	fcgx.ipcFd = from;
	fcgx.keepConnection = 1;
	fcgx.detached = 1;
	failed = r->lines == NULL || r->body == NULL;
	if (!failed && FCGX_Accept_r(&fcgx) != 0) { /* it closed the connection */
		fcgi_request_abandon(r);
		return -1;
	}
	failed = failed || take_params(r, &fcgx, room) < 0 || take_body(r, &fcgx, body_len) < 0;
	FCGX_Free(&fcgx, 0);
	if (failed) {
		fcgi_request_abandon(r);
		close(from);
		return -1;
	}
	r->fd = to;
	r->id = (unsigned)fcgx.requestId;
	r->pending = 0;
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
	for (const char *p = r->lines; p != NULL && *p != '\0'; p += strlen(p) + 1) {
		if (strncmp(p, param, len) != 0)
			continue;
		if (passed)
			return p + len;
		passed = p + len == after;
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
	free(r->lines);
	free(r->body);
	r->lines = r->body = NULL;
	r->body_len = 0;
	r->params = (struct fcgi_request_params){.method = NULL};
}

unsigned fcgi_request_id(const struct fcgi_request *r)
{
	return r->id;
}

/* --- records ------------------------------------------------------------------------------ */

void fcgi_records_free(struct fcgi_records *records)
{
	while (records->count > 0)
		free(records->spare[--records->count]);
}

static void empty_record(struct fcgi_request *r)
{
	r->pending = 0;
	if (r->large == NULL)
		return;
	if (r->records->count < FCGI_RECORDS_SPARE)
		r->records->spare[r->records->count++] = r->large;
	else
		free(r->large);
	r->large = NULL;
}

static int enlarge_record(struct fcgi_request *r)
{
	struct fcgi_records *records = r->records;

	r->large = records->count > 0 ? records->spare[--records->count] : malloc(LARGE);
	if (r->large == NULL)
		return -1;
	memcpy(r->large, r->small, sizeof(FCGI_Header) + r->pending);
	return 0;
}

size_t fcgi_request_pending(const struct fcgi_request *r)
{
	return r->pending;
}

int fcgi_request_put(struct fcgi_request *r, const char *bytes, size_t len)
{
	assert(len <= FCGI_REQUEST_RECORD_MAX - r->pending);
	if (r->large == NULL && r->pending + len > SMALL - (LARGE - FCGI_REQUEST_RECORD_MAX) && enlarge_record(r) < 0)
		return -1;
	memcpy((r->large != NULL ? r->large : r->small) + sizeof(FCGI_Header) + r->pending, bytes, len);
	r->pending += len;
	return 0;
}

static FCGI_Header header_of(const struct fcgi_request *r, unsigned char type, size_t len, size_t padding)
{
	return (FCGI_Header){.version = FCGI_VERSION_1,
	                     .type = type,
	                     .requestIdB1 = (unsigned char)(r->id >> 8),
	                     .requestIdB0 = (unsigned char)r->id,
	                     .contentLengthB1 = (unsigned char)(len >> 8),
	                     .contentLengthB0 = (unsigned char)len,
	                     .paddingLength = (unsigned char)padding};
}

/* Completes the record in its buffer; its length. */
static size_t close_record(struct fcgi_request *r, char *record)
{
	const size_t padding = -r->pending & 7;
	const FCGI_Header header = header_of(r, FCGI_STDOUT, r->pending, padding);

	if (r->pending == 0)
		return 0;
	memcpy(record, &header, sizeof header);
	memset(record + sizeof header + r->pending, 0, padding);
	return sizeof header + r->pending + padding;
}

#define NOTHING_SENT UINT_MAX /* no msg_len */

void fcgi_sending_begin(struct fcgi_sending *s)
{
	s->len = 0;
	s->message.msg_len = NOTHING_SENT;
}

enum fcgi_sent fcgi_sending_result(const struct fcgi_sending *s)
{
	if (s->message.msg_len == NOTHING_SENT)
		return FCGI_SENT_NOTHING;
	return s->message.msg_len == s->len ? FCGI_SENT_ALL : FCGI_SENT_UNKNOWN;
}

/* As send(); control: NULL is fine. */
static ssize_t send_known(int to, struct fcgi_sending *s, const char *bytes, size_t len, void *control,
                          size_t control_len, int flags)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};

	s->message.msg_hdr = (struct msghdr){
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = control_len};
	return sendmmsg(to, &s->message, 1, flags | MSG_NOSIGNAL) == 1 ? (ssize_t)s->message.msg_len : -1;
}

static int write_all(int fd, struct fcgi_sending *s, const char *bytes, size_t len)
{
	struct fcgi_sending own;
	ssize_t n;

	if (s == NULL)
		s = &own;
	s->len = len;
	for (; len > 0; bytes += n, len -= (size_t)n) {
		n = send_known(fd, s, bytes, len, NULL, 0, 0);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n < 0)
			return -1;
	}
	return 0;
}

int fcgi_request_flush(struct fcgi_request *r, struct fcgi_sending *s)
{
	char *record = r->large != NULL ? r->large : r->small;
	int failed = write_all(r->fd, s, record, close_record(r, record));

	empty_record(r);
	return failed;
}

/* As one buffer of the kernel, which is at most half of the socket's. */
static int send_with(int to, struct fcgi_sending *s, const void *bytes, size_t len, int fd)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct fcgi_sending own;

	if (s == NULL)
		s = &own;
	s->len = len;
	memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	return send_known(to, s, bytes, len, &control, sizeof control, MSG_DONTWAIT) == (ssize_t)len ? 0 : -1;
}

int fcgi_request_split(struct fcgi_request *r, int fd)
{
	/* The end of the stderr stream, which is never used: every web server ignores it. */
	FCGI_Header record = header_of(r, FCGI_STDERR, 0, 0);

	return send_with(r->fd, NULL, &record, sizeof record, fd);
}

int fcgi_request_flush_split(struct fcgi_request *r, int fd, struct fcgi_sending *s)
{
	char *record = r->large != NULL ? r->large : r->small;

	if (send_with(r->fd, s, record, close_record(r, record), fd) < 0)
		return -1;
	empty_record(r);
	return 0;
}

int fcgi_request_finish(struct fcgi_request *r)
{
	const FCGI_Header end_of_body = header_of(r, FCGI_STDOUT, 0, 0);
	const FCGI_EndRequestRecord end = {.header = header_of(r, FCGI_END_REQUEST, sizeof end.body, 0),
	                                   .body = {.protocolStatus = FCGI_REQUEST_COMPLETE}};
	char *record = r->large != NULL ? r->large : r->small;
	size_t len = close_record(r, record);
	int failed;

	memcpy(record + len, &end_of_body, sizeof end_of_body);
	len += sizeof end_of_body;
	memcpy(record + len, &end, sizeof end);
	failed = write_all(r->fd, NULL, record, len + sizeof end);
	fcgi_request_abandon(r);
	return failed;
}

void fcgi_request_abandon(struct fcgi_request *r)
{
	if (!r->open)
		return;
	r->open = false;
	fcgi_request_forget_input(r);
	empty_record(r);
}
