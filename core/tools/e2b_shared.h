/* SPDX-License-Identifier: Apache-2.0 */
/* Which sandbox a conversation has, for all workers of one service: its turns come to any
 * of them. A small file for each, in a folder of the run directory that only the service's
 * own user may read; when it was last used is its time of modification.
 *
 * Where the folder cannot be used, each worker has sandboxes of its own. */
#ifndef TT_TOOLS_E2B_SHARED_H
#define TT_TOOLS_E2B_SHARED_H

#include "core/tools/e2b_api.h"

struct e2b_shared;

/* dir: the run directory, NULL: nothing is shared. NULL: no memory. Files that were not
 * used for a day are removed. */
struct e2b_shared *e2b_shared_new(const char *dir);
void e2b_shared_free(struct e2b_shared *s); /* NULL is fine */

/* The conversation's sandbox; *age_ms: since it was last used. -1: there is none. */
int e2b_shared_read(const struct e2b_shared *s, const char *thread, struct e2b_place *out, int64_t *age_ms);
void e2b_shared_write(const struct e2b_shared *s, const char *thread, const struct e2b_place *place);
void e2b_shared_touch(const struct e2b_shared *s, const char *thread); /* it was used now */
void e2b_shared_remove(const struct e2b_shared *s, const char *thread);

#endif
