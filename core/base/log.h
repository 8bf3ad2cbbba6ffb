/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: one event a line, `event key=value key="quoted value"`, or a JSON object; event and keys
 * are snake_case.
 *
 * Target and level are set once per process by log_open; log_set_level and log_set_format change
 * them. In text, values that contain whitespace, quotes or control characters are quoted and escaped;
 * JSON is ASCII: no input can forge a line. Never pass a secret, a prompt or model output. Any
 * thread after log_open. */
#ifndef TT_BASE_LOG_H
#define TT_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG_, LOG_INFO_, LOG_WARNING_, LOG_ERROR_, LOG_CRITICAL_ };
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_JOURNAL };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_REAL, LOG_FIELD_BOOL } type;
	union {
		const char *str; /* NULL is left out of the line */
		int64_t num;
		double real; /* printed with three decimals; NaN is left out */
		bool yes;
	} v;
};

#define L_STR(k, s)                                                                                                    \
	{                                                                                                              \
		.key = (k), .type = LOG_FIELD_STR, .v.str = (s)                                                        \
	}
#define L_INT(k, n)                                                                                                    \
	{                                                                                                              \
		.key = (k), .type = LOG_FIELD_INT, .v.num = (int64_t)(n)                                               \
	}
#define L_REAL(k, r)                                                                                                   \
	{                                                                                                              \
		.key = (k), .type = LOG_FIELD_REAL, .v.real = (r)                                                      \
	}
#define L_BOOL(k, b)                                                                                                   \
	{                                                                                                              \
		.key = (k), .type = LOG_FIELD_BOOL, .v.yes = (b)                                                       \
	}

/* Before log_open, lines of WARNING and above go to stderr. `program` appears in each
 * line on stderr and is the identifier in syslog; it must live as long as the process.
 * Journal lines begin with their priority as "<N>", without a time; so do lines on a stderr that leads to
 * the journal, before log_open as well. */
void log_open(const char *program, enum log_target target, enum log_level level);
bool log_has_priorities(void); /* lines begin so */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* LOG_JSON: {"time":RFC 3339 with milliseconds,"level","event","program","pid"} and the fields, with
 * "event_" before the name of one that is called like one of these. What is too long for a line is cut,
 * and the object has "truncated":true. The journal's lines begin with their priority as well; journald
 * takes it off. Text until the first call. */
void log_set_format(enum log_format format);

/* From now on level and format are those of all processes that this one forks, too, whoever sets them. */
void log_share_settings(void);

/* -1 when text is not one of DEBUG, INFO, WARNING (WARN), ERROR, CRITICAL (FATAL); case-insensitive. */
int log_level_parse(const char *text, enum log_level *level);
/* -1 when text is not one of stderr, syslog, journal (case-insensitive). */
int log_target_parse(const char *text, enum log_target *target);
/* -1 when text is not one of text, json (case-insensitive). */
int log_format_parse(const char *text, enum log_format *format);
const char *log_level_name(enum log_level level);

/* The log events are the rows of log_events.def. */
enum log_event {
#define LOG_EVENT(id, name, level, meaning) LOG_##id,
#include "core/base/log_events.def"
#undef LOG_EVENT
	LOG_EVENTS
};

struct log_event_info {
	const char *name;
	enum log_level level;
	const char *meaning; /* a sentence for the manual */
};

extern const struct log_event_info log_events[LOG_EVENTS];

void log_fields(enum log_event event, const struct log_field *fields, size_t count);

/* log_event(LOG_SELECTION, L_STR("model", name), L_INT("candidates", n)); at least one
 * field. The fields are not evaluated when the event's level is off. */
#define log_event(event, ...)                                                                                          \
	do {                                                                                                           \
		const enum log_event event_ = (event);                                                                 \
		if (log_events[event_].level >= log_level()) {                                                         \
			const struct log_field fields_[] = {__VA_ARGS__};                                              \
			log_fields(event_, fields_, sizeof fields_ / sizeof fields_[0]);                               \
		}                                                                                                      \
	} while (0)

#endif
