/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/quirks.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

#define TEXT_MAX   600 /* what a refusal says beyond that is not read */
#define NEAR       80  /* bytes between a name and the words that refuse it */
#define LABEL_MAX  40  /* bytes before a name that may show that it names a field */
#define TOKENS_MIN 16  /* no server limits answers to fewer tokens */
#define ECHO_MIN   20  /* bytes that a refusal and the conversation have in common by no accident */

/* ---- the tables ---------------------------------------------------------------------- */

static const struct {
	const char *name, *field;
} quirks[QUIRKS] = {
#define FIELD(id, path) [QUIRK_##id] = {"no " path, path},
	REQUEST_FIELDS(FIELD)
#undef FIELD
#define QUIRK(id, name) [QUIRK_##id] = {name, NULL},
#include "core/llm/quirks.def"
};

static const struct naming {
	enum quirk quirk;
	bool plain;
	const char *names;
} namings[] = {
#define CALLED(id, plain, names) {QUIRK_##id, plain, names},
#include "core/llm/quirks.def"
};

static const struct {
	enum quirk quirk;
	const char *words;
} meanings[] = {
#define MEANT(id, words) {QUIRK_##id, words},
#include "core/llm/quirks.def"
};

static const struct naming max_tokens = {QUIRK_MAX_TOKENS, false,
                                         "max(imum)?[_ ]?((completion|new|output)[_ ]?)?tokens"};

const char *quirk_name(enum quirk q)
{
	return quirks[q].name;
}

const char *quirk_field(enum quirk q)
{
	return quirks[q].field;
}

/* ---- values ---------------------------------------------------------------------------- */

static void limit(struct quirks *q, int64_t tokens)
{
	if (tokens > 0 && (q->max_tokens == 0 || tokens < q->max_tokens))
		q->max_tokens = tokens;
}

void quirks_add(struct quirks *to, const struct quirks *more)
{
	to->set |= more->set;
	limit(to, more->max_tokens);
}

bool quirks_any(const struct quirks *q)
{
	return q->set != 0 || q->max_tokens != 0;
}

unsigned quirks_omitted(const struct config *c, enum cfg_key k)
{
	const struct cfg_list *list = cfg_list(c, k);
	unsigned set = 0;

	for (size_t i = 0; i < list->count; i++)
		for (unsigned q = 0; q < QUIRKS; q++)
			if (quirks[q].field != NULL && strcmp(quirks[q].field, list->items[i]) == 0)
				set |= QUIRK_BIT(q);
	return set;
}

json_t *quirks_to_json(const struct quirks *q)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < QUIRKS; i++)
		if ((q->set & QUIRK_BIT(i)) != 0)
			json_array_append_new(names, json_string(quirks[i].name));
	if (q->max_tokens > 0)
		json_array_append_new(names, json_sprintf("max_tokens %lld", (long long)q->max_tokens));
	return names;
}

void quirks_text(const struct quirks *q, char out[QUIRKS_TEXT_MAX])
{
	json_t *names = quirks_to_json(q);
	const json_t *name;
	size_t i, len = 0;

	out[0] = '\0';
	json_array_foreach(names, i, name) if (len < QUIRKS_TEXT_MAX) len +=
		(size_t)snprintf(out + len, QUIRKS_TEXT_MAX - len, "%s%s", i == 0 ? "" : ", ", json_string_value(name));
	json_decref(names);
}

void quirks_from_json(const json_t *names, struct quirks *q)
{
	const json_t *item;
	size_t n;

	*q = (struct quirks){.set = 0};
	json_array_foreach(names, n, item)
	{
		const char *name = json_string_value(item);
		long long tokens;

		if (name == NULL)
			continue;
		for (unsigned i = 0; i < QUIRKS; i++)
			if (strcmp(name, quirks[i].name) == 0)
				q->set |= QUIRK_BIT(i);
		if (sscanf(name, "max_tokens %18lld", &tokens) == 1 && tokens >= TOKENS_MIN)
			limit(q, tokens);
	}
}

/* ---- words of a refusal ------------------------------------------------------------------ */

/* That a field is not taken, or its value is not. */
static const char refusing[] =
	"extra[ _](input|field|forbid|property|properties)|additional (property|properties)|unrecogni[sz]ed|unsupported|unknown|unexpected|"
	"unpermitted|(not|n't|cannot|never)( currently| yet| be| an?)* (support|allow|permit|recogni[sz]|enabl|availab|"
	"implement|valid|accept|speci|set|used|compatib)|no such|deprecated|invalid|illegal|incorrect|must|should|"
	"can(no|')t|could not|only the default|only (be )?(allow|define|support|valid|availab)|got [0-9]|out of range|too (large|high|big|small|low|many|long)|"
	"(greater|less|larger|lower|more) than|exceed|at most|range|[<>]=?|requires?|removed|forbidden|no longer";

