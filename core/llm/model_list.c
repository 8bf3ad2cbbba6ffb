/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/model_list.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *entry, const char *name)
{
	return json_string_value(json_object_get(entry, name));
}

static const json_t *choose(const json_t *list, const char *wanted)
{
	const json_t *data = json_object_get(list, "data"), *entry;
	size_t i;

	json_array_foreach(data, i, entry)
	{
		const char *id = text_of(entry, "id");

		if (wanted != NULL && id != NULL && strcmp(id, wanted) == 0)
			return entry;
	}
	return json_array_get(data, 0);
}

int model_list_read(const char *body, size_t len, const char *wanted, struct model_list_entry *out)
{
	const json_t *entry;
	const char *id, *owner;
	json_int_t context;
	json_t *list;
	int result = 0;

	*out = (struct model_list_entry){.id = NULL};
	errno = 0;
	list = json_loadb(body, len, 0, NULL);
	if (list == NULL && errno == ENOMEM)
		return -1;
	entry = choose(list, wanted);
	id = text_of(entry, "id");
	owner = text_of(entry, "owned_by");
	context = json_integer_value(json_object_get(entry, "max_model_len"));
	*out = (struct model_list_entry){
		.context = context > 0 ? context : 0,
		.is_vllm = owner != NULL && strcmp(owner, "vllm") == 0,
	};
	if (id != NULL && strlen(id) <= MODEL_ID_MAX && (out->id = strdup(id)) == NULL)
		result = -1;
	json_decref(list);
	return result;
}

void model_list_clear(struct model_list_entry *m)
{
	free(m->id);
	*m = (struct model_list_entry){.id = NULL};
}
