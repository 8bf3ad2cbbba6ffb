/* SPDX-License-Identifier: Apache-2.0 */
/* Where the master of a Sentinel group is: Sentinels are asked in turn, again after every loss of the connection. The
 * master itself must say that it is one (ROLE, node.c). */
#include "core/redis/redis_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENTINEL_MS 500 /* for one of them, at most */

static void on_master(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct node *master = arg;
	struct redis *r = master->redis;
	long port = 0;

	if (e == NULL && reply->type == REDIS_LIST && reply->count == 2 && reply->items[0]->type == REDIS_TEXT &&
	    reply->items[1]->type == REDIS_TEXT)
		port = strtol(reply->items[1]->text, NULL, 10);
	if (port > 0 && port <= 65535) {
		node_connect_to(master, reply->items[0]->text, (uint16_t)port);
		return;
	}
	master->err = (struct err)ERR_INIT;
	err_set(&master->err, "%s", e != NULL ? e->text : "the Sentinel knows no master of that name");
	event_active(r->locate, EV_TIMEOUT, 0);
}

/* The one before cannot be freed while it calls back, so this is an event of its own. */
static void on_locate(evutil_socket_t fd, short what, void *arg)
{
	struct redis *r = arg;
	struct node *master = TAILQ_FIRST(&r->nodes);
	const struct redis_address *a = &r->url.addresses[r->next_sentinel];
	const struct redis_command c = {.args = (const char *[]){"SENTINEL", "get-master-addr-by-name", r->url.group},
	                                .count = 3,
	                                .timeout_ms = r->timeout_ms < SENTINEL_MS ? r->timeout_ms : SENTINEL_MS};
	struct redis_request *q;

	(void)fd, (void)what;
	if (r->sentinel != NULL)
		node_free(r->sentinel);
	r->sentinel = NULL;
	if (r->sentinels_left == 0) {
		char why[400];

		snprintf(why, sizeof why, "no Sentinel knows its master (%.300s)", master->err.text);
		node_cannot_connect(master, why);
		return;
	}
	r->sentinels_left--;
	r->next_sentinel = (r->next_sentinel + 1) % r->url.count;
	r->sentinel = node_new(r, a->host, a->port);
	q = r->sentinel != NULL ? request_new(r, &c, on_master, master) : NULL;
	if (q == NULL) {
		node_cannot_connect(master, "no memory to connect");
		return;
	}
	r->sentinel->kind = NODE_SENTINEL;
	node_send(r->sentinel, q);
}

void sentinel_locate(struct node *master)
{
	struct redis *r = master->redis;

	r->sentinels_left = r->url.count;
	event_active(r->locate, EV_TIMEOUT, 0);
}

int sentinel_set_up(struct redis *r, struct err *e)
{
	r->locate = event_new(r->base, -1, 0, on_locate, r);
	return r->locate != NULL ? 0 : err_set(e, "no memory for a client of Redis");
}

void sentinel_free(struct redis *r)
{
	if (r->sentinel != NULL)
		node_free(r->sentinel);
	if (r->locate != NULL)
		event_free(r->locate);
}
