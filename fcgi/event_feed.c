/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/event_feed.h"

#include "core/base/clock.h"
#include "core/protocol/output.h"
#include "core/status/document.h"
#include "core/status/event_ring.h"
#include "core/status/live.h"
#include "fcgi/endpoints/published_document.h"
#include "fcgi/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TICK_MS      1000
#define SMALL        65536u /* a document up to this length may be sent with each tick */
#define HEARTBEAT_MS 15000
#define SLOW_MS      10000 /* a client that reads nothing for so long is dropped */
#define EARLIER      100u  /* events that a new client gets */

#define RETRY      "retry: 2000\n\n"
#define RETRY_SOON "retry: 1000\n\n"

/* A text that is sent to many, and a number that no other version has. */
struct version {
	char *text; /* NULL: no memory for it */
	size_t len;
	uint64_t number;
};

struct event_client {
	LIST_ENTRY(event_client) link;
	struct event_feed *feed;
	struct connection *connection;
	unsigned entry;
	bool admin;
	uint64_t status_seen, live_seen; /* numbers of the versions that it has */
	uint64_t epoch, next;            /* of the ring: its next event */
	int64_t status_due_ms;           /* not before */
	int64_t written_ms;
	int64_t full_since_ms; /* 0: it reads */
};

enum { WHOLE, BRIEF, VIEWS };

struct event_feed {
	struct published *published;
	struct event_feed_host host;
	struct event *timer;
	struct live *live;
	struct event_reader *ring;
	LIST_HEAD(, event_client) clients;
	uint64_t versions;
	struct version status[VIEWS], live_text[VIEWS];
	bool ending;
};

/* --- what is sent ------------------------------------------------------------------------- */

/* Steals text. */
static void set_version(struct event_feed *f, struct version *v, char *text, size_t len)
{
	if (v->text != NULL && text != NULL && v->len == len && memcmp(v->text, text, len) == 0) {
		free(text);
		return;
	}
	free(v->text);
	*v = (struct version){.text = text, .len = len, .number = ++f->versions};
}

static void refresh(struct event_feed *f)
{
	char *text;
	size_t len = 0;

	live_sample(f->live, NULL);
	for (unsigned view = 0; view < VIEWS; view++) {
		json_t *live = live_json(f->live);

		text = live != NULL ? document_text(live, &len) : NULL;
		json_decref(live);
		set_version(f, &f->live_text[view], text, len);
		text = published_document_copy(f->published, PUBLISHED_STATUS, view == BRIEF, &len);
		set_version(f, &f->status[view], text, len);
	}
	event_reader_check(f->ring, NULL);
}

static unsigned view_of(const struct event_client *c)
{
	return published_document_is_brief(c->feed->published, c->admin) ? BRIEF : WHOLE;
}

static void put(struct event_client *c, const char *text, size_t len)
{
	output_write(connection_output(c->connection), text, len);
	c->written_ms = clock_mono_ms();
}

static void puts_text(struct event_client *c, const char *text)
{
	put(c, text, strlen(text));
}

/* The document without its brace, then what is live. */
static void send_status(struct event_client *c, const struct version *status, const struct version *live)
{
	puts_text(c, "event: status\ndata: ");
	put(c, status->text, status->len - 1);
	puts_text(c, ",\"live\":");
	put(c, live->text, live->len);
	puts_text(c, "}\n\n");
	c->status_seen = status->number;
	c->live_seen = live->number;
	c->status_due_ms = clock_mono_ms() + (status->len > SMALL ? (int64_t)status->len * 1000 / SMALL : 0);
}

static void send_live(struct event_client *c, const struct version *live)
{
	puts_text(c, "event: live\ndata: ");
	put(c, live->text, live->len);
	puts_text(c, "\n\n");
	c->live_seen = live->number;
}

static void send_state(struct event_client *c)
{
	const struct version *status = &c->feed->status[view_of(c)], *live = &c->feed->live_text[view_of(c)];

	if (status->text == NULL || live->text == NULL)
		return; /* no memory: at the next tick */
	if (status->number == c->status_seen && live->number == c->live_seen)
		return;
	if (clock_mono_ms() >= c->status_due_ms)
		send_status(c, status, live);
	else if (live->number != c->live_seen)
		send_live(c, live);
}

static void send_event(struct event_client *c, const struct event_record *r)
{
	json_t *event = event_record_json(r, c->epoch, view_of(c) == BRIEF);
	char *text = event != NULL ? json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
	char head[80];

	json_decref(event);
	if (text == NULL)
		return;
	snprintf(head, sizeof head, "id: %016llx-%llu\nevent: event\ndata: ", (unsigned long long)c->epoch,
	         (unsigned long long)r->number);
	puts_text(c, head);
	puts_text(c, text);
	puts_text(c, "\n\n");
	free(text);
}

