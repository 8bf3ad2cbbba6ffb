/* SPDX-License-Identifier: Apache-2.0 */
/* events: the stream of state changes; with --since, what the ring of recent events holds. */
#include "agentctl/since.h"
#include "agentctl/text.h"
#include "core/base/clock.h"
#include "core/status/event_ring.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FOLLOW_MS 250

/* --- as text -------------------------------------------------------------------------------- */

static void show_recorded(const struct ctl *a, const json_t *event, time_t seconds)
{
	char when[64], text[700];
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %z", &tm);
	fprintf(a->out, "%s  #%lld  ", when, number_of(event, "number"));
	text_put(a->out, a->colour, COLOUR_BOLD, text_of(event, "kind"));
	text_event(text, sizeof text, text_of(event, "model"), text_of(event, "was"), number_of(event, "count"),
	           text_of(event, "reason"));
	text_put(a->out, false, COLOUR_NONE, text);
	fputc('\n', a->out);
}

static void show_event(const struct ctl *a, const json_t *event)
{
	double at = json_number_value(json_object_get(event, "at"));
	const char *name = text_of(event, "event"), *key;
	time_t seconds = (time_t)at;
	char when[32];
	struct tm tm;
	json_t *value;

	if (json_object_get(event, "number") != NULL) {
		show_recorded(a, event, seconds);
		return;
	}
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

/* --- from the ring ---------------------------------------------------------------------------- */

/* Shows what is recorded from *next on; false: nobody reads it any more. */
static bool show_ring(const struct ctl *a, const struct ctl_command *c, const struct event_reader *ring, int64_t at_ms,
                      uint64_t *next)
{
	uint64_t last = event_reader_last(ring);
	struct event_record r;

	for (; *next <= last; ++*next) {
		json_t *event;

		if (!event_reader_get(ring, *next, &r) || r.at_ms < at_ms)
			continue;
		event = event_record_json(&r, event_reader_epoch(ring), false);
		a->output->show(a, c, event);
		json_decref(event);
	}
	return fflush(a->out) == 0;
}

static enum ctl_exit cannot_read(const struct ctl *a, const struct err *e)
{
	char text[700];

	snprintf(text, sizeof text, "%s%s", e->text,
	         errno == EACCES ? " (run it as root, or as the user of tt-agentd)" : "");
	a->output->problem(a, text);
	return CTL_UNREACHABLE;
}

/* What is older than the ring is missing: that is said, but only to people. */
static void note_older(const struct ctl *a, const struct event_reader *ring, const struct since *since)
{
	uint64_t last = event_reader_last(ring);
	uint64_t oldest = last > EVENT_RING_SLOTS ? last - EVENT_RING_SLOTS + 1 : 1;
	struct event_record r;

	if (oldest == 1 || a->output != &ctl_text || !event_reader_get(ring, oldest, &r))
		return;
	if (since->number > 0 ? since->number < oldest : since->at_ms < r.at_ms)
		fprintf(a->err, "tt-agentctl: only the last %u events are recorded\n", EVENT_RING_SLOTS);
}

static enum ctl_exit show_since(const struct ctl *a, const struct ctl_command *c)
{
	struct event_reader *ring;
	struct err e = ERR_INIT;
	enum ctl_exit result = CTL_OK;
	struct since since;
	uint64_t next, epoch;

	if (since_parse(a->since, clock_wall_ms(), &since, &e) < 0) {
		a->output->problem(a, e.text);
		return CTL_USAGE;
	}
	ring = event_reader_new(a->run_dir);
	if (ring == NULL || event_reader_check(ring, &e) < 0) {
		result = cannot_read(a, &e);
		goto out;
	}
	epoch = event_reader_epoch(ring);
	if (epoch == 0) {
		err_set(&e, "no events are recorded in %s: tt-agentd has never run there", a->run_dir);
		a->output->problem(a, e.text);
		result = CTL_UNREACHABLE;
		goto out;
	}
	note_older(a, ring, &since);
	next = since.number > 0 ? since.number : 1;
	if (event_reader_last(ring) > EVENT_RING_SLOTS && next <= event_reader_last(ring) - EVENT_RING_SLOTS)
		next = event_reader_last(ring) - EVENT_RING_SLOTS + 1;
	while (show_ring(a, c, ring, since.at_ms, &next) && a->follow) {
		usleep(FOLLOW_MS * 1000);
		event_reader_check(ring, NULL);
		if (event_reader_epoch(ring) != epoch)
			next = 1;
		epoch = event_reader_epoch(ring);
	}
out:
	event_reader_free(ring);
	return result;
}

static enum ctl_exit run_events(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	(void)args, (void)count;
	return a->since != NULL ? show_since(a, c) : ctl_watch(a, c);
}

const struct ctl_command ctl_events = {
	.name = "events",
	.manual =
		"With --since TIME|NUMBER it prints what is recorded from then on and ends, also while no daemon runs; with "
		"--follow it goes on with what comes. TIME is 10m, 2h, 14:30, \"2026-11-28 14:30\", today or @SECONDS; "
		"NUMBER is that of an event. The last 512 events are recorded.",
	.is_stream = true,
	.run = run_events,
	.show = show_event,
};
