/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/filter.h"

#include "core/base/buf.h"
#include "core/stream/text_call.h"
#include "core/stream/sse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A call that is longer is shown as text. */
#define CALL_MAX 65536
/* Whitespace before the first word that is held back. */
#define WHITESPACE_MAX 256

#define TAG_WORD "python_tag"
#define TAG_END  "|>"
#define FENCE    "```"

enum mode { ANSWER, REASONING, BETWEEN_CALLS };

struct filter {
	/* What was fed and not sorted yet: the caller's bytes, or held. */
	const char *in;
	size_t in_len, at;
	struct buf held; /* what waits for more */
	bool ended, no_memory;
	struct filter_piece *piece; /* where the next one goes */
	bool has_piece;
	char *arguments; /* of the call that was given out last */

	const char *const *tools;
	enum mode mode;
	bool at_start; /* no word yet: whitespace is held, and dropped before a marker */
	bool in_call;
	bool array;      /* the last call was in an array that is not closed */
	bool fenced;     /* and in a fence (```json) that is not closed */
	bool tag_end;    /* the end of a python_tag may come */
	bool code;       /* after a python tag: a call may begin as Python writes it */
	size_t tag_rest; /* what was shown ends with this many bytes of python_tag */
	size_t calm;     /* bytes from here that failed as a call: none begins in them */
	struct text_call call;
	size_t call_from; /* where its text begins after its marker */
	struct shown {
		char last[sizeof TAG_WORD]; /* its last bytes */
		size_t len;
	} answer, reasoning;
};

/* What begins at one place: a WAIT may still become a marker. */
enum match { PLAIN, WAIT, MARKER };

enum action { DROP, DROP_TAG, DROP_CODE, OPEN_THINK, CLOSE_THINK, BEGIN_CALL };

struct marker {
	const char *text;
	size_t len;
	enum action action;
	enum text_call_form form;
};

#define M(text, action, form)                                                                                          \
	{                                                                                                              \
		(text), sizeof(text) - 1, (action), (form)                                                             \
	}
static const struct marker markers[] = {
	M("<|" TAG_WORD, DROP_TAG, 0),
	M(TAG_WORD, DROP_TAG, 0),
	M("<|python_start|>", DROP_CODE, 0),
	M("<|python_end|>", DROP, 0),
	M("<|eot_id|>", DROP, 0),
	M("<|eom_id|>", DROP, 0),
	M("<think>", OPEN_THINK, 0),
	M("</think>", CLOSE_THINK, 0),
	M("<tool_call>", BEGIN_CALL, TEXT_CALL_TAGGED),
	M("<function=", BEGIN_CALL, TEXT_CALL_FUNCTION),
	M("[TOOL_CALLS]", BEGIN_CALL, TEXT_CALL_MISTRAL),
	/* Models write more calls in a fence than they explain there: the rule is the same. */
	M(FENCE, BEGIN_CALL, TEXT_CALL_FENCED),
};
/* A call that begins with its own first byte. */
static const struct marker bare_call = M("", BEGIN_CALL, TEXT_CALL_JSON),
			   code_call = M("", BEGIN_CALL, TEXT_CALL_PYTHON);

struct filter *filter_new(void)
{
	struct filter *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	buf_init(&f->held, 2 * SSE_LINE_MAX);
	filter_begin(f, NULL);
	return f;
}

/* Another text, with the same tools. */
static void restart(struct filter *f)
{
	buf_reset(&f->held);
	f->in_len = f->at = 0;
	f->mode = ANSWER;
	f->at_start = true;
	f->ended = f->in_call = f->array = f->fenced = f->tag_end = f->code = false;
	f->tag_rest = f->calm = f->answer.len = f->reasoning.len = 0;
}

void filter_begin(struct filter *f, const char *const *tools)
{
	restart(f);
	f->tools = tools;
	f->no_memory = false;
}

void filter_free(struct filter *f)
{
	if (f == NULL)
		return;
	free(f->arguments);
	buf_free(&f->held);
	free(f);
}

