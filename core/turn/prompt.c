/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/prompt.h"

#include "core/base/buf.h"
#include "core/base/json_dump.h"
#include "core/base/utf8.h"
#include "core/protocol/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (64u << 20)
/* The last message is not a new one but the beginning of the answer. */
#define CONTINUE_FINAL "\"continue_final_message\":true,\"add_generation_prompt\":false,"
#define BODY_MAX       (256u << 20)

/* ---- texts ---------------------------------------------------------------------- */

static bool has_image(const json_t *content)
{
	const json_t *part;
	size_t i;

	json_array_foreach(content, i, part)
	{
		const char *type = json_string_value(json_object_get(part, "type"));

		if (type != NULL && strstr(type, "image") != NULL)
			return true;
	}
	return false;
}

/* The text of a content of any shape, an image as a word. free(). */
static char *content_text(const json_t *content)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	char *text = chat_content_text(content);

	if (text == NULL)
		return NULL;
	if (!has_image(content))
		return text;
	if (buf_addf(&b, "%s%s[image]", text, *text == '\0' ? "" : "\n") < 0)
		buf_free(&b);
	free(text);
	return b.data;
}

json_t *prompt_content_for_history(const json_t *content)
{
	char *text;
	json_t *stored;

	if (!has_image(content) && !json_is_array(content))
		return json_deep_copy(content);
	text = content_text(content);
	stored = text == NULL ? NULL : json_string(text);
	free(text);
	return stored;
}

/* ---- messages ------------------------------------------------------------------- */

static json_t *parts_of(const json_t *content)
{
	if (json_is_array(content))
		return json_copy((json_t *)(uintptr_t)content); /* it is the turn's */
	return json_pack("[{s:s, s:O}]", "type", "text", "text", content);
}

/* Content, followed by more of it; a new reference. */
static json_t *joined(const json_t *content, const json_t *more)
{
	json_t *parts, *rest;
	int failed;

	if (!json_is_array(content) && !json_is_array(more))
		return json_sprintf("%s\n\n%s", json_string_value(content), json_string_value(more));
	parts = parts_of(content);
	rest = parts_of(more);
	failed = parts == NULL || rest == NULL || json_array_extend(parts, rest) < 0;
	json_decref(rest);
	if (!failed)
		return parts;
	json_decref(parts);
	return NULL;
}

static bool is_content(const json_t *content)
{
	return json_is_string(content) || json_is_array(content);
}

/* Chat templates refuse two messages of one role in a row: the second joins a copy of the first. Steals it. */
static int add_joined(json_t *to, json_t *message)
{
	json_t *last = json_array_get(to, json_array_size(to) - 1);
	const char *role = json_string_value(json_object_get(message, "role"));
	const char *last_role = json_string_value(json_object_get(last, "role"));
	const json_t *content = json_object_get(last, "content"), *more = json_object_get(message, "content");
	json_t *both;

	if (role == NULL || last_role == NULL || strcmp(last_role, role) != 0 || !is_content(content) ||
	    !is_content(more))
		return json_array_append_new(to, message);
	both = json_copy(last); /* others may have the first one */
	if (both != NULL && json_object_set_new(both, "content", joined(content, more)) < 0) {
		json_decref(both);
		both = NULL;
	}
	json_decref(message);
	return json_array_set_new(to, json_array_size(to) - 1, both);
}

/* For an LLM without tools: what they found is passed on as text. */
static int add_without_tools(json_t *to, const char *role, const json_t *content)
{
	const bool is_result = strcmp(role, "tool") == 0;
	char *text = content_text(content);
	json_t *sent;
	int result = 0;

	if (text == NULL)
		return -1;
	if (is_result || *text != '\0') {
		sent = is_result ? json_sprintf("Result of a tool that was run for this question:\n%s", text)
		                 : json_string(text);
		result = add_joined(to, prompt_text_message(is_result ? "user" : role, sent));
		json_decref(sent);
	}
	free(text);
	return result;
}

static bool has_key(void *member, const char *key, size_t len)
{
	return json_object_iter_key_len(member) == len && memcmp(json_object_iter_key(member), key, len) == 0;
}

const json_t *prompt_plain_content(const json_t *message)
{
	json_t *m = (json_t *)(uintptr_t)message; /* which iterators do not change */
	void *role, *content;
	const json_t *text;

	if (json_object_size(m) != 2)
		return NULL;
	role = json_object_iter(m);
	content = json_object_iter_next(m, role);
	if (!has_key(role, "role", 4) || !has_key(content, "content", 7))
		return NULL;
	text = json_object_iter_value(content);
	return json_is_string(text) && json_is_string(json_object_iter_value(role)) ? text : NULL;
}

