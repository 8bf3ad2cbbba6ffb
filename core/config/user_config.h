/* TT-Studio's own file of user secrets:
 * <INTERNAL_PERSISTENT_STORAGE_VOLUME>/backend_volume/user_config.env (KEY=VALUE
 * lines, quotes allowed), else the legacy user_config.json beside it
 * ({"tavily_api_key": ...}). It counts before the environment. */
#ifndef TT_CONFIG_USER_CONFIG_H
#define TT_CONFIG_USER_CONFIG_H

#include "core/base/buf.h"

struct user_config {
	char *tavily_api_key; /* NULL: not there, or the word that means none */
	char *jwt_secret;
	char *path; /* the file that was used, or NULL */
};

/* Reads what is there. A missing or unreadable file, or one with secrets that
 * everybody can read, is a line in warnings and no values, never an error. Blocking, small. */
void user_config_read(const char *volume, struct user_config *out, struct buf *warnings);
void user_config_free(struct user_config *u);

/* The folder to watch for changes (the file is renamed into place); free(). */
char *user_config_folder(const char *volume);

#endif
