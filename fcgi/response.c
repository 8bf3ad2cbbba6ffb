#include "fcgi/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 2048

static const struct {
	int status;
	const char *line;
} reasons[] = {
	{ 200, "" }, /* said by its absence */
	{ 400, "Status: 400 Bad Request\r\n" },
	{ 403, "Status: 403 Forbidden\r\n" },
	{ 404, "Status: 404 Not Found\r\n" },
	{ 405, "Status: 405 Method Not Allowed\r\n" },
	{ 413, "Status: 413 Content Too Large\r\n" },
	{ 422, "Status: 422 Unprocessable Content\r\n" },
	{ 429, "Status: 429 Too Many Requests\r\n" },
	{ 503, "Status: 503 Service Unavailable\r\n" },
	{ 500, "Status: 500 Internal Server Error\r\n" },
};

static const char *status_line(int status)
{
	size_t i, last = sizeof reasons / sizeof reasons[0] - 1;

	for (i = 0; i < last && reasons[i].status != status; i++)
		;
	return reasons[i].line;
}

static void head(struct connection *c, int status, const char *headers, size_t len)
{
	char text[HEAD_MAX];
	int n = snprintf(text, sizeof text,
			 "%sContent-Type: application/json\r\nContent-Length: %zu\r\nX-Request-Id: %s\r\n%s\r\n",
			 status_line(status), len, connection_request_id(c), headers);

	connection_head(c, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void response_json_with(struct connection *c, int status, const char *headers, const char *body, size_t len)
{
	head(c, status, headers, len);
	connection_write(c, body, len, false);
	connection_end(c);
}

void response_json(struct connection *c, int status, const char *body, size_t len)
{
	response_json_with(c, status, "", body, len);
}

void response_document(struct connection *c, const char *body, size_t len, bool without_body)
{
	head(c, 200, "Cache-Control: no-store\r\n", len);
	if (!without_body)
		connection_write(c, body, len, false);
	connection_end(c);
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

void response_stream_head(struct connection *c)
{
	char text[HEAD_MAX];
	int n = snprintf(text, sizeof text,
			 "Content-Type: text/plain; charset=utf-8\r\nX-Accel-Buffering: no\r\n"
			 "Cache-Control: no-store\r\nX-Request-Id: %s\r\n\r\n",
			 connection_request_id(c));

	connection_head(c, text, (size_t)n);
}
