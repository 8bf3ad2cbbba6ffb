/* SPDX-License-Identifier: Apache-2.0 */
#include "core/trace/labels.h"

#include "core/base/clock.h"
#include "core/trace/trace.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

void labels_set(struct labels *l, const char *request_id, const char *nonce, const struct trace *t,
                const struct span *s)
{
	const char *state = trace_state_line(t);
	unsigned n = 0;

	snprintf(l->request_id, sizeof l->request_id, "X-Request-Id: %.*s%s%s", LABELS_REQUEST_ID_MAX, request_id,
	         nonce != NULL ? "-" : "", nonce != NULL ? nonce : "");
	l->lines[n++] = l->request_id;
	if (t != NULL) {
		trace_parent_line(t, s, l->traceparent, sizeof l->traceparent);
		l->lines[n++] = l->traceparent;
	}
	if (state != NULL)
		l->lines[n++] = state;
	l->lines[n] = NULL;
}

void labels_nonce(char out[LABELS_NONCE_MAX + 1])
{
	uint32_t n;

	if (getrandom(&n, sizeof n, GRND_NONBLOCK) != sizeof n)
		n = (uint32_t)clock_mono_ns();
	snprintf(out, LABELS_NONCE_MAX + 1, "%08x", (unsigned)n);
}
