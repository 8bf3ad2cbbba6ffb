/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/sources.h"
#include "core/config/mcp_servers.h"
#include "core/config/readfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUBLISHED_MAX (8u << 20)
#define PUBLISHED_MCP "mcp" /* no setting has such a path */

static json_t *servers_entry(const struct config *c, enum cfg_key k)
{
	char *shown = mcp_servers_shown(c->values[k].str);
	json_t *entry = json_pack("{s:s?, s:s}", "value", shown, "origin", cfg_origin(c, k));

	free(shown);
	return entry;
}

static json_t *entry(const struct config *c, enum cfg_key k, bool with_secrets)
{
	const struct key_row *row = table_row(k);
	const struct value *v = &c->values[k];
	char masked[2048];

	if ((row->flags & KEY_SCHEME) != 0 && !with_secrets && v->str != NULL) {
		config_mask_url(v->str, masked, sizeof masked);
		return json_pack("{s:s, s:s}", "value", masked, "origin", cfg_origin(c, k));
	}
	if ((row->flags & KEY_SERVERS) != 0 && !with_secrets && v->str != NULL)
		return servers_entry(c, k);
	if (row->info.secret && !with_secrets)
		return json_pack("{s:n, s:b, s:b, s:s}", "value", "secret", 1, "set", v->str != NULL, "origin",
		                 cfg_origin(c, k));
	return json_pack("{s:o, s:s}", "value", value_to_json(row, v), "origin", cfg_origin(c, k));
}

json_t *config_to_json(const struct config *c, bool with_secrets)
{
	json_t *all = json_object();

	for (unsigned k = 0; all != NULL && k < CFG_KEYS; k++) {
		if (cfg_key_info((enum cfg_key)k)->old)
			continue;
		if (json_object_set_new(all, cfg_key_info((enum cfg_key)k)->path,
		                        entry(c, (enum cfg_key)k, with_secrets)) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	if (c->mcp != NULL && with_secrets && json_object_set(all, PUBLISHED_MCP, c->mcp) < 0) {
		json_decref(all);
		return NULL;
	}
	return all;
}

/* --- and back ----------------------------------------------------------------------- */

static int put_entry(struct config *c, enum cfg_key k, const json_t *entry, struct err *e)
{
	const struct key_row *row = table_row(k);
	const json_t *value = json_object_get(entry, "value");
	const char *origin = json_string_value(json_object_get(entry, "origin"));
	struct value v;

	if (value == NULL || origin == NULL)
		return err_set(e, "%s: value or origin is missing", row->info.path);
	if (value_from_json(row, value, &v, e) < 0) {
		err_prefix(e, "%s", row->info.path);
		return -1;
	}
	if (config_put(c, k, &v, origin) < 0)
		return err_set(e, "out of memory");
	if (strcmp(origin, "default") == 0) {
		free(c->values[k].origin);
		c->values[k].origin = NULL;
	}
	return 0;
}

/* Settings that an older tt-agentd publishes; it has reported all there is to report. */
static void translate_old(struct config *c)
{
	struct config_report r;

	config_report_init(&r);
	config_apply_old_settings(c, &r);
	config_report_free(&r);
}

/* Settings that are missing get their default, unknown ones are ignored: during an upgrade
 * the programs may be of different versions. */
struct config *config_from_json(const json_t *j, struct err *e)
{
	struct config *c;

	if (!json_is_object(j)) {
		err_set(e, "published configuration: not a JSON object");
		return NULL;
	}
	c = config_new(e);
	for (unsigned k = 0; c != NULL && k < CFG_KEYS; k++) {
		const char *former = table_former_path((enum cfg_key)k);
		const json_t *entry = json_object_get(j, cfg_key_info((enum cfg_key)k)->path);

		if (entry == NULL && former != NULL)
			entry = json_object_get(j, former);

		if (entry != NULL && put_entry(c, (enum cfg_key)k, entry, e) < 0) {
			err_prefix(e, "published configuration");
			config_unref(c);
			return NULL;
		}
	}
	if (c != NULL) {
		translate_old(c);
		c->mcp = json_incref(json_object_get(j, PUBLISHED_MCP));
	}
	return c;
}

/* --- files ---------------------------------------------------------------------------- */

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int replace_file(const char *path, const char *data, size_t len, struct err *e)
{
	struct buf temp = BUF_INIT(4096);
	int fd = -1, result = -1;

	if (buf_addf(&temp, "%s.XXXXXX", path) < 0) {
		err_set(e, "write %s: path too long", path);
		goto out;
	}
	fd = mkostemp(temp.data, O_CLOEXEC); /* mode 0600 */
	if (fd < 0) {
		err_set_errno(e, errno, "create %s", path);
		goto out;
	}
	if (write_all(fd, data, len) < 0) {
		err_set_errno(e, errno, "write %s", path);
		unlink(temp.data);
	} else if (rename(temp.data, path) < 0) {
		/* Without the random name, so that the same failure is logged once. */
		err_set_errno(e, errno, "replace %s", path);
		unlink(temp.data);
	} else {
		result = 0;
	}
	close(fd);
out:
	buf_free(&temp);
	return result;
}

int config_save(const struct config *c, const char *path, struct err *e)
{
	json_t *j = config_to_json(c, true);
	char *text = j != NULL ? json_dumps(j, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) : NULL;
	int result = -1;

	if (text == NULL)
		err_set(e, "write %s: out of memory", path);
	else
		result = replace_file(path, text, strlen(text), e);
	free(text);
	json_decref(j);
	return result;
}

struct config *config_read_saved(const char *path, struct err *e)
{
	struct buf text = BUF_INIT(PUBLISHED_MAX);
	struct config *c = NULL;
	json_error_t where;
	json_t *j = NULL;

	if (readfile(path, &text, NULL, e) < 0)
		goto out;
	j = json_loadb(text.data != NULL ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &where);
	if (j == NULL) {
		/* The parser's message may quote the document, which contains secrets. */
		err_set(e, "%s:%d: not valid JSON", path, where.line);
		goto out;
	}
	c = config_from_json(j, e);
	if (c == NULL)
		err_prefix(e, "%s", path);
out:
	json_decref(j);
	buf_free(&text);
	return c;
}
