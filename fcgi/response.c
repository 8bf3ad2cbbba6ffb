/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 2048

static const struct {
	int status;
	const char *line;
} reasons[] = {
	{200, ""}, /* the default of CGI */
	{202, "Status: 202 Accepted\r\n"},
	{204, "Status: 204 No Content\r\n"},
	{302, "Status: 302 Found\r\n"},
	{304, "Status: 304 Not Modified\r\n"},
	{400, "Status: 400 Bad Request\r\n"},
	{401, "Status: 401 Unauthorized\r\n"},
	{403, "Status: 403 Forbidden\r\n"},
	{404, "Status: 404 Not Found\r\n"},
	{405, "Status: 405 Method Not Allowed\r\n"},
	{406, "Status: 406 Not Acceptable\r\n"},
	{421, "Status: 421 Misdirected Request\r\n"},
	{413, "Status: 413 Content Too Large\r\n"},
	{422, "Status: 422 Unprocessable Content\r\n"},
	{429, "Status: 429 Too Many Requests\r\n"},
	{502, "Status: 502 Bad Gateway\r\n"},
	{503, "Status: 503 Service Unavailable\r\n"},
	{504, "Status: 504 Gateway Timeout\r\n"},
	{500, "Status: 500 Internal Server Error\r\n"},
};

/* A header block being built. What does not fit is left out; nothing comes near the limit. */
struct head {
	size_t len;
	char text[HEAD_MAX];
};

static void add(struct head *h, const char *text)
{
	size_t len = strlen(text);

	if (len > sizeof h->text - h->len)
		return;
	memcpy(h->text + h->len, text, len);
	h->len += len;
}

static void add_number(struct head *h, size_t n)
{
	char digits[24], *at = digits + sizeof digits - 1;

	for (*at = '\0'; n > 9; n /= 10)
		*--at = (char)('0' + n % 10);
	*--at = (char)('0' + n);
	add(h, at);
}

/* Statuses of LLMs' servers are passed on, whatever they are. */
static void add_status(struct head *h, int status)
{
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status) {
			add(h, reasons[i].line);
			return;
		}
	add(h, "Status: ");
	add_number(h, (size_t)status);
	add(h, status < 400 ? " Success\r\n" : " Error\r\n");
}

/* What all have, and sends it. */
static void end_head(struct connection *c, int status, struct head *h, const char *headers)
{
	add(h, "X-Request-Id: ");
	add(h, connection_request_id(c));
	add(h, "\r\n");
	add(h, headers);
	add(h, connection_headers(c));
	add(h, "\r\n");
	connection_head(c, status, h->text, h->len);
}

void response_whole(struct connection *c, int status, const char *type, const char *headers, const char *body,
                    size_t len)
{
	struct head h;

	if (connection_orphan(c) != NULL) { /* whose head was sent already */
		connection_end_orphan(c);
		return;
	}
	if (len > CONNECTION_BODY_MAX) {
		response_detail(c, 500, "", "The answer is too long");
		return;
	}
	h.len = 0;
	add_status(&h, status);
	if (type != NULL) {
		add(&h, "Content-Type: ");
		add(&h, type);
		add(&h, "\r\nContent-Length: ");
		add_number(&h, len);
		add(&h, "\r\n");
	}
	end_head(c, status, &h, headers);
	if (!connection_is_head(c) && len > 0)
		output_write(connection_output(c), body, len);
	output_end(connection_output(c));
}

void response_json_with(struct connection *c, int status, const char *headers, const char *body, size_t len)
{
	response_whole(c, status, "application/json", headers, body, len);
}

void response_text(struct connection *c, const char *content_type, const char *body, size_t len)
{
	response_whole(c, 200, content_type, "Cache-Control: no-store\r\n", body, len);
}

void response_json(struct connection *c, int status, const char *body, size_t len)
{
	response_json_with(c, status, "", body, len);
}

void response_document(struct connection *c, const char *body, size_t len)
{
	if (body != NULL)
		response_json_with(c, 200, "Cache-Control: no-store\r\n", body, len);
	else
		response_detail(c, 500, "", "Out of memory");
}

void response_borrowed(struct connection *c, int status, const json_t *j)
{
	char *text = j != NULL ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;

	if (text != NULL)
		response_json(c, status, text, strlen(text));
	else
		response_detail(c, 500, "", "Out of memory");
	free(text);
}

void response_value(struct connection *c, int status, json_t *j)
{
	response_borrowed(c, status, j);
	json_decref(j);
}

void response_detail(struct connection *c, int status, const char *headers, const char *detail)
{
	char text[512];
	int n = snprintf(text, sizeof text, "{\"detail\":\"%s\"}", detail);

	response_json_with(c, status, headers, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void response_head(struct connection *c, int status, const char *content_type, const char *headers)
{
	struct head h;

	h.len = 0;
	add_status(&h, status);
	add(&h, "Content-Type: ");
	add(&h, content_type);
	add(&h, "\r\nX-Accel-Buffering: no\r\nCache-Control: no-store\r\n");
	end_head(c, status, &h, headers);
}

void response_stream_head(struct connection *c, const char *content_type)
{
	response_head(c, 200, content_type, "");
}

void response_empty(struct connection *c, int status)
{
	struct head h;

	h.len = 0;
	add_status(&h, status);
	end_head(c, status, &h, "");
	output_end(connection_output(c));
}
