/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind store.h and store_admin.h: a struct store_ops per kind of store. A new one is
 * a file core/store/store_KIND.c, which defines store_KIND, and a row in
 * core/config/store_kinds.h. */
#ifndef TT_STORE_STORE_IMPL_H
#define TT_STORE_STORE_IMPL_H

#include "core/store/store.h"
#include "core/config/store_kinds.h"
#include "core/store/store_admin.h"

/* Where a store is. */
struct store_place {
	struct event_base *base; /* NULL: for administrators */
	const char *url;
	const char *path; /* what follows the scheme in it */
	const char *run;
	const struct config *config; /* what else the store needs; NULL: the defaults */
};

/* For administrators, blocking; store_admin.h has the contracts. */
struct store_admin_ops {
	struct store_admin *(*open)(const struct store_place *place, struct err *e);
	void (*close)(struct store_admin *a);
	int (*list)(struct store_admin *a, store_thread_fn *found, void *arg, struct err *e);
	/* NULL without e: it is not there. */
	json_t *(*show)(struct store_admin *a, const struct store_key *k, struct err *e);
	/* One turn, with its number and time in the store that it comes from, to a thread of a long id. It may be
	 * called again with one that was just appended. */
	int (*append)(struct store_admin *a, const struct store_key *k, const json_t *messages, int64_t number,
	              int64_t at_ms, struct err *e);
	int64_t (*delete)(struct store_admin *a, const struct store_key *k, struct err *e);
	int (*export)(struct store_admin *a, store_export_fn *each, void *arg, struct err *e);
	int (*size)(struct store_admin *a, struct store_size *size, struct err *e);
};

/* As in 2026-11-23T14:05:06Z. */
json_t *store_admin_time(int64_t ms);
/* A thread as store_admin_show returns it. turns is stolen; NULL with e. */
json_t *store_admin_thread(const struct store_thread *t, json_t *turns, struct err *e);

struct store_ops {
	/* -1 with e: no conversation can be kept there as things stand. NULL: every place will do. */
	int (*check)(const struct store_place *place, struct err *e);
	struct store *(*open)(const struct store_place *place, const struct store_limits *limits, struct err *e);
	struct store_request *(*load)(struct store *s, const struct store_key *k, store_loaded_fn *done, void *arg);
	struct store_request *(*append)(struct store *s, const struct store_key *k, json_t *messages,
	                                store_saved_fn *done, void *arg);
	struct store_request *(*delete)(struct store *s, const struct store_key *k, const char *response,
	                                store_deleted_fn *done, void *arg);
	void (*cancel)(struct store_request *r);
	void (*configure)(struct store *s, const struct store_limits *limits);
	void (*free)(struct store *s);
	const struct store_admin_ops *admin;
};

/* A key with its strings, in one piece: free(). NULL: no memory. */
struct store_key *store_key_copy(const struct store_key *k);

/* The first member of each kind's own struct. */
struct store {
	const struct store_ops *ops;
	char *identity; /* the URL and all settings that say how it is reached; store.c's, as is counters */
	struct counters *counters;
};

struct store_request {
	const struct store_ops *ops;
};

struct store_admin {
	const struct store_admin_ops *ops;
};

#define STORE_DECLARE(scheme, kind) extern const struct store_ops store_##kind;
STORE_KINDS(STORE_DECLARE)
#undef STORE_DECLARE

#endif
