/* SPDX-License-Identifier: Apache-2.0 */
/* POST /poll_requests: one chat turn, streamed. */
#include "fcgi/endpoint.h"

#include "core/protocol/emitter.h"
#include "core/turn/turn.h"
#include "fcgi/response.h"

#include <stdlib.h>

#define TOO_LARGE "This message is too long for the agent. Please shorten it."
#define TOO_MANY  "The agent is answering as many chats as it can at the moment. Please try again in a few seconds."
#define TOO_MANY_OF_CLIENT                                                                                             \
	"As many chats run from your address as may at once. Please wait until one of them has ended."
#define NO_MEMORY "The agent has not enough memory to answer at the moment. Please try again in a few seconds."

/* A turn and the connection that its answer goes to. */
struct chat {
	struct connection *connection;
	struct turn *turn;
	struct worker *worker;
	unsigned entry; /* its admission */
};

static int write_body(struct connection *c, const char *bytes, size_t len, bool apart)
{
	struct output *o = connection_output(c);
	int full = 0;

	if (apart)
		output_flush_boundary(o);
	if (len > 0)
		full = output_write(o, bytes, len);
	if (apart && len > 0)
		output_flush_boundary(o);
	return full;
}

static void write_refusal(void *arg, const char *bytes, size_t len, bool apart)
{
	write_body(arg, bytes, len, apart);
}

/* TT-Studio's reader fails on any status but 200, so a user would not see why. */
static void refuse(struct worker *w, struct connection *c, int status, const char *sentence)
{
	const struct emitter_stats nothing = {.ttft_ns = -1, .tpot_ns = -1};
	const struct config *config = published_config(worker_published(w));
	struct emitter *m;

	counters_add(worker_counters(w), COUNTER_TURNS_REFUSED, 1);
	if (config != NULL && cfg_bool(config, CFG_HTTP_STRICT_STATUS)) {
		response_detail(c, status, status == 413 ? "" : "Retry-After: 2\r\n", sentence);
		return;
	}
	m = emitter_new(write_refusal, c);
	if (m == NULL) {
		response_detail(c, 503, "Retry-After: 2\r\n", sentence);
		return;
	}
	response_stream_head(c);
	emitter_sentence(m, sentence);
	emitter_end(m, &nothing);
	emitter_free(m);
	output_end(connection_output(c));
}

static int on_write(void *arg, const char *bytes, size_t len, bool apart)
{
	const struct chat *chat = arg;

	return write_body(chat->connection, bytes, len, apart);
}

static void on_end(void *arg)
{
	struct chat *chat = arg;

	worker_dismiss(chat->worker, chat->entry);
	output_end(connection_output(chat->connection));
	free(chat);
}

static void on_resume(void *arg)
{
	const struct chat *chat = arg;

	turn_resume(chat->turn);
}

static void on_closed(void *arg)
{
	struct chat *chat = arg;

	worker_dismiss(chat->worker, chat->entry);
	turn_cancel(chat->turn);
	free(chat);
}

/* Takes over what request holds, and its admission. */
static void start(struct worker *w, struct connection *c, struct turn_request *request, unsigned entry)
{
	static const struct turn_output output = {.write = on_write, .end = on_end};
	static const struct connection_owner owner = {.resume = on_resume, .closed = on_closed};
	const struct chat_services *host = worker_chat_services(w);
	struct chat *chat = malloc(sizeof *chat);

	if (host == NULL || chat == NULL)
		goto fail;
	*chat = (struct chat){.connection = c, .worker = w, .entry = entry};
	chat->turn = turn_start(host, request, &output, chat);
	if (chat->turn == NULL)
		goto fail;
	response_stream_head(c);
	connection_own(c, &owner, chat);
	return;
fail:
	worker_dismiss(w, entry);
	free(chat);
	chat_request_clear(&request->chat);
	refuse(w, c, 503, NO_MEMORY);
}

static void admit(struct worker *w, struct connection *c, struct turn_request *request)
{
	const struct chat_services *host = worker_chat_services(w);
	const char *obstacle = host == NULL ? NULL : turn_obstacle(host, &request->chat);
	unsigned entry;

	if (obstacle != NULL) {
		refuse(w, c, 503, obstacle);
		chat_request_clear(&request->chat);
		return;
	}
	switch (worker_admit(w, connection_params(c)->remote_addr, &entry)) {
	case ADMISSION_GRANTED:
		start(w, c, request, entry);
		return;
	case ADMISSION_FULL:
	case ADMISSION_WORKER_FULL:
		refuse(w, c, 429, TOO_MANY);
		break;
	case ADMISSION_CLIENT_FULL:
		refuse(w, c, 429, TOO_MANY_OF_CLIENT);
		break;
	}
	chat_request_clear(&request->chat);
}

/* Whose conversation it is: whom the web server vouches for, "" = nobody. */
static const char *subject_of(struct worker *w, const struct connection *c)
{
	const struct config *config = published_config(worker_published(w));
	const char *header = config == NULL ? NULL : cfg_str(config, CFG_HTTP_SUBJECT_HEADER);
	const char *subject = header != NULL ? connection_header(c, header) : connection_params(c)->remote_user;

	return subject != NULL ? subject : "";
}

static void answer(struct worker *w, struct connection *c)
{
	struct turn_request request = {.subject = subject_of(w, c), .request_id = connection_request_id(c)};
	json_t *detail = NULL;
	size_t len;
	const char *body = connection_body(c, &len);
	int status;

	if (connection_body_too_large(c)) {
		refuse(w, c, 413, TOO_LARGE);
		return;
	}
	status = chat_request_parse(body, len, &request.chat, &detail);
	if (status == 422)
		response_value(c, 422, detail);
	else if (status != 0)
		refuse(w, c, 503, NO_MEMORY);
	else
		admit(w, c, &request);
}

const struct endpoint endpoint_poll_requests = {
	.path = "/poll_requests",
	.methods = "POST",
	.right = ENDPOINT_PUBLIC,
	.help = "One chat turn; the answer is streamed.",
	.answer = answer,
};
