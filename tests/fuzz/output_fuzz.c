/* SPDX-License-Identifier: Apache-2.0 */
/* What sandboxed code prints, in any bytes: the same text whatever the pieces are, and it
 * is text. The first byte is the length of the pieces. */
#include "core/base/utf8.h"
#include "runner/service.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Takes the piece; at where the text goes. */
static char *put(char *at, struct service_text *o, char *piece, size_t len)
{
	char *text = service_text_next(o, piece, len);

	fuzz_require(text != NULL && fuzz_is_text(text, strlen(text)));
	at = stpcpy(at, text);
	free(text);
	free(piece);
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct service_text o = {.len = 0};
	char *all = malloc(len + 1), *at = all, *whole;
	size_t step;

	fuzz_require(all != NULL);
	*all = '\0';
	step = len > 0 ? data[0] % 8 + 1u : 1;
	for (size_t from = 1; from < len; from += step) {
		size_t n = len - from < step ? len - from : step;

		at = put(at, &o, fuzz_copy(data + from, n), n);
	}
	put(at, &o, NULL, 0);
	whole = utf8_text(len > 0 ? (const char *)data + 1 : "", len > 0 ? len - 1 : 0);
	fuzz_require(whole != NULL && strcmp(whole, all) == 0);
	free(whole);
	free(all);
	return 0;
}
