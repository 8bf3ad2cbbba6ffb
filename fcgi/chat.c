/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/chat.h"

#include "core/base/clock.h"
#include "core/turn/turn.h"
#include "fcgi/api.h"
#include "fcgi/body.h"
#include "fcgi/notes.h"
#include "fcgi/relay.h"
#include "fcgi/request_log.h"
#include "fcgi/response.h"

#include <stdlib.h>
#include <string.h>

#define TOO_LARGE          "This message is too long for the agent. Please shorten it."
#define TOO_MANY           "The agent is answering as many chats as it can at the moment. Please try again in a few seconds."
#define TOO_MANY_OF_CLIENT "Too many chats are running from your address. Please wait until one of them has ended."
#define REVOKED            "The answer broke off here because its API key was revoked."
#define NO_MEMORY          "The agent does not have enough memory to answer at the moment. Please try again in a few seconds."

#define STOPPING "The service is being stopped or restarted. Please ask again in a moment."

#define BYTES_PER_TOKEN 4
#define TOKENS_OF_IMAGE 1000

/* The request of a turn that waits until it is decided whether it may run. */
struct held {
	struct turn_request request;
	struct trace_context trace;
	char *client, *user_agent;
};

/* A turn and the connection that its answer goes to. */
struct chat {
	struct worker *worker;
	struct connection *connection;
	struct turn *turn;
	unsigned entry; /* its admission */
	struct access_turn *access;
	struct held *held; /* NULL: it does not wait */
	int64_t prompt;    /* its tokens, roughly, where an LLM does not say */
	int64_t tokens;    /* that the attempts took */
};

/* The answer of a worker that died cannot go on. */
static void end_orphan(struct worker *w, struct connection *c)
{
	const struct event_record r = event_record_of(EVENT_BROKE_OFF, NULL, NULL, NULL, "a worker died");

	notes_add(worker_notes(w), &r);
	connection_end_orphan(c);
}

/* The sentence as the whole answer: TT-Studio's reader fails on any status but 200, so a user
 * would not see why. chat: the request; NULL: it was not understood. */
static void refuse(const struct protocol *p, struct worker *w, struct connection *c, const struct chat_request *chat,
                   enum failure why, const char *sentence)
{
	const struct usage nothing = {.ttft_ns = -1, .tpot_ns = -1};
	int status = why == FAILURE_TOO_LARGE ? 413 : why == FAILURE_BUSY ? 429 : 503;
	const struct config *config = published_config(worker_published(w));
	struct reply *r = NULL;

	if (connection_orphan(c) != NULL) {
		end_orphan(w, c);
		return;
	}
	request_log_refused(connection_log(c), sentence);
	counters_add(worker_counters(w), COUNTER_TURNS_REFUSED, 1);
	if (config == NULL || !cfg_bool(config, CFG_HTTP_STRICT_STATUS) || p->content_type == NULL)
		r = p->open(p, connection_output(c), chat);
	if (r == NULL) {
		response_detail(c, status, status == 413 || *connection_headers(c) != '\0' ? "" : "Retry-After: 2\r\n",
		                sentence);
		return;
	}
	if (p->content_type != NULL)
		response_stream_head(c, p->content_type);
	p->fail(r, why, sentence);
	p->end(r, &nothing);
	p->free(r);
	output_end(connection_output(c));
}

static void on_ended(void *arg)
{
	struct chat *chat = arg;

	worker_dismiss(chat->worker, chat->entry);
	access_turn_end(chat->access, chat->tokens);
	output_end(connection_output(chat->connection));
	free(chat);
}

static void on_summary(void *arg, const struct turn_summary *s)
{
	request_log_turn(connection_log(((struct chat *)arg)->connection), s);
}

