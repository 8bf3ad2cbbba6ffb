/* SPDX-License-Identifier: Apache-2.0 */
/* The runner's socket, as core/tools/sandbox_client.h describes it. */
#ifndef TT_RUNNER_SERVICE_H
#define TT_RUNNER_SERVICE_H

#include "runner/sandbox.h"

struct service;

/* A listening socket at path: mode 0660, a dead socket is replaced, a live one is not. */
int service_bind(const char *path, struct err *e);

/* Takes listen_fd over. path: removed at the end, where that is allowed; NULL: it is not ours. most: sandboxes
 * at once; beyond them a run is told that all are busy. */
struct service *service_new(struct event_base *base, const char *path, int listen_fd,
                            const struct sandbox_limits *limits, size_t most, struct err *e);
void service_free(struct service *s); /* ends what runs */

#endif
