#include "core/llm/listed.h"

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

	json_array_foreach(data, i, entry) {
		const char *id = text_of(entry, "id");

		if (wanted != NULL && id != NULL && strcmp(id, wanted) == 0)
			return entry;
	}
	return json_array_get(data, 0);
}

int listed_read(const char *body, size_t len, const char *wanted, struct listed_model *out)
{
	const json_t *entry;
	const char *id, *owner;
	json_int_t context;
	json_t *list;
	int result = 0;

	*out = (struct listed_model){.id = NULL};
	errno = 0;
	list = json_loadb(body, len, 0, NULL);
	if (list == NULL && errno == ENOMEM)
		return -1;
	entry = choose(list, wanted);
	id = text_of(entry, "id");
	owner = text_of(entry, "owned_by");
	context = json_integer_value(json_object_get(entry, "max_model_len"));
	*out = (struct listed_model){
		.context = context > 0 ? context : 0,
		.is_vllm = owner != NULL && strcmp(owner, "vllm") == 0,
	};
	if (id != NULL && strlen(id) <= LISTED_ID_MAX && (out->id = strdup(id)) == NULL)
		result = -1;
	json_decref(list);
	return result;
}

void listed_clear(struct listed_model *m)
{
	free(m->id);
	*m = (struct listed_model){.id = NULL};
}
