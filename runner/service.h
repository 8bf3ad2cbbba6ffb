/* SPDX-License-Identifier: Apache-2.0 */
/* The runner's socket, with the protocol that core/tools/sandbox_client.h describes. */
#ifndef TT_RUNNER_SERVICE_H
#define TT_RUNNER_SERVICE_H

#include "runner/sandbox.h"

struct service;

/* A listening socket at path: mode 0660, a dead socket is replaced, a live one is not. */
int service_bind(const char *path, struct err *e);

/* Takes listen_fd over. path: removed at the end, where that is allowed; NULL: it is not ours.
 * most: sandboxes at once; beyond them a run is answered with the error Busy. */
struct service *service_new(struct event_base *base, struct groups *groups, const char *path, int listen_fd,
                            const struct sandbox_limits *limits, size_t most, struct err *e);
void service_free(struct service *s); /* ends what runs */

/* What code prints, as text: bytes in any pieces become whole characters. What is not UTF-8,
 * and NUL, becomes '?'. Pure; here for its fuzzer. */
struct service_text {
	char rest[3]; /* the beginning of a character whose end has not come */
	size_t len;
};

/* The text of the next bytes; of what is left where len is 0, at the end. free(). "" if there
 * is none yet; NULL: no memory, these bytes are lost. */
char *service_text_next(struct service_text *t, const char *bytes, size_t len);

#endif
