/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/models, and /v1/models/ID: what the API's clients can choose from. */
#include "core/llm/llm.h"
#include "core/protocol/openai.h"
#include "core/turn/candidates.h"
#include "fcgi/api.h"
#include "fcgi/endpoint.h"
#include "fcgi/response.h"

#include <string.h>

static const char *id_of(const struct status_snapshot *s, const struct status_llm *l)
{
	const char *id = status_text(s, l->model);

	return id != NULL && *id != '\0' ? id : status_text(s, l->model_name);
}

static bool is_repeated(const struct status_snapshot *s, size_t before, const char *id)
{
	for (size_t rank = 0; rank < before; rank++)
		if (candidate_has_model(s, status_candidate(s, rank), id))
			return true;
	return false;
}

static json_t *model_json(const struct status_llm *l, const char *id, const char *suffix, int64_t created)
{
	json_t *json = json_pack("{s:o, s:s, s:I, s:s}", "id", json_sprintf("%s%s", id, suffix), "object", "model",
	                         "created", (json_int_t)created, "owned_by", "tt-agent");

	if (l->context_length > 0)
		json_object_set_new(json, "max_model_len", json_integer(l->context_length));
	return json;
}

/* Whether it is there, or will be again: a host that nobody named may have none. */
static bool is_served(const struct status_snapshot *s, size_t rank)
{
	const struct status_llm *l = status_candidate(s, rank);

	return rank < status_header(s)->usable_count || !llm_kind_info((enum llm_kind)l->kind)->must_answer;
}

/* Those that no chat is sent to. */
static void add_embedders(json_t *list, const struct status_snapshot *s, const struct access_identity *who,
                          int64_t created)
{
	size_t i;
	const json_t *model;

	for (size_t n = 0; n < status_header(s)->llm_count; n++) {
		const struct status_llm *l = status_llm(s, n);
		const char *id = id_of(s, l);
		bool is_there = false;

		if (id == NULL || !candidate_embeds(s, l) || !access_may_use_model(who, id))
			continue;
		json_array_foreach(list, i, model) is_there |=
			strcmp(json_string_value(json_object_get(model, "id")), id) == 0;
		if (!is_there)
			json_array_append_new(list, model_json(l, id, "", created));
	}
}

/* All of them, the best first, each under its own name and as the agent; then those that make embeddings. */
static json_t *models(const struct status_snapshot *s, const char *suffix, const struct access_identity *who)
{
	json_t *list = json_array();
	/* When a model was made is not known. */
	int64_t created = s != NULL ? status_header(s)->published_ms / 1000 : 0;

	for (size_t rank = 0; s != NULL && rank < status_header(s)->candidate_count; rank++) {
		const struct status_llm *l = status_candidate(s, rank);
		const char *id = id_of(s, l);

		if (id == NULL || !is_served(s, rank) || is_repeated(s, rank, id) || !access_may_use_model(who, id))
			continue;
		json_array_append_new(list, model_json(l, id, "", created));
		if (*suffix != '\0')
			json_array_append_new(list, model_json(l, id, suffix, created));
	}
	if (s != NULL)
		add_embedders(list, s, who, created);
	return list;
}

static void answer_one(struct connection *c, const json_t *list, const char *id)
{
	const json_t *model;
	json_t *error;
	size_t i;

	json_array_foreach(list, i, model)
	{
		if (strcmp(json_string_value(json_object_get(model, "id")), id) == 0) {
			response_borrowed(c, 200, model);
			return;
		}
	}
	error = openai_error_of(FAILURE_MODEL,
	                        "There is no such model here. GET /v1/models lists those that there are.");
	response_value(c, 404, error);
}

static void answer(struct worker *w, struct connection *c)
{
	const struct config *config = published_config(worker_published(w));
	const char *suffix = cfg_str(config, CFG_HTTP_AGENT_SUFFIX), *id = connection_rest(c);
	struct status_snapshot *s = published_acquire(worker_published(w));
	json_t *list = models(s, suffix != NULL ? suffix : "", connection_identity(c));

	if (id == NULL || *id == '\0')
		response_value(c, 200, json_pack("{s:s, s:O}", "object", "list", "data", list));
	else
		answer_one(c, list, id);
	json_decref(list);
	if (s != NULL)
		status_release(s);
}

const struct endpoint endpoint_v1_models = {
	.path = "/v1/models",
	.methods = "GET, HEAD, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.takes_rest = true,
	.is_api = true,
	.help = "The models that the API answers with, or the one of this id.",
	.answer = answer,
};
