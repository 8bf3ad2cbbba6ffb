/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a turn so far: what its LLMs wrote goes through the filter to the emitter,
 * is kept for the history, and is counted for the statistics. Pure but for the clock. */
#ifndef TT_TURN_ANSWER_H
#define TT_TURN_ANSWER_H

#include "core/protocol/emitter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct answer;

struct answer_handlers {
	emitter_write_fn *write;                                          /* to the client */
	void (*call)(void *arg, const char *name, const char *arguments); /* a call leaked as text */
	bool (*is_tool)(void *arg, const char *name, size_t len);
};

struct answer *answer_new(const struct answer_handlers *handlers, void *arg); /* NULL: no memory */
void answer_free(struct answer *a);

/* A new ask begins: the text of the one before is forgotten (what was shown stays shown).
 * Where that one failed while it reasoned, the panel says so before any further reasoning. */
void answer_begin(struct answer *a);

/* Another LLM goes on with the text so far, which is kept. */
void answer_go_on(struct answer *a);

/* What the LLM writes: content as it comes, and reasoning that it told apart. Content before
 * a </think> that nothing opened was reasoning: it leaves the text. */
void answer_content(struct answer *a, const char *bytes, size_t len);
void answer_reasoning(struct answer *a, const char *bytes, size_t len);

/* The ask has ended: what was held back comes. counted: the server's tokens, -1 = it sent
 * no count (its pieces count then, as where the number is out of reason). whole: it did
 * not fail; else a call that was being written as text is dropped. */
void answer_end_ask(struct answer *a, int64_t counted, bool whole);

/* The text of this ask that the client was shown and that is an answer. */
const char *answer_text(const struct answer *a, size_t *len);
/* The same without blanks at its end: what another LLM is given to go on with. Chat
 * templates drop them too, so they are not expected twice. */
const char *answer_started(const struct answer *a, size_t *len);
bool answer_is_shown(const struct answer *a); /* any of it */

struct emitter *answer_emitter(struct answer *a); /* for sentences, searches and sources */

struct answer_figures {
	int64_t tokens, ttft_ns, tpot_ns, total_ns; /* -1: there is none */
};
void answer_figures(const struct answer *a, struct answer_figures *out);

/* Its text is whole; only the statistics will follow. */
void answer_close(struct answer *a);

/* Writes the statistics; the last call but answer_free. */
void answer_finish(struct answer *a);

#endif