/* join: where the last one has the same role, both become one. */
static int add_message(const struct prompt *p, json_t *to, json_t *message, bool join)
{
	static const char *const known[] = {"role", "content", "tool_calls", "tool_call_id", "name"};
	const char *role;
	json_t *content, *out;

	if (!join && p->uses_tools && !prompt_lacks(p, QUIRK_ROLES) && prompt_plain_content(message) != NULL)
		return json_array_append(to, message);
	role = json_string_value(json_object_get(message, "role"));
	content = json_object_get(message, "content");
	if (role == NULL)
		return 0;
	if (!p->uses_tools || prompt_lacks(p, QUIRK_ROLES))
		if (!(p->vision && has_image(content)))
			return add_without_tools(to, role, content);
	out = json_object();
	for (size_t i = 0; out != NULL && i < sizeof known / sizeof known[0]; i++) {
		json_t *value = json_object_get(message, known[i]);

		if (value != NULL && json_object_set(out, known[i], value) < 0) {
			json_decref(out);
			return -1;
		}
	}
	if (json_is_array(content) && !(p->vision && has_image(content))) {
		char *text = content_text(content);

		json_object_set_new(out, "content", text == NULL ? NULL : json_string(text));
		free(text);
	}
	return join ? add_joined(to, out) : json_array_append_new(to, out);
}

size_t prompt_result_len(const json_t *message)
{
	const char *role = json_string_value(json_object_get(message, "role"));

	return role != NULL && strcmp(role, "tool") == 0 ? json_string_length(json_object_get(message, "content")) : 0;
}

json_t *prompt_message(const struct prompt *p, json_t *message)
{
	size_t len = prompt_result_len(message), head, tail = p->result_max / 4;
	const char *text;
	json_t *cut;

	if (p->result_max == 0 || len <= p->result_max)
		return json_incref(message);
	text = json_string_value(json_object_get(message, "content"));
	head = utf8_cut(text, p->result_max - tail);
	while (tail > 0 && ((unsigned char)text[len - tail] & 0xc0) == 0x80)
		tail--;
	cut = json_copy(message);
	if (cut == NULL ||
	    json_object_set_new(
		    cut, "content",
		    json_sprintf("%.*s\n[... %zu bytes of this result are left out here, because it does not fit "
	                         "the context window ...]\n%s",
	                         (int)head, text, len - head - tail, text + len - tail)) == 0)
		return cut;
	json_decref(cut);
	return NULL;
}

/* The client's own words for the model, which follow ours in one message: chat templates take one. */
static bool is_system(const json_t *message)
{
	const char *role = json_string_value(json_object_get(message, "role"));

	return role != NULL && (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0);
}

/* A message of the client, as it came wherever the LLM can be asked so. */
static int add_given(const struct prompt *p, json_t *to, json_t *message, bool join)
{
	const json_t *content = json_object_get(message, "content");
	bool as_it_came = p->uses_tools && !join && !prompt_lacks(p, QUIRK_ROLES) &&
	                  (!json_is_array(content) || (p->vision && has_image(content)));
	json_t *system;
	int result;

	if (!p->plain && json_array_size(to) == 1 && is_system(message) && is_system(json_array_get(to, 0))) {
		system = json_pack("{s:s, s:O*}", "role", "system", "content", json_object_get(message, "content"));
		return add_joined(to, system);
	}
	if (p->plain || as_it_came)
		return json_array_append(to, message);
	if (!is_system(message))
		return add_message(p, to, message, join);
	system = json_pack("{s:s, s:O*}", "role", prompt_lacks(p, QUIRK_SYSTEM_ROLE) ? "user" : "system", "content",
	                   json_object_get(message, "content"));
	result = add_message(p, to, system, join);
	json_decref(system);
	return result;
}

/* What another LLM began: if the client began it as well, both are one message. */
static int add_begun(const struct prompt *p, json_t *all, bool join)
{
	json_t *last = json_array_get(all, json_array_size(all) - 1);
	const char *role = json_string_value(json_object_get(last, "role"));
	const json_t *content = json_object_get(last, "content");
	json_t *begun;

	if (p->given > 0 && role != NULL && strcmp(role, "assistant") == 0 && json_is_string(content)) {
		begun = json_copy(last);
		json_object_set_new(begun, "content",
		                    json_sprintf("%s%.*s", json_string_value(content), (int)p->begun_len, p->begun));
		return json_array_set_new(all, json_array_size(all) - 1, begun);
	}
	begun = json_pack("{s:s, s:s%}", "role", "assistant", "content", p->begun, p->begun_len);
	return join ? add_joined(all, begun) : json_array_append_new(all, begun);
}

