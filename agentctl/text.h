/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people. Whatever comes from outside is safe to show: it cannot move the
 * terminal's cursor or change its colours. */
#ifndef TT_AGENTCTL_TEXT_H
#define TT_AGENTCTL_TEXT_H

#include "agentctl/ctl.h"

enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED, COLOUR_DIM, COLOURS };

/* The terminal's sequence for it. */
const char *text_colour_sequence(enum colour colour);
/* Green for "healthy", red for "error", and so on. */
enum colour text_status_colour(const char *status);

/* What a recorded event says after its kind; texts may be NULL or empty. */
void text_event(char *out, size_t size, const char *model, const char *was, long long count, const char *reason);

/* One piece of text; '?' replaces what must not be shown (core/base/utf8.h). */
void text_put(FILE *out, bool coloured, enum colour colour, const char *text);

/* A document and a line break; what must not be shown is escaped in its strings. */
void text_json(FILE *out, const json_t *document, size_t flags);
void text_json_value(FILE *out, const json_t *value, size_t flags); /* of any kind, and without the end of the line */

/* A line: label, text. */
void text_field(const struct ctl *a, const char *label, enum colour colour, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* No line where text is NULL or empty. */
void text_optional_field(const struct ctl *a, const char *label, const char *text);
/* The line that says so where the document is the last published state. */
void text_stale(const struct ctl *a, const json_t *document);

/* How discovery goes, where the document says it: a line for each source, and why it fails. */
void text_discovery(const struct ctl *a, const json_t *document);

/* "45 s", "3 min 20 s", "2 h 5 min", "4 d 1 h" */
void text_duration(double seconds, char *out, size_t size);
/* "45 s ago", "never"; `at` in seconds since the epoch. */
void text_ago(double at, char *out, size_t size);
/* "90d", "12h" after now, or the date "2027-01-31", when it begins, UTC; in seconds since the epoch.
 * False: none of these. */
bool text_parse_time(const char *text, int64_t now_s, int64_t *at_s);
/* The strings of a list as "a, b, c". */
void text_joined(const json_t *list, char *out, size_t size);
/* Any value on one line, to be freed. */
char *text_value(const json_t *value);

/* Members of an object: NULL, 0 or false where there is none. */
const char *text_of(const json_t *j, const char *key);
long long number_of(const json_t *j, const char *key);
bool truth_of(const json_t *j, const char *key);

/* Any answer: {"status","message",...} as a sentence with what belongs to it, else each
 * member that is not null on a line. */
void text_document(const struct ctl *a, const json_t *document);

#endif
