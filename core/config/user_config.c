/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/user_config.h"

#include "core/base/err.h"
#include "core/config/sources.h"
#include "core/config/readfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DIRECTORY  "backend_volume"
#define USER_MAX   (256u << 10)
#define WHITESPACE " \t\r"

char *user_config_directory(const char *volume)
{
	struct buf path = BUF_INIT(8192);

	if (buf_addf(&path, "%s/" DIRECTORY, volume) < 0)
		return NULL;
	return buf_steal(&path, NULL);
}

static char *file_in(const char *volume, const char *name)
{
	struct buf path = BUF_INIT(8192);

	if (buf_addf(&path, "%s/" DIRECTORY "/%s", volume, name) < 0)
		return NULL;
	return buf_steal(&path, NULL);
}

bool user_config_is_placeholder(const char *value)
{
	return strcmp(value, "tavily-api-key-not-configured") == 0;
}

/* Replaces *slot; an empty value and the placeholder count as none. */
static int set_slot(char **slot, const char *value, size_t len)
{
	free(*slot);
	*slot = strndup(value, len);
	if (*slot == NULL)
		return -1;
	if (len == 0 || user_config_is_placeholder(*slot)) {
		free(*slot);
		*slot = NULL;
	}
	return 0;
}

static char **slot_of(struct user_config *u, const char *name, size_t len)
{
	if (len == strlen("TAVILY_API_KEY") && memcmp(name, "TAVILY_API_KEY", len) == 0)
		return &u->tavily_api_key;
	if (len == strlen("JWT_SECRET") && memcmp(name, "JWT_SECRET", len) == 0)
		return &u->jwt_secret;
	return NULL;
}

static void strip(const char **text, size_t *len)
{
	while (*len > 0 && strchr(WHITESPACE, **text) != NULL)
		(*text)++, (*len)--;
	while (*len > 0 && strchr(WHITESPACE, (*text)[*len - 1]) != NULL)
		(*len)--;
}

/* The value of a line: the text between quotes (in double ones a backslash escapes one byte),
 * or everything up to whitespace followed by #. out has room for len. */
static int unquote(const char *text, size_t len, char *out, size_t *out_len)
{
	size_t n = 0, i = 1;
	char quote = len > 0 ? text[0] : '\0';

	if (quote != '"' && quote != '\'') {
		for (i = 0; i < len && !(text[i] == '#' && i > 0 && strchr(WHITESPACE, text[i - 1]) != NULL); i++)
			;
		strip(&text, &i);
		memcpy(out, text, i);
		*out_len = i;
		return 0;
	}
	for (; i < len && text[i] != quote; i++) {
		if (text[i] == '\\' && quote == '"' && i + 1 < len)
			i++;
		out[n++] = text[i];
	}
	*out_len = n;
	return i < len ? 0 : -1;
}

/* One KEY=VALUE line. The reason if it is invalid (never its text, which may be a secret). */
static const char *take_line(struct user_config *u, const char *line, size_t len)
{
	const char *equals, *name = line, *value;
	size_t name_len, value_len, out_len;
	const char *reason = NULL;
	char **slot;
	char *out;

	strip(&name, &len);
	if (len == 0 || *name == '#')
		return NULL;
	equals = memchr(name, '=', len);
	if (equals == NULL)
		return "not KEY=VALUE, ignored";
	value = equals + 1;
	value_len = len - (size_t)(value - name);
	name_len = (size_t)(equals - name);
	if (name_len > 7 && memcmp(name, "export ", 7) == 0) {
		name += 7;
		name_len -= 7;
	}
	strip(&name, &name_len);
	strip(&value, &value_len);
	slot = slot_of(u, name, name_len);
	if (slot == NULL)
		return NULL;
	out = malloc(value_len + 1);
	if (out == NULL)
		return "out of memory";
	if (unquote(value, value_len, out, &out_len) < 0)
		reason = "the closing quote is missing, ignored";
	else if (memchr(out, '\0', out_len) != NULL)
		reason = "a NUL byte in the value, ignored";
	else if (set_slot(slot, out, out_len) < 0)
		reason = "out of memory";
	free(out);
	return reason;
}

