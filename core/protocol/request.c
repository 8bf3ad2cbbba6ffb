/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/request.h"

#include "core/base/buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void chat_request_clear(struct chat_request *r)
{
	json_decref(r->content);
	json_decref(r->messages);
	json_decref(r->fields);
	json_decref(r->stored);
	json_decref(r->echo);
	json_decref(r->beyond);
	free(r->verbatim);
	free(r->model);
	free(r->model_asked);
	free(r->thread_id);
	free(r->previous);
	memset(r, 0, sizeof *r);
}

char *chat_content_text(const json_t *content)
{
	struct buf text = BUF_INIT(SIZE_MAX / 4);
	const json_t *part;
	size_t i;
	char *result;

	if (json_is_string(content))
		return strdup(json_string_value(content));
	json_array_foreach(content, i, part)
	{
		const json_t *t = json_object_get(part, "text");

		if (!json_is_string(t))
			continue;
		if ((text.len > 0 && buf_adds(&text, "\n") < 0) || buf_adds(&text, json_string_value(t)) < 0) {
			buf_free(&text);
			return NULL;
		}
	}
	result = buf_steal(&text, NULL);
	return result;
}
