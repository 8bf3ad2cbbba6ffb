/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/config_fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	snprintf(f->dir, sizeof f->dir, "/tmp/tt-config.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->main, sizeof f->main, "%s/main.conf", f->dir);
	config_report_init(&f->report);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	config_unref(f->config);
	config_report_free(&f->report);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

const char *fixture_path(const struct fixture *f, const char *name, char out[160])
{
	snprintf(out, 160, "%s/%s", f->dir, name);
	return out;
}

void fixture_write_bytes(struct fixture *f, const char *name, const char *bytes, size_t len)
{
	const char *slash = strchr(name, '/');
	char path[160], directory[160];
	int fd;

	if (slash != NULL) {
		snprintf(directory, sizeof directory, "%s/%.*s", f->dir, (int)(slash - name), name);
		(void)mkdir(directory, 0700);
	}
	fd = open(fixture_path(f, name, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

void fixture_write(struct fixture *f, const char *name, const char *text)
{
	fixture_write_bytes(f, name, text, strlen(text));
}

bool fixture_load(struct fixture *f, const char *file, char *const *environment, const char *const *sets)
{
	struct config_source source = {.file = file, .sets = sets, .environment = environment};

	while (sets != NULL && sets[source.set_count] != NULL)
		source.set_count++;
	config_unref(f->config);
	config_report_free(&f->report);
	config_report_init(&f->report);
	f->config = config_load(&source, &f->report);
	assert_true((f->config == NULL) == (f->report.errors.len > 0));
	return f->config != NULL;
}

bool fixture_load_text(struct fixture *f, const char *text)
{
	fixture_write(f, "main.conf", text);
	return fixture_load(f, f->main, NULL, NULL);
}

bool fixture_load_env(struct fixture *f, const char *assignment)
{
	char copy[512];
	char *environment[] = {copy, NULL};

	snprintf(copy, sizeof copy, "%s", assignment);
	return fixture_load(f, NULL, environment, NULL);
}

bool fixture_load_set(struct fixture *f, const char *set)
{
	const char *const sets[] = {set, NULL};

	return fixture_load(f, NULL, NULL, sets);
}

bool fixture_says(const struct buf *lines, const char *where, const char *what)
{
	for (const char *line = lines->data; line != NULL && *line != '\0';) {
		size_t len = strcspn(line, "\n");

		if (memmem(line, len, where, strlen(where)) != NULL && memmem(line, len, what, strlen(what)) != NULL)
			return true;
		line += len + (line[len] == '\n');
	}
	return false;
}

size_t fixture_lines(const struct buf *lines)
{
	size_t count = 0;

	for (size_t i = 0; i < lines->len; i++)
		count += lines->data[i] == '\n';
	return count;
}