/* ---- pieces ---- */

static struct shown *shown(struct filter *f)
{
	return f->mode == REASONING ? &f->reasoning : &f->answer;
}

static void remember(struct shown *s, const char *bytes, size_t len)
{
	const size_t max = sizeof s->last - 1;
	size_t kept = len >= max ? 0 : s->len + len > max ? max - len : s->len;

	memmove(s->last, s->last + s->len - kept, kept);
	if (len > max) {
		bytes += len - max;
		len = max;
	}
	memcpy(s->last + kept, bytes, len);
	s->len = kept + len;
}

static void show(struct filter *f, const char *bytes, size_t len)
{
	if (len == 0)
		return;
	remember(shown(f), bytes, len);
	f->array = f->fenced = false;
	*f->piece = (struct filter_piece){
		.kind = f->mode == REASONING ? PIECE_REASONING : PIECE_TEXT, .bytes = bytes, .len = len};
	f->has_piece = true;
}

static void set_mode(struct filter *f, enum mode mode)
{
	f->mode = mode;
	f->tag_rest = 0;
	f->code = false;
	f->at_start = mode != REASONING;
}

static void close_unopened(struct filter *f)
{
	f->at_start = true;
	*f->piece = (struct filter_piece){.kind = PIECE_UNOPENED};
	f->has_piece = true;
}

/* Something was dropped: what follows must not complete a python_tag with what was shown
 * before it. */
static void guard_join(struct filter *f)
{
	const struct shown *s = shown(f);

	f->tag_rest = 0;
	for (size_t k = s->len; k > 0 && f->tag_rest == 0; k--)
		if (k < sizeof TAG_WORD - 1 && memcmp(s->last + s->len - k, TAG_WORD, k) == 0)
			f->tag_rest = k;
}

/* ---- markers ---- */

/* Compares text that may not be whole yet. */
static enum match compare(const char *p, size_t len, const char *word, size_t word_len, bool ended)
{
	if (memcmp(p, word, len < word_len ? len : word_len) != 0)
		return PLAIN;
	if (len >= word_len)
		return MARKER;
	return ended ? PLAIN : WAIT;
}

static bool may_call(const struct filter *f, size_t ahead)
{
	return f->tools != NULL && f->mode != REASONING && ahead >= f->calm;
}

/* What begins at p, `ahead` bytes after the filter's position. */
static enum match match_marker(const struct filter *f, const char *p, size_t len, size_t ahead, bool ended,
                               const struct marker **found)
{
	enum match result = PLAIN, one;

	for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++) {
		if (markers[i].text[0] != *p || (markers[i].action == BEGIN_CALL && !may_call(f, ahead)))
			continue;
		one = compare(p, len, markers[i].text, markers[i].len, ended);
		if (one == MARKER) {
			*found = &markers[i];
			return MARKER;
		}
		if (one == WAIT)
			result = WAIT;
	}
	if (result == PLAIN && (*p == '{' || *p == '[') && may_call(f, ahead)) {
		*found = &bare_call;
		return MARKER;
	}
	return result;
}

/* ---- the filter's states ---- */

/* Each takes what it can of the len bytes at p, up to the first piece that it finds, and
 * returns how many that are; *wait: more must come first. */

static size_t pass_tag_end(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	enum match result = compare(p, len, TAG_END, sizeof TAG_END - 1, ended);

	if (result == WAIT) {
		*wait = true;
		return 0;
	}
	f->tag_end = false;
	return result == MARKER ? sizeof TAG_END - 1 : 0;
}

static size_t pass_tag_rest(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	const char *word = &TAG_WORD[f->tag_rest];
	enum match result = compare(p, len, word, strlen(word), ended);

	if (result == WAIT) {
		*wait = true;
		return 0;
	}
	if (result == MARKER)
		return strlen(word); /* and the next one, as what was shown is the same */
	f->tag_rest = 0;
	return 0;
}

