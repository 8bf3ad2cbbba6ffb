/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a server's metrics. */
#include "core/probe/load.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 1000000

/* The page and a line more: a copy of just this length. */
static char *with_line(const char *page, size_t len, size_t *all)
{
	static const char line[] = "\nvllm:num_requests_waiting{x=\"\\\"}\"} 5.0";
	char *more = malloc(len + sizeof line - 1);

	fuzz_require(more != NULL);
	memcpy(more, page, len);
	memcpy(more + len, line, sizeof line - 1);
	*all = len + sizeof line - 1;
	return more;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *page = fuzz_copy(data, len), *more;
	struct balance_report r, again;
	size_t all;

	if (!load_read(page, len, &r))
		fuzz_require(r.running == 0 && r.waiting == 0);
	fuzz_require(r.running <= COUNT_MAX && r.waiting <= COUNT_MAX);
	more = with_line(page, len, &all);
	fuzz_require(load_read(more, all, &again) && again.running == r.running);
	fuzz_require(again.waiting == r.waiting + 5 || again.waiting == COUNT_MAX);
	free(more);
	free(page);
	return 0;
}
