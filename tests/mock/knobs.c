/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/mock/knobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *knobs_object(const char *text, char *why, size_t size)
{
	json_error_t e;
	json_t *object = json_loads(text, 0, &e);

	if (json_is_object(object))
		return object;
	snprintf(why, size, "no JSON object: %s", object ? "another type" : e.text);
	json_decref(object);
	return NULL;
}

bool knobs_check(json_t *object, const struct knob *knobs, size_t count, const char *prefix, char *why, size_t size)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		size_t i = 0;

		while (i < count && strcmp(knobs[i].name, name) != 0)
			i++;
		if (i < count && (json_typeof(value) == knobs[i].type || json_is_boolean(value)))
			continue;
		snprintf(why, size, "%s%s: %s", prefix, name, i < count ? "wrong type" : "no such knob");
		return false;
	}
	return true;
}

bool knobs_follow(struct book *b, uint64_t *generation, json_t **script)
{
	char *text = book_script(b, generation);

	if (!text)
		return false;
	json_decref(*script);
	*script = json_loads(text, 0, NULL);
	free(text);
	return true;
}