/* What failed before the LLM did anything is not charged. */
static void on_attempted(void *arg, const struct turn_attempt *a)
{
	struct chat *chat = arg;
	const struct access_identity *i = connection_identity(chat->connection);
	const struct usage_row row = {.at_ms = clock_wall_ms(),
	                              .took_ms = a->took_ms,
	                              .key_id = i->key_id,
	                              .subject = i->subject,
	                              .model = a->model,
	                              .outcome = a->outcome,
	                              .prompt_tokens = a->prompt_tokens,
	                              .completion_tokens = a->completion_tokens};

	usage_log_add(worker_usage(chat->worker), &row);
	if (a->prompt_tokens >= 0)
		chat->tokens += a->prompt_tokens;
	else if (a->completion_tokens > 0)
		chat->tokens += chat->prompt;
	chat->tokens += a->completion_tokens;
}

static void on_resume(void *arg)
{
	turn_resume(((struct chat *)arg)->turn);
}

static void on_client_left(void *arg)
{
	struct chat *chat = arg;

	worker_dismiss(chat->worker, chat->entry);
	turn_cancel(chat->turn);
	access_turn_end(chat->access, chat->tokens);
	free(chat);
}

static void on_stop(void *arg)
{
	turn_stop(((struct chat *)arg)->turn, NULL);
}

static void on_revoked(void *arg)
{
	turn_stop(((struct chat *)arg)->turn, REVOKED);
}

/* What a content is in tokens, roughly. */
static int64_t tokens_of(const json_t *content)
{
	int64_t tokens = (int64_t)json_string_length(content) / BYTES_PER_TOKEN;

	for (size_t i = 0; i < json_array_size(content); i++) {
		const json_t *text = json_object_get(json_array_get(content, i), "text");

		tokens += text != NULL ? (int64_t)json_string_length(text) / BYTES_PER_TOKEN : TOKENS_OF_IMAGE;
	}
	return tokens;
}

/* How long the answer is at most. */
static int64_t longest_answer(const struct config *config, const struct chat_request *r)
{
	static const char *const limits[] = {"max_completion_tokens", "max_tokens"};

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
		if (json_integer_value(json_object_get(r->fields, limits[i])) > 0)
			return json_integer_value(json_object_get(r->fields, limits[i]));
	return config != NULL ? cfg_int(config, CFG_LLM_MAX_TOKENS) : 0;
}

static void refuse_access(struct worker *w, struct connection *c, const struct turn_request *request,
                          const struct access_refusal *r)
{
	const struct protocol *p = request->protocol;
	char headers[ACCESS_HEADERS_MAX];

	access_refusal_headers(r, headers);
	if (p->content_type != NULL) {
		connection_add_headers(c, headers);
		refuse(p, w, c, &request->chat, r->status == 429 ? FAILURE_BUSY : FAILURE_UNAVAILABLE, r->message);
		return;
	}
	counters_add(worker_counters(w), COUNTER_TURNS_REFUSED, 1);
	if (connection_orphan(c) != NULL || p->refuse == NULL) {
		api_refuse_access(c, r);
		return;
	}
	p->refuse(connection_output(c), &request->chat, r->status, headers, r->message);
	output_end(connection_output(c));
}

static void on_decided(void *arg, const struct access_refusal *r);

static void add_limit_headers(const struct chat *chat)
{
	char headers[ACCESS_HEADERS_MAX];

	access_turn_headers(chat->access, headers);
	if (*headers != '\0')
		connection_add_headers(chat->connection, headers);
}

/* Asks, with an estimate of what the turn will take at most, whether its client may take a turn now; false: it was
 * refused. */
static bool enter(struct chat *chat, const struct turn_request *request)
{
	const struct config *config = published_config(worker_published(chat->worker));
	struct connection *c = chat->connection;
	const int64_t answer = longest_answer(config, &request->chat);
	const struct access_turn_request wanted = {.identity = connection_identity(c),
	                                           .tokens = chat->prompt + answer,
	                                           .resumed = connection_orphan(c) != NULL,
	                                           .revoked = on_revoked,
	                                           .decided = on_decided,
	                                           .arg = chat};
	struct access_refusal refusal;

	chat->access = access_turn_begin(worker_access(chat->worker), &wanted, &refusal);
	if (chat->access == NULL)
		refuse_access(chat->worker, c, request, &refusal);
	return chat->access != NULL;
}

