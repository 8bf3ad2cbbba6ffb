/* SPDX-License-Identifier: Apache-2.0 */
/* Usage: a row for each attempt at an LLM, also of one that failed or was cancelled, in an SQLite database of
 * its own (usage.file), which several workers share.
 *
 * Rows are collected and written by a thread, several times a second. What a worker that is killed had not
 * written yet is lost; what cannot be written now is written later, up to a limit. One thread. */
#ifndef TT_ACCESS_USAGE_LOG_H
#define TT_ACCESS_USAGE_LOG_H

#include "core/base/err.h"
#include "core/config/config.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct usage_log;

struct usage_row {
	int64_t at_ms, took_ms;                   /* when it ended (wall clock), and how long it took */
	const char *key_id, *subject, *model;     /* "": none */
	const char *outcome;                      /* "complete", "cancelled", ... */
	int64_t prompt_tokens, completion_tokens; /* prompt -1: the LLM did not say */
};

struct usage_log *usage_log_new(struct event_base *base, struct err *e); /* NULL with e: no memory */
void usage_log_free(struct usage_log *u);                                /* writes what is left; NULL is fine */
void usage_log_configure(struct usage_log *u, const struct config *c);   /* at start and after changes */
void usage_log_add(struct usage_log *u, const struct usage_row *r);      /* copied */

/* Where rows are stored; free(). NULL: nowhere, or no memory. */
char *usage_log_file(const struct config *c);

/* Sums since a time (wall clock, ms), for administrators; blocking. by: "key", "subject", "model", "day" or
 * "outcome". [{by:TEXT,"attempts","failed","prompt_tokens","completion_tokens","seconds"}], most tokens first:
 * a new reference. NULL with e. */
json_t *usage_log_sums(const char *file, const char *by, int64_t since_ms, struct err *e);

struct usage_request {
	const char *by; /* copied */
	int64_t since_ms;
	struct config
		*all_hosts; /* with which they share a Redis: their sums (shared_usage_sums); NULL: those of this one */
};

/* The same on the log's thread, within a few seconds: done gets the sums, borrowed, or NULL with e, never before this
 * returns. NULL with e: nothing is stored, too many wait, or no memory; done is not called then. */
#define USAGE_QUERIES_MAX 8
struct usage_query;
typedef void usage_query_fn(void *arg, const json_t *sums, const struct err *e);
struct usage_query *usage_log_query(struct usage_log *u, const struct usage_request *r, usage_query_fn *done, void *arg,
                                    struct err *e);
void usage_query_cancel(struct usage_query *q); /* done is not called */
/* Whether usage can be summed by that. */
bool usage_log_sums_by(const char *by);

#endif
