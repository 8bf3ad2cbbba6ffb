/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /v1/chat/completions. What the service does not need itself is not looked at: it is for
 * the LLM, whose server knows what it takes. */
#include "core/protocol/openai.h"

#include "core/protocol/json_body.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_MAX 512u

/* ---- any body ---- */

int openai_wrong(struct openai_problem *p, const char *param, const char *format, ...)
{
	va_list args;

	p->param = param;
	va_start(args, format);
	vsnprintf(p->text, sizeof p->text, format, args);
	va_end(args);
	return 400;
}

int openai_take_model(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	const json_t *model = json_object_get(body, "model");
	const char *name = json_string_value(model);

	if (name == NULL || *name == '\0')
		return openai_wrong(p, "model", "model must be the id of a model (GET /v1/models lists them).");
	if (json_string_length(model) > MODEL_MAX || strlen(name) != json_string_length(model))
		return openai_wrong(p, "model", "model is too long, or has a NUL in it.");
	r->model_asked = strdup(name);
	return r->model_asked != NULL ? 0 : -1;
}

int openai_take_bool(const json_t *object, const char *name, bool *out, struct openai_problem *p)
{
	const json_t *value = json_object_get(object, name);

	if (value != NULL && !json_is_boolean(value) && !json_is_null(value))
		return openai_wrong(p, name, "%s must be true or false.", name);
	*out = json_is_true(value);
	return 0;
}

int openai_take_body(const char *body, size_t len, openai_take_fn *take, struct chat_request *r,
                     struct openai_problem *p)
{
	struct json_body_error error = {.message = "the body is empty"};
	json_t *root = len > 0 ? json_body_parse(body, len, &json_body_long, &error) : NULL;
	int result;

	memset(r, 0, sizeof *r);
	p->param = NULL;
	if (root == NULL && error.message == NULL)
		return -1;
	if (root == NULL)
		return openai_wrong(p, NULL, "The body is not valid JSON: %s (at %zu).", error.message, error.offset);
	if (json_is_object(root))
		result = take(root, r, p);
	else
		result = openai_wrong(p, NULL, "The body must be a JSON object.");
	json_decref(root);
	if (result != 0)
		chat_request_clear(r);
	return result;
}

int openai_parse(const char *body, size_t len, openai_take_fn *take, struct chat_request *r, json_t **problem)
{
	struct openai_problem p;
	int result = openai_take_body(body, len, take, r, &p);

	*problem = result == 400 ? openai_error(p.text, "invalid_request_error", p.param, NULL) : NULL;
	return result == 400 && *problem == NULL ? -1 : result;
}

/* ---- messages ---- */

static bool is_image(const json_t *part)
{
	const char *type = json_string_value(json_object_get(part, "type"));

	return type != NULL && strstr(type, "image") != NULL;
}

static int take_messages(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	json_t *messages = json_object_get(body, "messages"), *message, *part;
	size_t i, j;

	if (!json_is_array(messages) || json_array_size(messages) == 0)
		return openai_wrong(p, "messages", "messages must be an array with at least one message.");
	json_array_foreach(messages, i, message)
	{
		const json_t *content = json_object_get(message, "content");

		if (!json_is_object(message) || !json_is_string(json_object_get(message, "role")))
			return openai_wrong(p, "messages", "messages[%zu] must be an object with a role.", i);
		if (content != NULL && !json_is_null(content) && !json_is_string(content) && !json_is_array(content))
			return openai_wrong(p, "messages",
			                    "messages[%zu].content must be a string, an array of parts, or null.", i);
		json_array_foreach(content, j, part) r->has_images |= is_image(part);
	}
	r->messages = json_incref(messages);
	return 0;
}

/* ---- the rest ---- */

/* An answer is put together from what any LLM streams: one, of text, and without the odds of its tokens. */
static int check_answer(const json_t *body, struct openai_problem *p)
{
	const json_t *n = json_object_get(body, "n"), *modality;
	size_t i;

	if (n != NULL && !json_is_null(n) && !(json_is_integer(n) && json_integer_value(n) == 1))
		return openai_wrong(p, "n", "Only one answer can be given to a request: n must be 1.");
	if (json_is_true(json_object_get(body, "logprobs")))
		return openai_wrong(p, "logprobs",
		                    "The probabilities of tokens cannot be given: logprobs must be false.");
	json_array_foreach(json_object_get(body, "modalities"), i, modality)
	{
		const char *word = json_string_value(modality);

		if (word == NULL || strcmp(word, "text") != 0)
			return openai_wrong(p, "modalities", "Answers are text: modalities must be [\"text\"].");
	}
	return 0;
}

/* A conversation that this service remembers. */
static int take_thread(json_t *fields, struct chat_request *r, struct openai_problem *p)
{
	const json_t *id = json_object_get(json_object_get(fields, "metadata"), "thread_id");
	const char *text = json_string_value(id);

	r->thread_id = strdup(text != NULL ? text : "");
	if (r->thread_id == NULL)
		return -1;
	if (id != NULL && (text == NULL || strlen(text) != json_string_length(id) || strlen(text) > CHAT_THREAD_ID_MAX))
		return openai_wrong(p, "metadata", "metadata.thread_id must be a string of at most 512 bytes.");
	if (text != NULL) /* it is for this service */
		json_object_del(fields, "metadata");
	return 0;
}

/* What is for the LLM beside the model and the messages. */
static json_t *fields_of(json_t *body)
{
	json_t *fields = json_copy(body);

	json_object_del(fields, "model");
	json_object_del(fields, "messages");
	json_object_del(fields, "stream");
	json_object_del(fields, "stream_options");
	return fields;
}

static int take_body(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	const json_t *options = json_object_get(body, "stream_options");
	int result;

	if ((result = openai_take_model(body, r, p)) != 0 || (result = take_messages(body, r, p)) != 0 ||
	    (result = openai_take_bool(body, "stream", &r->streams, p)) != 0 ||
	    (result = openai_take_bool(options, "include_usage", &r->wants_usage, p)) != 0)
		return result;
	r->fields = fields_of(body);
	if (r->fields == NULL)
		return -1;
	r->calls_functions = json_array_size(json_object_get(body, "functions")) > 0 &&
	                     json_array_size(json_object_get(body, "tools")) == 0;
	if ((result = take_thread(r->fields, r, p)) != 0)
		return result;
	/* What no turn answers may be for the LLM's server; not in a conversation, which would lack the answer. */
	if (check_answer(body, p) == 0)
		return 0;
	if (*r->thread_id != '\0')
		return 400;
	r->beyond = openai_error(p->text, "invalid_request_error", p->param, NULL);
	return r->beyond != NULL ? 0 : -1;
}

int openai_chat_parse(const char *body, size_t len, struct chat_request *r, json_t **problem)
{
	int result = openai_parse(body, len, take_body, r, problem);

	if (result != 0 || r->beyond == NULL)
		return result;
	r->verbatim = malloc(len);
	r->verbatim_len = len;
	if (r->verbatim == NULL) {
		chat_request_clear(r);
		return -1;
	}
	memcpy(r->verbatim, body, len);
	return 0;
}