/* As many as it reads; its next call goes on. */
static void send_events(struct event_client *c)
{
	const struct event_reader *ring = c->feed->ring;
	uint64_t last = event_reader_last(ring), epoch = event_reader_epoch(ring);
	struct event_record r;

	if (c->epoch != epoch) {
		c->epoch = epoch;
		c->next = last > EARLIER ? last - EARLIER + 1 : 1;
	}
	if (c->next > last + 1)
		c->next = last + 1;
	if (last >= EVENT_RING_SLOTS && c->next <= last - EVENT_RING_SLOTS)
		c->next = last - EVENT_RING_SLOTS + 1;
	for (; c->next <= last && !output_is_full(connection_output(c->connection)); c->next++)
		if (event_reader_get(ring, c->next, &r))
			send_event(c, &r);
}

/* What is new for this client, as far as it reads. */
static void send_news(struct event_client *c)
{
	if (output_is_full(connection_output(c->connection))) {
		if (c->full_since_ms == 0)
			c->full_since_ms = clock_mono_ms();
		return;
	}
	c->full_since_ms = 0;
	send_state(c);
	send_events(c);
	if (clock_mono_ms() - c->written_ms >= HEARTBEAT_MS)
		puts_text(c, ": alive\n\n");
}

/* --- clients -------------------------------------------------------------------------------- */

static void forget(struct event_client *c)
{
	struct event_feed *f = c->feed;

	LIST_REMOVE(c, link);
	f->host.left(f->host.arg, c->entry);
	free(c);
	if (LIST_EMPTY(&f->clients))
		evtimer_del(f->timer);
}

static void on_resume(void *arg)
{
	send_news(arg);
}

static void on_closed(void *arg)
{
	forget(arg);
}

static void end(struct event_client *c)
{
	struct output *o = connection_output(c->connection);

	if (output_is_stuck(o)) { /* nobody waits for a client that does not read */
		connection_abort(c->connection);
		return;
	}
	puts_text(c, RETRY_SOON);
	output_end(o);
	forget(c);
}

static void on_stop(void *arg)
{
	end(arg);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct event_feed *f = arg;
	struct event_client *c, *next;
	const struct timeval tv = clock_timeval_ms(TICK_MS);

	(void)fd, (void)what;
	evtimer_add(f->timer, &tv);
	refresh(f);
	for (c = LIST_FIRST(&f->clients); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		send_news(c);
		if (c->full_since_ms != 0 && clock_mono_ms() - c->full_since_ms >= SLOW_MS)
			connection_abort(c->connection);
	}
}

/* "EPOCH-NUMBER": it goes on after that event. */
static void go_on_after(struct event_client *c, const char *last_id)
{
	unsigned long long epoch, number;
	char rest;

	if (last_id == NULL || sscanf(last_id, "%16llx-%20llu%c", &epoch, &number, &rest) != 2)
		return;
	c->epoch = epoch;
	c->next = (uint64_t)number + 1;
}

int event_feed_add(struct event_feed *f, struct connection *connection, bool admin, const char *last_id, unsigned entry)
{
	static const struct connection_owner owner = {.resume = on_resume, .closed = on_closed, .stop = on_stop};
	const struct timeval tv = clock_timeval_ms(TICK_MS);
	struct event_client *c = calloc(1, sizeof *c);

	if (c == NULL)
		return -1;
	*c = (struct event_client){.feed = f, .connection = connection, .entry = entry, .admin = admin};
	go_on_after(c, last_id);
	if (LIST_EMPTY(&f->clients) && !f->ending) {
		refresh(f);
		evtimer_add(f->timer, &tv);
	}
	LIST_INSERT_HEAD(&f->clients, c, link);
	response_stream_head(connection, "text/event-stream");
	if (f->ending) {
		end(c);
		return 0;
	}
	connection_own(connection, &owner, c);
	puts_text(c, RETRY);
	send_news(c);
	return 0;
}

void event_feed_end(struct event_feed *f)
{
	f->ending = true;
	while (!LIST_EMPTY(&f->clients))
		end(LIST_FIRST(&f->clients));
}

/* --- life ----------------------------------------------------------------------------------- */

struct event_feed *event_feed_new(struct event_base *base, struct published *p, const struct event_feed_host *host,
                                  struct err *e)
{
	struct event_feed *f = calloc(1, sizeof *f);

	if (f == NULL) {
		err_set(e, "no memory for the stream of events");
		return NULL;
	}
	f->published = p;
	f->host = *host;
	f->timer = evtimer_new(base, on_tick, f);
	f->live = live_new(published_run_dir(p));
	f->ring = event_reader_new(published_run_dir(p));
	if (f->timer == NULL || f->live == NULL || f->ring == NULL) {
		err_set(e, "no memory for the stream of events");
		event_feed_free(f);
		return NULL;
	}
	return f;
}

void event_feed_free(struct event_feed *f)
{
	if (f == NULL)
		return;
	if (f->timer != NULL)
		event_free(f->timer);
	for (unsigned view = 0; view < VIEWS; view++) {
		free(f->status[view].text);
		free(f->live_text[view].text);
	}
	live_free(f->live);
	event_reader_free(f->ring);
	free(f);
}