/* head: of prompt_head, or NULL. */
static json_t *messages(const struct prompt *p, const struct prompt_head *head)
{
	const bool in_user = prompt_lacks(p, QUIRK_SYSTEM_ROLE), has_system = prompt_has_system(p);
	json_t *all = json_array(), *message;
	const json_t *turn;
	size_t i, j, lead = 0;
	bool join;

	if (all == NULL)
		goto fail;
	if (has_system &&
	    json_array_append_new(all, head != NULL ? json_incref(head->system) : prompt_system_message(p)) < 0)
		goto fail;
	join = prompt_lacks(p, QUIRK_ROLES) || (in_user && has_system);
	/* What was said earlier follows the client's own words for the model. */
	for (; lead < p->given && is_system(json_array_get(p->messages, lead)); lead++) {
		if (add_given(p, all, json_array_get(p->messages, lead), join) < 0)
			goto fail;
		join = prompt_lacks(p, QUIRK_ROLES) || in_user;
	}
	json_array_foreach(p->turns, i, turn)
	{
		if (i < p->skip_turns)
			continue;
		json_array_foreach(turn, j, message)
		{
			if (add_message(p, all, message, join) < 0)
				goto fail;
			join = prompt_lacks(p, QUIRK_ROLES);
		}
	}
	for (j = lead; j < json_array_size(p->messages); j++) {
		json_t *as_stored = json_array_get(p->messages, j);
		json_t *own = (json_t *)(uintptr_t)prompt_own_message(p, j);
		json_t *sent = own != NULL    ? json_incref(own)
		               : j < p->given ? json_incref(as_stored)
		                              : prompt_message(p, as_stored);
		int added = sent == NULL   ? -1
		            : own != NULL  ? json_array_append(all, own)
		            : j < p->given ? add_given(p, all, sent, join)
		                           : add_message(p, all, sent, join);

		json_decref(sent);
		if (added < 0)
			goto fail;
		join = prompt_lacks(p, QUIRK_ROLES);
	}
	if (p->begun != NULL && add_begun(p, all, join) < 0)
		goto fail;
	return all;
fail:
	json_decref(all);
	return NULL;
}

/* What an LLM on /v1/completions gets: the contents, joined by newlines. */
static json_t *as_prompt(const json_t *all)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	const json_t *message;
	json_t *prompt = NULL;
	size_t i;

	json_array_foreach(all, i, message)
	{
		char *text = content_text(json_object_get(message, "content"));
		int failed = text == NULL || (i > 0 && buf_adds(&b, "\n") < 0) || buf_adds(&b, text) < 0;

		free(text);
		if (failed)
			goto out;
	}
	prompt = json_stringn(b.data == NULL ? "" : b.data, b.len);
out:
	buf_free(&b);
	return prompt;
}

unsigned prompt_sent(const struct prompt *p)
{
	unsigned sent = prompt_fields_sent(p) | QUIRK_BIT(QUIRK_ROLES);
	const json_t *message;
	size_t i;

	if (prompt_has_system(p))
		sent |= QUIRK_BIT(QUIRK_SYSTEM_ROLE);
	for (i = 0; i < json_array_size(p->messages); i++)
		if (prompt_own_message(p, i) != NULL)
			sent |= QUIRK_BIT(QUIRK_OWN_MESSAGES);
	json_array_foreach(p->messages, i, message) if (p->vision && has_image(json_object_get(message, "content")))
		sent |= QUIRK_BIT(QUIRK_IMAGES);
	if (p->begun != NULL)
		sent |= QUIRK_BIT(QUIRK_CONTINUATION);
	return sent & ~p->quirks.set;
}

/* ---- the body --------------------------------------------------------------------- */

static int add_json(struct buf *to, const char *name, json_t *value)
{
	int failed = buf_adds(to, name) < 0 || json_dump(to, value) < 0 || buf_add(to, ",", 1) < 0;

	json_decref(value);
	return failed ? -1 : 0;
}

