/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/log.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"

#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096 /* a pipe takes that much at once */
#define TEXT_MAX_BYTES 1024 /* of a field in JSON */
#define TEXT_MIN_BYTES 16

static struct log_settings {
	_Atomic int level, format;
} own_settings = {.level = LOG_WARNING_, .format = LOG_TEXT};

static struct {
	const char *program;
	enum log_target target;
	struct log_settings *settings;
	_Atomic int journal; /* stderr leads to the journal: 1 yes, 0 no, -1 not known yet */
} log_state = {.program = "tt-agent", .target = LOG_TO_STDERR, .settings = &own_settings, .journal = -1};

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_DEBUG_] = {"DEBUG", LOG_DEBUG},       [LOG_INFO_] = {"INFO", LOG_INFO},
	[LOG_WARNING_] = {"WARNING", LOG_WARNING}, [LOG_ERROR_] = {"ERROR", LOG_ERR},
	[LOG_CRITICAL_] = {"CRITICAL", LOG_CRIT},
};

const struct log_event_info log_events[LOG_EVENTS] = {
#define LOG_EVENT(id, name, level, meaning) [LOG_##id] = {name, LOG_##level##_, meaning},
#include "core/base/log_events.def"
#undef LOG_EVENT
};

/* As systemd says which stream it is, because a program may be started with another stderr. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

bool log_has_priorities(void)
{
	int journal = atomic_load(&log_state.journal);

	if (log_state.target != LOG_TO_STDERR)
		return log_state.target == LOG_TO_JOURNAL;
	if (journal < 0) {
		journal = stderr_is_journal();
		atomic_store(&log_state.journal, journal);
	}
	return journal != 0;
}

void log_open(const char *program, enum log_target target, enum log_level level)
{
	log_state.program = program;
	log_state.target = target;
	log_set_level(level);
	if (target == LOG_TO_SYSLOG)
		openlog(program, LOG_PID, LOG_DAEMON);
}

void log_set_level(enum log_level level)
{
	atomic_store(&log_state.settings->level, (int)level);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_state.settings->level, memory_order_relaxed);
}

void log_set_format(enum log_format format)
{
	atomic_store(&log_state.settings->format, (int)format);
}

void log_share_settings(void)
{
	struct log_settings *shared =
		mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return; /* each process then has its own */
	atomic_init(&shared->level, atomic_load(&log_state.settings->level));
	atomic_init(&shared->format, atomic_load(&log_state.settings->format));
	log_state.settings = shared;
}

int log_level_parse(const char *text, enum log_level *level)
{
	/* As Python's logging has them, whose names of levels ours are. */
	if (strcasecmp(text, "WARN") == 0)
		text = "WARNING";
	if (strcasecmp(text, "FATAL") == 0)
		text = "CRITICAL";
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		if (strcasecmp(text, levels[i].name) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

static int find_name(const char *text, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(text, names[i]) == 0)
			return (int)i;
	return -1;
}

int log_target_parse(const char *text, enum log_target *target)
{
	static const char *const names[] = {
		[LOG_TO_STDERR] = "stderr", [LOG_TO_SYSLOG] = "syslog", [LOG_TO_JOURNAL] = "journal"};
	int found = find_name(text, names, sizeof names / sizeof names[0]);

	if (found >= 0)
		*target = (enum log_target)found;
	return found < 0 ? -1 : 0;
}

int log_format_parse(const char *text, enum log_format *format)
{
	static const char *const names[] = {[LOG_TEXT] = "text", [LOG_JSON] = "json"};
	int found = find_name(text, names, sizeof names / sizeof names[0]);

	if (found >= 0)
		*format = (enum log_format)found;
	return found < 0 ? -1 : 0;
}

const char *log_level_name(enum log_level level)
{
	return levels[level].name;
}

/* ---- text ------------------------------------------------------------------------------------ */

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
};

static void add(struct line *l, const char *bytes, size_t len)
{
	size_t room = sizeof l->text - 2 - l->len; /* the newline and a NUL always fit */

	if (len > room)
		len = room;
	memcpy(l->text + l->len, bytes, len);
	l->len += len;
}

static void adds(struct line *l, const char *text)
{
	add(l, text, strlen(text));
}

static bool is_plain(const char *s)
{
	const char *end = s + strlen(s);
	uint32_t code;

	if (s == end)
		return false;
	while (s < end)
		if (!utf8_next(&s, end, &code) || code == ' ' || code == '"' || code == '\\' || code == '=')
			return false;
	return true;
}

static void add_value(struct line *l, const char *s)
{
	const char *end = s + strlen(s);

	if (is_plain(s)) {
		adds(l, s);
		return;
	}
	adds(l, "\"");
	while (s < end) {
		const char *began = s;
		char escaped[16];
		uint32_t code;

		if (!utf8_next(&s, end, &code)) {
			snprintf(escaped, sizeof escaped,
			         code < 0x100     ? "\\x%02x"
			         : code < 0x10000 ? "\\u%04x"
			                          : "\\U%08x",
			         (unsigned)code);
			adds(l, escaped);
		} else {
			if (code == '"' || code == '\\')
				adds(l, "\\");
			add(l, began, (size_t)(s - began));
		}
	}
	adds(l, "\"");
}

static bool is_left_out(const struct log_field *f)
{
	return (f->type == LOG_FIELD_STR && f->v.str == NULL) || (f->type == LOG_FIELD_REAL && isnan(f->v.real));
}