/* Before a name: it is the name of a field. */
static const char labels_before[] =
	"(param(eter)?|argument|field|property|option|key|name|supplied|input|permitted|"
	"support(ed)?|allowed)s?[:=(]* *(['\"`({[]*|([a-z_.'\"`]+, *)+['\"`]?)$|: *$|[-] $";
/* After it. */
static const char labels_after[] =
	"^[]'\"`)}]* *(=|:|(param|argument|field|property|option|value|must|should|is|are|"
	"can|cannot|does|has|was) *)";
/* What follows tells what could have been sent instead. */
static const char alternatives[] =
	"did you mean|expected one of|, expected ['\"`]|[.;,\n] *(the )?(supported|allowed|valid|available|"
	"accepted|permitted|known)( (parameter|field|argument|key|option|property|properties)[a-z]*)?"
	"( are| is|:)|to drop (these|unsupported)|, value: |'input':|input_value=";

struct span {
	size_t from, to;
};

static bool find(const char *text, const char *pattern, struct span *found)
{
	regmatch_t m;
	regex_t re;
	bool matches;

	if (regcomp(&re, pattern, REG_EXTENDED | REG_ICASE) != 0)
		return false;
	matches = regexec(&re, text, 1, &m, 0) == 0;
	regfree(&re);
	if (matches && found != NULL)
		*found = (struct span){(size_t)m.rm_so, (size_t)m.rm_eo};
	return matches;
}

/* The same within a part of text of at most LABEL_MAX or NEAR bytes. */
static bool find_within(const char *text, struct span part, const char *pattern, struct span *found)
{
	char copy[NEAR + 1];
	size_t len = part.to - part.from;

	memcpy(copy, text + part.from, len);
	copy[len] = '\0';
	if (!find(copy, pattern, found))
		return false;
	if (found != NULL) {
		found->from += part.from;
		found->to += part.from;
	}
	return true;
}

static struct span before(struct span s, size_t bytes)
{
	return (struct span){s.from > bytes ? s.from - bytes : 0, s.from};
}

static struct span after(const char *text, struct span s, size_t bytes)
{
	return (struct span){s.to, s.to + strnlen(text + s.to, bytes)};
}

/* Whether the conversation says that too: then these are likely to be its words. */
static bool is_echo(const struct refusal *r, const char *text, struct span s)
{
	char copy[TEXT_MAX + 1];

	if (r->conversation == NULL)
		return false;
	memcpy(copy, text + s.from, s.to - s.from);
	copy[s.to - s.from] = '\0';
	return strcasestr(r->conversation, copy) != NULL;
}

static bool is_word(char c)
{
	return c == '_' || isalnum((unsigned char)c);
}

/* Servers repeat what they were sent: overwrites in text what the conversation says. */
static void strike_out(const struct refusal *r, char *text)
{
	size_t len = strlen(text);
	char run[TEXT_MAX + 1];

	for (size_t i = 0; i + ECHO_MIN <= len; i++) {
		size_t n = ECHO_MIN;

		if (i > 0 && is_word(text[i - 1]))
			continue; /* from the beginning of a word on */
		for (; i + n <= len; n++) {
			memcpy(run, text + i, n);
			run[n] = '\0';
			if (strcasestr(r->conversation, run) == NULL)
				break;
		}
		if (n == ECHO_MIN)
			continue;
		memset(text + i, '~', n - 1);
		i += n - 2;
	}
}

static bool is_quoted(const char *text, struct span s)
{
	const char *close = text + s.to + (text[s.to] == '\\');

	return s.from > 0 && *close != '\0' && strchr("'\"`", *close) != NULL && text[s.from - 1] == *close;
}

/* Whether a name at s is refused: words that refuse are near, and not those of the conversation. */
static bool is_refused(const struct refusal *r, const char *text, const struct naming *n, struct span s)
{
	bool as_field = is_quoted(text, s) || find_within(text, before(s, LABEL_MAX), labels_before, NULL);
	struct span words;

	if (!as_field && is_echo(r, text, s))
		return false;
	if (!as_field && n->plain && !find_within(text, after(text, s, LABEL_MAX), labels_after, NULL))
		return false;
	if (find_within(text, after(text, s, NEAR), refusing, &words) &&
	    !is_echo(r, text, (struct span){s.from, words.to}))
		return true;
	return find_within(text, before(s, NEAR), refusing, &words) &&
	       !is_echo(r, text, (struct span){words.from, s.to});
}

