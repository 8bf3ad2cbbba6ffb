/* SPDX-License-Identifier: Apache-2.0 */
/* top: what runs, live. */
#include "agentctl/top/screen.h"
#include "core/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WIDTH 80 /* of pages that are printed, unless COLUMNS says otherwise */

static int batch_width(void)
{
	const char *columns = getenv("COLUMNS");
	long width = columns != NULL ? strtol(columns, NULL, 10) : 0;

	return width >= 20 && width <= TOP_WIDTH_MAX ? (int)width : WIDTH;
}

/* Without the spaces at the ends of lines. */
static void print_page(const struct ctl *a, const struct top_line *lines, int count)
{
	for (int i = 0; i < count; i++) {
		size_t len = lines[i].len;

		while (len > 0 && lines[i].text[len - 1] == ' ')
			len--;
		fprintf(a->out, "%.*s\n", (int)len, lines[i].text);
	}
	fputc('\n', a->out);
}

static int print_text(const struct ctl *a, struct top_state *state, struct top_layout *layout)
{
	struct top_line *lines;

	layout->width = batch_width();
	layout->height = top_view_whole(state);
	lines = calloc((size_t)layout->height, sizeof *lines);
	if (lines == NULL)
		return -1;
	top_view(state, layout, lines);
	print_page(a, lines, layout->height - 1); /* the last line is about keys */
	free(lines);
	return 0;
}

static void pause_ms(int64_t ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		continue;
}

/* A page each time. Without anything ever published it goes on: it may come. */
static enum ctl_exit run_batch(const struct ctl *a, const struct ctl_command *c, struct top_source *s,
                               struct top_layout *layout)
{
	bool published = false;

	for (unsigned n = 0; a->count == 0 || n < a->count; n++) {
		struct top_state *state;

		if (n > 0)
			pause_ms(a->delay_ms);
		state = top_source_read(s);
		if (state == NULL) {
			a->output->problem(a, "out of memory");
			return CTL_REFUSED;
		}
		published |= state->published;
		if (a->output == &ctl_text) {
			if (print_text(a, state, layout) < 0)
				return CTL_REFUSED;
		} else {
			json_t *j = top_source_json(s);

			a->output->show(a, c, j);
			json_decref(j);
		}
		if (fflush(a->out) != 0) /* nobody reads it any more */
			break;
	}
	return published ? CTL_OK : CTL_UNREACHABLE;
}

static enum ctl_exit run_top(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct top_layout layout = {.sort = TOP_BY_RUNNING, .ascii = !a->utf8};
	const char *type = getenv("TERM");
	bool page = a->batch || a->output != &ctl_text || !a->terminal || !isatty(STDIN_FILENO) || type == NULL ||
	            *type == '\0' || strcmp(type, "dumb") == 0;
	enum ctl_exit result = CTL_OK;
	struct err e = ERR_INIT;
	struct top_source *s = top_source_new(a->run_dir, &e);

	(void)args, (void)count;
	if (s == NULL) {
		a->output->problem(a, e.text);
		return CTL_REFUSED;
	}
	log_set_level(LOG_CRITICAL_); /* the page says it, and nothing else may be written to the terminal */
	if (page) {
		result = run_batch(a, c, s, &layout);
	} else if (screen_run(s, &layout, a->delay_ms, a->colour, &e) != SCREEN_QUIT) {
		a->output->problem(a, e.text);
		result = CTL_REFUSED;
	}
	top_source_free(s);
	return result;
}

const struct ctl_command ctl_top = {
	.name = "top",
	.arguments = "",
	.help = "What runs, live: models with their requests, tokens/s, times, errors and health.",
	.manual =
		"It reads the files in the run directory, as root or the service's user, and so works while tt-agentd is dead or "
		"every worker is busy. On a terminal it fills the screen until q; h lists the keys. With --batch, or where "
		"there is no such terminal, it prints a page each time, of COLUMNS columns; with --json an object. TTFT is the "
		"time to the first token that half, and 99%, of the turns of the last one to two minutes (in the first minute, of all) did not exceed. "
		"HISTORY has a mark for every 15 seconds: healthy, degraded, ejected, unhealthy.",
	.is_stream = true,
	.run = run_top,
};
