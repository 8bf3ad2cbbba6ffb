/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/metrics.h"

#include "config.h"

#include "core/base/process.h"
#include "core/base/roff.h"
#include "core/base/utf8.h"
#include "core/llm/llm.h"
#include "core/status/counters.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define LLMS_MAX  64   /* that have samples of their own */
#define FDS_MAX   1000 /* that are counted one by one */
#define VALUE_MAX 128  /* of a label */

enum metric_type { COUNTER, GAUGE, INFO, HISTOGRAM_TYPE };

struct process {
	char name[32];
	double cpu_s, start_s;
	int64_t rss, fds; /* fds: -1: not known */
};

/* The page that is being printed. */
struct page {
	struct buf *out;
	const struct metrics_source *from;
	enum metrics_format format;
	const struct counters_total *counters;
	struct process *processes;
	size_t process_count;
	bool failed;
	bool labelled; /* the sample that is being printed has a label already */
};

struct metric {
	enum metric_type type;
	const char *name, *unit, *labels, *help;
	void (*print)(struct page *p, const struct metric *m);
	enum counter_series series; /* COUNTER_SERIES: none */
};

/* --- samples ------------------------------------------------------------------------------ */

static void put(struct page *p, const char *text)
{
	if (buf_adds(p->out, text) < 0)
		p->failed = true;
}

