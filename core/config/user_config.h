/* SPDX-License-Identifier: Apache-2.0 */
/* TT-Studio's own file of user secrets:
 * <INTERNAL_PERSISTENT_STORAGE_VOLUME>/backend_volume/user_config.env (KEY=VALUE
 * lines, quotes allowed), or the legacy user_config.json beside it
 * ({"tavily_api_key": ...}). It overrides the environment. */
#ifndef TT_CONFIG_USER_CONFIG_H
#define TT_CONFIG_USER_CONFIG_H

#include "core/base/buf.h"

#include <stdbool.h>

struct user_config {
	char *tavily_api_key; /* NULL: missing, empty, or the placeholder */
	char *jwt_secret;
	char *path; /* the file that was used, or NULL */
};

/* Reads the file. A missing or unreadable one, or one whose secrets everybody can read,
 * gives a line in warnings and no values, never an error. Blocking, small. */
void user_config_read(const char *volume, struct user_config *out, struct buf *warnings);
void user_config_free(struct user_config *u);

/* Whether value is the placeholder that TT-Studio writes when the user gave no Tavily key: it
 * counts as empty, so that the key of another source is used. */
bool user_config_is_placeholder(const char *value);

/* The directory to watch for changes (the file is renamed into place); free(). */
char *user_config_directory(const char *volume);

#endif
