/* SPDX-License-Identifier: Apache-2.0 */
/* How much one worker takes on at once, by the descriptors that it may have: each connection
 * of the web server is one, and each chat turn one more, for its LLM. */
#ifndef TT_FCGI_CAPACITY_H
#define TT_FCGI_CAPACITY_H

#include <stddef.h>

size_t capacity_connections(void);

/* Fewer than connections, so that a turn that does not fit is told so, not left waiting. */
size_t capacity_turns(void);

#endif
