/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing the status file. tt-agentd only; one thread. */
#ifndef TT_STATUS_WRITER_H
#define TT_STATUS_WRITER_H

#include "core/status/view.h"

#include <stdbool.h>
#include <stdint.h>

struct status_writer;

/* Takes the run directory over: an exclusive lock (`<dir>/lock`, kept while the
 * writer lives, gone with the process however it ends); where another process holds it
 * the error names its pid. A status file that is there already stays in force until
 * the first publication; its generation is counted on. A damaged one is logged. */
struct status_writer *status_writer_open(const char *dir, struct err *e);

/* Writes a whole new file, renames it into place, marks the old one superseded. Sets
 * v->generation (last published + 1, over restarts too). On an error the old file
 * stays in force and nothing of the new one is left. */
int status_publish(struct status_writer *w, struct status_view *v, struct err *e);

/* Generation of the last publication, by this writer or the one before; 0 = none. */
uint64_t status_writer_generation(const struct status_writer *w);

/* A sign of life; cheap, once a second. false: the file at the path is not the one that
 * was published (deleted, cut, replaced by somebody); publish again. */
bool status_heartbeat(struct status_writer *w);

/* The published file stays for readers and for the next daemon. NULL is fine. */
void status_writer_close(struct status_writer *w);

#endif