/* The turn does not begin. */
static void drop(struct chat *chat, struct turn_request *request)
{
	worker_dismiss(chat->worker, chat->entry);
	access_turn_end(chat->access, 0);
	chat_request_clear(&request->chat);
	free(chat);
}

static void begin(struct chat *chat, struct turn_request *request)
{
	static const struct connection_owner owner = {.resume = on_resume, .closed = on_client_left, .stop = on_stop};
	const struct chat_services *services = worker_chat_services(chat->worker);
	struct connection *c = chat->connection;

	if (services == NULL || (chat->turn = turn_new(services, request)) == NULL) {
		refuse(request->protocol, chat->worker, c, &request->chat, FAILURE_UNAVAILABLE, NO_MEMORY);
		drop(chat, request);
		return;
	}
	if (request->protocol->content_type != NULL)
		response_stream_head(c, request->protocol->content_type);
	connection_own(c, &owner, chat);
	turn_run(chat->turn);
}

/* ---- while hosts that count together decide ---- */

static void held_free(struct held *h)
{
	free(h->client);
	free(h->user_agent);
	free(h);
}

/* Moves what request holds, and copies what it borrows. -1: no memory. */
static int hold(struct chat *chat, struct turn_request *request)
{
	const char *user_agent = request->chat.user_agent;
	struct held *h = calloc(1, sizeof *h);

	if (h == NULL)
		return -1;
	h->client = request->client != NULL ? strdup(request->client) : NULL;
	h->user_agent = user_agent != NULL ? strdup(user_agent) : NULL;
	if ((request->client != NULL && h->client == NULL) || (user_agent != NULL && h->user_agent == NULL)) {
		held_free(h);
		return -1;
	}
	if (request->trace != NULL)
		h->trace = *request->trace;
	h->request = *request;
	h->request.client = h->client;
	h->request.chat.user_agent = h->user_agent;
	h->request.trace = request->trace != NULL ? &h->trace : NULL;
	h->request.subject = connection_identity(chat->connection)->subject;
	memset(&request->chat, 0, sizeof request->chat);
	chat->held = h;
	return 0;
}

static void on_decided(void *arg, const struct access_refusal *r)
{
	struct chat *chat = arg;
	struct held *h = chat->held;

	counters_begin_work(worker_counters(chat->worker));
	chat->held = NULL;
	connection_own(chat->connection, NULL, NULL);
	if (r == NULL) {
		add_limit_headers(chat);
		begin(chat, &h->request);
	} else {
		chat->access = NULL;
		refuse_access(chat->worker, chat->connection, &h->request, r);
		drop(chat, &h->request);
	}
	held_free(h);
}

static void on_held_closed(void *arg)
{
	struct chat *chat = arg;
	struct held *h = chat->held;

	drop(chat, &h->request);
	held_free(h);
}

static void on_held_stop(void *arg)
{
	struct chat *chat = arg;
	const struct turn_request *request = &chat->held->request;

	connection_own(chat->connection, NULL, NULL);
	refuse(request->protocol, chat->worker, chat->connection, &request->chat, FAILURE_UNAVAILABLE, STOPPING);
	on_held_closed(chat);
}

uint64_t chat_client_key(const struct connection *c, const char *address)
{
	uint64_t key = access_client_number(connection_identity(c));

	return key != 0 ? key : admission_client(address);
}