static size_t pass_between_calls(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	static const char *const closings[] = {"</tool_call>", "</function>", FENCE};
	const size_t count = sizeof closings / sizeof closings[0] - !f->fenced;
	size_t n = 0;

	while (n < len && (strchr(" \t\r\n;,", p[n]) != NULL || (p[n] == ']' && f->array)) && p[n] != '\0') {
		f->array = f->array && p[n] != ']';
		n++;
	}
	if (n == len)
		return n;
	for (size_t i = 0; i < count; i++) {
		switch (compare(p + n, len - n, closings[i], strlen(closings[i]), ended)) {
		case MARKER:
			f->fenced = f->fenced && i != count - 1;
			return n + strlen(closings[i]);
		case WAIT:
			*wait = true;
			return n;
		case PLAIN:
			break;
		}
	}
	f->mode = ANSWER;
	guard_join(f);
	return n;
}

static void take_call(struct filter *f, const char *text, size_t len)
{
	char *arguments = text_call_arguments(&f->call, text, len);

	f->in_call = false;
	if (arguments == NULL)
		return;
	free(f->arguments);
	f->arguments = arguments;
	*f->piece = (struct filter_piece){.kind = PIECE_CALL, .name = f->call.name, .arguments = arguments};
	f->has_piece = true;
	f->array |= f->call.array;
	f->fenced |= f->call.form == TEXT_CALL_FENCED;
	set_mode(f, BETWEEN_CALLS);
	f->code = f->call.python && f->array;
}

static size_t pass_call(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	enum text_call_verdict verdict = TEXT_CALL_MAYBE;
	size_t at = f->call_from + f->call.fed;

	while (verdict == TEXT_CALL_MAYBE && at < len && at < CALL_MAX) {
		verdict = text_call_feed(&f->call, (unsigned char)p[at]);
		at += verdict != TEXT_CALL_NO;
	}
	if (verdict == TEXT_CALL_MAYBE && !ended && at < CALL_MAX) {
		*wait = true;
		return 0;
	}
	if (verdict == TEXT_CALL_CALL ||
	    text_call_is_closable(&f->call, ended && verdict == TEXT_CALL_MAYBE && at == len))
		take_call(f, p + f->call_from, at - f->call_from);
	if (f->mode == BETWEEN_CALLS)
		return at;
	f->in_call = false;
	f->calm = at;
	return 0;
}

/* ---- the text itself ---- */

static size_t apply(struct filter *f, const struct marker *m)
{
	bool reasoning = f->mode == REASONING;

	switch (m->action) {
	case OPEN_THINK:
		if (!reasoning)
			set_mode(f, REASONING);
		break;
	case CLOSE_THINK:
		if (reasoning)
			set_mode(f, ANSWER);
		else
			close_unopened(f);
		break;
	case BEGIN_CALL:
		assert(false); /* it takes nothing yet: begin_call */
		break;
	case DROP_TAG:
	case DROP_CODE:
		f->tag_end = m->action == DROP_TAG;
		f->code = !reasoning;
		break;
	case DROP:
		break;
	}
	guard_join(f);
	return m->len;
}

enum { LETTER, WHITESPACE, SPECIAL };

static const unsigned char classes[256] = {
	[' '] = WHITESPACE, ['\t'] = WHITESPACE, ['\r'] = WHITESPACE, ['\n'] = WHITESPACE, [';'] = WHITESPACE,
	['<'] = SPECIAL,    ['p'] = SPECIAL,     ['['] = SPECIAL,     ['{'] = SPECIAL,     ['`'] = SPECIAL,
};

/* Moves n over text up to a marker or its possible beginning. */
static enum match scan(struct filter *f, const char *p, size_t len, size_t *n, bool ended, const struct marker **found)
{
	enum match result;

	for (; *n < len; ++*n) {
		switch (classes[(unsigned char)p[*n]]) {
		case WHITESPACE:
			continue;
		case SPECIAL:
			result = match_marker(f, p + *n, len - *n, *n, ended, found);
			if (result != PLAIN)
				return result;
			break;
		default:
			break;
		}
		f->at_start = false;
	}
	return PLAIN;
}

