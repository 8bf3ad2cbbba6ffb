/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/beside.h"

#include <string.h>

#define BESIDE_MAX (1u << 20)
#define BLOCKS_MAX 1024

void beside_init(struct beside *b)
{
	buf_init(&b->reasoning, BESIDE_MAX);
	buf_init(&b->tagged, BESIDE_MAX);
	buf_init(&b->block_text, BESIDE_MAX);
}

void beside_free(struct beside *b)
{
	buf_free(&b->reasoning);
	buf_free(&b->tagged);
	buf_free(&b->block_text);
	json_decref(b->blocks);
}

void beside_begin(struct beside *b, bool wanted)
{
	b->wanted = wanted;
	b->lost = false;
	b->content_was = 0;
	buf_reset(&b->reasoning);
	buf_reset(&b->tagged);
	json_decref(b->blocks);
	b->blocks = NULL;
	b->block_key = NULL;
}

void beside_add(struct beside *b, struct buf *to, const char *bytes, size_t len)
{
	b->lost |= b->wanted && buf_add(to, bytes, len) < 0;
}

static bool is_same(const json_t *a, const json_t *b, const char *member)
{
	const json_t *x = json_object_get(a, member), *y = json_object_get(b, member);

	return x == y || (x != NULL && y != NULL && json_equal(x, y));
}

/* The text of the block that was open. */
static json_t *close_block(struct beside *b)
{
	json_t *last = json_array_get(b->blocks, json_array_size(b->blocks) - 1);

	if (b->block_key != NULL && last != NULL)
		b->lost |= json_object_set_new(last, b->block_key,
		                               json_stringn(b->block_text.data, b->block_text.len)) < 0;
	return last;
}

/* The next block, or the next part of the last one: OpenRouter and LiteLLM send both. */
static void take_block(struct beside *b, json_t *block)
{
	static const char *const keys[] = {"text", "summary", "thinking", NULL};
	json_t *last = json_array_get(b->blocks, json_array_size(b->blocks) - 1), *value;
	const json_t *text = NULL;
	const char *const *key = keys, *name;

	while (*key != NULL && !json_is_string(text = json_object_get(block, *key)))
		key++;
	if (b->block_key == NULL || !is_same(last, block, "type") || !is_same(last, block, "index") ||
	    json_string_length(json_object_get(last, "signature")) > 0 ||
	    (*key != NULL && strcmp(*key, b->block_key) != 0)) {
		close_block(b);
		b->block_key = *key;
		buf_reset(&b->block_text);
		last = json_copy(block);
		if (json_array_append_new(b->blocks, last) < 0)
			b->lost = true;
	}
	if (*key != NULL)
		beside_add(b, &b->block_text, json_string_value(text), json_string_length(text));
	json_object_foreach(block, name, value) if (!json_is_null(value) && !(*key != NULL && strcmp(name, *key) == 0))
		b->lost |= json_object_set(last, name, value) < 0;
}

void beside_take_blocks(struct beside *b, const struct chunk *c)
{
	size_t i, len = 0;
	json_t *block;

	if (!b->wanted || b->lost || (c->message && b->blocks != NULL))
		return;
	if (b->blocks == NULL)
		b->blocks = json_array();
	b->name = c->blocks_name;
	json_array_foreach(c->blocks, i, block)
	{
		len += json_dumpb(block, NULL, 0, JSON_COMPACT);
		if (b->blocks == NULL || !json_is_object(block) || len > BESIDE_MAX ||
		    json_array_size(b->blocks) >= BLOCKS_MAX)
			b->lost = true;
		else
			take_block(b, block);
	}
}

/* Content as it came: null, parts, or with the reasoning between tags. NULL: just the text. */
static json_t *content_beside(const struct beside *b, const char *text, size_t len)
{
	if (b->reasoning.len > 0 && b->as == CHUNK_REASONING_PARTS)
		return json_pack("[{s:s, s:[{s:s, s:s%}]}, {s:s, s:s%}]", "type", "thinking", "thinking", "type",
		                 "text", "text", b->reasoning.data, b->reasoning.len, "type", "text", "text", text,
		                 len);
	if (b->reasoning.len == 0 && b->tagged.len > 0)
		return json_sprintf("<think>%s</think>%.*s", b->tagged.data, (int)len, text);
	return len == 0 && b->content_was == CHUNK_CONTENT_NULL ? json_null() : NULL;
}

json_t *beside_calls(const struct beside *b, const char *text, size_t len)
{
	json_t *all = json_object(), *content = b->lost ? NULL : content_beside(b, text, len);
	int failed = all == NULL;

	if (content != NULL)
		failed |= json_object_set_new(all, "content", content);
	if (!b->lost && b->reasoning.len > 0 && b->as != CHUNK_REASONING_PARTS)
		failed |= json_object_set_new(all, chunk_reasoning_names[b->as],
		                              json_stringn(b->reasoning.data, b->reasoning.len));
	if (!b->lost && b->blocks != NULL)
		failed |= json_object_set(all, b->name, b->blocks);
	if (failed == 0)
		return all;
	json_decref(all);
	return NULL;
}

void beside_end(struct beside *b)
{
	close_block(b);
}