/* Takes over what request holds, and its admission. */
static void start(struct worker *w, struct connection *c, struct turn_request *request, unsigned entry)
{
	static const struct connection_owner held = {.closed = on_held_closed, .stop = on_held_stop};
	struct chat *chat = calloc(1, sizeof *chat);

	if (chat == NULL) {
		worker_dismiss(w, entry);
		refuse(request->protocol, w, c, &request->chat, FAILURE_UNAVAILABLE, NO_MEMORY);
		chat_request_clear(&request->chat);
		return;
	}
	*chat = (struct chat){.worker = w, .connection = c, .entry = entry};
	request->arg = chat;
	request->attempted = on_attempted;
	request->identity = connection_identity(c);
	request->key = chat_client_key(c, request->client);
	request->chat.user_agent = connection_params(c)->user_agent;
	chat->prompt = tokens_of(request->chat.content);
	for (size_t i = 0; i < json_array_size(request->chat.messages); i++)
		chat->prompt += tokens_of(json_object_get(json_array_get(request->chat.messages, i), "content"));
	request->summary = connection_log(c) != NULL ? on_summary : NULL;
	if (!enter(chat, request)) {
		drop(chat, request);
		return;
	}
	connection_keep(c, request->protocol);
	if (!access_turn_is_pending(chat->access)) {
		add_limit_headers(chat);
		begin(chat, request);
	} else if (hold(chat, request) == 0) {
		connection_own(c, &held, chat);
	} else {
		refuse(request->protocol, w, c, &request->chat, FAILURE_UNAVAILABLE, NO_MEMORY);
		drop(chat, request);
	}
}

/* The name of the model says who answers: the model, or the agent with it. -1: no memory. */
static int resolve_model(struct worker *w, struct chat_request *r)
{
	const struct config *config = published_config(worker_published(w));
	const char *suffix = config != NULL ? cfg_str(config, CFG_HTTP_AGENT_SUFFIX) : "";
	size_t len, end = strlen(suffix);

	if (r->model_asked == NULL)
		return 0;
	len = strlen(r->model_asked);
	r->plain = !(end > 0 && len > end && strcmp(r->model_asked + len - end, suffix) == 0);
	r->model = strndup(r->model_asked, r->plain ? len : len - end);
	if (r->plain)
		r->has_images = false; /* its server knows what it can see */
	return r->model != NULL ? 0 : -1;
}

/* Whether its answer is stored, where its client has not said so. -1: no memory. */
static int choose_store(struct worker *w, struct chat_request *r)
{
	const struct config *config = published_config(worker_published(w));

	if (!r->may_forget || config == NULL || cfg_bool(config, CFG_THREADS_STORE_RESPONSES))
		return 0;
	r->forgets = true;
	return json_object_set_new(r->echo, "store", json_false());
}

/* What no turn can answer; the agent is one. */
static void relay(struct worker *w, struct connection *c, struct turn_request *request)
{
	struct chat_request *chat = &request->chat;
	static const struct trace_context none;

	if (!chat->plain) {
		response_borrowed(c, 400, chat->beyond);
	} else {
		relay_chat(w, c, chat->verbatim, chat->verbatim_len, request->client,
		           request->trace != NULL ? request->trace : &none);
		chat->verbatim = NULL;
	}
	chat_request_clear(chat);
}

