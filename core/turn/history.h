/* SPDX-License-Identifier: Apache-2.0 */
/* What a turn stores in its thread. Pure. */
#ifndef TT_TURN_HISTORY_H
#define TT_TURN_HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Finishes a turn's messages (the user's first, then calls and results of tools) with its
 * answer and makes them fit to be stored: images become a word, a call whose result never
 * came is left out, an answer that broke off is marked ("interrupted":true). A new
 * reference to messages; NULL: nothing worth keeping, or no memory. */
json_t *history_messages(json_t *messages, const char *answer, size_t len, bool interrupted);

/* Adds the answer to messages that end with the user's, or with results of tools. -1: no memory. */
int history_add_answer(json_t *messages, const char *answer, size_t len, bool interrupted);

/* Of a client that sends only what is new: its messages as they are stored, and those of tools from `from` on. A new
 * reference; NULL: no memory. */
json_t *history_new_messages(const json_t *stored, const json_t *messages, size_t from);

/* The turns that lead to the answer of this id, or all of them (NULL), in their order, as another array. *found: false
 * where that answer is not among them. Calls and the results that came with the next request are one turn: neither is
 * ever sent without the other. What came before a turn that was deleted is left out. NULL: no memory. */
json_t *history_chain(const json_t *turns, const char *id, bool *found);

/* What goes before the messages of a request whatever else is left out: texts for the system, which come in its first
 * message, and the calls that its first messages are the results of. Both are taken out of turns. -1: no memory. */
int history_lead(json_t *turns, json_t *messages);

#endif
