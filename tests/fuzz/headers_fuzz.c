/* SPDX-License-Identifier: Apache-2.0 */
/* Values of headers, terminated or not: an LLM's Retry-After, a client's X-Request-Id. */
#include "core/http/http_private.h"
#include "fcgi/dispatch.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *value = fuzz_copy(data, len), *text = fuzz_text(data, len), id[CONNECTION_ID_MAX + 1];
	struct dispatch_ids ids = {.random = 1};

	fuzz_require(http_outcome_retry_after(value, len) >= -1);
	dispatch_choose_id(&ids, text, id);
	fuzz_require(*id != '\0' && id[strcspn(id, " \t\r\n\"\\")] == '\0' && strlen(id) <= CONNECTION_ID_MAX);
	fuzz_require(strcmp(id, text) == 0 || ids.count == 1);
	free(value);
	free(text);
	return 0;
}
