/* SPDX-License-Identifier: Apache-2.0 */
/* The events of running code, in any bytes: the same text whatever the pieces are, and it
 * is text, within its limits. The first byte is the length of the pieces, the second how much
 * output the model reads. */
#include "core/tools/execution.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void read_events(struct execution *x, const uint8_t *data, size_t len, size_t step, size_t limit)
{
	execution_init(x, limit);
	for (size_t at = 0; at < len; at += step) {
		size_t n = len - at < step ? len - at : step;
		char *piece = fuzz_copy(data + at, n);

		execution_feed(x, piece, n);
		free(piece);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct execution whole, split;
	char *text, *again;
	size_t limit;

	if (len < 2)
		return 0;
	limit = data[1] * 4u;
	read_events(&whole, data + 2, len - 2, len, limit);
	read_events(&split, data + 2, len - 2, data[0] % 32 + 1u, limit);
	text = execution_text(&whole);
	again = execution_text(&split);
	fuzz_require(text != NULL && again != NULL && strcmp(text, again) == 0);
	fuzz_require(fuzz_is_text(text, strlen(text)) && strlen(text) <= 3 * limit + 200);
	fuzz_require(whole.ended == split.ended && execution_failed(&whole) == execution_failed(&split));
	free(text);
	free(again);
	execution_clear(&whole);
	execution_clear(&split);
	return 0;
}
