/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/keys.h"

#include "core/config/readfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUBJECT_MAX  512
#define PATTERN_MAX  512
#define PATTERNS_MAX 256
#define NUMBER_MAX   INT64_C(1000000000000) /* of a limit, and of seconds since the epoch */

/* ---- a record ---------------------------------------------------------------------------------- */

struct record {
	const char *id, *subject, *priority;
	const char *sha256, *former_sha256;
	const json_t *models, *tools;
	int64_t requests, tokens, turns, created, expires, revoked, former_expires;
	bool admin, ends_answers;
};

static bool is_text(const char *text, size_t max)
{
	size_t len = strlen(text);

	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return len > 0 && len <= max;
}

bool key_id_is_valid(const char *id)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.@";
	size_t len = strspn(id, allowed);

	return len > 0 && len <= KEY_ID_MAX && id[len] == '\0';
}

static int digest_from_hex(const char *hex, uint8_t out[DIGEST_LEN])
{
	size_t len = 0;

	return strlen(hex) == 2 * DIGEST_LEN && strspn(hex, "0123456789abcdefABCDEF") == 2 * DIGEST_LEN &&
	                       OPENSSL_hexstr2buf_ex(out, DIGEST_LEN, &len, hex, '\0') == 1 && len == DIGEST_LEN
	               ? 0
	               : -1;
}

static bool read_digest(const json_t *value, void *to)
{
	uint8_t bytes[DIGEST_LEN];
	const char *text = json_string_value(value);

	*(const char **)to = text;
	return text != NULL && digest_from_hex(text, bytes) == 0;
}

static bool read_id(const json_t *value, void *to)
{
	const char *text = json_string_value(value);

	*(const char **)to = text;
	return text != NULL && key_id_is_valid(text);
}

static bool read_subject(const json_t *value, void *to)
{
	const char *text = json_string_value(value);

	*(const char **)to = text;
	return text != NULL && is_text(text, SUBJECT_MAX);
}

static const char *const priorities[] = {[ACCESS_LOW] = "low", [ACCESS_NORMAL] = "normal", [ACCESS_HIGH] = "high"};
#define PRIORITIES (sizeof priorities / sizeof priorities[0])

static size_t priority_of(const char *text)
{
	size_t i = 0;

	while (i < PRIORITIES && strcmp(priorities[i], text) != 0)
		i++;
	return i;
}

static bool read_priority(const json_t *value, void *to)
{
	const char *text = json_string_value(value);

	*(const char **)to = text;
	return text != NULL && priority_of(text) < PRIORITIES;
}

static bool read_patterns(const json_t *value, void *to)
{
	*(const json_t **)to = value;
	if (!json_is_array(value) || json_array_size(value) > PATTERNS_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(value); i++) {
		const char *text = json_string_value(json_array_get(value, i));

		if (text == NULL || !is_text(text, PATTERN_MAX))
			return false;
	}
	return true;
}

static bool read_number(const json_t *value, void *to)
{
	*(int64_t *)to = json_integer_value(value);
	return json_is_integer(value) && *(int64_t *)to >= 0 && *(int64_t *)to <= NUMBER_MAX;
}

static bool read_bool(const json_t *value, void *to)
{
	*(bool *)to = json_is_true(value);
	return json_is_boolean(value);
}

struct member {
	const char *name;
	size_t at;
	bool (*read)(const json_t *value, void *to);
	const char *wanted;
};
#define MEMBER(name, field, read, wanted)                                                                              \
	{                                                                                                              \
		name, offsetof(struct record, field), read, wanted                                                     \
	}

static const struct member former_members[] = {
	MEMBER("sha256", former_sha256, read_digest, "64 hex digits"),
	MEMBER("expires", former_expires, read_number, "seconds since the epoch"),
};

static int read_members(const json_t *object, const struct member *members, size_t count, struct record *r,
                        struct err *e);

static bool read_former(const json_t *value, void *to)
{
	struct record *r = (struct record *)(void *)((char *)to - offsetof(struct record, former_sha256));

	return json_is_object(value) &&
	       read_members(value, former_members, sizeof former_members / sizeof former_members[0], r, NULL) == 0 &&
	       r->former_sha256 != NULL && r->former_expires > 0;
}

