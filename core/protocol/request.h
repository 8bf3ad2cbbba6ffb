/* SPDX-License-Identifier: Apache-2.0 */
/* What a client requests, whatever the protocol. Pure. */
#ifndef TT_PROTOCOL_REQUEST_H
#define TT_PROTOCOL_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

struct chat_request {
	/* The message of a client that does not send the conversation before it. A string, or an array of OpenAI
	 * content parts (text, image_url). No text in it has a NUL, nor has thread_id: U+FFFD takes its place. */
	json_t *content;
	char *thread_id;
	const char *user_agent;  /* of its client; NULL: it sent none. Borrowed: valid until the reply is opened */
	bool thread_from_header; /* thread_id is of chat_request_name_thread */
	bool client_remembers;   /* it is for tools alone: nothing is loaded or stored */
	bool has_images;
	bool wants_code; /* which tools run, and what came out of it */

	/* Of a client that sends the whole conversation, else NULL. */
	json_t *messages;  /* an array of objects, as the LLM gets them */
	json_t *fields;    /* what else of its request is for the LLM; an object */
	char *model_asked; /* the model as the client calls it */
	char *model;       /* which LLMs may answer it, by the name of their model; NULL: any */
	bool plain;        /* the LLM gets nothing but that: no prompt, no tools of this service */

	/* Of a client whose messages are only what is new, else NULL: */
	json_t *stored;  /* these, as they are stored with the answer */
	char *previous;  /* the id of the answer that it goes on from; NULL: all that its thread has, or nothing */
	json_t *echo;    /* what the answer repeats of the request; an object */
	bool forgets;    /* nothing is stored */
	bool may_forget; /* the client has not said whether it is, and goes on from nothing */

	/* What only the LLM's server can answer, as no turn puts such an answer together: the body as it came; NULL: a
	 * turn can. */
	char *verbatim;
	size_t verbatim_len;
	json_t *beyond; /* the error where that is not possible either */
	/* How the client wants its answer. */
	bool streams, wants_usage, calls_functions, wants_reasoning;
	json_t *envelope; /* what its protocol needs to answer it; NULL: nothing */
};
void chat_request_clear(struct chat_request *r);

/* Whether a message of the assistant stands before the last one of the user. */
bool chat_request_has_history(const json_t *messages);

/* The conversation has this name, as a header of the request says; for a client that sends the conversation, or a
 * message, and has no thread_id for it yet. A name that is nothing but whitespace, or too long, or no text, is none. So
 * is any name of what chat pages request for themselves: titles, tags, suggestions. -1: no memory. */
#define CHAT_THREAD_ID_MAX 512u
int chat_request_name_thread(struct chat_request *r, const char *name);

/* The text parts of a content, joined by newlines; free(). NULL: no memory. */
char *chat_content_text(const json_t *content);

#endif