static void take_env(struct user_config *u, const char *path, const struct buf *text, struct buf *warnings)
{
	size_t start = 0;

	for (unsigned line = 1; start < text->len; line++) {
		const char *end = memchr(text->data + start, '\n', text->len - start);
		size_t len = end != NULL ? (size_t)(end - text->data) - start : text->len - start;
		const char *reason = take_line(u, text->data + start, len);

		if (reason != NULL)
			(void)buf_addf(warnings, "%s:%u: %s\n", path, line, reason);
		start += len + 1;
	}
}

static void take_json(struct user_config *u, const char *path, const struct buf *text, struct buf *warnings)
{
	json_error_t where;
	json_t *j = json_loadb(text->data != NULL ? text->data : "", text->len, 0, &where);
	const json_t *key = json_object_get(j, "tavily_api_key");

	if (j == NULL)
		(void)buf_addf(warnings, "%s:%d: not valid JSON, ignored\n", path, where.line);
	else if (key != NULL && !json_is_string(key) && !json_is_null(key))
		report_line(warnings, path, "tavily_api_key is not a string, ignored");
	else if (json_is_string(key) &&
	         set_slot(&u->tavily_api_key, json_string_value(key), json_string_length(key)) < 0)
		report_line(warnings, path, "out of memory");
	json_decref(j);
}

static const struct {
	const char *name;
	void (*take)(struct user_config *u, const char *path, const struct buf *text, struct buf *warnings);
} kinds[] = {
	{"user_config.env", take_env},
	{"user_config.json", take_json},
};

/* TT-Studio itself always writes the file with mode 0600. */
static void refuse_public(struct user_config *u, struct buf *warnings)
{
	if (u->tavily_api_key != NULL || u->jwt_secret != NULL)
		(void)buf_addf(warnings, "%s: secrets ignored, because everybody can read this file: chmod o-r %s\n",
		               u->path, u->path);
	user_config_free(u);
}

/* TT-Studio writes the file as root with mode 0600, and renames a new one into place at each save. */
static void report_denied(const char *volume, const char *path, struct buf *warnings)
{
	(void)buf_addf(
		warnings,
		"%s: %s, so TAVILY_API_KEY and JWT_SECRET come from the other sources: TT-Studio lets only root read "
		"this file, and writes it again at each save, so chmod does not last. Have it copied (systemctl enable "
		"--now \"tt-agent-user-config@$(systemd-escape -p %s).path\") and set auth.volume to "
		"/run/tt-agent-user-config, or unset auth.volume; see doc/migration.md\n",
		path, strerror(EACCES), volume);
}

void user_config_read(const char *volume, struct user_config *out, struct buf *warnings)
{
	*out = (struct user_config){.tavily_api_key = NULL};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct buf text = BUF_INIT(USER_MAX);
		struct err e = ERR_INIT;
		struct stat st;
		char *path = file_in(volume, kinds[i].name);
		int result, error;

		if (path == NULL) {
			report_line(warnings, volume, "path too long, or out of memory");
			return;
		}
		result = readfile(path, &text, &st, &e);
		error = errno;
		if (result == 0) {
			kinds[i].take(out, path, &text, warnings);
			buf_free(&text);
			out->path = path;
			if ((st.st_mode & S_IROTH) != 0)
				refuse_public(out, warnings);
			return;
		}
		buf_free(&text);
		if (error == EACCES)
			report_denied(volume, path, warnings);
		else if (error != ENOENT)
			report_line(warnings, "user settings", e.text);
		free(path);
		if (error != ENOENT) /* it exists, so the legacy file must not replace it */
			return;
	}
	(void)buf_addf(warnings,
	               "%s/" DIRECTORY
	               ": contains neither user_config.env nor user_config.json; "
	               "TAVILY_API_KEY and JWT_SECRET come from the other sources\n",
	               volume);
}

void user_config_free(struct user_config *u)
{
	free(u->tavily_api_key);
	free(u->jwt_secret);
	free(u->path);
	*u = (struct user_config){.tavily_api_key = NULL};
}
