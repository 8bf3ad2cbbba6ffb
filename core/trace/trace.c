/* SPDX-License-Identifier: Apache-2.0 */
#include "core/trace/trace.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TEXT_MAX     256u /* of a value */
#define MEMBERS_MAX  32u  /* of a tracestate */
#define STATE_HEADER "tracestate: "
#define HEX          "0123456789abcdef"

/* ---- traceparent ------------------------------------------------------------------------------- */

/* len lower-case hexadecimal digits, and a separator or the end after them. */
static bool is_hex(const char *s, size_t len)
{
	return strspn(s, HEX) == len;
}

static bool is_zero(const char *s, size_t len)
{
	return strspn(s, "0") >= len;
}

/* 00-TRACEID-SPANID-FLAGS. A later version may have more after another "-". */
static bool parse_parent(const char *s, struct trace_context *out)
{
	const bool known = strncmp(s, "00-", 3) == 0;
	unsigned flags;

	if (strlen(s) < 55 || !is_hex(s, 2) || strncmp(s, "ff", 2) == 0 || s[2] != '-' || !is_hex(s + 3, 32) ||
	    s[35] != '-' || !is_hex(s + 36, 16) || s[52] != '-' || !is_hex(s + 53, 2))
		return false;
	if (s[55] != '\0' && (known || s[55] != '-'))
		return false;
	if (is_zero(s + 3, 32) || is_zero(s + 36, 16))
		return false;
	snprintf(out->trace_id, sizeof out->trace_id, "%.32s", s + 3);
	snprintf(out->span_id, sizeof out->span_id, "%.16s", s + 36);
	flags = (unsigned)strtoul(s + 53, NULL, 16);
	out->sampled = (flags & 1) != 0;
	return true;
}

/* ---- tracestate: key=value, separated by commas -------------------------------------------------- */

#define LOWER_OR_DIGIT "abcdefghijklmnopqrstuvwxyz0123456789"

static bool is_member(const char *s, size_t len)
{
	size_t key = strspn(s, LOWER_OR_DIGIT "_-*/@"), i;

	if (key == 0 || key > 256 || key >= len || s[key] != '=' || strchr(LOWER_OR_DIGIT, s[0]) == NULL ||
	    len - key - 1 > 256 || len == key + 1 || s[len - 1] == ' ')
		return false;
	for (i = key + 1; i < len; i++)
		if (s[i] < ' ' || s[i] > '~' || s[i] == '=')
			return false;
	return true;
}

/* As far as there is room. False: it is not valid. */
static bool parse_state(const char *s, char out[TRACE_STATE_MAX + 1])
{
	size_t len, used = 0, members = 0;
	bool full = false;

	for (;; s += len + 1) {
		const char *from = s;
		size_t n;

		len = strcspn(s, ",");
		for (n = len; n > 0 && (*from == ' ' || *from == '\t'); n--)
			from++;
		while (n > 0 && (from[n - 1] == ' ' || from[n - 1] == '\t'))
			n--;
		if (n > 0 && (!is_member(from, n) || ++members > MEMBERS_MAX))
			return false;
		full |= used + n + 1 > TRACE_STATE_MAX;
		if (n > 0 && !full)
			used += (size_t)snprintf(out + used, TRACE_STATE_MAX + 1 - used, "%s%.*s", used > 0 ? "," : "",
			                         (int)n, from);
		if (s[len] == '\0')
			return true;
	}
}

void trace_context_parse(const char *traceparent, const char *tracestate, struct trace_context *out)
{
	*out = (struct trace_context){.valid = false};
	if (traceparent == NULL)
		return;
	out->valid = parse_parent(traceparent, out);
	if (!out->valid || tracestate == NULL || !parse_state(tracestate, out->state))
		out->state[0] = '\0';
}

/* ---- a turn's trace --------------------------------------------------------------------------------- */

struct trace {
	bool recorded, sampled;
	char id[33], parent[17]; /* parent: the span that it was received from; "": none */
	char own[17];            /* the span to name where none is recorded */
	char state[sizeof STATE_HEADER + TRACE_STATE_MAX];
	json_t *spans;
	unsigned dropped;
};

/* Secret from nobody: drawn from the system for many ids at a time. */
void trace_random_hex(char *out, size_t digits)
{
	static _Thread_local unsigned char drawn[512];
	static _Thread_local size_t left;
	unsigned char bytes[16] = {0};
	const size_t count = digits / 2;

	if (left < count && getrandom(drawn, sizeof drawn, GRND_NONBLOCK) == sizeof drawn)
		left = sizeof drawn;
	if (left >= count) {
		left -= count;
		memcpy(bytes, drawn + left, count);
	} else {
		int64_t now = clock_mono_ns();

		memcpy(bytes, &now, sizeof now);
	}
	bytes[0] |= 1;
	for (size_t i = 0; i < digits; i++)
		out[i] = HEX[i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15];
	out[digits] = '\0';
}

/* By the id's random end, as other services judge it. */
static bool is_chosen(const char *id, double sample)
{
	return (double)strtoull(id + 32 - 14, NULL, 16) < sample * 0x1p56;
}