static const struct member members[] = {
	MEMBER("id", id, read_id, "letters, digits and -_.@, at most 64"),
	MEMBER("sha256", sha256, read_digest, "64 hex digits"),
	MEMBER("subject", subject, read_subject, "text without control characters"),
	MEMBER("models", models, read_patterns, "a list of patterns"),
	MEMBER("tools", tools, read_patterns, "a list of patterns"),
	MEMBER("requests_per_minute", requests, read_number, "a number"),
	MEMBER("tokens_per_minute", tokens, read_number, "a number"),
	MEMBER("turns", turns, read_number, "a number"),
	MEMBER("priority", priority, read_priority, "low, normal or high"),
	MEMBER("created", created, read_number, "seconds since the epoch"),
	MEMBER("expires", expires, read_number, "seconds since the epoch"),
	MEMBER("admin", admin, read_bool, "true or false"),
	MEMBER("revoked", revoked, read_number, "seconds since the epoch"),
	MEMBER("ends_answers", ends_answers, read_bool, "true or false"),
	MEMBER("former", former_sha256, read_former, "sha256 and expires of the key before it"),
};

static int read_members(const json_t *object, const struct member *known, size_t count, struct record *r, struct err *e)
{
	const char *name;
	json_t *value;

	/* The cast takes nothing from the object: jansson's macro only reads. */
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		size_t i = 0;

		while (i < count && strcmp(known[i].name, name) != 0)
			i++;
		if (i == count)
			return err_set(e, "unknown member '%.40s'", name);
		if (!known[i].read(value, (char *)r + known[i].at))
			return err_set(e, "%s: not %s", name, known[i].wanted);
	}
	return 0;
}

static int read_record(const json_t *object, struct record *r, struct err *e)
{
	*r = (struct record){.id = NULL};
	if (!json_is_object(object))
		return err_set(e, "not a JSON object");
	if (read_members(object, members, sizeof members / sizeof members[0], r, e) < 0)
		return -1;
	if (r->id == NULL || r->sha256 == NULL)
		return err_set(e, "%s is missing", r->id == NULL ? "id" : "sha256");
	return 0;
}

int key_check(const json_t *record, struct err *e)
{
	struct record r;

	return read_record(record, &r, e);
}

/* ---- the table ----------------------------------------------------------------------------------- */

struct entry {
	uint8_t sha256[DIGEST_LEN];
	struct key key;
};

struct keys {
	struct entry *entries; /* a rotated key has two, with one identity */
	size_t count, room;
	uint32_t *table; /* 1 + an index of entries, by digest; 0: free */
	size_t mask;
	json_t *ids; /* id -> index of entries */
};

void keys_free(struct keys *k)
{
	if (k == NULL)
		return;
	for (size_t i = 0; i < k->count; i++)
		identity_unref(k->entries[i].key.identity);
	free(k->entries);
	free(k->table);
	json_decref(k->ids);
	free(k);
}

size_t keys_count(const struct keys *k)
{
	return k == NULL ? 0 : k->count;
}

static size_t place_of(const struct keys *k, const uint8_t sha256[DIGEST_LEN])
{
	size_t at;

	memcpy(&at, sha256, sizeof at);
	for (at &= k->mask; k->table[at] != 0; at = (at + 1) & k->mask)
		if (memcmp(k->entries[k->table[at] - 1].sha256, sha256, DIGEST_LEN) == 0)
			break;
	return at;
}

const struct key *keys_find(const struct keys *k, const uint8_t sha256[DIGEST_LEN])
{
	size_t at;

	if (k == NULL || k->count == 0)
		return NULL;
	at = place_of(k, sha256);
	return k->table[at] == 0 ? NULL : &k->entries[k->table[at] - 1].key;
}

const struct key *keys_find_id(const struct keys *k, const char *id)
{
	const json_t *index = k == NULL ? NULL : json_object_get(k->ids, id);

	return index == NULL ? NULL : &k->entries[json_integer_value(index)].key;
}

static int copy_patterns(struct patterns *p, const json_t *list)
{
	if (list == NULL)
		return 0;
	p->items = calloc(json_array_size(list) + 1, sizeof *p->items);
	if (p->items == NULL)
		return -1;
	for (; p->count < json_array_size(list); p->count++) {
		p->items[p->count] = strdup(json_string_value(json_array_get(list, p->count)));
		if (p->items[p->count] == NULL)
			return -1;
	}
	return 0;
}

static struct identity *make_identity(const struct record *r)
{
	char subject[sizeof "key:" + KEY_ID_MAX];
	struct identity *i;

	snprintf(subject, sizeof subject, "key:%s", r->id);
	i = identity_new(r->subject != NULL ? r->subject : subject, r->id, "key", r->id);
	if (i == NULL)
		return NULL;
	i->known.limits = (struct access_limits){.requests = r->requests, .tokens = r->tokens, .turns = r->turns};
	i->known.admin = r->admin;
	if (r->priority != NULL)
		i->known.priority = (enum access_priority)priority_of(r->priority);
	if (copy_patterns(&i->models, r->models) == 0 && copy_patterns(&i->tools, r->tools) == 0)
		return i;
	identity_unref(i);
	return NULL;
}

