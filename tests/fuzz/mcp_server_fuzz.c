/* SPDX-License-Identifier: Apache-2.0 */
/* Any POST to an MCP server, in any bytes, is a request, a notification, or refused with an answer that is JSON and
 * has its id. The input is four headers, each ended by a newline, and the body. */
#include "core/base/buf.h"
#include "core/protocol/json_body.h"
#include "core/protocol/mcp_offers.h"
#include "core/protocol/mcp_reply.h"
#include "core/protocol/mcp_server.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

struct output {
	struct buf bytes;
	int status;
};

void output_head(struct output *o, int status, const char *content_type, const char *headers)
{
	(void)content_type, (void)headers;
	fuzz_require(o->status == 0 && status != 0);
	o->status = status;
}

void output_write(struct output *o, const char *bytes, size_t len)
{
	fuzz_require(o->status != 0 && buf_add(&o->bytes, bytes, len) == 0);
}

void output_write_frame(struct output *o, const char *bytes, size_t len, const char *text, size_t text_len)
{
	(void)text, (void)text_len;
	output_write(o, bytes, len);
}

void output_flush_boundary(struct output *o)
{
	(void)o;
}

void output_set_state(struct output *o, unsigned char state, bool is_text)
{
	(void)o, (void)state, (void)is_text;
}

void output_remember(struct output *o, const char *memo)
{
	(void)o, (void)memo;
}

bool output_is_full(const struct output *o)
{
	(void)o;
	return false;
}

/* A message that answers: with the id of the request, if it has one that may be returned. */
static void check_answer(const char *text, size_t len, const json_t *body)
{
	const json_t *id = json_object_get(body, "id");
	struct json_body_error e;
	json_t *answer = json_body_parse(text, len, &json_body_long, &e);

	fuzz_require(json_is_object(answer));
	fuzz_require((json_object_get(answer, "result") != NULL) != (json_object_get(answer, "error") != NULL));
	if (json_is_string(id) || json_is_number(id))
		fuzz_require(json_equal(json_object_get(answer, "id"), id));
	else
		fuzz_require(json_object_get(answer, "id") == NULL);
	json_decref(answer);
}

static void check_reply(struct mcp_message *m, const char *accept, const struct mcp_refusal *why)
{
	struct output o = {.bytes = BUF_INIT(64u << 20)};
	struct mcp_reply r, again = {.output = NULL};
	struct chat_request chat;
	const char *sentence, *data;
	bool json, events;
	json_t *saved;

	mcp_reply_accepts(accept, &json, &events);
	mcp_reply_init(&r, &o, m, json, events);
	if (why == NULL) {
		if (mcp_offers_chat(json_object_get(m->params, "arguments"), &r, &chat, &sentence) == 0)
			chat_request_clear(&chat);
		else
			fuzz_require(sentence != NULL);
		saved = mcp_reply_save(&r);
		fuzz_require(saved != NULL && mcp_reply_restore(&again, &o, saved) == 0);
		json_decref(saved);
		mcp_reply_clear(&r);
		r = again;
		mcp_reply_progress(&r, "a");
		mcp_reply_result(&r, mcp_reply_text(m->method, false, NULL));
	} else {
		mcp_reply_error(&r, why->status, "", why->code, why->message, json_incref(why->data));
	}
	data = o.bytes.data;
	for (const char *next = data; (next = strstr(next, "\ndata: ")) != NULL && r.begun;)
		data = next += strlen("\ndata: ");
	check_answer(data, strlen(data), m->body);
	buf_free(&o.bytes);
	mcp_reply_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *headers[4] = {NULL}, *body;
	const uint8_t *end;
	struct mcp_headers h;
	struct mcp_message m;
	struct mcp_refusal why;

	for (size_t i = 0; i < 4 && (end = memchr(data, '\n', len)) != NULL; i++) {
		if (end > data)
			headers[i] = fuzz_text(data, (size_t)(end - data));
		len -= (size_t)(end - data) + 1;
		data = end + 1;
	}
	h = (struct mcp_headers){.version = headers[0], .method = headers[1], .name = headers[2]};
	/* Of two ids, which JSON-RPC does not know, either may be returned. */
	if ((end = memmem(data, len, "\"id\"", 4)) != NULL &&
	    memmem(end + 4, len - (size_t)(end + 4 - data), "\"id\"", 4) != NULL)
		len = 0;
	body = fuzz_copy(data, len);
	switch (mcp_server_read(body, len, &h, &m, &why)) {
	case MCP_REQUEST:
		fuzz_require(m.id != NULL && m.method != NULL && (m.params == NULL || json_is_object(m.params)));
		check_reply(&m, headers[3], NULL);
		break;
	case MCP_NOTICE:
		break;
	case MCP_REFUSED:
		fuzz_require(why.status >= 400 && why.code != 0 && why.message[0] != '\0' &&
		             fuzz_is_text(why.message, strlen(why.message)));
		check_reply(&m, headers[3], &why);
		break;
	}
	json_decref(why.data);
	mcp_message_clear(&m);
	for (size_t i = 0; i < 4; i++)
		free(headers[i]);
	free(body);
	return 0;
}
