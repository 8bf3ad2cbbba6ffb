/* Asks LLMs for one token at a low rate, where no chat turn shows that they work: a model
 * that hangs often answers /health, and never a completion. */
#ifndef TT_DAEMON_COMPLETION_H
#define TT_DAEMON_COMPLETION_H

#include "core/daemon/services.h"
#include "core/llm/verdict.h"

struct completion;

/* The LLM at index answered, or failed to (r->real is set; PROBE_UNAUTHORIZED: its token
 * was refused). Answers that prove nothing (4xx) are not told. */
typedef void completion_done_fn(void *arg, size_t index, const struct probe_result *r);

struct completion *completion_new(struct services *s, completion_done_fn *done, void *arg);
void completion_free(struct completion *c); /* before the http it uses; NULL is fine */

/* Health, configuration or what it served changed: plans anew where none runs. */
void completion_plan(struct completion *c, size_t index);
void completion_replan(struct completion *c); /* all of them */

/* Asks the LLM at index within so many milliseconds, where completions are wanted. */
void completion_soon(struct completion *c, size_t index, int64_t within_ms);

#endif
