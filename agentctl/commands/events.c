/* SPDX-License-Identifier: Apache-2.0 */
/* events: the stream of state changes. */
#include "agentctl/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void show_event(const struct ctl *a, const json_t *event)
{
	double at = json_number_value(json_object_get(event, "at"));
	time_t seconds = (time_t)at;
	const char *name = text_of(event, "event"), *key;
	char when[32];
	struct tm tm;
	json_t *value;

	localtime_r(&seconds, &tm);
	strftime(when, sizeof when, "%H:%M:%S", &tm);
	fprintf(a->out, "%s.%03d ", when, (int)((at - floor(at)) * 1000));
	text_put(a->out, a->colour, COLOUR_BOLD, name != NULL ? name : "event");
	json_object_foreach((json_t *)(uintptr_t)event, key, value)
	{
		char *text;

		if (strcmp(key, "at") == 0 || strcmp(key, "event") == 0 || json_is_null(value))
			continue;
		text = text_value(value);
		fputc(' ', a->out);
		text_put(a->out, a->colour, COLOUR_DIM, key);
		fputc('=', a->out);
		text_put(a->out, a->colour, text_status_colour(text), text != NULL ? text : "");
		free(text);
	}
	fputc('\n', a->out);
}

static enum ctl_exit run_events(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	(void)args, (void)count;
	return ctl_watch(a, c);
}

const struct ctl_command ctl_events = {.name = "events", .is_stream = true, .run = run_events, .show = show_event};
