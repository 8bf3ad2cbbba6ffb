/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /poll_requests, checked as FastAPI checks it. Pure. */
#ifndef TT_PROTOCOL_REQUEST_H
#define TT_PROTOCOL_REQUEST_H

#include "core/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct chat_request {
	/* A string, or an array of OpenAI content parts (text, image_url). No text in it has a
	 * NUL, nor has thread_id: U+FFFD stands in its place. */
	json_t *content;
	char *thread_id;
	bool has_images;
};
void chat_request_clear(struct chat_request *r);

/* 0 with r filled; 422 with *detail a new reference: the whole {"detail":[...]} answer
 * in FastAPI's shape; -1: no memory. */
int chat_request_parse(const char *body, size_t len, struct chat_request *r, json_t **detail);

/* The text parts of a content, joined by newlines; free(). */
char *chat_content_text(const json_t *content);

/* The same check of /select_model: the id from the query (may be NULL) or from a JSON
 * body {"deploy_id":"ID"}. 0 with *deploy_id (free()), 422 with *detail, -1. */
int chat_select_parse(const char *query_deploy_id, const char *body, size_t len, char **deploy_id, json_t **detail);

#endif
