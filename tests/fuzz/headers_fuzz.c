/* SPDX-License-Identifier: Apache-2.0 */
/* Values of headers, terminated or not: an LLM's Retry-After, a client's X-Request-Id, traceparent and
 * tracestate. */
#include "core/http/http_private.h"
#include "core/trace/trace.h"
#include "fcgi/dispatch.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is passed on is one line, and is read in the same way by the next one. */
static void check_trace(const char *text)
{
	const char *comma = strchr(text, '\n');
	char *parent = comma != NULL ? strndup(text, (size_t)(comma - text)) : strdup(text);
	struct trace_context c, again;
	char line[100];

	if (parent == NULL)
		return;
	trace_context_parse(parent, comma != NULL ? comma + 1 : text, &c);
	free(parent);
	fuzz_require(strlen(c.state) <= TRACE_STATE_MAX && (c.valid || c.state[0] == '\0'));
	for (const char *p = c.state; *p != '\0'; p++)
		fuzz_require(*p >= ' ' && *p <= '~');
	if (!c.valid)
		return;
	snprintf(line, sizeof line, "00-%s-%s-%02x", c.trace_id, c.span_id, c.sampled);
	trace_context_parse(line, c.state, &again);
	fuzz_require(again.valid && again.sampled == c.sampled && strcmp(again.trace_id, c.trace_id) == 0 &&
	             strcmp(again.state, c.state) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *value = fuzz_copy(data, len), *text = fuzz_text(data, len), id[CONNECTION_ID_MAX + 1];
	struct dispatch_ids ids = {.random = 1};

	fuzz_require(http_outcome_retry_after(value, len) >= -1);
	dispatch_choose_id(&ids, text, id);
	fuzz_require(*id != '\0' && id[strcspn(id, " \t\r\n\"\\")] == '\0' && strlen(id) <= CONNECTION_ID_MAX);
	fuzz_require(strcmp(id, text) == 0 || ids.count == 1);
	check_trace(text);
	free(value);
	free(text);
	return 0;
}
