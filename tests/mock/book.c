/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/mock/book.h"

#include "core/base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>

struct book_entry {
	uint64_t id;
	int64_t at_ns;
	char *head; /* method, URI, then name and value of each header, each ended by NUL; a last NUL */
	char *body;
	size_t body_len;
};

struct book_departure {
	uint64_t id;
	int64_t at_ns;
	size_t steps_delivered;
};

struct book {
	pthread_mutex_t lock;
	size_t keep;
	struct book_entry *entries; /* a ring: the newest is entry_count - 1, modulo keep */
	uint64_t entry_count, entry_first;
	struct book_departure *departures;
	uint64_t departure_count, departure_first;
	uint64_t requests, completed, cancelled;
	int64_t active, active_most, open;
	unsigned char *known; /* per descriptor */
	size_t known_size;
	char *script;
	atomic_uint_fast64_t generation; /* of the script */
};

static void *book_alloc(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p) {
		fputs("out of memory\n", stderr);
		exit(1);
	}
	return p;
}

struct book *book_new(size_t keep)
{
	struct book *b = book_alloc(1, sizeof *b);
	struct rlimit limit = {.rlim_cur = 65536};

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	pthread_mutex_init(&b->lock, NULL);
	b->keep = keep ? keep : 1;
	b->entries = book_alloc(b->keep, sizeof *b->entries);
	b->departures = book_alloc(b->keep, sizeof *b->departures);
	b->known_size = limit.rlim_cur > 1u << 20 ? 1u << 20 : (size_t)limit.rlim_cur;
	b->known = book_alloc(b->known_size, 1);
	return b;
}

static char *book_put(char *to, const char *text)
{
	size_t len = strlen(text) + 1;

	memcpy(to, text, len);
	return to + len;
}

static char *book_head(const char *method, const char *uri, const struct evkeyvalq *headers)
{
	const struct evkeyval *h;
	size_t size = strlen(method) + strlen(uri) + 3;
	char *head, *at;

	TAILQ_FOREACH(h, headers, next)
	size += strlen(h->key) + strlen(h->value) + 2;
	head = book_alloc(1, size);
	at = book_put(book_put(head, method), uri);
	TAILQ_FOREACH(h, headers, next)
	at = book_put(book_put(at, h->key), h->value);
	*at = '\0';
	return head;
}

uint64_t book_request(struct book *b, const char *method, const char *uri, const struct evkeyvalq *headers,
                      const char *body, size_t len)
{
	struct book_entry entry = {.at_ns = clock_mono_ns(),
	                           .head = book_head(method, uri, headers),
	                           .body = book_alloc(1, len + 1),
	                           .body_len = len};
	struct book_entry old;

	if (len > 0)
		memcpy(entry.body, body, len);
	pthread_mutex_lock(&b->lock);
	entry.id = ++b->requests;
	old = b->entries[b->entry_count % b->keep];
	b->entries[b->entry_count++ % b->keep] = entry;
	if (++b->active > b->active_most)
		b->active_most = b->active;
	pthread_mutex_unlock(&b->lock);
	free(old.head);
	free(old.body);
	return entry.id;
}

int64_t book_active(struct book *b)
{
	int64_t active;

	pthread_mutex_lock(&b->lock);
	active = b->active;
	pthread_mutex_unlock(&b->lock);
	return active;
}

void book_ended(struct book *b, uint64_t id, size_t steps_delivered, bool left, int64_t at_ns)
{
	pthread_mutex_lock(&b->lock);
	b->active--;
	if (left) {
		b->cancelled++;
		b->departures[b->departure_count++ % b->keep] =
			(struct book_departure){.id = id, .at_ns = at_ns, .steps_delivered = steps_delivered};
	} else {
		b->completed++;
	}
	pthread_mutex_unlock(&b->lock);
}

bool book_opened(struct book *b, int fd)
{
	bool fresh = false;

	pthread_mutex_lock(&b->lock);
	if (fd >= 0 && (size_t)fd < b->known_size && !b->known[fd]) {
		b->known[fd] = 1;
		b->open++;
		fresh = true;
	}
	pthread_mutex_unlock(&b->lock);
	return fresh;
}

