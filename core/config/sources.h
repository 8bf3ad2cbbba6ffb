/* SPDX-License-Identifier: Apache-2.0 */
/* The sources of a configuration, applied one after the other; only for core/config. */
#ifndef TT_CONFIG_SOURCES_H
#define TT_CONFIG_SOURCES_H

#include "core/config/user_config.h"
#include "core/config/value.h"

#include <stdatomic.h>

/* The keys that TT-Studio's user_config.env can set. */
#define USER_KEYS 2

struct config {
	_Atomic unsigned refs;
	struct value values[CFG_KEYS];
	/* The values that user_config.env overrides, so that its next version can be applied
	 * without reading the other sources again. */
	struct value overridden[USER_KEYS];
	json_t *mcp; /* NULL: nothing is known */
};

struct config *config_new(struct err *e); /* all defaults */
struct config *config_copy(const struct config *c, struct err *e);

/* Moves v into c; origin is copied. -1: out of memory, v is released. */
int config_put(struct config *c, enum cfg_key k, struct value *v, const char *origin);

/* Adds "<where>: <what>" to the report. Never fails: a line that does not fit is lost, but
 * the report is never empty then. */
void report_line(struct buf *lines, const char *where, const char *what);

/* The warning for a setting under an earlier name, in out. */
#define RENAMED_MAX 256
const char *config_renamed_text(const char *former, enum cfg_key k, char out[RENAMED_MAX]);

/* Each applies the valid settings of a source and reports everything that is wrong. */
void config_apply_file(struct config *c, const char *path, struct config_report *r);
void config_apply_environment(struct config *c, char *const *environment, struct config_report *r);
void config_apply_sets(struct config *c, const char *const *sets, size_t count, struct config_report *r);
/* Translates settings of an old form. */
void config_apply_old_settings(struct config *c, struct config_report *r);

/* Warns of what is allowed but probably a mistake. */
void config_advise(const struct config *c, struct buf *warnings);

#endif
