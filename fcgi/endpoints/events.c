/* SPDX-License-Identifier: Apache-2.0 */
/* GET /events: Server-Sent Events for web pages. */
#include "fcgi/dispatch.h"
#include "fcgi/endpoint.h"
#include "fcgi/event_feed.h"
#include "fcgi/response.h"

#define RETRY_AFTER "Retry-After: 10\r\n"

static void answer(struct worker *w, struct connection *c)
{
	unsigned entry;

	if (connection_is_head(c)) {
		response_stream_head(c, "text/event-stream");
		output_end(connection_output(c));
		return;
	}
	switch (worker_admit_listener(w, connection_params(c)->remote_addr, &entry)) {
	case ADMISSION_GRANTED:
		break;
	case ADMISSION_FULL:
	case ADMISSION_WORKER_FULL:
		response_detail(c, 503, RETRY_AFTER, "Too many clients listen to events (limits.event_streams)");
		return;
	case ADMISSION_CLIENT_FULL:
		response_detail(c, 429, RETRY_AFTER,
		                "Too many clients of this address listen to events (limits.client_event_streams)");
		return;
	}
	if (event_feed_add(worker_event_feed(w), c, dispatch_is_admin(c), connection_header(c, "Last-Event-ID"),
	                   entry) < 0) {
		worker_dismiss_listener(w, entry);
		response_detail(c, 500, "", "Out of memory");
	}
}

const struct endpoint endpoint_events = {
	.path = "/events",
	.methods = "GET, HEAD",
	.right = ENDPOINT_PUBLIC,
	.help = "The state and recent events as they change, streamed (Server-Sent Events).",
	.answer = answer,
};