struct trace *trace_new(const struct trace_context *received, bool recorded, double sample)
{
	const bool goes_on = received != NULL && received->valid;
	struct trace *t;

	if (!goes_on && !recorded)
		return NULL;
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return NULL;
	if (goes_on) {
		memcpy(t->id, received->trace_id, sizeof t->id);
		memcpy(t->parent, received->span_id, sizeof t->parent);
		memcpy(t->own, received->span_id, sizeof t->own);
		t->sampled = received->sampled;
		if (received->state[0] != '\0')
			snprintf(t->state, sizeof t->state, STATE_HEADER "%s", received->state);
	} else {
		trace_random_hex(t->id, 32);
		trace_random_hex(t->own, 16);
		t->sampled = is_chosen(t->id, sample);
	}
	t->recorded = recorded && t->sampled;
	if (t->recorded)
		t->spans = json_array();
	return t;
}

void trace_free(struct trace *t)
{
	if (t == NULL)
		return;
	json_decref(t->spans);
	free(t);
}

const char *trace_id(const struct trace *t)
{
	return t != NULL ? t->id : NULL;
}

void trace_parent_line(const struct trace *t, const struct span *s, char *out, size_t size)
{
	snprintf(out, size, "traceparent: 00-%s-%s-%02x", t->id, s->id[0] != '\0' ? s->id : t->own, t->sampled);
}

const char *trace_state_line(const struct trace *t)
{
	return t != NULL && t->state[0] != '\0' ? t->state : NULL;
}

/* ---- spans ---------------------------------------------------------------------------------------------- */

void trace_begin(const struct trace *t, struct span *s)
{
	s->id[0] = '\0';
	if (t == NULL || !t->recorded)
		return;
	trace_random_hex(s->id, 16);
	s->wall_ns = clock_wall_ms() * 1000000;
	s->mono_ns = clock_mono_ns();
}

static json_t *text(const char *s)
{
	char *valid = utf8_text(s, utf8_cut(s, TEXT_MAX));
	json_t *j = valid != NULL ? json_string(valid) : NULL;

	free(valid);
	return j;
}

/* 64 bits are a string in OTLP/JSON. */
static json_t *number_text(int64_t n)
{
	char digits[24];

	snprintf(digits, sizeof digits, "%lld", (long long)n);
	return json_string(digits);
}

static json_t *value(const struct log_field *f)
{
	switch (f->type) {
	case LOG_FIELD_STR:
		return f->v.str != NULL ? json_pack("{s:o}", "stringValue", text(f->v.str)) : NULL;
	case LOG_FIELD_INT:
		return f->v.num >= 0 ? json_pack("{s:o}", "intValue", number_text(f->v.num)) : NULL;
	case LOG_FIELD_REAL:
		return isfinite(f->v.real) ? json_pack("{s:f}", "doubleValue", f->v.real) : NULL;
	case LOG_FIELD_BOOL:
		return json_pack("{s:b}", "boolValue", f->v.yes);
	}
	return NULL;
}

static void add_attribute(json_t *list, const struct log_field *f)
{
	json_t *v = value(f);

	if (v != NULL)
		json_array_append_new(list, json_pack("{s:s, s:o}", "key", f->key, "value", v));
}

void trace_end(struct trace *t, struct span *s, const struct span_end *e)
{
	const struct log_field error = ATTR_STR("error.type", e->error);
	const char *parent;
	json_t *j, *attributes;

	if (s->id[0] == '\0')
		return;
	parent = e->parent != NULL ? e->parent->id : t->parent;
	attributes = json_array();
	for (size_t i = 0; i < e->count; i++)
		add_attribute(attributes, &e->attributes[i]);
	add_attribute(attributes, &error);
	j = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o}", "traceId", t->id, "spanId", s->id, "name", e->name, "kind",
	              e->kind, "startTimeUnixNano", number_text(s->wall_ns), "endTimeUnixNano",
	              number_text(s->wall_ns + clock_mono_ns() - s->mono_ns), "attributes", attributes);
	if (parent[0] != '\0')
		json_object_set_new(j, "parentSpanId", json_string(parent));
	if (t->state[0] != '\0')
		json_object_set_new(j, "traceState", json_string(t->state + strlen(STATE_HEADER)));
	if (e->error != NULL) {
		json_t *status = json_pack("{s:i}", "code", 2);

		if (e->message != NULL)
			json_object_set_new(status, "message", text(e->message));
		json_object_set_new(j, "status", status);
	}
	s->id[0] = '\0';
	if (j == NULL || json_array_size(t->spans) >= TRACE_SPANS_MAX || json_array_append(t->spans, j) < 0)
		t->dropped++;
	json_decref(j);
}

json_t *trace_take(struct trace *t, unsigned *dropped)
{
	json_t *spans = t != NULL ? t->spans : NULL;

	*dropped = t != NULL ? t->dropped : 0;
	if (t != NULL)
		t->spans = NULL;
	return spans;
}