void book_closed(struct book *b, int fd)
{
	pthread_mutex_lock(&b->lock);
	if (fd >= 0 && (size_t)fd < b->known_size && b->known[fd]) {
		b->known[fd] = 0;
		b->open--;
	}
	pthread_mutex_unlock(&b->lock);
}

static json_t *book_entry_json(const struct book_entry *entry)
{
	const char *method = entry->head, *uri = method + strlen(method) + 1;
	const char *at = uri + strlen(uri) + 1;
	json_t *headers = json_object(), *body;

	while (*at) {
		const char *name = at, *value = name + strlen(name) + 1;
		char lower[128];
		size_t i;

		for (i = 0; i < sizeof lower - 1 && name[i]; i++)
			lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
		lower[i] = '\0';
		json_object_set_new(headers, lower, json_string(value));
		at = value + strlen(value) + 1;
	}
	body = json_loadb(entry->body, entry->body_len, JSON_DECODE_ANY, NULL);
	if (!body)
		body = entry->body_len ? json_stringn(entry->body, entry->body_len) : json_null();
	return json_pack("{s:I, s:I, s:s, s:s, s:o, s:o}", "id", (json_int_t)entry->id, "at_ns",
	                 (json_int_t)entry->at_ns, "method", method, "path", uri, "headers", headers, "body",
	                 body ? body : json_null());
}

static uint64_t book_oldest(uint64_t count, uint64_t first, size_t keep)
{
	return count - first > keep ? count - keep : first;
}

json_t *book_requests(struct book *b)
{
	json_t *list = json_array();

	pthread_mutex_lock(&b->lock);
	for (uint64_t i = book_oldest(b->entry_count, b->entry_first, b->keep); i < b->entry_count; i++)
		json_array_append_new(list, book_entry_json(&b->entries[i % b->keep]));
	pthread_mutex_unlock(&b->lock);
	return list;
}

json_t *book_stats(struct book *b)
{
	json_t *closed = json_array(), *stats;

	pthread_mutex_lock(&b->lock);
	for (uint64_t i = book_oldest(b->departure_count, b->departure_first, b->keep); i < b->departure_count; i++) {
		const struct book_departure *d = &b->departures[i % b->keep];

		json_array_append_new(closed, json_pack("{s:I, s:I, s:I}", "request", (json_int_t)d->id, "at_ns",
		                                        (json_int_t)d->at_ns, "steps_delivered",
		                                        (json_int_t)d->steps_delivered));
	}
	stats = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "open", (json_int_t)b->open, "active",
	                  (json_int_t)b->active, "active_most", (json_int_t)b->active_most, "requests",
	                  (json_int_t)b->requests, "completed", (json_int_t)b->completed, "cancelled",
	                  (json_int_t)b->cancelled, "closed", closed);
	pthread_mutex_unlock(&b->lock);
	return stats;
}

void book_forget(struct book *b)
{
	pthread_mutex_lock(&b->lock);
	b->entry_first = b->entry_count;
	b->departure_first = b->departure_count;
	b->active_most = b->active;
	pthread_mutex_unlock(&b->lock);
}

void book_set_script(struct book *b, const char *text)
{
	char *copy = strdup(text), *old;

	if (!copy)
		exit(1);
	pthread_mutex_lock(&b->lock);
	old = b->script;
	b->script = copy;
	atomic_fetch_add(&b->generation, 1);
	pthread_mutex_unlock(&b->lock);
	free(old);
}

char *book_script(struct book *b, uint64_t *generation)
{
	char *copy = NULL;

	if (atomic_load_explicit(&b->generation, memory_order_relaxed) == *generation)
		return NULL;
	pthread_mutex_lock(&b->lock);
	*generation = atomic_load(&b->generation);
	if (b->script)
		copy = strdup(b->script);
	pthread_mutex_unlock(&b->lock);
	return copy;
}
