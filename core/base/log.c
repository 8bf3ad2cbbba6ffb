/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/log.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static struct {
	const char *program;
	enum log_target target;
	_Atomic int level;
	_Atomic int journal; /* stderr leads to the journal: 1 yes, 0 no, -1 not known yet */
} log_state = {.program = "tt-agent", .target = LOG_TO_STDERR, .level = LOG_WARNING_, .journal = -1};

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
	atomic_store(&log_state.level, (int)level);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_state.level, memory_order_relaxed);
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

int log_target_parse(const char *text, enum log_target *target)
{
	static const char *const names[] = {
		[LOG_TO_STDERR] = "stderr", [LOG_TO_SYSLOG] = "syslog", [LOG_TO_JOURNAL] = "journal"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcasecmp(text, names[i]) == 0) {
			*target = (enum log_target)i;
			return 0;
		}
	}
	return -1;
}

const char *log_level_name(enum log_level level)
{
	return levels[level].name;
}

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

static void add_field(struct line *l, const struct log_field *f)
{
	char number[40];

	if (f->type == LOG_FIELD_STR && f->v.str == NULL)
		return;
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
	}
	adds(l, number);
}

static void add_head(struct line *l, enum log_level level)
{
	char head[96];
	int64_t ms = clock_wall_ms();
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	int n;

	if (log_has_priorities()) {
		n = snprintf(head, sizeof head, "<%d>", levels[level].priority);
	} else {
		gmtime_r(&s, &tm);
		n = snprintf(head, sizeof head, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s[%d] %s ", tm.tm_year + 1900,
		             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000),
		             log_state.program, (int)getpid(), levels[level].name);
	}
	add(l, head, (size_t)n < sizeof head ? (size_t)n : sizeof head - 1);
}

void log_fields(enum log_event event, const struct log_field *fields, size_t count)
{
	enum log_level level = log_events[event].level;
	struct line l = {.len = 0};

	if (level < log_level())
		return;
	if (log_state.target != LOG_TO_SYSLOG)
		add_head(&l, level);
	adds(&l, log_events[event].name);
	for (size_t i = 0; i < count; i++)
		add_field(&l, &fields[i]);
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
