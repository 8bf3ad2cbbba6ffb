/* SPDX-License-Identifier: Apache-2.0 */
#include "core/trace/labels.h"

#include "core/trace/trace.h"

#include <string.h>

void labels_set(struct labels *l, const char *request_id, const char *nonce, const struct trace *t,
                const struct span *s)
{
	const char *state = trace_state_line(t);
	unsigned n = 0;
	char *to = stpcpy(l->request_id, "X-Request-Id: ");

	to = mempcpy(to, request_id, strnlen(request_id, LABELS_REQUEST_ID_MAX));
	if (nonce != NULL) {
		*to++ = '-';
		to = mempcpy(to, nonce, strnlen(nonce, LABELS_NONCE_MAX));
	}
	*to = '\0';
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
	trace_random_hex(out, LABELS_NONCE_MAX);
}
