/* SPDX-License-Identifier: Apache-2.0 */
/* A web search service: how it is asked and what it answers. Pure: the request and the
 * parser of the answer; web_search.c sends the one and reads the other. */
#ifndef TT_TOOLS_SEARCH_BACKEND_H
#define TT_TOOLS_SEARCH_BACKEND_H

#include "core/base/err.h"
#include "core/config/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct search_request {
	const char *method;
	char *url;    /* free() */
	char *body;   /* free(); NULL: none */
	char *header; /* "Name: value", free(); NULL: none */
	const char *bearer;
};
void search_request_clear(struct search_request *r);

struct search_hit {
	const char *title, *url, *content; /* borrowed from the answer; never NULL */
};

#define SEARCH_HITS_MAX 20

struct search_hits {
	struct search_hit items[SEARCH_HITS_MAX];
	size_t count;
	const char *answer; /* a short answer of the service's own; NULL */
};

struct search_backend {
	const char *name;                                                                      /* as in search.order */
	int (*request)(const struct config *c, const char *query, struct search_request *out); /* -1: no memory */
	/* answer is the parsed JSON of a 200. -1 with e: the service failed although it said 200. */
	int (*hits)(const json_t *answer, size_t max, struct search_hits *out, struct err *e);
};

extern const struct search_backend search_tavily, search_searxng, search_brave;

/* base + path without a doubled slash, and ?query appended where given; free(). */
char *search_url(const char *base, const char *path, const char *query);

/* One "name=value" of a query string, value percent-encoded by libcurl; free(). */
char *search_parameter(const char *name, const char *value);

/* A string member or "". */
const char *search_text(const json_t *object, const char *name);

/* The member "url", or "" where it is longer than any page's. */
const char *search_hit_url(const json_t *object);

#endif
