/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/encode.h"

#include "core/status/document.h"

#include <stdlib.h>
#include <string.h>

/* The fixed parts come first (header, llms, candidates), then the texts. Records are
 * filled on the side and copied in at the end, since the buffer moves as it grows. */
struct image {
	struct buf *out;
	struct status_header header;
	struct status_llm *llms;
	bool full; /* something did not fit */
};

static struct status_text add_bytes(struct image *im, const char *bytes, size_t len)
{
	struct status_text t = {.offset = (uint32_t)im->out->len, .length = (uint32_t)len};

	if (buf_add(im->out, bytes, len) < 0 || buf_add(im->out, "", 1) < 0)
		im->full = true;
	return t;
}

static struct status_text add_text(struct image *im, const char *text)
{
	return text != NULL ? add_bytes(im, text, strlen(text)) : (struct status_text){.offset = 0};
}

static struct status_llm add_llm(struct image *im, const struct llm *l, const char *token)
{
	return (struct status_llm){
		.instance = l->instance,
		.context_length = l->context_length,
		.checked_ms = l->checked_ms,
		.latency_ms = l->latency_ms,
		.ejected_since_ms = l->ejected_since_ms,
		.ejected_until_ms = l->ejected_until_ms,
		.kind = (uint32_t)l->kind,
		.health = (uint32_t)l->health,
		.tools = (uint32_t)l->tools,
		.failures = l->failures,
		.completions = l->completions,
		.sees_images = llm_sees_images(l),
		.continues = l->continues,
		.deploy_id = add_text(im, l->deploy_id),
		.container_name = add_text(im, l->container_name),
		.internal_url = add_text(im, l->internal_url),
		.health_url = add_text(im, l->health_url),
		.model_name = add_text(im, l->model_name),
		.model_type = add_text(im, l->model_type),
		.hf_model_id = add_text(im, l->hf_model_id),
		.url = add_text(im, l->url != NULL ? l->url : ""),
		.probe_url = add_text(im, l->probe_url),
		.model = add_text(im, l->model),
		.resolve = add_text(im, l->resolve),
		.reason = add_text(im, l->reason),
		.token = add_text(im, token),
	};
}

static int add_documents(struct image *im, const struct status_view *v)
{
	size_t root_len = 0, status_len = 0;
	char *root = document_root(v, &root_len);
	char *status = document_status(v, &status_len);
	int result = -1;

	if (root != NULL && status != NULL) {
		im->header.root_document = add_bytes(im, root, root_len);
		im->header.status_document = add_bytes(im, status, status_len);
		result = 0;
	}
	free(root);
	free(status);
	return result;
}

/* Offsets are 32 bits wide, so counts that can't be true are refused before any sum. */
static int lay_out(struct image *im, const struct status_view *v)
{
	size_t fixed;
	char *to;

	if (v->llm_count > STATUS_MAX_SIZE / sizeof(struct status_llm) || v->order_count > v->llm_count)
		return -1;
	im->header.llm_count = (uint32_t)v->llm_count;
	im->header.llms_offset = (uint32_t)sizeof im->header;
	im->header.candidate_count = (uint32_t)v->order_count;
	im->header.candidates_offset = (uint32_t)(sizeof im->header + v->llm_count * sizeof(struct status_llm));
	fixed = im->header.candidates_offset + v->order_count * sizeof(uint32_t);
	to = buf_reserve(im->out, fixed);
	if (to == NULL)
		return -1;
	memset(to, 0, fixed);
	buf_commit(im->out, fixed);
	return 0;
}

static void copy_fixed(struct image *im, const struct status_view *v)
{
	char *base = im->out->data;

	im->header.size = (uint32_t)im->out->len;
	memcpy(base, &im->header, sizeof im->header);
	if (v->llm_count > 0)
		memcpy(base + im->header.llms_offset, im->llms, v->llm_count * sizeof *im->llms);
	for (size_t i = 0; i < v->order_count; i++) {
		uint32_t index = (uint32_t)v->order[i];

		memcpy(base + im->header.candidates_offset + i * sizeof index, &index, sizeof index);
	}
}

int encode_status(struct buf *out, const struct status_header *who, const struct status_view *v, struct err *e)
{
	struct image im = {.out = out};
	int result = -1;

	memcpy(&im.header, who, sizeof im.header);
	im.header.magic = STATUS_MAGIC;
	im.header.version = STATUS_VERSION;
	im.header.generation = v->generation;
	im.header.usable_count = (uint32_t)v->usable_count;
	im.header.waiting = v->usable_count == 0;
	buf_init(out, STATUS_MAX_SIZE);
	im.llms = calloc(v->llm_count + 1, sizeof *im.llms);
	if (im.llms == NULL || lay_out(&im, v) < 0)
		goto out;
	for (size_t i = 0; i < v->llm_count; i++)
		im.llms[i] = add_llm(&im, &v->llms[i], v->tokens != NULL ? v->tokens[i] : NULL);
	im.header.config_name = add_text(&im, v->config_name);
	im.header.pinned = add_text(&im, v->pinned);
	if (add_documents(&im, v) < 0 || im.full)
		goto out;
	copy_fixed(&im, v);
	result = 0;
out:
	free(im.llms);
	if (result < 0)
		err_set(e, "the state of %zu LLMs does not fit into memory or into %u bytes", v->llm_count,
		        STATUS_MAX_SIZE);
	return result;
}
