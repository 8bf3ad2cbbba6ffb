/* SPDX-License-Identifier: Apache-2.0 */
/* IP addresses and networks as people write them: "10.0.0.0/8", "::1". An IPv4 address and the same one
 * mapped to IPv6 are equal. Pure. */
#ifndef TT_BASE_NETWORK_H
#define TT_BASE_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>

struct network {
	struct in6_addr address; /* IPv4 mapped to IPv6 */
	unsigned bits;           /* that count; 128: one address */
};

/* false: text is neither an address nor a network. */
bool network_parse(const char *text, struct network *n);

/* Whether address, in text, belongs to it. What is not an address belongs to none. */
bool network_contains(const struct network *n, const char *address);

#endif
