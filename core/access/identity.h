/* SPDX-License-Identifier: Apache-2.0 */
/* Identities: what a key, a token or the web server says of a client. One thread at a time. */
#ifndef TT_ACCESS_IDENTITY_H
#define TT_ACCESS_IDENTITY_H

#include "core/access/access.h"

struct patterns {
	char **items; /* of fnmatch; NULL: everything */
	size_t count;
};

/* struct access_identity is its first member. */
struct identity {
	struct access_identity known;
	unsigned refs;
	uint64_t counted_as; /* names the client among those whose requests are counted; never 0 */
	struct patterns models, tools;
};

static inline struct identity *identity_of(struct access_identity *i)
{
	return (struct identity *)i;
}

/* Copies the texts. kind and name are what counted_as is made from. NULL: no memory. */
struct identity *identity_new(const char *subject, const char *key_id, const char *kind, const char *name);
void identity_unref(struct identity *i);

#endif
