/* SPDX-License-Identifier: Apache-2.0 */
/* A redis-server of the test's own, on a Unix socket. */
#ifndef TT_TESTS_REDIS_SERVER_H
#define TT_TESTS_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
	char directory[64], url[128];
	pid_t pid;
};

/* Whether there is one on this machine. */
bool redis_server_exists(void);

/* arguments: further ones, NULL at the end; may be NULL. Ends with the test. */
void redis_server_start(struct redis_server *s, const char *const *arguments);
void redis_server_restart(struct redis_server *s); /* after redis_server_kill; without its data */
void redis_server_kill(struct redis_server *s);
void redis_server_remove(struct redis_server *s); /* kills it, too */

#endif
