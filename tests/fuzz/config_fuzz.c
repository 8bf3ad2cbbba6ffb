/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations: accepted or refused with a reason, and what was accepted survives being
 * published. The first byte says what the rest is. */
#include "core/config/config.h"
#include "core/config/user_config.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void differs(void *arg, const char *path, const char *old_value, const char *new_value)
{
	(void)arg, (void)path, (void)old_value, (void)new_value;
	abort();
}

static void publish(const struct config *c)
{
	struct err e = ERR_INIT;
	json_t *j = config_to_json(c, true);
	struct config *again = config_from_json(j, &e);

	if (again == NULL)
		abort();
	config_diff(c, again, differs, NULL);
	config_unref(again);
	json_decref(j);
}

static void load(const struct config_source *source)
{
	struct config_report report;
	struct config *c;

	config_report_init(&report);
	c = config_load(source, &report);
	if ((c == NULL) != (report.errors.len > 0))
		abort();
	if (c != NULL)
		publish(c);
	config_unref(c);
	config_report_free(&report);
}

static void as_file(const char *text, size_t len)
{
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	load(&(struct config_source){.file = path});
	close(fd);
}

static void as_set(const char *text, size_t len)
{
	(void)len;
	load(&(struct config_source){.sets = &text, .set_count = 1});
}

static void as_environment(const char *text, size_t len)
{
	char *copy = strdup(text);
	char *environment[] = {copy, NULL};

	(void)len;
	load(&(struct config_source){.environment = environment});
	free(copy);
}

static void as_published(const char *text, size_t len)
{
	json_t *j = json_loadb(text, len, 0, NULL);
	struct err e = ERR_INIT;
	struct config *c = config_from_json(j, &e);

	if ((c == NULL) != err_is_set(&e))
		abort();
	if (c != NULL)
		publish(c);
	config_unref(c);
	json_decref(j);
}

static void user_config(const char *name, const char *text, size_t len)
{
	char dir[] = "/tmp/tt-fuzz.XXXXXX", path[96];
	struct buf warnings = BUF_INIT(1u << 20);
	struct user_config u;
	char *directory;
	FILE *out;

	if (mkdtemp(dir) == NULL || (directory = user_config_directory(dir)) == NULL)
		abort();
	/* The directory is the volume itself, so that one mkdir is enough. */
	if (symlink(".", directory) < 0)
		abort();
	snprintf(path, sizeof path, "%s/%s", dir, name);
	out = fopen(path, "we");
	if (out == NULL || fchmod(fileno(out), 0600) < 0 || fwrite(text, 1, len, out) != len || fclose(out) != 0)
		abort();
	user_config_read(dir, &u, &warnings);
	if (u.path == NULL || strstr(u.path, name) == NULL)
		abort();
	user_config_free(&u);
	buf_free(&warnings);
	unlink(path);
	unlink(directory);
	rmdir(dir);
	free(directory);
}

static void as_user_config(const char *text, size_t len)
{
	user_config("user_config.env", text, len);
}
static void as_user_json(const char *text, size_t len)
{
	user_config("user_config.json", text, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const ways[])(const char *text, size_t len) = {
		['f'] = as_file,      ['s'] = as_set,         ['e'] = as_environment,
		['p'] = as_published, ['u'] = as_user_config, ['j'] = as_user_json,
	};
	char *text;

	if (len == 0 || data[0] >= sizeof ways / sizeof ways[0] || ways[data[0]] == NULL)
		return 0;
	text = malloc(len);
	if (text == NULL)
		abort();
	memcpy(text, data + 1, len - 1);
	text[len - 1] = '\0';
	ways[data[0]](text, len - 1);
	free(text);
	return 0;
}
