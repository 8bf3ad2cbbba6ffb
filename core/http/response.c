/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/response.h"

#include <string.h>
#include <strings.h>

/* The two parsers differ in names, and in where they hold their settings and errors. */
#ifdef HAVE_LLHTTP_H
typedef llhttp_settings_t parser_settings;
#define parser_should_keep_alive llhttp_should_keep_alive

static void parser_init(response_parser *p, const parser_settings *s)
{
	llhttp_init(p, HTTP_RESPONSE, s);
	/* As libcurl does. */
	llhttp_set_lenient_optional_cr_before_lf(p, 1);
	llhttp_set_lenient_optional_lf_after_cr(p, 1);
	llhttp_set_lenient_spaces_after_chunk_size(p, 1);
}

static bool parser_execute(response_parser *p, const parser_settings *s, const char *bytes, size_t len)
{
	(void)s;
	return (len > 0 ? llhttp_execute(p, bytes, len) : llhttp_finish(p)) == HPE_OK;
}
#else
typedef http_parser_settings parser_settings;
#define parser_should_keep_alive http_should_keep_alive

static void parser_init(response_parser *p, const parser_settings *s)
{
	(void)s;
	http_parser_init(p, HTTP_RESPONSE);
}

static bool parser_execute(response_parser *p, const parser_settings *s, const char *bytes, size_t len)
{
	return http_parser_execute(p, s, bytes, len) == len && HTTP_PARSER_ERRNO(p) == HPE_OK && !p->upgrade;
}
#endif

enum { OTHER_HEADER, CONTENT_TYPE, RETRY_AFTER, CONTENT_ENCODING, TRANSFER_ENCODING };

static const char *const names[] = {
	[CONTENT_TYPE] = "content-type",
	[RETRY_AFTER] = "retry-after",
	[CONTENT_ENCODING] = "content-encoding",
	[TRANSFER_ENCODING] = "transfer-encoding",
};

/* Of a parser's callback: it goes on, or ends. */
static int go_on(struct response *r, enum response_state state)
{
	r->state = state;
	return state == RESPONSE_MORE ? 0 : -1;
}

static int count_head(struct response *r, size_t len)
{
	r->head_len += len;
	return go_on(r, r->head_len > RESPONSE_HEAD_MAX ? RESPONSE_TOO_LARGE : RESPONSE_MORE);
}

static void append(char *to, unsigned char *to_len, size_t size, const char *at, size_t len)
{
	size_t room = size - 1 - *to_len, n = len < room ? len : room;

	memcpy(to + *to_len, at, n);
	*to_len = (unsigned char)(*to_len + n);
	to[*to_len] = '\0';
}

/* The line that an encoding's value was on has ended. */
static int end_of_line(struct response *r)
{
	unsigned char header = r->header;
	bool odd = (header == CONTENT_ENCODING && r->encoding_len > 0 && strcasecmp(r->encoding, "identity") != 0) ||
	           (header == TRANSFER_ENCODING && strcasecmp(r->encoding, "chunked") != 0);

	r->header = OTHER_HEADER;
	r->encoding_len = 0;
	r->encoding[0] = '\0';
	return go_on(r, odd ? RESPONSE_ODD : RESPONSE_MORE);
}

static int on_begin(response_parser *p)
{
	struct response *r = p->data;

	if (r->head_done) /* a second response, unasked */
		return go_on(r, RESPONSE_WHOLE);
	r->name_len = r->type_len = r->retry_len = r->encoding_len = 0;
	r->name[0] = r->type[0] = r->retry_after[0] = r->encoding[0] = '\0';
	r->header = OTHER_HEADER;
	return 0;
}

static int on_status(response_parser *p, const char *at, size_t len)
{
	(void)at;
	return count_head(p->data, len);
}