static void add_field(struct line *l, const struct log_field *f)
{
	char number[40];

	adds(l, " ");
	adds(l, f->key);
	adds(l, "=");
	switch (f->type) {
	case LOG_FIELD_STR:
		add_value(l, f->v.str);
		return;
	case LOG_FIELD_INT:
		snprintf(number, sizeof number, "%lld", (long long)f->v.num);
		break;
	case LOG_FIELD_REAL:
		snprintf(number, sizeof number, "%.3f", f->v.real);
		break;
	case LOG_FIELD_BOOL:
		adds(l, f->v.yes ? "true" : "false");
		return;
	}
	adds(l, number);
}

static void add_time(struct line *l)
{
	char text[48];
	int64_t ms = clock_wall_ms();
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&s, &tm);
	snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
	         tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
	adds(l, text);
}

static void add_text(struct line *l, enum log_event event, const struct log_field *fields, size_t count)
{
	char origin[64];

	if (log_state.target != LOG_TO_SYSLOG && !log_has_priorities()) {
		add_time(l);
		snprintf(origin, sizeof origin, " %s[%d] %s ", log_state.program, (int)getpid(),
		         levels[log_events[event].level].name);
		adds(l, origin);
	}
	adds(l, log_events[event].name);
	for (size_t i = 0; i < count; i++)
		if (!is_left_out(&fields[i]))
			add_field(l, &fields[i]);
}

/* ---- JSON -------------------------------------------------------------------------------------- */

/* At most max bytes of it, with U+FFFD in place of what is not UTF-8. */
static json_t *json_text(const char *s, size_t max, bool *truncated)
{
	const char *end = s + strlen(s);
	char text[TEXT_MAX_BYTES + 4];
	size_t len = 0;

	while (s < end && len < max) {
		const char *began = s;
		size_t valid = utf8_sequence((const unsigned char *)s, (const unsigned char *)end);

		s += valid > 0 ? valid : 1;
		memcpy(text + len, valid > 0 ? began : "\xef\xbf\xbd", valid > 0 ? valid : 3);
		len += valid > 0 ? valid : 3;
	}
	*truncated |= s < end;
	return json_stringn(text, len);
}

static json_t *json_value(const struct log_field *f, size_t text_max, bool *truncated)
{
	char number[400];

	switch (f->type) {
	case LOG_FIELD_STR:
		return json_text(f->v.str, text_max, truncated);
	case LOG_FIELD_INT:
		return json_integer(f->v.num);
	case LOG_FIELD_REAL:
		snprintf(number, sizeof number, "%.3f", f->v.real);
		return isfinite(f->v.real) ? json_real(strtod(number, NULL)) : json_null();
	case LOG_FIELD_BOOL:
		return json_boolean(f->v.yes);
	}
	return NULL;
}

static json_t *json_line(enum log_event event, const struct log_field *fields, size_t count, size_t text_max)
{
	struct line time = {.len = 0};
	bool truncated = false;
	char name[64];
	json_t *j;

	add_time(&time);
	j = json_pack("{s:s#, s:s, s:s, s:s, s:i}", "time", time.text, (int)time.len, "level",
	              levels[log_events[event].level].name, "event", log_events[event].name, "program",
	              log_state.program, "pid", (int)getpid());
	for (size_t i = 0; i < count; i++) {
		if (is_left_out(&fields[i]))
			continue;
		snprintf(name, sizeof name, "%s%s", json_object_get(j, fields[i].key) != NULL ? "event_" : "",
		         fields[i].key);
		if (json_object_set_new(j, name, json_value(&fields[i], text_max, &truncated)) < 0) {
			json_decref(j);
			return NULL;
		}
	}
	if (truncated)
		json_object_set_new(j, "truncated", json_true());
	return j;
}

/* -1: no memory. It adds nothing but ASCII, so nothing that turns the direction of a text or hides in it. */
static int add_json(struct line *l, enum log_event event, const struct log_field *fields, size_t count)
{
	const size_t room = sizeof l->text - 2 - l->len;
	size_t len = room + 1;

	for (size_t max = TEXT_MAX_BYTES; len > room && max >= TEXT_MIN_BYTES; max /= 2) {
		json_t *j = json_line(event, fields, count, max);

		len = json_dumpb(j, l->text + l->len, room, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
		json_decref(j);
		if (len == 0)
			return -1;
	}
	if (len > room)
		return -1;
	l->len += len;
	return 0;
}

/* ------------------------------------------------------------------------------------------------ */

void log_fields(enum log_event event, const struct log_field *fields, size_t count)
{
	enum log_level level = log_events[event].level;
	bool json = atomic_load_explicit(&log_state.settings->format, memory_order_relaxed) == LOG_JSON;
	struct line l = {.len = 0};

	if (level < log_level())
		return;
	if (log_state.target != LOG_TO_SYSLOG && log_has_priorities())
		l.len = (size_t)snprintf(l.text, sizeof l.text, "<%d>", levels[level].priority);
	if (!json || add_json(&l, event, fields, count) < 0) /* without memory, rather text than nothing */
		add_text(&l, event, fields, count);
	if (log_state.target == LOG_TO_SYSLOG) {
		l.text[l.len] = '\0';
		syslog(levels[level].priority, "%s", l.text);
		return;
	}
	l.text[l.len++] = '\n';
	/* One write a line, so that lines of several processes never mix. If stderr is full or
	 * closed, the line is lost. */
	if (write(STDERR_FILENO, l.text, l.len) < 0)
		return;
}
