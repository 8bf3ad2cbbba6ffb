/* SPDX-License-Identifier: Apache-2.0 */
/* What a mock saw: requests, streams, who left and when. Shared by its threads. */
#ifndef TT_TESTS_MOCK_BOOK_H
#define TT_TESTS_MOCK_BOOK_H

#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct book;

struct book *book_new(size_t keep); /* keep: requests and departures that are remembered */

/* Number of the request, from 1. */
uint64_t book_request(struct book *b, const char *method, const char *uri, const struct evkeyvalq *headers,
                      const char *body, size_t len);
void book_ended(struct book *b, uint64_t id, size_t steps_delivered, bool left, int64_t at_ns);

/* A connection that has sent a request; true when it was not known yet. */
bool book_opened(struct book *b, int fd);
void book_closed(struct book *b, int fd);

int64_t book_active(struct book *b);   /* requests that are not answered yet */
json_t *book_requests(struct book *b); /* new references */
json_t *book_stats(struct book *b);
void book_forget(struct book *b); /* requests and departures; counts go on */

/* The behaviour for all requests that say nothing else, as JSON text. */
void book_set_script(struct book *b, const char *text);
/* A copy (free()) when it is newer than *generation, else NULL. */
char *book_script(struct book *b, uint64_t *generation);

#endif