/* Takes over a reference of i. */
static int add_entry(struct keys *k, const char *sha256, struct identity *i, const struct record *r, int64_t expires)
{
	struct entry *entry;

	if (k->count == k->room) {
		size_t room = k->room == 0 ? 16 : 2 * k->room;
		struct entry *more = reallocarray(k->entries, room, sizeof *more);

		if (more == NULL) {
			identity_unref(i);
			return -1;
		}
		k->entries = more;
		k->room = room;
	}
	entry = &k->entries[k->count++];
	*entry = (struct entry){.key = {.identity = i,
	                                .expires_ms = expires * 1000,
	                                .revoked = r->revoked != 0,
	                                .ends_answers = r->ends_answers}};
	return digest_from_hex(sha256, entry->sha256);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

static int add_record(struct keys *k, const struct record *r)
{
	struct identity *i = make_identity(r);

	if (i == NULL || json_object_set_new(k->ids, r->id, json_integer((json_int_t)k->count)) < 0) {
		identity_unref(i);
		return -1;
	}
	if (add_entry(k, r->sha256, i, r, r->expires) < 0)
		return -1;
	if (r->former_sha256 == NULL)
		return 0;
	i->refs++;
	return add_entry(k, r->former_sha256, i, r, earlier(r->former_expires, r->expires));
}

static int make_table(struct keys *k)
{
	size_t size = 16;

	while (size < 2 * k->count)
		size *= 2;
	k->mask = size - 1;
	k->table = calloc(size, sizeof *k->table);
	if (k->table == NULL)
		return -1;
	for (size_t i = 0; i < k->count; i++) {
		size_t at = place_of(k, k->entries[i].sha256);

		if (k->table[at] == 0)
			k->table[at] = (uint32_t)(i + 1);
	}
	return 0;
}

/* ---- the text -------------------------------------------------------------------------------------- */

/* The next line of text, without its end and without whitespace around it; false: there is none. */
static bool next_line(const char **at, const char *end, const char **line, size_t *len)
{
	const char *stop;

	if (*at == end)
		return false;
	stop = memchr(*at, '\n', (size_t)(end - *at));
	*line = *at;
	*at = stop != NULL ? stop + 1 : end;
	if (stop == NULL)
		stop = end;
	while (*line < stop && strchr(" \t\r", **line) != NULL && **line != '\0')
		++*line;
	while (stop > *line && strchr(" \t\r", stop[-1]) != NULL && stop[-1] != '\0')
		stop--;
	*len = (size_t)(stop - *line);
	return true;
}

static int add_line(struct keys *k, const char *line, size_t len, struct err *e)
{
	json_error_t error;
	json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	struct record r;
	int result;

	/* jansson's message would repeat what the line contains. */
	result = object == NULL ? err_set(e, "not a JSON object") : read_record(object, &r, e);
	if (result == 0 && json_object_get(k->ids, r.id) != NULL)
		result = err_set(e, "a second key of the id %s", r.id);
	if (result == 0 && add_record(k, &r) < 0)
		result = -1; /* without e: no memory */
	json_decref(object);
	return result;
}

struct keys *keys_parse(const char *text, size_t len, struct buf *faults, struct err *e)
{
	const char *at = text, *end = text + len, *line;
	struct keys *k = calloc(1, sizeof *k);
	unsigned number = 0;
	size_t length;

	if (k != NULL && (k->ids = json_object()) == NULL)
		goto no_memory;
	while (k != NULL && next_line(&at, end, &line, &length)) {
		struct err fault = ERR_INIT;

		number++;
		if (length == 0 || *line == '#')
			continue;
		if (add_line(k, line, length, &fault) == 0)
			continue;
		if (!err_is_set(&fault))
			goto no_memory;
		buf_addf(faults, "line %u: %s\n", number, fault.text);
	}
	if (k != NULL && make_table(k) == 0)
		return k;
no_memory:
	keys_free(k);
	err_set(e, "no memory for the keys");
	return NULL;
}

/* ---- the file ---------------------------------------------------------------------------------------- */

int keys_check_file(const char *file, const struct stat *st, uid_t reader, struct err *e)
{
	if (st->st_uid != 0 && st->st_uid != reader)
		return err_set(e, "%s: belongs to user %ld, who could write any key into it (chown root)", file,
		               (long)st->st_uid);
	if ((st->st_mode & 0027) != 0)
		return err_set(e, "%s: others may write or read it (chmod 640)", file);
	return 0;
}

int keys_read(const char *file, struct buf *out, struct err *e)
{
	struct err why = ERR_INIT;
	struct stat st;

	if (readfile(file, out, &st, &why) < 0)
		return errno == ENOENT ? 0 : err_set(e, "%s", why.text);
	return keys_check_file(file, &st, geteuid(), e);
}

/* ---- changing the file --------------------------------------------------------------------------------- */

int key_make(char text[KEY_TEXT_MAX], char sha256[2 * DIGEST_LEN + 1], struct err *e)
{
	uint8_t secret[32], sum[DIGEST_LEN];

	snprintf(text, KEY_TEXT_MAX, "%s", KEY_PREFIX);
	if (random_bytes(secret, sizeof secret) < 0)
		return err_set(e, "libcrypto has no random bytes");
	base64url_encode(secret, sizeof secret, text + strlen(KEY_PREFIX));
	OPENSSL_cleanse(secret, sizeof secret);
	if (digest_once(text, strlen(text), sum) < 0)
		return err_set(e, "libcrypto has no SHA-256");
	for (size_t i = 0; i < DIGEST_LEN; i++)
		snprintf(sha256 + 2 * i, 3, "%02x", sum[i]);
	return 0;
}

/* Lines that are not JSON objects are kept as they are. */
static json_t *read_records(const char *text, size_t len)
{
	const char *at = text, *end = text + len, *line;
	json_t *records = json_array();
	size_t length;

	while (next_line(&at, end, &line, &length)) {
		json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);

		if (!json_is_object(object)) {
			json_decref(object);
			object = json_stringn_nocheck(line, length);
		}
		if (json_array_append_new(records, object) < 0) {
			json_decref(records);
			return NULL;
		}
	}
	return records;
}

