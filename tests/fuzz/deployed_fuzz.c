/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the backend's list of deployments, and as the answer of /health. */
#include "core/llm/deployments.h"
#include "core/llm/select.h"
#include "core/llm/verdict.h"
#include "core/status/document.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static void skipped(void *arg, const char *deploy_id, const char *why)
{
	(void)arg;
	if (deploy_id == NULL || why[0] == '\0')
		abort();
}

static void use(const struct llm_list *list, const struct config *c)
{
	struct status_view view = {.config = c, .llms = list->items, .llm_count = list->count};
	size_t *order = calloc(list->count + 1, sizeof *order);
	char *root, *status;

	view.order = order;
	view.order_count = select_order(list->items, list->count, c, NULL, order, &view.usable_count);
	root = document_root(&view, NULL);
	status = document_status(&view, NULL);
	if (root == NULL || status == NULL)
		abort();
	free(root);
	free(status);
	free(order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct config *c = fuzz_config();
	const char *text = (const char *)data;
	struct llm_list list;
	struct err e = ERR_INIT;
	char reason[160];

	if (deployments_parse(text, size, c, &list, skipped, NULL, &e) == 0) {
		use(&list, c);
		llm_list_clear(&list);
	} else if (!err_is_set(&e)) {
		abort();
	}
	probe_judge(200, text, size, reason, sizeof reason);
	probe_judge(503, text, size, reason, sizeof reason);
	return 0;
}
