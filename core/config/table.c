/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/table.h"

#include "core/base/similar.h"
#include "core/config/request_fields.h"
#include "core/config/search_services.h"
#include "core/config/store_kinds.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define KEY(id, group_, name_, env_, type_, unit_, min_, max_, def_, flags_, help_)                                    \
	[CFG_##id] = {.info = {.path = group_ "." name_,                                                               \
	                       .env = env_,                                                                            \
	                       .type = #type_,                                                                         \
	                       .unit = unit_,                                                                          \
	                       .def = def_,                                                                            \
	                       .help = help_,                                                                          \
	                       .group = group_,                                                                        \
	                       .secret = ((flags_)&KEY_SECRET) != 0,                                                   \
	                       .restart = ((flags_)&KEY_RESTART) != 0,                                                 \
	                       .old = ((flags_)&KEY_OLD) != 0},                                                        \
	              .key = CFG_##id,                                                                                 \
	              .name = name_,                                                                                   \
	              .type = TYPE_##type_,                                                                            \
	              .min = min_,                                                                                     \
	              .max = max_,                                                                                     \
	              .flags = flags_},
static const struct key_row rows[CFG_KEYS] = {
#include "core/config/keys.def"
};

#define GROUP(name, help) {name, help},
static const struct group_row groups[] = {
#include "core/config/keys.def"
};

#define FORMERLY(id, group, name) {CFG_##id, group "." name},
static const struct {
	enum cfg_key key;
	const char *path;
} former_names[] = {
#include "core/config/keys.def"
};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define GROUPS   COUNT(groups)

const struct key_row *table_row(enum cfg_key k)
{
	assert((unsigned)k < CFG_KEYS);
	return &rows[k];
}

const struct cfg_key_info *cfg_key_info(enum cfg_key k)
{
	return &table_row(k)->info;
}

size_t table_groups(void)
{
	return GROUPS;
}

const struct group_row *table_group(size_t i)
{
	assert(i < GROUPS);
	return &groups[i];
}

bool table_has_group(const char *name)
{
	for (size_t i = 0; i < GROUPS; i++)
		if (strcmp(groups[i].name, name) == 0)
			return true;
	return false;
}

enum table_match table_find(const char *path, enum cfg_key *k)
{
	for (unsigned i = 0; i < CFG_KEYS; i++) {
		if (strcmp(rows[i].info.path, path) == 0) {
			*k = (enum cfg_key)i;
			return TABLE_FOUND;
		}
	}
	for (size_t i = 0; i < COUNT(former_names); i++) {
		if (strcmp(former_names[i].path, path) == 0) {
			*k = former_names[i].key;
			return TABLE_RENAMED;
		}
	}
	return TABLE_NONE;
}

const char *table_former_path(enum cfg_key k)
{
	for (size_t i = 0; i < COUNT(former_names); i++)
		if (former_names[i].key == k)
			return former_names[i].path;
	return NULL;
}

int table_find_env(const char *env, enum cfg_key *k)
{
	for (unsigned i = 0; i < CFG_KEYS; i++) {
		if (rows[i].info.env != NULL && strcmp(rows[i].info.env, env) == 0) {
			*k = (enum cfg_key)i;
			return 0;
		}
	}
	return -1;
}

static void allowed_range(const struct key_row *row, const char *what, char *out, size_t size)
{
	const char *unit = row->info.unit == NULL ? "" : row->info.unit;

	if (strcmp(unit, "s") == 0)
		unit = "seconds";
	if (row->min == 0 && row->max == 0)
		snprintf(out, size, "%s%s%s", what, *unit != '\0' ? ", in " : "", unit);
	else
		snprintf(out, size, "%s from %.15g to %.15g%s%s", what, row->min, row->max, *unit != '\0' ? " " : "",
		         unit);
}

static void allowed_choices(const struct key_row *row, char *out, size_t size)
{
	size_t len = 0;

	for (const char *p = row->info.unit; *p != '\0' && len + 3 < size; p++) {
		if (*p == '|') {
			out[len++] = ',';
			out[len++] = ' ';
		} else {
			out[len++] = *p;
		}
	}
	out[len] = '\0';
}