static void putf(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void putf(struct page *p, const char *fmt, ...)
{
	char text[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	put(p, text);
}

static void begin(struct page *p, const char *name, const char *suffix)
{
	put(p, name);
	put(p, suffix);
	p->labelled = false;
}

/* What cannot be shown as it is becomes '?', so only quotes and backslashes are left to be escaped. */
static void label(struct page *p, const char *name, const char *value)
{
	char shown[VALUE_MAX] = "", escaped[2 * VALUE_MAX], *to = escaped;

	memcpy(shown, value, utf8_cut(value, sizeof shown - 1));
	utf8_disarm(shown);
	for (const char *c = shown; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			*to++ = '\\';
		*to++ = *c;
	}
	*to = '\0';
	put(p, p->labelled ? "," : "{");
	put(p, name);
	put(p, "=\"");
	put(p, escaped);
	put(p, "\"");
	p->labelled = true;
}

static void value(struct page *p, int64_t n)
{
	putf(p, "%s %" PRId64 "\n", p->labelled ? "}" : "", n);
}

static void value_real(struct page *p, double n)
{
	putf(p, "%s %.17g\n", p->labelled ? "}" : "", n);
}

/* As a decimal fraction, exactly. */
static void value_us(struct page *p, int64_t us)
{
	putf(p, "%s %" PRId64 ".%06" PRId64 "\n", p->labelled ? "}" : "", us / 1000000, us % 1000000);
}

/* The only sample of a metric without labels. */
static void one(struct page *p, const struct metric *m, int64_t n)
{
	begin(p, m->name, m->type == COUNTER ? "_total" : "");
	value(p, n);
}

static int64_t counted(const struct page *p, enum counter id)
{
	return p->counters->sums[id];
}

/* --- metrics of the service ----------------------------------------------------------------- */

static void print_build(struct page *p, const struct metric *m)
{
	begin(p, m->name, "");
	label(p, "version", PACKAGE_VERSION);
	value(p, 1);
}

static void print_ready(struct page *p, const struct metric *m)
{
	one(p, m, p->from->snapshot != NULL && status_header(p->from->snapshot)->usable_count > 0);
}

static void print_daemon_up(struct page *p, const struct metric *m)
{
	one(p, m, p->from->snapshot != NULL && !p->from->stale);
}

static void print_published(struct page *p, const struct metric *m)
{
	if (p->from->snapshot == NULL)
		return;
	begin(p, m->name, "");
	value_us(p, status_header(p->from->snapshot)->published_ms * 1000);
}

static void print_turns(struct page *p, const struct metric *m)
{
	static const struct {
		const char *outcome;
		enum counter id;
	} outcomes[] = {{"complete", COUNTER_TURNS_COMPLETE},
	                {"broken", COUNTER_TURNS_BROKEN},
	                {"cancelled", COUNTER_TURNS_CANCELLED},
	                {"refused", COUNTER_TURNS_REFUSED},
	                {"waiting", COUNTER_TURNS_WAITING}};

	for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
		begin(p, m->name, "_total");
		label(p, "outcome", outcomes[i].outcome);
		value(p, counted(p, outcomes[i].id));
	}
}

static void print_llms(struct page *p, const struct metric *m)
{
	const struct status_snapshot *s = p->from->snapshot;
	int64_t count[LLM_KINDS][LLM_UNHEALTHY + 1] = {{0}};

	for (uint32_t i = 0; s != NULL && i < status_header(s)->llm_count; i++)
		count[status_llm(s, i)->kind][status_llm(s, i)->health]++;
	for (unsigned kind = 0; kind < LLM_KINDS; kind++)
		for (unsigned health = 0; health <= LLM_UNHEALTHY; health++) {
			begin(p, m->name, "");
			label(p, "kind", llm_kind_text((enum llm_kind)kind));
			label(p, "health", llm_health_text((enum llm_health)health));
			value(p, count[kind][health]);
		}
}

static bool is_same(const struct status_snapshot *s, const struct status_llm *a, const struct status_llm *b)
{
	const char *x = status_text(s, a->deploy_id), *y = status_text(s, b->deploy_id);

	return a->kind == b->kind && strcmp(status_llm_name(s, a), status_llm_name(s, b)) == 0 &&
	       strcmp(x != NULL ? x : "", y != NULL ? y : "") == 0;
}

/* The next LLM that has samples of its own, from *at on; NULL: there is none. A sample must not occur twice. */
static const struct status_llm *next_llm(const struct page *p, uint32_t *at)
{
	const struct status_snapshot *s = p->from->snapshot;
	const struct status_llm *l;
	uint32_t before;

	while (s != NULL && *at < LLMS_MAX && (l = status_llm(s, (*at)++)) != NULL) {
		for (before = 0; before + 1 < *at && !is_same(s, l, status_llm(s, before)); before++)
			;
		if (before + 1 == *at)
			return l;
	}
	return NULL;
}

static void llm_sample(struct page *p, const struct metric *m, const struct status_llm *l)
{
	const char *deploy_id = status_text(p->from->snapshot, l->deploy_id);

	begin(p, m->name, m->type == COUNTER ? "_total" : "");
	label(p, "model", status_llm_name(p->from->snapshot, l));
	label(p, "deploy_id", deploy_id != NULL ? deploy_id : "");
	label(p, "kind", llm_kind_text((enum llm_kind)l->kind));
}

static void print_llm_up(struct page *p, const struct metric *m)
{
	const struct status_llm *l;

	for (uint32_t at = 0; (l = next_llm(p, &at)) != NULL;) {
		llm_sample(p, m, l);
		value(p, llm_health_is_up((enum llm_health)l->health));
	}
}

static void print_llm_ejected(struct page *p, const struct metric *m)
{
	const struct status_llm *l;

	for (uint32_t at = 0; (l = next_llm(p, &at)) != NULL;) {
		llm_sample(p, m, l);
		value(p, l->ejected_until_ms != 0);
	}
}

static void print_llm_failures(struct page *p, const struct metric *m)
{
	const struct status_llm *l;

	for (uint32_t at = 0; (l = next_llm(p, &at)) != NULL;) {
		llm_sample(p, m, l);
		value(p, l->failures);
	}
}

static void print_llm_latency(struct page *p, const struct metric *m)
{
	const struct status_llm *l;

	for (uint32_t at = 0; (l = next_llm(p, &at)) != NULL;)
		if (l->latency_ms >= 0) {
			llm_sample(p, m, l);
			value_us(p, l->latency_ms * 1000);
		}
}

static void print_load(struct page *p, const struct metric *m, int64_t (*of)(const struct metrics_load *l))
{
	const struct metrics_source *from = p->from;
	const struct status_llm *l;
	struct metrics_load load;

	for (uint32_t at = 0; from->load != NULL && (l = next_llm(p, &at)) != NULL;)
		if (from->load(from->arg, l->instance, &load) && of(&load) >= 0) {
			llm_sample(p, m, l);
			value(p, of(&load));
		}
}

static int64_t in_flight_of(const struct metrics_load *l)
{
	return l->in_flight;
}

static void print_llm_in_flight(struct page *p, const struct metric *m)
{
	print_load(p, m, in_flight_of);
}

static int64_t capacity_of(const struct metrics_load *l)
{
	return l->capacity > 0 ? l->capacity : -1;
}

static void print_llm_capacity(struct page *p, const struct metric *m)
{
	print_load(p, m, capacity_of);
}

static int64_t taken_of(const struct metrics_load *l)
{
	return l->taken;
}

static void print_llm_taken(struct page *p, const struct metric *m)
{
	print_load(p, m, taken_of);
}

static int64_t refused_of(const struct metrics_load *l)
{
	return l->refused;
}

static void print_llm_refused(struct page *p, const struct metric *m)
{
	print_load(p, m, refused_of);
}

static void print_store(struct page *p, const struct metric *m)
{
	const char *url = p->from->config != NULL ? cfg_str(p->from->config, CFG_THREADS_STORE) : NULL;
	char kind[32];

	if (url == NULL)
		return;
	snprintf(kind, sizeof kind, "%.*s", (int)strcspn(url, ":"), url);
	begin(p, m->name, "");
	label(p, "kind", kind);
	value(p, 1);
}

static void print_threads(struct page *p, const struct metric *m)
{
	one(p, m, counted(p, COUNTER_THREADS_STORED) + counted(p, COUNTER_THREADS_IN_MEMORY));
}

static void print_loop(struct page *p, const struct metric *m)
{
	begin(p, m->name, "");
	value_us(p, counted(p, COUNTER_LONGEST_ITERATION));
}

/* --- processes ------------------------------------------------------------------------------ */

/* Linux 6.2 and later tell the number; before, each would have to be looked up, which takes too long where
 * there are thousands. -1: not known. */
static int64_t count_fds(int64_t pid)
{
	const struct dirent *entry;
	int64_t count = 0;
	struct stat st;
	char path[64];
	DIR *d;

	snprintf(path, sizeof path, "/proc/%" PRId64 "/fd", pid);
	if (stat(path, &st) == 0 && st.st_size > 0)
		return st.st_size;
	d = opendir(path);
	if (d == NULL)
		return -1;
	while (count < FDS_MAX && (entry = readdir(d)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(d);
	return count < FDS_MAX ? count : -1;
}

/* When the machine was started, in the kernel's words: an own calculation would differ a little each time, and a
 * process would seem to have been restarted. 0: not known. */
static int64_t read_boot_s(void)
{
	FILE *in = fopen("/proc/stat", "re");
	int64_t seconds = 0;
	char *line = NULL;
	size_t size = 0;

	while (in != NULL && getline(&line, &size, in) >= 0 && sscanf(line, "btime %" SCNd64, &seconds) != 1)
		;
	free(line);
	if (in != NULL)
		fclose(in);
	return seconds;
}

static bool read_process(int64_t pid, int64_t boot_s, struct process *out)
{
	double ticks = (double)sysconf(_SC_CLK_TCK);
	unsigned long long user, system, start;
	char path[64], text[1024];
	const char *fields;
	ssize_t len;
	int fd;

	snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, text, sizeof text - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	fields = strrchr(text, ')'); /* after its name, which may contain anything */
	if (fields == NULL || sscanf(fields,
	                             ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d "
	                             "%llu %*u %" SCNd64,
	                             &user, &system, &start, &out->rss) != 4)
		return false;
	out->cpu_s = (double)(user + system) / ticks;
	out->start_s = (double)boot_s + (double)start / ticks;
	out->rss *= sysconf(_SC_PAGESIZE);
	out->fds = count_fds(pid);
	return true;
}

/* tt-agentd, if the process of its pid is still the one that published, and the workers that live. */
static void read_processes(struct page *p)
{
	const struct status_snapshot *s = p->from->snapshot;
	const struct status_header *h = s != NULL ? status_header(s) : NULL;
	size_t workers = p->counters->worker_count;
	int64_t boot_s = read_boot_s();

	p->processes = calloc(workers + 1, sizeof *p->processes);
	if (p->processes == NULL) {
		p->failed = true;
		return;
	}
	if (h != NULL && h->writer_birth != 0 && process_birth_of((long)h->writer_pid) == h->writer_birth &&
	    read_process(h->writer_pid, boot_s, &p->processes[0]))
		snprintf(p->processes[p->process_count++].name, sizeof p->processes[0].name, "agentd");
	for (size_t i = 0; i < workers; i++)
		if (read_process(p->counters->workers[i].pid, boot_s, &p->processes[p->process_count]))
			snprintf(p->processes[p->process_count++].name, sizeof p->processes[0].name, "worker.%u",
			         p->counters->workers[i].number);
}

static void process_sample(struct page *p, const struct metric *m, const struct process *of)
{
	begin(p, m->name, m->type == COUNTER ? "_total" : "");
	label(p, "process", of->name);
}

static void print_process_cpu(struct page *p, const struct metric *m)
{
	for (size_t i = 0; i < p->process_count; i++) {
		process_sample(p, m, &p->processes[i]);
		value_real(p, p->processes[i].cpu_s);
	}
}

static void print_process_rss(struct page *p, const struct metric *m)
{
	for (size_t i = 0; i < p->process_count; i++) {
		process_sample(p, m, &p->processes[i]);
		value(p, p->processes[i].rss);
	}
}

static void print_process_fds(struct page *p, const struct metric *m)
{
	for (size_t i = 0; i < p->process_count; i++)
		if (p->processes[i].fds >= 0) {
			process_sample(p, m, &p->processes[i]);
			value(p, p->processes[i].fds);
		}
}

static void print_process_start(struct page *p, const struct metric *m)
{
	for (size_t i = 0; i < p->process_count; i++) {
		process_sample(p, m, &p->processes[i]);
		value_real(p, p->processes[i].start_s);
	}
}

/* --- metrics that have a value for each member of a label ------------------------------------------ */

static const char *const label_names[COUNTER_LABELS] = {
	[LABEL_MODEL] = "model",
	[LABEL_TOOL] = "tool",
	[LABEL_ENDPOINT] = "endpoint",
};

static void print_histogram(struct page *p, const struct metric *m, const struct counter_series_info *info,
                            const struct counter_member *of)
{
	const int64_t *values = &of->values[info->at];
	int64_t sum = 0;

	for (size_t i = 0; i <= info->count; i++) {
		begin(p, m->name, "_bucket");
		label(p, label_names[info->label], of->name);
		label(p, "le", i < info->count ? info->texts[i] : "+Inf");
		value(p, sum += values[i]);
	}
	begin(p, m->name, "_sum");
	label(p, label_names[info->label], of->name);
	value_us(p, values[info->count + 1]);
	begin(p, m->name, "_count");
	label(p, label_names[info->label], of->name);
	value(p, sum);
}

static void print_each(struct page *p, const struct metric *m)
{
	const struct counter_series_info *info = counter_series_info(m->series);

	for (size_t n = 0; n < p->counters->member_count[info->label]; n++) {
		const struct counter_member *of = &p->counters->members[info->label][n];

		if (info->kind == SERIES_HISTOGRAM) {
			print_histogram(p, m, info, of);
			continue;
		}
		for (size_t i = 0; i < info->words; i++) {
			begin(p, m->name, m->type == COUNTER ? "_total" : "");
			label(p, label_names[info->label], of->name);
			if (info->by != NULL)
				label(p, info->by, info->texts[i]);
			value(p, of->values[info->at + i]);
		}
	}
}

/* --- counters --------------------------------------------------------------------------------- */

#define COUNTED(counter, type, name, help)                                                                             \
	static void print_counter_##counter(struct page *p, const struct metric *m)                                    \
	{                                                                                                              \
		one(p, m, counted(p, COUNTER_##counter));                                                              \
	}
#include "core/status/metrics.def"

/* --- the table -------------------------------------------------------------------------------- */

#define LABELS_MODEL    "model"
#define LABELS_TOOL     "tool"
#define LABELS_ENDPOINT "endpoint"
#define METRIC(function, type, name, unit, labels, help)                                                               \
	{type, name, unit, labels, help, print_##function, COUNTER_SERIES},
#define COUNTED(counter, type, name, help)        {type, name, "", "", help, print_counter_##counter, COUNTER_SERIES},
#define EACH_COUNTER(label, id, name, unit, help) {COUNTER, name, unit, LABELS_##label, help, print_each, SERIES_##id},
#define EACH_GAUGE(label, id, name, unit, help)   {GAUGE, name, unit, LABELS_##label, help, print_each, SERIES_##id},
#define EACH_BY(label, id, by, values, name, help)                                                                     \
	{COUNTER, name, "", LABELS_##label ", " by, help, print_each, SERIES_##id},
#define HISTOGRAM(label, id, buckets, name, help)                                                                      \
	{HISTOGRAM_TYPE, name, "seconds", LABELS_##label, help, print_each, SERIES_##id},
static const struct metric metrics[] = {
#include "core/status/metrics.def"
};
#define METRICS (sizeof metrics / sizeof metrics[0])

static const char *const type_names[][2] = {
	[COUNTER] = {"counter", "counter"},
	[GAUGE] = {"gauge", "gauge"},
	[INFO] = {"gauge", "info"},
	[HISTOGRAM_TYPE] = {"histogram", "histogram"},
};

/* OpenMetrics declares families, whose samples have suffixes; the older format declares the samples' names. */
static void heading_line(struct page *p, const struct metric *m, const char *what, const char *text)
{
	size_t len = strlen(m->name);

	if (p->format == METRICS_OPENMETRICS && m->type == INFO)
		len -= strlen("_info");
	put(p, "# ");
	put(p, what);
	putf(p, " %.*s", (int)len, m->name);
	put(p, p->format == METRICS_PROMETHEUS && m->type == COUNTER ? "_total " : " ");
	put(p, text);
	put(p, "\n");
}

int metrics_print(struct buf *out, const struct metrics_source *from, enum metrics_format f, struct err *e)
{
	struct counters_total *counters = counters_read(from->run_dir, e);
	struct page p = {.out = out, .from = from, .format = f, .counters = counters};

	if (counters == NULL)
		return -1; /* counters of 0 would look as if they had begun again */
	read_processes(&p);
	for (size_t i = 0; i < METRICS; i++) {
		const struct metric *m = &metrics[i];

		heading_line(&p, m, "HELP", m->help);
		heading_line(&p, m, "TYPE", type_names[m->type][f]);
		if (f == METRICS_OPENMETRICS && *m->unit != '\0')
			heading_line(&p, m, "UNIT", m->unit);
		m->print(&p, m);
	}
	if (f == METRICS_OPENMETRICS)
		put(&p, "# EOF\n");
	free(p.processes);
	counters_total_free(counters);
	return p.failed ? err_set(e, "no memory for the metrics") : 0;
}

void metrics_print_manual(FILE *out)
{
	for (size_t i = 0; i < METRICS; i++) {
		const struct metric *m = &metrics[i];

		fputs(".TP\n.BR ", out);
		roff_text(out, m->name);
		if (m->type == COUNTER)
			fputs("_total", out);
		fprintf(out, " \" (%s", type_names[m->type][METRICS_PROMETHEUS]);
		if (*m->labels != '\0')
			fprintf(out, " by %s", m->labels);
		fputs(")\"\n", out);
		roff_text(out, m->help);
		fputc('\n', out);
	}
}

/* --- which format -------------------------------------------------------------------------------- */

static const struct {
	const char *type, *content_type;
} formats[] = {
	[METRICS_PROMETHEUS] = {"text/plain", "text/plain; version=0.0.4; charset=utf-8"},
	[METRICS_OPENMETRICS] = {"application/openmetrics-text",
                                 "application/openmetrics-text; version=1.0.0; charset=utf-8"},
};

const char *metrics_content_type(enum metrics_format f)
{
	return formats[f].content_type;
}

static const char *skip_space(const char *at)
{
	return at + strspn(at, " \t");
}

/* The value of a parameter of one media range, "" where there is none. */
static void parameter(const char *range, size_t len, const char *name, char *out, size_t size)
{
	const char *end = range + len, *at = range;

	out[0] = '\0';
	while ((at = memchr(at, ';', (size_t)(end - at))) != NULL) {
		size_t name_len = strlen(name), value_len = 0;

		at = skip_space(at + 1);
		if (at >= end)
			return;
		if ((size_t)(end - at) <= name_len || strncasecmp(at, name, name_len) != 0 || at[name_len] != '=')
			continue;
		at += name_len + 1;
		at += at < end && *at == '"';
		while (at + value_len < end && strchr("; \t\"", at[value_len]) == NULL)
			value_len++;
		snprintf(out, size, "%.*s", (int)value_len, at);
		return;
	}
}

/* How much the client wants f, from 0 to 1000; 0: not at all. What it does not name, *|* or type|* may. */
static long wish(const char *accept, enum metrics_format f)
{
	const char *type = formats[f].type;
	size_t type_len = strlen(type), main_len = strcspn(type, "/") + 1;
	long best = 0, closeness = 0;

	for (const char *at = accept; *at != '\0'; at += *at == ',') {
		size_t len, name_len;
		char q[8], version[16];
		long close = 0;

		at = skip_space(at);
		len = strcspn(at, ",");
		name_len = strcspn(at, ",; \t");
		parameter(at, len, "q", q, sizeof q);
		parameter(at, len, "version", version, sizeof version);
		if (name_len == type_len && strncasecmp(at, type, type_len) == 0)
			close = 3;
		else if (name_len == main_len + 1 && strncasecmp(at, type, main_len) == 0 && at[main_len] == '*')
			close = 2;
		else if (name_len == 3 && strncmp(at, "*/*", 3) == 0)
			close = 1;
		/* A version that was not made yet may not be understood. */
		if (f == METRICS_OPENMETRICS && version[0] != '\0' && strcmp(version, "0.0.1") != 0 &&
		    strncmp(version, "1.", 2) != 0)
			close = 0;
		if (close > 0 && close >= closeness) {
			long wanted = *q == '\0' ? 1000 : (long)(strtod(q, NULL) * 1000 + 0.5);

			best = close > closeness || wanted > best ? wanted : best;
			closeness = close;
		}
		at += len;
	}
	return best;
}

enum metrics_format metrics_format_of(const char *accept)
{
	if (accept == NULL)
		return METRICS_PROMETHEUS;
	/* One that takes anything gets what everybody understands. */
	return wish(accept, METRICS_OPENMETRICS) > wish(accept, METRICS_PROMETHEUS) ? METRICS_OPENMETRICS
	                                                                            : METRICS_PROMETHEUS;
}
