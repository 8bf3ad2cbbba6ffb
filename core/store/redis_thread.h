/* SPDX-License-Identifier: Apache-2.0 */
/* What is stored of a thread in Redis: the list tt:{H}:t of its turns, each {"number","at","id","mark","messages"}, and
 * the hash tt:{H}:m of what is known of it (subject, thread_id, run, created, used, n, bytes, ids, marks, marked). H
 * names it without saying whose it is, and in a cluster puts both on one server. Both expire with the thread. */
#ifndef TT_STORE_REDIS_THREAD_H
#define TT_STORE_REDIS_THREAD_H

#include "core/redis/redis.h"
#include "core/store/store.h"

#define REDIS_TURN_ID 16 /* digits of a turn's id */
#define REDIS_MARK    16 /* digits of what each append is marked by */

struct redis_keys {
	char turns[80], meta[80];
};

/* run: "" unless the thread's id is short. */
void redis_keys_of(struct redis_keys *keys, const char *subject, const char *thread_id, const char *run);

/* One turn to be appended, once for each id. */
struct redis_append {
	const struct redis_keys *keys;
	const struct store_key *key;
	const char *run;
	char id[REDIS_TURN_ID + 1];
	const char *messages; /* JSON */
	size_t len;
	int64_t at_ms, created_ms, expire_ms; /* wall clock; expire_ms: 0 = never */
	size_t thread_bytes;
	bool late; /* it has waited: turns that began after it may be stored already */
};
struct redis_request *redis_append_run(struct redis *r, const struct redis_append *a, redis_done_fn *done, void *arg);

/* Deletes the thread, or (response) its turn with the answer of that id. The reply is a number, 0: there was none. */
struct redis_request *redis_delete_run(struct redis *r, const struct redis_keys *keys, const char *response,
                                       redis_done_fn *done, void *arg);

#endif
