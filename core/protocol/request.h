/* SPDX-License-Identifier: Apache-2.0 */
/* What a client requests, whatever the protocol. Pure. */
#ifndef TT_PROTOCOL_REQUEST_H
#define TT_PROTOCOL_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

struct chat_request {
	/* A string, or an array of OpenAI content parts (text, image_url). No text in it has a
	 * NUL, nor has thread_id: U+FFFD takes its place. */
	json_t *content;
	char *thread_id;
	bool has_images;
	bool wants_code; /* which tools run, and what came out of it */
};
void chat_request_clear(struct chat_request *r);

/* The text parts of a content, joined by newlines; free(). NULL: no memory. */
char *chat_content_text(const json_t *content);

#endif
