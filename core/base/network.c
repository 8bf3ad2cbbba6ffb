/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/network.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* Returns how many bits of out precede the address itself; -1: it is none. */
static int parse_address(const char *text, struct in6_addr *out)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct in_addr v4;

	if (inet_pton(AF_INET6, text, out) == 1)
		return 0;
	if (inet_pton(AF_INET, text, &v4) != 1)
		return -1;
	memcpy(out->s6_addr, mapped, sizeof mapped);
	memcpy(out->s6_addr + sizeof mapped, &v4, sizeof v4);
	return 8 * (int)sizeof mapped;
}

bool network_parse(const char *text, struct network *n)
{
	const char *slash = strchr(text, '/'), *digits;
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char address[INET6_ADDRSTRLEN];
	unsigned long bits;
	int before;

	if (len >= sizeof address)
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	before = parse_address(address, &n->address);
	if (before < 0)
		return false;
	n->bits = 128;
	if (slash == NULL)
		return true;
	digits = slash + 1;
	len = strspn(digits, "0123456789");
	if (len == 0 || len > 3 || digits[len] != '\0')
		return false;
	bits = strtoul(digits, NULL, 10) + (unsigned long)before;
	n->bits = (unsigned)bits;
	return bits <= 128;
}

bool network_contains(const struct network *n, const char *address)
{
	unsigned bytes = n->bits / 8, rest = n->bits % 8;
	struct in6_addr a;

	if (parse_address(address, &a) < 0 || memcmp(&a, &n->address, bytes) != 0)
		return false;
	return rest == 0 || ((a.s6_addr[bytes] ^ n->address.s6_addr[bytes]) >> (8 - rest)) == 0;
}
