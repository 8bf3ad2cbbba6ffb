/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/since.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400

/* The number that all of text is; -1: it is none, or too large. */
static int64_t whole_number(const char *text)
{
	char *end;
	long long n;

	if (strspn(text, "0123456789") == 0)
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	return errno != 0 || *end != '\0' || n > INT64_MAX / 1000 ? -1 : n;
}

/* "10m", "1.5 h", "2 days ago": so many seconds; negative: it is something else. */
static double duration(const char *text)
{
	static const struct {
		const char *names;
		double seconds;
	} units[] = {
		{" s sec secs second seconds ", 1},
		{" m min mins minute minutes ", 60},
		{" h hour hours ", 3600},
		{" d day days ", DAY_S},
	};
	char *end, word[16], *ago;
	double n;

	text += *text == '-';
	if (strspn(text, "0123456789") == 0)
		return -1;
	n = strtod(text, &end);
	if ((size_t)(end - text) != strspn(text, "0123456789.")) /* an exponent */
		return -1;
	end += strspn(end, " ");
	if (strlen(end) > 12)
		return -1;
	snprintf(word, sizeof word, " %s", end);
	ago = strstr(word, " ago");
	if (ago != NULL && ago != word && ago[4] == '\0')
		*ago = '\0';
	snprintf(word + strlen(word), sizeof word - strlen(word), " ");
	for (size_t i = 0; word[1] != ' ' && i < sizeof units / sizeof units[0]; i++)
		if (strstr(units[i].names, word) != NULL)
			return n * units[i].seconds;
	return -1;
}

static int64_t midnight_s(int64_t now_s)
{
	time_t t = (time_t)now_s;
	struct tm tm;

	localtime_r(&t, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	return mktime(&tm);
}

/* -1: it has another form. */
static int calendar(const char *text, int64_t now_s, int64_t *out_s)
{
	static const char *const forms[] = {
		"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
		"%Y-%m-%d",          "%H:%M:%S",          "%H:%M"};

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		time_t t = (time_t)now_s;
		const char *rest;
		struct tm tm;

		localtime_r(&t, &tm);
		tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
		tm.tm_isdst = -1;
		rest = strptime(text, forms[i], &tm);
		if (rest == NULL || (*rest != '\0' && strcmp(rest, "Z") != 0))
			continue;
		*out_s = *rest == 'Z' ? timegm(&tm) : mktime(&tm);
		return 0;
	}
	return -1;
}

int since_parse(const char *text, int64_t now_ms, struct since *out, struct err *e)
{
	int64_t seconds, now_s = now_ms / 1000;
	double ago;

	*out = (struct since){.number = 0};
	if ((seconds = whole_number(text)) >= 0) {
		out->number = seconds > 0 ? (uint64_t)seconds : 1;
		return 0;
	}
	if (strcmp(text, "now") == 0) {
		out->at_ms = now_ms;
	} else if (*text == '@' && (seconds = whole_number(text + 1)) >= 0) {
		out->at_ms = seconds * 1000;
	} else if ((ago = duration(text)) >= 0) {
		out->at_ms = ago * 1000 < (double)now_ms ? now_ms - (int64_t)(ago * 1000) : 0;
	} else if (strcmp(text, "today") == 0) {
		out->at_ms = midnight_s(now_s) * 1000;
	} else if (strcmp(text, "yesterday") == 0) {
		out->at_ms = midnight_s(midnight_s(now_s) - DAY_S / 2) * 1000;
	} else if (calendar(text, now_s, &seconds) == 0) {
		out->at_ms = seconds * 1000;
	} else {
		return err_set(
			e,
			"'%.60s' is no time: write 10m, 2h, 14:30, \"2026-11-28 14:30\", today, or the number of "
			"an event",
			text);
	}
	return 0;
}
