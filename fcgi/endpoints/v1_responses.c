/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/responses: an answer as OpenAI's newer clients read it. GET /v1/responses/ID: one that is stored, and
 * GET /v1/responses/ID/input_items: what it answers. DELETE /v1/responses/ID: it is forgotten. */
#include "core/protocol/responses.h"
#include "core/turn/turn.h"
#include "fcgi/api.h"
#include "fcgi/chat.h"
#include "fcgi/endpoint.h"
#include "fcgi/response.h"
#include "fcgi/route.h"

#include <stdlib.h>
#include <string.h>

#define NOT_FOUND  "There is no stored response with this id."
#define NOT_LOADED "The store of conversations does not answer. Please try again in a moment."
#define NOT_DELETED                                                                                                    \
	"The store of conversations does not answer, so the response may still be there. Please try again in a moment."
#define NO_MEMORY "Out of memory"

/* ---- one that is stored ---- */

struct lookup {
	struct connection *connection;
	struct store_request *request;
	char id[sizeof RESPONSES_ID + RESPONSES_KEY];
	bool wants_inputs;
	struct responses_range range;
	char *after; /* that it points to */
};

static void lookup_free(struct lookup *l)
{
	if (l != NULL)
		free(l->after);
	free(l);
}

static json_t *inputs_page(const struct lookup *l, const json_t *record, const json_t *turn)
{
	json_t *items = responses_inputs(record, turn), *page = responses_page(items, &l->range);

	json_decref(items);
	return page;
}

/* What is wanted of the response of this id among the turns of its thread; NULL: there is none. */
static json_t *find(const struct lookup *l, const json_t *turns)
{
	const json_t *turn, *record;
	const char *own;
	size_t i;

	json_array_foreach(turns, i, turn)
	{
		record = json_object_get(json_array_get(turn, json_array_size(turn) - 1), "response");
		own = json_string_value(json_object_get(record, "id"));
		/* Of a turn that was too long there is only enough to go on from it. */
		if (own != NULL && strcmp(own, l->id) == 0 && json_object_get(record, "object") != NULL)
			return l->wants_inputs ? inputs_page(l, record, turn) : responses_stored(record, turn);
	}
	return NULL;
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct lookup *l = arg;
	struct connection *c = l->connection;
	json_t *response = find(l, turns);

	lookup_free(l);
	if (response != NULL)
		response_value(c, 200, response);
	else if (e != NULL)
		api_refuse(c, 503, "Retry-After: 2\r\n", NOT_LOADED);
	else
		api_refuse(c, 404, "", NOT_FOUND);
}

static void on_client_left(void *arg)
{
	struct lookup *l = arg;

	store_cancel(l->request);
	lookup_free(l);
}

static void on_deleted(void *arg, bool found, const struct err *e)
{
	struct lookup *l = arg;
	struct connection *c = l->connection;
	json_t *deleted = json_pack("{s:s, s:s, s:b}", "id", l->id, "object", "response", "deleted", 1);

	lookup_free(l);
	if (e != NULL)
		api_refuse(c, 503, "Retry-After: 2\r\n", NOT_DELETED);
	else if (!found)
		api_refuse(c, 404, "", NOT_FOUND);
	else if (deleted != NULL)
		response_value(c, 200, json_incref(deleted));
	else
		api_refuse(c, 503, "Retry-After: 2\r\n", NO_MEMORY);
	json_decref(deleted);
}

/* "resp_...", or "resp_.../input_items" with the range of its query. False: it is neither, or there is no memory. */
static bool take_path(struct lookup *l, const char *path, const char *query)
{
	size_t len = strcspn(path, "/");
	char *order, *limit;

	if (len >= sizeof l->id || (path[len] != '\0' && strcmp(path + len, "/input_items") != 0))
		return false;
	memcpy(l->id, path, len);
	l->wants_inputs = path[len] != '\0';
	order = route_query_value(query, "order");
	limit = route_query_value(query, "limit");
	l->range = responses_range_of(order, limit);
	l->range.after = l->after = route_query_value(query, "after");
	free(order);
	free(limit);
	return responses_is_id(l->id);
}

static void look_up(struct worker *w, struct connection *c, const char *path, bool deletes)
{
	static const struct connection_owner owner = {.closed = on_client_left};
	const struct chat_services *services = worker_chat_services(w);
	struct lookup *l = calloc(1, sizeof *l);
	char thread[RESPONSES_THREAD_MAX];

	if (l != NULL && !take_path(l, path, connection_params(c)->query_string)) {
		lookup_free(l);
		api_refuse(c, 404, "", NOT_FOUND);
		return;
	}
	if (l != NULL && deletes && l->wants_inputs) {
		lookup_free(l);
		api_refuse(c, 405, "Allow: GET, HEAD, OPTIONS\r\n", "Method Not Allowed");
		return;
	}
	if (l != NULL && services != NULL) {
		const struct store_key key = {.subject = connection_identity(c)->subject, .thread_id = thread};

		responses_thread(l->id, thread);
		l->connection = c;
		l->request = deletes ? store_delete(services->store, &key, l->id, on_deleted, l)
		                     : store_load(services->store, &key, on_loaded, l);
	}
	if (l == NULL || l->request == NULL) {
		lookup_free(l);
		api_refuse(c, 503, "Retry-After: 2\r\n", NO_MEMORY);
		return;
	}
	connection_own(c, &owner, l);
}

/* ---- all ---- */

static void answer(struct worker *w, struct connection *c)
{
	const char *id = connection_rest(c), *method = connection_params(c)->method;
	bool posts = method != NULL && strcmp(method, "POST") == 0,
	     deletes = method != NULL && strcmp(method, "DELETE") == 0;

	if (posts && (id == NULL || *id == '\0'))
		chat_dispatch(&protocol_responses, w, c);
	else if (!posts && id != NULL && *id != '\0')
		look_up(w, c, id, deletes);
	else
		api_refuse(c, 405, posts ? "Allow: GET, HEAD, DELETE, OPTIONS\r\n" : "Allow: POST, OPTIONS\r\n",
		           "Method Not Allowed");
}

const struct endpoint endpoint_v1_responses = {
	.path = "/v1/responses",
	.methods = "GET, HEAD, POST, DELETE, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.takes_rest = true,
	.is_api = true,
	.help = "Answers as the Responses API does, streamed or not, and has the stored answer of an id, and what it answers, or deletes it.",
	.answer = answer,
};