static bool names_field(const struct refusal *r, const char *text, const struct naming *n)
{
	for (size_t at = 0; text[at] != '\0';) {
		struct span s;

		if (!find(text + at, n->names, &s))
			return false;
		s.from += at;
		s.to += at;
		at = s.to;
		if ((s.from > 0 && is_word(text[s.from - 1])) || is_word(text[s.to]))
			continue;
		if (is_refused(r, text, n, s))
			return true;
	}
	return false;
}

/* The path without what is around a field: "body.top_k", "#/top_k", "$.top_k". */
static const char *path_of(const char *param)
{
	static const char *const roots[] = {"#/", "$.", "/", "body.", "body/", "request.", "data."};

	for (size_t i = 0; i < COUNT(roots); i++)
		if (strncmp(param, roots[i], strlen(roots[i])) == 0)
			return path_of(param + strlen(roots[i]));
	return param;
}

/* Whether the path is a name, or goes through it: "stream_options.x", "tools[0].function". */
static bool goes_through(const char *param, const char *names, bool of_messages)
{
	const char *path = path_of(param);
	char part[64];

	while (*path != '\0') {
		size_t len = strcspn(path, "./[");
		struct span s;

		if (len < sizeof part) {
			memcpy(part, path, len);
			part[len] = '\0';
			if (find(part, names, &s) && s.from == 0 && s.to == len)
				return true;
		}
		if (strncmp(path, "messages", len) == 0 && len > 0 && !of_messages)
			return false; /* what follows are the names of its own */
		path += len + (path[len] != '\0');
	}
	return false;
}

/* ---- the longest answer --------------------------------------------------------------------- */

/* A number that stands by itself at p, and its end. "4,096" is one, the digits of a model's name
 * or of a date are none. 0: none. */
static int64_t number_at(const char *p, const char **end)
{
	int64_t n = 0;
	size_t digits = 0;

	for (; (*p >= '0' && *p <= '9') || (*p == ',' && digits > 0 && strspn(p + 1, "0123456789") == 3); p++)
		if (*p != ',' && ++digits < 16)
			n = n * 10 + (*p - '0');
	*end = p;
	return is_word(*p) || *p == '-' || digits > 15 ? 0 : n;
}

/* The largest number below `asked` that text has: the limit where it names one. 0: none. */
static int64_t largest_below(const char *text, int64_t asked)
{
	int64_t best = 0;
	const char *end;

	for (const char *p = text; *p != '\0'; p = end) {
		int64_t n;

		end = p + 1;
		if (*p < '0' || *p > '9' || (p > text && (is_word(p[-1]) || p[-1] == '-' || p[-1] == '.')))
			continue;
		n = number_at(p, &end);
		if (find_within(
			    text,
			    (struct span){(size_t)(p - text) > 20 ? (size_t)(p - text) - 20 : 0, (size_t)(p - text)},
			    "(less|lower|smaller) than $|[^=]< ?$", NULL) ||
		    strncasecmp(end, " (exclusive", 11) == 0)
			n--;
		if (n >= TOKENS_MIN && n < asked && n > best)
			best = n;
	}
	return best;
}

static bool learn_max_tokens(struct quirks *q, const struct refusal *r, const char *text)
{
	static const char about_value[] =
		"too (large|high|big|long|many|small)|at (most|least)|maximum (value|allowed|number)|"
		"(less|lower|greater|smaller) than|[<>]|range|got [0-9]|exceed|between|limit|up to";
	unsigned sent = r->sent & ~q->set;

	if (r->max_tokens == 0)
		return false;
	if (find(text, about_value, NULL)) {
		int64_t most = largest_below(text, r->max_tokens);

		if (most > 0) {
			limit(q, most);
			return true;
		}
	} else if ((sent & QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS)) != 0) {
		q->set |= QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS);
		return true;
	}
	q->set |= QUIRK_BIT(QUIRK_MAX_TOKENS);
	return (sent & QUIRK_BIT(QUIRK_MAX_TOKENS)) != 0;
}

/* Where the window holds no more than the answer that was asked for, no prompt fits: half of the
 * window is left to the prompt. */
