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

#endif
