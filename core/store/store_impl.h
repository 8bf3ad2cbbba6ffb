/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind store.h: one of these per kind of store. */
#ifndef TT_STORE_STORE_IMPL_H
#define TT_STORE_STORE_IMPL_H

#include "core/store/store.h"

struct store_ops {
	void (*free)(struct store *s);
	struct store_request *(*load)(struct store *s, const struct store_key *k, store_loaded_fn *done, void *arg);
	struct store_request *(*append)(struct store *s, const struct store_key *k, json_t *messages,
	                                store_saved_fn *done, void *arg);
	void (*cancel)(struct store_request *r);
	void (*set_limits)(struct store *s, const struct store_limits *limits);
};

/* The first member of each kind's own struct. */
struct store {
	const struct store_ops *ops;
};

struct store_request {
	const struct store_ops *ops;
};

#endif
