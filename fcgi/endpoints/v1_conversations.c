/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/conversations makes one, whose id "conversation" of /v1/responses takes. ID: GET, POST (its metadata) and
 * DELETE. ID/items: GET, and POST of items that go on with it; ID/items/ITEM: GET. */
#include "core/protocol/conversations.h"
#include "core/turn/history.h"
#include "core/turn/turn.h"
#include "fcgi/api.h"
#include "fcgi/body.h"
#include "fcgi/endpoint.h"
#include "fcgi/response.h"
#include "fcgi/route.h"

#include <stdlib.h>
#include <string.h>

#define NOT_FOUND  "There is no conversation, or no item of it, with this id."
#define NOT_LOADED "The store of conversations does not answer. Please try again in a moment."
#define NOT_DELETED                                                                                                    \
	"The store of conversations does not answer, so the conversation may still be there. Please try again in a "   \
	"moment."
#define NOT_STORED                                                                                                     \
	"The store of conversations does not answer, so what was sent may not be stored. Please try again in a moment."
#define NO_MEMORY   "Out of memory"
#define NO_ITEMS    "The request must have items."
#define NO_METADATA "The request must have metadata."
#define TOO_LONG    "The request is too long to be stored at once: send its text as input of /v1/responses."

struct visit {
	struct connection *connection;
	struct store *store;
	struct store_request *request;
	char id[CONVERSATIONS_ID_MAX];
	enum { WANTS_CONVERSATION, WANTS_ITEMS, WANTS_ITEM } wants;
	char *item;
	bool posts;
	struct conversation_body body; /* that is to be stored */
	struct responses_range range;
	char *after; /* that it points to */
	json_t *answer;
};

static void visit_free(struct visit *v)
{
	if (v == NULL)
		return;
	json_decref(v->body.metadata);
	json_decref(v->body.turn);
	json_decref(v->answer);
	free(v->item);
	free(v->after);
	free(v);
}

static void end(struct visit *v, int status, const char *text)
{
	struct connection *c = v->connection;
	json_t *answer = json_incref(v->answer);

	connection_own(c, NULL, NULL);
	visit_free(v);
	if (text != NULL)
		api_refuse(c, status, status == 503 ? "Retry-After: 2\r\n" : "", text);
	else if (answer != NULL)
		response_borrowed(c, status, answer);
	else
		api_refuse(c, 503, "Retry-After: 2\r\n", NO_MEMORY);
	json_decref(answer);
}

static struct store_key key_of(const struct visit *v)
{
	return (struct store_key){.subject = connection_identity(v->connection)->subject, .thread_id = v->id};
}

/* ---- storing ---- */

static void on_stored(void *arg, const struct err *e)
{
	end(arg, e != NULL ? 503 : 200, e != NULL ? NOT_STORED : NULL);
}

/* What the body has, and of a new one that it was made: one after the other, and the last one answers. */
static void store_body(struct visit *v, bool is_new)
{
	const struct store_key key = key_of(v);
	json_t *record = is_new || v->body.turn == NULL ? conversations_record(v->body.metadata) : NULL;
	json_t *turn = v->body.turn != NULL ? history_new_messages(v->body.turn, NULL, 0) : NULL;

	v->request = NULL;
	if ((record == NULL && (is_new || v->body.turn == NULL)) || (turn == NULL && v->body.turn != NULL)) {
		json_decref(record);
		json_decref(turn);
	} else {
		if (record != NULL)
			v->request = store_append(v->store, &key, record, turn == NULL ? on_stored : NULL, v);
		if (turn != NULL && (record == NULL || v->request != NULL))
			v->request = store_append(v->store, &key, turn, on_stored, v);
		else
			json_decref(turn);
	}
	if (v->request == NULL)
		end(v, 503, NO_MEMORY);
}

/* ---- what is there ---- */

/* What is wanted of it. A new reference; NULL: it has no such item. */
static json_t *wanted(const struct visit *v, const json_t *turns)
{
	json_t *items, *item, *found = NULL;
	const char *id;
	size_t i;

	if (v->wants == WANTS_CONVERSATION)
		return conversations_object(v->id, turns);
	items = conversations_items(turns);
	if (v->wants == WANTS_ITEMS)
		found = responses_page(items, &v->range);
	json_array_foreach(items, i, item)
	{
		id = json_string_value(json_object_get(item, "id"));
		if (v->wants == WANTS_ITEM && id != NULL && strcmp(id, v->item) == 0)
			found = json_incref(item);
	}
	json_decref(items);
	return found;
}

/* The conversation with its new metadata, or the list of the items that are new. */
static json_t *after_post(const struct visit *v)
{
	json_t *stored = v->body.turn == NULL ? conversations_record(v->body.metadata)
	                                      : history_new_messages(v->body.turn, NULL, 0);
	json_t *all = json_pack("[o]", stored), *answer;

	answer = wanted(v, all);
	json_decref(all);
	return answer;
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct visit *v = arg;

	if (e != NULL) {
		end(v, 503, NOT_LOADED);
	} else if (json_array_size(turns) == 0) {
		end(v, 404, NOT_FOUND);
	} else if (v->posts) {
		v->answer = after_post(v);
		store_body(v, false);
	} else {
		v->answer = wanted(v, turns);
		end(v, v->answer != NULL ? 200 : 404, v->answer != NULL ? NULL : NOT_FOUND);
	}
}

