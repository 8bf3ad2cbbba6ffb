/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of keys.def as data, for the files of core/config and for what explains settings. */
#ifndef TT_CONFIG_TABLE_H
#define TT_CONFIG_TABLE_H

#include "core/base/buf.h"
#include "core/config/config.h"

enum key_type { TYPE_BOOL, TYPE_INT, TYPE_REAL, TYPE_TIME, TYPE_SIZE, TYPE_STRING, TYPE_URL, TYPE_ENUM, TYPE_LIST };

enum key_flags {
	KEY_SECRET = 1,
	KEY_RESTART = 2,
	KEY_NO_EMPTY_LIST = 4,
	KEY_TEXT = 8,
	KEY_PATHS = 16,
	KEY_HEADER = 32,
	KEY_SCHEME = 64,
	KEY_OLD = 128,
	KEY_ADDRESS = 256,
	KEY_HOST = 512,
	KEY_NETWORKS = 1024,
	KEY_ORIGINS = 2048,
	KEY_PROXY = 4096,
	KEY_LOWER = 8192,
	KEY_JSON = 16384,
	KEY_HOSTS = 32768,
	KEY_SERVERS = 65536,
	KEY_TURNS = 131072,
};

struct key_row {
	struct cfg_key_info info;
	enum cfg_key key;
	const char *name; /* the path without its group */
	enum key_type type;
	double min, max;
	unsigned flags;
};

struct group_row {
	const char *name, *help;
};

const struct key_row *table_row(enum cfg_key k);

/* The groups in the table's order. */
size_t table_groups(void);
const struct group_row *table_group(size_t i);
bool table_has_group(const char *name);

enum table_match { TABLE_NONE, TABLE_FOUND, TABLE_RENAMED /* by an earlier name */ };
enum table_match table_find(const char *path, enum cfg_key *k);
const char *table_former_path(enum cfg_key k);        /* the earlier name of a setting; NULL: none */
int table_find_env(const char *env, enum cfg_key *k); /* -1: no such variable */

/* What a value of the key may be, as the end of "allowed: ...". */
void table_allowed(const struct key_row *row, char *out, size_t size);

/* Adds "; did you mean GROUP.NAME? " for a name that is none of the group's settings, or none of the groups
 * (NULL), or " (there is GROUP.NAME); " where the name is one of another group, or "; ". */
void table_suggest(const char *group, const char *name, struct buf *out);

/* Adds the names of the group's settings (of all groups if NULL), separated by ", ". */
void table_names(const char *group, struct buf *out);

#endif
