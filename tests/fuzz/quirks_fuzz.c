/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals of a request: the text, then the parameter and the conversation, each after a byte 1. Only what was
 * sent is learned, limits are below what was asked for, the same refusal stops teaching, and words of the
 * conversation never do. A text that begins with ! is an overflow. */
#include "core/llm/quirks.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define ASKED      2048
#define TOKENS_MIN 16

static char *next_part(char **rest)
{
	char *part = *rest, *end = part != NULL ? strchr(part, '\1') : NULL;

	*rest = end != NULL ? end + 1 : NULL;
	if (end != NULL)
		*end = '\0';
	return part;
}

/* The number of times that the refusal teaches something. */
static unsigned teach(struct refusal r, struct quirks *q)
{
	const unsigned all = r.sent;
	unsigned times = 0;

	for (struct quirks before = *q; quirks_learn(q, &r); before = *q) {
		fuzz_require((before.set & ~q->set) == 0 && (q->set & ~all) == 0);
		fuzz_require(before.set != q->set || before.max_tokens != q->max_tokens);
		fuzz_require(q->max_tokens == 0 || (q->max_tokens >= TOKENS_MIN && q->max_tokens < ASKED));
		fuzz_require(before.max_tokens == 0 || q->max_tokens <= before.max_tokens);
		r.sent = all & ~q->set;
		r.max_tokens = (q->set & QUIRK_BIT(QUIRK_MAX_TOKENS)) != 0 ? 0
		               : q->max_tokens > 0                         ? q->max_tokens
		                                                           : ASKED;
		times++;
	}
	return times;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len), *rest = text, *words = next_part(&rest);
	struct refusal r = {.overflow = *words == '!', .sent = QUIRK_BIT(QUIRKS) - 1, .max_tokens = ASKED};
	struct quirks learned = {.set = 0}, again, none = {.set = 0};
	json_t *names;

	r.text = words + r.overflow;
	r.param = next_part(&rest);
	r.conversation = rest;
	(void)teach(r, &learned);
	names = quirks_to_json(&learned);
	quirks_from_json(names, &again);
	fuzz_require(again.set == learned.set && again.max_tokens == learned.max_tokens);
	json_decref(names);

	r.param = NULL;
	r.overflow = false;
	r.conversation = r.text;
	fuzz_require(teach(r, &none) == 0 && !quirks_any(&none));
	free(text);
	return 0;
}