static void admit(struct worker *w, struct connection *c, struct turn_request *request, const char *thread)
{
	const struct chat_services *services = worker_chat_services(w);
	char obstacle[CHAT_OBSTACLE_MAX];
	struct access_refusal refusal;
	enum failure why;
	unsigned entry;

	if (resolve_model(w, &request->chat) < 0 || choose_store(w, &request->chat) < 0 ||
	    (thread != NULL && !request->chat.plain && request->chat.stored == NULL &&
	     chat_request_name_thread(&request->chat, thread) < 0)) {
		refuse(request->protocol, w, c, &request->chat, FAILURE_UNAVAILABLE, NO_MEMORY);
		chat_request_clear(&request->chat);
		return;
	}
	if (request->chat.model != NULL && !access_may_use_model(connection_identity(c), request->chat.model)) {
		access_refuse_model(&refusal);
		refuse_access(w, c, request, &refusal);
		chat_request_clear(&request->chat);
		return;
	}
	if (request->chat.verbatim != NULL) {
		relay(w, c, request);
		return;
	}
	if (services != NULL && chat_services_obstacle(services, &request->chat, &why, obstacle)) {
		refuse(request->protocol, w, c, &request->chat, why, obstacle);
		chat_request_clear(&request->chat);
		return;
	}
	switch (worker_admit(w, request->client, connection_orphan(c) != NULL, &entry)) {
	case ADMISSION_GRANTED:
		start(w, c, request, entry);
		return;
	case ADMISSION_FULL:
	case ADMISSION_WORKER_FULL:
		refuse(request->protocol, w, c, &request->chat, FAILURE_BUSY, TOO_MANY);
		break;
	case ADMISSION_CLIENT_FULL:
		refuse(request->protocol, w, c, &request->chat, FAILURE_BUSY, TOO_MANY_OF_CLIENT);
		break;
	}
	chat_request_clear(&request->chat);
}

static bool can_resume(struct worker *w, const struct connection_orphan *o)
{
	const struct config *config = published_config(worker_published(w));

	return config != NULL && (o->known.text_len == 0 || cfg_bool(config, CFG_LLM_CONTINUE));
}

/* status: what the protocol returned; thread: of thread_header. */
static void answer(struct worker *w, struct connection *c, struct turn_request *request, int status, json_t *problem,
                   const char *thread)
{
	if (status > 0)
		response_value(c, status, problem);
	else if (status < 0)
		refuse(request->protocol, w, c, NULL, FAILURE_UNAVAILABLE, NO_MEMORY);
	else
		admit(w, c, request, thread);
}

/* What the client calls the conversation, in a header that the administrator lists; NULL: nothing. */
static const char *thread_header(struct worker *w, const struct connection *c)
{
	const struct config *config = published_config(worker_published(w));
	const struct cfg_list *names = config != NULL ? cfg_list(config, CFG_HTTP_THREAD_HEADERS) : NULL;
	const char *value = NULL;

	for (size_t i = 0; names != NULL && i < names->count && value == NULL; i++)
		value = connection_header(c, names->items[i]);
	return value;
}

/* Several lines of tracestate are one list; several of traceparent are nothing that can be relied on. */
void chat_receive_trace(const struct connection *c, struct trace_context *out)
{
	const char *parent = connection_params(c)->traceparent, *line = NULL;
	struct buf state = BUF_INIT(8192);
	bool failed = false;

	*out = (struct trace_context){.valid = false};
	if (parent == NULL || connection_next_header(c, "traceparent", connection_header(c, "traceparent")) != NULL)
		return;
	while ((line = connection_next_header(c, "tracestate", line)) != NULL)
		failed |= buf_addf(&state, "%s%s", state.len > 0 ? "," : "", line) < 0;
	trace_context_parse(parent, state.len > 0 && !failed ? state.data : NULL, out);
	buf_free(&state);
}

static struct turn_request request_on(const struct protocol *p, struct connection *c, const char *subject,
                                      const char *client, const struct trace_context *trace)
{
	return (struct turn_request){.subject = subject,
	                             .request_id = connection_request_id(c),
	                             .client = client,
	                             .trace = trace->valid ? trace : NULL,
	                             .protocol = p,
	                             .output = connection_output(c),
	                             .ended = on_ended};
}

/* ---- with a long body ---- */

struct long_request {
	const struct protocol *protocol;
	char *subject, *address, *thread;
	struct trace_context trace;
	int status;
	struct chat_request chat;
	json_t *problem;
};

static void long_parse(void *arg, const char *body, size_t len)
{
	struct long_request *l = arg;

	l->status = l->protocol->parse(body, len, &l->chat, &l->problem);
}

