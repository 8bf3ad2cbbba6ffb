/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/encode.h"

#include "core/status/document.h"

#include <stdlib.h>
#include <string.h>

/* The fixed parts come first (header, llms, candidates), then the texts. Records are
 * filled elsewhere and copied at the end, because the buffer moves as it grows. */
struct encoder {
	struct buf *out;
	struct status_header header;
	struct status_llm *llms;
	bool full; /* a text did not fit */
};

static struct status_text add_bytes(struct encoder *enc, const char *bytes, size_t len)
{
	struct status_text t = {.offset = (uint32_t)enc->out->len, .length = (uint32_t)len};

	if (buf_add(enc->out, bytes, len) < 0 || buf_add(enc->out, "", 1) < 0)
		enc->full = true;
	return t;
}

static struct status_text add_text(struct encoder *enc, const char *text)
{
	return text != NULL ? add_bytes(enc, text, strlen(text)) : (struct status_text){.offset = 0};
}

static struct status_llm add_llm(struct encoder *enc, const struct llm *l, const char *token)
{
	struct status_llm record = {
#define LLM_NUMBER(type, name, shown)    .name = l->name,
#define LLM_ENUM(name, last, shown)      .name = (uint32_t)l->name,
#define LLM_COUNT(name, shown)           .name = l->name,
#define LLM_FLAG(name, shown)            .name = l->name,
#define LLM_DERIVED_FLAG(name, function) .name = function(l),
#define LLM_TEXT(name, shown)            .name = add_text(enc, l->name),
#include "core/llm/llm_fields.def"
		.token = add_text(enc, token),
	};

	if (l->url == NULL)
		record.url = add_text(enc, "");
	return record;
}

static int add_documents(struct encoder *enc, const struct status_view *v)
{
	size_t root_len = 0, status_len = 0;
	char *root = document_root(v, &root_len);
	char *status = document_status(v, &status_len);
	int result = -1;

	if (root != NULL && status != NULL) {
		enc->header.root_document = add_bytes(enc, root, root_len);
		enc->header.status_document = add_bytes(enc, status, status_len);
		result = 0;
	}
	free(root);
	free(status);
	return result;
}

/* Offsets have 32 bits, so impossible counts are refused before anything is added up. */
static int reserve_fixed(struct encoder *enc, const struct status_view *v)
{
	size_t fixed;
	char *to;

	if (v->llm_count > STATUS_MAX_SIZE / sizeof(struct status_llm) || v->order_count > v->llm_count)
		return -1;
	enc->header.llm_count = (uint32_t)v->llm_count;
	enc->header.llms_offset = (uint32_t)sizeof enc->header;
	enc->header.candidate_count = (uint32_t)v->order_count;
	enc->header.candidates_offset = (uint32_t)(sizeof enc->header + v->llm_count * sizeof(struct status_llm));
	fixed = enc->header.candidates_offset + v->order_count * sizeof(uint32_t);
	to = buf_reserve(enc->out, fixed);
	if (to == NULL)
		return -1;
	memset(to, 0, fixed);
	buf_commit(enc->out, fixed);
	return 0;
}

static void copy_fixed(struct encoder *enc, const struct status_view *v)
{
	char *base = enc->out->data;

	enc->header.size = (uint32_t)enc->out->len;
	memcpy(base, &enc->header, sizeof enc->header);
	if (v->llm_count > 0)
		memcpy(base + enc->header.llms_offset, enc->llms, v->llm_count * sizeof *enc->llms);
	for (size_t i = 0; i < v->order_count; i++) {
		uint32_t index = (uint32_t)v->order[i];

		memcpy(base + enc->header.candidates_offset + i * sizeof index, &index, sizeof index);
	}
}

int encode_status(struct buf *out, const struct status_header *who, const struct status_view *v, struct err *e)
{
	struct encoder enc = {.out = out};
	int result = -1;

	memcpy(&enc.header, who, sizeof enc.header);
	enc.header.magic = STATUS_MAGIC;
	enc.header.version = STATUS_VERSION;
	enc.header.generation = v->generation;
	enc.header.usable_count = (uint32_t)v->usable_count;
	enc.header.waiting = v->usable_count == 0;
	buf_init(out, STATUS_MAX_SIZE);
	enc.llms = calloc(v->llm_count + 1, sizeof *enc.llms);
	if (enc.llms == NULL || reserve_fixed(&enc, v) < 0)
		goto out;
	for (size_t i = 0; i < v->llm_count; i++)
		enc.llms[i] = add_llm(&enc, &v->llms[i], v->tokens != NULL ? v->tokens[i] : NULL);
	enc.header.config_name = add_text(&enc, v->config_name);
	enc.header.pinned = add_text(&enc, v->pinned);
	if (add_documents(&enc, v) < 0 || enc.full)
		goto out;
	copy_fixed(&enc, v);
	result = 0;
out:
	free(enc.llms);
	if (result < 0)
		err_set(e, "the state of %zu LLMs does not fit into memory or %u bytes", v->llm_count, STATUS_MAX_SIZE);
	return result;
}
