#include "core/store/store_impl.h"

void store_free(struct store *s)
{
	if (s != NULL)
		s->ops->free(s);
}

struct store_request *store_load(struct store *s, const struct store_key *k, store_loaded_fn *done, void *arg)
{
	return s->ops->load(s, k, done, arg);
}

struct store_request *store_append(struct store *s, const struct store_key *k, json_t *messages,
                                   store_saved_fn *done, void *arg)
{
	return s->ops->append(s, k, messages, done, arg);
}

void store_cancel(struct store_request *r)
{
	if (r != NULL)
		r->ops->cancel(r);
}
