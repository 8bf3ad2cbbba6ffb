/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/drains.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define DRAINS_MAX 1024

static void clear(struct status_drain *drain)
{
	free(drain->name);
	free(drain->by);
}

void drains_clear(struct drains *d)
{
	for (size_t i = 0; i < d->count; i++)
		clear(&d->items[i]);
	free(d->items);
	*d = (struct drains){.items = NULL};
}

const struct status_drain *drains_find(const struct drains *d, const char *name)
{
	for (size_t i = 0; i < d->count; i++)
		if (strcmp(d->items[i].name, name) == 0)
			return &d->items[i];
	return NULL;
}

int drains_add(struct drains *d, const char *name, const char *by, int64_t since_ms)
{
	struct status_drain drain = {.since_ms = since_ms};
	struct status_drain *items;

	if (drains_find(d, name) != NULL)
		return 0;
	drain.name = strdup(name);
	drain.by = strdup(by);
	items = d->count < DRAINS_MAX ? realloc(d->items, (d->count + 1) * sizeof *items) : NULL;
	if (items != NULL)
		d->items = items;
	if (drain.name == NULL || drain.by == NULL || items == NULL) {
		clear(&drain);
		return -1;
	}
	d->items[d->count++] = drain;
	return 0;
}

void drains_remove(struct drains *d, const char *name)
{
	const struct status_drain *found = drains_find(d, name);
	size_t i;

	if (found == NULL)
		return;
	i = (size_t)(found - d->items);
	clear(&d->items[i]);
	memmove(&d->items[i], &d->items[i + 1], (--d->count - i) * sizeof *d->items);
}

void drains_restore(struct drains *d, const char *document, size_t len)
{
	const json_t *drain;
	json_t *status;
	size_t i;

	/* A document of thousands of models is parsed only if there is something to restore. */
	if (document == NULL || memmem(document, len, "\"drained\":[", strlen("\"drained\":[")) == NULL)
		return;
	status = json_loadb(document, len, 0, NULL);
	json_array_foreach(json_object_get(status, "drained"), i, drain)
	{
		const char *name = json_string_value(json_object_get(drain, "name"));
		const char *by = json_string_value(json_object_get(drain, "by"));
		double since = json_number_value(json_object_get(drain, "since"));

		if (name != NULL)
			drains_add(d, name, by != NULL ? by : "", (int64_t)(since * 1000));
	}
	json_decref(status);
}
