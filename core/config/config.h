/* SPDX-License-Identifier: Apache-2.0 */
/* The effective configuration: one immutable, reference-counted value.
 *
 * tt-agentd makes it from these sources, each of which overrides those before it: the
 * defaults of keys.def, a libconfig file (with @include), the environment, TT-Studio's
 * user_config.env (two secrets only), --set on the command line. It is published as
 * JSON, from which the responder and the admin tool make theirs. Only core/config knows
 * libconfig.
 *
 * A struct config never changes, so it may be read by any thread; references are
 * counted atomically. */
#ifndef TT_CONFIG_CONFIG_H
#define TT_CONFIG_CONFIG_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/log.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum cfg_key {
#define KEY(id, group, name, env, type, unit, min, max, def, flags, help) CFG_##id,
#include "core/config/keys.def"
	CFG_KEYS
};

struct config;

struct cfg_list {
	size_t count;
	char *const *items;
};

/* Typed access; a type other than the table's is a bug (assert). */
bool cfg_bool(const struct config *c, enum cfg_key k);
int64_t cfg_int(const struct config *c, enum cfg_key k); /* INT, SIZE */
int64_t cfg_ms(const struct config *c, enum cfg_key k);  /* TIME, in milliseconds */
double cfg_real(const struct config *c, enum cfg_key k);
/* STRING, URL, ENUM; NULL = unset. Never NULL where the table has a default, except for
 * prompts (KEY_TEXT), which may be set to nothing. An ENUM is spelled as in the table. */
const char *cfg_str(const struct config *c, enum cfg_key k);
const struct cfg_list *cfg_list(const struct config *c, enum cfg_key k);

/* log.level, with log.debug, and log.format, as the log takes them. */
enum log_level config_log_level(const struct config *c);
enum log_format config_log_format(const struct config *c);

/* Whether any source but the defaults set it. */
bool cfg_is_set(const struct config *c, enum cfg_key k);

/* Where the value came from: "default", "/etc/x.conf:12", "environment AGENT_X",
 * "command line", "/vol/backend_volume/user_config.env". Never NULL. */
const char *cfg_origin(const struct config *c, enum cfg_key k);

struct config *config_ref(struct config *c);
void config_unref(struct config *c);           /* NULL is fine */
bool config_is_shared(const struct config *c); /* there is more than one reference */

/* What loading found: every error and every warning, each one line that says
 * where, what, and what is allowed. */
struct config_report {
	struct buf errors;   /* lines, each ended by \n; empty = accepted */
	struct buf warnings; /* lines, each ended by \n */
};
void config_report_init(struct config_report *r);
void config_report_free(struct config_report *r);

/* The sources besides the defaults and user_config.env. */
struct config_source {
	const char *file;        /* NULL: no file */
	const char *const *sets; /* "path=value" or "ENV_NAME=value" */
	size_t set_count;
	char *const *environment; /* NULL-terminated "NAME=value", e.g. environ; NULL: none */
};

/* The effective configuration, or NULL with at least one error in r, which gets all
 * errors at once. Blocking file I/O: at start and on reload only. */
struct config *config_load(const struct config_source *src, struct config_report *r);

/* c with TT-Studio's user settings (auth.volume) read again, for when that file has
 * changed; nothing else is read. c must come from config_load. NULL with errors in r
 * when out of memory; problems of the file are warnings. Blocking, small. */
struct config *config_with_user_config(const struct config *c, struct config_report *r);

/* A copy of c in which the switch k (a BOOL) is off, with why as its origin. NULL with e when
 * out of memory. */
struct config *config_switched_off(const struct config *c, enum cfg_key k, const char *why, struct err *e);

/* A copy of c with what is known of the MCP servers (core/mcp/mcp_tools.h; NULL: nothing), which is published with
 * it. NULL with e when out of memory. */
struct config *config_with_mcp(const struct config *c, json_t *mcp, struct err *e);
const json_t *config_mcp(const struct config *c); /* borrowed */

/* The published form: an object path -> {"value":..., "origin":...}. Secrets are
 * in it (the file is 0600) where with_secrets, else null with "secret":true (and
 * "set":bool). A new reference; NULL when out of memory. */
json_t *config_to_json(const struct config *c, bool with_secrets);
struct config *config_from_json(const json_t *j, struct err *e);

/* Writes config_to_json with secrets to path (0600, renamed into place); reads it. */
int config_save(const struct config *c, const char *path, struct err *e);
struct config *config_read_saved(const char *path, struct err *e);

/* Calls changed(key path, old, new) for each key whose value differs; secrets are
 * given as "(secret)". */
typedef void config_changed_fn(void *arg, const char *path, const char *old_value, const char *new_value);
void config_diff(const struct config *a, const struct config *b, config_changed_fn *changed, void *arg);

/* One value as text for people ("(secret)" for secrets, "" for unset). Returns the
 * length like snprintf. */
int config_value_text(const struct config *c, enum cfg_key k, char *out, size_t size);

/* The URL without a password, for people: redis://:***@HOST. */
void config_mask_url(const char *url, char *out, size_t size);
bool config_url_has_password(const char *url);

/* The table itself, for documentation and the admin tool. */
struct cfg_key_info {
	const char *path, *env, *type, *unit, *def, *help, *group;
	bool secret, restart;
	bool old; /* translated into another setting, and never set in a configuration */
};
const struct cfg_key_info *cfg_key_info(enum cfg_key k);

/* The settings as conf/tt-agent.conf and as the manual page (roff) show them, printed from
 * the table. */
int config_print_sample(FILE *out);
int config_print_settings(FILE *out);

#endif