static int on_field(response_parser *p, const char *at, size_t len)
{
	struct response *r = p->data;

	if (r->head_done) /* after the last chunk */
		return count_head(r, len);
	if (r->header != OTHER_HEADER && end_of_line(r) != 0)
		return -1;
	append(r->name, &r->name_len, sizeof r->name, at, len);
	return count_head(r, len);
}

/* http-parser finds these only where a piece begins. */
static bool has_control(const char *at, size_t len)
{
	for (const unsigned char *c = (const unsigned char *)at, *end = c + len; c < end; c++)
		if ((*c < ' ' && *c != '\t') || *c == 0x7f)
			return true;
	return false;
}

static int on_value(response_parser *p, const char *at, size_t len)
{
	struct response *r = p->data;

	if (has_control(at, len))
		return go_on(r, r->head_done ? RESPONSE_BAD : RESPONSE_ODD);
	if (r->head_done)
		return count_head(r, len);
	for (unsigned char i = CONTENT_TYPE; r->name_len > 0 && i <= TRANSFER_ENCODING; i++)
		if (strcasecmp(r->name, names[i]) == 0)
			r->header = i;
	r->name_len = 0;
	if (r->header == CONTENT_TYPE)
		append(r->type, &r->type_len, sizeof r->type, at, len);
	else if (r->header == RETRY_AFTER)
		append(r->retry_after, &r->retry_len, sizeof r->retry_after, at, len);
	else if (r->header != OTHER_HEADER)
		append(r->encoding, &r->encoding_len, sizeof r->encoding, at, len);
	return count_head(r, len + 4);
}

static int on_headers_complete(response_parser *p)
{
	struct response *r = p->data;

	if (r->header != OTHER_HEADER && end_of_line(r) != 0)
		return -1;
	if (p->status_code < 200)
		return go_on(r, p->status_code < 100 || p->status_code == 101 ? RESPONSE_ODD : RESPONSE_MORE);
	r->status = (int)p->status_code;
	r->head_done = true;
	return go_on(r, r->events->head(r->arg) ? RESPONSE_MORE : RESPONSE_STOPPED);
}

static int on_body(response_parser *p, const char *at, size_t len)
{
	struct response *r = p->data;

	if (!r->head_done) /* of a status of 1xx, which has none */
		return go_on(r, RESPONSE_ODD);
	return go_on(r, r->events->body(r->arg, at, len) ? RESPONSE_MORE : RESPONSE_STOPPED);
}

static int on_message_complete(response_parser *p)
{
	struct response *r = p->data;

	if (!r->head_done) /* a status of 1xx */
		return 0;
	r->keep_alive = parser_should_keep_alive(p) != 0;
	r->state = RESPONSE_WHOLE;
	return 0;
}

static const parser_settings settings = {
	.on_message_begin = on_begin,
	.on_status = on_status,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

void response_init(struct response *r, const struct response_events *events, void *arg)
{
	memset(r, 0, sizeof *r);
	parser_init(&r->parser, &settings);
	r->parser.data = r;
	r->events = events;
	r->arg = arg;
}

static enum response_state judge(struct response *r, bool good)
{
	if (good || r->state != RESPONSE_MORE) {
		r->keep_alive = r->keep_alive && good;
		return r->state;
	}
	r->state = r->head_done ? RESPONSE_BAD : RESPONSE_ODD;
	return r->state;
}

enum response_state response_feed(struct response *r, const char *bytes, size_t len)
{
	if (r->state != RESPONSE_MORE) {
		r->keep_alive = false;
		return r->state;
	}
	return judge(r, parser_execute(&r->parser, &settings, bytes, len));
}

enum response_state response_end(struct response *r)
{
	if (r->state == RESPONSE_MORE && r->head_done)
		parser_execute(&r->parser, &settings, NULL, 0);
	r->keep_alive = false;
	return r->state;
}

int64_t response_missing(const struct response *r)
{
	return (r->parser.flags & F_CHUNKED) != 0 || r->parser.content_length > INT64_MAX
	               ? -1
	               : (int64_t)r->parser.content_length;
}
