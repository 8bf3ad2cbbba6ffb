/* SPDX-License-Identifier: Apache-2.0 */
/* What a URL of Redis says. Pure. */
#ifndef TT_REDIS_REDIS_URL_H
#define TT_REDIS_REDIS_URL_H

#include "core/redis/redis.h"

enum redis_topology { REDIS_SINGLE, REDIS_SENTINEL, REDIS_CLUSTER };

struct redis_address {
	char *host;    /* without brackets, or the path of a Unix socket */
	uint16_t port; /* 0: a Unix socket */
};

#define REDIS_ADDRESSES_MAX 32

struct redis_url {
	enum redis_topology topology;
	bool tls;
	char *user, *password; /* NULL: none */
	char *sentinel_username, *sentinel_password;
	char *group; /* of Sentinel */
	int64_t database;
	struct redis_address addresses[REDIS_ADDRESSES_MAX];
	size_t count;
};

/* -1 with e, and nothing to be freed. */
int redis_url_parse(const char *text, struct redis_url *u, struct err *e);
void redis_url_clear(struct redis_url *u);

#endif
