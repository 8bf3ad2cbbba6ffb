/* SPDX-License-Identifier: Apache-2.0 */
/* Names of requests: the client's own where it sent a sane one, else one of ours. */
#ifndef TT_FCGI_REQUEST_ID_H
#define TT_FCGI_REQUEST_ID_H

#include <stdint.h>

#define REQUEST_ID_MAX 128

/* Ours are unlike those of any other worker and never repeat: 64 random bits and a count. */
struct request_ids {
	uint64_t random, count;
};
void request_ids_init(struct request_ids *ids);

/* from_client may be NULL. Ids go into headers and log lines, so only letters, digits and
 * -_.:~+/=@ pass, 1 to REQUEST_ID_MAX of them. */
void request_id_choose(struct request_ids *ids, const char *from_client, char out[REQUEST_ID_MAX + 1]);

#endif
