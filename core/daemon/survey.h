/* One look at everything: the backend is asked and every LLM that can be probed is
 * probed, all in parallel. What start, polling and /refresh have in common. */
#ifndef TT_DAEMON_SURVEY_H
#define TT_DAEMON_SURVEY_H

#include "core/daemon/discovery.h"
#include "core/daemon/monitor.h"
#include "core/daemon/services.h"

struct survey;

typedef void survey_done_fn(void *arg);

struct survey *survey_new(struct services *s, struct discovery *d, struct monitor *m, survey_done_fn *done, void *arg);
void survey_free(struct survey *v); /* NULL is fine */

/* Begins one; one that runs begins anew (probes that are on their way count). Its end is
 * told through done, never from within survey_start. */
void survey_start(struct survey *v);
bool survey_running(const struct survey *v);

/* The registry was merged with the backend's answer, or it gave none (answered), or
 * with the configuration: what is new is awaited as well. */
void survey_merged(struct survey *v, bool answered);

/* The LLM at index has its verdict and all that it was held back for. */
void survey_settled(struct survey *v, size_t index);

#endif
