/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind store.h and store_admin.h: a struct store_ops per kind of store. A new one is
 * a file core/store/store_KIND.c, which defines store_KIND, and a row in
 * core/config/store_kinds.h. */
#ifndef TT_STORE_STORE_IMPL_H
#define TT_STORE_STORE_IMPL_H

#include "core/store/store.h"
#include "core/config/store_kinds.h"
#include "core/store/store_admin.h"

/* For administrators, blocking; store_admin.h has the contracts. */
struct store_admin_ops {
	struct store_admin *(*open)(const char *place, struct err *e);
	void (*close)(struct store_admin *a);
	int (*list)(struct store_admin *a, store_thread_fn *found, void *arg, struct err *e);
	json_t *(*show)(struct store_admin *a, const struct store_key *k, struct err *e);
	int64_t (*delete)(struct store_admin *a, const struct store_key *k, struct err *e);
	int (*export)(struct store_admin *a, store_export_fn *each, void *arg, struct err *e);
	int (*size)(struct store_admin *a, struct store_size *size, struct err *e);
};

struct store_ops {
	/* place is what follows the scheme in the URL. -1 with e: no conversation can be kept
	 * there as things stand. NULL: every place will do. */
	int (*check)(const char *place, struct err *e);
	struct store *(*open)(struct event_base *base, const char *place, const char *run,
	                      const struct store_limits *limits, struct err *e);
	struct store_request *(*load)(struct store *s, const struct store_key *k, store_loaded_fn *done, void *arg);
	struct store_request *(*append)(struct store *s, const struct store_key *k, json_t *messages,
	                                store_saved_fn *done, void *arg);
	void (*cancel)(struct store_request *r);
	void (*configure)(struct store *s, const struct store_limits *limits);
	void (*free)(struct store *s);
	const struct store_admin_ops *admin;
};

/* The first member of each kind's own struct. */
struct store {
	const struct store_ops *ops;
	char *url; /* as configured; store.c's, as is counters */
	struct counters *counters;
};

struct store_request {
	const struct store_ops *ops;
};

struct store_admin {
	const struct store_admin_ops *ops;
};

#define STORE_DECLARE(kind) extern const struct store_ops store_##kind;
STORE_KINDS(STORE_DECLARE)
#undef STORE_DECLARE

#endif
