/* Publishing the status file. tt-agentd only. */
#ifndef TT_STATUS_WRITER_H
#define TT_STATUS_WRITER_H

#include "core/status/view.h"

struct status_writer;

/* Takes the run directory over: an exclusive lock (`<dir>/lock`, kept while the
 * writer lives); where another process holds it the error names its pid. */
struct status_writer *status_writer_open(const char *dir, struct err *e);

/* Writes a whole new file, renames it into place, marks the old one superseded.
 * v->generation is set by the writer (last published + 1, over restarts too). */
int status_publish(struct status_writer *w, struct status_view *v, struct err *e);

/* A sign of life; cheap, once a second. */
void status_heartbeat(struct status_writer *w);

/* The published file stays for readers and for the next daemon. */
void status_writer_close(struct status_writer *w);

#endif