static void allowed_list(const struct key_row *row, char *out, size_t size)
{
	if (row->info.unit == NULL) {
		snprintf(out, size, "a list of strings of up to %.15g bytes each%s", row->max,
		         (row->flags & KEY_PATHS) != 0      ? ", each beginning with /"
		         : (row->flags & KEY_NETWORKS) != 0 ? ", each an IP address or ADDRESS/BITS"
		         : (row->flags & KEY_HOSTS) != 0    ? ", each NAME=HOST:PORT"
		         : (row->flags & KEY_TURNS) != 0    ? ", each NAME=TURNS, from 1 to 60000"
		         : (row->flags & KEY_ORIGINS) != 0  ? ", each http://HOST or https://HOST, without a path"
		         : (row->flags & KEY_HEADER) != 0   ? ", each of letters, digits, - and _"
		                                            : "");
		return;
	}
	snprintf(out, size, "a list of these strings: ");
	allowed_choices(row, out + strlen(out), size - strlen(out));
}

void table_allowed(const struct key_row *row, char *out, size_t size)
{
	switch (row->type) {
	case TYPE_BOOL:
		snprintf(out, size, "true or false");
		return;
	case TYPE_INT:
	case TYPE_SIZE:
		allowed_range(row, "a whole number", out, size);
		return;
	case TYPE_REAL:
	case TYPE_TIME:
		allowed_range(row, "a number", out, size);
		return;
	case TYPE_STRING:
		if ((row->flags & (KEY_ADDRESS | KEY_HOST)) != 0) {
			snprintf(out, size, "%s, without quotes and whitespace",
			         (row->flags & KEY_HOST) != 0 ? "the name or address of a host, without a port"
			                                      : "NAME, HOST:PORT, or an http:// or https:// URL");
			return;
		}
		if ((row->flags & KEY_SERVERS) != 0) {
			snprintf(out, size, "a list of groups: ( { name = \"NAME\"; url = \"https://...\"; } )");
			return;
		}
		if ((row->flags & KEY_PROXY) != 0) {
			snprintf(out, size, "http://HOST:PORT, https://HOST:PORT or HOST:PORT");
			return;
		}
		snprintf(out, size, "a string of up to %.15g bytes%s", row->max,
		         (row->flags & KEY_HEADER) != 0   ? ", of letters, digits, - and _"
		         : (row->flags & KEY_JSON) != 0   ? ", a JSON object"
		         : (row->flags & KEY_SCHEME) != 0 ? ", beginning with one of these: "
		                                          : "");
		if ((row->flags & KEY_SCHEME) != 0)
			allowed_choices(row, out + strlen(out), size - strlen(out));
		return;
	case TYPE_URL:
		snprintf(out, size, "an http:// or https:// URL of up to %.15g bytes", row->max);
		return;
	case TYPE_ENUM:
		allowed_choices(row, out, size);
		return;
	case TYPE_LIST:
		allowed_list(row, out, size);
		return;
	}
}

void table_suggest(const char *group, const char *name, struct buf *out)
{
	struct similar similar = SIMILAR_TO(name);

	for (size_t i = 0; group == NULL && i < GROUPS; i++)
		similar_consider(&similar, groups[i].name);
	for (unsigned i = 0; group != NULL && i < CFG_KEYS; i++)
		if (strcmp(rows[i].info.group, group) == 0 && !rows[i].info.old)
			similar_consider(&similar, rows[i].name);
	if (similar.best != NULL) {
		(void)buf_addf(out, "; did you mean %s%s%s? ", group != NULL ? group : "", group != NULL ? "." : "",
		               similar.best);
		return;
	}
	/* The right name in the wrong group. */
	for (unsigned i = 0; i < CFG_KEYS; i++) {
		if (strcmp(rows[i].name, name) == 0 && !rows[i].info.old)
			(void)buf_addf(out, " (there is %s)", rows[i].info.path);
	}
	(void)buf_adds(out, "; ");
}

void table_names(const char *group, struct buf *out)
{
	bool first = true;

	for (size_t i = 0; group == NULL && i < GROUPS; i++) {
		buf_addf(out, "%s%s", first ? "" : ", ", groups[i].name);
		first = false;
	}
	for (unsigned i = 0; group != NULL && i < CFG_KEYS; i++) {
		if (strcmp(rows[i].info.group, group) != 0 || rows[i].info.old)
			continue;
		buf_addf(out, "%s%s", first ? "" : ", ", rows[i].name);
		first = false;
	}
}
