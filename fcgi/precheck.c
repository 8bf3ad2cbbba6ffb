/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/precheck.h"

#include <assert.h>
#include <string.h>

enum record_type { BEGIN_REQUEST = 1, ABORT_REQUEST = 2, PARAMS = 4, STDIN = 5, GET_VALUES = 9 };
#define ROLE_RESPONDER 1
#define FLAG_KEEP_CONN 1

void precheck_init(struct precheck *p)
{
	*p = (struct precheck){.stage = PRECHECK_AT_BEGIN};
}

static enum precheck_verdict bad(struct precheck *p, const char *error)
{
	p->error = error;
	return PRECHECK_BAD;
}

static enum precheck_verdict too_many(struct precheck *p, const char *error)
{
	p->too_many = true;
	return bad(p, error);
}

/* A stream's content or its end: an empty record closes it. */
static enum precheck_verdict stream_record(struct precheck *p, unsigned type)
{
	unsigned expected = p->stage == PRECHECK_AT_PARAMS ? PARAMS : STDIN;

	if (type == ABORT_REQUEST)
		return PRECHECK_ABORT;
	if (type != expected)
		return bad(p, "record of an unexpected type");
	if (p->content_left == 0 && p->padding_left > 0)
		return bad(p, "padding after an empty record");
	if (p->content_left > 0) {
		if (p->stage == PRECHECK_AT_STDIN)
			p->body_len += p->content_left;
		else if ((p->params_len += p->content_left) > PRECHECK_PARAMS_MAX)
			return too_many(p, "parameters are too long");
	} else if (p->stage == PRECHECK_AT_STDIN) {
		p->stage = PRECHECK_AT_END;
	} else if (p->pair != PAIR_NAME_LEN || p->length_left > 0) {
		return bad(p, "parameters end within a pair");
	} else {
		p->stage = PRECHECK_AT_STDIN;
		p->params_end = p->consumed;
	}
	return PRECHECK_MORE;
}

static enum precheck_verdict take_header(struct precheck *p)
{
	const uint8_t *h = p->header;
	unsigned type = h[1];
	uint16_t id = (uint16_t)(h[2] << 8 | h[3]);

	p->content_left = (unsigned)(h[4] << 8 | h[5]);
	p->padding_left = h[6];
	p->header_len = 0;
	if (h[0] != 1)
		return bad(p, "not FastCGI version 1");
	if (id == 0)
		return bad(p, type == GET_VALUES ? "FCGI_GET_VALUES is not supported"
		                                 : "management record, or a request with id 0");
	if (p->stage != PRECHECK_AT_BEGIN)
		return id == p->request_id ? stream_record(p, type) : bad(p, "a second request on one connection");
	if (type != BEGIN_REQUEST || p->content_left != sizeof p->begin)
		return bad(p, "no FCGI_BEGIN_REQUEST at the start");
	if (p->padding_left > 0) /* libfcgi would read it as the next record */
		return bad(p, "padding after FCGI_BEGIN_REQUEST");
	p->request_id = id;
	return PRECHECK_MORE;
}

static enum precheck_verdict take_begin(struct precheck *p, const uint8_t *bytes, size_t len)
{
	memcpy(p->begin + p->begin_len, bytes, len);
	p->begin_len += (unsigned)len;
	if (p->begin_len < sizeof p->begin)
		return PRECHECK_MORE;
	if ((p->begin[0] << 8 | p->begin[1]) != ROLE_RESPONDER)
		return bad(p, "a role other than RESPONDER");
	p->keep = (p->begin[2] & FLAG_KEEP_CONN) != 0;
	p->stage = PRECHECK_AT_PARAMS;
	return PRECHECK_MORE;
}

/* Lengths have one byte, or four where the first has its top bit set. Returns whether
 * the length is complete. */
static bool take_length(struct precheck *p, uint8_t byte)
{
	if (p->length_left > 0) {
		p->length = p->length << 8 | byte;
		return --p->length_left == 0;
	}
	p->length = byte & 0x7f;
	p->length_left = byte & 0x80 ? 3 : 0;
	return p->length_left == 0;
}

