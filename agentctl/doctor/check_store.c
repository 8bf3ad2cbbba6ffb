/* SPDX-License-Identifier: Apache-2.0 */
/* Where conversations are stored. */
#include "agentctl/doctor/doctor.h"
#include "core/store/store_admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SPACE_MIN  (16 << 20)
#define BESIDE_MAX (80 << 20) /* the log and the reserve, beside threads.max_bytes */
#define SCHEME     "sqlite:"

static bool check_right(struct doctor *d, const char *path, int mode)
{
	int may = doctor_responder_may(d, path, mode);

	if (may == 0)
		doctor_find(d, FINDING_STORE_UNWRITABLE, path, "%s: %s (the service runs as %s)", path, strerror(errno),
		            d->user);
	else if (may < 0)
		doctor_skip(d, "whether the service may write its conversations", "only root can try what %s may do",
		            d->user);
	return may == 1;
}

static void check_size(struct doctor *d, struct store_admin *store, const char *file)
{
	int64_t limit = cfg_int(d->config, CFG_THREADS_MAX_BYTES);
	struct store_size size;
	struct err e = ERR_INIT;

	if (store_admin_size(store, &size, &e) < 0)
		doctor_find(d, FINDING_STORE_DAMAGED, file, "%s", e.text);
	else if (size.disk_bytes > limit + BESIDE_MAX)
		doctor_find(d, FINDING_STORE_TOO_BIG, file, "%s takes %lld bytes; threads.max_bytes is %lld", file,
		            (long long)size.disk_bytes, (long long)limit);
}

static void check_database(struct doctor *d, const char *url, const char *file)
{
	struct err e = ERR_INIT;
	struct store_admin *store = store_admin_open(url, d->config, &e);

	if (store != NULL)
		check_size(d, store, file);
	else if (strstr(e.text, "newer version") != NULL || strstr(e.text, "another program") != NULL)
		doctor_find(d, FINDING_STORE_OTHER, file, "%s", e.text);
	else if (strstr(e.text, "locked") != NULL || strstr(e.text, "denied") != NULL)
		doctor_skip(d, "the database of the conversations", "%s", e.text);
	else
		doctor_find(d, FINDING_STORE_DAMAGED, file, "%s", e.text);
	store_admin_close(store);
}

static void check_server(struct doctor *d, const char *url)
{
	struct err e = ERR_INIT;
	struct store_admin *store = store_admin_open(url, d->config, &e);

	if (store == NULL)
		doctor_find_redis(d, FINDING_STORE_UNREACHABLE, url, e.text);
	store_admin_close(store);
}

static void check_unsaved(struct doctor *d, const char *directory)
{
	struct stat st;
	int may;

	if (directory[0] == '\0')
		return;
	if (stat(directory, &st) == 0)
		may = doctor_responder_may(d, directory, W_OK | X_OK);
	else
		may = errno == EACCES ? -1 : 0;
	if (may < 0)
		doctor_skip(d, "whether the service may write to threads.unsaved_dir",
		            "only root can try what %s may do", d->user);
	else if (may == 0)
		doctor_find(d, FINDING_UNSAVED_DIR, directory, "%s: %s", directory, strerror(errno));
}

void check_store(struct doctor *d)
{
	const char *url = d->config != NULL ? cfg_str(d->config, CFG_THREADS_STORE) : NULL;
	const char *file = url != NULL && strncmp(url, SCHEME, strlen(SCHEME)) == 0 ? url + strlen(SCHEME) : NULL;
	const char *slash = file != NULL ? strrchr(file, '/') : NULL;
	char directory[1200];
	struct statvfs v;
	struct stat st;

	if (url != NULL && strncmp(url, "redis", 5) == 0) {
		check_server(d, url);
		check_unsaved(d, cfg_str(d->config, CFG_THREADS_UNSAVED_DIR));
	}
	if (slash == NULL)
		return;
	snprintf(directory, sizeof directory, "%.*s", slash == file ? 1 : (int)(slash - file), file);
	if (stat(directory, &st) < 0) {
		if (errno == EACCES)
			doctor_skip(d, "the conversations", "%s: %s", directory, strerror(errno));
		else
			doctor_find(d, FINDING_STORE_NO_DIRECTORY, directory,
			            "%s: %s; conversations are kept in memory, and lost when a worker ends", directory,
			            strerror(errno));
		return;
	}
	if (statvfs(directory, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < SPACE_MIN)
		doctor_find(d, FINDING_STORE_DISK_FULL, directory, "%s: %llu bytes are free", directory,
		            (unsigned long long)v.f_bavail * v.f_frsize);
	if (!check_right(d, directory, W_OK | X_OK) || stat(file, &st) < 0)
		return;
	if (check_right(d, file, R_OK | W_OK) && access(file, R_OK | W_OK) == 0)
		check_database(d, url, file);
}
