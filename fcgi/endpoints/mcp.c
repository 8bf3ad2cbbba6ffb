/* SPDX-License-Identifier: Apache-2.0 */
/* POST /mcp: our tools, for clients of the Model Context Protocol. */
#include "core/base/text.h"
#include "core/base/utf8.h"
#include "core/mcp/mcp.h"
#include "core/protocol/mcp_offers.h"
#include "core/protocol/mcp_reply.h"
#include "core/protocol/protocol.h"
#include "fcgi/api.h"
#include "fcgi/body.h"
#include "fcgi/chat.h"
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/oauth_protected_resource.h"
#include "fcgi/mcp_call.h"
#include "fcgi/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TTL_MS 60000 /* the tools change with the configuration only */

#define INSTRUCTIONS                                                                                                   \
	"chat asks a language model of this installation; the other tools search, run code, and say which models run."

#define NO_MEMORY "The service is out of memory. Please try again in a moment."

/* A request, which may wait while a long body is read; its parameters are gone then. */
struct mcp_post {
	char *version, *method, *name; /* headers; NULL: not sent */
	bool takes_json, takes_events;
	char *address;
	struct chat_client client;
	enum mcp_verdict verdict;
	struct mcp_message message;
	struct mcp_refusal why;
};

static void post_free(void *arg)
{
	struct mcp_post *post = arg;

	free(post->version);
	free(post->method);
	free(post->name);
	free(post->address);
	mcp_message_clear(&post->message);
	json_decref(post->why.data);
	free(post);
}

/* NULL: no memory. */
static struct mcp_post *post_new(const struct connection *c)
{
	struct mcp_post *post = calloc(1, sizeof *post);

	if (post == NULL)
		return NULL;
	chat_receive_trace(c, &post->client.trace);
	mcp_reply_accepts(connection_header(c, "Accept"), &post->takes_json, &post->takes_events);
	if (text_copy(&post->version, connection_header(c, MCP_HEADER_VERSION)) &&
	    text_copy(&post->method, connection_header(c, MCP_HEADER_METHOD)) &&
	    text_copy(&post->name, connection_header(c, MCP_HEADER_NAME)) &&
	    text_copy(&post->address, connection_params(c)->remote_addr)) {
		post->client.address = post->address;
		return post;
	}
	post_free(post);
	return NULL;
}

/* ---- methods ---------------------------------------------------------------------------------------- */

/* Answers it with reply, now or later. */
typedef void method_fn(struct worker *w, struct connection *c, struct mcp_post *post, struct mcp_reply *reply);

/* Steals result; NULL: no memory. */
static void give(struct connection *c, struct mcp_reply *reply, json_t *result)
{
	mcp_reply_result(reply, result);
	mcp_reply_clear(reply);
	output_end(connection_output(c));
}

/* An error of a method: of the legacy era it is a proper answer. */
static void fail(struct connection *c, struct mcp_reply *reply, int status, int code, const char *text)
{
	mcp_reply_error(reply, reply->modern ? status : 200, "", code, text, NULL);
	mcp_reply_clear(reply);
	output_end(connection_output(c));
}

static void discover(struct worker *w, struct connection *c, struct mcp_post *post, struct mcp_reply *reply)
{
	(void)w, (void)post;
	give(c, reply,
	     json_pack("{s:o, s:{s:{}}, s:s, s:i, s:s}", "supportedVersions", mcp_server_versions(), "capabilities",
	               "tools", "instructions", INSTRUCTIONS, "ttlMs", TTL_MS, "cacheScope", "public"));
}

static void initialize(struct worker *w, struct connection *c, struct mcp_post *post, struct mcp_reply *reply)
{
	const char *wanted = json_string_value(json_object_get(post->message.params, "protocolVersion"));

	(void)w;
	if (wanted == NULL) {
		fail(c, reply, 400, MCP_INVALID_PARAMS, "params.protocolVersion must be a string.");
		return;
	}
	give(c, reply,
	     json_pack("{s:s, s:{s:{}}, s:o, s:s}", "protocolVersion",
	               mcp_is_legacy_version(wanted) ? wanted : MCP_LEGACY_NEWEST, "capabilities", "tools",
	               "serverInfo", mcp_server_info(), "instructions", INSTRUCTIONS));
}

static void ping(struct worker *w, struct connection *c, struct mcp_post *post, struct mcp_reply *reply)
{
	(void)w, (void)post;
	give(c, reply, json_object());
}

static void list(struct worker *w, struct connection *c, struct mcp_post *post, struct mcp_reply *reply)
{
	const struct config *config = published_config(worker_published(w));
	const json_t *cursor = json_object_get(post->message.params, "cursor");
	json_t *tools, *result;

	if (cursor != NULL && !json_is_null(cursor)) {
		fail(c, reply, 400, MCP_INVALID_PARAMS, "There is no such cursor: the list has one page.");
		return;
	}
	tools = mcp_offers_list(config, connection_identity(c));
	result = json_pack("{s:o}", "tools", tools);
	if (reply->modern) {
		json_object_set_new(result, "ttlMs", json_integer(TTL_MS));
		/* A key may have tools of its own. */
		json_object_set_new(result, "cacheScope", json_string("private"));
	}
	give(c, reply, result);
}

static void chat(struct worker *w, struct connection *c, struct mcp_post *post, struct mcp_reply *reply,
                 const json_t *args)
{
	struct chat_request request;
	const char *sentence;

	switch (mcp_offers_chat(args, reply, &request, &sentence)) {
	case 0:
		mcp_reply_clear(reply);
		chat_begin(&protocol_mcp_chat, w, c, &post->client, &request);
		break;
	case 1:
		give(c, reply, mcp_reply_text(sentence, true, NULL));
		break;
	default:
		fail(c, reply, 503, MCP_INTERNAL_ERROR, NO_MEMORY);
	}
}

