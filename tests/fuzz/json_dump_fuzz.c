/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever value is written as text: jansson reads the same value from it, and writes the same text, but for
 * the escapes of some control characters. */
#include "core/base/json_dump.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf text = BUF_INIT(1u << 22);
	json_t *value = json_loadb((const char *)data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL), *again;
	char *expected;

	if (value == NULL)
		return 0;
	expected = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	fuzz_require(json_dump(&text, value) == 0 && expected != NULL);
	again = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	fuzz_require(again != NULL && json_equal(again, value));
	if (strstr(expected, "\\u00") == NULL && strstr(expected, "\\b") == NULL && strstr(expected, "\\f") == NULL)
		fuzz_require(strcmp(expected, text.data) == 0);
	json_decref(again);
	json_decref(value);
	free(expected);
	buf_free(&text);
	return 0;
}