static enum precheck_verdict begin_pair(struct precheck *p)
{
	if (p->length > PRECHECK_PARAMS_MAX || p->name_left > PRECHECK_PARAMS_MAX)
		return too_many(p, "a parameter is too long");
	p->value_left = p->length;
	if (p->name_left == 0)
		return bad(p, "a parameter has no name");
	if (++p->param_count > PRECHECK_PARAM_COUNT_MAX)
		return too_many(p, "too many parameters");
	p->pair = PAIR_NAME;
	return PRECHECK_MORE;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* A fast path for the usual pair, which is there as a whole and has short lengths. Returns its
 * length, or 0 if it is anything else, which the slow path then judges. */
static size_t take_usual_pair(struct precheck *p, const uint8_t *bytes, const uint8_t *end)
{
	size_t name, both;

	if (end - bytes < 2 || p->length_left > 0 || bytes[0] == 0 || ((bytes[0] | bytes[1]) & 0x80) != 0)
		return 0;
	name = bytes[0];
	both = name + bytes[1];
	if ((size_t)(end - bytes) < 2 + both || p->param_count == PRECHECK_PARAM_COUNT_MAX ||
	    memchr(bytes + 2, '\0', both) != NULL || memchr(bytes + 2, '=', name) != NULL)
		return 0;
	p->param_count++;
	return 2 + both;
}

static enum precheck_verdict take_params(struct precheck *p, const uint8_t *bytes, size_t len)
{
	const uint8_t *end = bytes + len;
	size_t n;

	while (bytes < end) {
		if (p->pair == PAIR_NAME_LEN && (n = take_usual_pair(p, bytes, end)) > 0) {
			bytes += n;
			continue;
		}
		switch (p->pair) {
		case PAIR_NAME_LEN:
			if (!take_length(p, *bytes++))
				break;
			p->name_left = p->length;
			p->pair = PAIR_VALUE_LEN;
			break;
		case PAIR_VALUE_LEN:
			if (take_length(p, *bytes++) && begin_pair(p) == PRECHECK_BAD)
				return PRECHECK_BAD;
			break;
		case PAIR_NAME:
			n = least(p->name_left, (size_t)(end - bytes));
			if (memchr(bytes, '=', n) != NULL || memchr(bytes, '\0', n) != NULL)
				return bad(p, "a parameter's name holds '=' or NUL");
			bytes += n;
			p->name_left -= (uint32_t)n;
			if (p->name_left == 0)
				p->pair = p->value_left > 0 ? PAIR_VALUE : PAIR_NAME_LEN;
			break;
		case PAIR_VALUE:
			n = least(p->value_left, (size_t)(end - bytes));
			if (memchr(bytes, '\0', n) != NULL)
				return bad(p, "a parameter's value holds NUL");
			bytes += n;
			p->value_left -= (uint32_t)n;
			if (p->value_left == 0)
				p->pair = PAIR_NAME_LEN;
			break;
		}
	}
	return PRECHECK_MORE;
}

static enum precheck_verdict take_content(struct precheck *p, const uint8_t *bytes, size_t len)
{
	if (p->stage == PRECHECK_AT_BEGIN)
		return take_begin(p, bytes, len);
	if (p->stage == PRECHECK_AT_PARAMS)
		return take_params(p, bytes, len);
	return PRECHECK_MORE;
}

enum precheck_verdict precheck_feed(struct precheck *p, const void *bytes, size_t len)
{
	const uint8_t *at = bytes, *end = at + len;
	enum precheck_verdict v = PRECHECK_MORE;
	size_t n;

	assert(p->error == NULL);
	while (v == PRECHECK_MORE) {
		if (p->stage == PRECHECK_AT_END)
			return PRECHECK_WHOLE;
		if (at == end)
			return PRECHECK_MORE;
		if (p->content_left > 0) {
			n = least(p->content_left, (size_t)(end - at));
			v = take_content(p, at, n);
			p->content_left -= (unsigned)n;
		} else if (p->padding_left > 0) {
			n = least(p->padding_left, (size_t)(end - at));
			p->padding_left -= (unsigned)n;
		} else {
			n = least(PRECHECK_HEADER_LEN - p->header_len, (size_t)(end - at));
			memcpy(p->header + p->header_len, at, n);
			p->header_len += (unsigned)n;
		}
		at += n;
		p->consumed += n;
		if (p->header_len == PRECHECK_HEADER_LEN)
			v = take_header(p);
	}
	return v;
}
