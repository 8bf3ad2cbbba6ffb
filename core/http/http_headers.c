/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void set_free(struct header_set *s)
{
	if (s == NULL)
		return;
	curl_slist_free_all(s->list);
	free(s->text);
	free(s->bearer);
	free(s);
}

static void release(struct header_set *s)
{
	if (s != NULL && --s->users == 0)
		set_free(s);
}

static int add(struct header_set *s, const char *line)
{
	struct curl_slist *list = curl_slist_append(s->list, line);

	if (list == NULL)
		return -1;
	s->list = list;
	return 0;
}

static int add_bearer(struct header_set *s, const char *bearer)
{
	struct buf line = BUF_INIT(64u << 10);
	int rc = buf_addf(&line, "Authorization: Bearer %s", bearer) < 0 ? -1 : add(s, line.data);

	buf_free(&line);
	return rc;
}

/* As curl sends them: "Name:" alone only takes a header of curl's own away. */
static int make_text(struct header_set *s)
{
	struct buf text = BUF_INIT(SIZE_MAX);

	for (const struct curl_slist *line = s->list; line != NULL; line = line->next) {
		if (line->data[strlen(line->data) - 1] != ':' && buf_addf(&text, "%s\r\n", line->data) < 0) {
			buf_free(&text);
			return -1;
		}
	}
	s->text = text.data;
	return 0;
}

static struct header_set *set_new(const struct http_request *req, bool json)
{
	struct header_set *s = calloc(1, sizeof *s);
	bool own_type = false, own_encoding = false;

	if (s == NULL)
		return NULL;
	s->users = 1;
	s->json = json;
	for (size_t i = 0; req->headers != NULL && req->headers[i] != NULL; i++) {
		own_type = own_type || strncasecmp(req->headers[i], "Content-Type:", 13) == 0;
		own_encoding = own_encoding || strncasecmp(req->headers[i], "Accept-Encoding:", 16) == 0;
		if (add(s, req->headers[i]) < 0)
			goto bad;
	}
	if (req->bearer != NULL && (add_bearer(s, req->bearer) < 0 || (s->bearer = strdup(req->bearer)) == NULL))
		goto bad;
	if (json && !own_type && add(s, "Content-Type: application/json") < 0)
		goto bad;
	if (add(s, "User-Agent: " PACKAGE_NAME "/" PACKAGE_VERSION) < 0)
		goto bad;
	if (!own_encoding && add(s, "Accept-Encoding:") < 0) /* compressed tokens come late */
		goto bad;
	/* Otherwise curl sends "Expect: 100-continue" before such a body. */
	if (req->body_len >= EXPECT_FROM && add(s, "Expect:") < 0)
		goto bad;
	if (make_text(s) < 0)
		goto bad;
	return s;
bad:
	set_free(s);
	return NULL;
}

static bool fits(const struct header_set *s, const char *bearer, bool json)
{
	if (s->json != json || (s->bearer == NULL) != (bearer == NULL))
		return false;
	return bearer == NULL || strcmp(s->bearer, bearer) == 0;
}

/* The set that all requests with this token share; made where there is none. */
static struct header_set *shared_set(struct http *h, const struct http_request *req, bool json)
{
	struct header_set *s, **sets = h->header_sets;
	size_t i;

	for (i = 0; i < HEADER_SETS && sets[i] != NULL; i++)
		if (fits(sets[i], req->bearer, json))
			break;
	s = i < HEADER_SETS && sets[i] != NULL ? sets[i] : set_new(req, json);
	if (s == NULL)
		return NULL;
	/* To the front; the least recently used drops out at the end. */
	if (i == HEADER_SETS)
		release(sets[--i]);
	memmove(sets + 1, sets, i * sizeof(struct header_set *));
	sets[0] = s;
	return s;
}

/* A bearer token or a header with a line break in it would be two headers. */
static int check_lines(struct http_transfer *t, const char *const *lines)
{
	for (size_t i = 0; lines != NULL && lines[i] != NULL; i++)
		if (lines[i][strcspn(lines[i], "\r\n")] != '\0' || strchr(lines[i], ':') == NULL)
			return http_outcome_error(t, "header %zu of the request is not one line of 'Name: value'",
			                          i + 1);
	return 0;
}

static int check(struct http_transfer *t, const struct http_request *req)
{
	if (req->bearer != NULL && req->bearer[strcspn(req->bearer, "\r\n")] != '\0')
		return http_outcome_error(t, "the bearer token holds a line break");
	return check_lines(t, req->headers) < 0 ? -1 : check_lines(t, req->labels);
}

/* The list that curl is given: the labels, whose last one is followed by what other transfers share. */
static void drop_labels(struct http_transfer *t)
{
	struct curl_slist *last = t->labels;

	if (last == NULL)
		return;
	while (last->next != NULL && last->next != t->headers->list)
		last = last->next;
	last->next = NULL;
	curl_slist_free_all(t->labels);
	t->labels = NULL;
}

/* Before the shared ones. -1: no memory. */
static int put_labels(struct http_transfer *t, const char *const *lines)
{
	struct curl_slist *last;

	for (size_t i = 0; lines[i] != NULL; i++) {
		struct curl_slist *list = curl_slist_append(t->labels, lines[i]);

		if (list == NULL)
			return -1;
		t->labels = list;
	}
	for (last = t->labels; last != NULL && last->next != NULL; last = last->next)
		continue;
	if (last != NULL)
		last->next = t->headers->list;
	return 0;
}

int http_headers_set(struct http_transfer *t, const struct http_request *req)
{
	bool json = req->body != NULL && strcmp(req->method, "POST") == 0;
	bool plain = (req->headers == NULL || req->headers[0] == NULL) && req->body_len < EXPECT_FROM;
	struct header_set *s;

	if (check(t, req) < 0)
		return -1;
	if (plain && req->labels == NULL && t->labels == NULL && t->headers != NULL &&
	    t->headers == t->http->header_sets[0] && fits(t->headers, req->bearer, json))
		return 0;
	s = plain ? shared_set(t->http, req, json) : set_new(req, json);
	if (s == NULL)
		return http_outcome_exhausted(t, ENOMEM);
	if (plain)
		s->users++;
	drop_labels(t);
	release(t->headers);
	t->headers = s;
	if (req->labels != NULL && put_labels(t, req->labels) < 0)
		return http_outcome_exhausted(t, ENOMEM);
	return 0;
}

void http_headers_give(struct http_transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->labels != NULL ? t->labels : t->headers->list);
}

void http_headers_drop(struct http_transfer *t)
{
	drop_labels(t);
	release(t->headers);
	t->headers = NULL;
}

void http_headers_forget(struct http *h)
{
	for (size_t i = 0; i < HEADER_SETS; i++)
		release(h->header_sets[i]);
}
