/* SPDX-License-Identifier: Apache-2.0 */
/* Which server of a cluster has a key. The map is what CLUSTER SLOTS says, on each connection and whenever a server is
 * lost or says MOVED; what it does not say, MOVED does. */
#include "core/redis/redis_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 1000 /* addresses, ever */

/* CRC16/XMODEM of the hash tag, or of the whole key. */
int cluster_slot(const char *key, size_t len)
{
	const char *open = memchr(key, '{', len);
	const char *close = open != NULL ? memchr(open, '}', len - (size_t)(open - key)) : NULL;
	unsigned crc = 0;

	if (close != NULL && close > open + 1) {
		key = open + 1;
		len = (size_t)(close - key);
	}
	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned)(unsigned char)key[i] << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc << 1 ^ ((crc & 0x8000) != 0 ? 0x1021u : 0)) & 0xffff;
	}
	return (int)(crc % SLOTS);
}

static struct node *find_node(struct redis *r, const char *host, uint16_t port)
{
	struct node *n;
	size_t count = 0;

	TAILQ_FOREACH(n, &r->nodes, next)
	{
		if (n->address.port == port && strcmp(n->address.host, host) == 0)
			return n;
		count++;
	}
	n = count < NODES_MAX ? node_new(r, host, port) : NULL;
	if (n != NULL)
		TAILQ_INSERT_TAIL(&r->nodes, n, next);
	return n;
}

int cluster_set_up(struct redis *r, struct err *e)
{
	r->slots = calloc(SLOTS, sizeof(struct node *));
	for (size_t i = 0; r->slots != NULL && i < r->url.count; i++)
		if (find_node(r, r->url.addresses[i].host, r->url.addresses[i].port) == NULL)
			return err_set(e, "no memory for a client of Redis");
	return r->slots != NULL ? 0 : err_set(e, "no memory for a client of Redis");
}

/* One that answers, or may. */
static struct node *any_node(const struct redis *r)
{
	struct node *n, *best = TAILQ_FIRST(&r->nodes);

	TAILQ_FOREACH(n, &r->nodes, next)
	{
		if (n->state == NODE_READY)
			return n;
		if (!n->away && !n->retired && (best->away || best->retired))
			best = n;
	}
	return best;
}

struct node *cluster_node(const struct redis *r, int slot, size_t server)
{
	struct node *n;

	if (slot >= 0)
		return r->slots[slot] != NULL ? r->slots[slot] : any_node(r);
	TAILQ_FOREACH(n, &r->nodes, next)
	if (!n->retired && server-- == 0)
		return n;
	return any_node(r);
}

void cluster_take_slots(struct node *from, const struct redis_reply *reply)
{
	struct redis *r = from->redis;
	struct node *n;

	if (reply->type != REDIS_LIST || reply->count == 0)
		return;
	TAILQ_FOREACH(n, &r->nodes, next)
	n->retired = true;
	for (size_t i = 0; i < reply->count; i++) {
		const struct redis_reply *range = reply->items[i], *master = range->count > 2 ? range->items[2] : NULL;
		const char *host;

		if (master == NULL || master->count < 2 || master->items[1]->number <= 0 ||
		    master->items[1]->number > 65535)
			continue;
		host = master->items[0]->type == REDIS_TEXT && master->items[0]->len > 0 ? master->items[0]->text
		                                                                         : from->address.host;
		n = find_node(r, host, (uint16_t)master->items[1]->number);
		if (n == NULL)
			continue;
		n->retired = false;
		for (int64_t slot = range->items[0]->number;
		     slot >= 0 && slot <= range->items[1]->number && slot < SLOTS; slot++)
			r->slots[slot] = n;
	}
}

static void on_slots(void *arg, struct redis_reply *reply, const struct err *e)
{
	struct redis *r = arg;
	struct node *n = any_node(r);

	r->refreshing = false;
	if (e != NULL)
		return;
	cluster_take_slots(n, reply);
	/* A server that was lost may be one that is not needed any more. */
	r->events->changed(n);
}

void cluster_refresh(struct redis *r)
{
	const struct redis_command c = {.args = (const char *[]){"CLUSTER", "SLOTS"}, .count = 2};
	struct redis_request *q = !r->refreshing ? request_new(r, &c, on_slots, r) : NULL;

	if (q == NULL)
		return;
	r->refreshing = true;
	node_send(any_node(r), q);
}

bool cluster_elsewhere(struct redis_request *q)
{
	struct redis *r = q->redis;
	struct node *n = any_node(r);

	if (q->slot < 0 || r->slots[q->slot] != NULL || n == q->node || n->away)
		return false;
	node_send(n, q);
	return true;
}

bool cluster_redirect(struct redis_request *q, const struct redis_reply *reply)
{
	const struct redis_command asking = {.args = (const char *[]){"ASKING"}, .count = 1};
	const bool moved = redis_reply_says(reply, "MOVED");
	char host[300];
	unsigned slot, port;
	const char *colon;
	struct redis_request *first;
	struct node *n;

	if (!moved && !redis_reply_says(reply, "ASK"))
		return false;
	if (sscanf(reply->text, "%*s %u %299s", &slot, host) != 2 || slot >= SLOTS ||
	    (colon = strrchr(host, ':')) == NULL || sscanf(colon, ":%u", &port) != 1 || port == 0 || port > 65535)
		return false;
	host[colon - host] = '\0';
	n = find_node(q->redis, host[0] != '\0' ? host : q->node->address.host, (uint16_t)port);
	if (n == NULL)
		return false;
	n->retired = false;
	if (moved) {
		q->redis->slots[slot] = n;
		cluster_refresh(q->redis);
	} else {
		first = request_new(q->redis, &asking, NULL, NULL);
		if (first == NULL)
			return false;
		node_send(n, first);
	}
	node_send(n, q);
	return true;
}
