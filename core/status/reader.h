/* Reading the status file: no lock and, while nothing changed, no system call.
 *
 * A reader belongs to one thread. Snapshots are reference-counted by it: take one
 * for the time of a turn. Everything in a snapshot was validated when it was mapped
 * (offsets, counts, terminators, enums), so it is used in place. */
#ifndef TT_STATUS_READER_H
#define TT_STATUS_READER_H

#include "core/base/err.h"
#include "core/status/layout.h"

#include <stdbool.h>
#include <stddef.h>

struct status_reader;
struct status_snapshot;

struct status_reader *status_reader_new(const char *dir, struct err *e);
void status_reader_free(struct status_reader *r);

/* The current snapshot with a reference for the caller, or NULL where none was ever
 * readable. One atomic load while it is not superseded; status_reader_check (once a
 * second) finds replacements that nobody marked. */
struct status_snapshot *status_acquire(struct status_reader *r);
void status_release(struct status_snapshot *s);

/* To call once a second: compares the path's inode, looks at the heartbeat, logs a
 * damaged or foreign file once. Returns true when the snapshot changed. */
bool status_reader_check(struct status_reader *r);

/* Stale: the writer gives no sign of life (for 5 s), or the file at the path is
 * missing, damaged, foreign or unreadable while an older one is in force. */
bool status_is_stale(const struct status_reader *r, int64_t *since_wall_ms, const char **reason);

const struct status_header *status_header(const struct status_snapshot *s);
const struct status_llm *status_llm(const struct status_snapshot *s, size_t i);
const struct status_llm *status_candidate(const struct status_snapshot *s, size_t rank);

/* NULL for offset 0. */
const char *status_text(const struct status_snapshot *s, struct status_text t);

/* Validates a mapped file of size bytes; what the reader and the fuzzer call. */
int status_validate(const void *map, size_t size, struct err *e);

/* Rebuilds values from a snapshot, for a daemon that adopts what was published.
 * out has status_header()->llm_count items after it. */
struct llm;
int status_copy_llm(const struct status_snapshot *s, size_t i, struct llm *out);

#endif
