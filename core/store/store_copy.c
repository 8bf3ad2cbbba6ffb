/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations from one store to another. What is there already is left as it is, so a copy that was interrupted is
 * simply made again. */
#include "core/store/store_impl.h"

#include <string.h>
#include <time.h>

struct copying {
	struct store_admin *to;
	struct store_copied *copied;
	store_copied_fn *progress;
	void *arg;
	struct err *err;
};

/* The reverse of store_admin_time. */
static int64_t time_from(const json_t *text)
{
	struct tm tm = {.tm_sec = 0};

	if (!json_is_string(text) || strptime(json_string_value(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == NULL)
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

static bool is_same(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "messages"), json_object_get(b, "messages")) != 0 &&
	       json_equal(json_object_get(a, "at"), json_object_get(b, "at")) != 0;
}

/* How many of the turns are there already: up to that which is the last one there. -1: that one is none of them. */
static int64_t count_present(const json_t *turns, const json_t *there)
{
	const json_t *last = json_array_get(there, json_array_size(there) - 1);
	size_t i = last != NULL ? json_array_size(turns) : 0;

	while (i > 0 && !is_same(json_array_get(turns, i - 1), last))
		i--;
	return last != NULL && i == 0 ? -1 : (int64_t)i;
}

static int copy_turns(struct copying *c, const struct store_key *k, const json_t *turns, size_t from)
{
	for (size_t i = from; i < json_array_size(turns); i++) {
		const json_t *turn = json_array_get(turns, i), *messages = json_object_get(turn, "messages");

		if (!json_is_array(messages))
			continue; /* damaged there, too */
		if (c->to->ops->append(c->to, k, messages, json_integer_value(json_object_get(turn, "number")),
		                       time_from(json_object_get(turn, "at")), c->err) < 0)
			return -1;
		c->copied->turns++;
	}
	return 0;
}

static bool copy_thread(void *arg, const json_t *thread)
{
	struct copying *c = arg;
	const struct store_key k = {.subject = json_string_value(json_object_get(thread, "subject")),
	                            .thread_id = json_string_value(json_object_get(thread, "thread_id"))};
	const json_t *turns = json_object_get(thread, "turns");
	json_t *there;
	int64_t present;

	c->copied->threads++;
	if (store_id_is_short(k.thread_id)) {
		c->copied->short_ids++;
		return true;
	}
	there = c->to->ops->show(c->to, &k, c->err);
	if (there == NULL && err_is_set(c->err))
		return false;
	present = count_present(turns, json_object_get(there, "turns"));
	json_decref(there);
	if (present < 0)
		c->copied->differ++;
	else if (copy_turns(c, &k, turns, (size_t)present) < 0)
		return false;
	if (c->progress != NULL)
		c->progress(c->arg, c->copied);
	return true;
}

int store_admin_copy(struct store_admin *from, struct store_admin *to, struct store_copied *copied,
                     store_copied_fn *progress, void *arg, struct err *e)
{
	struct copying c = {.to = to, .copied = copied, .progress = progress, .arg = arg, .err = e};

	*copied = (struct store_copied){.threads = 0};
	return from->ops->export(from, copy_thread, &c, e) < 0 || err_is_set(e) ? -1 : 0;
}
