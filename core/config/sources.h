/* SPDX-License-Identifier: Apache-2.0 */
/* How the layers of a configuration are laid over each other; inside core/config. */
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
	/* What the user's file hides, so that its next version can be laid over the
	 * same ground without reading everything again. */
	struct value hidden[USER_KEYS];
};

struct config *config_new(struct err *e); /* all defaults */
struct config *config_copy(const struct config *c, struct err *e);

/* Takes v, replacing what was there; origin is copied. On -1 (memory) v is released. */
int config_put(struct config *c, enum cfg_key k, struct value *v, const char *origin);

/* A line in the report: "<where>: <what>". Never fails: what does not fit is lost, but
 * something always stands there. */
void report_line(struct buf *lines, const char *where, const char *what);

/* The layers. Each puts what is right and reports everything that is wrong. */
void source_file(struct config *c, const char *path, struct config_report *r);
void source_environment(struct config *c, char *const *environment, struct config_report *r);
void source_sets(struct config *c, const char *const *sets, size_t count, struct config_report *r);
/* Over the values that no --set has made. */
void source_user_config(struct config *c, const struct user_config *u, struct config_report *r);

/* Translates settings of an old form. */
void source_old_settings(struct config *c, struct config_report *r);

/* What is allowed but probably not meant. */
void config_advise(const struct config *c, struct buf *warnings);

#endif