static bool learn_window(struct quirks *q, const struct refusal *r, const char *text)
{
	struct span s;
	const char *end;
	int64_t window;

	if (r->max_tokens == 0 ||
	    !find(text,
	          "(context (length|size|window)( of| is| \\()?|length is|must be <=|at most|limit(ed to| of)) *[0-9]",
	          &s))
		return false;
	window = number_at(text + s.to - 1, &end);
	if (window / 2 < TOKENS_MIN || window / 2 >= r->max_tokens)
		return false;
	limit(q, window / 2);
	return true;
}

/* ---- learning ------------------------------------------------------------------------------- */

static bool learn_meaning(struct quirks *q, const struct refusal *r, const char *text)
{
	for (size_t i = 0; i < COUNT(meanings); i++) {
		unsigned bit = QUIRK_BIT(meanings[i].quirk);
		struct span s;

		if ((r->sent & bit & ~q->set) != 0 && find(text, meanings[i].words, &s) && !is_echo(r, text, s)) {
			q->set |= bit;
			return true;
		}
	}
	return false;
}

/* The most specific one, where a path is named; else each that is. */
static bool learn_names(struct quirks *q, const struct refusal *r, const char *text)
{
	const unsigned inner = QUIRK_BIT(QUIRK_CONTINUOUS_USAGE) | QUIRK_BIT(QUIRK_INCLUDE_USAGE);
	unsigned learned = 0;

	for (size_t i = 0; i < COUNT(namings); i++) {
		unsigned bit = QUIRK_BIT(namings[i].quirk);

		if ((r->sent & bit & ~q->set) == 0 ||
		    (namings[i].quirk == QUIRK_STREAM_OPTIONS && (learned & inner) != 0) ||
		    (namings[i].quirk == QUIRK_STREAM && learned != 0))
			continue;
		if (names_field(r, text, &namings[i]))
			learned |= bit;
	}
	q->set |= learned;
	return learned != 0;
}

static bool learn_param(struct quirks *q, const struct refusal *r, const char *text)
{
	if (r->param == NULL || *r->param == '\0')
		return false;
	if (goes_through(r->param, max_tokens.names, false))
		return learn_max_tokens(q, r, text);
	for (size_t i = 0; i < COUNT(namings); i++) {
		unsigned bit = QUIRK_BIT(namings[i].quirk);

		if ((r->sent & bit & ~q->set) == 0 ||
		    !goes_through(r->param, namings[i].names, namings[i].quirk == QUIRK_OWN_MESSAGES))
			continue;
		q->set |= bit;
		return true;
	}
	return false;
}

static bool learn(struct quirks *q, const struct refusal *r, const char *text)
{
	return learn_param(q, r, text) || learn_meaning(q, r, text) ||
	       (names_field(r, text, &max_tokens) && learn_max_tokens(q, r, text)) || learn_names(q, r, text);
}

bool quirks_learn(struct quirks *q, const struct refusal *r)
{
	struct quirks first = *q;
	char text[TEXT_MAX + 1];
	struct span s;

	/* Some put the message where the parameter belongs. */
	snprintf(text, sizeof text, "%s%s%s", r->text, r->param != NULL && strchr(r->param, ' ') != NULL ? "; " : "",
	         r->param != NULL && strchr(r->param, ' ') != NULL ? r->param : "");
	if (r->overflow)
		return learn_window(q, r, text);
	if (find(text, alternatives, &s))
		text[s.from] = '\0';
	/* The conversation may be long: it is compared only where there is something to learn. */
	if (r->conversation != NULL) {
		if (!learn(&first, r, text))
			return false;
		strike_out(r, text);
	}
	return learn(q, r, text);
}

/* ---- a worker's memory ------------------------------------------------------------------------ */

void quirk_memory_add(struct quirk_memory *m, uint64_t instance, int64_t now_wall_ms, const struct quirks *q)
{
	size_t at = m->next;

	for (size_t i = 0; i < QUIRK_MEMORY_SIZE; i++)
		if (m->items[i].instance == instance)
			at = i;
	if (at == m->next) {
		m->next = (m->next + 1) % QUIRK_MEMORY_SIZE;
		m->items[at].quirks = (struct quirks){.set = 0};
	}
	m->items[at].instance = instance;
	m->items[at].learned_ms = now_wall_ms;
	quirks_add(&m->items[at].quirks, q);
}

void quirk_memory_get(const struct quirk_memory *m, uint64_t instance, int64_t since_ms, struct quirks *q)
{
	for (size_t i = 0; i < QUIRK_MEMORY_SIZE; i++)
		if (m->items[i].instance == instance && m->items[i].learned_ms > since_ms)
			quirks_add(q, &m->items[i].quirks);
}
