/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/notes.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdlib.h>
#include <string.h>

#define NOTES_MAX   16u /* different ones */
#define INTERVAL_MS 100
#define RETRY_MS    5000

struct list {
	struct event_record items[NOTES_MAX];
	size_t count;
};

struct notes {
	struct command_client *daemon;
	struct command_request *request; /* NULL: none runs */
	struct event *due;
	struct list waiting, sent; /* sent: until tt-agentd has taken them */
};

static bool is_same(const struct event_record *a, const struct event_record *b)
{
	return a->kind == b->kind && strcmp(a->model, b->model) == 0 && strcmp(a->deploy_id, b->deploy_id) == 0 &&
	       strcmp(a->was, b->was) == 0 && strcmp(a->reason, b->reason) == 0;
}

/* If there are too many different ones, only how many there were of a kind is kept. */
static void add(struct list *l, const struct event_record *r)
{
	struct event_record *of_kind = NULL;

	for (size_t i = 0; i < l->count; i++) {
		if (is_same(&l->items[i], r)) {
			l->items[i].count += r->count;
			return;
		}
		if (l->items[i].kind == r->kind)
			of_kind = &l->items[i];
	}
	if (l->count < NOTES_MAX) {
		l->items[l->count++] = *r;
	} else if (of_kind != NULL) {
		*of_kind = (struct event_record){.kind = r->kind, .count = of_kind->count + r->count};
	}
}

static void arm(struct notes *n, int64_t ms)
{
	const struct timeval tv = clock_timeval_ms(ms);

	if (!evtimer_pending(n->due, NULL))
		evtimer_add(n->due, &tv);
}

static void on_noted(void *arg, const json_t *result, bool unreachable, const struct err *e)
{
	struct notes *n = arg;

	n->request = NULL;
	if (result == NULL && unreachable)
		for (size_t i = 0; i < n->sent.count; i++)
			add(&n->waiting, &n->sent.items[i]);
	else if (result == NULL)
		log_event(LOG_REPORT_NOT_TAKEN, L_STR("error", e->text));
	n->sent.count = 0;
	if (n->waiting.count > 0)
		arm(n, result == NULL ? RETRY_MS : INTERVAL_MS);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct notes *n = arg;
	json_t *events = json_array();

	(void)fd, (void)what;
	n->sent = n->waiting;
	n->waiting.count = 0;
	for (size_t i = 0; i < n->sent.count; i++)
		json_array_append_new(events, event_record_json(&n->sent.items[i], 0, false));
	n->request = command_send(n->daemon, CMD_NOTE, json_pack("{s:o}", "events", events),
	                          command_info(CMD_NOTE)->deadline_ms, on_noted, n);
	if (n->request == NULL)
		n->sent.count = 0; /* no memory */
}

void notes_add(struct notes *n, const struct event_record *r)
{
	add(&n->waiting, r);
	if (n->request == NULL) /* else when it has ended */
		arm(n, INTERVAL_MS);
}

struct notes *notes_new(struct event_base *base, struct command_client *daemon, struct err *e)
{
	struct notes *n = calloc(1, sizeof *n);

	if (n != NULL)
		n->due = evtimer_new(base, on_due, n);
	if (n == NULL || n->due == NULL) {
		err_set(e, "no memory for notes to tt-agentd");
		free(n);
		return NULL;
	}
	n->daemon = daemon;
	return n;
}

void notes_free(struct notes *n)
{
	if (n == NULL)
		return;
	if (n->request != NULL)
		command_request_cancel(n->request);
	event_free(n->due);
	free(n);
}