/* A call may begin `before` bytes from here. All of it is kept until that is decided. */
static void begin_call(struct filter *f, const struct marker *m, size_t before)
{
	f->in_call = true;
	f->call_from = before + m->len;
	text_call_begin(&f->call, m->form, f->tools);
}

/* After a python tag anything may be a call. */
static size_t pass_code(struct filter *f, const char *p, size_t len, bool *wait)
{
	size_t n = 0;

	while (n < len && n <= WHITESPACE_MAX && strchr(" \t\r\n", p[n]) != NULL && p[n] != '\0')
		n++;
	*wait = n == len;
	if (*wait)
		return 0;
	f->code = false;
	if (may_call(f, n))
		begin_call(f, &code_call, n);
	return 0;
}

static size_t pass_text(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	const struct marker *found = NULL;
	size_t n = 0;
	enum match result;

	result = scan(f, p, len, &n, ended, &found);
	if (n > WHITESPACE_MAX || (ended && result == PLAIN && memchr(p, ';', n) != NULL))
		f->at_start = false; /* a semicolon alone is an answer */
	if (!f->at_start)
		show(f, p, n);
	if (result == MARKER && found->action != BEGIN_CALL)
		return f->has_piece ? n : n + apply(f, found); /* after a piece, the marker is next */
	if (result == MARKER)
		begin_call(f, found, f->at_start ? n : 0);
	else
		*wait = result == WAIT || f->at_start;
	return f->at_start ? 0 : n; /* the whitespace stays */
}

static size_t pass(struct filter *f, const char *p, size_t len, bool ended, bool *wait)
{
	if (f->in_call)
		return pass_call(f, p, len, ended, wait);
	if (f->tag_end)
		return pass_tag_end(f, p, len, ended, wait);
	if (f->tag_rest > 0)
		return pass_tag_rest(f, p, len, ended, wait);
	if (f->mode == BETWEEN_CALLS)
		return pass_between_calls(f, p, len, ended, wait);
	if (f->code)
		return pass_code(f, p, len, wait);
	return pass_text(f, p, len, ended, wait);
}

void filter_feed(struct filter *f, const char *bytes, size_t len)
{
	assert(f->at == f->in_len);
	f->in = bytes;
	f->in_len = len;
	f->at = 0;
	if (f->held.len == 0)
		return;
	if (buf_add(&f->held, bytes, len) < 0) {
		restart(f);
		f->no_memory = true;
		return;
	}
	f->in = f->held.data;
	f->in_len = f->held.len;
}

void filter_end(struct filter *f)
{
	f->in = f->held.data;
	f->in_len = f->held.len;
	f->at = 0;
	f->ended = true;
}

void filter_break(struct filter *f)
{
	if (f->in_call)
		restart(f);
	else
		filter_end(f);
}

/* What is left waits for more. */
static void hold(struct filter *f)
{
	size_t left = f->in_len - f->at;

	if (f->ended) {
		restart(f);
	} else if (f->held.len > 0) {
		buf_consume(&f->held, f->at);
	} else if (left > 0 && buf_add(&f->held, f->in + f->at, left) < 0) {
		restart(f);
		f->no_memory = true;
	}
	f->in_len = f->at = 0;
}

bool filter_next(struct filter *f, struct filter_piece *p)
{
	size_t n;
	bool wait = false;

	if (f->at == f->in_len && f->held.len == 0 && !f->ended)
		return false;
	f->piece = p;
	f->has_piece = false;
	while (f->at < f->in_len && !wait) {
		n = pass(f, f->in + f->at, f->in_len - f->at, f->ended, &wait);
		f->calm -= n < f->calm ? n : f->calm;
		f->at += n;
		if (f->has_piece)
			return true;
	}
	hold(f);
	return false;
}

bool filter_lost(const struct filter *f)
{
	return f->no_memory;
}