static void long_parsed(void *arg, struct worker *w, struct connection *c)
{
	struct long_request *l = arg;
	struct turn_request request = request_on(l->protocol, c, l->subject, l->address, &l->trace);

	request.chat = l->chat;
	memset(&l->chat, 0, sizeof l->chat);
	answer(w, c, &request, l->status, l->problem, l->thread);
	l->problem = NULL;
}

static void long_free(void *arg)
{
	struct long_request *l = arg;

	chat_request_clear(&l->chat);
	json_decref(l->problem);
	free(l->subject);
	free(l->address);
	free(l->thread);
	free(l);
}

static void dispatch_long(const struct protocol *p, struct worker *w, struct connection *c)
{
	static const struct body_parser parser = {.parse = long_parse, .parsed = long_parsed, .free = long_free};
	const char *address = connection_params(c)->remote_addr, *thread = thread_header(w, c);
	struct long_request *l = calloc(1, sizeof *l);

	if (l != NULL) {
		l->protocol = p;
		chat_receive_trace(c, &l->trace);
		l->subject = strdup(connection_identity(c)->subject);
		l->address = address != NULL ? strdup(address) : NULL;
		l->thread = thread != NULL ? strdup(thread) : NULL;
		if (l->subject != NULL && (address == NULL || l->address != NULL) &&
		    (thread == NULL || l->thread != NULL) && body_parse(w, c, &parser, l) == 0)
			return;
		long_free(l);
	}
	refuse(p, w, c, NULL, FAILURE_UNAVAILABLE, NO_MEMORY);
}

/* ---- all ---- */

/* An answer that another worker began goes on with resumed, which is filled. False: it cannot, and was ended. */
static bool take_orphan(struct worker *w, struct connection *c, struct turn_request *request,
                        struct resumed_answer *resumed)
{
	const struct connection_orphan *orphan = connection_orphan(c);

	if (orphan == NULL)
		return true;
	if (!can_resume(w, orphan)) {
		end_orphan(w, c);
		return false;
	}
	*resumed = (struct resumed_answer){.reply = {.state = orphan->known.state,
	                                             .memo = orphan->known.memo,
	                                             .text = orphan->text,
	                                             .len = orphan->known.text_len},
	                                   .tokens = request->protocol->collects ? 0 : orphan->known.writes,
	                                   .began_ns = orphan->known.began_ns,
	                                   .first_ns = orphan->known.first_ns,
	                                   .last_ns = orphan->known.last_ns};
	request->resumed = resumed;
	return true;
}

void chat_dispatch(const struct protocol *p, struct worker *w, struct connection *c)
{
	struct trace_context trace;
	struct turn_request request;
	struct resumed_answer resumed;
	json_t *problem = NULL;
	size_t len;
	const char *body = connection_body(c, &len);
	int status;

	chat_receive_trace(c, &trace);
	request = request_on(p, c, connection_identity(c)->subject, connection_params(c)->remote_addr, &trace);
	if (!take_orphan(w, c, &request, &resumed))
		return;
	if (connection_body_too_large(c)) {
		refuse(p, w, c, NULL, FAILURE_TOO_LARGE, TOO_LARGE);
	} else if (body_is_long(c)) {
		dispatch_long(p, w, c);
	} else {
		status = p->parse(body, len, &request.chat, &problem);
		answer(w, c, &request, status, problem, thread_header(w, c));
	}
}

void chat_begin(const struct protocol *p, struct worker *w, struct connection *c, const struct chat_client *client,
                struct chat_request *chat)
{
	struct turn_request request =
		request_on(p, c, connection_identity(c)->subject, client->address, &client->trace);
	struct resumed_answer resumed;

	if (!take_orphan(w, c, &request, &resumed)) {
		chat_request_clear(chat);
		return;
	}
	request.chat = *chat;
	memset(chat, 0, sizeof *chat);
	admit(w, c, &request, NULL);
}
