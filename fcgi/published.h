/* SPDX-License-Identifier: Apache-2.0 */
/* What tt-agentd published: the status file, and the configuration that it names. One
 * thread. */
#ifndef TT_FCGI_PUBLISHED_H
#define TT_FCGI_PUBLISHED_H

#include "core/config/config.h"
#include "core/status/reader.h"

struct published;

/* Called when another configuration is in force; never during such a call. */
typedef void published_fn(void *arg, const struct config *c);

/* quiet: another process logs whether what is published is missing, stale or fresh. */
struct published *published_new(const char *run_dir, bool quiet, published_fn *changed, void *arg, struct err *e);
void published_free(struct published *p);

const char *published_run_dir(const struct published *p);

/* A reference to the snapshot in force, for status_release; NULL: none was ever published. */
struct status_snapshot *published_acquire(struct published *p);

/* Borrowed until the loop runs again; NULL: none yet. */
struct config *published_config(struct published *p);

/* What GET / and GET /status answer before anything was ever published; rendered once. NULL: no
 * memory. */
enum published_document { PUBLISHED_ROOT, PUBLISHED_STATUS, PUBLISHED_DOCUMENTS };
const char *published_initializing(struct published *p, enum published_document d, size_t *len);

bool published_is_stale(const struct published *p, int64_t *since_wall_ms, const char **reason);

/* Call it once a second. */
void published_check(struct published *p);

#endif
