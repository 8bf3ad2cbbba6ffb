/* SPDX-License-Identifier: Apache-2.0 */
/* A web search service: the request for a query and what its answer means, in
 * search_NAME.c for each row of core/config/search_services.h. Pure: web_search.c sends the
 * request and reads the answer. */
#ifndef TT_TOOLS_SEARCH_SERVICE_H
#define TT_TOOLS_SEARCH_SERVICE_H

#include "core/base/err.h"
#include "core/config/config.h"
#include "core/config/search_services.h"
#include "core/tools/tool.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct search_request {
	const char *method;
	char *url;          /* free() */
	char *body;         /* free(); NULL: none */
	char *header;       /* "Name: value", free(); NULL: none */
	const char *bearer; /* borrowed from the configuration; NULL: none */
};
void search_request_clear(struct search_request *r);

struct search_hit {
	const char *title, *url, *content; /* borrowed from the answer; never NULL */
};

#define SEARCH_HITS_MAX 20

struct search_hits {
	struct search_hit items[SEARCH_HITS_MAX];
	size_t count;
	const char *answer; /* a short answer of the service's own; NULL: none */
};

struct search_service {
	const char *name;        /* as in search.order */
	enum cfg_key enabled_by; /* it can be used where this setting is given */
	/* -1: no memory. out is to be cleared in both cases. */
	int (*request)(const struct config *c, const char *query, struct search_request *out);
	/* answer is the parsed JSON of a 200. -1 with e: the service failed although it said 200. */
	int (*parse)(const json_t *answer, size_t max, struct search_hits *out, struct err *e);
};

#define SEARCH_SERVICES_DECLARE(name) extern const struct search_service search_##name;
SEARCH_SERVICES(SEARCH_SERVICES_DECLARE)
#undef SEARCH_SERVICES_DECLARE

extern const struct search_service *const search_services[SEARCH_SERVICES_COUNT];

bool search_service_enabled(const struct search_service *s, const struct config *c);

/* The answer of service s, the len bytes of body of a 200, as the tool's result: the text is
 * JSON within the limits of search.*. -1 with e: the service failed although it said 200, or
 * no memory. out is to be cleared in both cases. */
int search_service_result(const struct search_service *s, const struct config *c, const char *body, size_t len,
                          struct tool_result *out, struct err *e);

/* ---- for the services ------------------------------------------------------------- */

/* base + path without a doubled slash, and ?query appended where given; free(). */
char *search_url(const char *base, const char *path, const char *query);

/* One "name=value" of a query string, value percent-encoded by libcurl; free(). */
char *search_parameter(const char *name, const char *value);

/* Appends the objects of an array (anything else has no hits) until there are max; content
 * is the member with the excerpt. */
void search_hits_add(struct search_hits *hits, size_t max, const json_t *results, const char *content);

#endif
