/* SPDX-License-Identifier: Apache-2.0 */
/* From a whole request to its endpoint. */
#ifndef TT_FCGI_DISPATCH_H
#define TT_FCGI_DISPATCH_H

#include "fcgi/connection.h"

#include <stdint.h>

struct worker;

void dispatch_request(struct worker *w, struct connection *c);

/* Whether the web server says, and may say, that the client is an admin. */
bool dispatch_is_admin(const struct connection *c);

/* Generates request ids that differ from those of any other worker and never repeat. */
struct dispatch_ids {
	uint64_t random, count;
};
void dispatch_ids_init(struct dispatch_ids *ids);

/* The client's own id if it is acceptable, else a generated one. Ids go into headers and log lines,
 * so only letters, digits and -_.:~+/=@ are accepted, at most CONNECTION_ID_MAX of them.
 * from_client may be NULL. */
void dispatch_choose_id(struct dispatch_ids *ids, const char *from_client, char out[CONNECTION_ID_MAX + 1]);

#endif
