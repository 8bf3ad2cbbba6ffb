/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/request_id.h"

#include "core/base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

void request_ids_init(struct request_ids *ids)
{
	*ids = (struct request_ids){.random = 0};
	if (getrandom(&ids->random, sizeof ids->random, 0) != sizeof ids->random)
		ids->random = (uint64_t)clock_wall_ms() << 20 ^ (uint64_t)getpid();
}

static bool is_sane(const char *id)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:~+/=@";
	size_t len = strspn(id, allowed);

	return len > 0 && len <= REQUEST_ID_MAX && id[len] == '\0';
}

static char *put_hex(char *to, uint64_t n)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		*to++ = "0123456789abcdef"[n >> shift & 15];
	return to;
}

void request_id_choose(struct request_ids *ids, const char *from_client, char out[REQUEST_ID_MAX + 1])
{
	if (from_client != NULL && is_sane(from_client)) {
		memcpy(out, from_client, strlen(from_client) + 1);
		return;
	}
	*put_hex(put_hex(out, ids->random), ++ids->count) = '\0';
}
