/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the status file: no lock and, while nothing changes, no system call.
 *
 * A reader belongs to one thread. Its snapshot is a private copy of the file, checked once
 * (offsets, counts, terminators, enums) and then used in place, so that later changes of the
 * file, even truncation by a person, do no harm. Only the page with the two words that
 * change is mapped. Snapshots are reference-counted: take one for the duration of a turn. */
#ifndef TT_STATUS_READER_H
#define TT_STATUS_READER_H

#include "core/base/err.h"
#include "core/status/layout.h"

#include <stdbool.h>
#include <stddef.h>

struct status_reader;
struct status_snapshot;

/* Reads the file at once; a missing or unreadable one is not an error here (status_is_stale
 * reports it). NULL with e: out of memory. */
struct status_reader *status_reader_new(const char *dir, struct err *e);
void status_reader_free(struct status_reader *r); /* snapshots taken stay valid; NULL is fine */

/* Of processes that read the same file, one is enough to log that it is missing, stale or fresh: this
 * reader logs none of it from now on. */
void status_reader_be_quiet(struct status_reader *r);

/* The current snapshot with a reference for the caller, or NULL if no file was ever
 * readable. One atomic load while it is not superseded; a superseded one is replaced
 * before the call returns, so that a caller who knows of a publication also sees it. If the
 * file at the path cannot be used, the last good one stays in use and the file is read
 * again every 20 ms. */
struct status_snapshot *status_acquire(struct status_reader *r);
void status_release(struct status_snapshot *s); /* NULL is fine */

/* Call it once a second: it finds replacements that nobody marked (the writer was killed
 * in between), checks the heartbeat, and logs a missing, damaged or foreign file once.
 * True: the snapshot has changed since the last call. */
bool status_reader_check(struct status_reader *r);

/* Stale: the writer's heartbeat has stopped (for 5 s, or since the last boot), or the
 * file at the path is missing, damaged, foreign or unreadable, as status_reader_check
 * or status_acquire last found it. Only then since and reason (valid until the reader is
 * used again) are set; either may be NULL. True also if there never was a file. */
bool status_is_stale(const struct status_reader *r, int64_t *since_wall_ms, const char **reason);

/* superseded and heartbeat_ms are as they were when the copy was made. */
const struct status_header *status_header(const struct status_snapshot *s);
/* NULL: no such LLM or candidate. */
const struct status_llm *status_llm(const struct status_snapshot *s, size_t i);
const struct status_llm *status_candidate(const struct status_snapshot *s, size_t rank);

/* The name that people see: as llm_name. Valid as long as the snapshot. */
const char *status_llm_name(const struct status_snapshot *s, const struct status_llm *l);

/* Terminated by a NUL; NULL for offset 0. Valid as long as the snapshot. */
const char *status_text(const struct status_snapshot *s, struct status_text t);

/* Its name, as llm_name; "Unknown" if it has none. */
const char *status_llm_name(const struct status_snapshot *s, const struct status_llm *l);

/* Makes LLM i (below llm_count) from a snapshot, for a daemon that restores what was
 * published: everything but the fields that are not in the file, among them jwt_secret (the
 * token made from it is). llm_clear(out) when done. -1: out of memory, out is clear. */
struct llm;
int status_copy_llm(const struct status_snapshot *s, size_t i, struct llm *out);

#endif
