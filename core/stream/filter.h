/* SPDX-License-Identifier: Apache-2.0 */
/* What a model wrote as text, sorted: answer, reasoning, leaked tool calls. Pure.
 *
 * Fed with pieces cut anywhere, it delivers the same text whatever the cuts were, and
 * holds back no more than a possible beginning of a marker:
 *  - `<|python_tag|>`, the word python_tag in any split form, `<|eot_id|>`: dropped;
 *  - `<think>...</think>` in the content: reasoning; of a `</think>` that nothing opened
 *    (chat templates that put `<think>` into the prompt) it is said that it came;
 *  - a tool call leaked as text (the forms of Llama, Hermes, Qwen, Mistral, and JSON
 *    anywhere, bare or in a fence): a call, where its name is a known tool and it has
 *    parameters or arguments; else it is plain text and passes unharmed. */
#ifndef TT_STREAM_FILTER_H
#define TT_STREAM_FILTER_H

#include "core/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct filter_handlers {
	void (*text)(void *arg, const char *bytes, size_t len); /* of the answer */
	void (*reasoning)(void *arg, const char *bytes, size_t len);
	void (*call)(void *arg, const char *name, const char *arguments_json);
	bool (*is_tool)(void *arg, const char *name, size_t len); /* NULL: no tools */
	void (*unopened)(void *arg); /* </think> behind what was given as text; NULL: no matter */
};

struct filter;

struct filter *filter_new(const struct filter_handlers *handlers, void *arg); /* NULL: no memory */
void filter_reset(struct filter *f); /* for a new ask; forgets what it held back */
void filter_free(struct filter *f);

/* -1: no memory. Pieces without any marker's first byte pass without a copy. */
int filter_feed(struct filter *f, const char *bytes, size_t len);
int filter_end(struct filter *f);    /* delivers what was held back */
void filter_break(struct filter *f); /* the text broke off: the same, but for a call that is not whole */

#endif
