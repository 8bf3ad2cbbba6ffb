/* SPDX-License-Identifier: Apache-2.0 */
/* The file of API keys: one key a line, each a JSON object.
 *
 *   {"id":"alice","sha256":HEX,"created":SECONDS,"subject":TEXT,"models":[PATTERN],"tools":[PATTERN],
 *    "requests_per_minute":N,"tokens_per_minute":N,"turns":N,"priority":"low"|"normal"|"high",
 *    "expires":SECONDS,"admin":BOOL,"revoked":SECONDS,"ends_answers":BOOL,
 *    "former":{"sha256":HEX,"expires":SECONDS}}
 *
 * All but id and sha256 may be missing. A line that is not such an object costs its own key, which
 * is refused; so does a member that is not known, as it may restrict the key. The keys themselves are
 * random and long, so their SHA-256 needs no salt and no stretching, and is found by a hash table:
 * how long that takes tells nothing of a key, as nobody can choose its digest. */
#ifndef TT_ACCESS_KEYS_H
#define TT_ACCESS_KEYS_H

#include "core/access/crypto.h"
#include "core/access/identity.h"
#include "core/base/buf.h"
#include "core/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define KEYS_FILE_MAX (16u << 20)
#define KEY_ID_MAX    64
#define KEY_PREFIX    "tta_"
#define KEY_TEXT_MAX  (sizeof KEY_PREFIX + 44) /* with its NUL */

struct key {
	struct identity *identity;
	int64_t expires_ms; /* wall clock; 0: never */
	bool revoked;
	bool ends_answers; /* once it is revoked: those that run */
};

struct keys;

/* Reads the file's text. faults gets a line for each line of the file that is left out. NULL with e: no memory. */
struct keys *keys_parse(const char *text, size_t len, struct buf *faults, struct err *e);
void keys_free(struct keys *k); /* NULL is fine */
size_t keys_count(const struct keys *k);

const struct key *keys_find(const struct keys *k, const uint8_t sha256[DIGEST_LEN]); /* NULL: none; k may be NULL */
const struct key *keys_find_id(const struct keys *k, const char *id);

/* Whether a service that runs as reader may trust the file: only its owner (root or reader) may write it, and
 * nobody but its group may read it. -1 with e. */
int keys_check_file(const char *file, const struct stat *st, uid_t reader, struct err *e);

/* Reads the file, which this user must be able to trust. -1 with e. A missing file is empty. out has a limit of
 * KEYS_FILE_MAX. */
int keys_read(const char *file, struct buf *out, struct err *e);

/* ---- for administrators; blocking ------------------------------------------------------------- */

bool key_id_is_valid(const char *id);

/* A new key's text; sha256 gets its digest as hex. -1 with e: there are no random bytes. */
int key_make(char text[KEY_TEXT_MAX], char sha256[2 * DIGEST_LEN + 1], struct err *e);

/* Whether a record is valid. -1 with e. */
int key_check(const json_t *record, struct err *e);

/* Changes the file while no other program does: edit gets the records, as an array in which lines
 * that are not JSON are strings, and changes it or fails with e. The file is then replaced, with the
 * owner and the mode that it has; a new one may be read by that group, the service's ((gid_t)-1: that of
 * its directory). -1 with e. */
typedef int keys_edit_fn(void *arg, json_t *records, struct err *e);
int keys_edit(const char *file, gid_t group, keys_edit_fn *edit, void *arg, struct err *e);

#endif
