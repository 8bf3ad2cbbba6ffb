/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/sources.h"

#include "core/base/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_MAX (256u << 10)

struct config *config_new(struct err *e)
{
	struct config *c = calloc(1, sizeof *c);

	if (c == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	atomic_init(&c->refs, 1);
	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const struct key_row *row = table_row((enum cfg_key)k);

		if (row->info.def != NULL && value_from_text(row, row->info.def, &c->values[k], e) < 0) {
			err_prefix(e, "default of %s", row->info.path);
			config_unref(c);
			return NULL;
		}
	}
	return c;
}

struct config *config_copy(const struct config *c, struct err *e)
{
	static const enum cfg_key any_string = CFG_AUTH_JWT_SECRET;
	struct config *copy = calloc(1, sizeof *copy);

	if (copy == NULL)
		goto fail;
	atomic_init(&copy->refs, 1);
	copy->mcp = json_incref(c->mcp);
	for (unsigned k = 0; k < CFG_KEYS; k++)
		if (value_copy(table_row((enum cfg_key)k), &c->values[k], &copy->values[k]) < 0)
			goto fail;
	for (size_t i = 0; i < USER_KEYS; i++)
		if (value_copy(table_row(any_string), &c->overridden[i], &copy->overridden[i]) < 0)
			goto fail;
	return copy;
fail:
	err_set(e, "out of memory");
	config_unref(copy);
	return NULL;
}

struct config *config_ref(struct config *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void config_unref(struct config *c)
{
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned k = 0; k < CFG_KEYS; k++)
		value_free(&c->values[k]);
	for (size_t i = 0; i < USER_KEYS; i++)
		value_free(&c->overridden[i]);
	json_decref(c->mcp);
	free(c);
}

int config_put(struct config *c, enum cfg_key k, struct value *v, const char *origin)
{
	free(v->origin);
	v->origin = strdup(origin);
	if (v->origin == NULL) {
		value_free(v);
		return -1;
	}
	value_free(&c->values[k]);
	c->values[k] = *v;
	*v = value_unset();
	return 0;
}

struct config *config_switched_off(const struct config *c, enum cfg_key k, const char *why, struct err *e)
{
	struct config *copy = config_copy(c, e);
	struct value off = value_unset();

	assert(table_row(k)->type == TYPE_BOOL);
	if (copy == NULL || config_put(copy, k, &off, why) == 0)
		return copy;
	err_set(e, "out of memory");
	config_unref(copy);
	return NULL;
}

struct config *config_with_mcp(const struct config *c, json_t *mcp, struct err *e)
{
	struct config *copy = config_copy(c, e);

	if (copy != NULL) {
		json_decref(copy->mcp);
		copy->mcp = json_incref(mcp);
	}
	return copy;
}

bool config_is_shared(const struct config *c)
{
	return atomic_load_explicit(&c->refs, memory_order_acquire) > 1;
}

/* --- access ---------------------------------------------------------------------- */

static const struct value *value_of(const struct config *c, enum cfg_key k, unsigned types)
{
	assert((types >> table_row(k)->type & 1) != 0);
	(void)types;
	return &c->values[k];
}

bool cfg_bool(const struct config *c, enum cfg_key k)
{
	return value_of(c, k, 1u << TYPE_BOOL)->num != 0;
}

int64_t cfg_int(const struct config *c, enum cfg_key k)
{
	return value_of(c, k, 1u << TYPE_INT | 1u << TYPE_SIZE)->num;
}

int64_t cfg_ms(const struct config *c, enum cfg_key k)
{
	return value_of(c, k, 1u << TYPE_TIME)->num;
}

double cfg_real(const struct config *c, enum cfg_key k)
{
	return value_of(c, k, 1u << TYPE_REAL)->real;
}

const char *cfg_str(const struct config *c, enum cfg_key k)
{
	return value_of(c, k, 1u << TYPE_STRING | 1u << TYPE_URL | 1u << TYPE_ENUM)->str;
}

const struct cfg_list *cfg_list(const struct config *c, enum cfg_key k)
{
	return &value_of(c, k, 1u << TYPE_LIST)->list;
}

enum log_level config_log_level(const struct config *c)
{
	enum log_level level = LOG_INFO_;

	log_level_parse(cfg_str(c, CFG_LOG_LEVEL), &level);
	return cfg_bool(c, CFG_LOG_DEBUG) ? LOG_DEBUG_ : level;
}

enum log_format config_log_format(const struct config *c)
{
	enum log_format format = LOG_TEXT;

	log_format_parse(cfg_str(c, CFG_LOG_FORMAT), &format);
	return format;
}

const json_t *config_mcp(const struct config *c)
{
	return c->mcp;
}

bool cfg_is_set(const struct config *c, enum cfg_key k)
{
	return c->values[k].origin != NULL;
}

const char *cfg_origin(const struct config *c, enum cfg_key k)
{
	return c->values[k].origin != NULL ? c->values[k].origin : "default";
}

/* --- texts ----------------------------------------------------------------------- */

int config_value_text(const struct config *c, enum cfg_key k, char *out, size_t size)
{
	struct buf text = BUF_INIT(1u << 20);
	size_t len, cut;

	(void)value_shown(table_row(k), &c->values[k], &text);
	len = text.len;
	if (size > 0) {
		cut = len < size ? len : size - 1;
		if (cut > 0)
			memcpy(out, text.data, cut);
		out[cut] = '\0';
	}
	buf_free(&text);
	return (int)len;
}

void config_diff(const struct config *a, const struct config *b, config_changed_fn *changed, void *arg)
{
	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const struct key_row *row = table_row((enum cfg_key)k);
		struct buf old_text = BUF_INIT(1u << 20), new_text = BUF_INIT(1u << 20);

		if (value_equal(row, &a->values[k], &b->values[k]))
			continue;
		(void)value_shown(row, &a->values[k], &old_text);
		(void)value_shown(row, &b->values[k], &new_text);
		changed(arg, row->info.path, old_text.data != NULL ? old_text.data : "",
		        new_text.data != NULL ? new_text.data : "");
		buf_free(&old_text);
		buf_free(&new_text);
	}
}

/* --- the report ------------------------------------------------------------------- */

void config_report_init(struct config_report *r)
{
	buf_init(&r->errors, REPORT_MAX);
	buf_init(&r->warnings, REPORT_MAX);
}

void config_report_free(struct config_report *r)
{
	buf_free(&r->errors);
	buf_free(&r->warnings);
}

const char *config_renamed_text(const char *former, enum cfg_key k, char out[RENAMED_MAX])
{
	snprintf(out, RENAMED_MAX, "%.100s was renamed; write %s", former, cfg_key_info(k)->path);
	return out;
}

void report_line(struct buf *lines, const char *where, const char *what)
{
	size_t before = lines->len;

	if (buf_addf(lines, "%s: %s", where, what) == 0) {
		utf8_disarm(lines->data + before);
		if (buf_adds(lines, "\n") == 0)
			return;
	}
	if (lines->len == 0)
		(void)buf_adds(lines, "out of memory\n");
}
