/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/top/screen.h"

#include "core/base/clock.h"

#include <curses.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

/* --- signals -------------------------------------------------------------------------------------- */

static volatile sig_atomic_t ended_by; /* a signal that ends programs; 0: none */

static void on_end(int number)
{
	ended_by = number;
}

/* What a crash needs to restore the terminal: ncurses must not be called then. */
static struct {
	struct termios before;
	char sequences[256];
	size_t len;
} rescue;

static void on_crash(int number)
{
	ssize_t n = write(STDOUT_FILENO, rescue.sequences, rescue.len);

	(void)n;
	tcsetattr(STDIN_FILENO, TCSANOW, &rescue.before);
	raise(number); /* SA_RESETHAND: as if nobody had caught it */
}

static void add_sequence(const char *sequence)
{
	size_t len = sequence != NULL && sequence != (char *)-1 ? strlen(sequence) : 0;

	if (len < sizeof rescue.sequences - rescue.len) {
		memcpy(rescue.sequences + rescue.len, sequence, len);
		rescue.len += len;
	}
}

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static void catch_signals(void)
{
	struct sigaction end = {.sa_handler = on_end};
	struct sigaction crash = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};

	rescue.len = 0;
	add_sequence(exit_attribute_mode);
	add_sequence(keypad_local);
	add_sequence(cursor_normal);
	add_sequence(exit_ca_mode);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		sigaction(ends[i], &end, NULL);
	for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
		sigaction(crashes[i], &crash, NULL);
}

static void release_signals(void)
{
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		signal(ends[i], SIG_DFL);
	for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
		signal(crashes[i], SIG_DFL);
}

/* --- drawing --------------------------------------------------------------------------------------- */

static void start_colours(void)
{
	if (!has_colors() || start_color() == ERR)
		return;
	use_default_colors();
	init_pair(COLOUR_GREEN, COLOR_GREEN, -1);
	init_pair(COLOUR_YELLOW, COLOR_YELLOW, -1);
	init_pair(COLOUR_RED, COLOR_RED, -1);
}

static int attribute_of(enum colour colour, bool coloured)
{
	if (colour == COLOUR_BOLD)
		return (int)A_BOLD;
	if (colour == COLOUR_DIM)
		return (int)A_DIM;
	return coloured && colour != COLOUR_NONE ? (int)COLOR_PAIR(colour) : (int)A_NORMAL;
}

static void draw_line(int y, const struct top_line *line, bool coloured)
{
	size_t at = 0;

	move(y, 0);
	attrset(line->inverse ? (int)A_REVERSE : (int)A_NORMAL);
	for (size_t i = 0; i <= line->span_count; i++) {
		const struct top_span *span = i < line->span_count ? &line->spans[i] : NULL;
		size_t until = span != NULL ? span->at : line->len;

		addnstr(line->text + at, (int)(until - at));
		if (span == NULL)
			break;
		attrset(attribute_of(span->colour, coloured));
		addnstr(line->text + span->at, (int)span->len);
		attrset(A_NORMAL);
		at = span->at + span->len;
	}
	attrset(A_NORMAL);
}

static int draw(struct top_state *state, struct top_layout *layout, bool coloured)
{
	struct top_line *page;

	layout->width = COLS;
	layout->height = LINES;
	page = calloc((size_t)layout->height + 1, sizeof *page);
	if (page == NULL)
		return -1;
	top_view(state, layout, page);
	erase();
	for (int y = 0; y < layout->height; y++)
		draw_line(y, &page[y], coloured);
	refresh();
	free(page);
	return 0;
}

/* --- keys -------------------------------------------------------------------------------------------- */

static void scroll_by(struct top_layout *layout, int rows)
{
	if (rows < 0 && layout->first < (size_t)-rows)
		layout->first = 0;
	else
		layout->first = (size_t)((int64_t)layout->first + rows); /* corrected when it is drawn */
}

static void sort_by(struct top_layout *layout, enum top_sort sort)
{
	layout->reversed = layout->sort == sort && !layout->reversed;
	layout->sort = sort;
	layout->first = 0;
}

/* false: the user quits. */
static bool take_key(int key, const struct top_state *state, struct top_layout *layout, bool *now)
{
	int page = top_view_rows(state, layout);

	switch (key) {
	case 'q':
	case 'Q':
		return false;
	case 'h':
	case '?':
		layout->help = !layout->help;
		break;
	case 's':
		sort_by(layout, (layout->sort + 1) % TOP_SORTS);
		break;
	case 'r':
		layout->reversed = !layout->reversed;
		break;
	case ' ':
		*now = true;
		break;
	case KEY_UP:
	case 'k':
		scroll_by(layout, -1);
		break;
	case KEY_DOWN:
	case 'j':
		scroll_by(layout, 1);
		break;
	case KEY_PPAGE:
		scroll_by(layout, -page);
		break;
	case KEY_NPAGE:
		scroll_by(layout, page);
		break;
	case KEY_HOME:
		layout->first = 0;
		break;
	case KEY_END:
		layout->first = state->count;
		break;
	default:
		for (unsigned sort = 0; sort < TOP_SORTS; sort++)
			if (key == top_sort_key((enum top_sort)sort))
				sort_by(layout, (enum top_sort)sort);
	}
	return true;
}

/* --- the loop ------------------------------------------------------------------------------------------- */

static enum screen_end run(struct top_source *s, struct top_layout *layout, int64_t delay_ms, bool colour,
                           struct err *e)
{
	struct top_state *state = NULL;
	int64_t due_ms = 0;

	while (ended_by == 0) {
		int64_t left = due_ms - clock_mono_ms();
		bool now = false;
		int key;

		if (left <= 0) {
			state = top_source_read(s);
			due_ms = clock_mono_ms() + delay_ms;
			left = delay_ms;
		}
		if (state == NULL || draw(state, layout, colour) < 0) {
			err_set(e, "out of memory");
			return SCREEN_FAILED;
		}
		timeout(left > 60000 ? 60000 : (int)left);
		errno = 0;
		key = getch();
		if (key == ERR && errno != 0 && errno != EINTR && errno != EAGAIN) {
			err_set_errno(e, errno, "the terminal is gone");
			return SCREEN_FAILED;
		}
		if (key != ERR && key != KEY_RESIZE && !take_key(key, state, layout, &now))
			break;
		if (now)
			due_ms = 0;
	}
	return SCREEN_QUIT;
}

enum screen_end screen_run(struct top_source *s, struct top_layout *layout, int64_t delay_ms, bool colour,
                           struct err *e)
{
	const char *type = getenv("TERM");
	enum screen_end end;
	SCREEN *screen;

	tcgetattr(STDIN_FILENO, &rescue.before);
	screen = newterm(NULL, stdout, stdin);
	if (screen == NULL) {
		err_set(e, "TERM=%s is not known here: use --batch", type != NULL ? type : "");
		return SCREEN_NONE;
	}
	catch_signals();
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	start_colours();
	end = run(s, layout, delay_ms, colour, e);
	endwin();
	delscreen(screen);
	release_signals();
	if (ended_by != 0)
		raise(ended_by);
	return end;
}
