/* SPDX-License-Identifier: Apache-2.0 */
/* POST /poll_requests: one chat turn, streamed as TT-Studio reads it. */
#include "fcgi/chat.h"
#include "fcgi/endpoint.h"

static void answer(struct worker *w, struct connection *c)
{
	chat_dispatch(&protocol_studio, w, c);
}

const struct endpoint endpoint_poll_requests = {
	.path = "/poll_requests",
	.methods = "POST",
	.right = ENDPOINT_PUBLIC,
	.help = "One chat turn; the answer is streamed.",
	.answer = answer,
};
