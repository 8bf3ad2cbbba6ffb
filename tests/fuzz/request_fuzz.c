/* SPDX-License-Identifier: Apache-2.0 */
/* Any body is accepted, or refused with an answer that is JSON. */
#include "core/protocol/messages.h"
#include "core/protocol/responses.h"
#include "core/protocol/studio_request.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_detail(json_t *detail)
{
	char *text = json_dumps(detail, JSON_COMPACT);

	if (text == NULL || json_array_size(json_object_get(detail, "detail")) == 0)
		abort();
	free(text);
	json_decref(detail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct chat_request r;
	json_t *detail;
	char *body = malloc(len + (len == 0)), *text, *id;

	if (body == NULL)
		abort();
	memcpy(body, data, len);
	switch (studio_request_parse(body, len, &r, &detail)) {
	case 0:
		text = chat_content_text(r.content);
		if (text == NULL || r.thread_id == NULL || detail != NULL)
			abort();
		free(text);
		chat_request_clear(&r);
		break;
	case 422:
		check_detail(detail);
		break;
	default:
		abort();
	}
	switch (openai_chat_parse(body, len, &r, &detail)) {
	case 0:
		if (json_array_size(r.messages) == 0 || !json_is_object(r.fields) || r.model_asked == NULL ||
		    *r.model_asked == '\0' || r.thread_id == NULL || detail != NULL)
			abort();
		chat_request_clear(&r);
		break;
	case 400:
		if (json_object_size(json_object_get(detail, "error")) != 4)
			abort();
		json_decref(detail);
		break;
	default:
		abort();
	}
	switch (responses_parse(body, len, &r, &detail)) {
	case 0:
		if (json_array_size(r.messages) == 0 || json_array_size(r.stored) == 0 || !json_is_object(r.fields) ||
		    !json_is_object(r.echo) || r.model_asked == NULL || r.thread_id == NULL || detail != NULL)
			abort();
		chat_request_clear(&r);
		break;
	case 400:
		if (json_object_size(json_object_get(detail, "error")) != 4)
			abort();
		json_decref(detail);
		break;
	default:
		abort();
	}
	switch (messages_parse(body, len, &r, &detail)) {
	case 0:
		if (!json_is_object(r.fields) || r.model_asked == NULL || r.thread_id == NULL || detail != NULL)
			abort();
		text = json_dumps(r.messages, JSON_COMPACT);
		if (text == NULL)
			abort();
		free(text);
		chat_request_clear(&r);
		break;
	case 400:
		if (json_object_size(json_object_get(detail, "error")) != 2)
			abort();
		json_decref(detail);
		break;
	default:
		abort();
	}
	if (studio_request_parse_select(NULL, body, len, &id, &detail) == 422)
		check_detail(detail);
	else
		free(id);
	free(body);
	return 0;
}