static int write_records(FILE *out, const json_t *records)
{
	for (size_t i = 0; i < json_array_size(records); i++) {
		const json_t *record = json_array_get(records, i);

		if (json_is_string(record))
			fwrite(json_string_value(record), 1, json_string_length(record), out);
		else if (json_dumpf(record, out, JSON_COMPACT) < 0)
			return -1;
		putc('\n', out);
	}
	return ferror(out) || fflush(out) != 0 || fsync(fileno(out)) != 0 ? -1 : 0;
}

static int set_owner(int fd, const char *file, int directory, gid_t group)
{
	struct stat st;
	bool exists = stat(file, &st) == 0;

	if (!exists && fstat(directory, &st) < 0)
		return -1;
	if (!exists && group != (gid_t)-1)
		st.st_gid = group;
	if (fchown(fd, exists ? st.st_uid : (uid_t)-1, st.st_gid) < 0 && errno != EPERM)
		return -1;
	return fchmod(fd, exists ? st.st_mode & 0777 : 0640);
}

static int replace(const char *file, int directory, gid_t group, const json_t *records, struct err *e)
{
	char *temporary = NULL;
	FILE *out = NULL;
	int fd = -1, result = -1;

	if (asprintf(&temporary, "%s.XXXXXX", file) < 0)
		return err_set(e, "no memory for the keys");
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd >= 0 && set_owner(fd, file, directory, group) == 0)
		out = fdopen(fd, "w");
	if (out != NULL && write_records(out, records) == 0 && rename(temporary, file) == 0 && fsync(directory) == 0)
		result = 0;
	else
		err_set_errno(e, errno, "%s cannot be written", file);
	if (result < 0 && fd >= 0)
		unlink(temporary);
	if (out != NULL)
		fclose(out);
	else if (fd >= 0)
		close(fd);
	free(temporary);
	return result;
}

static int lock_directory(const char *file, struct err *e)
{
	char *copy = strdup(file);
	int fd = copy == NULL ? -1 : open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		err_set_errno(e, errno, "the directory of %s", file);
	else
		while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
			continue;
	free(copy);
	return fd;
}

int keys_edit(const char *file, gid_t group, keys_edit_fn *edit, void *arg, struct err *e)
{
	struct buf text = BUF_INIT(KEYS_FILE_MAX);
	struct err why = ERR_INIT;
	json_t *records = NULL;
	int directory = lock_directory(file, e), result = -1;

	if (directory < 0)
		return -1;
	if (readfile(file, &text, NULL, &why) < 0 && errno != ENOENT) {
		err_set(e, "%s", why.text);
		goto out;
	}
	records = read_records(text.len > 0 ? text.data : "", text.len);
	if (records == NULL)
		err_set(e, "no memory for the keys");
	else if (edit(arg, records, e) == 0)
		result = replace(file, directory, group, records, e);
out:
	json_decref(records);
	buf_free(&text);
	close(directory);
	return result;
}
