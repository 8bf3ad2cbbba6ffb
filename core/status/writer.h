/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing the status file. tt-agentd only; one thread. */
#ifndef TT_STATUS_WRITER_H
#define TT_STATUS_WRITER_H

#include "core/status/view.h"

#include <stdbool.h>
#include <stdint.h>

struct status_writer;

/* Takes over the run directory with an exclusive lock (`<dir>/lock`, held while the
 * writer lives, and released with the process however it ends); if another process holds
 * it, the error names its pid. An existing status file stays valid until the first
 * publication, which continues its generation. A damaged one is logged. */
struct status_writer *status_writer_open(const char *dir, struct err *e);

/* Writes a complete new file, renames it into place, marks the old one superseded. Sets
 * v->generation (last published + 1, also over restarts). On an error the old file
 * stays valid and nothing of the new one is left. */
int status_publish(struct status_writer *w, struct status_view *v, struct err *e);

/* Generation of the last publication, by this writer or the one before; 0 = none. */
uint64_t status_writer_generation(const struct status_writer *w);

/* A heartbeat; cheap, once a second. false: the file at the path is not the published one
 * (somebody deleted, truncated or replaced it): publish again. */
bool status_heartbeat(struct status_writer *w);

/* The published file stays for readers and for the next daemon. NULL is fine. */
void status_writer_close(struct status_writer *w);

#endif
