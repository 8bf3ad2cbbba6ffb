/* SPDX-License-Identifier: Apache-2.0 */
/* TT-Studio's own file of user secrets:
 * <INTERNAL_PERSISTENT_STORAGE_VOLUME>/backend_volume/user_config.env (KEY=VALUE
 * lines, quotes allowed), else the legacy user_config.json beside it
 * ({"tavily_api_key": ...}). It counts before the environment. */
#ifndef TT_CONFIG_USER_CONFIG_H
#define TT_CONFIG_USER_CONFIG_H

#include "core/base/buf.h"

#include <stdbool.h>

struct user_config {
	char *tavily_api_key; /* NULL: not there, empty, or no key */
	char *jwt_secret;
	char *path; /* the file that was used, or NULL */
};

/* Reads what is there. A missing or unreadable file, or one with secrets that
 * everybody can read, is a line in warnings and no values, never an error. Blocking, small. */
void user_config_read(const char *volume, struct user_config *out, struct buf *warnings);
void user_config_free(struct user_config *u);

/* Whether TT-Studio wrote value in place of a Tavily key that the user did not give: it
 * counts like an empty one, so that another source's key is used. */
bool user_config_is_no_key(const char *value);

/* The folder to watch for changes (the file is renamed into place); free(). */
char *user_config_folder(const char *volume);

#endif
