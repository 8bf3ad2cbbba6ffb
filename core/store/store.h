/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations: the turns of each thread. A thread is (subject, thread_id).
 *
 * Everything answers by callback on the loop, so that a database thread or a server can be
 * behind the same interface. Readers see whole turns only. store_admin.h has what
 * administrators need. */
#ifndef TT_STORE_STORE_H
#define TT_STORE_STORE_H

#include "core/base/err.h"
#include "core/config/config.h"
#include "core/status/counters.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_request;

struct store_key {
	const char *subject; /* the user that the web server authenticated; "" = nobody */
	const char *thread_id;
};

/* One turn: the messages that it added, in the OpenAI shape, the user's first:
 * [{"role":"user","content":...},{"role":"assistant","content":...}, ...]. */

struct store_limits {
	int64_t expire_ms;         /* from a thread's last turn until it expires; 0 = never */
	int64_t short_id_idle_ms;  /* the same, where its id is short */
	size_t max_threads;        /* the least recently used go first; 0 = any number (not in memory) */
	int64_t max_bytes;         /* of all threads, with what stores them; 0 = any number */
	size_t thread_bytes;       /* of one; 0 = STORE_THREAD_BYTES_MAX */
	size_t turn_bytes;         /* of one turn as JSON, else it is cut; 0 = any number */
	size_t unsaved_bytes;      /* of turns that wait while a server is away; 0 = as many as usual */
	struct counters *counters; /* of what was evicted or cut; NULL is fine */
};

/* Fewer than 8 digits and nothing else: TT-Studio counts its threads "0", "1", ... in each
 * browser, so such ids are soon used by somebody else. */
bool store_id_is_short(const char *thread_id);

/* The most that is stored of one thread; older turns are dropped whole. Far more than any
 * context window takes. */
#define STORE_TURNS_MAX        256
#define STORE_THREAD_BYTES_MAX (8u << 20)

/* The store of a URL: "sqlite:PATH" (an SQLite file that other processes may share),
 * "memory:" (this process's memory), or one of Redis (core/redis/redis.h), which other hosts may share.
 *
 * run names this run of the service (store_run_name): short ids of another run are not seen.
 * Whatever may block is done off the loop; while the store cannot be used, requests fail with
 * the reason, and one log line reports when that begins and one when it ends. NULL with e: the
 * URL is not that of a store, or out of memory. */
struct store *store_new(struct event_base *base, const char *url, const char *run, const struct store_limits *limits,
                        struct err *e);

/* The store that the configuration names (threads.*); where nothing can be kept there, because
 * the directory is missing for example, memory takes its place, which is logged. counters outlives
 * the store; NULL is fine. */
struct store *store_open(struct event_base *base, const struct config *c, const char *run, struct counters *counters,
                         struct err *e);

/* Whether the configuration names another store than the one that was opened: the
 * conversations are stored elsewhere, which takes another store. */
bool store_moved(const struct store *s, const struct config *c);

/* Takes limits that changed. */
void store_configure(struct store *s, const struct config *c);

/* When a thread of that id is forgotten after its last turn; 0 = never. */
int64_t store_idle_ms(const struct config *c, const char *thread_id);

/* A name that lasts as long as the process pid does, also over exec. */
void store_run_name(long pid, char out[64]);

/* Open requests end without callbacks; what is to be appended is written first. Not from
 * within a callback. */
void store_free(struct store *s);

/* turns: array of arrays (borrowed), oldest first; NULL with e where the store failed
 * (a turn then goes on without memory). Never called from within store_load. */
typedef void store_loaded_fn(void *arg, const json_t *turns, const struct err *e);
/* NULL: no memory, done is never called. The turns are shared: never change them. */
struct store_request *store_load(struct store *s, const struct store_key *k, store_loaded_fn *done, void *arg);

/* Appends one turn (messages is stolen, also where NULL is returned: no memory; nobody may change it from
 * now on). done may be NULL. A load that is started later sees it. */
typedef void store_saved_fn(void *arg, const struct err *e); /* e NULL: a load from now on has it, in any process */
struct store_request *store_append(struct store *s, const struct store_key *k, json_t *messages, store_saved_fn *done,
                                   void *arg);

/* Deletes a thread, or (response) of its turns the one with the answer of that id, as store_answer_of tells it. A load
 * that is started later, in this process, sees nothing of it, and once done was called none anywhere does. What is
 * appended later is stored: of a turn that runs meanwhile, the thread has this one alone. found: there was something to
 * delete; deleting it once more is no error. e: the store failed, and it may or may not be deleted; done may be NULL.
 * NULL: no memory, and nothing is deleted. */
typedef void store_deleted_fn(void *arg, bool found, const struct err *e);
struct store_request *store_delete(struct store *s, const struct store_key *k, const char *response,
                                   store_deleted_fn *done, void *arg);

/* The id of the answer whose turn these are, {"response":{"id":...}} in the last message; "": they have none. */
const char *store_answer_of(const json_t *messages);

/* done is not called any more; an append or a deletion still takes place. NULL is fine. */
void store_cancel(struct store_request *r);

#endif
