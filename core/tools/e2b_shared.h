/* SPDX-License-Identifier: Apache-2.0 */
/* Which sandbox a conversation has, shared by all workers of one service, because its turns
 * reach any of them: a small file each, in a directory below the run directory that only the
 * service's own user may read. Its time of modification is when the sandbox was last used.
 *
 * If the directory cannot be used, each worker has sandboxes of its own. */
#ifndef TT_TOOLS_E2B_SHARED_H
#define TT_TOOLS_E2B_SHARED_H

#include "core/tools/e2b_api.h"

struct e2b_shared;

/* dir: the run directory, NULL: nothing is shared. NULL: no memory. Files that were not
 * used for a day are removed. */
struct e2b_shared *e2b_shared_new(const char *dir);
void e2b_shared_free(struct e2b_shared *s); /* NULL is fine */

/* The conversation's sandbox; *age_ms: since it was last used. -1: there is none. */
int e2b_shared_read(const struct e2b_shared *s, const char *thread, struct e2b_handle *out, int64_t *age_ms);
void e2b_shared_write(const struct e2b_shared *s, const char *thread, const struct e2b_handle *handle);
void e2b_shared_touch(const struct e2b_shared *s, const char *thread); /* it is in use now */
void e2b_shared_remove(const struct e2b_shared *s, const char *thread);

#endif
