/* SPDX-License-Identifier: Apache-2.0 */
/* The file of keys and the issuer's public keys: each is read whenever it changes. */
#include "core/access/access_private.h"

#include "core/base/log.h"
#include "core/config/readfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void stat_file(const char *path, struct seen *out)
{
	struct stat st;

	memset(out, 0, sizeof *out); /* padding as well: it is compared as bytes */
	if (stat(path, &st) != 0)
		return;
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	out->size = st.st_size;
	out->changed = st.st_ctim;
	out->modified = st.st_mtim;
}

static void log_once(struct watched *w, enum log_event event, const char *error)
{
	if (strcmp(w->error, error) != 0 && *error != '\0')
		log_event(event, L_STR("file", w->path), L_STR("error", error));
	snprintf(w->error, sizeof w->error, "%s", error);
}

/* What is read of a file, on the background's thread. */
struct reading {
	struct access *access;
	char *path, *secret;
	struct keys *keys;
	struct jwt_keys *jwt_keys;
	struct buf faults;
	struct err e;
};

static void reading_free(void *arg)
{
	struct reading *r = arg;

	keys_free(r->keys);
	jwt_keys_free(r->jwt_keys);
	buf_free(&r->faults);
	free(r->path);
	free(r->secret);
	free(r);
}

static void read_keys(void *arg)
{
	struct buf text = BUF_INIT(KEYS_FILE_MAX);
	struct reading *r = arg;

	if (keys_read(r->path, &text, &r->e) == 0)
		r->keys = keys_parse(text.len > 0 ? text.data : "", text.len, &r->faults, &r->e);
	buf_free(&text);
}

static void read_jwks(void *arg)
{
	struct buf text = BUF_INIT(JWKS_MAX);
	struct reading *r = arg;

	if (readfile(r->path, &text, NULL, &r->e) == 0)
		r->jwt_keys = jwt_keys_new(r->secret, text.len > 0 ? text.data : "", text.len, &r->e);
	buf_free(&text);
}

static void failed(struct watched *w, enum log_event event, const char *error)
{
	memset(&w->seen, 0, sizeof w->seen);
	w->retry_ms = clock_mono_ms() + ACCESS_RETRY_MS;
	log_once(w, event, error);
}

/* Of several lines, one for the log. */
static const char *one_line(struct buf *lines)
{
	if (lines->len == 0)
		return "";
	lines->data[lines->len - 1] = '\0';
	for (char *end = strchr(lines->data, '\n'); end != NULL; end = strchr(end, '\n'))
		*end = ';';
	return lines->data;
}

static void keys_are_read(void *arg)
{
	struct reading *r = arg;
	struct access *a = r->access;

	a->keys_file.job = NULL;
	if (r->keys == NULL) {
		failed(&a->keys_file, LOG_KEYS_UNREADABLE, r->e.text);
	} else {
		keys_free(a->keys);
		a->keys = r->keys;
		r->keys = NULL;
		log_event(LOG_KEYS, L_STR("file", r->path), L_INT("keys", keys_count(a->keys)));
		log_once(&a->keys_file, LOG_KEYS_FAULTS, one_line(&r->faults));
		access_turn_end_revoked(a);
	}
	reading_free(r);
}

static void jwks_is_read(void *arg)
{
	struct reading *r = arg;
	struct access *a = r->access;

	a->jwks_file.job = NULL;
	if (r->jwt_keys == NULL) {
		failed(&a->jwks_file, LOG_JWT_KEYS_UNUSABLE, r->e.text);
	} else {
		jwt_keys_free(a->jwt_keys);
		a->jwt_keys = r->jwt_keys;
		r->jwt_keys = NULL;
		access_identify_forget(a);
		a->jwks_file.error[0] = '\0';
	}
	reading_free(r);
}

static const struct background_work keys_work = {.run = read_keys, .done = keys_are_read, .drop = reading_free};
static const struct background_work jwks_work = {.run = read_jwks, .done = jwks_is_read, .drop = reading_free};

/* at_once: on the loop, because no request can be answered before. */
static void read_again(struct access *a, struct watched *w, const struct background_work *work, bool at_once)
{
	struct reading *r = calloc(1, sizeof *r);

	if (r == NULL)
		return; /* the next check tries again */
	r->access = a;
	buf_init(&r->faults, 2048);
	r->path = strdup(w->path);
	r->secret = a->secret != NULL ? strdup(a->secret) : NULL;
	if (r->path == NULL || (a->secret != NULL && r->secret == NULL)) {
		reading_free(r);
		return;
	}
	stat_file(w->path, &w->seen);
	if (at_once) {
		work->run(r);
		work->done(r);
		return;
	}
	w->job = background_start(a->background, work, r);
	if (w->job == NULL) {
		memset(&w->seen, 0, sizeof w->seen);
		reading_free(r);
	}
}

static void check_file(struct access *a, struct watched *w, const struct background_work *work)
{
	struct seen now;

	if (w->path == NULL || w->job != NULL || clock_mono_ms() < w->retry_ms)
		return;
	stat_file(w->path, &now);
	if (memcmp(&now, &w->seen, sizeof now) != 0)
		read_again(a, w, work, false);
}

void access_files_forget(struct watched *w)
{
	if (w->job != NULL)
		background_cancel(w->job);
	free(w->path);
	memset(w, 0, sizeof *w);
}

/* True: it is another one now. path NULL: none. */
static bool watch_file(struct watched *w, const char *path)
{
	if (path != NULL && w->path != NULL && strcmp(path, w->path) == 0)
		return false;
	access_files_forget(w);
	if (path == NULL || (w->path = strdup(path)) == NULL)
		return false;
	return true;
}

void access_files_watch_keys(struct access *a, const char *path)
{
	if (watch_file(&a->keys_file, path))
		read_again(a, &a->keys_file, &keys_work, a->keys == NULL);
}

void access_files_watch_jwks(struct access *a, const char *path)
{
	watch_file(&a->jwks_file, path);
}

void access_files_check(struct access *a)
{
	check_file(a, &a->keys_file, &keys_work);
	check_file(a, &a->jwks_file, &jwks_work);
}
