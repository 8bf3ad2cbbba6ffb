/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations: what was said in each thread. A thread is (subject, thread_id).
 *
 * Everything answers by callback on the loop, so that a database thread or Redis can
 * stand behind the same interface. Readers see whole turns only. */
#ifndef TT_STORE_STORE_H
#define TT_STORE_STORE_H

#include "core/base/err.h"
#include "core/config/config.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_request;

struct store_key {
	const char *subject; /* whom the web server vouches for; "" = nobody */
	const char *thread_id;
};

/* One turn: the messages that it added, in the OpenAI shape, the user's first:
 * [{"role":"user","content":...},{"role":"assistant","content":...}, ...]. */

struct store_limits {
	int64_t expire_ms;        /* from a thread's last turn until it is forgotten; 0 = never */
	int64_t short_id_idle_ms; /* the same, where its id is short */
	size_t max_threads;       /* in memory: the longest unused go first */
};

/* Fewer than 8 digits and nothing else: TT-Studio counts its threads "0", "1", ... in every
 * browser anew, so such ids are soon used by somebody else. */
bool store_id_is_short(const char *thread_id);

/* What one thread keeps at most: older turns leave whole. Far more than any context
 * window takes. */
#define STORE_TURNS_MAX        256
#define STORE_THREAD_BYTES_MAX (8u << 20)

/* Conversations in this process's memory. */
struct store *store_memory_new(struct event_base *base, const struct store_limits *limits, struct err *e);

/* Conversations in a SQLite file, which other processes may share. A thread of its own
 * opens the file and does all that may block; while the file cannot be opened (it is tried
 * again at growing intervals) or is damaged or full, requests fail with the reason and one
 * log line tells when that begins and ends. run names this run of the service
 * (store_run_name): short ids of another run are not seen. NULL with e: no memory. */
struct store *store_sqlite_new(struct event_base *base, const char *file, const char *run,
                               const struct store_limits *limits, struct err *e);

/* The store that the configuration names (threads.*): SQLite, or memory where threads.file
 * says so or its folder is missing (which is logged). */
struct store *store_open(struct event_base *base, const struct config *c, const char *run, struct err *e);

/* Whether a value of threads.file means memory. */
bool store_is_memory(const char *file);

/* When a thread of that id is forgotten after its last turn; 0 = never. */
int64_t store_idle_ms(const struct config *c, const char *thread_id);

/* Takes limits that changed. That the conversations lie elsewhere takes another store. */
void store_configure(struct store *s, const struct config *c);

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

/* Appends one turn (messages is stolen, also where NULL is returned: no memory). done
 * may be NULL. A load that is asked for later sees it. */
typedef void store_saved_fn(void *arg, const struct err *e); /* e NULL: stored */
struct store_request *store_append(struct store *s, const struct store_key *k, json_t *messages, store_saved_fn *done,
                                   void *arg);

/* done is not called any more; an append still takes place. NULL is fine. */
void store_cancel(struct store_request *r);

#endif