static void call(struct worker *w, struct connection *c, struct mcp_post *post, struct mcp_reply *reply)
{
	const json_t *name = json_object_get(post->message.params, "name");
	const json_t *args = json_object_get(post->message.params, "arguments");
	const char *text = json_string_value(name);
	const struct mcp_offer *offer = NULL;
	char message[300];
	bool allowed = false;

	if (text == NULL || (args != NULL && !json_is_null(args) && !json_is_object(args))) {
		fail(c, reply, 400, MCP_INVALID_PARAMS,
		     text == NULL ? "params.name must be a string." : "params.arguments must be an object.");
		return;
	}
	if (strlen(text) == json_string_length(name))
		offer = mcp_offers_find(published_config(worker_published(w)), connection_identity(c), text, &allowed);
	if (offer == NULL) {
		snprintf(message, sizeof message, "Unknown tool: %.*s", (int)utf8_cut(text, 100), text);
		fail(c, reply, 400, MCP_INVALID_PARAMS, message);
	} else if (!allowed) {
		snprintf(message, sizeof message, "Your API key may not use the tool %s.", offer->name);
		mcp_reply_error(reply, 403, "", 403, message, NULL);
		mcp_reply_clear(reply);
		output_end(connection_output(c));
	} else if (offer->kind == MCP_OFFER_STATUS) {
		give(c, reply, mcp_call_status(w, c));
	} else if (offer->kind == MCP_OFFER_CHAT) {
		chat(w, c, post, reply, args);
	} else {
		mcp_call_start(w, c, offer, json_is_object(args) ? args : NULL, post->address, reply);
	}
}

static const struct method {
	const char *name;
	bool is_modern, is_legacy;
	method_fn *answer;
} methods[] = {
	{"server/discover", true, false, discover},
	{"initialize", false, true, initialize},
	{"ping", false, true, ping},
	{"tools/list", true, true, list},
	{"tools/call", true, true, call},
};

/* ---- posts --------------------------------------------------------------------------------------- */

static void refuse(struct connection *c, int status, const char *headers, const char *text)
{
	char *body = mcp_server_error(NULL, status == 400 ? MCP_INVALID_REQUEST : status, text, NULL);

	if (body != NULL)
		response_json_with(c, status, headers, body, strlen(body));
	else
		response_detail(c, 500, "", "Out of memory");
	free(body);
}

static void answer_message(struct worker *w, struct connection *c, struct mcp_post *post)
{
	struct mcp_reply reply;
	char message[300];

	if (post->verdict == MCP_NOTICE) {
		response_empty(c, 202);
		return;
	}
	mcp_reply_init(&reply, connection_output(c), &post->message, post->takes_json, post->takes_events);
	if (post->verdict == MCP_REFUSED) {
		mcp_reply_error(&reply, post->why.status, "", post->why.code, post->why.message, post->why.data);
		post->why.data = NULL;
		mcp_reply_clear(&reply);
		output_end(connection_output(c));
		return;
	}
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(methods[i].name, post->message.method) == 0 &&
		    (reply.modern ? methods[i].is_modern : methods[i].is_legacy)) {
			methods[i].answer(w, c, post, &reply);
			return;
		}
	snprintf(message, sizeof message, "There is no method %.*s here.", (int)utf8_cut(post->message.method, 100),
	         post->message.method);
	fail(c, &reply, 404, MCP_METHOD_NOT_FOUND, message);
}

static void parse(void *arg, const char *body, size_t len)
{
	struct mcp_post *post = arg;
	const struct mcp_headers headers = {.version = post->version, .method = post->method, .name = post->name};

	post->verdict = mcp_server_read(body, len, &headers, &post->message, &post->why);
}

static void parsed(void *arg, struct worker *w, struct connection *c)
{
	answer_message(w, c, arg);
}

static void answer(struct worker *w, struct connection *c)
{
	static const struct body_parser parser = {.parse = parse, .parsed = parsed, .free = post_free};
	struct mcp_post *post;
	const char *body;
	size_t len;

	if (connection_body_too_large(c)) {
		refuse(c, 413, "", "The body is longer than this service accepts (http.body_limit)");
		return;
	}
	post = post_new(c);
	if (post == NULL || (body_is_long(c) && connection_orphan(c) != NULL)) {
		refuse(c, 503, "Retry-After: 2\r\n", NO_MEMORY);
	} else if (!post->takes_json && !post->takes_events) {
		refuse(c, 406, "", "The client must accept application/json and text/event-stream");
	} else if (body_is_long(c)) {
		if (body_parse(w, c, &parser, post) == 0)
			return;
		refuse(c, 503, "Retry-After: 2\r\n", NO_MEMORY);
	} else {
		body = connection_body(c, &len);
		parse(post, body, len);
		answer_message(w, c, post);
	}
	if (post != NULL)
		post_free(post);
}

static const struct api_form form = {
	.setting = CFG_HTTP_MCP,
	.off = "The MCP server is switched off (setting http.mcp)",
	.refuse = refuse,
	.challenge = oauth_protected_resource_challenge,
};

const struct endpoint endpoint_mcp = {
	.path = "/mcp",
	.methods = "POST, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.is_api = true,
	.form = &form,
	.help = "The tools of this service and its language models, for clients of the Model Context Protocol.",
	.answer = answer,
};
