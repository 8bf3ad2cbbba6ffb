/* SPDX-License-Identifier: Apache-2.0 */
#include "core/probe/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX  1e6 /* requests at one server: more is no count */
#define NUMBER_MAX 40  /* characters of one */

static const struct {
	const char *name;
	bool waits;
} gauges[] = {
	{"vllm:num_requests_running", false},    {"vllm:num_requests_waiting", true},
	{"sglang:num_running_reqs", false},      {"sglang:num_queue_reqs", true},
	{"llamacpp:requests_processing", false}, {"llamacpp:requests_deferred", true},
	{"tgi_batch_current_size", false},       {"tgi_queue_size", true},
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* What follows the labels; NULL: they don't end in this line. */
static const char *skip_labels(const char *p, const char *end)
{
	bool quoted = false;

	if (p == end || *p != '{')
		return p;
	for (p++; p < end; p++) {
		if (quoted && *p == '\\' && p + 1 < end)
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (*p == '}' && !quoted)
			return p + 1;
	}
	return NULL;
}

/* NAN: it is no count. */
static double count_at(const char *p, const char *end)
{
	char text[NUMBER_MAX + 1], *rest;
	size_t len = 0;
	double value;

	while (p < end && is_space(*p))
		p++;
	while (p + len < end && len < NUMBER_MAX && !is_space(p[len]) && p[len] != '\r')
		len++;
	memcpy(text, p, len);
	text[len] = '\0';
	value = strtod(text, &rest);
	if (p + len < end && !is_space(p[len]) && p[len] != '\r')
		return (double)NAN; /* too long */
	return len > 0 && *rest == '\0' && value >= 0 && value <= COUNT_MAX ? value : (double)NAN;
}

static void read_line(const char *line, const char *end, double sums[2], bool *known)
{
	for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
		size_t len = strlen(gauges[i].name);
		const char *p = line + len;
		double count;

		if ((size_t)(end - line) <= len || memcmp(line, gauges[i].name, len) != 0 ||
		    (*p != '{' && !is_space(*p)))
			continue;
		p = skip_labels(p, end);
		count = p != NULL ? count_at(p, end) : (double)NAN;
		if (!isnan(count)) {
			sums[gauges[i].waits] += count;
			*known = true;
		}
		return;
	}
}

static uint32_t whole(double sum)
{
	return (uint32_t)(sum < COUNT_MAX ? sum : COUNT_MAX);
}

bool load_read(const char *text, size_t len, struct balance_report *out)
{
	const char *p = text, *end = text + len;
	double sums[2] = {0, 0};
	bool known = false;

	while (p < end) {
		const char *line_end = memchr(p, '\n', (size_t)(end - p));

		if (line_end == NULL)
			line_end = end;
		read_line(p, line_end, sums, &known);
		p = line_end < end ? line_end + 1 : end;
	}
	*out = (struct balance_report){.running = whole(sums[false]), .waiting = whole(sums[true])};
	return known;
}