/* The model and the messages, of which the head may have the first one. */
static int add_messages(const struct prompt *p, struct buf *to, const json_t *all, const struct prompt_head *head)
{
	const json_t *first = json_array_get(all, 0);
	size_t i = head != NULL && head->system != NULL;

	/* The client's own words for the model may have joined ours. */
	if (head == NULL || (head->system != NULL && head->system != first))
		return add_json(to, "{\"model\":", json_string(p->model)) < 0 ||
		                       add_json(to, "\"messages\":", json_incref((json_t *)(uintptr_t)all)) < 0
		               ? -1
		               : 0;
	if (buf_add(to, head->json, head->len) < 0)
		return -1;
	for (; i < json_array_size(all); i++)
		if ((i > 0 && buf_add(to, ",", 1) < 0) || json_dump(to, json_array_get(all, i)) < 0)
			return -1;
	return buf_adds(to, "],");
}

/* head, tail: of prompt_head, prompt_tail. */
static char *make_body(const struct prompt *p, const struct prompt_head *head, const char *tail, size_t *len)
{
	struct buf body = BUF_INIT(BODY_MAX);
	json_t *all = messages(p, head);
	int failed = tail == NULL || all == NULL;

	if (!failed && p->uses_completions)
		failed = add_json(&body, "{\"model\":", json_string(p->model)) < 0 ||
		         add_json(&body, "\"prompt\":", as_prompt(all)) < 0;
	else if (!failed)
		failed = add_messages(p, &body, all, head) < 0;
	if (!failed && p->begun != NULL && !p->uses_completions)
		failed = buf_adds(&body, CONTINUE_FINAL) < 0;
	if (!failed && strcmp(tail, "}") == 0)
		body.len--; /* the comma before nothing */
	if (!failed)
		failed = buf_adds(&body, tail) < 0;
	json_decref(all);
	if (failed) {
		buf_free(&body);
		return NULL;
	}
	return buf_steal(&body, len);
}

static bool has_own_tail(const struct prompt *p)
{
	return p->fields != NULL || (p->own_tools && p->tools != NULL);
}

char *prompt_body(const struct prompt *p, struct prompt_cache *cache, size_t *len)
{
	char *own = has_own_tail(p) ? prompt_own_tail(p) : NULL, *body;

	body = make_body(p, prompt_head(p, cache), has_own_tail(p) ? own : prompt_tail(p, cache), len);
	free(own);
	return body;
}

/* ---- on another thread ------------------------------------------------------------ */

struct prompt_draft {
	struct prompt p; /* with the members below */
	struct config *config;
	char *model, *begun, *tail;
	json_t *tools, *turns, *messages, *as_sent, *fields;
};

struct prompt_draft *prompt_draft_new(const struct prompt *p, struct prompt_cache *cache)
{
	char *own = has_own_tail(p) ? prompt_own_tail(p) : NULL;
	const char *tail = has_own_tail(p) ? own : prompt_tail(p, cache);
	struct prompt_draft *d = tail != NULL ? calloc(1, sizeof *d) : NULL;

	if (d == NULL) {
		free(own);
		return NULL;
	}
	d->p = *p;
	d->p.config = d->config = config_ref((struct config *)(uintptr_t)p->config);
	d->p.model = d->model = strdup(p->model);
	d->tail = own != NULL ? own : strdup(tail);
	d->p.fields = d->fields = json_incref((json_t *)(uintptr_t)p->fields);
	d->p.tools = d->tools = json_incref((json_t *)(uintptr_t)p->tools);
	d->p.turns = d->turns = json_incref((json_t *)(uintptr_t)p->turns);
	/* The turn may end and change them meanwhile; those of earlier turns never change. */
	d->p.messages = d->messages = json_deep_copy(p->messages);
	d->p.as_sent = d->as_sent = json_copy((json_t *)(uintptr_t)p->as_sent);
	if (p->begun != NULL) {
		d->p.begun = d->begun = malloc(p->begun_len + 1);
		if (d->begun != NULL)
			memcpy(d->begun, p->begun, p->begun_len);
	}
	if (d->model != NULL && d->tail != NULL && (d->messages == NULL) == (p->messages == NULL) &&
	    (d->as_sent == NULL) == (p->as_sent == NULL) && (d->begun == NULL) == (p->begun == NULL))
		return d;
	prompt_draft_free(d);
	return NULL;
}

char *prompt_draft_body(const struct prompt_draft *d, size_t *len)
{
	return make_body(&d->p, NULL, d->tail, len);
}

void prompt_draft_free(struct prompt_draft *d)
{
	if (d == NULL)
		return;
	json_decref(d->tools);
	json_decref(d->turns);
	json_decref(d->messages);
	json_decref(d->as_sent);
	json_decref(d->fields);
	free(d->begun);
	free(d->tail);
	free(d->model);
	config_unref(d->config);
	free(d);
}
