/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the status file: no lock and, while nothing changed, no system call.
 *
 * A reader belongs to one thread. Its snapshot is a private copy of the file, made and
 * validated once (offsets, counts, terminators, enums) and then used in place: whatever
 * happens to the file afterwards, a person who cuts it included, harms nobody. Only
 * the page with the two words that change is mapped. Snapshots are reference-counted:
 * take one for the time of a turn. */
#ifndef TT_STATUS_READER_H
#define TT_STATUS_READER_H

#include "core/base/err.h"
#include "core/status/layout.h"

#include <stdbool.h>
#include <stddef.h>

struct status_reader;
struct status_snapshot;

/* Looks at the file at once; a missing or unreadable one is no error here (it is shown
 * by status_is_stale). NULL with e: no memory. */
struct status_reader *status_reader_new(const char *dir, struct err *e);
void status_reader_free(struct status_reader *r); /* snapshots taken stay valid; NULL is fine */

/* The current snapshot with a reference for the caller, or NULL where none was ever
 * readable. One atomic load while it is not superseded; a superseded one is replaced
 * before it returns, so that whoever learned of a publication also sees it. Where the
 * file at the path can't be used, the last good one stays in force and the file is tried
 * again every 20 ms. */
struct status_snapshot *status_acquire(struct status_reader *r);
void status_release(struct status_snapshot *s); /* NULL is fine */

/* To call once a second: finds replacements that nobody marked (the writer was killed
 * in between), looks at the heartbeat, logs a missing, damaged or foreign file once.
 * Returns true when the snapshot is another one than at the call before. */
bool status_reader_check(struct status_reader *r);

/* Stale: the writer gives no sign of life (for 5 s, or since the last boot), or the
 * file at the path is missing, damaged, foreign or unreadable; as status_reader_check
 * or status_acquire last found it. since and reason (until the reader is next used)
 * are set only when it is; either may be NULL. True also where there never was a file. */
bool status_is_stale(const struct status_reader *r, int64_t *since_wall_ms, const char **reason);

/* superseded and heartbeat_ms are as they were when the copy was made. */
const struct status_header *status_header(const struct status_snapshot *s);
/* NULL beyond the last one. */
const struct status_llm *status_llm(const struct status_snapshot *s, size_t i);
const struct status_llm *status_candidate(const struct status_snapshot *s, size_t rank);

/* Terminated by a NUL; NULL for offset 0. Lives as long as the snapshot. */
const char *status_text(const struct status_snapshot *s, struct status_text t);

/* Validates a file of size bytes in memory (aligned to 8); what the reader and the
 * fuzzer call. The errors continue "<path>: ". */
int status_validate(const void *map, size_t size, struct err *e);

/* Rebuilds LLM i (below llm_count) from a snapshot, for a daemon that adopts what was
 * published; all but jwt_secret, which is not in the file (the token made from it is).
 * llm_clear(out) when done. -1: no memory, out is clear. */
struct llm;
int status_copy_llm(const struct status_snapshot *s, size_t i, struct llm *out);

#endif
