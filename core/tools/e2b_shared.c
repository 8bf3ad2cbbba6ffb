/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/e2b_shared.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORY "sandboxes"
#define FILE_MAX  16384
#define OLD_S     86400

struct e2b_shared {
	int dir; /* -1: nothing is shared */
};

/* The name of a conversation's file, a hash; the file itself says whose it is. */
static void name_of(const char *thread, char out[40])
{
	uint64_t a = UINT64_C(14695981039346656037), b = UINT64_C(0x9e3779b97f4a7c15);

	for (const unsigned char *p = (const unsigned char *)thread; *p != '\0'; p++) {
		a = (a ^ *p) * UINT64_C(1099511628211);
		b = (b + *p) * UINT64_C(0xbf58476d1ce4e5b9);
	}
	snprintf(out, 40, "%016" PRIx64 "%016" PRIx64, a, b);
}

static int64_t age_ms(const struct stat *st)
{
	return clock_wall_ms() - ((int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000);
}

static void remove_old(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;

	if (list == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(list)) != NULL)
		if (fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    age_ms(&st) > OLD_S * INT64_C(1000))
			unlinkat(dir, entry->d_name, 0);
	closedir(list);
}

static int open_directory(const char *dir)
{
	char path[1024];
	int fd;

	if (snprintf(path, sizeof path, "%s/" DIRECTORY, dir) >= (int)sizeof path)
		return -1;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		remove_old(fd);
	return fd;
}

struct e2b_shared *e2b_shared_new(const char *dir)
{
	struct e2b_shared *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->dir = dir == NULL ? -1 : open_directory(dir);
	if (dir != NULL && s->dir < 0)
		log_event(LOG_SANDBOXES_NOT_SHARED, L_STR("directory", DIRECTORY), L_STR("error", strerror(errno)));
	return s;
}

void e2b_shared_free(struct e2b_shared *s)
{
	if (s != NULL && s->dir >= 0)
		close(s->dir);
	free(s);
}

int e2b_shared_read(const struct e2b_shared *s, const char *thread, struct e2b_handle *out, int64_t *age)
{
	char name[40], text[FILE_MAX];
	const char *whose;
	struct stat st;
	json_t *json;
	ssize_t len;
	int fd, result = -1;

	memset(out, 0, sizeof *out);
	if (s->dir < 0)
		return -1;
	name_of(thread, name);
	fd = openat(s->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	len = read(fd, text, sizeof text);
	json = len <= 0 || fstat(fd, &st) < 0 ? NULL : json_loadb(text, (size_t)len, 0, NULL);
	close(fd);
	whose = json_string_value(json_object_get(json, "thread"));
	if (whose != NULL && strcmp(whose, thread) == 0) {
		*age = age_ms(&st);
		result = e2b_handle_read(out, text, (size_t)len);
	}
	json_decref(json);
	return result;
}

/* A whole file or none: another worker may read it now. */
static int write_file(int dir, const char *name, const char *text)
{
	char fresh[64];
	size_t len = strlen(text);
	int fd, failed;

	snprintf(fresh, sizeof fresh, "%s.%ld", name, (long)getpid());
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	failed = write(fd, text, len) != (ssize_t)len;
	failed |= close(fd) < 0;
	if (!failed && renameat(dir, fresh, dir, name) == 0)
		return 0;
	unlinkat(dir, fresh, 0);
	return -1;
}

void e2b_shared_write(const struct e2b_shared *s, const char *thread, const struct e2b_handle *handle)
{
	char name[40], *text;
	json_t *json;

	if (s->dir < 0)
		return;
	name_of(thread, name);
	/* In the form of E2B's answer, so that one function reads both. */
	json = json_pack("{s:s, s:s, s:s?, s:s?, s:s?}", "thread", thread, "sandboxID", handle->id, "domain",
	                 handle->domain, "envdAccessToken", handle->access_token, "trafficAccessToken",
	                 handle->traffic_token);
	text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
	if (text != NULL && strlen(text) <= FILE_MAX && write_file(s->dir, name, text) < 0)
		log_event(LOG_SANDBOX_NOT_SHARED, L_STR("error", strerror(errno)));
	free(text);
	json_decref(json);
}

void e2b_shared_touch(const struct e2b_shared *s, const char *thread)
{
	char name[40];

	if (s->dir < 0)
		return;
	name_of(thread, name);
	utimensat(s->dir, name, NULL, AT_SYMLINK_NOFOLLOW);
}

void e2b_shared_remove(const struct e2b_shared *s, const char *thread)
{
	char name[40];

	if (s->dir < 0)
		return;
	name_of(thread, name);
	unlinkat(s->dir, name, 0);
}