static void on_deleted(void *arg, bool found, const struct err *e)
{
	struct visit *v = arg;

	v->answer = json_pack("{s:s, s:s, s:b}", "id", v->id, "object", "conversation.deleted", "deleted", 1);
	end(v, e != NULL ? 503 : found ? 200 : 404, e != NULL ? NOT_DELETED : found ? NULL : NOT_FOUND);
}

/* ---- requests ---- */

/* "ID", "ID/items" or "ID/items/ITEM". False: it is none of them, or there is no memory. */
static bool take_path(struct visit *v, const char *path, const char *query)
{
	const size_t len = strcspn(path, "/");
	const char *rest = path + len;
	char *order, *limit;

	if (len >= sizeof v->id)
		return false;
	memcpy(v->id, path, len);
	if (strcmp(rest, "/items") == 0) {
		v->wants = WANTS_ITEMS;
	} else if (strncmp(rest, "/items/", 7) == 0) {
		v->wants = WANTS_ITEM;
		v->item = strdup(rest + 7);
		if (v->item == NULL)
			return false;
	} else if (*rest != '\0') {
		return false;
	}
	order = route_query_value(query, "order");
	limit = route_query_value(query, "limit");
	v->range = responses_range_of(order, limit);
	free(order);
	free(limit);
	v->range.after = v->after = route_query_value(query, "after");
	return conversations_is_id(v->id);
}

#define MISSING (-2)

/* False: the request was answered. */
static bool take_body(struct visit *v)
{
	size_t len;
	const char *body = connection_body(v->connection, &len);
	json_t *problem = NULL;
	int result;

	if (connection_body_too_large(v->connection) || body_is_long(v->connection)) {
		end(v, 413, TOO_LONG);
		return false;
	}
	result = conversations_parse(body, len, &v->body, &problem);
	if (result == 0 && v->posts) { /* each has one of them */
		json_t **other = v->wants == WANTS_ITEMS ? &v->body.metadata : &v->body.turn;

		json_decref(*other);
		*other = NULL;
		if (v->body.metadata == NULL && v->body.turn == NULL)
			result = MISSING;
	}
	if (result == 0)
		return true;
	v->answer = problem;
	if (result == MISSING)
		end(v, 400, v->wants == WANTS_ITEMS ? NO_ITEMS : NO_METADATA);
	else
		end(v, result > 0 ? result : 503, result > 0 ? NULL : NO_MEMORY);
	return false;
}

static void make(struct visit *v)
{
	json_t *turns;

	v->posts = false;
	conversations_new_id(v->id);
	if (!take_body(v))
		return;
	turns = json_pack("[o]", conversations_record(v->body.metadata));
	v->answer = conversations_object(v->id, turns);
	json_decref(turns);
	store_body(v, true);
}

static void refuse_method(struct visit *v, const char *allow)
{
	struct connection *c = v->connection;

	visit_free(v);
	api_refuse(c, 405, allow, "Method Not Allowed");
}

static void find(struct visit *v, bool deletes)
{
	const struct store_key key = key_of(v);

	if (deletes && v->wants != WANTS_CONVERSATION) {
		refuse_method(v, v->wants == WANTS_ITEMS ? "Allow: GET, HEAD, POST, OPTIONS\r\n"
		                                         : "Allow: GET, HEAD, OPTIONS\r\n");
		return;
	}
	if (v->posts && v->wants == WANTS_ITEM) {
		refuse_method(v, "Allow: GET, HEAD, OPTIONS\r\n");
		return;
	}
	if (v->posts && !take_body(v))
		return;
	v->request =
		deletes ? store_delete(v->store, &key, NULL, on_deleted, v) : store_load(v->store, &key, on_loaded, v);
	if (v->request == NULL)
		end(v, 503, NO_MEMORY);
}

static void on_client_left(void *arg)
{
	struct visit *v = arg;

	store_cancel(v->request);
	visit_free(v);
}

static void answer(struct worker *w, struct connection *c)
{
	static const struct connection_owner owner = {.closed = on_client_left};
	const char *path = connection_rest(c), *method = connection_params(c)->method;
	const struct chat_services *services = worker_chat_services(w);
	struct visit *v = calloc(1, sizeof *v);
	const bool all = path == NULL || *path == '\0';

	if (v == NULL || services == NULL) {
		free(v);
		api_refuse(c, 503, "Retry-After: 2\r\n", NO_MEMORY);
		return;
	}
	v->connection = c;
	v->store = services->store;
	v->posts = method != NULL && strcmp(method, "POST") == 0;
	if (all && !v->posts) {
		refuse_method(v, "Allow: POST, OPTIONS\r\n");
		return;
	}
	connection_own(c, &owner, v);
	if (all)
		make(v);
	else if (!take_path(v, path, connection_params(c)->query_string))
		end(v, 404, NOT_FOUND);
	else
		find(v, method != NULL && strcmp(method, "DELETE") == 0);
}

const struct endpoint endpoint_v1_conversations = {
	.path = "/v1/conversations",
	.methods = "GET, HEAD, POST, DELETE, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.takes_rest = true,
	.is_api = true,
	.help = "Makes conversations for /v1/responses, shows one and what was said in it, changes its metadata, or deletes it.",
	.answer = answer,
};
