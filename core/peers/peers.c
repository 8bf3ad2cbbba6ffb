/* SPDX-License-Identifier: Apache-2.0 */
#include "core/peers/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT_MAX   1000u
#define MESSAGE_MAX 65536u

static bool is_redis(const char *url)
{
	return url != NULL && strncmp(url, "redis", 5) == 0;
}

const char *peers_redis(const struct config *c)
{
	const char *url = cfg_str(c, CFG_HOSTS_REDIS), *store = cfg_str(c, CFG_THREADS_STORE);

	if (url == NULL)
		url = store;
	return is_redis(url) ? url : NULL;
}

json_t *peers_message(const char *text, size_t len, int64_t *at_ms)
{
	const char *begin = len <= MESSAGE_MAX ? strchr(text, ' ') : NULL;
	json_t *m = begin != NULL ? json_loads(begin, 0, NULL) : NULL;

	if (at_ms != NULL)
		*at_ms = strtoll(text, NULL, 10);
	if (m != NULL && !json_is_object(m)) {
		json_decref(m);
		m = NULL;
	}
	return m;
}

void peers_name(const struct config *c, char out[PEERS_NAME_MAX + 1])
{
	const char *name = cfg_str(c, CFG_HOSTS_NAME);

	memset(out, 0, PEERS_NAME_MAX + 1);
	if (name != NULL)
		snprintf(out, PEERS_NAME_MAX + 1, "%s", name);
	else if (gethostname(out, PEERS_NAME_MAX) != 0 || *out == '\0')
		snprintf(out, PEERS_NAME_MAX + 1, "%s", "unnamed");
}

unsigned peers_count(unsigned configured, const char *run_dir)
{
	size_t count = configured;
	char path[4200];
	json_t *seen;

	if (count == 0) {
		snprintf(path, sizeof path, "%s/" PEERS_FILE, run_dir);
		seen = json_load_file(path, 0, NULL);
		count = json_array_size(seen);
		json_decref(seen);
	}
	return count == 0 ? 1 : count < COUNT_MAX ? (unsigned)count : COUNT_MAX;
}
